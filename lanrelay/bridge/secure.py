"""TLS with the standard library: whom to trust, and what a failed handshake means."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any, NamedTuple

from lanrelay import errors
from lanrelay.wire import der
from lanrelay.wire.tls_alerts import ABOUT_OUR_CERTIFICATE, certificate_wanted, handshake_ended_by
from lanrelay.wire.tls_question import is_tls

SYSTEM = "system"

# X509_V_ERR of OpenSSL's x509_vfy.h.
_NOT_YET, _EXPIRED, _OWN, _NAMES = 9, 10, 18, (62, 64)
_NOBODY = (2, 19, 20, 21)


class Secure(NamedTuple):
    """
    What certificates a target may show, and which one it is shown.

    @ivar ca: files, and L{SYSTEM}. If empty, the system's authorities are trusted; or none, if there are
        pins.
    @ivar pins: C{(kind, digest)} with the kinds C{key} and C{certificate}.
    @ivar cert: PEM files, or C{None}.
    """

    ca: tuple[str, ...] = ()
    pins: tuple[tuple[str, bytes], ...] = ()
    cert: str | None = None
    key: str | None = None


class NotUsable(Exception):
    """A file that was named cannot be used; the text is a sentence."""


def pin(text: str) -> tuple[str, bytes]:
    """
    C{sha256//BASE64} or C{sha256:HEX}, as C{tls.pin} has them.

    @raise ValueError: it is no pin; the text says what was expected.
    """
    from lanrelay.config import model, values

    found = values.pin(text)
    return ("key" if isinstance(found, model.PublicKeyPin) else "certificate", found.digest)


def context(secure: Secure) -> ssl.SSLContext:
    """
    @raise NotUsable: a file is not there, or does not hold what it should.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["http/1.1"])
    # As in the relay, a certificate that was named is trusted, whether it is a root or not.
    made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if secure.pins and not secure.ca:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE  # the pins judge
    for one in secure.ca or ((SYSTEM,) if not secure.pins else ()):
        if one == SYSTEM:
            made.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            _load(made, one)
    if secure.cert is not None:
        try:
            # For a key with a passphrase, OpenSSL would ask at the terminal, which belongs to the client.
            made.load_cert_chain(secure.cert, secure.key, password=_no_passphrase)
        except (OSError, ssl.SSLError, ValueError) as error:
            files = secure.cert if secure.key is None else f"{secure.cert} and {secure.key}"
            raise NotUsable(f"The certificate {files} cannot be used: {_reason(error)}.") from None
    return made


def _no_passphrase() -> str:
    raise ValueError("the key has a passphrase")


def _load(made: ssl.SSLContext, file: str) -> None:
    before = len(made.get_ca_certs()) + made.cert_store_stats()["x509"]
    try:
        made.load_verify_locations(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise NotUsable(f"The authorities in {file} cannot be used: {_reason(error)}.") from None
    if made.cert_store_stats()["x509"] == 0 and before == 0:
        raise NotUsable(f"There is no certificate in {file}.")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).lower().replace("_", " ")
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error)


