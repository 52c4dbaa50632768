"""Registries to pull through: Debian's docker-registry, one that a test can make go wrong, and their token service."""
