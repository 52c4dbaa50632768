"""Who may do what: credentials, tokens, signing keys and the one authorisation decision."""
