"""Judges a server's certificates by C{tls.pin}, alone and beside a verified chain."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from twisted.logger import Logger

from lanrelay.config.model import CertificatePin, PublicKeyPin
from lanrelay.errors import PinMismatch
from lanrelay.trust.certificate import Certificate
from lanrelay.trust.verify import check_chain, check_name

Pin = PublicKeyPin | CertificatePin

SHORT_LIVED = timedelta(days=30)
"""A leaf that lives shorter is replaced by a program, most likely with a new key: Caddy's live 12 hours."""


class Pins:
    """
    The pins of one upstream.

    @param name: the name or address that a certificate must bear where a CA is pinned.
    """

    log = Logger()

    def __init__(self, pins: Sequence[Pin], name: str) -> None:
        self._pins = pins
        self._name = name
        self._warned = False

    def judge_alone(self, leaf: Certificate, sent: Sequence[Certificate]) -> None:
        """
        Without C{tls.ca}: a pinned leaf is good as it is; a pinned CA that was sent is the only anchor.

        @param leaf: whose key the handshake has proved.
        @param sent: everything that the server sent; nothing of it is proved.
        @raise PinMismatch: no pin fits, or the one that fits has not issued the leaf.
        @raise CertificateError: what is wrong with the chain up to the pinned CA, its dates or its name.
        """
        if self._fits(leaf):
            self._warn_if_short_lived(leaf)
            return
        others = [certificate for certificate in sent if certificate != leaf]
        anchors = [certificate for certificate in others if self._fits(certificate)]
        if not anchors:
            raise self._mismatch(leaf, "the certificate fits none of the pins")
        if not check_chain(leaf, others, anchors):
            raise self._mismatch(leaf, "the server sent the pinned certificate, which has not issued its own")
        check_name(leaf, self._name)

    def judge_verified(self, chain: Sequence[Certificate]) -> None:
        """
        With C{tls.ca}: a pin must lie in the chain that was verified.

        @param chain: the leaf first.
        @raise PinMismatch: none does.
        """
        fitting = [certificate for certificate in chain if self._fits(certificate)]
        if not fitting:
            raise self._mismatch(chain[0], "no certificate of the verified chain fits any of the pins")
        if fitting == [chain[0]]:
            self._warn_if_short_lived(chain[0])

    def _fits(self, certificate: Certificate) -> bool:
        return any(
            pin.digest == (certificate.key_digest if isinstance(pin, PublicKeyPin) else certificate.digest)
            for pin in self._pins
        )

    def _mismatch(self, leaf: Certificate, detail: str) -> PinMismatch:
        by_key = any(isinstance(pin, PublicKeyPin) for pin in self._pins)
        return PinMismatch(detail, found=leaf.key_pin if by_key else leaf.pin)

    def _warn_if_short_lived(self, leaf: Certificate) -> None:
        try:
            lives = leaf.not_after - leaf.not_before
        except ValueError:
            return  # it does not say: there is nothing to warn of
        if lives < SHORT_LIVED and not self._warned:
            self._warned = True
            self.log.warn(
                "the certificate of {name} that tls.pin names lives {lifetime} only, and the next will not"
                " fit if it has a new key; pin the CA that issues it, or name that CA in tls.ca",
                name=self._name,
                lifetime=_lifetime(lives),
            )


def _lifetime(lives: timedelta) -> str:
    hours = lives.total_seconds() / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.0f} hours" if hours >= 2 else "minutes"
