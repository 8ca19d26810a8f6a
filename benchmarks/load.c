/* The load generator of the benchmarks.

   load pingpong PORT STREAMS SECONDS SIZE   [PREFACE]  round trips of SIZE bytes on STREAMS connections
   load connect  PORT STREAMS SECONDS SIZE   [PREFACE]  connect, one round trip, close; STREAMS at a time
   load down     PORT STREAMS BYTES   0      [PREFACE]  read so many bytes from the origin's source, and the end
   load fetch    PORT STREAMS BYTES   0      PREFACE    the same of an HTTP answer with that Content-Length
   load upload   PORT STREAMS BYTES   0      PREFACE    send so many bytes, then await the HTTP answer
   load requests PORT STREAMS SECONDS SIZE   PREFIX     HTTP requests, no two alike, each answer SIZE bytes and its own
   load varied   PORT STREAMS SECONDS SIZE   PREFIX     the same, whose heads differ in three fields beside the path
   load mcp      PORT STREAMS SECONDS 0                 tools/call with a session id, each answer its own, as JSON or events
   load events   PORT STREAMS SECONDS PERIOD PREFACE    event streams with an event every PERIOD ms: all must come
   load watch    PORT STREAMS SECONDS PERIOD PREFACE    "held" once all event streams are open; from then on they count
   load hold     PORT STREAMS 0       SIZE   [PREFACE]  a round trip (or HTTP answer, with SIZE 1 only its head) on each
                                                        connection, then "held"; all must be open when its input ends

   PREFACE is sent first (\r and \n are understood); where it begins with CONNECT, the answer's head is awaited.
   PREFIX is what comes before the path in the request line. One line of JSON is printed: units, seconds, times of
   single units in microseconds, and failures, of which the first is told in words. */
#include "common.h"

enum { PINGPONG, CONNECT, DOWN, FETCH, UPLOAD, REQUESTS, VARIED, MCP, EVENTS, WATCH, HOLD };
static const char *modes[] = {"pingpong", "connect", "down",  "fetch",  "upload", "requests",
                              "varied",   "mcp",     "events", "watch", "hold"};
enum { HEAD, RUNNING, WAITING, DONE };

struct link {
    int fd, state, closes;
    size_t got;
    int64_t began, left, units, first, number;
    char id[17];
    char text[8192]; /* of an answer, or of an event's line, that has not come whole */
};

static struct sockaddr_in address;
static int mode, streams, size, sent_first;
static int64_t units, failures, total, ends_at, started, watched_for;
static int waited; /* how many event streams are not open yet, if that is waited for */
static char preface[4096];
static size_t preface_length;
static float *times;
static size_t timed, times_max = 8000000;

static void took(int64_t began) {
    if (timed < times_max) times[timed++] = (now() - began) / 1000.0f;
}

static void fail(struct link *l, const char *what) {
    if (!failures++) fprintf(stderr, "%s after %lld units: %.200s\n", what, (long long)units, l->got ? l->text : "");
    l->state = DONE;
}

static void say(struct link *l, const char *text, size_t length) {
    if (send(l->fd, text, length, MSG_NOSIGNAL) != (ssize_t)length) fail(l, "a send fell short");
}

/* --- requests ---------------------------------------------------------------------------------------------- */

static char request[2048];
static size_t request_length;
static char *path_at, *request_id_at, *cookie_at, *trace_at;

static void make_request(const char *prefix) { /* a head as an ordinary program sends it: eight fields */
    request_length = snprintf(request, sizeof request,
                              "GET %s/api/v1/things/----------------?page=2 HTTP/1.1\r\nHost: localhost\r\n"
                              "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0\r\n"
                              "Accept: application/json, text/plain, */*\r\nAccept-Language: en-GB,en;q=0.5\r\n"
                              "Accept-Encoding: gzip, deflate, br\r\n"
                              "Cookie: session=0123456789abcdef0123456789abcdef\r\nCache-Control: no-cache\r\n"
                              "X-Request-Id: ++++++++++++++++\r\n%s\r\n",
                              prefix,
                              mode == VARIED ? "traceparent: 00-________________0000000000000001-00f067aa0ba902b7-01\r\n" : "");
    path_at = strstr(request, "----------------");
    request_id_at = strstr(request, "++++++++++++++++");
    cookie_at = strstr(request, "0123456789abcdef");
    trace_at = strstr(request, "________________");
}

