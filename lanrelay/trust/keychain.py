"""
Reads which roots a Mac's keychains hold and its user or administrator trusts; OpenSSL sees no keychain.

Apple's roots are trusted as they are. What lies in the System and the login keychain is trusted only if the
trust settings say so, as Keychain Access and C{security add-trusted-cert} write them: certificates get in
there for many reasons. Written after Apple's documentation and Go's C{crypto/x509}; not yet seen on a Mac.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from hashlib import sha1
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from lanrelay.trust.pem import certificates_in

if TYPE_CHECKING:
    from lanrelay.trust.certificate import Certificate

PROGRAM = "/usr/bin/security"
APPLE = "/System/Library/Keychains/SystemRootCertificates.keychain"
SYSTEM = "/Library/Keychains/System.keychain"
LOGIN = ("Library/Keychains/login.keychain-db", "Library/Keychains/login.keychain")  # the second before 10.12

PATIENCE = 5.0
"""Seconds for all commands together. Each takes some tens of milliseconds, unless it asks for a password."""

FRESH = 60.0
"""Seconds for which an answer is not asked for again. A root that was just added is soon trusted."""

Run = Callable[[Sequence[str], float], bytes]
"""Runs a program for so many seconds at most; its output. Raises C{OSError} and C{SubprocessError}."""


class Roots(NamedTuple):
    """
    What the keychains say.

    @ivar trusted: roots for TLS.
    @ivar denied: the fingerprints of certificates that are never to be trusted for it, be they roots or not.
    """

    trusted: tuple[Certificate, ...] = ()
    denied: frozenset[str] = frozenset()


class Keychains:
    """
    The roots in the keychains, read in a thread, not before somebody asks.

    @ivar certificates: as they were read last; empty before.
    @ivar denied: as L{Roots} has them.
    @ivar generation: counts up when they change.
    @param run: runs a command, in the thread.
    @param start: starts a thread that runs what it is given.
    """

    log = Logger()

    def __init__(
        self,
        *,
        run: Run | None = None,
        start: Callable[[Callable[[], None]], None] | None = None,
        seconds: Callable[[], float] = time.monotonic,
        home: Path | None = None,
    ) -> None:
        self.certificates: tuple[Certificate, ...] = ()
        self.denied: frozenset[str] = frozenset()
        self.generation = 0
        self._run = run or _run
        self._start = start or _start_daemon
        self._seconds = seconds
        self._home = home
        self._read_at: float | None = None
        self._reading = False
        self._waiting: list[Deferred[None]] = []
        self._complained = False

    async def read(self, reactor: Any) -> None:
        """
        Wait until they have been read once. Later the known roots are good, and are read anew in the
        background.

        Never fails: without an answer only what OpenSSL finds itself is trusted, and the log says why.
        """
        stale = self._read_at is None or self._seconds() - self._read_at >= FRESH
        if stale and not self._reading:
            self._reading = True
            try:
                self._start(lambda: self._read_in_thread(reactor))
            except RuntimeError as error:  # "can't start new thread"
                self._answered(Roots(), f"no thread: {error}")
        if self._read_at is None:
            waiting: Deferred[None] = Deferred(self._leave)
            self._waiting.append(waiting)
            await waiting

    def denies(self, certificate: Certificate) -> bool:
        """Whether the keychains deny it for TLS, wherever else it is found."""
        return bool(self.denied) and _fingerprint(certificate) in self.denied

    def _leave(self, waiting: Deferred[None]) -> None:
        self._waiting.remove(waiting)

    def _read_in_thread(self, reactor: Any) -> None:
        try:
            found, problem = read_roots(self._run, self._home or Path.home(), seconds=self._seconds), ""
        except Exception as error:
            found, problem = Roots(), _reason(error)
        try:
            reactor.callFromThread(self._answered, found, problem)
        except OSError:
            pass  # the reactor has closed its waker: the process is ending

    def _answered(self, found: Roots, problem: str) -> None:
        self._reading = False
        self._read_at = self._seconds()
        if problem:
            if not self._complained:
                self.log.warn("the keychains could not be read ({problem})", problem=problem)
            self._complained = True
        else:
            self._complained = False
            self.denied = found.denied
            if found.trusted != self.certificates:
                self.certificates = found.trusted
                self.generation += 1
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(None)


@cache
def shared() -> Keychains:
    """Those of this machine, for all of the process."""
    return Keychains()


def read_roots(run: Run, home: Path, *, seconds: Callable[[], float] = time.monotonic) -> Roots:
    """
    The certificates that are trusted for TLS, or denied; blocks, C{PATIENCE} seconds at most.

    @raise OSError: or C{subprocess.SubprocessError}: the program cannot be run, or takes too long.
    """
    deadline = seconds() + PATIENCE

    def security(*arguments: str) -> bytes:
        return run([PROGRAM, *arguments], max(0.1, deadline - seconds()))

    apple = certificates_in(security("find-certificate", "-a", "-p", APPLE))
    own: list[Certificate] = []
    login = [str(home / one) for one in LOGIN if (home / one).exists()]
    for keychain in (SYSTEM, *login[:1]):
        try:
            own += certificates_in(security("find-certificate", "-a", "-p", keychain))
        except subprocess.CalledProcessError:
            continue  # it is empty
    # The user's word goes before the administrator's, and that before the default.
    settings = {**_settings(security, "-d"), **_settings(security)}
    trusted = [one for one in apple if settings.get(_fingerprint(one)) is not False]
    trusted += [one for one in own if settings.get(_fingerprint(one)) is True and _may_issue(one)]
    denied = frozenset(fingerprint for fingerprint, good in settings.items() if not good)
    return Roots(tuple(dict.fromkeys(trusted)), denied)


def _settings(security: Callable[..., bytes], *domain: str) -> dict[str, bool]:
    """By fingerprint: trusted or not for TLS. A certificate about which nothing is said is not in it."""
    with tempfile.TemporaryDirectory(prefix="lanrelay-") as folder:
        file = os.path.join(folder, "trust.plist")
        try:
            security("trust-settings-export", *domain, file)
            content = Path(file).read_bytes()
        except (subprocess.CalledProcessError, FileNotFoundError):
            return {}  # "No Trust Settings were found."
    import plistlib  # late: XML

    listed = plistlib.loads(content).get("trustList", {})
    found = {}
    for fingerprint, entry in listed.items():
        verdict = _verdict(entry.get("trustSettings", []))
        if verdict is not None:
            found[fingerprint.upper()] = verdict
    return found


_TRUST, _TRUST_AS_ROOT, _DENY = 1, 2, 3  # SecTrustSettingsResult


def _verdict(rules: Iterable[dict[str, Any]]) -> bool | None:
    """No rule means trust for all purposes, and a rule without a result means trust (SecTrustSettings.h)."""
    rules = list(rules)
    if not rules:
        return True
    verdict: bool | None = None
    for rule in rules:
        if rule.get("kSecTrustSettingsPolicyName", "sslServer") not in ("sslServer", "basicX509"):
            continue
        result = rule.get("kSecTrustSettingsResult", _TRUST)
        if result == _DENY:
            return False
        # A rule for one host, or one that forgives an error, is no reason to trust it as a root.
        special = "kSecTrustSettingsPolicyString" in rule or "kSecTrustSettingsAllowedError" in rule
        if result in (_TRUST, _TRUST_AS_ROOT) and not special:
            verdict = True
    return verdict


def _fingerprint(certificate: Certificate) -> str:
    return sha1(certificate.der, usedforsecurity=False).hexdigest().upper()


def _may_issue(certificate: Certificate) -> bool:
    """Whether it is a root: nothing else is a trust anchor for OpenSSL by itself."""
    return certificate.issuer == certificate.subject


def _run(command: Sequence[str], timeout: float) -> bytes:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=timeout,
        check=True,
    ).stdout


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"`security` did not answer within {PATIENCE:g} s"
    if isinstance(error, subprocess.CalledProcessError):
        return f"`security {error.cmd[1]}` ended with status {error.returncode}"
    return str(error) or type(error).__name__


def _start_daemon(run: Callable[[], None]) -> None:
    Thread(target=run, name="keychains", daemon=True).start()
