"""Who may do what: destinations and credentials."""
