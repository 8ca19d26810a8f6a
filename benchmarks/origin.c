/* The origin of the benchmarks.

   origin echo PORT            sends back what it gets
   origin source PORT          reads "N\n", sends N bytes and the end
   origin sink PORT            takes an HTTP upload of any length, and answers when all of it is here
   origin http PORT            answers any request with 1 KB and the request's X-Request-Id; an Upgrade becomes an echo
   origin mcp PORT             answers each JSON-RPC call of a POST with JSON
   origin calls PORT           answers the same with an event stream: its head, one message and its end, in a send each
   origin events PORT PERIOD   streams an event every PERIOD milliseconds, with its number and when it was sent */
#include "common.h"

enum { PREPARING, RUNNING, ENDING };
enum { ECHO, SOURCE, SINK, HTTP, MCP, CALLS, EVENTS };
static const char *kinds[] = {"echo", "source", "sink", "http", "mcp", "calls", "events"};

struct link {
    int fd, state;
    int64_t left, number;
    size_t kept;
    char head[4096]; /* of a request that has not come whole */
};

static struct link *links[65536];
static char answer[2048];
static int answer_length, id_at;

static void tell(struct link *l, const char *text, size_t length) {
    if (send(l->fd, text, length, MSG_NOSIGNAL) != (ssize_t)length) l->state = ENDING; /* the kernel takes it at once */
}

/* --- http ------------------------------------------------------------------------------------------------ */

static void make_answer(void) { /* anew each second, for its date */
    static time_t made;
    time_t t = time(NULL);
    if (t == made) return;
    made = t;
    char date[64], body[1025];
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&t));
    memset(body, 'x', 1024);
    body[1024] = 0;
    answer_length = snprintf(answer, sizeof answer,
                             "HTTP/1.1 200 OK\r\nServer: origin/1.0\r\nDate: %s\r\nContent-Type: application/json\r\n"
                             "Content-Length: 1024\r\nConnection: keep-alive\r\nVary: Accept-Encoding\r\n"
                             "Cache-Control: no-store\r\nX-Request-Id: ----------------\r\n\r\n%s",
                             date, body);
    id_at = strstr(answer, "----------------") - answer;
}

static void upgrade(struct link *l) {
    static const char text[] = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    tell(l, text, sizeof text - 1);
    l->state = RUNNING;
}

static void heard_requests(struct link *l) { /* l->head holds l->kept bytes, and a zero after them */
    char *at = l->head, *end;
    while (l->state == PREPARING && (end = strstr(at, "\r\n\r\n"))) {
        *end = 0; /* only this head is looked into */
        char *id = strcasestr(at, "\r\nx-request-id:");
        make_answer();
        if (strcasestr(at, "\r\nupgrade:")) {
            upgrade(l);
        } else {
            if (id) {
                for (id += 15; *id == ' '; id++) {}
                if (strlen(id) >= 16) memcpy(answer + id_at, id, 16);
            }
            tell(l, answer, answer_length);
        }
        at = end + 4;
    }
    l->kept -= at - l->head;
    memmove(l->head, at, l->kept + 1);
    if (l->state == RUNNING && l->kept) tell(l, l->head, l->kept);
}

static void heard_calls(int kind, struct link *l) { /* one at a time: who calls awaits the answer */
    char *end = strstr(l->head, "\r\n\r\n"), *length = strcasestr(l->head, "\r\ncontent-length:");
    if (!end || !length || length > end) return;
    if ((int64_t)l->kept < end + 4 - l->head + atoll(length + 17)) return;
    char *id = strstr(end, "\"id\":"), text[2048], said[1024], event[1200], session[64] = "";
    char *given = strcasestr(l->head, "\r\nmcp-session-id:");
    if (given) sscanf(given + 17, " %63[0-9a-f]", session);
    int size = snprintf(said, sizeof said,
                        "{\"jsonrpc\":\"2.0\",\"id\":%lld,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\""
                        "Cologne: 21 degrees, some clouds, wind from the west, no rain before the evening; "
                        "tomorrow: 23 degrees, sunny, wind from the south-west, a thunderstorm is possible.\"}],"
                        "\"isError\":false}}",
                        id ? atoll(id + 5) : 0LL);
    if (kind == MCP) {
        tell(l, text, snprintf(text, sizeof text,
                               "HTTP/1.1 200 OK\r\ndate: Tue, 01 Dec 2026 10:00:00 GMT\r\nserver: uvicorn\r\n"
                               "content-type: application/json\r\nmcp-session-id: %s\r\ncontent-length: %d\r\n\r\n%s",
                               session, size, said));
    } else {
        tell(l, text, snprintf(text, sizeof text,
                               "HTTP/1.1 200 OK\r\ndate: Tue, 01 Dec 2026 10:00:00 GMT\r\nserver: uvicorn\r\n"
                               "cache-control: no-cache, no-transform\r\nconnection: keep-alive\r\n"
                               "content-type: text/event-stream\r\nmcp-session-id: %s\r\nx-accel-buffering: no\r\n"
                               "transfer-encoding: chunked\r\n\r\n",
                               session));
        size = snprintf(event, sizeof event, "event: message\r\ndata: %s\r\n\r\n", said);
        tell(l, text, snprintf(text, sizeof text, "%x\r\n%s\r\n", size, event));
        tell(l, "0\r\n\r\n", 5);
    }
    l->kept = 0;
}

/* --- the others ------------------------------------------------------------------------------------------ */

