"""Garbage collection beside pushes and pulls: docs/gc.md is the protocol, tests/model its proof."""
