"""An explicit-state model checker: every interleaving of a few processes over one immutable world, breadth first.

Any process may crash after any of its steps. A request that crashes stops for good; a service (the collector) is
started again by its schedule, from the beginning. Time is a step too, which waits for those whose life is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

from .processes import START, STOPPED, Automaton, Process

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True)
class Claims:
    """What must hold of the world. Each gives the problem, or None.

    `always` at every moment; `finally_` when everybody has stopped and `settle` has let the services run once more.
    """

    always: Callable[[Any], str | None]
    finally_: Callable[[Any], str | None]
    settle: Callable[[Any], Any]


class Violation(AssertionError):
    """A claim that does not hold, with a shortest run that leads there: (event, the world after it)."""

    def __init__(self, problem: str, run: Sequence[tuple[str, object]]) -> None:
        self.problem = problem
        steps = (f"{number:3}. {event}\n       {world}" for number, (event, world) in enumerate(run))
        super().__init__("\n".join([problem, *steps]))


class Explored(NamedTuple):
    states: int
    steps: int
    rests: int

    def __str__(self) -> str:
        return f"{self.states:,} states, {self.steps:,} steps, {self.rests:,} ways to end"


AGE_BITS = 2
BITS = 14  # for one process: its automaton's state and its age in ticks
MASK, AGE_MASK = (1 << BITS) - 1, (1 << AGE_BITS) - 1


class Exploration:
    """A breadth-first walk over all states.

    A state is one integer: the number of the world, then BITS for each process. What a process may do depends on
    its own bits and the world alone, so its steps are worked out once for each such pair, as differences to add.
    """

    def __init__(
        self, processes: Iterable[Process], claims: Claims, *, crashes: bool = True, limit: int = 3_000_000
    ) -> None:
        self._automata = [Automaton(process) for process in processes]
        self._shifts = [BITS * i for i in range(len(self._automata))]
        self._world_shift = BITS * len(self._automata)
        self._claims, self._crashes, self._limit = claims, crashes, limit
        self._worlds: list[Any] = []
        self._numbers: dict[Any, int] = {}
        self._problems: dict[int, str] = {}  # world -> what does not hold there
        self._settled: dict[int, Any] = {}
        self._parents: dict[int, int | None] = {}

    def run(self, initial: Iterable[Any]) -> Explored:
        """Walks all that can be reached from the initial worlds. Raises Violation at the first claim that fails."""
        frontier = [self._number(world) << self._world_shift for world in initial]
        self._parents = dict.fromkeys(frontier)
        steps = rests = 0
        while frontier:
            if len(self._parents) > self._limit:
                raise RuntimeError(f"more than {self._limit:,} states: the scenario is too large")
            level, frontier = frontier, []
            for state in level:
                rests += self._check(state)
                for difference in self._differences(state):
                    steps += 1
                    successor = state + difference
                    if successor not in self._parents:
                        self._parents[successor] = state
                        frontier.append(successor)
        return Explored(len(self._parents), steps, rests)

    def _differences(self, state: int) -> list[int]:
        world = state >> self._world_shift
        found: list[int] = []
        aged = 0
        for i, shift in enumerate(self._shifts):
            steps, ageing = self._steps[i, world, (state >> shift) & MASK]
            found += steps
            if ageing is None:
                aged = -1
            elif aged >= 0:
                aged += ageing
        if aged >= 0:
            found.append(self._ticks[world] + aged)
        return found

    @cached_property
    def _steps(self) -> _Table[tuple[int, int, int], tuple[list[int], int | None]]:
        """(process, world, bits) -> the differences that its steps make, and the one that a tick makes to its bits
        (None: it does not live to see another)."""
        return _Table(lambda key: self._find_steps(*key))

    @cached_property
    def _ticks(self) -> _Table[int, int]:
        return _Table(lambda world: self._to_world(world, self._worlds[world].tick()))

    def _find_steps(self, i: int, world: int, bits: int) -> tuple[list[int], int | None]:
        automaton, shift = self._automata[i], self._shifts[i]
        found = [
            self._to_world(world, after) + ((after_bits - bits) << shift)
            for after, after_bits, _ in self._moves(automaton, self._worlds[world], bits)
        ]
        lifetime = automaton.process.lifetime
        if lifetime is None or automaton.resting(bits >> AGE_BITS):
            return found, 0
        return found, 1 << shift if bits & AGE_MASK < lifetime else None

    def _moves(self, automaton: Automaton, world: Any, bits: int) -> Iterator[tuple[Any, int, str]]:
        """The worlds and bits that one step of the process can lead to, and the name of the event."""
        name, state = automaton.process.name, bits >> AGE_BITS
        call = automaton.call(state)
        if call is None:
            return
        for result, after in call.operation(world, name, *call.arguments):
            reached = automaton.after(state, result)
            event = f"{name}: {call} -> {result}"
            if automaton.resting(reached):
                yield after.forget(name), reached << AGE_BITS, event
            else:
                yield after, reached << AGE_BITS | bits & AGE_MASK, event
        if self._crashes and not automaton.resting(state):
            rest = START if automaton.process.restarts else STOPPED
            yield world.forget(name), rest << AGE_BITS, f"{name} crashes"

    def _to_world(self, number: int, after: Any) -> int:
        return (self._number(after) - number) << self._world_shift

    def _number(self, world: Any) -> int:
        number = self._numbers.setdefault(world, len(self._worlds))
        if number == len(self._worlds):
            self._worlds.append(world)
            problem = self._claims.always(world)
            if problem:
                self._problems[number] = problem
        return number

    def _check(self, state: int) -> bool:
        """Whether everybody has stopped in this state. Raises Violation if a claim does not hold."""
        world = state >> self._world_shift
        if world in self._problems:
            raise self._violation(self._problems[world], state)
        locals_ = [(state >> shift & MASK) >> AGE_BITS for shift in self._shifts]
        for automaton, local in zip(self._automata, locals_, strict=True):
            outcome, promised = automaton.outcomes.get(local), automaton.process.promised
            if outcome is not None and promised is not None and outcome not in promised:
                raise self._violation(f"{automaton.process.name} was promised otherwise, but got {outcome}", state)
        if not all(automaton.resting(at) for automaton, at in zip(self._automata, locals_, strict=True)):
            return False
        self._check_end(state, locals_)
        return True

    def _check_end(self, state: int, locals_: list[int]) -> None:
        world = state >> self._world_shift
        if world not in self._settled:
            self._settled[world] = self._claims.settle(self._worlds[world])
        end = self._settled[world]
        problem = self._claims.always(end) or self._claims.finally_(end)
        for automaton, local in zip(self._automata, locals_, strict=True):
            if automaton.process.leaves and automaton.outcomes.get(local) == "created":
                problem = problem or automaton.process.leaves(end)
        if problem:
            raise self._violation(problem, state, end)

    def _violation(self, problem: str, state: int, end: Any = None) -> Violation:
        run: list[tuple[str, object]] = [] if end is None else [("everybody has stopped; in the end:", end)]
        at: int | None = state
        while at is not None:
            parent = self._parents[at]
            event = "at first" if parent is None else self._event(parent, at)
            run.append((event, self._worlds[at >> self._world_shift]))
            at = parent
        return Violation(problem, run[::-1])

    def _event(self, state: int, successor: int) -> str:
        world = state >> self._world_shift
        for automaton, shift in zip(self._automata, self._shifts, strict=True):
            bits = state >> shift & MASK
            for after, after_bits, event in self._moves(automaton, self._worlds[world], bits):
                if state + self._to_world(world, after) + ((after_bits - bits) << shift) == successor:
                    return event
        return "time passes"


class _Table(dict[Key, Value], Generic[Key, Value]):
    """A dictionary that works out what it does not have."""

    def __init__(self, find: Callable[[Key], Value]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, key: Key) -> Value:
        value = self[key] = self._find(key)
        return value
