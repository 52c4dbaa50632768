"""The proxy cache: projects that pull through from upstream registries, and keep what was pulled."""
