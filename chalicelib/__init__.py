"""Everything that a Berth Lambda runs: one package a capability, in layers (docs/architecture.md)."""
