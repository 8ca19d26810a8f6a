"""JSON, TOML and YAML as text with a tree over it that knows where each value stands."""
