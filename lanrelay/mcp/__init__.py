"""MCP between programs that speak it in lines and clients that speak it over HTTP: what is said to whom."""