class Tls:
    """The TLS of one connection, in memory."""

    def __init__(self, made: ssl.SSLContext, secure: Secure, name: str) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._secure = secure
        self._name = name.partition("%")[0]
        self._left = b""
        self._object = made.wrap_bio(self._in, self._out, server_hostname=self._name)
        self._first = b""
        self._done = False

    # --- the handshake ---

    def shake(self) -> bool:
        """
        One step of the handshake.

        @return: it is done.
        @raise errors.TlsError: it failed.
        """
        if self._done:
            return True
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLError as error:
            raise self._meaning(error) from None
        self._done = True
        if self._secure.pins:
            self._judge()
        return True

    def shake_and_send(self, connected: socket.socket) -> bool:
        """
        L{shake}, and send what it makes, so that the peer hears of a refusal, too.

        @raise OSError: the connection is gone.
        """
        try:
            done = self.shake()
        finally:
            try:
                self.send_to(connected)
            except BlockingIOError:
                pass
        return done and not self.has_outgoing

    def _judge(self) -> None:
        leaf = self._object.getpeercert(binary_form=True) or b""
        chain = [leaf] if not self._secure.ca else _verified(self._object) or [leaf]
        if any(fits(one, self._secure.pins) for one in chain):
            return
        from base64 import b64encode
        from hashlib import sha256

        found = f"sha256//{b64encode(sha256(der.public_key(leaf)).digest()).decode()}"
        raise errors.PinMismatch("the certificate fits none of the pins", found=found)

    def _meaning(self, error: ssl.SSLError) -> errors.TlsError:
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._refused(error)
        reason = (error.reason or "").lower()
        # OpenSSL renames them: SSLV3_ALERT_..., TLSV1_ALERT_..., TLSV13_ALERT_...
        if "_alert_" in f"_{reason}":
            return self._alert(reason.partition("alert_")[2])
        if reason.startswith(("tlsv1_", "tlsv13_")):
            return self._alert(reason.partition("_")[2])
        if self._first and not is_tls(self._first):
            return errors.NotTls(f"it answered with {self._first[:16]!r}")
        if reason in (
            "unsupported_protocol",
            "wrong_ssl_version",
            "no_protocols_available",
            "wrong_version_number",
        ):
            return errors.NoCommonVersion(f"no TLS version or cipher in common ({reason.replace('_', ' ')})")
        return errors.TlsError(f"the TLS handshake failed: {reason.replace('_', ' ') or error}")

    def _alert(self, alert: str) -> errors.TlsError:
        return handshake_ended_by(alert, client=True, certificate_seen=bool(_sent(self._object)))

    def _refused(self, error: ssl.SSLCertVerificationError) -> errors.TlsError:
        chain = _sent(self._object)
        code = error.verify_code
        leaf = chain[0] if chain else b""
        said = error.verify_message or "it was refused"
        if code in _NAMES:
            found = tuple(str(_shown(name)) for name in _names(leaf))
            return errors.WrongName(said, wanted=self._name, found=found)
        if code in (_EXPIRED, _NOT_YET):
            kind = errors.CertificateExpired if code == _EXPIRED else errors.CertificateNotYetValid
            return kind(said, moment=_moment(chain, code == _EXPIRED))
        if code == _OWN:
            return errors.SelfSigned(said, issuer=_issuer(leaf))
        if code in _NOBODY:
            return errors.UnknownIssuer(said, issuer=_issuer(chain[-1] if chain else b""))
        return errors.CertificateError(said)

    # --- bytes ---

    @property
    def holds(self) -> bool:
        """Whether something has come that has not been read yet."""
        return bool(self._in.pending or self._object.pending() or self._in.eof)

    @property
    def has_outgoing(self) -> bool:
        return bool(self._left or self._out.pending)

    def outgoing(self, limit: int) -> bytes:
        data = self._left or self._out.read(limit)
        self._left = b""
        return data

    def send_to(self, connected: socket.socket) -> bool:
        """
        @return: all has gone.
        @raise BlockingIOError: not a byte goes now.
        """
        data = self._left or self._out.read(1 << 18)
        self._left = data
        self._left = data[connected.send(data) :] if data else b""
        return not self.has_outgoing

    def incoming(self, data: bytes) -> None:
        if len(self._first) < 16:
            self._first += data[: 16 - len(self._first)]
        self._in.write(data)

    def incoming_ended(self) -> None:
        self._in.write_eof()

    def write(self, data: memoryview) -> int:
        return self._object.write(data)

    def read(self, limit: int) -> bytes | None:
        """
        @return: C{None} where nothing whole has come, nothing at the end.
        @raise errors.RelayError: the stream is cut or broken.
        """
        try:
            return self._object.read(limit)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""
        except (ssl.SSLEOFError, ssl.SSLSyscallError):
            raise errors.TlsTruncated("the connection ended without close_notify") from None
        except ssl.SSLError as error:
            reason = (error.reason or "").lower()
            if "unexpected_eof" in reason:
                raise errors.TlsTruncated("the connection ended without close_notify") from None
            alert = reason.partition("alert_")[2]
            if alert in ABOUT_OUR_CERTIFICATE:  # TLS 1.3 judges us after the handshake
                raise certificate_wanted(alert) from None
            raise errors.TlsBroken(f"a TLS record was broken: {reason.replace('_', ' ')}") from None

    def end(self) -> None:
        """Put the close_notify among what goes out; reading goes on."""
        try:
            self._object.unwrap()
        except ssl.SSLError:
            pass  # the peer's own has not come yet, or the handshake was not done


def fits(certificate: bytes, pins: tuple[tuple[str, bytes], ...]) -> bool:
    """Whether a certificate, or its public key, is one of the C{pins}."""
    from hashlib import sha256

    try:
        key = sha256(der.public_key(certificate)).digest()
    except (ValueError, IndexError):
        return False
    whole = sha256(certificate).digest()
    return any(digest == (key if kind == "key" else whole) for kind, digest in pins)


def _verified(made: ssl.SSLObject) -> list[bytes]:
    return _chain(made, "get_verified_chain")


def _sent(made: ssl.SSLObject) -> list[bytes]:
    return _chain(made, "get_unverified_chain")


def _chain(made: Any, called: str) -> list[bytes]:
    """Certificates in DER: public from 3.13 on, and there before."""
    found = getattr(made, called, None)
    try:
        chain = (found or getattr(made._sslobj, called))() or ()
    except (AttributeError, ssl.SSLError, ValueError):
        return []
    return [one if isinstance(one, bytes) else ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in chain]


def _names(certificate: bytes) -> list[str | bytes]:
    try:
        return der.alternative_names(certificate)
    except (ValueError, IndexError):
        return []


def _shown(name: str | bytes) -> str:
    if isinstance(name, str):
        return name
    from ipaddress import ip_address

    try:
        return str(ip_address(name))
    except ValueError:
        return name.hex()


def _issuer(certificate: bytes) -> str:
    try:
        parts = der.name(certificate, der.ISSUER)
    except (ValueError, IndexError):
        return ""
    return ",".join(f"{short}={value.decode('utf-8', 'replace')}" for short, value in parts)


def _moment(chain: list[bytes], end: bool) -> Any:
    """When the certificate begins or ends that is not valid now."""
    from datetime import datetime, timezone

    now = datetime.now(timezone.utc)
    for certificate in chain:
        try:
            begins, ends = der.dates(certificate)
        except (ValueError, IndexError):
            continue
        if end and ends < now:
            return ends
        if not end and begins > now:
            return begins
    return None


def stored(config: Path, host: str, port: int) -> Secure | None:
    """
    What C{lanrelay trust} has stored for a host beside the configuration.

    @raise NotUsable: the file holds something else.
    """
    from lanrelay.config.stored_trust import FOLDER, pin_file, stored_trust
    from lanrelay.config.values import Unfit

    if not (config.parent / FOLDER).is_dir():
        return None
    try:
        trust = stored_trust(config, host, port)
    except Unfit as error:
        raise NotUsable(f"The pin in {pin_file(config, host, port)} cannot be used: {error}.") from None
    if trust is None:
        return None
    from lanrelay.config.model import PublicKeyPin

    pins = tuple(("key" if isinstance(one, PublicKeyPin) else "certificate", one.digest) for one in trust.pin)
    return Secure(ca=tuple(str(one) for one in trust.ca), pins=pins)
