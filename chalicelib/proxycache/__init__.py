"""The proxy cache: projects that pull through from other registries, and keep what was pulled."""
