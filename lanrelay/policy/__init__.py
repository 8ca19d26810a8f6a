"""Who may do what: destinations, Host and Origin, credentials."""