static void call_tool(struct link *l) { /* as the MCP SDKs do it: a head of its own, then the call, in one send */
    static const char head[] = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nUser-Agent: python-httpx2/2.5.0\r\n"
                               "Accept: application/json, text/event-stream\r\nAccept-Encoding: gzip, deflate\r\n"
                               "Content-Type: application/json\r\nMcp-Session-Id: 5f0d2d61c7394e6ea0fa%012ld\r\n"
                               "MCP-Protocol-Version: 2025-06-18\r\nContent-Length: %d\r\n\r\n%s";
    char call[256], all[1024];
    l->number++;
    int length = snprintf(call, sizeof call,
                          "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"method\":\"tools/call\",\"params\":{\"name\":\"weather\","
                          "\"arguments\":{\"place\":\"Cologne\",\"day\":%lld}}}",
                          (long long)l->number, (long long)l->number % 365);
    l->got = 0;
    l->began = now();
    say(l, all, snprintf(all, sizeof all, head, (long)l->fd, length, call));
}

static int64_t whole_call(struct link *l) { /* as `whole`; in chunks it is an event stream of one message */
    l->text[l->got] = 0;
    char *end = strstr(l->text, "\r\n\r\n"), wanted[48];
    if (!end) return l->got < sizeof l->text - 1 ? 0 : -1;
    if (l->got < 13 || strncmp(l->text + 8, " 200", 4)) return -1;
    *end = 0;
    int chunked = strcasestr(l->text, "\r\ntransfer-encoding: chunked") != NULL;
    char *length = strcasestr(l->text, "\r\ncontent-length:");
    *end = '\r';
    if (chunked ? memcmp(l->text + l->got - 7, "\r\n0\r\n\r\n", 7)
                : !length || (int64_t)l->got < end + 4 - l->text + atoll(length + 17))
        return l->got < sizeof l->text - 1 ? 0 : -1;
    snprintf(wanted, sizeof wanted, "\"id\":%lld,", (long long)l->number);
    return strstr(end, wanted) ? (int64_t)l->got : -1;
}

static void ask(struct link *l) { /* no relay can live from what it remembers of whole requests */
    static uint64_t count;
    uint64_t mixed = ++count * 0x9E3779B97F4A7C15ULL; /* an odd factor: no number comes twice */
    for (int i = 0; i < 16; i++, mixed >>= 4) l->id[i] = "0123456789abcdef"[mixed & 15];
    memcpy(path_at, l->id, 16);
    memcpy(request_id_at, l->id, 16);
    if (mode == VARIED) {
        memcpy(cookie_at, l->id, 16);
        memcpy(trace_at, l->id, 16);
    }
    l->got = 0;
    l->began = now();
    say(l, request, request_length);
}

static int64_t whole(struct link *l) { /* the answer in l->text: its length, 0 if more has to come, -1 if it is wrong */
    l->text[l->got] = 0;
    char *end = strstr(l->text, "\r\n\r\n");
    if (!end) return l->got < sizeof l->text - 1 ? 0 : -1;
    if (l->got < 13 || strncmp(l->text + 8, " 200", 4)) return -1;
    *end = 0; /* only the head is looked into */
    char *length = strcasestr(l->text, "\r\ncontent-length:"), *id = strcasestr(l->text, "\r\nx-request-id:");
    l->closes = strcasestr(l->text, "\r\nconnection: close") != NULL;
    int64_t body = length ? atoll(length + 17) : -1, head = end + 4 - l->text;
    *end = '\r';
    if (l->id[0]) {
        for (id = id ? id + 15 : ""; *id == ' '; id++) {}
        if (strncmp(id, l->id, 16)) return -1;
    }
    if (body < 0 || head + body > (int64_t)sizeof l->text - 1) return -1;
    return (int64_t)l->got < head + body ? 0 : head + body;
}

/* --- the life of a connection ---------------------------------------------------------------------------------- */

