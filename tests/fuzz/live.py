"""
The target that is a whole relay: what its client is told and what its origin heard must be one story.

The client counts answers with h11, the origin counts requests with h11, and each answer names the request
that it is to.
"""

from __future__ import annotations

from random import Random

import h11

from tests.fuzz.inputs import cut, one_of, requests
from tests.fuzz.targets import Target, Wrong, must
from tests.support.desync import Client, Recorder
from tests.support.relay import Relay

# Ends what can still be ended; in the middle of content it is content, and the relay's time limit ends it.
LAST = b"GET /last HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


class LiveRelay:
    """A relay in a process of its own before an origin; C{stop} ends both."""

    def __init__(self) -> None:
        self.origin = Recorder()
        self.relay = Relay(
            f"""
            log: {{access: false}}
            listeners:
              web:
                type: reverse-proxy
                listen: 127.0.0.1:0
                upstream: http://127.0.0.1:{self.origin.port}
                health: off
                timeouts: {{head: 150ms, body: 150ms, keepalive: 150ms, close: 150ms}}
            """
        )
        try:
            self.relay.start()
        except BaseException:
            self.origin.close()
            raise
        self.port = self.relay.port("web")
        self.count = 0

    def stop(self) -> None:
        try:
            self.relay.stop()
        finally:
            self.origin.close()

    def target(self) -> Target:
        corpus = [data for data in requests() if b"HEAD" not in data]
        return Target(one_of(corpus), self.check)

    def check(self, data: bytes, random: Random) -> None:
        if b"HEAD" in data or b"CONNECT" in data or b"/r" in data or not data.isascii():
            # The client would have to know which answers have no content; C{/r} is the recorder's own; h11
            # takes no target outside ASCII.
            return
        origin = self.origin
        origin.forget()
        client = Client(self.port)
        try:
            client.send(*cut(random, data + LAST))
            try:
                answers = client.hear_all().answers
            except h11.RemoteProtocolError as error:
                raise Wrong(f"the client cannot read its answers: {error}") from None
            except TimeoutError:
                raise Wrong(f"no end of the connection; heard {client.heard}") from None
        finally:
            client.close()
        # What was under way when the client was told its last has ended by now, or ends without being whole.
        told = [body[len(b"you asked for ") :] for _, body in answers if body.startswith(b"you asked for ")]
        heard = [asked.target for asked in list(origin.asked)]
        must(told == heard[: len(told)], "the client was told", told, "and the origin heard", heard)
        must(len(heard) <= len(told) + client.heard.cut, "the origin heard more:", heard, "told:", told)
        self.count += 1
        mine = b"/honest-%d" % self.count
        honest = Client(self.port)
        try:
            honest.send(b"GET %b HTTP/1.1\r\nHost: localhost\r\n\r\n" % mine)
            others = honest.hear([b"GET"]).answers
        finally:
            honest.close()
        must(others == [(200, b"you asked for " + mine)], "somebody else was answered", others)
        must(not origin.broken, "the origin was sent", origin.broken)
        for asked in origin.asked:
            host = asked.values(b"host")
            must(host == [b"127.0.0.1:%d" % origin.port], "Host", host)
        status = self.relay.process.poll()
        must(status is None, "the relay has ended with", status)
        must("Traceback" not in self.relay.log, self.relay.log[-4000:])
