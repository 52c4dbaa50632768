"""Work after the response: in the gateway's thread, in Lambda's extension, and in the request itself."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from threading import Thread

import pytest

from chalicelib import background
from chalicelib.background import WriteBehindBuffer
from tests.extensions_api import ExtensionsApi

_FUNCTION = """
import os, sys
from chalicelib import background

def say(text):
    os.write(1, f"{text}\\n".encode())  # two threads do: print would mix their lines

def write(entries):
    say(" ".join(["written", *entries]))
    return []

gathered = background.WriteBehindBuffer(write)
background.START()
say("started")
for line in sys.stdin:
    if line.strip():
        gathered.add(line.strip())
    say("answered")
    background.response_sent()
"""


@contextlib.contextmanager
def process(start: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A process that answers each line, leaves it behind to be written, and says what it does."""
    command = [sys.executable, "-c", _FUNCTION.replace("START", start)]
    child = subprocess.Popen(
        command, env={**os.environ, **variables}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert said(child) == "started"
        yield child
    finally:
        child.kill()
        child.wait()


def said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def invoke(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdin is not None
    child.stdin.write(f"{line}\n")
    child.stdin.flush()


REGISTERED = ("/2020-01-01/extension/register", "berth-background", {"events": ["INVOKE"]})
NEXT = ("/2020-01-01/extension/event/next", "the-id", {})


def test_on_lambda_it_is_done_after_the_answer_and_before_the_next_event() -> None:
    api = ExtensionsApi()
    with process("start_extension", AWS_LAMBDA_RUNTIME_API=api.address) as child:
        assert api.calls.get(timeout=10) == REGISTERED
        assert api.calls.get(timeout=10) == NEXT
        api.events.put("INVOKE")
        invoke(child, "first")
        assert said(child) == "answered"
        assert said(child) == "written first"
        assert api.calls.get(timeout=10) == NEXT
        # Within a minute nothing more is due: the environment is free to freeze at once.
        api.events.put("INVOKE")
        invoke(child, "second")
        assert said(child) == "answered"
        assert api.calls.get(timeout=10) == NEXT
        child.send_signal(signal.SIGTERM)
        assert said(child) == "written second"
        assert child.wait(10) == 0


def test_an_extension_that_is_refused_ends_the_start() -> None:
    api = ExtensionsApi(refuses=True)
    with pytest.raises(AssertionError), process("start_extension", AWS_LAMBDA_RUNTIME_API=api.address):
        pass


def test_sigterm_is_heard_while_the_main_thread_waits() -> None:
    """The main thread reads its standard input, as Lambda's waits for the next event."""

    def seconds_to_end() -> float:
        api = ExtensionsApi()
        with process("start_extension", AWS_LAMBDA_RUNTIME_API=api.address) as child:
            started = time.monotonic()
            child.send_signal(signal.SIGTERM)
            assert child.wait(10) == 0
            return time.monotonic() - started

    # On a machine that is busy with other things one may take longer.
    assert any(seconds_to_end() < 0.5 for _ in range(10)), "Lambda gives it 500 ms"


def test_a_thread_writes_the_first_at_once_and_what_follows_later() -> None:
    with process("start_thread") as child:
        invoke(child, "first")
        assert {said(child), said(child)} == {"answered", "written first"}
        invoke(child, "second")
        assert said(child) == "answered"


def test_without_either_it_is_done_before_the_answer_leaves() -> None:
    with process("response_sent") as child:
        invoke(child, "first")
        assert said(child) == "answered"
        assert said(child) == "written first"


@pytest.fixture
def written() -> list[list[int]]:
    return []


@pytest.fixture
def gathered(written: list[list[int]]) -> Iterator[WriteBehindBuffer[int]]:
    gathered = WriteBehindBuffer[int](lambda entries: written.append(entries) or [], 0.0)  # type: ignore[func-returns-value]
    yield gathered
    background._gathered.remove(gathered)


def test_entries_are_written_together(gathered: WriteBehindBuffer[int], written: list[list[int]]) -> None:
    assert gathered.due_in() is None
    for entry in (1, 2, 3):
        gathered.add(entry)
    assert gathered.due_in() == 0
    gathered.flush()
    gathered.flush()
    assert written == [[1, 2, 3]]


def test_what_is_refused_comes_again_before_what_came_since() -> None:
    calls: list[list[int]] = []

    def refuse(entries: list[int]) -> list[int]:
        calls.append(entries)
        gathered.add(9)
        return entries[1:] if len(calls) == 1 else []

    gathered = WriteBehindBuffer(refuse)
    try:
        for entry in (1, 2, 3):
            gathered.add(entry)
        gathered.flush()
        gathered.flush()
    finally:
        background._gathered.remove(gathered)
    assert calls == [[1, 2, 3], [2, 3, 9]]


def test_a_fault_does_not_stop_what_follows() -> None:
    written: list[int] = []

    def fail(entries: list[int]) -> list[int]:
        if entries == [1]:
            raise RuntimeError("a bug")
        written.extend(entries)
        return []

    gathered = WriteBehindBuffer(fail)
    try:
        for entry in (1, 2):
            gathered.add(entry)
            gathered.flush()
    finally:
        background._gathered.remove(gathered)
    assert gathered.due_in() is None
    assert written == [2]


def test_adding_from_many_threads_loses_nothing(gathered: WriteBehindBuffer[int], written: list[list[int]]) -> None:
    threads = [Thread(target=lambda: [gathered.add(1) for _ in range(1000)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        gathered.flush()
    gathered.flush()
    assert sum(map(len, written)) == 8000
