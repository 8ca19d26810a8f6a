"""Knows the private authorities that people have on their networks, and where each keeps its root."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """
    A kind of authority.

    @ivar called: in a sentence: "issued by ...".
    @ivar root: where the root is, over there; a path, or what leads to one.
    @ivar fetch: a command that brings it here, with C{{host}} for the server; it makes C{file}.
    @ivar file: what C{fetch} makes.
    @ivar compare: a command for the owner of the server, that prints the root's SHA-256.
    """

    called: str
    root: str
    fetch: str
    file: str
    compare: str


_X509 = "openssl x509 -noout -fingerprint -sha256 -in"
_CADDY = "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt"

CADDY = Known(
    called="Caddy's local authority",
    root=f"{_CADDY} (in a container: /data/caddy/pki/authorities/local/root.crt)",
    fetch=f"ssh {{host}} sudo cat {_CADDY} > caddy-root.crt",
    file="caddy-root.crt",
    compare=f"{_X509} {_CADDY}",
)
MKCERT = Known(
    called="mkcert",
    root="rootCA.pem in the folder that `mkcert -CAROOT` prints where the certificate was made",
    fetch="ssh {host} 'cat \"$(mkcert -CAROOT)/rootCA.pem\"' > mkcert-root.pem",
    file="mkcert-root.pem",
    compare=f'{_X509} "$(mkcert -CAROOT)/rootCA.pem"',
)
STEP = Known(
    called="a step-ca",
    root="root_ca.crt in certs/ of the folder that `step path` prints on the CA's machine",
    fetch="ssh {host} 'cat \"$(step path)/certs/root_ca.crt\"' > step-root.crt",
    file="step-root.crt",
    compare='step certificate fingerprint "$(step path)/certs/root_ca.crt"',
)
SYNOLOGY = Known(
    called="a Synology NAS itself",
    root="syno-ca-cert.pem of what DSM exports: Control Panel > Security > Certificate",
    fetch="unzip archive.zip syno-ca-cert.pem",
    file="syno-ca-cert.pem",
    compare=f"{_X509} syno-ca-cert.pem",
)
PROXMOX = Known(
    called="a Proxmox VE cluster",
    root="/etc/pve/pve-root-ca.pem",
    fetch="scp root@{host}:/etc/pve/pve-root-ca.pem .",
    file="pve-root-ca.pem",
    compare=f"{_X509} /etc/pve/pve-root-ca.pem",
)

# As they call themselves in a subject or issuer (RFC 4514). Caddy: modules/caddypki, "{pki.ca.name} - ECC
# Root"; mkcert: cert.go; Proxmox: PVE/Cluster/Setup.pm; step: "NAME Root CA" and "NAME Intermediate CA" with
# O=NAME.
_MARKS: tuple[tuple[re.Pattern[str], Known], ...] = (
    (re.compile(r"\bCN=Caddy Local Authority\b"), CADDY),
    (re.compile(r"\bO=mkcert development CA\b|\bCN=mkcert "), MKCERT),
    (re.compile(r"\bCN=Proxmox Virtual Environment\b|\bO=PVE Cluster Manager CA\b"), PROXMOX),
    (re.compile(r"\bO=Synology Inc\.|\bCN=Synology Inc\. CA\b", re.IGNORECASE), SYNOLOGY),
    (re.compile(r"\bCN=(?P<name>[^,+]+) (?:Intermediate|Root) CA\b.*\bO=(?P=name)(?:,|$)"), STEP),
    (re.compile(r"\bO=(?P<name>[^,+]+),(?:.*,)?CN=(?P=name) (?:Intermediate|Root) CA(?:,|$)"), STEP),
    (re.compile(r"\bCN=(?:Smallstep|step-ca)\b"), STEP),
)


def recognise(names: Sequence[str]) -> Known | None:
    """
    The kind of the authority that is called so.

    @param names: subjects and issuers of the chain.
    """
    for pattern, known in _MARKS:
        if any(pattern.search(name) for name in names):
            return known
    return None


def names_in(chain: Sequence[dict[str, object]]) -> list[str]:
    """The issuers and subjects of a chain as L{lanrelay.examine.handshake.chain_as_json} makes it."""
    return [str(one[which]) for one in chain for which in ("issuer", "subject")]
