"""
Every way in which the relay can fail on purpose.

Each class carries the error type of RFC 9209 section 2.3. That same word is the ``Proxy-Status``
header, the field of the access log, the label of the metric and the key under which
L{lanrelay.upstream.explain} finds a sentence for people.
"""

from __future__ import annotations

from datetime import datetime


class RelayError(Exception):
    """
    A deliberate failure. Anything else that escapes is a bug.

    @cvar proxy_status: the error type of RFC 9209.
    @cvar http_status: the status of the answer when it happens before a response head was sent.
    """

    proxy_status: str = "proxy_internal_error"
    http_status: int = 500

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        """What happened, as a phrase without a final stop. Never holds a secret."""

    def __str__(self) -> str:
        return self.detail or (type(self).__doc__ or "").strip().rstrip(".")


class Fault(RelayError):
    """A bug, as the client is told of it; the log has its traceback."""

    def __init__(self, detail: str = "a fault in the relay itself; its log has more") -> None:
        super().__init__(detail)


class StartError(RelayError):
    """
    The relay cannot start (or reload): a port, a certificate, a file.

    @ivar listener: the listener's name, or the empty string.
    @ivar remedy: what to do, as a sentence.
    @ivar place: where the configuration asks for it, as C{"relay.yaml:7:11: listeners.web.tls.cert"}, where
        that is known.
    """

    def __init__(self, detail: str, *, listener: str = "", remedy: str = "", place: str = "") -> None:
        super().__init__(detail)
        self.listener = listener
        self.remedy = remedy
        self.place = place

    def __str__(self) -> str:
        named = self.place or (f"listeners.{self.listener}" if self.listener else "")
        place = f"{named}: " if named else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        return f"{place}{self.detail}{remedy}"


class AlreadyRunning(StartError):
    """A relay with the same configuration runs. Then no other error is worth a word."""


# --- the upstream could not be reached -------------------------------------------------------------


class DialError(RelayError):
    """
    No connection to a target.

    @ivar target: what was dialed, as C{"nas.lan:443"}; filled in by the dialer.
    @ivar address: the address that failed, as C{"192.168.1.20:443"}; empty if it never came to one.
    @ivar elapsed: seconds from the start of the try to the failure.
    @ivar permanent: another try cannot mend it (a refused certificate, a denied address).
    @ivar errno: what the kernel said, if it was the kernel.
    @ivar others: how the other addresses or upstreams failed that were tried before this one was raised.
    @ivar parent: the parent proxy on the way, if it is the parent that could not be reached or used; then
        C{target} and C{address} are the parent's.
    """

    proxy_status = "destination_unavailable"
    http_status = 502
    permanent = False
    errno: int | None = None
    others: tuple[DialError, ...] = ()
    parent: str = ""

    def __init__(
        self, detail: str = "", *, target: str = "", address: str = "", elapsed: float = 0.0
    ) -> None:
        super().__init__(detail)
        self.target = target
        self.address = address
        self.elapsed = elapsed


class NoSuchName(DialError):
    """The name does not exist (EAI_NONAME), or has no address (EAI_NODATA)."""

    proxy_status = "dns_error"


class NameServerFailed(DialError):
    """The name could not be looked up (EAI_AGAIN, EAI_FAIL)."""

    proxy_status = "dns_error"


class NameTimeout(DialError):
    """The name was not resolved within C{timeouts.connect}."""

    proxy_status = "dns_timeout"
    http_status = 504


class ConnectionRefused(DialError):
    """The host is there, and nothing listens on the port (ECONNREFUSED, ENOENT of a unix socket)."""

    proxy_status = "connection_refused"


class DialTimeout(DialError):
    """No answer within C{timeouts.connect}."""

    proxy_status = "connection_timeout"
    http_status = 504


class Unroutable(DialError):
    """The kernel has no route to the address (EHOSTUNREACH, ENETUNREACH)."""

    proxy_status = "destination_ip_unroutable"


class DialForbidden(DialError):
    """This machine forbids the connection (EACCES, EPERM): a firewall, or the mode of a unix socket."""


class AddressDenied(DialError):
    """The listener's rules permit none of the addresses."""

    proxy_status = "destination_ip_prohibited"
    http_status = 403
    permanent = True


class NameDenied(AddressDenied):
    """The listener's rules refuse the name itself."""

    proxy_status = "http_request_denied"


