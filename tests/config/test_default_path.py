"""Which configuration file is meant when none is named."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.config.default_path import NotFound, find, state_folder, users_own


class DefaultPathTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.environment = {"HOME": str(self.home)}
        self.system = self.home / "etc" / "relay.yaml"

    def find(self, given: Path | None = None) -> Path:
        return find(given, environment=self.environment, system=self.system)

    def make(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("listeners: {}\n")
        return path

    def test_what_is_given_wins_whether_it_exists_or_not(self) -> None:
        self.make(users_own(environment=self.environment))
        self.assertEqual(self.find(Path("other.yaml")), Path("other.yaml"))

    def test_the_variable_comes_before_the_users_own(self) -> None:
        self.make(users_own(environment=self.environment))
        named = self.make(self.home / "named.yaml")
        self.environment["LANRELAY_CONFIG"] = str(named)
        self.assertEqual(self.find(), named)

    def test_a_variable_that_names_no_file_is_an_error_and_nothing_else_is_taken(self) -> None:
        self.make(users_own(environment=self.environment))
        self.environment["LANRELAY_CONFIG"] = str(self.home / "missing.yaml")
        error = self.assertRaises(NotFound, self.find)
        self.assertIn(str(self.home / "missing.yaml"), str(error))
        self.assertEqual(error.command, "unset LANRELAY_CONFIG")  # setup would not write there either

    def test_the_users_own_comes_before_the_systems(self) -> None:
        self.make(self.system)
        self.assertEqual(self.find(), self.system)
        own = self.make(self.home / ".config" / "lanrelay" / "relay.yaml")
        self.assertEqual(self.find(), own)

    def test_none_at_all_names_what_was_looked_for(self) -> None:
        error = self.assertRaises(NotFound, self.find)
        for named in (
            str(self.system),
            str(users_own(environment=self.environment)),
            "LANRELAY_CONFIG",
            "-c",
        ):
            self.assertIn(named, str(error))
        self.assertEqual(error.advice, "`lanrelay setup` makes one.")

    def test_the_folders_follow_xdg_where_that_is_absolute(self) -> None:
        self.environment |= {"XDG_CONFIG_HOME": "/c", "XDG_STATE_HOME": "relative"}
        self.assertEqual(users_own(environment=self.environment), Path("/c/lanrelay/relay.yaml"))
        self.assertEqual(state_folder(environment=self.environment), self.home / ".local/state/lanrelay")
