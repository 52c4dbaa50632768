"""The Jobs table: the tasks of executions, and their logs.

A log is written in slices, each under its own number, so that a slice that is done again replaces its own text.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from chalicelib.events import store as audit
from chalicelib.events.records import Event as AuditEvent
from chalicelib.jobs.records import TASKS, UNFINISHED, Status, Task
from chalicelib.jobs.store.executions import expiry
from chalicelib.settings import settings
from chalicelib.storage import reads, tables
from chalicelib.storage.conditions import now, write_if
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import padded
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite

TASK_PREFIX = "task|"
LOG_PREFIX = "log|"

LOG_BYTES = 4 * 1024 * 1024
"""What is shown of a task's log: Lambda answers with 6 MB at most."""
_PIECE_BYTES = 256 * 1024
"""Of text in an item, which DynamoDB limits to 400 KB, should it not be compressible."""

_MESSAGE_LENGTH = 4096


def create(execution: int, first: int, extras: Iterable[Mapping[str, Any]]) -> int:
    """Write a pending task for each of `extras`, numbered from `first`, and return the number behind the last.

    May be done again as long as none of them has begun. Raises OverflowError for more than an execution may have.
    """
    time = now()
    ordinal = first
    with tables.TaskItem.batch_write() as batch:
        for extra in extras:
            if ordinal >= TASKS:
                raise OverflowError(f"an execution has fewer than {TASKS} tasks")
            key = _key(execution, ordinal)
            batch.save(
                tables.TaskItem(
                    key.pk, key.sk, status=Status.PENDING, message="", run_count=0, extra=dict(extra),
                    created=time, started=0, ended=0, updated=time, expires=expiry(),
                )
            )  # fmt: skip
            ordinal += 1
    return ordinal


def read(number: int) -> Task | None:
    """The task with this number of its own."""
    item = reads.get_item(_key(number // TASKS, number % TASKS))
    return _to_task(item) if item else None


def read_page(execution: int, after: int, limit: int) -> list[Task]:
    """Up to `limit` tasks of an execution, in their order, from the one behind `after`."""
    key = _key(execution, after)
    items, _ = reads.query(settings().jobs_table, key.pk, "", after=key.sk, limit=limit)
    return [_to_task(item) for item in items]


def count(execution: int) -> int:
    """How many tasks an execution has: they are numbered without gaps."""
    items, _ = reads.query(settings().jobs_table, _key(execution, 0).pk, "", limit=1, descending=True)
    return int(items[0]["sk"]) if items else 0


def read_all(execution: int) -> list[Task]:
    items = reads.query_all(settings().jobs_table, _key(execution, 0).pk, "")
    return [_to_task(item) for item in items]


def statuses(execution: int) -> Iterator[Status]:
    """Those of all tasks of an execution."""
    for item in reads.query_all(settings().jobs_table, _key(execution, 0).pk, "", ("status",)):
        yield Status(item["status"])


def begin(task: Task) -> Task | None:
    """Say that a task runs, once more maybe. None when it is final."""
    key, time = _key(task.execution, task.ordinal), now()
    item = tables.TaskItem(key.pk, key.sk)
    actions = [
        tables.TaskItem.status.set(Status.RUNNING),
        tables.TaskItem.run_count.add(1),
        tables.TaskItem.started.set(task.started or time),
        tables.TaskItem.updated.set(time),
    ]
    if not write_if(item.update, actions=actions, condition=_is_unfinished()):
        return None
    return read(task.number)


def save_progress(task: Task, extra: Mapping[str, Any]) -> None:
    """Give a task that is under way something else to tell. One that is final stays as it is."""
    key = _key(task.execution, task.ordinal)
    actions = [tables.TaskItem.extra.set(dict(extra)), tables.TaskItem.updated.set(now())]
    write_if(tables.TaskItem(key.pk, key.sk).update, actions=actions, condition=_is_unfinished())


def finish(
    task: Task,
    status: Status,
    message: str = "",
    extra: Mapping[str, Any] | None = None,
    event: AuditEvent | None = None,
) -> bool:
    """End a task; `extra`, if given, takes the place of what it has told. False when it is final already.

    Webhooks are told of `event` exactly if it was not.
    """
    key, time = _key(task.execution, task.ordinal), now()
    actions: list[Any] = [
        tables.TaskItem.status.set(status),
        tables.TaskItem.message.set(message[:_MESSAGE_LENGTH]),
        tables.TaskItem.ended.set(time),
        tables.TaskItem.updated.set(time),
    ]
    if extra is not None:
        actions.append(tables.TaskItem.extra.set(dict(extra)))
    item = tables.TaskItem(key.pk, key.sk)
    if event is None:
        return write_if(item.update, actions=actions, condition=_is_unfinished())

    def write(transaction: TransactWrite) -> None:
        transaction.update(item, actions=actions, condition=_is_unfinished())
        audit.publish_in(transaction, event)

    return transact(write)


def write_log(task: Task, text: str, part: int = 0) -> None:
    """Write a slice of a task's log, in place of the slice with the same number."""
    content = text.encode()
    expires = expiry()
    with tables.LogItem.batch_write() as batch:
        for start in range(0, len(content), _PIECE_BYTES):
            piece = zlib.compress(content[start : start + _PIECE_BYTES])
            sort_key = f"{padded(part)}|{padded(start // _PIECE_BYTES)}"
            batch.save(tables.LogItem(_log(task.number), sort_key, content=piece, expires=expires))


def read_log(number: int) -> str:
    """The text of a task's log, up to LOG_BYTES of it; empty while there is none."""
    content, after = bytearray(), ""
    while len(content) <= LOG_BYTES:
        items, after = reads.query(settings().jobs_table, _log(number), "", after=after)
        for item in items:
            content += zlib.decompress(item["content"])
        if not after:
            break
    if len(content) > LOG_BYTES:
        return content[:LOG_BYTES].decode(errors="ignore") + "\n… (the rest of this log is not shown)\n"
    return content.decode(errors="replace")


def _is_unfinished() -> Any:
    return tables.TaskItem.status.is_in(*(status.value for status in UNFINISHED))


def _key(execution: int, ordinal: int) -> Key:
    return Key(settings().jobs_table, f"{TASK_PREFIX}{padded(execution)}", padded(ordinal))


def _log(number: int) -> str:
    return f"{LOG_PREFIX}{number}"


def _to_task(item: Item) -> Task:
    return Task(
        int(item["pk"].removeprefix(TASK_PREFIX)),
        int(item["sk"]),
        Status(item["status"]),
        item["message"],
        item["run_count"],
        json.loads(item["extra"]),
        item["created"],
        item["started"],
        item["ended"],
        item["updated"],
    )
