"""The rows of programs to chat with."""

from __future__ import annotations

from lanrelay.clients.row import Client, Files, Native

MAC = ("darwin",)

APPS: tuple[Client, ...] = (
    Client(
        "claude-desktop",
        "Claude Desktop",
        (
            Files("user", "APP/Claude/claude_desktop_config.json", kept=True),
            Files("user", "APP/claude/claude_desktop_config.json", ("linux",), kept=True),
        ),
        "quit Claude Desktop completely and start it",
        takes=("stdio",),
        processes=("Claude", "claude-desktop", "Claude Desktop"),
    ),
    Client(
        "lmstudio",
        "LM Studio",
        (Files("user", "~/.lmstudio/mcp.json"), Files("user", "~/.cache/lm-studio/mcp.json")),
        "LM Studio reads the file by itself",
        native=Native(),
    ),
    Client(
        "warp",
        "Warp",
        (
            Files("user", "~/.warp/.mcp.json"),
            Files("user", "~/.warp_cli/.mcp.json"),
            Files("project", ".warp/.mcp.json"),
        ),
        "start the server again in Warp's MCP settings",
        native=Native(),
    ),
    Client(
        "boltai",
        "BoltAI",
        (Files("user", "~/.boltai/mcp.json", MAC),),
        "start BoltAI again",
        takes=("stdio",),
    ),
    Client(
        "jan",
        "Jan",
        (
            Files("user", "~/Library/Application Support/Jan/data/mcp_config.json", MAC),
            Files("user", "${XDG_DATA_HOME:-~/.local/share}/Jan/data/mcp_config.json", ("linux",)),
        ),
        "start Jan again",
    ),
    Client(
        "anythingllm",
        "AnythingLLM",
        (Files("user", "APP/anythingllm-desktop/storage/plugins/anythingllm_mcp_servers.json"),),
        "press Refresh at AnythingLLM's MCP servers",
        untyped="sse",
        native=Native(type="type", http="streamable", sse="sse"),
    ),
    Client(
        "librechat",
        "LibreChat",
        (Files("container", "librechat.yaml"),),
        "start LibreChat again",
        form="yaml",
        untyped="sse",
    ),
    Client(
        "sema4",
        "Sema4 Studio",
        (Files("user", "~/.sema4ai/sema4ai-studio/mcp_servers.json"),),
        "start Sema4 Studio again",
    ),
    Client("witsy", "Witsy", (Files("user", "APP/Witsy/settings.json"),), "start Witsy again"),
    Client(
        "enconvo",
        "Enconvo",
        (Files("user", "~/.config/enconvo/mcp_config.json", MAC),),
        "start Enconvo again",
    ),
    Client("tome", "Tome", (Files("user", "~/.tome/mcp_config.json"),), "start Tome again"),
)
