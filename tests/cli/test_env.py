"""The variables of the forward proxy."""

from __future__ import annotations

import json
import shutil
import subprocess

from lanrelay.proxy_variables import variables
from tests.cli.test_adopt import Run
from tests.cli.test_check import Run as RunHere
from tests.cli.test_clients import HomeCase
from tests.support.relay import Relay
from tests.support.servers import HttpOrigin

PROXY = "http://127.0.0.1:28080"


class EnvCase(HomeCase):
    def setUp(self) -> None:
        super().setUp()
        self.config = self.home / ".config/lanrelay/relay.yaml"
        self.config.parent.mkdir(parents=True)
        self.configure("listen: localhost:28080")

    def configure(self, keys: str, kind: str = "connect-proxy") -> None:
        self.config.write_text(f"listeners:\n  p:\n    type: {kind}\n    {keys}\n")


class PrintedTests(EnvCase):
    def test_a_posix_shell_takes_it(self) -> None:
        printed = RunHere("env", "--shell", "sh").out
        program = f"{printed}\nenv | grep -i proxy | sort"
        done = subprocess.run(
            ["sh", "-c", program], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
        )
        self.assertEqual(done.stderr, "")
        expected = sorted(f"{name}={value}" for name, value in variables(PROXY).items())
        self.assertEqual(sorted(done.stdout.splitlines()), expected)

    def test_each_shell_has_its_own(self) -> None:
        for shell, line in (
            ("sh", f"export http_proxy='{PROXY}'"),
            ("fish", f"set -gx HTTPS_PROXY '{PROXY}';"),
            ("powershell", "$env:NODE_USE_ENV_PROXY = '1'"),
            ("dotenv", "NO_PROXY=localhost,127.0.0.1,::1"),
        ):
            printed = RunHere("env", "--shell", shell).out
            self.assertIn(line, printed.splitlines())
            self.assertIn("replace the public roots", printed.replace("\n# ", " "))
        self.assertEqual(json.loads(RunHere("env", "--shell", "json").out), variables(PROXY))

    def test_fish_takes_it(self) -> None:
        if shutil.which("fish") is None:
            self.skipTest("fish is not here")
        printed = RunHere("env", "--shell", "fish").out
        done = subprocess.run(["fish", "-c", f"{printed}\necho $no_proxy"], capture_output=True, text=True)
        self.assertEqual(done.stdout, "localhost,127.0.0.1,::1\n")

    def test_where_the_proxy_listens(self) -> None:
        for keys, url in (
            ("listen: '127.0.0.2:1234'", "http://127.0.0.2:1234"),
            ("listen: ['unix:/x/y', '[::1]:1234']", "http://[::1]:1234"),
            (
                "listen: '0.0.0.0:1234'\n    clients: any\n    auth: {users: {a: hunter2}}",
                "http://127.0.0.1:1234",
            ),
        ):
            self.configure(keys)
            run = RunHere("env", "--shell", "json")
            self.assertEqual(json.loads(run.out)["http_proxy"], url, run.err)
            self.assertNotIn("hunter2", run.out)

    def test_there_is_none(self) -> None:
        for keys, kind in (
            ("listen: 127.0.0.1:0", "connect-proxy"),
            ("listen: localhost:28080\n    enabled: false", "connect-proxy"),
            ("listen: localhost:28080", "socks-proxy"),
        ):
            self.configure(keys, kind)
            run = RunHere("env")
            self.assertEqual((run.status, run.out), (1, ""))
            self.assertIn("no forward proxy", run.err)
        self.config.unlink()
        self.assertEqual(RunHere("env").status, 1)

    def test_wrong_usage(self) -> None:
        for words in (["--shell", "nope"], ["--"], ["curl"]):
            self.assertEqual(RunHere("env", *words).status, 2, words)


class CommandTests(EnvCase):
    def test_a_command_has_them_and_its_own_status(self) -> None:
        run = Run("env", "--", "sh", "-c", "echo $http_proxy; exit 3")
        self.assertEqual((run.status, run.out), (3, f"{PROXY}\n"))

    def test_options_of_the_command_are_its_own(self) -> None:
        self.assertEqual(Run("env", "--", "echo", "--shell", "--", "x").out, "--shell -- x\n")

    def test_a_broken_pipe_ends_it_as_it_would_without_us(self) -> None:
        run = Run("env", "--", "sh", "-c", "yes | head -1")
        self.assertEqual((run.status, run.out, run.err), (0, "y\n", ""))

    def test_one_that_is_not_there(self) -> None:
        run = Run("env", "--", "no-such-program")
        self.assertEqual((run.status, run.out), (1, ""))
        self.assertIn("no-such-program cannot be run", run.err)

    def test_curl_comes_through_the_relay(self) -> None:
        if shutil.which("curl") is None:
            self.skipTest("curl is not here")
        origin = HttpOrigin().start()
        self.addCleanup(origin.stop)
        relay = Relay(
            """
            listeners:
              p:
                type: connect-proxy
                listen: 127.0.0.1:28079
                resolve: {nas.test: 127.0.0.1}
            """
        )
        from tests.support.peers import free_ports

        [port] = free_ports(1)
        relay.config.write_text(relay.config.read_text().replace("28079", str(port)))
        relay.start()
        self.addCleanup(relay.stop)
        curl = [
            "curl",
            "-q",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            f"http://nas.test:{origin.port}/seen",
        ]
        run = Run("env", "-c", str(relay.config), "--", *curl)
        self.assertEqual((run.status, run.out), (0, "200"), run.err + relay.log)
        relay.wait_for("nas.test")
