"""What answers tell of how their upstream was asked."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import HostRefused, TlsOnPlain
from lanrelay.upstream.explain import explain
from lanrelay.upstream.noticed import CONTENT_MAX, fault_in


class FaultTests(SynchronousTestCase):
    def found(self, status: int, content: bytes, *, tls: bool = False, preserved: bool = False) -> object:
        return fault_in(status, content, host="nas.lan", preserved=preserved, tls=tls)

    def test_what_refuses_a_host(self) -> None:
        for status, content in (
            (421, b""),
            (421, b"Invalid Host header"),  # the Python SDK of MCP
            (403, b"Forbidden: invalid Host header"),  # that for Go
            (403, b'{"jsonrpc":"2.0","error":{"code":-32000,"message":"Invalid Host: nas.lan"},"id":null}'),
            (400, b"Invalid host header"),  # Starlette
            (403, b"Invalid Host header"),  # webpack-dev-server
            (400, b"<title>DisallowedHost at /</title><h1>Invalid HTTP_HOST header: 'nas.lan'."),
            (403, b"<header><h1>Blocked hosts: nas.lan</h1></header>"),  # Rails
            (403, b'Blocked request. This host ("nas.lan") is not allowed.\nTo allow this host, add'),  # Vite
            (403, b"Blocking request with non-local 'Host' nas.lan"),  # Jupyter
            (403, b"Host check error\n"),  # Syncthing
            (400, b"<p>Host &#39;nas.lan&#39; is not trusted.</p>"),  # Werkzeug
            (400, b"The host [nas_lan] is not valid"),  # Tomcat
        ):
            fault = self.found(status, content)
            self.assertIsInstance(fault, HostRefused, content)

    def test_what_refuses_something_else(self) -> None:
        for status, content in (
            (403, b""),
            (400, b"Bad Request"),
            (403, b"Invalid Origin header"),
            (403, b"You don't have permission.<address>Apache/2.4 Server at lan-host Port 80</address>"),
            (403, b"this host is mine. " * 1000),
            (404, b"Invalid Host header"),
            (500, b"Invalid Host header"),
        ):
            self.assertIsNone(self.found(status, content[:CONTENT_MAX]), content)

    def test_what_wants_tls(self) -> None:
        for content in (
            b"<center>The plain HTTP request was sent to HTTPS port</center>",  # nginx
            b"Reason: You're speaking plain HTTP to an SSL-enabled server port.<br />",  # Apache
            b"Client sent an HTTP request to an HTTPS server.\n",  # Go
            b"Bad Request\r\nThis combination of host and port requires TLS.\r\n",  # Tomcat
        ):
            self.assertIsInstance(self.found(400, content), TlsOnPlain)
            self.assertIsNone(self.found(400, content, tls=True))
            self.assertIsNone(self.found(403, content))

    def test_what_mends_it(self) -> None:
        for preserved, remedy in (
            (False, "`host: preserve`"),
            (True, "Set `host` of this listener to a name"),
        ):
            fault = self.found(421, b"", preserved=preserved)
            assert isinstance(fault, HostRefused)
            explanation = explain(fault)
            self.assertIn('the Host "nas.lan": it answered 421', explanation.what)
            self.assertIn(remedy, explanation.remedy)
        wanted = self.found(400, b"Client sent an HTTP request to an HTTPS server.")
        assert isinstance(wanted, TlsOnPlain)
        self.assertIn("`https://` for `http://`", explain(wanted).remedy)
