"""Everything that a Berth Lambda runs: one package a capability, its routes beside its rules."""
