"""
The clients: a row for each, with where its files are and how an entry in them looks.

C{APP} in a path is the folder of the users' programs' settings (C{~/Library/Application Support}, or
C{${XDG_CONFIG_HOME:-~/.config}}); C{${NAME:-else}} is a variable of the environment; C{*} stands for any
name. A path that begins with none of these and not with C{~} or C{/} is looked for in the working folder and
above it, up to the root of the repository.
"""

from __future__ import annotations

from lanrelay.clients.row import ANY, SERVERS, Client, Native, Place


def _code(rest: str, *, synced: bool = False) -> tuple[Place, ...]:
    """A file in the folder of each build of VS Code."""
    return tuple(
        Place("user", f"{folder}/{rest}", synced=synced)
        for folder in (
            "APP/Code/User",
            "APP/Code - Insiders/User",
            "APP/VSCodium/User",
            "~/.vscode-server/data/User",
        )
    )


CODE = (("servers",),)
OPENCODE = (("mcp",),)
CODEX = (("mcp_servers",), ("profiles", ANY, "mcp_servers"))
XCODE = "~/Library/Developer/Xcode/CodingAssistant"
MAC = ("darwin",)

CLIENTS: tuple[Client, ...] = (
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
        "claude-code",
        "Claude Code",
        (
            Place("user", "${CLAUDE_CONFIG_DIR:-~}/.claude.json", kept=True),
            Place("user", f"{XCODE}/ClaudeAgentConfig/.claude.json", MAC, kept=True),
            Place("project", ".mcp.json"),
            Place("managed", "/Library/Application Support/ClaudeCode/managed-mcp.json", MAC),
            Place("managed", "/etc/claude-code/managed-mcp.json", ("linux",)),
            Place("managed", "~/.claude/plugins/cache/*/*/.mcp.json"),
            Place("managed", "~/.claude/plugins/cache/*/*/*/.mcp.json"),
        ),
        "begin a new session of Claude Code, or reconnect with /mcp",
        holders=(SERVERS, ("projects", ANY, "mcpServers")),
        typed=True,
        processes=("claude",),
        native=Native(type="type", http="http", sse="sse"),
    ),
    Client(
        "cursor",
        "Cursor",
        (
            Place("user", "~/.cursor/mcp.json"),
            Place("user", "APP/Cursor/User/mcp.json"),
            Place("project", ".cursor/mcp.json"),
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
            Place("project", ".vscode/mcp.json"),
            Place(
                "container",
                ".devcontainer/devcontainer.json",
                holders=(("customizations", "vscode", "mcp", "servers"),),
            ),
            Place(
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
            Place("user", "~/.codeium/windsurf/mcp_config.json"),
            Place("user", "~/.codeium/windsurf-next/mcp_config.json"),
            Place("user", "~/.codeium/mcp_config.json"),
        ),
        "press Refresh at Windsurf's MCP servers, or start it again",
        urls=("serverUrl", "url"),
        native=Native("serverUrl"),
    ),
    Client(
        "zed",
        "Zed",
        (
            Place("user", "${XDG_CONFIG_HOME:-~/.config}/zed/settings.json", ("linux",)),
            Place("user", "~/.config/zed/settings.json", MAC),
            Place("project", ".zed/settings.json"),
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
            Place("user", "${CLINE_DIR:-~/.cline}/data/settings/cline_mcp_settings.json"),
            Place("user", "${CLINE_DIR:-~/.cline}/mcp.json"),
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
            Place("project", ".roo/mcp.json"),
        ),
        "Roo Code reads the file by itself",
        untyped="sse",
        native=Native(type="type", http="streamable-http", sse="sse"),
    ),
    Client(
        "continue",
        "Continue",
        (
            Place("user", "~/.continue/config.yaml"),
            Place("project", ".continue/mcpServers/*.yaml"),
            Place("project", ".continue/mcpServers/*.json", form="json"),
        ),
        "Continue reads the file by itself",
        form="yaml",
        headers=("requestOptions", "headers"),
        native=Native(type="type", http="streamable-http", sse="sse"),
    ),
    Client(
        "lmstudio",
        "LM Studio",
        (Place("user", "~/.lmstudio/mcp.json"), Place("user", "~/.cache/lm-studio/mcp.json")),
        "LM Studio reads the file by itself",
        native=Native(),
    ),
    Client(
        "gemini",
        "Gemini CLI",
        (
            Place("user", "~/.gemini/settings.json"),
            Place("user", f"{XCODE}/gemini/settings.json", MAC),
            Place("project", ".gemini/settings.json"),
            Place("managed", "/Library/Application Support/GeminiCli/settings.json", MAC),
            Place("managed", "/etc/gemini-cli/settings.json", ("linux",)),
        ),
        "start Gemini CLI again, or say /mcp reload",
        form="jsonc",
        urls=("httpUrl", "url"),
        native=Native(type="type", http="http", sse="sse"),
    ),
    Client(
        "qwen",
        "Qwen Code",
        (Place("user", "~/.qwen/settings.json"), Place("project", ".qwen/settings.json")),
        "start Qwen Code again",
        form="jsonc",
        urls=("httpUrl", "url"),
        untyped="sse",
        native=Native("httpUrl", sse_url="url"),
    ),
    Client(
        "antigravity",
        "Antigravity",
        (
            Place("user", "~/.gemini/config/mcp_config.json"),
            Place("user", "~/.gemini/antigravity/mcp_config.json"),
            Place("user", "~/.gemini/antigravity-cli/mcp_config.json"),
        ),
        "start Antigravity again",
        urls=("serverUrl",),
        native=Native("serverUrl"),
    ),
    Client(
        "codex",
        "Codex",
        (
            Place("user", "${CODEX_HOME:-~/.codex}/config.toml"),
            Place("profile", "${CODEX_HOME:-~/.codex}/*.config.toml"),
            Place("user", f"{XCODE}/codex/config.toml", MAC),
            Place("project", ".codex/config.toml"),
        ),
        "start Codex again",
        form="toml",
        holders=CODEX,
        takes=("stdio", "http"),
        headers=("http_headers",),
        native=Native(sse=None),
    ),
    Client(
        "copilot",
        "Copilot CLI",
        (
            Place("user", "${COPILOT_HOME:-~/.copilot}/mcp-config.json"),
            Place("user", "${XDG_CONFIG_HOME:-~/.config}/.copilot/mcp-config.json", ("linux",)),
        ),
        "start Copilot CLI again",
        native=Native(type="type", http="http", sse="sse"),
    ),
    Client(
        "goose",
        "Goose",
        (
            Place("user", "${XDG_CONFIG_HOME:-~/.config}/goose/config.yaml", ("linux",)),
            Place("user", "~/.config/goose/config.yaml", MAC),
        ),
        "start Goose again",
        form="yaml",
        holders=(("extensions",),),
        urls=("uri",),
        takes=("stdio", "http"),
        dead=("sse",),
        command="cmd",
        environment="envs",
        native=Native("uri", type="type", http="streamable_http", sse=None, keeps_environment=True),
    ),
    Client(
        "opencode",
        "opencode",
        (
            Place("user", "${XDG_CONFIG_HOME:-~/.config}/opencode/opencode.json"),
            Place("user", "${XDG_CONFIG_HOME:-~/.config}/opencode/opencode.jsonc"),
            Place("project", "opencode.json"),
            Place("project", "opencode.jsonc"),
            Place("project", ".opencode/opencode.json"),
            Place("project", ".opencode/opencode.jsonc"),
            Place("managed", "/Library/Application Support/opencode/opencode.json", MAC),
            Place("managed", "/etc/opencode/opencode.json", ("linux",)),
        ),
        "start opencode again",
        form="jsonc",
        holders=OPENCODE,
        environment="environment",
        native=Native(type="type", http="remote", sse="remote"),
    ),
    Client(
        "kilo",
        "Kilo Code",
        (
            Place("user", "${XDG_CONFIG_HOME:-~/.config}/kilo/kilo.json"),
            Place("user", "${XDG_CONFIG_HOME:-~/.config}/kilo/kilo.jsonc"),
            *(
                place._replace(holders=(SERVERS,))
                for place in _code("globalStorage/kilocode.kilo-code/settings/mcp_settings.json")
            ),
            Place("project", ".kilocode/mcp.json", holders=(SERVERS,)),
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
            Place("user", "~/.aws/amazonq/mcp.json"),
            Place("user", "~/.aws/amazonq/cli-agents/*.json"),
            Place("user", "~/.aws/amazonq/agents/*.json"),
            Place("project", ".amazonq/mcp.json"),
            Place("project", ".amazonq/cli-agents/*.json"),
        ),
        "start Amazon Q again",
    ),
    Client(
        "kiro",
        "Kiro",
        (Place("user", "~/.kiro/settings/mcp.json"), Place("project", ".kiro/settings/mcp.json")),
        "Kiro reads the file by itself",
        native=Native(),
    ),
    Client(
        "trae",
        "Trae",
        (Place("user", "APP/Trae/User/mcp.json"), Place("project", ".trae/mcp.json")),
        "start Trae again",
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
        "jetbrains",
        "JetBrains AI Assistant",
        (
            Place("user", "~/.ai/mcp/mcp.json"),
            Place("project", ".ai/mcp/mcp.json"),
            Place("project", ".air/mcp.json"),
        ),
        "start the IDE with JetBrains AI Assistant again",
    ),
    Client(
        "junie",
        "Junie",
        (Place("user", "~/.junie/mcp/mcp.json"), Place("project", ".junie/mcp/mcp.json")),
        "start the IDE with Junie again",
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
        "crush",
        "Crush",
        (
            Place("user", "${XDG_CONFIG_HOME:-~/.config}/crush/crush.json"),
            Place("project", ".crush.json"),
            Place("project", "crush.json"),
        ),
        "start Crush again",
        holders=OPENCODE,
        native=Native(type="type", http="http", sse="sse"),
    ),
    Client(
        "amp",
        "Amp",
        (Place("user", "${XDG_CONFIG_HOME:-~/.config}/amp/settings.json"),),
        "start Amp again",
        form="jsonc",
        holders=(("amp.mcpServers",),),
    ),
    Client(
        "vibe",
        "Mistral Vibe",
        (Place("user", "~/.vibe/config.toml"),),
        "start Mistral Vibe again",
        form="toml",
        holders=(("mcp_servers",),),
    ),
    Client(
        "kimi",
        "Kimi",
        (Place("user", "~/.kimi/mcp.json"), Place("user", "~/.kimi-code/mcp.json")),
        "start Kimi again",
    ),
    Client("factory", "Factory", (Place("user", "~/.factory/mcp.json"),), "start Factory again"),
    Client(
        "qoder",
        "Qoder",
        (
            Place("user", "~/.qoder/mcp.json"),
            Place("user", "~/.qoder/settings.json"),
            Place("project", ".qoder/settings.local.json"),
        ),
        "start Qoder again",
    ),
    Client(
        "mcporter",
        "mcporter",
        (
            Place("user", "~/.mcporter/mcporter.json"),
            Place("user", "~/.mcporter/mcporter.jsonc"),
            Place("project", "config/mcporter.json"),
        ),
        "mcporter reads the file at each call; stop its daemon if one runs",
        form="jsonc",
        urls=("baseUrl", "url"),
        native=Native("baseUrl"),
    ),
    Client(
        "zencoder",
        "Zencoder",
        (
            *(
                place._replace(holders=(("zencoder.mcpServers",),))
                for place in _code("settings.json", synced=True)
            ),
            Place("user", "~/.zencoder/settings.json", holders=(("zencoder.mcpServers",), SERVERS)),
        ),
        "start Zencoder again",
        form="jsonc",
    ),
    Client("auggie", "Auggie", (Place("user", "~/.augment/settings.json"),), "start Auggie again"),
    Client(
        "codebuddy",
        "CodeBuddy",
        (Place("user", "~/.codebuddy/.mcp.json"),),
        "start CodeBuddy again",
        form="jsonc",
    ),
    Client(
        "nanocoder",
        "Nanocoder",
        (Place("user", "${XDG_CONFIG_HOME:-~/.config}/nanocoder/.mcp.json"),),
        "start Nanocoder again",
    ),
    Client(
        "grok",
        "Grok CLI",
        (Place("user", "~/.grok/config.toml"),),
        "start Grok again",
        form="toml",
        holders=(("mcp_servers",),),
    ),
    Client(
        "hermes",
        "Hermes Agent",
        (Place("user", "~/.hermes/config.yaml"),),
        "start Hermes again",
        form="yaml",
        holders=(("mcp_servers",),),
    ),
    Client(
        "openclaw",
        "OpenClaw",
        (Place("user", "~/.openclaw/openclaw.json"),),
        "start OpenClaw's gateway again",
        form="jsonc",
        json5=True,
        holders=(("mcp", "servers"),),
    ),
    Client("openhands", "OpenHands", (Place("container", "~/.openhands/mcp.json"),), "start OpenHands again"),
    Client(
        "sema4",
        "Sema4 Studio",
        (Place("user", "~/.sema4ai/sema4ai-studio/mcp_servers.json"),),
        "start Sema4 Studio again",
    ),
    Client(
        "nanobot",
        "Nanobot",
        (Place("user", "~/.nanobot/config.json"),),
        "start Nanobot again",
        holders=(("tools", "mcpServers"),),
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

OTHER = Client(
    "file",
    "the client",
    (),
    "have the client read the file",
    form="",
    holders=(
        SERVERS,
        *CODE,
        ("context_servers",),
        ("mcp_servers",),
        ("extensions",),
        ("mcp",),
        ("amp.mcpServers",),
    ),
    urls=("url", "serverUrl", "httpUrl", "uri", "baseUrl"),
)
"""A file that was named, of a client that was not."""


def named(name: str) -> Client | None:
    """The row of this name."""
    return next((client for client in CLIENTS if client.name == name), None)
