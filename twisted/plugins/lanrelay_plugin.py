"""Makes ``twistd lanrelay`` known to Twisted."""

from twisted.application.service import ServiceMaker

lanrelay = ServiceMaker(
    "lanrelay", "lanrelay.tap", "Relays from loopback to the LAN, as one YAML file says.", "lanrelay"
)
