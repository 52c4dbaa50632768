"""Artifacts and repositories as Harbor shows them: above the registry, which keeps them."""
