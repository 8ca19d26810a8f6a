"""A real PostgreSQL behind a forward: how its sessions end is how they are told."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import ClassVar

from lanrelay.cli.authority import Authority
from tests.live.test_reverse_proxy import in_thread
from tests.support.peers import PeerTestCase, free_ports
from tests.support.progress import PATIENCE
from tests.support.relay import Relay
from tests.support.to_copy import lines as to_copy


def _user() -> tuple[list[str], int, int]:
    """What runs a program as somebody who is not root, which PostgreSQL refuses, and who that is."""
    if os.geteuid() != 0:
        return [], os.geteuid(), os.getegid()
    entry = pwd.getpwnam("nobody")
    switch = shutil.which("setpriv")
    assert switch is not None  # of util-linux, which is essential
    words = [switch, f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", "--"]
    return words, entry.pw_uid, entry.pw_gid


def _binary(name: str) -> str | None:
    """Debian has the server's programs in a folder of each version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return shutil.which(name, path=":".join([os.environ.get("PATH", ""), *map(str, folders)]))


class PostgresqlTests(PeerTestCase):
    environ: ClassVar[dict[str, str]] = {}

    def setUp(self) -> None:
        initdb, server, client = _binary("initdb"), _binary("postgres"), _binary("psql")
        if initdb is None or server is None or client is None:
            self.skipTest("postgresql is not here")
        self.psql = client
        folder = Path(tempfile.mkdtemp(prefix="lanrelay-pg-"))
        self.addCleanup(shutil.rmtree, folder)
        authority = Authority(folder)
        self.root = authority.root
        issued = authority.issue("localhost", "127.0.0.1", "nas.lan")
        as_user, uid, gid = _user()
        data = folder / "data"
        data.mkdir()
        for path in (folder, data, issued.cert, issued.key):
            os.chown(path, uid, gid)
        command = [*as_user, initdb, "-D", str(data), "-A", "trust", "-U", "test", "--no-sync"]
        done = subprocess.run(command, capture_output=True, timeout=60, check=False, cwd=folder)
        self.assertEqual(done.returncode, 0, done.stderr.decode())
        [port] = free_ports(1)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "ssl": "on",
            "ssl_cert_file": issued.cert,
            "ssl_key_file": issued.key,
            "fsync": "off",
        }
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.program([*as_user, server, "-D", str(data), *arguments], [port])
        [self.admin] = free_ports(1)
        self.relay = Relay(
            f"""
            admin: {{listen: "127.0.0.1:{self.admin}"}}
            listeners:
              named:
                type: tcp-forward
                listen: 127.0.0.1:0
                upstream: {{url: "tcp://db.lan:5432", address: "127.0.0.1:{port}"}}
              db: {{type: tcp-forward, listen: 127.0.0.1:0, upstream: "tcp://127.0.0.1:{port}"}}
            """,
            environ=self.environ,
        ).start()
        self.addCleanup(self.relay.stop)

    def ask(self, mode: str) -> None:
        """
        A session that psql ends while the relay stands still, so that its end has come before the server
        does anything about it. Else either may be first, which depends on what the kernel lets run.
        """
        url = f"postgresql://test@127.0.0.1:{self.relay.port('db')}/postgres?sslmode={mode}"
        psql = subprocess.Popen(
            [self.psql, url, "-XAt"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self.addCleanup(psql.wait, 30)
        self.addCleanup(psql.kill)
        assert psql.stdin is not None
        assert psql.stdout is not None
        with psql.stdin as say, psql.stdout as hear:
            say.write(b"select sum(n) from generate_series(1, 100000) n;\n")
            say.flush()
            self.assertEqual(hear.readline(), b"5000050000\n")
            self.relay.process.send_signal(signal.SIGSTOP)
            try:
                say.close()
                self.assertEqual((hear.read(), psql.wait(PATIENCE)), (b"", 0))
            finally:
                self.relay.process.send_signal(signal.SIGCONT)

    @in_thread
    def test_good_sessions_are_no_errors(self) -> None:
        """Over TLS the server closes with the client's close_notify unread, and so its kernel resets."""
        for mode in ("disable", "require"):
            for _ in range(5):
                self.ask(mode)
        self.relay.wait_for(r"(\[access\] db [^\n]*\n.*){10}")
        lines = [line for line in self.relay.log.splitlines() if "[access] db " in line]
        self.assertEqual([line for line in lines if "end=downstream phase=done" not in line], [])

    @in_thread
    def test_the_line_of_the_status_page_works(self) -> None:
        line = to_copy(self.admin)["named"]["psql"].replace("USER", "test").replace("DATABASE", "postgres")
        self.assertTrue(line.startswith("psql "), line)
        done = subprocess.run(
            ["sh", "-c", f"echo 'select 6 * 7;' | {line}"],
            env={"PATH": f"{Path(self.psql).parent}:/usr/bin:/bin", "HOME": "/nonexistent"},
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn(b"42", done.stdout)

    @in_thread
    def test_the_client_verifies_the_server_s_own_name_through_a_forward(self) -> None:
        """As docs/databases.md has it: the name is C{host}, and where the relay is stands in C{hostaddr}."""
        port = self.relay.port("db")
        for host, status in (("nas.lan", 0), ("other.lan", 2)):
            line = (
                f"host={host} hostaddr=127.0.0.1 port={port} user=test dbname=postgres "
                f"sslmode=verify-full sslrootcert={self.root}"
            )
            done = subprocess.run(
                [self.psql, line, "-At", "-c", "select 1"], capture_output=True, timeout=PATIENCE, check=False
            )
            self.assertEqual(done.returncode, status, done.stderr)


class TwistedPostgresqlTests(PostgresqlTests):
    environ: ClassVar[dict[str, str]] = {"LANRELAY_TRANSPORT": "twisted"}
