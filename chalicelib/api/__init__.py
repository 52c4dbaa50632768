"""The Harbor-compatible REST API under /api/v2.0: thin, one module a tag of Harbor's swagger."""

PREFIX = "/api/v2.0"
