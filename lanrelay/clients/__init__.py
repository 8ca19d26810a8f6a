"""MCP clients' files: what lies where, what each entry leads to, and how one is edited by range."""
