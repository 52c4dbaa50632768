"""Other registries: their records, credentials and health, and the client of them."""
