"""Turns the configuration's certificates, keys and trusted roots into OpenSSL connections."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from lanrelay.addresses import in_ascii
from lanrelay.config.model import ServerTls, Trust
from lanrelay.errors import CertificateError, StartError, TlsError
from lanrelay.trust.files import Reloaded
from lanrelay.wire import der

if TYPE_CHECKING:
    from OpenSSL import SSL

    from lanrelay.trust.certificate import Certificate
    from lanrelay.trust.keychain import Keychains
    from lanrelay.trust.pins import Pins


class ClientTls:
    """
    How to secure connections to one upstream: whom to trust, under which name, and what to show.

    With C{system} roots alone nothing is read before the first connection. Files that change are read again.

    @ivar server_name: the name or address that the certificate must bear.
    @param platform: as C{sys.platform}; on macOS C{system} means the keychains too.
    @param keychains: of this machine.
    """

    log = Logger()

    def __init__(
        self,
        trust: Trust,
        server_name: str,
        *,
        platform: str = sys.platform,
        keychains: Keychains | None = None,
    ) -> None:
        self.trust = trust
        self.server_name = server_name
        self._keychains: Keychains | None = None
        self._pins: Pins | None = None
        if trust.verify and "system" in trust.ca and platform == "darwin":
            from lanrelay.trust.keychain import shared  # only where there are any

            self._keychains = keychains or shared()
        self._reloaded: Reloaded[SSL.Context] = Reloaded(
            f"what tls names for {server_name}", self._files, self._make
        )

    def load(self) -> None:
        """
        Read the files that are named, once.

        @raise StartError: with file and remedy.
        """
        trust = self.trust
        if trust.cert is not None or (trust.verify and any(isinstance(one, Path) for one in trust.ca)):
            self._ready()

    async def prepare(self, reactor: Any) -> None:
        """Wait for what must be known before a connection: on macOS, for the keychains, seconds at most."""
        if self._keychains is not None:
            await self._keychains.read(reactor)

    def connection(self, alpn: tuple[str, ...] = ()) -> SSL.Connection:
        """
        An OpenSSL connection in memory, for one handshake.

        @param alpn: application protocols to offer (RFC 7301); by default those of the configuration.
        """
        from OpenSSL import SSL  # late: 80 ms

        from lanrelay.trust.verify import Judgement, is_address

        connection = SSL.Connection(self._ready(), None)
        connection.set_connect_state()
        connection.set_app_data(Judgement(late=self.trust.cert is not None))
        if self.server_name and not is_address(self.server_name):
            connection.set_tlsext_host_name(in_ascii(self.server_name.rstrip(".")).encode("ascii"))
        offered = alpn or self.trust.alpn
        if offered:
            connection.set_alpn_protos([name.encode("ascii") for name in offered])
        return connection

    def judge(self, connection: SSL.Connection) -> None:
        """
        The last word, when OpenSSL is content: whose certificate is it, and does it fit the pins?

        Without C{tls.ca} the pins alone decide, and OpenSSL has judged nothing. On macOS the keychains may
        deny what comes from elsewhere: from C{/etc/ssl/cert.pem}, or another OpenSSL's roots.

        @raise CertificateError: it is somebody else's, or the keychains deny it.
        """
        from lanrelay.trust.certificate import Certificate
        from lanrelay.trust.verify import check_name

        trust = self.trust
        if not trust.verify:
            return
        shown: Any = connection.get_peer_certificate()
        leaf = Certificate(shown)
        if not trust.ca:
            sent: Any = connection.get_peer_cert_chain() or []
            self._pinned().judge_alone(leaf, list(map(Certificate, sent)))
            return
        check_name(leaf, self.server_name)
        keychains = self._keychains
        if trust.pin or (keychains is not None and keychains.denied):
            verified: Any = connection.get_verified_chain() or [shown]
            chain = list(map(Certificate, verified))
            if keychains is not None:
                self._ask_keychains(keychains, chain)
            if trust.pin:
                self._pinned().judge_verified(chain)

    def _ask_keychains(self, keychains: Keychains, chain: list[Certificate]) -> None:
        for certificate in chain:
            if keychains.denies(certificate) and certificate not in self._named():
                raise CertificateError(
                    f"the keychains say that {certificate.subject} is never to be trusted"
                    " (Keychain Access, Trust; tls.ca may name it nevertheless)"
                )

    def _named(self) -> list[Certificate]:
        """What C{tls.ca} names by itself."""
        from lanrelay.trust.pem import read_authorities

        files = [one for one in self.trust.ca if isinstance(one, Path)]
        return [one for path in files for one in read_authorities(path, "tls.ca")]

    def _pinned(self) -> Pins:
        if self._pins is None:
            from lanrelay.trust.pins import Pins  # few upstreams have any

            self._pins = Pins(self.trust.pin, self.server_name)
        return self._pins

    def _ready(self) -> SSL.Context:
        return self._reloaded.get()

    def _files(self) -> list[object]:
        """What the context is made of."""
        trust = self.trust
        found: list[object] = [one for one in (trust.cert, trust.key) if one is not None]
        if trust.verify:
            found += [one for one in trust.ca if isinstance(one, Path)]
            if "system" in trust.ca:
                from lanrelay.trust.system_roots import bundle

                found.append(bundle())
        if self._keychains is not None:
            found.append(self._keychains.generation)
        return found

    def _make(self) -> SSL.Context:
        from OpenSSL import SSL  # late: 80 ms

        from lanrelay.trust.contexts import new_context, show, trust_authorities
        from lanrelay.trust.verify import note_finding

        trust = self.trust
        late = trust.cert is not None
        context = new_context(SSL.TLS_CLIENT_METHOD, trust.min_version, renegotiates=late)
        if trust.cert is not None:
            from lanrelay.trust.late import allow_late_certificates  # few have one

            allow_late_certificates(context)
            show(context, trust.cert, trust.key or trust.cert, passphrase=trust.passphrase)
        if not trust.verify or not trust.ca:
            context.set_verify(SSL.VERIFY_NONE, lambda *_: True)  # `judge` looks at pins
            return context
        for one in trust.ca:
            if isinstance(one, Path):
                trust_authorities(context, one, "tls.ca")
            else:
                self._trust_system(context)
        context.set_verify(SSL.VERIFY_PEER, note_finding)
        return context

    def _trust_system(self, context: SSL.Context) -> None:
        from lanrelay.trust.system_roots import trust_system

        found = trust_system(context)
        if self._keychains is not None:
            store = context.get_cert_store()
            assert store is not None
            for certificate in self._keychains.certificates:
                store.add_cert(certificate.x509)
                found = True
        if not found:
            self.log.warn(
                "no trusted roots of this system were found, so no public certificate for {name} will be"
                " trusted; install the package ca-certificates, set SSL_CERT_FILE, or name a file in tls.ca",
                name=self.server_name,
            )


class ServerContext:
    """How a listener shows itself, and whether clients must; files that change are read again."""

    def __init__(self, tls: ServerTls) -> None:
        self.tls = tls
        self._reloaded: Reloaded[SSL.Context] = Reloaded(
            f"the certificate {tls.cert}", lambda: [tls.cert, tls.key, *tls.client_ca], self._make
        )
        self._let_in: list[object] = []

    def load(self) -> None:
        """
        Read certificate, key and client CAs, once.

        @raise StartError: with file and remedy.
        """
        self._ready()
        self._let_in = self._authorities()

    def other_clients(self) -> bool:
        """Whether C{client_ca} holds something else than when it was loaded: others may come now."""
        try:
            return self._authorities() != self._let_in
        except StartError:
            return True

    def _authorities(self) -> list[object]:
        from lanrelay.trust.pem import read_authorities  # late: few listeners have TLS

        return [
            one
            for path in self.tls.client_ca
            for one in read_authorities(path, "tls.client_ca", der.CLIENT_AUTH)
        ]

    def connection(self) -> SSL.Connection:
        """An OpenSSL connection in memory, for one handshake."""
        from OpenSSL import SSL  # late: 80 ms

        from lanrelay.trust.verify import Judgement

        connection = SSL.Connection(self._ready(), None)
        connection.set_accept_state()
        connection.set_app_data(Judgement())
        return connection

    def _ready(self) -> SSL.Context:
        return self._reloaded.get()

    def _make(self) -> SSL.Context:
        from OpenSSL import SSL  # late: 80 ms

        from lanrelay.trust.contexts import new_context, show, trust_authorities
        from lanrelay.trust.verify import note_finding

        context = new_context(SSL.TLS_SERVER_METHOD, self.tls.min_version)
        # No resumption: a client that was once let in would come again without showing its certificate, and
        # tickets written after the handshake meet clients that never read.
        context.set_options(SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        if self.tls.alpn:
            context.set_alpn_select_callback(self._choose)
        show(context, self.tls.cert, self.tls.key, passphrase=self.tls.passphrase)
        if self.tls.client_ca:
            named: list[Certificate] = []
            for path in self.tls.client_ca:
                named += trust_authorities(context, path, "tls.client_ca", der.CLIENT_AUTH)
            for one in named:
                try:
                    context.add_client_ca(one.x509.to_cryptography())  # the names help browsers to choose
                except ValueError:
                    pass  # a strict parser does not take it, and they can choose without
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, note_finding)
        return context

    def _choose(self, connection: SSL.Connection, offered: list[bytes]) -> bytes:
        """The first of ours that the client offers; without any there is no connection (RFC 7301)."""
        from OpenSSL import SSL  # late: 80 ms; by now it was imported for the context

        for name in self.tls.alpn:
            if name.encode("ascii") in offered:
                return name.encode("ascii")
        judgement: Any = connection.get_app_data()
        said = ", ".join(ascii(name.decode("latin-1"))[1:-1] for name in offered[:5])
        judgement.error = TlsError(f"the client speaks {said}, and tls.alpn is {', '.join(self.tls.alpn)}")
        raise SSL.Error([("", "", "no application protocol")])  # OpenSSL sends the alert of that name
