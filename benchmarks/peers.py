"""Sets each program up as users do who want it fast: with one worker, without an access log."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.environment import CHECKOUT
from benchmarks.measure import RELAY_CORE, Failed, Program, free_port
from benchmarks.origins import STREAMED, Missing, Origins, debian, nginx

Start = Callable[[Origins, str, Path, int], Program]
"""Called with the kind of origin, a folder and the port to listen on."""


def target(origins: Origins, origin: str) -> int:
    """The origin's port; C{tunnelled} clients say themselves where they want to go."""
    return origins.port(origin) if origin != "tunnelled" else 0


# --- our own --------------------------------------------------------------------------------------------


def twistd() -> Path:
    found = Path(sys.executable).with_name("twistd")
    if not found.exists():
        raise Failed(f"{found} is not there: is Twisted installed for this Python?")
    return found


def lanrelay(transport: str, kind: str, *, secure: str = "", more: str = "") -> Start:
    """
    @param secure: which side of a tcp-forward has TLS, C{upstream} or C{downstream}.
    @param more: keys of the listener.
    """

    def start(origins: Origins, origin: str, folder: Path, port: int) -> Program:
        number = target(origins, origin)
        listener = f"type: {kind}, listen: '127.0.0.1:{port}'{more and ', '}{more}"
        trust = f"tls: {{ca: '{origins.root}'}}"
        if secure == "downstream":
            listener += f", tls: {{cert: '{origins.certificate}', key: '{origins.key}'}}"
        if kind == "tcp-forward" and secure == "upstream":
            listener += f", upstream: {{url: 'tls://localhost:{number}', {trust}}}"
        elif kind == "tcp-forward":
            listener += f", upstream: 'tcp://127.0.0.1:{number}'"
        elif kind == "reverse-proxy" and origin == "https":
            listener += f", upstream: {{url: 'https://localhost:{number}', {trust}}}"
        elif kind == "reverse-proxy":
            listener += f", upstream: 'http://127.0.0.1:{number}'"
        return relay(f"log: {{access: false}}\nlisteners:\n  bench: {{{listener}}}\n", folder, transport)

    return start


def relay(configuration: str, folder: Path, transport: str = "own", by: Sequence[object] = ()) -> Program:
    """
    @param by: the program that runs it; by default twistd.
    """
    folder.mkdir(parents=True)
    (folder / "relay.yaml").write_text(configuration)
    command = by or [twistd(), "-n", "--pidfile=", "--logfile=log", "lanrelay"]
    environ = {"PYTHONPATH": str(CHECKOUT), "LANRELAY_TRANSPORT": transport}
    return Program([*command, "-c", "relay.yaml"], folder, core=RELAY_CORE, environ=environ)


LANRELAY = (sys.executable, "-m", "lanrelay.cli.main")


def lanrelay_as_shipped(
    origins: Origins, origin: str, folder: Path, port: int, by: Sequence[object] = ()
) -> Program:
    """C{conf/relay.yaml}, its admin page, which is opened last, on C{port} and the others on free ones."""
    text = (CHECKOUT / "conf" / "relay.yaml").read_text()
    for number, instead in ((28080, free_port()), (28081, port), (28082, free_port()), (28083, free_port())):
        if f"listen: localhost:{number}\n" not in text:
            raise Failed(f"conf/relay.yaml does not listen on {number} any more")
        text = text.replace(f"listen: localhost:{number}\n", f"listen: localhost:{instead}\n")
    return relay(text, folder, by=by)


def importing_the_reactor(origins: Origins, origin: str, folder: Path, port: int) -> Program:
    """The least that a Twisted program does before it can listen."""
    text = (
        "import socket, time; from twisted.internet import reactor; "
        f"listening = socket.create_server(('127.0.0.1', {port})); time.sleep(600)"
    )
    return Program([sys.executable, "-c", text], folder, core=RELAY_CORE)


# --- from Debian ----------------------------------------------------------------------------------------


