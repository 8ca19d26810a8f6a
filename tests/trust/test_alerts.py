"""OpenSSL's words, of all its versions, in ours."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import ClientCertificateWanted, NoCommonVersion, TlsAlert, TlsBroken, TlsError
from lanrelay.trust.alerts import alert_in, handshake_error, late_error


def said(*reasons: str) -> Exception:
    return Exception([("SSL routines", "", reason) for reason in reasons])


class AlertTests(SynchronousTestCase):
    def test_names_of_all_versions(self) -> None:
        for words, name in (
            ("sslv3 alert handshake failure", "handshake_failure"),
            ("ssl/tls alert handshake failure", "handshake_failure"),
            ("tls alert handshake failure", "handshake_failure"),
            ("tlsv1 alert protocol version", "protocol_version"),
            ("tlsv1 alert unknown ca", "unknown_ca"),
            ("tlsv13 alert certificate required", "certificate_required"),
            ("tlsv1 unrecognized name", "unrecognized_name"),
            ("tlsv1 alert user cancelled", "user_canceled"),
            ("tls invalid ecpointformat list", ""),
            ("certificate verify failed", ""),
        ):
            self.assertEqual(alert_in(said(words)), name, words)
        self.assertEqual(alert_in(Exception()), "")

    def test_what_ends_a_handshake(self) -> None:
        for words, client, seen, kind in (
            ("tlsv1 alert protocol version", True, False, NoCommonVersion),
            ("tlsv1 alert insufficient security", True, False, NoCommonVersion),
            ("sslv3 alert handshake failure", True, False, NoCommonVersion),
            ("sslv3 alert handshake failure", True, True, ClientCertificateWanted),
            ("tlsv13 alert certificate required", True, True, ClientCertificateWanted),
            ("sslv3 alert bad certificate", True, True, ClientCertificateWanted),  # Go, for none in TLS 1.2
            ("tlsv1 alert unknown ca", False, False, TlsAlert),
            ("tlsv1 unrecognized name", True, False, TlsAlert),
            ("unsupported protocol", True, False, NoCommonVersion),
            ("no shared cipher", False, False, NoCommonVersion),
            ("peer did not return a certificate", False, False, ClientCertificateWanted),
            ("decode error", True, False, TlsError),
            ("http request", False, False, TlsError),
        ):
            error = handshake_error(said(words), client=client, certificate_seen=seen)
            self.assertIs(type(error), kind, words)
            self.assertTrue(error.permanent)

    def test_a_client_that_speaks_http_is_told_so(self) -> None:
        for words in ("http request", "https proxy request"):
            self.assertIn(
                "plain HTTP", str(handshake_error(said(words), client=False, certificate_seen=False))
            )

    def test_what_comes_after_it(self) -> None:
        for words, client, kind in (
            ("tlsv13 alert certificate required", True, ClientCertificateWanted),
            ("tlsv1 alert unknown ca", True, ClientCertificateWanted),
            ("tlsv1 alert unknown ca", False, TlsBroken),
            ("tlsv1 alert internal error", True, TlsBroken),
            ("decryption failed or bad record mac", True, TlsBroken),
        ):
            self.assertIs(type(late_error(said(words), client=client)), kind, words)
