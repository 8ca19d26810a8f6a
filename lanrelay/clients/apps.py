"""The rows of programs to chat with."""

from __future__ import annotations

from lanrelay.clients.row import Client, Native, Place

MAC = ("darwin",)

APPS: tuple[Client, ...] = (
    Client(
        "claude-desktop",
        "Claude Desktop",
        (
            Place("user", "APP/Claude/claude_desktop_config.json", kept=True),
            Place("user", "APP/claude/claude_desktop_config.json", ("linux",), kept=True),
        ),
        "quit Claude Desktop completely and start it",
        takes=("stdio",),
        processes=("Claude", "claude-desktop", "Claude Desktop"),
    ),
    Client(
        "lmstudio",
        "LM Studio",
        (Place("user", "~/.lmstudio/mcp.json"), Place("user", "~/.cache/lm-studio/mcp.json")),
        "LM Studio reads the file by itself",
        native=Native(),
    ),
    Client(
        "warp",
        "Warp",
        (
            Place("user", "~/.warp/.mcp.json"),
            Place("user", "~/.warp_cli/.mcp.json"),
            Place("project", ".warp/.mcp.json"),
        ),
        "start the server again in Warp's MCP settings",
        native=Native(),
    ),
    Client(
        "boltai",
        "BoltAI",
        (Place("user", "~/.boltai/mcp.json", MAC),),
        "start BoltAI again",
        takes=("stdio",),
    ),
    Client(
        "jan",
        "Jan",
        (
            Place("user", "~/Library/Application Support/Jan/data/mcp_config.json", MAC),
            Place("user", "${XDG_DATA_HOME:-~/.local/share}/Jan/data/mcp_config.json", ("linux",)),
        ),
        "start Jan again",
    ),
    Client(
        "anythingllm",
        "AnythingLLM",
        (Place("user", "APP/anythingllm-desktop/storage/plugins/anythingllm_mcp_servers.json"),),
        "press Refresh at AnythingLLM's MCP servers",
        untyped="sse",
        native=Native(type="type", http="streamable", sse="sse"),
    ),
    Client(
        "librechat",
        "LibreChat",
        (Place("container", "librechat.yaml"),),
        "start LibreChat again",
        form="yaml",
        untyped="sse",
    ),
    Client(
        "sema4",
        "Sema4 Studio",
        (Place("user", "~/.sema4ai/sema4ai-studio/mcp_servers.json"),),
        "start Sema4 Studio again",
    ),
    Client("witsy", "Witsy", (Place("user", "APP/Witsy/settings.json"),), "start Witsy again"),
    Client(
        "enconvo",
        "Enconvo",
        (Place("user", "~/.config/enconvo/mcp_config.json", MAC),),
        "start Enconvo again",
    ),
    Client("tome", "Tome", (Place("user", "~/.tome/mcp_config.json"),), "start Tome again"),
)
