"""Logs, metrics and traces of requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def observed(handler: Callable[P, R]) -> Callable[P, R]:
    return handler
