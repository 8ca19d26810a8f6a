"""Decides which transports carry the connections: our own, or Twisted's."""

from __future__ import annotations

import os

OWN = os.environ.get("LANRELAY_TRANSPORT") != "twisted"
"""
Whether streams are L{lanrelay.transport.tcp.TcpStream}. C{LANRELAY_TRANSPORT=twisted} in the environment
takes Twisted's: they do the same at a higher cost, and tell whether a fault is ours. Read here only.
"""
