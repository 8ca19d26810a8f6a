"""The order of an adoption, and what is undone when it cannot be ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.cli.adopting import Adoption
from lanrelay.clients.call import Called
from lanrelay.clients.finding import judged
from lanrelay.clients.places import Found, of_content
from lanrelay.clients.servers import servers
from lanrelay.clients.table import named
from lanrelay.config.load import load
from lanrelay.errors import StartError
from lanrelay.setup.configuration import port_for
from lanrelay.setup.relay_file import RelayFile

A, B = "http://10.0.0.1:8000", "http://10.0.0.2"
BEFORE = "# mine\nlisteners:\n  p: {type: connect-proxy, listen: 28080}\n"


class AdoptionCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.config = self.folder / "relay.yaml"
        self.config.write_text(BEFORE)
        self.events: list[str] = []
        self.said: list[str] = []
        self.answers: dict[str, Callable[[], Called]] = {}

    def file(self, name: str, client: str = "cursor", **urls: str) -> Path:
        path = self.folder / name
        path.write_text(
            json.dumps({"mcpServers": {key: {"url": url} for key, url in urls.items()}}, indent=2)
        )
        return path

    def planned(self, *paths: Path, client: str = "cursor", **more: Any) -> Adoption:
        row = named(client)
        assert row is not None
        reads = [of_content(Found(row, row.files[0], path), path.read_bytes()) for path in paths]
        found = judged([each for read in reads for each in servers(read)], relays={}, resolve=lambda _: {})
        adoption = Adoption(
            RelayFile(self.config, runs=True),
            state=self.folder / "state",
            reload=self._reload,
            caller=self._call,
            **more,
        )
        for finding in found:
            adoption.add(finding)
        return adoption

    def carry_out(self, adoption: Adoption) -> None:
        adoption.carry_out(say=self.said.append)

    def listeners(self) -> list[str]:
        return [listener.name for listener in load(self.config).listeners]

    def recorded(self) -> list[str]:
        path = self.folder / "state" / "adopted.json"
        return [each["server"] for each in json.loads(path.read_text())["adopted"]] if path.exists() else []

    def _reload(self, file: Path) -> None:
        self.events.append(f"reload {', '.join(self.listeners())}")

    def _call(self, url: str, *, headers: Mapping[str, str], transport: str | None) -> Called:
        self.events.append(f"call {url}")
        answer = self.answers.get(url)
        return answer() if answer is not None else Called(True, "x answers with 2 tools.", 2)


class OrderTests(AdoptionCase):
    def test_the_clients_file_is_the_last(self) -> None:
        path = self.file("mcp.json", a=f"{A}/mcp", b=f"{B}/sse?x=y#z")
        before = path.read_bytes()
        adoption = self.planned(path)
        seen = []

        def looked() -> Called:
            seen.append(path.read_bytes())
            return Called(True, "x answers with 2 tools.", 2)

        url = f"http://127.0.0.1:{port_for(A, ())}/mcp"
        self.answers[url] = looked
        self.carry_out(adoption)
        names = "p, 10-0-0-1, 10-0-0-2"
        self.assertEqual(
            self.events,
            [f"reload {names}", f"call {url}", f"call http://127.0.0.1:{port_for(B, ())}/sse?x=y"],
        )
        self.assertEqual(seen, [before])
        self.assertEqual((self.recorded(), adoption.left), (["a", "b"], []))
        self.assertEqual(len(adoption.backups), 2)

    def test_headers_and_the_way_of_speaking_are_the_clients(self) -> None:
        path = self.folder / "mcp.json"
        entry = {
            "type": "sse",
            "url": f"{A}/sse",
            "headers": {"Authorization": "Bearer ${TOKEN}", "X-A": "b"},
        }
        path.write_text(json.dumps({"mcpServers": {"a": entry}}))
        called: list[object] = []

        def call(url: str, *, headers: Mapping[str, str], transport: str | None) -> Called:
            called.extend((dict(headers), transport))
            return Called(True, "")

        adoption = self.planned(path)
        adoption._call = call
        self.carry_out(adoption)
        self.assertEqual(called, [{"Authorization": "Bearer ${TOKEN}", "X-A": "b"}, "sse"])


class UndoneTests(AdoptionCase):
    def bad(self) -> Called:
        return Called(False, "The answer is 502.")

    def url(self, origin: str, path: str = "/mcp") -> str:
        return f"http://127.0.0.1:{port_for(origin, ())}{path}"

    def test_a_call_that_fails_leaves_everything_as_it_was(self) -> None:
        path = self.file("mcp.json", a=f"{A}/mcp")
        before = path.read_bytes()
        self.answers[self.url(A)] = self.bad
        adoption = self.planned(path)
        self.carry_out(adoption)
        self.assertEqual((path.read_bytes(), self.config.read_text()), (before, BEFORE))
        self.assertEqual(self.events[0::2], ["reload p, 10-0-0-1", "reload p"])
        self.assertIn("The answer is 502", adoption.left[0])
        self.assertEqual(self.recorded(), [])

    def test_the_others_go_on(self) -> None:
        path = self.file("mcp.json", a=f"{A}/mcp", b=f"{B}/mcp")
        self.answers[self.url(A)] = self.bad
        self.carry_out(self.planned(path))
        self.assertEqual(self.listeners(), ["p", "10-0-0-2"])
        self.assertEqual(self.events[-1], "reload p, 10-0-0-2")
        self.assertIn(f"{A}/mcp", path.read_text())
        self.assertNotIn(f"{B}/mcp", path.read_text())
        self.assertEqual(self.recorded(), ["b"])

    def test_force_adopts_all_the_same(self) -> None:
        path = self.file("mcp.json", a=f"{A}/mcp")
        self.answers[self.url(A)] = self.bad
        adoption = self.planned(path, force=True)
        self.carry_out(adoption)
        self.assertNotIn(A, path.read_text())
        self.assertEqual(self.recorded(), ["a"])

    def test_an_interruption_leaves_everything_as_it_was(self) -> None:
        def interrupted() -> Called:
            raise KeyboardInterrupt

        path = self.file("mcp.json", a=f"{A}/mcp")
        before = path.read_bytes()
        self.answers[self.url(A)] = interrupted
        self.assertRaises(KeyboardInterrupt, self.carry_out, self.planned(path))
        self.assertEqual((path.read_bytes(), self.config.read_text()), (before, BEFORE))
        self.assertEqual(self.events[-1], "reload p")

    def test_a_relay_that_refuses_leaves_everything_as_it_was(self) -> None:
        def refuse(file: Path) -> None:
            if self.listeners() != ["p"]:
                raise StartError("the relay refused the configuration")

        path = self.file("mcp.json", a=f"{A}/mcp")
        before = path.read_bytes()
        adoption = self.planned(path)
        adoption._reload = refuse
        self.assertRaises(StartError, self.carry_out, adoption)
        self.assertEqual((path.read_bytes(), self.config.read_text()), (before, BEFORE))

    def test_a_configuration_that_was_not_there_is_not_there_again(self) -> None:
        self.config.unlink()
        path = self.file("mcp.json", a=f"{A}/mcp")
        self.answers[self.url(A)] = self.bad
        self.carry_out(self.planned(path))
        self.assertFalse(self.config.exists())

    def test_a_file_that_changes_under_us_is_not_written(self) -> None:
        one = self.file("one.json", a=f"{A}/mcp")
        two = self.file("two.json", b=f"{B}/mcp")

        def meanwhile() -> Called:
            one.write_text(one.read_text().replace("{", "{ ", 1))
            return Called(True, "")

        self.answers[self.url(A)] = meanwhile
        adoption = self.planned(one, two)
        self.carry_out(adoption)
        self.assertIn("{ ", one.read_text()[:3])
        self.assertIn(f"{A}/mcp", one.read_text())
        self.assertIn("changed by another program", adoption.left[0])
        self.assertNotIn(B, two.read_text())
        self.assertEqual((self.listeners(), self.recorded()), (["p", "10-0-0-2"], ["b"]))

    def test_a_configuration_that_changes_under_us_is_not_written(self) -> None:
        path = self.file("mcp.json", a=f"{A}/mcp")
        before = path.read_bytes()
        adoption = self.planned(path)
        self.config.write_text(BEFORE + "# another\n")
        self.assertRaises(StartError, self.carry_out, adoption)
        self.assertEqual((path.read_bytes(), self.config.read_text()), (before, BEFORE + "# another\n"))

    def test_a_file_that_changed_before_the_plan_is_left(self) -> None:
        path = self.file("mcp.json", a=f"{A}/mcp")
        row = named("cursor")
        assert row is not None
        read = of_content(Found(row, row.files[0], path), path.read_bytes())
        [finding] = judged(servers(read), relays={}, resolve=lambda _: {})
        path.write_text("{}")
        adoption = self.planned()
        adoption.add(finding)
        self.assertEqual(adoption.files, [])
        self.assertIn("changed by another program", adoption.left[0])


class LockTests(AdoptionCase):
    def test_clines_lock_is_taken_and_given_back(self) -> None:
        path = self.file("cline_mcp_settings.json", a=f"{A}/mcp")
        lock = self.folder / "cline_mcp_settings.json.lock"
        lock.mkdir()  # Cline writes
        adoption = self.planned(path, client="cline")

        def ends() -> Called:
            lock.rmdir()
            return Called(True, "")

        self.answers[f"http://127.0.0.1:{port_for(A, ())}/mcp"] = ends
        self.carry_out(adoption)
        self.assertNotIn(A, path.read_text())
        self.assertFalse(lock.exists())
