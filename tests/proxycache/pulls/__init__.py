"""Pulls through proxy projects, from upstreams that answer, lie and fall silent."""
