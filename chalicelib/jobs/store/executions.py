"""The Jobs table: executions, each under the job that it is of, and which of them are under way.

History is bounded by time: what ended longer than KEPT_DAYS ago is dropped by TTL, with its tasks and logs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chalicelib.events import store as audit
from chalicelib.events.records import Event
from chalicelib.jobs.records import UNFINISHED, Execution, Kind, Status, Trigger
from chalicelib.settings import settings
from chalicelib.storage import counters, reads, tables
from chalicelib.storage.conditions import now, write_if
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import padded
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.expressions.update import Action
    from pynamodb.transactions import TransactWrite

KEPT_DAYS = 90

EXECUTION = "execution"
EXECUTION_PREFIX = "execution|"
EXECUTION_NUMBER = "execution-number"
OCCASION_PREFIX = "occasion|"
UNFINISHED_PARTITION = "unfinished"

_MESSAGE_LENGTH = 4096


def next_number() -> int:
    """A number that no execution had before. Those of starts that fail are lost."""
    return counters.job_number(EXECUTION)


def expiry() -> int:
    """When what is written now may be dropped, in seconds since 1970."""
    return now() // 1000 + KEPT_DAYS * 86_400


def create(
    kind: Kind, vendor_id: int, trigger: Trigger, operator: str, extra: Mapping[str, Any], occasion: str
) -> Execution | None:
    """Write a pending execution. None when another one holds the job, or the occasion has started one before."""
    time = now()
    execution = Execution(
        next_number(), kind.vendor_type, vendor_id, Status.PENDING, "", trigger, operator, dict(extra),
        kind.is_exclusive, time, 0, time,
    )  # fmt: skip

    def write(transaction: TransactWrite) -> None:
        transaction.save(_to_item(execution))
        transaction.save(
            tables.ExecutionNumberItem(
                EXECUTION_NUMBER,
                padded(execution.number),
                vendor_type=kind.vendor_type,
                vendor_id=vendor_id,
                expires=expiry(),
            )
        )
        unfinished = tables.UnfinishedItem(UNFINISHED_PARTITION, _unfinished(execution), number=execution.number)
        transaction.save(unfinished, condition=tables.UnfinishedItem.pk.does_not_exist())
        if occasion:
            key = _occasion_key(kind.vendor_type, vendor_id, occasion)
            started = tables.OccasionItem(key.pk, key.sk, number=execution.number, expires=expiry())
            transaction.save(started, condition=tables.OccasionItem.pk.does_not_exist())

    return execution if transact(write) else None


def read(number: int) -> Execution | None:
    item = reads.get_item(Key(settings().jobs_table, EXECUTION_NUMBER, padded(number)))
    if item is None:
        return None
    found = reads.get_item(Key(settings().jobs_table, _partition(item["vendor_type"], item["vendor_id"]), item["sk"]))
    return _to_execution(found) if found else None


def read_by_occasion(vendor_type: str, vendor_id: int, occasion: str) -> Execution | None:
    """The execution that the occasion has started."""
    item = reads.get_item(_occasion_key(vendor_type, vendor_id, occasion))
    return read(item["number"]) if item else None


def read_all(vendor_type: str, vendor_id: int) -> list[Execution]:
    """Every execution of a job, the newest first."""
    items = reads.query_all(settings().jobs_table, _partition(vendor_type, vendor_id), "")
    return [_to_execution(item) for item in reversed(items)]


def unfinished(vendor_type: str = "", vendor_id: int | None = None) -> list[int]:
    """The numbers of the executions under way: of all jobs, of a kind, or of one job."""
    prefix = f"{vendor_type}|" if vendor_type else ""
    if vendor_id is not None:
        prefix += f"{padded(vendor_id)}|"
    items = reads.query_all(settings().jobs_table, UNFINISHED_PARTITION, prefix, ("number",))
    return [item["number"] for item in items]


def begin(execution: Execution) -> bool:
    """Say that a pending execution runs. False when it is not pending any more."""
    actions = [tables.ExecutionItem.status.set(Status.RUNNING), tables.ExecutionItem.updated.set(now())]
    condition = tables.ExecutionItem.status == Status.PENDING.value
    return write_if(_key_item(execution).update, actions=actions, condition=condition)


def tell(execution: Execution, extra: Mapping[str, Any]) -> bool:
    """Replace what an execution has to tell. False when it is final."""
    actions = [tables.ExecutionItem.extra.set(dict(extra)), tables.ExecutionItem.updated.set(now())]
    return write_if(_key_item(execution).update, actions=actions, condition=_is_unfinished())


def finish(
    execution: Execution, status: Status, message: str, tell: Callable[[Execution], Event] | None = None
) -> Execution | None:
    """End an execution with what it has to tell, and let the next one of its job start.

    None when it is final, or another came between.

    `tell` makes what the audit log and webhooks are told of it: they are, exactly if it has ended.
    """
    time = now()
    ended = replace(execution, status=status, message=message[:_MESSAGE_LENGTH], ended=time, updated=time)

    def write(transaction: TransactWrite) -> None:
        actions: list[Action] = [
            tables.ExecutionItem.status.set(ended.status),
            tables.ExecutionItem.message.set(ended.message),
            tables.ExecutionItem.extra.set(dict(ended.extra)),
            tables.ExecutionItem.ended.set(time),
            tables.ExecutionItem.updated.set(time),
        ]
        transaction.update(_key_item(execution), actions=actions, condition=_is_unfinished())
        transaction.delete(tables.UnfinishedItem(UNFINISHED_PARTITION, _unfinished(execution)))
        if tell is not None:
            audit.record(transaction, tell(ended))

    return ended if transact(write) else None


def delete(execution: Execution) -> None:
    """Drop a final execution: the history of a policy goes with it. Its tasks and logs go by TTL."""
    _key_item(execution).delete()
    tables.ExecutionNumberItem(EXECUTION_NUMBER, padded(execution.number)).delete()


def _is_unfinished() -> Any:
    return tables.ExecutionItem.status.is_in(*(status.value for status in UNFINISHED))


def _partition(vendor_type: str, vendor_id: int) -> str:
    return f"{EXECUTION_PREFIX}{vendor_type}|{padded(vendor_id)}"


def _unfinished(execution: Execution) -> str:
    """The sort key that says that an execution is under way: the same for all of an exclusive job."""
    number = "" if execution.is_exclusive else padded(execution.number)
    return f"{execution.vendor_type}|{padded(execution.vendor_id)}|{number}"


def _occasion_key(vendor_type: str, vendor_id: int, occasion: str) -> Key:
    return Key(settings().jobs_table, f"{OCCASION_PREFIX}{vendor_type}|{padded(vendor_id)}", occasion)


def _key_item(execution: Execution) -> tables.ExecutionItem:
    return tables.ExecutionItem(_partition(execution.vendor_type, execution.vendor_id), padded(execution.number))


def _to_item(execution: Execution) -> tables.ExecutionItem:
    return tables.ExecutionItem(
        _partition(execution.vendor_type, execution.vendor_id),
        padded(execution.number),
        status=execution.status,
        message=execution.message,
        trigger=execution.trigger,
        operator=execution.operator,
        extra=dict(execution.extra),
        exclusive=execution.is_exclusive,
        started=execution.started,
        ended=execution.ended,
        updated=execution.updated,
        expires=expiry(),
    )


def _to_execution(item: Item) -> Execution:
    vendor_type, _, vendor_id = item["pk"].removeprefix(EXECUTION_PREFIX).rpartition("|")
    return Execution(
        int(item["sk"]),
        vendor_type,
        int(vendor_id),
        Status(item["status"]),
        item["message"],
        Trigger(item["trigger"]),
        item["operator"],
        json.loads(item["extra"]),
        item["exclusive"],
        item["started"],
        item["ended"],
        item["updated"],
    )