class NoDestination(DialError):
    """The address is none to connect to (0.0.0.0, ::): systems take it for themselves, or refuse."""

    proxy_status = "destination_ip_prohibited"  # RFC 9209 section 2.3
    permanent = True


class LeadsBack(DialError):
    """The address is one of the relay's own, and leads back to the listener that dials it."""

    proxy_status = "proxy_loop_detected"  # RFC 9209 section 2.3
    permanent = True


class PeerClosed(DialError):
    """The peer ended the connection before it was of use (ECONNRESET, or an end inside the handshake)."""

    proxy_status = "connection_terminated"


class LocalLimit(DialError):
    """The relay itself is out of descriptors, ports or look-ups."""

    proxy_status = "connection_limit_reached"
    http_status = 503


class AllDown(DialError):
    """Every one of several upstreams is marked down."""

    proxy_status = "destination_unavailable"
    http_status = 503


class CheckFailed(DialError):
    """The upstream can be reached, and answers the health check in another way than C{health} accepts."""

    http_status = 503


class HostRefused(CheckFailed):
    """
    The upstream does not let in the Host that it was sent.

    @ivar host: which that was.
    @ivar preserved: it was the client's own (C{host: preserve}).
    """

    def __init__(self, detail: str = "", *, host: str = "", preserved: bool = False) -> None:
        super().__init__(detail)
        self.host = host
        self.preserved = preserved


class TlsOnPlain(DialError):
    """The upstream was asked without TLS, and speaks it on that port."""

    proxy_status = "http_protocol_error"


class ParentRefused(DialError):
    """
    The parent proxy would not, or could not, open the way to the target.

    @ivar status: of an HTTP parent's answer; 0 for none.
    @ivar reply: the reply code of a SOCKS parent (RFC 1928 section 6); 0 for none.
    """

    def __init__(self, detail: str = "", *, status: int = 0, reply: int = 0, permanent: bool = False) -> None:
        super().__init__(detail)
        self.status = status
        self.reply = reply
        self.permanent = permanent


class ParentTimeout(DialTimeout):
    """The parent proxy took the connection, and opened no way to the target within C{timeouts.connect}."""


class ParentMalformed(DialError):
    """The server in the place of the parent proxy is no proxy of that kind."""

    proxy_status = "http_protocol_error"


class TlsError(DialError):
    """The TLS handshake failed in a way that has no class of its own."""

    proxy_status = "tls_protocol_error"
    permanent = True


class TlsTimeout(TlsError):
    """No end of the handshake within C{timeouts.handshake}."""

    proxy_status = "connection_timeout"
    http_status = 504
    permanent = False


class NotTls(TlsError):
    """The peer answered with something that is no TLS record; most likely plain HTTP."""


class NoCommonVersion(TlsError):
    """No protocol version, or no cipher, that both sides accept."""


class TlsAlert(TlsError):
    """
    The peer sent a fatal alert that has no class of its own.

    @ivar alert: its name, as in RFC 8446 section 6.2 (C{"handshake_failure"}).
    """

    proxy_status = "tls_alert_received"

    def __init__(self, detail: str = "", *, alert: str = "") -> None:
        super().__init__(detail)
        self.alert = alert


class ClientCertificateWanted(TlsAlert):
    """The server wants a client certificate, or refused the one it was shown."""


class CertificateError(TlsError):
    """The certificate was refused for a reason that has no class of its own."""

    proxy_status = "tls_certificate_error"


class UnknownIssuer(CertificateError):
    """
    No trusted root vouches for the certificate.

    @ivar issuer: the issuer's name, as C{"CN=Home CA,O=Home"}, of the topmost certificate that was sent.
    """

    def __init__(self, detail: str = "", *, issuer: str = "") -> None:
        super().__init__(detail)
        self.issuer = issuer


class SelfSigned(UnknownIssuer):
    """The certificate is its own issuer, and is not trusted."""


class CertificateExpired(CertificateError):
    """
    The certificate, or one above it, has expired.

    @ivar moment: when, in UTC.
    """

    def __init__(self, detail: str = "", *, moment: datetime | None = None) -> None:
        super().__init__(detail)
        self.moment = moment


class CertificateNotYetValid(CertificateExpired):
    """The certificate's time has not come; or this machine's clock is behind."""


