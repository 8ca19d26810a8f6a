"""The proxy auto-configuration file: private destinations through the relay, the rest directly."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network
from typing import Final

from lanrelay.config import model

PATH: Final = b"/proxy.pac"
CONTENT_TYPE: Final = b"application/x-ns-proxy-autoconfig"

# Domains that no public name server knows: RFC 6762, RFC 8375, ICANN's reservation of 2024, and the default
# names that home routers give their network.
_DOMAINS: Final = ("local", "lan", "home.arpa", "internal")
_NETWORKS: Final = tuple(
    IPv4Network(text) for text in ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")
)

# ES3 without the browsers' helper functions, for isInNet() and others ask DNS and so stop the page.
_SCRIPT: Final = """\
function FindProxyForURL(url, host) {
  var relay = %(relay)s;
  var names = %(names)s;
  var domains = %(domains)s;
  var ranges = %(ranges)s;
  var i, number, parts;
  host = host.toLowerCase().replace(/^\\[|\\]$|\\.$/g, "");
  if (host === "localhost" || /\\.localhost$/.test(host) || host === "::1") return "DIRECT";
  parts = /^(\\d{1,3})\\.(\\d{1,3})\\.(\\d{1,3})\\.(\\d{1,3})$/.exec(host);
  if (parts) {
    if (parts[1] === "127") return "DIRECT";
    number = ((+parts[1] * 256 + +parts[2]) * 256 + +parts[3]) * 256 + +parts[4];
    for (i = 0; i < ranges.length; i++) {
      if (number >= ranges[i][0] && number <= ranges[i][1]) return relay;
    }
    return "DIRECT";
  }
  if (host.indexOf(":") >= 0) return /^f[cd][0-9a-f]{2}:/.test(host) ? relay : "DIRECT";
  if (host.indexOf(".") < 0) return relay;
  for (i = 0; i < names.length; i++) {
    if (host === names[i]) return relay;
  }
  for (i = 0; i < domains.length; i++) {
    if (host.slice(-domains[i].length - 1) === "." + domains[i]) return relay;
  }
  return "DIRECT";
}
"""


def script(
    authority: str,
    *,
    secure: bool = False,
    allow: Iterable[model.DestinationRule] = (),
    fixed: Iterable[str] = (),
) -> bytes:
    """
    The file.

    @param authority: host and port of the relay, as the client knows them.
    @param secure: the relay's listener speaks TLS.
    @param allow: the listener's rules; names and IPv4 networks in them count as private, too.
    @param fixed: names that only the relay knows.
    """
    import json  # only here, for most relays need no JSON

    rules = list(allow)
    names = {rule.name for rule in rules if rule.name is not None and not rule.below}
    domains = {rule.name for rule in rules if rule.name is not None and rule.below}
    networks = [rule.network for rule in rules if isinstance(rule.network, IPv4Network)]
    values = {
        "relay": f"{'HTTPS' if secure else 'PROXY'} {authority}",
        "names": sorted(names | set(fixed)),
        "domains": [*_DOMAINS, *sorted(domains.difference(_DOMAINS))],
        "ranges": [
            [int(network.network_address), int(network.broadcast_address)]
            for network in (*_NETWORKS, *networks)
        ],
    }
    text = _SCRIPT % {name: json.dumps(value) for name, value in values.items()}
    return text.encode("ascii")
