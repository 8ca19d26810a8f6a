from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from lanrelay.admin import control as control_module
from lanrelay.admin.control import (
    LONGEST,
    UNKNOWN,
    ControlService,
    Json,
    Refused,
    Taken,
    Tell,
    make_folder,
    peer_uid,
    pid_of,
)
from lanrelay.config import model
from lanrelay.errors import StartError
from lanrelay.transport.port import adopt
from tests.support.listening import Surroundings, accept
from tests.support.memory import MemoryStream


class ProtocolTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.around = Surroundings()
        self.cancelled = 0
        self.waiting: Deferred[str] = Deferred(self.cancel)
        self.told: list[Tell] = []
        self.service = ControlService(
            self.around.environment,
            model.Control(paths=(Path("/run/x.sock"),)),
            {"echo": self.echo, "slow": self.slow, "refuse": self.refuse, "break": self.broken},
        )
        self.service.startService()

    def cancel(self, waiting: Deferred[str]) -> None:
        self.cancelled += 1

    def echo(self, request: Json, tell: Tell) -> object:
        return request.get("text")

    async def slow(self, request: Json, tell: Tell) -> object:
        self.told.append(tell)
        return await self.waiting

    def refuse(self, request: Json, tell: Tell) -> object:
        raise Refused("Not today.")

    def broken(self, request: Json, tell: Tell) -> object:
        raise RuntimeError("broken")

    def connect(self) -> MemoryStream:
        return accept(self.service)

    def said(self, stream: MemoryStream) -> list[Any]:
        return [json.loads(line) for line in stream.take().splitlines()]

    def send(self, stream: MemoryStream, *requests: Json) -> list[Any]:
        stream.receive(b"".join(json.dumps(request).encode() + b"\n" for request in requests))
        return self.said(stream)

    def test_one_line_after_another(self) -> None:
        stream = self.connect()
        self.assertEqual(self.send(stream, {"method": "echo", "text": "a"}), [{"result": "a"}])
        self.assertEqual(
            self.send(stream, {"method": "echo", "text": "b"}, {"method": "refuse"}),
            [{"result": "b"}, {"error": "Not today."}],
        )
        for byte in b'{"method": "echo"}\n':
            stream.receive(bytes([byte]))
        self.assertEqual(self.said(stream), [{"result": None}])

    def test_what_is_no_request_is_an_error_and_the_next_one_is_heard(self) -> None:
        stream = self.connect()
        for line in (b"{", b"{} {}", b'{"method": 1}', b'{"method": "none"}', b'{"a":' * 900):
            stream.receive(line + b"\n")
            (answer,) = self.said(stream)
            self.assertIn("error", answer)
        self.assertEqual(self.send(stream, {"method": "echo", "text": 1}), [{"result": 1}])

    def test_progress_comes_before_the_result_and_the_next_request_waits(self) -> None:
        stream = self.connect()
        self.assertEqual(self.send(stream, {"method": "slow"}, {"method": "echo", "text": 2}), [])
        self.told[0]({"step": 1})
        self.assertEqual(self.said(stream), [{"progress": {"step": 1}}])
        self.waiting.callback("done")
        self.assertEqual(self.said(stream), [{"result": "done"}, {"result": 2}])

    def test_a_client_that_leaves_cancels_what_it_asked_for(self) -> None:
        stream = self.connect()
        self.send(stream, {"method": "slow"})
        stream.lose()
        self.assertEqual(self.cancelled, 1)
        self.told[0]("nobody hears it")
        self.assertEqual(self.service.open_connections, 0)
        self.assertEqual(self.around.clock.getDelayedCalls(), [])

    def test_a_fault_is_logged_and_told_without_its_details(self) -> None:
        stream = self.connect()
        (answer,) = self.send(stream, {"method": "break"})
        self.assertEqual(answer, {"error": "A fault in the relay itself; its log has more."})
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_what_is_too_long_or_no_json_ends_the_connection(self) -> None:
        stream = self.connect()
        stream.receive(b"{" + b" " * LONGEST)
        self.assertIn("error", self.said(stream)[0])
        self.assertTrue(stream.closed)
        stream = self.connect()
        stream.receive(b"GET / HTTP/1.1")
        self.assertTrue(stream.closed)
        self.assertEqual(stream.take(), b"")

    def test_a_client_that_does_not_wait_is_paused(self) -> None:
        stream = self.connect()
        self.send(stream, {"method": "slow"})
        stream.receive(b" " * (LONGEST + 1))
        self.assertFalse(stream.reading)
        self.waiting.callback("done")
        self.assertEqual(self.said(stream)[0], {"result": "done"})

    def test_a_client_that_does_not_read_is_asked_no_more_and_let_go(self) -> None:
        stream = self.connect()
        stream.full = True
        stream.receive(b'{"method": "echo", "text": 1}\n{"method": "echo", "text": 2}\n')
        self.assertEqual(stream.buffer.count(b"result"), 1)
        self.around.clock.advance(29)
        self.assertFalse(stream.aborted)
        stream.full = False
        self.assertEqual(self.said(stream), [{"result": 1}, {"result": 2}])
        stream.full = True
        stream.receive(b'{"method": "echo", "text": 3}\n')
        self.around.clock.advance(31)
        self.assertTrue(stream.aborted)

    def test_a_client_that_asks_nothing_is_let_go(self) -> None:
        stream = self.connect()
        self.around.clock.advance(59)
        self.assertFalse(stream.closed)
        self.around.clock.advance(2)
        self.assertTrue(stream.closed)

    def test_the_end_waits_for_nobody(self) -> None:
        idle, busy = self.connect(), self.connect()
        self.send(busy, {"method": "slow"})
        stopping = self.service.stopService()
        self.assertTrue(idle.closed)
        self.assertEqual(self.said(busy), [{"error": "The relay is stopping."}])
        self.assertTrue(busy.closed)
        self.successResultOf(stopping)
        self.assertEqual(self.around.clock.getDelayedCalls(), [])

    def test_an_answer_that_ends_its_own_socket_is_still_given(self) -> None:
        def stop(request: Json, tell: Tell) -> object:
            self.service.stopService()
            return "stopped"

        self.service.commands = {"stop": stop}
        stream = self.connect()
        self.assertEqual(self.send(stream, {"method": "stop"}), [{"result": "stopped"}])
        self.assertTrue(stream.closed)

    def test_other_users_are_refused(self) -> None:
        self.patch(control_module, "peer_uid", lambda stream: 12345)
        stream = self.connect()
        self.assertTrue(stream.aborted)
        for uid in (0, os.geteuid()):
            self.patch(control_module, "peer_uid", lambda stream, uid=uid: uid)
            self.assertFalse(self.connect().closed)


class PlaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="lanrelay-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.around = Surroundings()

    def service(self, *paths: Path, named: bool = False) -> ControlService:
        service = ControlService(
            self.around.environment, model.Control(paths=paths, named=named), {"hello": lambda *_: None}
        )
        self.addCleanup(service.unbind)
        return service

    def test_the_first_folder_that_can_be_had(self) -> None:
        loose = self.folder / "loose"
        loose.mkdir()
        loose.chmod(0o777)
        link = self.folder / "link"
        link.symlink_to(self.folder)
        good = self.folder / "good"
        service = self.service(self.folder / "no" / "way" / "s", loose / "s", link / "s", good / "s")
        service.bind()
        (bound,) = service.bound
        self.assertEqual(bound.name, f"unix:{good}/s")
        self.assertEqual(good.stat().st_mode & 0o777, 0o700)
        self.assertEqual((good / "s").stat().st_mode & 0o777, 0o600)
        self.assertEqual(service.notes, [])

    def test_without_one_the_relay_runs_all_the_same_and_says_so(self) -> None:
        service = self.service(self.folder / "no" / "way" / "s")
        service.bind()
        self.assertEqual(service.bound, [])
        (note,) = service.notes
        self.assertIn("lanrelay status, reload and probe will not find this relay", note)

    def test_one_that_is_named_must_be_had(self) -> None:
        service = self.service(self.folder / "no" / "s", named=True)
        error = self.assertRaises(StartError, service.bind)
        self.assertTrue(str(error).startswith("control: "), str(error))

    def test_one_that_lives_is_an_error_that_says_which_process(self) -> None:
        path = self.folder / "s"
        listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(listening.close)
        listening.bind(str(path))
        listening.listen()

        def answer(data: bytes) -> None:
            client, _ = listening.accept()
            client.recv(100)
            client.sendall(data)
            client.close()

        for data, pid in ((b'{"result": {"pid": 123}}\n', 123), (b"220 welcome\n", 0), (b"", 0)):
            thread = threading.Thread(target=answer, args=(data,))
            thread.start()
            self.assertEqual(pid_of(path), pid)
            thread.join()
        thread = threading.Thread(target=answer, args=(b'{"result": {"pid": 123}}\n',))
        thread.start()
        error = self.assertRaises(Taken, self.service(path).bind)
        thread.join()
        self.assertIn("pid 123", str(error))
        self.assertEqual(pid_of(path, timeout=0.05), 0, "nobody answers")

    def test_one_that_refuses_because_its_queue_is_full_is_not_replaced(self) -> None:
        """As macOS has it; here, one that does not listen yet."""
        path = self.folder / "s"
        with socket.socket(socket.AF_UNIX) as busy:
            busy.bind(str(path))
            self.assertEqual(pid_of(path), 0)
            self.assertRaises(Taken, self.service(path).bind)
            self.assertTrue(path.exists())

    def test_one_that_was_left_is_replaced(self) -> None:
        path = self.folder / "s"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        self.assertIsNone(pid_of(path))
        service = self.service(path)
        service.bind()
        self.assertEqual(len(service.bound), 1)
        service.unbind()
        self.assertFalse(path.exists())

    def test_a_folder_that_is_a_file(self) -> None:
        (self.folder / "file").write_text("")
        self.assertRaises(StartError, make_folder, self.folder / "file")


class PeerTests(SynchronousTestCase):
    def test_the_kernel_knows_who_is_there(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        self.addCleanup(theirs.close)
        ours.setblocking(False)
        stream = adopt(MemoryReactorClock(), ours, "")
        self.assertEqual(peer_uid(stream), os.geteuid())
        ours.close()
        self.assertEqual(peer_uid(stream), UNKNOWN)
        self.assertIsNone(peer_uid(MemoryStream()), "it has no socket")
