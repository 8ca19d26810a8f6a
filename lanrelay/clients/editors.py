"""The rows of editors, and of what runs inside them."""

from __future__ import annotations

from lanrelay.clients.row import CODE, SERVERS, Client, Files, Native


def _code(rest: str, *, synced: bool = False) -> tuple[Files, ...]:
    """A file in the folder of each build of VS Code."""
    return tuple(
        Files("user", f"{folder}/{rest}", synced=synced)
        for folder in (
            "APP/Code/User",
            "APP/Code - Insiders/User",
            "APP/VSCodium/User",
            "~/.vscode-server/data/User",
        )
    )


OPENCODE = (("mcp",),)
MAC = ("darwin",)

EDITORS: tuple[Client, ...] = (
    Client(
        "cursor",
        "Cursor",
        (
            Files("user", "~/.cursor/mcp.json"),
            Files("user", "APP/Cursor/User/mcp.json"),
            Files("project", ".cursor/mcp.json"),
        ),
        "Cursor reads the file by itself; else switch the server off and on in its settings",
        form="jsonc",
        native=Native(),
    ),
    Client(
        "vscode",
        "VS Code",
        (
            *_code("mcp.json", synced=True),
            *(place._replace(scope="profile") for place in _code("profiles/*/mcp.json", synced=True)),
            *(place._replace(holders=(("mcp", "servers"),)) for place in _code("settings.json", synced=True)),
            Files("project", ".vscode/mcp.json"),
            Files(
                "container",
                ".devcontainer/devcontainer.json",
                holders=(("customizations", "vscode", "mcp", "servers"),),
            ),
            Files(
                "container",
                ".devcontainer.json",
                holders=(("customizations", "vscode", "mcp", "servers"),),
            ),
        ),
        "in VS Code: MCP: List Servers, then Restart",
        form="jsonc",
        holders=CODE,
        native=Native(type="type", http="http", sse="sse"),
    ),
    Client(
        "windsurf",
        "Windsurf",
        (
            Files("user", "~/.codeium/windsurf/mcp_config.json"),
            Files("user", "~/.codeium/windsurf-next/mcp_config.json"),
            Files("user", "~/.codeium/mcp_config.json"),
        ),
        "press Refresh at Windsurf's MCP servers, or start it again",
        urls=("serverUrl", "url"),
        native=Native("serverUrl"),
    ),
    Client(
        "zed",
        "Zed",
        (
            Files("user", "${XDG_CONFIG_HOME:-~/.config}/zed/settings.json", ("linux",)),
            Files("user", "~/.config/zed/settings.json", MAC),
            Files("project", ".zed/settings.json"),
        ),
        "Zed reads the file by itself",
        form="jsonc",
        holders=(("context_servers",),),
        native=Native(sse=None),
    ),
    Client(
        "cline",
        "Cline",
        (
            *_code("globalStorage/saoudrizwan.claude-dev/settings/cline_mcp_settings.json"),
            Files("user", "${CLINE_DIR:-~/.cline}/data/settings/cline_mcp_settings.json"),
            Files("user", "${CLINE_DIR:-~/.cline}/mcp.json"),
        ),
        "Cline reads the file by itself",
        untyped="sse",
        locked=True,
        native=Native(type="type", http="streamableHttp", sse="sse"),
    ),
    Client(
        "roo",
        "Roo Code",
        (
            *_code("globalStorage/rooveterinaryinc.roo-cline/settings/mcp_settings.json"),
            Files("project", ".roo/mcp.json"),
        ),
        "Roo Code reads the file by itself",
        untyped="sse",
        native=Native(type="type", http="streamable-http", sse="sse"),
    ),
    Client(
        "continue",
        "Continue",
        (
            Files("user", "~/.continue/config.yaml"),
            Files("project", ".continue/mcpServers/*.yaml"),
            Files("project", ".continue/mcpServers/*.json", form="json"),
        ),
        "Continue reads the file by itself",
        form="yaml",
        headers=("requestOptions", "headers"),
        native=Native(type="type", http="streamable-http", sse="sse"),
    ),
    Client(
        "kilo",
        "Kilo Code",
        (
            Files("user", "${XDG_CONFIG_HOME:-~/.config}/kilo/kilo.json"),
            Files("user", "${XDG_CONFIG_HOME:-~/.config}/kilo/kilo.jsonc"),
            *(
                place._replace(holders=(SERVERS,))
                for place in _code("globalStorage/kilocode.kilo-code/settings/mcp_settings.json")
            ),
            Files("project", ".kilocode/mcp.json", holders=(SERVERS,)),
        ),
        "start Kilo Code again",
        form="jsonc",
        holders=OPENCODE,
        environment="environment",
        native=Native(type="type", http="remote", sse="remote"),
    ),
    Client(
        "amazonq",
        "Amazon Q",
        (
            Files("user", "~/.aws/amazonq/mcp.json"),
            Files("user", "~/.aws/amazonq/cli-agents/*.json"),
            Files("user", "~/.aws/amazonq/agents/*.json"),
            Files("project", ".amazonq/mcp.json"),
            Files("project", ".amazonq/cli-agents/*.json"),
        ),
        "start Amazon Q again",
    ),
    Client(
        "kiro",
        "Kiro",
        (Files("user", "~/.kiro/settings/mcp.json"), Files("project", ".kiro/settings/mcp.json")),
        "Kiro reads the file by itself",
        native=Native(),
    ),
    Client(
        "trae",
        "Trae",
        (Files("user", "APP/Trae/User/mcp.json"), Files("project", ".trae/mcp.json")),
        "start Trae again",
    ),
    Client(
        "jetbrains",
        "JetBrains AI Assistant",
        (
            Files("user", "~/.ai/mcp/mcp.json"),
            Files("project", ".ai/mcp/mcp.json"),
            Files("project", ".air/mcp.json"),
        ),
        "start the IDE with JetBrains AI Assistant again",
    ),
    Client(
        "junie",
        "Junie",
        (Files("user", "~/.junie/mcp/mcp.json"), Files("project", ".junie/mcp/mcp.json")),
        "start the IDE with Junie again",
    ),
    Client(
        "qoder",
        "Qoder",
        (
            Files("user", "~/.qoder/mcp.json"),
            Files("user", "~/.qoder/settings.json"),
            Files("project", ".qoder/settings.local.json"),
        ),
        "start Qoder again",
    ),
    Client(
        "zencoder",
        "Zencoder",
        (
            *(
                place._replace(holders=(("zencoder.mcpServers",),))
                for place in _code("settings.json", synced=True)
            ),
            Files("user", "~/.zencoder/settings.json", holders=(("zencoder.mcpServers",), SERVERS)),
        ),
        "start Zencoder again",
        form="jsonc",
    ),
    Client(
        "codebuddy",
        "CodeBuddy",
        (Files("user", "~/.codebuddy/.mcp.json"),),
        "start CodeBuddy again",
        form="jsonc",
    ),
)