static void heard_upload(struct link *l, ssize_t got) { /* an upload of HTTP: its length, then its end */
    static const char done[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", go[] = "HTTP/1.1 100 C\r\n\r\n";
    if (l->state == PREPARING) {
        block[got] = 0; /* heads come whole on loopback */
        char *body = strstr(block, "\r\n\r\n"), *length = strcasestr(block, "content-length:");
        if (!body || !length || length > body) { l->state = ENDING; return; }
        l->left = atoll(length + 15) - (block + got - body - 4);
        if (strcasestr(block, "100-continue")) tell(l, go, sizeof go - 1);
        l->state = RUNNING;
    } else {
        l->left -= got;
    }
    if (l->left <= 0) {
        tell(l, done, sizeof done - 1);
        l->state = PREPARING;
    }
}

static void heard_wish(struct link *l, ssize_t got) {
    block[got < 32 ? got : 32] = 0;
    l->left = atoll(block);
    memset(block, 'x', 33);
    l->state = RUNNING;
    watch_fd(l->fd, l, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
}

static void more(struct link *l) {
    int64_t most = l->left < (int64_t)sizeof block ? l->left : (int64_t)sizeof block;
    ssize_t sent = send(l->fd, block, most, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) { l->state = ENDING; return; }
    if (sent > 0) l->left -= sent;
    if (l->left <= 0 && l->number) {
        l->state = ENDING;
    } else if (l->left <= 0) {
        shutdown(l->fd, SHUT_WR);
        watch_fd(l->fd, l, EPOLLIN, EPOLL_CTL_MOD);
    }
}

static void heard(int kind, struct link *l) {
    static const char stream[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
                                 "Transfer-Encoding: chunked\r\n\r\n";
    int by_heads = kind == MCP || kind == CALLS || (kind == HTTP && l->state == PREPARING);
    char *into = by_heads ? l->head + l->kept : block;
    ssize_t got = recv(l->fd, into, by_heads ? sizeof l->head - 1 - l->kept : sizeof block - 1, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got == 0 && kind == SOURCE && l->state == RUNNING && l->left > 0) { /* it says no more, but still listens */
        l->number = 1;
        watch_fd(l->fd, l, EPOLLOUT, EPOLL_CTL_MOD);
        return;
    }
    if (got <= 0) { l->state = ENDING; return; }
    if (by_heads) {
        l->kept += got;
        l->head[l->kept] = 0;
        if (kind == HTTP) heard_requests(l);
        else heard_calls(kind, l);
        if (l->kept == sizeof l->head - 1) l->state = ENDING;
    } else if (kind == ECHO || kind == HTTP) {
        tell(l, block, got); /* echoes are small */
    } else if (kind == SINK) {
        heard_upload(l, got);
    } else if (kind == SOURCE && l->state == PREPARING) {
        heard_wish(l, got);
    } else if (kind == EVENTS && l->state == PREPARING) {
        tell(l, stream, sizeof stream - 1);
        l->state = RUNNING;
    }
}

static void end(struct link *l) {
    links[l->fd] = NULL;
    close(l->fd);
    free(l);
}

static void send_events(int first, int step) { /* to every step-th stream, so that they are spread over the period */
    for (int fd = first; fd < 65536; fd += step) {
        struct link *l = links[fd];
        if (!l || l->state != RUNNING) continue;
        char event[96], chunk[128];
        int length = snprintf(event, sizeof event, "data: %lld %lld\n\n", (long long)l->number++, (long long)now());
        tell(l, chunk, snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", length, event));
        if (l->state == ENDING) end(l);
    }
}

static void serve(int kind, int port, int period) {
    struct sockaddr_in a = loopback(port);
    int one = 1, listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listening, (void *)&a, sizeof a) || listen(listening, 4096)) die("listen");
    watch_fd(listening, links, EPOLLIN, EPOLL_CTL_ADD);
    int64_t next = now();
    int turn = 0, turns = period / 10 > 0 ? period / 10 : 1;
    for (;;) {
        struct epoll_event ready[256];
        int wait = -1;
        if (kind == EVENTS) wait = next > now() ? (next - now() + 999999) / 1000000 : 0;
        int n = epoll_wait(poller, ready, 256, wait);
        if (kind == EVENTS && now() >= next) {
            send_events(turn++ % turns, turns);
            next += 10000000LL;
            continue; /* what epoll says may be about a stream that has ended; it says it again */
        }
        for (int i = 0; i < n; i++) {
            struct link *l = ready[i].data.ptr;
            if ((void *)l == links) {
                int fd;
                while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0 && fd < 65536) {
                    links[fd] = calloc(1, sizeof **links);
                    links[fd]->fd = fd;
                    quick(fd);
                    watch_fd(fd, links[fd], EPOLLIN, EPOLL_CTL_ADD);
                }
                continue;
            }
            if (ready[i].events & ~EPOLLOUT) heard(kind, l);
            if (l->state != ENDING && kind == SOURCE && ready[i].events & EPOLLOUT) more(l);
            if (l->state == ENDING) end(l);
        }
    }
}

int main(int count, char **word) {
    signal(SIGPIPE, SIG_IGN);
    poller = epoll_create1(0);
    memset(block, 'x', sizeof block);
    if (count >= 3)
        for (int kind = 0; kind <= EVENTS; kind++)
            if (!strcmp(word[1], kinds[kind])) serve(kind, atoi(word[2]), count > 3 ? atoi(word[3]) : 1000);
    fputs("see the source\n", stderr);
    return 2;
}
