"""The one table of kinds: which listener serves which record of the configuration."""

from __future__ import annotations

from lanrelay.config import model
from lanrelay.listeners.service import Environment, ListenerService


def build(environment: Environment, config: model.Listener) -> ListenerService:
    """
    Make the listener that C{config} describes; nothing is opened yet.

    Kinds are imported when they are asked for: a relay without HTTP need not load it.
    """
    if isinstance(config, model.TcpForward):
        from lanrelay.listeners.tcp_forward import TcpForwardService

        return TcpForwardService(environment, config)
    if isinstance(config, model.ReverseProxy):
        from lanrelay.listeners.reverse_proxy import ReverseProxyService

        return ReverseProxyService(environment, config)
    if isinstance(config, model.ConnectProxy):
        from lanrelay.listeners.connect_proxy import ConnectProxyService

        return ConnectProxyService(environment, config)
    if isinstance(config, model.SocksProxy):
        from lanrelay.listeners.socks_proxy import SocksProxyService

        return SocksProxyService(environment, config)
    if isinstance(config, model.Exec):
        if config.protocol == "mcp-http":
            from lanrelay.listeners.exec_mcp import McpService

            return McpService(environment, config)
        from lanrelay.listeners.exec_raw import ExecService

        return ExecService(environment, config)
    raise ValueError(f"no listener serves a {type(config).__name__}")