def haproxy(settings: str = "", defaults: str = "", bind: str = "", server: str = "") -> Start:
    """HAProxy with Debian's timeouts; C{ROOT} and C{BOTH} stand for the certificates' files."""

    def start(origins: Origins, origin: str, folder: Path, port: int) -> Program:
        command = [debian("haproxy"), "-db", "-f", "haproxy.cfg"]
        folder.mkdir(parents=True)
        text = (
            f"global\n nbthread 1\n maxconn 4000\n {settings}\n"
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 50s\n timeout server 50s\n"
            f" {defaults}\n"
            f"listen bench\n bind 127.0.0.1:{port} {bind}\n"
            f" server origin 127.0.0.1:{origins.port(origin)} {server}\n"
        )
        text = text.replace("ROOT", str(origins.root)).replace("BOTH", str(origins.both))
        (folder / "haproxy.cfg").write_text(text)
        return Program(command, folder, core=RELAY_CORE)

    return start


_VERIFIED = "ssl verify required ca-file ROOT sni str(localhost) verifyhost localhost"
HAPROXY_TO_TLS = haproxy(server=_VERIFIED)
HAPROXY_FROM_TLS = haproxy(bind="ssl crt BOTH")
# Without that option the head of an event stream waits 200 ms for more data.
HAPROXY_TO_HTTPS = haproxy(defaults="mode http\n option http-no-delay", server=_VERIFIED)


def nginx_proxy(settings: str = STREAMED) -> Start:
    def start(origins: Origins, origin: str, folder: Path, port: int) -> Program:
        # nginx 1.22 would use TLS 1.2 where all others use 1.3, which has other ciphers.
        scheme = "https" if origin == "https" else "http"
        verify = (
            f"proxy_ssl_verify on; proxy_ssl_trusted_certificate {origins.root}; "
            "proxy_ssl_name localhost; proxy_ssl_server_name on; proxy_ssl_protocols TLSv1.2 TLSv1.3;"
        )
        return nginx(
            folder,
            f"""
            upstream origin {{
                server 127.0.0.1:{target(origins, origin)}; keepalive 64; keepalive_requests 1000000000;
            }}
            server {{
                listen 127.0.0.1:{port} backlog=4096;
                location / {{
                    proxy_pass {scheme}://origin; proxy_http_version 1.1; proxy_set_header Connection '';
                    {settings} {verify if scheme == "https" else ""}
                }}
            }}
            """,
            core=RELAY_CORE,
        )

    return start


NGINX_BUFFERED = (
    "proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 64k; proxy_max_temp_file_size 0; "
    "proxy_request_buffering off; client_body_buffer_size 64k;"
)


def caddy(origins: Origins, origin: str, folder: Path, port: int) -> Program:
    folder.mkdir(parents=True)
    (folder / "Caddyfile").write_text(
        "{\n admin off\n auto_https off\n log {\n  output discard\n }\n}\n"
        f"http://:{port} {{\n bind 127.0.0.1\n"
        f" reverse_proxy 127.0.0.1:{target(origins, origin)} {{\n  flush_interval -1\n }}\n}}\n"
    )
    command = [debian("caddy"), "run", "--config", "Caddyfile", "--adapter", "caddyfile"]
    environ = {"GOMAXPROCS": "1", "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    return Program(command, folder, core=RELAY_CORE, environ=environ)


def squid(origins: Origins, origin: str, folder: Path, port: int) -> Program:
    command = [debian("squid"), "-N", "-f", "squid.conf"]
    folder.mkdir(parents=True)
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o777)  # started by root, squid becomes another user
    (folder / "squid.conf").write_text(
        f"http_port 127.0.0.1:{port}\nhttp_access allow all\ncache deny all\ncache_mem 8 MB\n"
        "access_log none\n"
        f"cache_log {folder}/cache.log\npid_filename none\ncoredump_dir {folder}\nshutdown_lifetime 0\n"
        "server_persistent_connections on\nclient_db off\nmemory_pools on\nvisible_hostname bench\n"
    )
    return Program(command, folder, core=RELAY_CORE)


def tinyproxy(origins: Origins, origin: str, folder: Path, port: int) -> Program:
    command = [debian("tinyproxy"), "-d", "-c", "tinyproxy.conf"]
    folder.mkdir(parents=True)
    (folder / "tinyproxy.conf").write_text(
        f"Port {port}\nListen 127.0.0.1\nTimeout 600\nMaxClients 1000\n"
        f'LogLevel Critical\nLogFile "{folder}/log"\n'
    )
    return Program(command, folder, core=RELAY_CORE)


