"""Blocking functions in threads beside an event loop."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from infra.local.workers import Workers


def test_results_and_errors_arrive_where_they_are_awaited() -> None:
    async def run() -> None:
        workers = Workers(lambda divisor: 6 // divisor, 2)
        assert await workers.call(3) == 2
        with pytest.raises(ZeroDivisionError):
            await workers.call(0)
        assert await workers.call(1) == 6

    asyncio.run(run())


def test_calls_over_the_limit_wait_for_their_turn() -> None:
    running, most = 0, 0
    lock = threading.Lock()

    def count(number: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return number

    async def run() -> list[int]:
        workers = Workers(count, 3)
        return await asyncio.gather(*(workers.call(number) for number in range(10)))

    assert asyncio.run(run()) == list(range(10))
    assert most == 3


def test_a_thread_serves_calls_that_do_not_overlap() -> None:
    async def run() -> set[int]:
        workers = Workers(threading.get_ident, 8)
        return {await workers.call() for _ in range(5)}

    assert len(asyncio.run(run())) == 1


def test_a_call_that_nobody_awaits_any_more_leaves_its_thread_to_others() -> None:
    def wait(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    async def run() -> float:
        workers = Workers(wait, 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(workers.call(0.2), 0.05)
        return await workers.call(0)

    assert asyncio.run(run()) == 0
