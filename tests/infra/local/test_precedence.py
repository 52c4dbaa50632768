"""Who goes first in the local cloud: clients, by the key that a call is signed with."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from infra.local.precedence import ABOUT_SECONDS, CREDIT_SECONDS, LONGEST_SECONDS, SHARE, Precedence

CLIENT, FUNCTION = b"local", b"000000000000"
CALL_SECONDS = 0.01
SOON = 0.5 * CALL_SECONDS / SHARE
"""Sooner than a call is served that had to wait."""


async def cloud(scope: Any, _receive: Any, _send: Any) -> None:
    """Takes its time, as MiniStack does: nobody else is served meanwhile."""
    time.sleep(scope["seconds"])


async def call(precedence: Precedence, key: bytes, seconds: float = CALL_SECONDS, agent: bytes = b"berth/x") -> float:
    """Call as the owner of a key; returns how long that took."""
    authorization = (
        b"AWS4-HMAC-SHA256 Credential=" + key + b"/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host"
    )
    headers = [(b"host", b"x"), (b"authorization", authorization), (b"user-agent", agent)]
    scope = {"type": "http", "headers": headers, "seconds": seconds}
    started = time.monotonic()
    await precedence(scope, _unused, _unused)
    return time.monotonic() - started


async def _unused(*_arguments: Any) -> Any:
    raise AssertionError


async def beside_clients(precedence: Precedence, work: Callable[[], Awaitable[Any]]) -> None:
    """Do something while a client calls without a pause."""

    async def client() -> None:
        while True:
            await call(precedence, CLIENT, 0.001)
            await asyncio.sleep(0.001)

    calling = asyncio.create_task(client())
    await asyncio.sleep(0.01)
    await work()
    calling.cancel()


def test_a_function_that_works_on_and_on_has_a_small_share_beside_clients() -> None:
    precedence = Precedence(cloud)

    async def work() -> None:
        for _ in range(int(0.5 * CREDIT_SECONDS / CALL_SECONDS)):
            assert await call(precedence, FUNCTION) < SOON
        await call(precedence, FUNCTION, CREDIT_SECONDS)
        for _ in range(3):
            assert await call(precedence, FUNCTION) > SOON

    asyncio.run(beside_clients(precedence, work))


def test_a_function_has_all_of_it_when_no_client_is_about() -> None:
    async def run() -> None:
        precedence = Precedence(cloud)
        await beside_clients(precedence, lambda: call(precedence, FUNCTION, 2 * CREDIT_SECONDS))
        await asyncio.sleep(2 * ABOUT_SECONDS)
        for _ in range(20):
            assert await call(precedence, FUNCTION) < SOON

    asyncio.run(run())


def test_a_function_that_calls_without_a_pause_is_held_up_once_by_a_client_that_calls_once() -> None:
    calls = 50

    async def run() -> None:
        precedence = Precedence(cloud)
        await call(precedence, CLIENT, 0.001)
        started = time.monotonic()
        for _ in range(calls):
            await call(precedence, FUNCTION, 0.001)
        assert time.monotonic() - started < calls * ABOUT_SECONDS / 2

    asyncio.run(run())


def test_no_function_waits_for_ever() -> None:
    precedence = Precedence(cloud)

    async def work() -> None:
        await call(precedence, FUNCTION, 1.0)
        assert 0.9 * LONGEST_SECONDS < await call(precedence, FUNCTION) < 2 * LONGEST_SECONDS

    asyncio.run(beside_clients(precedence, work))


def test_of_many_functions_none_waits_for_the_turns_of_all_others() -> None:
    precedence = Precedence(cloud)

    async def work() -> None:
        await call(precedence, FUNCTION, 1.0)
        waits = await asyncio.gather(*(call(precedence, FUNCTION, 0.001) for _ in range(8)))
        assert max(waits) < 2 * LONGEST_SECONDS

    asyncio.run(beside_clients(precedence, work))


def test_a_function_does_not_stand_back_for_the_client_that_has_invoked_it() -> None:
    precedence = Precedence(cloud)
    is_over = asyncio.Event()

    async def lasting(_scope: Any, _receive: Any, _send: Any) -> None:
        await is_over.wait()

    async def run() -> None:
        precedence._cloud = lasting
        scope = {"type": "http", "path": "/2015-03-31/functions/berth-x/invocations", "headers": []}
        invocation = asyncio.create_task(precedence(scope, _unused, _unused))
        await asyncio.sleep(0)
        precedence._cloud = cloud
        await call(precedence, FUNCTION, 2 * CREDIT_SECONDS)
        assert await call(precedence, FUNCTION) < SOON
        is_over.set()
        await invocation

    asyncio.run(run())


def test_a_function_that_waits_for_another_is_served() -> None:
    """A call that lasts until a second one has ended, as when a function invokes a function."""
    precedence = Precedence(cloud)
    is_over = asyncio.Event()

    async def lasting(_scope: Any, _receive: Any, _send: Any) -> None:
        await is_over.wait()

    async def work() -> None:
        precedence._cloud = lasting
        outer = asyncio.create_task(call(precedence, FUNCTION))
        await asyncio.sleep(0.1)
        precedence._cloud = cloud
        assert await call(precedence, FUNCTION) < 2 * LONGEST_SECONDS
        is_over.set()
        await outer

    asyncio.run(beside_clients(precedence, work))


def test_calls_without_a_functions_key_are_clients() -> None:
    async def run() -> None:
        precedence = Precedence(cloud)
        for _ in range(10):
            await call(precedence, CLIENT, CREDIT_SECONDS)
        scope = {"type": "http", "headers": [], "seconds": 0.0}
        await precedence(scope, _unused, _unused)
        assert await call(precedence, FUNCTION) < SOON  # they use up no credit

    asyncio.run(run())


def test_the_function_that_clients_wait_for_does_not_wait() -> None:
    precedence = Precedence(cloud)

    async def work() -> None:
        for _ in range(int(2 * CREDIT_SECONDS / CALL_SECONDS)):
            assert await call(precedence, FUNCTION, agent=b"Botocore/1 app/berth-FillBlobs-A0") < SOON
        await call(precedence, FUNCTION, 2 * CREDIT_SECONDS)
        assert await call(precedence, FUNCTION) > SOON

    asyncio.run(beside_clients(precedence, work))


def test_a_function_says_its_name_to_the_cloud_by_both_ways_in_which_it_calls() -> None:
    script = """
from chalicelib.storage import aws_json, tables
print(aws_json.user_agent(), tables.connection().client.meta.config.user_agent_appid)
"""
    environment = {**os.environ, "AWS_LAMBDA_FUNCTION_NAME": "berth-FillBlobs-A0"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.count("berth-FillBlobs-A0") == 2
