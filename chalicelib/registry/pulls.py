"""Who pulled what: each pull is noted in memory, and written off the request path, many at once.

A pull is a client's GET of a manifest, as in Harbor (src/server/registry/manifest.go): no HEAD, and nothing that Berth
reads for itself. An artifact and its tags get the time of the latest, their repository the number of them, and the
audit log an entry of each.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from chalicelib.background import WriteBehindBuffer, WriteBehindBufferByKey
from chalicelib.events.records import Actor, Event
from chalicelib.oci import digests
from chalicelib.registry.store import pulls as table
from chalicelib.storage.conditions import is_transient, new_id, now

UNCERTAIN_MS = 2 * 60_000
"""How much later than the time that is written an artifact may have been pulled, and a process know it alone: a minute,
and another for a store that was busy once."""
SETTLED_MS = 24 * 3_600_000
"""After this the time that is written is the last: a process that keeps another writes it when Lambda ends the process
(background.py), which it does after a few hours even of those that are asked all the time."""

_SIDE_BY_SIDE = 8


@dataclass(frozen=True)
class Pull:
    """One client's pull of one manifest. `tag` is empty for a pull by digest."""

    repository: str
    digest: str
    tag: str
    actor: Actor
    time: int
    """Milliseconds since 1970."""
    id: str = field(default_factory=new_id)
    """Makes what is written twice one entry."""


_consumers: list[WriteBehindBuffer[Pull]] = []


def on_pull(write: Callable[[list[Pull]], list[Pull]]) -> WriteBehindBuffer[Pull]:
    """Have `write` told of all pulls from now on, together and after the responses (background.WriteBehindBuffer).

    It returns those that it could not write for now, and is told of them again.
    """
    return _consumed_by(WriteBehindBuffer(write))


def _consumed_by(gathered: WriteBehindBuffer[Pull]) -> WriteBehindBuffer[Pull]:
    _consumers.append(gathered)
    return gathered


def note(repository: str, reference: str, digest: str, actor: Actor) -> None:
    """Remember a pull of `digest` by `reference`."""
    tag = "" if digests.is_digest(reference) else reference
    pull = Pull(repository, digest, tag, actor, now())
    for consumer in _consumers:
        consumer.add(pull)


def _write_times(pulls: list[Pull]) -> list[Pull]:
    by_artifact: dict[tuple[str, str], list[Pull]] = defaultdict(list)
    for pull in pulls:
        by_artifact[artifact_of(pull)].append(pull)
    return _unwritten(by_artifact, _write_artifact)


def _write_counts(pulls: list[Pull]) -> list[Pull]:
    by_repository: dict[str, list[Pull]] = defaultdict(list)
    for pull in pulls:
        by_repository[pull.repository].append(pull)
    return _unwritten(by_repository, lambda group: _written(lambda: table.add_count(group[0].repository, len(group))))


def _unwritten(groups: Mapping[Any, list[Pull]], write: Callable[[list[Pull]], bool]) -> list[Pull]:
    """The pulls of those groups that `write` did not write."""
    if len(groups) == 1:
        return [pull for group in groups.values() if not write(group) for pull in group]
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 -- a pull's cold start does without it

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        written = list(pool.map(write, groups.values()))
    return [pull for group, done in zip(groups.values(), written, strict=True) if not done for pull in group]


def artifact_of(pull: Pull) -> tuple[str, str]:
    return pull.repository, pull.digest


def _write_artifact(pulls: list[Pull]) -> bool:
    last = pulls[-1]
    tags = {pull.tag: pull.time for pull in pulls if pull.tag}
    return _written(lambda: table.set_times(last.repository, last.digest, last.time, tags))


def _written(write: Callable[[], None]) -> bool:
    """False when the store is too busy."""
    try:
        write()
    except Exception as error:
        if not is_transient(error):
            raise
        return False
    return True


def _event_of(pull: Pull) -> Event:
    from chalicelib.events.topics import PULLED  # noqa: PLC0415 -- a pull's cold start does without it
    from chalicelib.registry import events  # noqa: PLC0415 -- see above

    event = events.of_artifact("pull", PULLED, pull.actor, pull.repository, pull.digest, pull.tag)
    return replace(event, time=pull.time, id=pull.id)


def _write_log(pulls: list[Pull]) -> list[Pull]:
    from chalicelib.events import store as audit  # noqa: PLC0415 -- a pull's cold start does without it

    def write() -> None:
        audit.write_all(_event_of(each) for each in pulls)

    return [] if _written(write) else pulls


times = _consumed_by(WriteBehindBufferByKey(_write_times, artifact_of))
"""Retention goes by these: of an artifact that was not pulled for a minute, none waits in a process."""
counts = on_pull(_write_counts)
log = on_pull(_write_log)
