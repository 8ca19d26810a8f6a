"""Files that change under a running relay."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import StartError
from lanrelay.trust.files import EVERY, SETTLED, Reloaded
from tests.support.logs import Logged


class ReloadedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(parents=True)
        self.cert, self.key = self.folder / "a.crt", self.folder / "a.key"
        self.moment = 100.0
        self.later = 0.0  # how far the wall clock is ahead of the files'
        self.made = 0
        self.logged = Logged(self)
        self.write(self.cert, "1")
        self.write(self.key, "1")
        self.reloaded = Reloaded(
            "the pair",
            lambda: [self.cert, self.key],
            self.make,
            seconds=lambda: self.moment,
            now=lambda: os.stat(self.folder).st_ctime + self.later,
        )

    def write(self, path: Path, text: str) -> None:
        new = path.with_suffix(".new")
        new.write_text(text)
        new.replace(path)

    def make(self) -> str:
        self.made += 1
        try:
            cert, key = self.cert.read_text(), self.key.read_text()
        except FileNotFoundError as error:
            raise StartError("there is no file") from error
        if cert != key:
            raise StartError("the key does not fit")
        return cert

    def after(self, seconds: float) -> str:
        self.moment += seconds
        self.later += seconds
        return self.reloaded.get()

    def test_it_is_made_when_it_is_first_asked_for(self) -> None:
        self.assertEqual(self.made, 0)
        self.assertEqual(self.reloaded.get(), "1")
        for _ in range(5):
            self.after(EVERY)
        self.assertEqual(self.made, 1)

    def test_what_cannot_be_made_at_first_is_an_error_each_time(self) -> None:
        self.write(self.key, "2")
        for _ in range(2):
            self.assertRaises(StartError, self.reloaded.get)
        self.write(self.cert, "2")
        self.assertEqual(self.reloaded.get(), "2")

    def test_a_change_is_noticed_at_the_next_look(self) -> None:
        self.reloaded.get()
        self.write(self.cert, "2")
        self.write(self.key, "2")
        self.assertEqual(self.after(EVERY / 2), "1")
        self.assertEqual(self.after(EVERY / 2), "2")
        self.assertEqual(self.logged.infos, ["the pair has changed and was read again"])

    def test_a_change_in_place_is_noticed(self) -> None:
        self.reloaded.get()
        for path in (self.cert, self.key):
            path.write_text("3 and more")
        self.assertEqual(self.after(EVERY), "3 and more")

    def test_a_change_during_the_reading_is_noticed(self) -> None:
        def make() -> str:
            made = self.make()
            self.write(self.cert, "2")
            self.write(self.key, "2")
            return made

        self.reloaded._make = make
        self.assertEqual(self.reloaded.get(), "1")
        self.reloaded._make = self.make
        self.assertEqual(self.after(EVERY), "2")

    def test_a_certificate_that_is_newer_than_its_key_waits_for_it_in_silence(self) -> None:
        self.reloaded.get()
        self.write(self.cert, "2")
        self.assertEqual(self.after(EVERY), "1")
        self.assertEqual(self.logged.warnings, [])
        self.write(self.key, "2")
        self.assertEqual(self.after(EVERY), "2")
        self.assertEqual(self.logged.warnings, [])

    def test_a_change_that_stays_broken_is_warned_of_once(self) -> None:
        self.reloaded.get()
        self.write(self.cert, "2")
        for _ in range(10):
            self.assertEqual(self.after(EVERY), "1")
        self.assertEqual(
            self.logged.warnings,
            [
                "the pair has changed and cannot be used, so what was read before stays in force: "
                "the key does not fit"
            ],
        )
        made = self.made
        self.after(EVERY)
        self.assertEqual(self.made, made)  # nor is it read again and again
        self.write(self.key, "2")
        self.assertEqual(self.after(EVERY), "2")
        self.write(self.cert, "3")
        for _ in range(5):
            self.after(EVERY)
        self.assertEqual(len(self.logged.warnings), 2)

    def test_an_old_change_is_warned_of_at_once(self) -> None:
        self.reloaded.get()
        self.write(self.cert, "2")
        self.assertEqual(self.after(SETTLED + 60), "1")
        self.assertEqual(len(self.logged.warnings), 1)

    def test_a_file_that_is_gone_for_a_moment(self) -> None:
        self.reloaded.get()
        self.key.unlink()
        self.assertEqual(self.after(EVERY), "1")
        self.write(self.key, "1")
        self.assertEqual(self.after(EVERY), "1")
        self.assertEqual(self.logged.warnings, [])

    def test_a_file_that_stays_away(self) -> None:
        self.reloaded.get()
        self.key.unlink()
        for _ in range(5):
            self.assertEqual(self.after(EVERY), "1")
        self.assertEqual(len(self.logged.warnings), 1)

    def test_a_change_that_is_taken_back(self) -> None:
        self.reloaded.get()
        kept = self.folder / "kept"
        os.link(self.cert, kept)
        self.write(self.cert, "2")
        self.after(EVERY)
        kept.replace(self.cert)
        self.after(EVERY)
        self.assertEqual(self.reloaded.get(), "1")
        self.assertEqual(self.logged.warnings, [])

    def test_links_that_are_switched(self) -> None:
        """As certbot does."""
        live = self.folder / "live.crt"
        live.symlink_to(self.cert)
        other = self.folder / "b.crt"
        other.write_text("2")
        reloaded = Reloaded("x", lambda: [live], live.read_text, seconds=lambda: self.moment)
        self.assertEqual(reloaded.get(), "1")
        new = self.folder / "link"
        new.symlink_to(other)
        new.replace(live)
        self.moment += EVERY
        self.assertEqual(reloaded.get(), "2")

    def test_a_folder_counts_with_the_certificates_in_it(self) -> None:
        count = iter(range(1, 9))
        reloaded = Reloaded("x", lambda: [self.folder], lambda: next(count), seconds=lambda: self.moment)
        reloaded.get()
        (self.folder / "notes.txt").write_text("a new entry changes the folder")
        self.moment += EVERY
        self.assertEqual(reloaded.get(), 2)
        (self.folder / "notes.txt").write_text("what is in it does not count")
        self.moment += EVERY
        self.assertEqual(reloaded.get(), 2)
        self.cert.write_text("written in place")
        self.moment += EVERY
        self.assertEqual(reloaded.get(), 3)

    def test_what_is_no_path_stands_for_itself(self) -> None:
        count = iter(range(1, 9))
        sources: list[object] = [1, None]
        reloaded = Reloaded("x", lambda: sources, lambda: next(count), seconds=lambda: self.moment)
        reloaded.get()
        self.moment += EVERY
        self.assertEqual(reloaded.get(), 1)
        sources[0] = 2
        self.moment += EVERY
        self.assertEqual(reloaded.get(), 2)
