"""Processes of the model: generators, and how they become automata.

Each `yield` of a generator is one call to a store, so it is one atomic step, and the text between two yields is what
a process does alone: `found = yield read_blob()` reads like the protocol that it models.

A generator can be neither copied nor hashed, so it is turned into an automaton as it is walked: a state is where the
generator stands and what its local names hold, and a generator is replayed from its start to learn the state after
a result that was not seen before. So a process keeps what it knows in local names, never in the middle of an
expression or in an iterator.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

Body = Generator["Call", Any, str | None]


class Call(NamedTuple):
    """One call to a store. `operation(world, caller, *arguments)` gives each possible (result, next world)."""

    operation: Callable[..., list[tuple[Hashable, Any]]]
    arguments: tuple[Hashable, ...]

    def __str__(self) -> str:
        arguments = (getattr(argument, "__name__", str(argument)) for argument in self.arguments)
        return f"{self.operation.__name__}({', '.join(arguments)})"


@dataclass(frozen=True)
class Process:
    """`body()` starts it. `lifetime` is how many ticks it may live to see between its first and last step; None: any.

    `restarts`: a schedule starts it again when it crashes.
    `promised`: the only answers that it may give. `leaves`: what must hold in the end once it answered "created".
    """

    name: str
    body: Callable[[], Body]
    lifetime: int | None = None
    restarts: bool = False
    promised: frozenset[str] | None = None
    leaves: Callable[[Any], str | None] | None = None


START, STOPPED = 0, 1


class Automaton:
    """A process as a finite automaton, found as it is walked. Its states are numbers: 0 the start, 1 stopped."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.outcomes: dict[int, str | None] = {}  # of the states that ended with an answer that matters
        body = process.body()
        self._calls: list[Call | None] = [next(body), None]
        self._histories: list[tuple[Hashable, ...]] = [(), ()]
        self._known: dict[Hashable, int] = {_position(body): START}
        self._next: dict[tuple[int, Hashable], int] = {}

    def call(self, state: int) -> Call | None:
        """What the process asks for next; None if it has stopped."""
        return self._calls[state]

    def resting(self, state: int) -> bool:
        """Not between two steps: not begun, or stopped."""
        return state == START or self._calls[state] is None

    def after(self, state: int, result: Hashable) -> int:
        key = (state, result)
        if key not in self._next:
            self._next[key] = self._replay((*self._histories[state], result))
        return self._next[key]

    def _replay(self, history: tuple[Hashable, ...]) -> int:
        body = self.process.body()
        call: Call | None = next(body)
        try:
            for result in history:
                call = body.send(result)
        except StopIteration as stop:
            return self._ended(stop.value, history)
        return self._state(_position(body), call, history)

    def _ended(self, outcome: str | None, history: tuple[Hashable, ...]) -> int:
        promised, leaves = self.process.promised, self.process.leaves
        if (promised is None or outcome in promised) and not (leaves and outcome == "created"):
            return STOPPED
        state = self._state(("ended", outcome), None, history)
        self.outcomes[state] = outcome
        return state

    def _state(self, position: Hashable, call: Call | None, history: tuple[Hashable, ...]) -> int:
        state = self._known.setdefault(position, len(self._calls))
        if state == len(self._calls):
            self._calls.append(call)
            self._histories.append(history)
        return state


def _position(body: Any) -> Hashable:
    frames = []
    while body is not None:
        frame = body.gi_frame
        frames.append((frame.f_code.co_name, frame.f_lasti, tuple(sorted(frame.f_locals.items()))))
        body = body.gi_yieldfrom
    return tuple(frames)


def run_alone(process: Process, world: Any, limit: int = 1000) -> Any:
    """The world after the process ran with nobody else, until it ended or had nothing to do."""
    body = process.body()
    call = next(body)
    for _ in range(limit):
        moves = call.operation(world, process.name, *call.arguments)
        if not moves:
            return world.forget(process.name)
        result, world = moves[0]
        try:
            call = body.send(result)
        except StopIteration:
            return world.forget(process.name)
    raise RuntimeError(f"{process.name} does not end")