def socat(origins: Origins, origin: str, folder: Path, port: int) -> Program:
    listen = f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,nodelay,backlog=512"
    command = [debian("socat"), "-b", "65536", listen, f"TCP:127.0.0.1:{target(origins, origin)},nodelay"]
    return Program(command, folder, core=RELAY_CORE)


# --- written in Python ------------------------------------------------------------------------------------


def _of_pypi(origins: Origins, name: str) -> Path:
    command = origins.environment.of_pypi(name)
    if command is None:
        raise Missing(f"{name} is not here (from PyPI)")
    return command


def mitmproxy(origins: Origins, origin: str, folder: Path, port: int) -> Program:
    scheme = "https" if origin == "https" else "http"
    command = [
        *(_of_pypi(origins, "mitmdump"), "-q", "--listen-host", "127.0.0.1", "-p", str(port)),
        *("--mode", f"reverse:{scheme}://localhost:{target(origins, origin)}", "--set", f"confdir={folder}"),
        *("--set", "connection_strategy=lazy", "--set", "flow_detail=0"),
        *("--set", f"ssl_verify_upstream_trusted_ca={origins.root}"),
    ]
    return Program(command, folder, core=RELAY_CORE)


_PROXY_PY_ROUTE = """\
from proxy.core.connection import TcpServerConnection
from proxy.http.server import ReverseProxyBasePlugin

class Route(ReverseProxyBasePlugin):
    # A route that is a mere URL makes a new connection for each request, and gets lost after the first.
    kept = None

    def routes(self):
        return ["/"]

    def handle_route(self, request, pattern):
        if self.kept is None or self.kept.closed:
            self.kept = TcpServerConnection("127.0.0.1", PORT)
            self.kept.connect()
            if SECURE:
                self.kept.wrap("localhost", ca_file=ROOT)
            self.kept.connection.setblocking(False)
        self.kept.queue(memoryview(request.build()))
        return self.kept
"""


def proxy_py(*, forward: bool = False) -> Start:
    """As a proxy that its client knows, or as a reverse proxy with a route that keeps its connection."""

    def start(origins: Origins, origin: str, folder: Path, port: int) -> Program:
        number = target(origins, origin)
        command = [
            *(_of_pypi(origins, "proxy"), "--hostname", "127.0.0.1", "--port", str(port)),
            *("--num-workers", "1", "--num-acceptors", "1", "--log-level", "critical", "--data-dir", folder),
        ]
        if forward:
            program = Program(command, folder, core=RELAY_CORE)
            program.prefix = f"http://127.0.0.1:{number}"
            return program
        folder.mkdir(parents=True)
        route = _PROXY_PY_ROUTE.replace("PORT", str(number)).replace("SECURE", str(origin == "https"))
        (folder / "route.py").write_text(route.replace("ROOT", repr(str(origins.root))))
        command += ["--enable-reverse-proxy", "--plugins", "route.Route"]
        return Program(command, folder, core=RELAY_CORE, environ={"PYTHONPATH": str(folder)})

    return start


def pproxy_forward(origins: Origins, origin: str, folder: Path, port: int) -> Program:
    tunnel = f"tunnel{{127.0.0.1:{target(origins, origin)}}}://127.0.0.1:{port}"
    return Program([_of_pypi(origins, "pproxy"), "-l", tunnel], folder, core=RELAY_CORE)


def pproxy_connect(origins: Origins, origin: str, folder: Path, port: int) -> Program:
    return Program([_of_pypi(origins, "pproxy"), "-l", f"http://127.0.0.1:{port}"], folder, core=RELAY_CORE)


def scripted(kind: str) -> Start:
    """One of L{benchmarks.scripted}."""

    def start(origins: Origins, origin: str, folder: Path, port: int) -> Program:
        command = [sys.executable, "-m", "benchmarks.scripted", kind, str(port), str(target(origins, origin))]
        if origin == "https":
            command.append(str(origins.root))
        return Program(command, folder, core=RELAY_CORE, environ={"PYTHONPATH": str(CHECKOUT)})

    return start
