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
    far_layers: tuple[int, ...]
    """Of an image in a registry far away, in bytes."""
    far_layer_bytes: int
    """Of an image of one layer there."""
    peer_blobs: int
    is_binding: bool
    """Whether a missed target fails the run."""


FULL = Scale(
    load_seconds=4.0,
    repetitions=5,
    images=50,
    layer_bytes=1 << 30,
    layer_repetitions=3,
    lambda_starts=9,
    list_sizes=(10, 1_000, 100_000),
    blobs=(1000, 10_000, 100_000),
    garbage=1000,
    far_layers=(50_000_000,) * 10,
    far_layer_bytes=2 << 30,
    peer_blobs=10_000,
    is_binding=True,
)
SHORT = Scale(
    load_seconds=3.0,
    repetitions=1,
    images=10,
    layer_bytes=256 << 20,
    layer_repetitions=1,
    lambda_starts=3,
    list_sizes=(10, 1_000),
    blobs=(100, 1000),
    garbage=100,
    far_layers=(20_000_000,) * 10,
    far_layer_bytes=128 << 20,
    peer_blobs=1000,
    is_binding=False,
)


def from_environment() -> Scale:
    return SHORT if os.environ.get("BENCH_SHORT") else FULL
