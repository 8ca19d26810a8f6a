"""BusyBox httpd, whose CGI scripts write fields with LF alone; many a router and NAS has nothing else."""

from __future__ import annotations

import http.client
import tempfile
from pathlib import Path
from textwrap import dedent

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.support.peers import PeerTestCase, free_ports
from tests.support.progress import PATIENCE
from tests.support.relay import Relay

SCRIPT = """\
#!/bin/sh
echo "Content-Type: text/plain"
echo "X-Asked: $REQUEST_METHOD $QUERY_STRING"
echo
[ "$REQUEST_METHOD" = HEAD ] || cat - "$0"
"""


class BusyBoxTests(PeerTestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        script = Path(folder.name) / "cgi-bin" / "hello"
        script.parent.mkdir()
        script.write_text(SCRIPT)
        script.chmod(0o755)
        [self.port] = free_ports(1)
        address = f"127.0.0.1:{self.port}"
        self.program(["busybox", "httpd", "-f", "-p", address, "-h", folder.name], [self.port])
        self.relay = Relay(
            dedent(
                f"""
                listeners:
                  web: {{type: reverse-proxy, listen: "127.0.0.1:0", upstream: "http://{address}"}}
                  proxy: {{type: connect-proxy, listen: "127.0.0.1:0"}}
                """
            )
        ).start()
        self.addCleanup(self.relay.stop)

    def asked(
        self, listener: str, method: str, content: bytes | None = None
    ) -> tuple[int, str | None, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.relay.port(listener), timeout=PATIENCE)
        before = "" if listener == "web" else f"http://127.0.0.1:{self.port}"
        connection.request(method, f"{before}/cgi-bin/hello?a=b", content)
        answer = connection.getresponse()
        heard = answer.status, answer.getheader("X-Asked"), answer.read()
        connection.close()
        return heard

    def test_its_scripts_are_heard(self) -> Deferred[None]:
        def ask() -> None:
            for listener in ("web", "proxy"):
                self.assertEqual(self.asked(listener, "GET"), (200, "GET a=b", SCRIPT.encode()), listener)
                answer = (200, "POST a=b", b"hello" + SCRIPT.encode())
                self.assertEqual(self.asked(listener, "POST", b"hello"), answer, listener)

        return deferToThread(ask)
