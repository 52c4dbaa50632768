"""How much is measured: all of it, or with BENCH_SHORT=1 enough to see that everything runs."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    load_seconds: float
    """Of each measurement of requests a second."""
    repetitions: int
    images: int
    layer_bytes: int
    layer_repetitions: int
    lambda_starts: int
    list_sizes: tuple[int, ...]
    """Of everything that lists are measured with, the smallest first."""
    blobs: tuple[int, ...]
    """Of the registries whose garbage is collected."""
    garbage: int
    peer_blobs: int
    is_binding: bool
    """Whether a missed target fails the run."""


FULL = Scale(4.0, 5, 50, 1 << 30, 3, 9, (10, 1_000, 100_000), (1000, 10_000, 100_000), 1000, 10_000, is_binding=True)
SHORT = Scale(3.0, 1, 10, 256 << 20, 1, 3, (10, 1_000), (100, 1000), 100, 1000, is_binding=False)


def from_environment() -> Scale:
    return SHORT if os.environ.get("BENCH_SHORT") else FULL