static void run(struct link *l) { /* the way is open */
    l->state = RUNNING;
    l->got = 0;
    if (mode == PINGPONG) l->began = now();
    if (mode == PINGPONG || mode == CONNECT) say(l, block, size);
    if (mode == REQUESTS || mode == VARIED) ask(l);
    if (mode == MCP) call_tool(l);
    if (mode == DOWN) {
        char wish[32];
        say(l, wish, snprintf(wish, sizeof wish, "%lld\n", (long long)l->left));
    }
    if (mode == UPLOAD) watch_fd(l->fd, l, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
}

static void dial(struct link *l) {
    l->fd = socket(AF_INET, SOCK_STREAM, 0);
    l->began = now();
    l->got = 0;
    if (connect(l->fd, (void *)&address, sizeof address)) die("connect");
    quick(l->fd);
    if (mode == HOLD) {
        struct timeval patience = {.tv_sec = 10};
        setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    } else {
        fcntl(l->fd, F_SETFL, O_NONBLOCK);
        watch_fd(l->fd, l, EPOLLIN, EPOLL_CTL_ADD);
    }
    if (preface_length && send(l->fd, preface, preface_length, MSG_NOSIGNAL) < 0) die("send");
    l->state = HEAD;
    if (!sent_first && mode != HOLD) run(l);
}

static void all_open(void) {
    started = now();
    ends_at = started + watched_for;
    puts("held");
    fflush(stdout);
}

static void heard_events(struct link *l, const char *text, ssize_t got) {
    for (ssize_t i = 0; i < got; i++) {
        if (text[i] != '\n') {
            if (l->got < 200) l->text[l->got++] = text[i];
            continue;
        }
        l->text[l->got] = 0;
        l->got = 0;
        long long number, sent;
        if (sscanf(l->text, "data: %lld %lld", &number, &sent) != 2) continue;
        if (number != l->number++) { fail(l, "an event is missing"); return; }
        if (waited) continue; /* not all are open yet */
        if (timed < times_max) times[timed++] = (now() - sent) / 1000.0f;
        units++;
        l->units++;
    }
}

static void heard_head(struct link *l) { /* of a tunnel, a download or an event stream */
    l->text[l->got] = 0;
    char *end = strstr(l->text, "\r\n\r\n");
    if (!end && l->got < sizeof l->text - 1) return;
    if (!end || strncmp(l->text + 8, " 200", 4)) { fail(l, "not the answer"); return; }
    size_t rest = l->got - (end + 4 - l->text);
    if (mode == FETCH) {
        char *length = strcasestr(l->text, "\r\ncontent-length:");
        if (!length || atoll(length + 17) != l->left) { fail(l, "not the length"); return; }
        units += rest;
        l->left -= rest;
    } else if (rest && mode != EVENTS && mode != WATCH) {
        fail(l, "what nobody said");
        return;
    }
    memcpy(block, end + 4, rest);
    run(l);
    if (mode == EVENTS || mode == WATCH) {
        if (mode == WATCH && !--waited) all_open();
        l->first = now();
        heard_events(l, block, rest);
    }
}

static void heard_answer(struct link *l) {
    int64_t length = mode == MCP ? whole_call(l) : whole(l);
    if (length == 0) return;
    if (length < 0 || length != (int64_t)l->got || length < size) { fail(l, "not the answer"); return; }
    took(l->began);
    units++;
    l->units++;
    if (l->closes) {
        close(l->fd);
        dial(l);
    } else if (mode == MCP) {
        call_tool(l);
    } else {
        ask(l);
    }
}

static void heard(struct link *l) {
    int answers = mode == REQUESTS || mode == VARIED || mode == MCP;
    int by_text = l->state == HEAD || answers || mode == UPLOAD;
    char *into = by_text ? l->text + l->got : block;
    ssize_t got = recv(l->fd, into, by_text ? sizeof l->text - 1 - l->got : sizeof block, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got == 0 && mode == DOWN && l->state == RUNNING && l->left == 0) { l->state = DONE; return; }
    if (got <= 0) { fail(l, got ? strerror(errno) : "an end"); return; }
    if (by_text) l->got += got;
    if (l->state == HEAD) {
        heard_head(l);
    } else if (mode == DOWN || mode == FETCH) {
        l->left -= got;
        units += got;
        if (l->left < 0 || (mode == DOWN && (block[0] != 'x' || block[got - 1] != 'x'))) fail(l, "not what was sent");
    } else if (mode == UPLOAD) {
        l->text[l->got] = 0;
        if (!strstr(l->text, "\r\n\r\n")) return;
        if (l->left > 0 || strncmp(l->text + 8, " 200", 4)) fail(l, "not the answer");
        l->state = DONE;
    } else if (answers) {
        heard_answer(l);
        return;
    } else if (mode == EVENTS || mode == WATCH) {
        heard_events(l, block, got);
    } else if ((l->got += got) == (size_t)size) {
        took(l->began);
        units++;
        l->units++;
        l->got = 0;
        l->began = now();
        if (mode == PINGPONG) say(l, block, size);
        if (mode == CONNECT) {
            close(l->fd);
            dial(l);
        }
    } else if (l->got > (size_t)size) {
        fail(l, "more than was sent");
    }
    if (mode == FETCH && l->state == RUNNING && l->left == 0) l->state = DONE;
}

static void more(struct link *l) { /* of an upload */
    int64_t most = l->left < (int64_t)sizeof block ? l->left : (int64_t)sizeof block;
    ssize_t sent = send(l->fd, block, most, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) { fail(l, strerror(errno)); return; }
    if (sent > 0) { l->left -= sent; units += sent; }
    if (l->left <= 0) watch_fd(l->fd, l, EPOLLIN, EPOLL_CTL_MOD);
}

/* --- whole runs -------------------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) { return (*(float *)a > *(float *)b) - (*(float *)a < *(float *)b); }

static int report(int64_t began) {
    qsort(times, timed, sizeof *times, compare);
    printf("{\"units\": %lld, \"seconds\": %.6f, \"p50\": %.2f, \"p99\": %.2f, \"most\": %.2f, \"failures\": %lld}\n",
           (long long)units, (now() - began) / 1e9, timed ? times[timed / 2] : 0, timed ? times[timed * 99 / 100] : 0,
           timed ? times[timed - 1] : 0, (long long)failures);
    return failures != 0;
}

static int answered(struct link *l) { /* -1: with something else */
    int64_t length = whole(l);
    if (size == 1 && strstr(l->text, "\r\n\r\n")) return strncmp(l->text + 8, " 200", 4) ? -1 : 1;
    return length < 0 ? -1 : length > 0;
}

