"""An origin that logs in connections and not requests, as NTLM and Negotiate do (RFC 4559)."""

from __future__ import annotations

import base64
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SIGNATURE = b"NTLMSSP\0"
# Unicode, and NTLM itself.
FLAGS = 0x00000201


def challenge() -> str:
    """The second message of an NTLM handshake (MS-NLMP 2.2.1.2), to which the client answers with a third."""
    nothing = struct.pack("<HHI", 0, 0, 48)
    message = SIGNATURE + struct.pack("<I", 2) + nothing + struct.pack("<I", FLAGS) + b"8 random" + bytes(8)
    return base64.b64encode(message + nothing).decode()


def user_of(message: bytes) -> str:
    """The user whom the third message names (MS-NLMP 2.2.1.3)."""
    length, _, offset = struct.unpack_from("<HHI", message, 36)
    unicode = struct.unpack_from("<I", message, 60)[0] & 1
    return message[offset : offset + length].decode("utf-16-le" if unicode else "latin-1")


class _Connection(BaseHTTPRequestHandler):
    """
    One for each connection: C{user} has logged in on it.

    C{/open} is for everybody. With Negotiate one message logs in: the token is the name in base64.
    """

    protocol_version = "HTTP/1.1"
    server: _Server
    user = ""
    asked = False  # the first message of NTLM has come on this connection

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.rfile.read(length)
        number = self.server.number_of(self.client_address)
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        message = base64.b64decode(token)
        if scheme.lower() == "negotiate" and message:
            self.user = message.decode()
        elif scheme.lower() == "ntlm" and message[8:9] == b"\1":
            self.asked = True
            self.say(401, number, [f"NTLM {challenge()}"])
            return
        elif scheme.lower() == "ntlm" and message[8:9] == b"\3" and self.asked:
            self.user = user_of(message)
        if self.user or self.path == "/open":
            self.say(200, number, [])
        else:
            self.say(401, number, ["Negotiate", "NTLM"])

    do_POST = do_GET

    def say(self, status: int, number: int, challenges: list[str]) -> None:
        content = f"{self.user or 'nobody'} on {number}".encode()
        self.send_response(status)
        for each in challenges:
            self.send_header("WWW-Authenticate", each)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: Any) -> None: ...


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self._numbers: dict[Any, int] = {}

    def number_of(self, client: Any) -> int:
        return self._numbers.setdefault(client, len(self._numbers) + 1)


class LoginOrigin:
    """
    It answers with the user who is logged in, and the number of the connection: C{b"user1 on 3"}.

    Its maker adds C{close} as a cleanup.
    """

    def __init__(self) -> None:
        self._server = _Server()
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