class WrongName(CertificateError):
    """
    The certificate names somebody else.

    @ivar wanted: the name or address that was asked for.
    @ivar found: the names and addresses that the certificate bears.
    """

    def __init__(self, detail: str = "", *, wanted: str = "", found: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.wanted = wanted
        self.found = found


class PinMismatch(CertificateError):
    """
    The certificates do not fit C{tls.pin}.

    @ivar found: the pin that the server's own certificate has, as one would write it.
    """

    def __init__(self, detail: str = "", *, found: str = "") -> None:
        super().__init__(detail)
        self.found = found


# --- a connection that was there ended badly ---------------------------------------------------------


class StreamError(RelayError):
    """A stream ended in another way than by its peer's orderly end."""

    proxy_status = "connection_terminated"
    http_status = 502


class Unanswered(StreamError):
    """The upstream ended the connection in order, without a byte of an answer."""


class TlsTruncated(StreamError):
    """The peer closed the connection without close_notify, so what was read may be cut short."""


class TlsBroken(StreamError):
    """A TLS record did not decrypt, or broke the protocol, or an alert came after the handshake."""

    proxy_status = "tls_protocol_error"


class StreamTimeout(StreamError):
    """Silence for longer than its limit (C{timeouts.tunnel}, C{timeouts.stream})."""

    proxy_status = "connection_read_timeout"
    http_status = 504


# --- an exchange ------------------------------------------------------------------------------------


class ExchangeError(RelayError):
    """The upstream's part of an exchange failed."""

    proxy_status = "http_protocol_error"
    http_status = 502


class ResponseTimeout(ExchangeError):
    """No response head within C{timeouts.response}."""

    proxy_status = "http_response_timeout"
    http_status = 504


class ResponseIncomplete(ExchangeError):
    """The upstream closed the connection before its answer was whole."""

    proxy_status = "http_response_incomplete"


class ResponseMalformed(ExchangeError):
    """The upstream's answer is not HTTP/1.x, or breaks its framing rules."""

    proxy_status = "http_protocol_error"


class UpgradeFailed(ExchangeError):
    """The upstream switched protocols without being asked."""

    proxy_status = "http_upgrade_failed"


class LoopDetected(ExchangeError):
    """The request has already passed this listener."""

    proxy_status = "proxy_loop_detected"


# --- programs ---------------------------------------------------------------------------------------


class ProgramError(RelayError):
    """A program that the relay runs did not do its work."""

    proxy_status = "destination_unavailable"
    http_status = 502


class ProgramNotStarted(ProgramError):
    """The program cannot be started: it is not there, or may not be run."""


class ProgramEnded(ProgramError):
    """The program ended while something was expected of it."""

    proxy_status = "connection_terminated"


class TooManyPrograms(ProgramError):
    """C{max_processes} programs of this listener run already."""

    proxy_status = "connection_limit_reached"
    http_status = 503


# --- what clients do --------------------------------------------------------------------------------


class RemoteProtocolError(RelayError):
    """
    The peer broke its protocol: raised by C{wire}, for either side.

    @ivar http_status: what a client is answered with; the side that reads an origin ignores it.
    """

    proxy_status = "http_request_error"

    def __init__(self, detail: str, http_status: int = 400) -> None:
        super().__init__(detail)
        self.http_status = http_status


class OtherProtocol(RemoteProtocolError):
    """
    A client began with another protocol where HTTP was expected.

    @ivar protocol: what it is, C{"TLS"} or C{"SOCKS"}.
    """

    def __init__(self, protocol: str) -> None:
        super().__init__(f"the client speaks {protocol} here, and plain HTTP is served")
        self.protocol = protocol


class GreetingError(RemoteProtocolError):
    """A client began with no proper SOCKS greeting or PROXY header, or it did not come in time."""


class RequestDenied(RelayError):
    """
    The client may not: an access rule, Host, Origin or credentials.

    @ivar http_status: 403, 407 or 421.
    @ivar remedy: which key of the configuration would let it, as a sentence.
    @ivar words: a few in place of those that belong to the status; nothing that the client sent is in them.
    """

    proxy_status = "http_request_denied"

    def __init__(self, detail: str, *, http_status: int = 403, remedy: str = "", words: str = "") -> None:
        super().__init__(detail)
        self.words = words
        self.http_status = http_status
        self.remedy = remedy
