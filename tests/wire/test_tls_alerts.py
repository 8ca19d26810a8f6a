"""Tests for L{lanrelay.wire.tls_alerts}; L{tests.trust.test_alerts} has OpenSSL's words for them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from lanrelay.errors import ClientCertificateWanted, NoCommonVersion, TlsAlert
from lanrelay.wire.tls_alerts import ABOUT_OUR_CERTIFICATE, handshake_ended_by


class AlertTests(SynchronousTestCase):
    def test_a_failure_before_the_certificate_is_no_version_in_common_and_after_it_ours_is_missing(
        self,
    ) -> None:
        for seen, kind in ((False, NoCommonVersion), (True, ClientCertificateWanted)):
            error = handshake_ended_by("handshake_failure", client=True, certificate_seen=seen)
            self.assertIs(type(error), kind)

    def test_whoever_has_shown_one_hears_that_it_was_refused(self) -> None:
        for alert in ABOUT_OUR_CERTIFICATE:
            error = handshake_ended_by(alert, client=True, certificate_seen=True)
            self.assertIsInstance(error, ClientCertificateWanted)
            self.assertIn("wants" if alert == "certificate_required" else "refused", str(error))

    def test_to_a_server_they_are_alerts(self) -> None:
        for alert in ("unknown_ca", "handshake_failure", "internal_error"):
            error = handshake_ended_by(alert, client=False, certificate_seen=True)
            self.assertIs(type(error), TlsAlert)
            self.assertIn(alert, str(error))