static void hold(struct link *links) {
    int64_t began = now();
    for (int i = 0; i < streams; i++) {
        struct link *l = &links[i];
        dial(l);
        if (!preface_length) say(l, block, size);
        while (preface_length ? !answered(l) : l->got < (size_t)size) {
            ssize_t got = recv(l->fd, l->text + l->got, sizeof l->text - 1 - l->got, 0);
            if (got <= 0) { fail(l, "no answer"); break; }
            l->got += got;
        }
        if (preface_length && answered(l) < 0) fail(l, "not the answer");
        units += l->state != DONE;
    }
    puts("held");
    fflush(stdout);
    while (read(0, block, sizeof block) > 0) {}
    for (int i = 0; i < streams; i++) {
        ssize_t got = recv(links[i].fd, block, 1, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN)) failures++;
        if (got > 0 && size != 1) failures++; /* on a silent event stream a relay may make comments */
    }
    exit(report(began));
}

int main(int count, char **word) {
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    memset(block, 'x', sizeof block);
    for (mode = 0; count > 5 && mode <= HOLD && strcmp(word[1], modes[mode]); mode++) {}
    if (count < 6 || mode > HOLD) { fputs("see the source\n", stderr); return 2; }
    address = loopback(atoi(word[2]));
    streams = atoi(word[3]);
    double amount = atof(word[4]);
    size = atoi(word[5]);
    if (mode == REQUESTS || mode == VARIED) make_request(count > 6 ? word[6] : "");
    else if (count > 6)
        for (const char *c = word[6]; *c && preface_length < sizeof preface - 1; c++) {
            char plain = *c;
            if (c[0] == '\\' && (c[1] == 'r' || c[1] == 'n')) plain = *++c == 'r' ? '\r' : '\n';
            preface[preface_length++] = plain;
        }
    sent_first = preface_length && mode != UPLOAD;
    times = malloc(times_max * sizeof *times);
    int by_bytes = mode == DOWN || mode == FETCH || mode == UPLOAD;
    total = by_bytes ? (int64_t)amount : 0;
    struct link *links = calloc(streams, sizeof *links);
    if (mode == HOLD) hold(links);
    started = now();
    ends_at = by_bytes ? INT64_MAX : started + (int64_t)(amount * 1e9);
    if (mode == WATCH) {
        waited = streams;
        watched_for = amount * 1e9;
        ends_at = started + 60000000000LL;
    }
    int open = 0;
    for (int i = 0; i < streams; i++, open++) {
        links[i].left = total / streams;
        dial(&links[i]);
    }
    while (open) {
        struct epoll_event ready[256];
        int64_t left = by_bytes ? 20000 : (ends_at - now()) / 1000000 + 1;
        int n = epoll_wait(poller, ready, 256, left > 0 ? left : 0);
        if (n == 0 && by_bytes) { fail(links, "nothing comes or goes"); break; }
        if (now() >= ends_at) break;
        for (int i = 0; i < n; i++) {
            struct link *l = ready[i].data.ptr;
            if (ready[i].events & ~EPOLLOUT) heard(l);
            if (l->state == RUNNING && mode == UPLOAD && ready[i].events & EPOLLOUT) more(l);
            if (l->state == DONE) {
                close(l->fd);
                open--;
            }
        }
    }
    for (int i = 0; i < streams && !by_bytes; i++) { /* none may have been forgotten */
        int64_t least = mode == WATCH ? (now() - started) / 1000000 / size - 1
                        : mode == EVENTS && links[i].first ? (now() - links[i].first) / 1000000 / size - 1 : 1;
        if (links[i].units < least) fail(&links[i], "a connection that got too little");
    }
    if (waited) fail(links, "not all streams were opened");
    return report(started);
}
