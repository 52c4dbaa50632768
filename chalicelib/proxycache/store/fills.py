"""The Jobs table: blobs that are fetched from upstream registries: which repositories want them, and who fetches them.

A request is of one repository; it is what those who wait look at. A lease is of one registry and digest, however many
repositories want the blob. Times are milliseconds since 1970.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chalicelib.settings import settings
from chalicelib.storage import tables
from chalicelib.storage.conditions import now, write_if
from chalicelib.storage.reads import Item, Key
from chalicelib.storage.tables.keys import padded
from chalicelib.storage.transactions import transact

if TYPE_CHECKING:
    from pynamodb.expressions.condition import Condition
    from pynamodb.transactions import TransactWrite

    from chalicelib.storage.tables.jobs import FillLeaseItem, FillRequestItem

_LEASE = "lease"
_REQUEST_PREFIX = "request|"
_TRANSACTION = 100
"""Items that a transaction takes (DynamoDB quota)."""
_LINGER = 2 * 86_400
"""Seconds after which an item is of no use to anybody: longer than the life of an upload."""


@dataclass(frozen=True)
class FillRequest:
    """A blob that `repository` wants from the upstream registry with the number `registry`."""

    repository: str
    registry: int
    digest: str


@dataclass(frozen=True)
class Failure:
    """Why a blob could not be had, as chalicelib/proxycache/filling.py writes and reads it."""

    kind: str
    message: str
    retry_after: int
    """Seconds, from when it was written."""


@dataclass(frozen=True)
class Request:
    """That a blob is wanted: until `until` `execution` is at it, or, after a failure, nobody tries again."""

    execution: str
    until: int
    failures: int
    """How often in a row the blob could not be had."""
    failure: Failure | None


@dataclass(frozen=True)
class Lease:
    """That `holder` alone fetches a blob. `upload` is the session that it is in so far, begun for `repository`."""

    registry: int
    digest: str
    holder: str
    repository: str
    upload: str


def request_key(wanted: FillRequest) -> Key:
    partition = _partition(wanted.registry, wanted.digest)
    return Key(settings().jobs_table, partition, f"{_REQUEST_PREFIX}{wanted.repository}")


def to_request(item: Item) -> Request:
    failure = json.loads(item["failure"]) if item.get("failure") else None
    return Request(item["execution"], item["until"], item["failures"], Failure(**failure) if failure else None)


def claim(wanted: Mapping[FillRequest, Request | None], execution: str, until: int) -> list[FillRequest]:
    """Say that `execution` is to fetch blobs whose requests are as they were read. Returns those that it got."""
    pairs = list(wanted.items())
    claimed: list[FillRequest] = []
    for start in range(0, len(pairs), _TRANSACTION):
        part = pairs[start : start + _TRANSACTION]
        if len(part) > 1 and _claim_all(part, execution, until):
            claimed += [each for each, _ in part]
        else:
            claimed += [each for each, before in part if _claim(each, before, execution, until)]
    return claimed


def renew(wanted: FillRequest, execution: str, until: int) -> None:
    """Say that `execution` is still at it, unless another one is."""
    write_if(
        _request_item(wanted).update,
        actions=[tables.FillRequestItem.until.set(until), tables.FillRequestItem.expires.set(_expiry())],
        condition=_is_pending(execution),
    )


def close(wanted: FillRequest) -> None:
    """The blob is there: nobody waits any longer, whoever was to fetch it."""
    _request_item(wanted).delete()


def withdraw(wanted: Iterable[FillRequest], execution: str) -> None:
    """Take requests back that nobody is at."""
    for each in wanted:
        write_if(_request_item(each).delete, condition=tables.FillRequestItem.execution == execution)


def fail(wanted: FillRequest, execution: str, failure: Failure, until: int) -> None:
    """Tell those who wait why they do in vain, unless another execution is at it."""
    actions = [
        tables.FillRequestItem.until.set(until),
        tables.FillRequestItem.failures.set(tables.FillRequestItem.failures + 1),
        tables.FillRequestItem.failure.set(vars(failure)),
        tables.FillRequestItem.expires.set(_expiry()),
    ]
    write_if(_request_item(wanted).update, actions=actions, condition=tables.FillRequestItem.execution == execution)


def acquire(registry: int, digest: str, holder: str, until: int) -> Lease | None:
    """Make `holder` the one who fetches a blob until `until`. None while another one does."""
    item = tables.FillLeaseItem(_partition(registry, digest), _LEASE)
    free = (
        tables.FillLeaseItem.pk.does_not_exist()
        | (tables.FillLeaseItem.until < now())
        | (tables.FillLeaseItem.holder == holder)
    )
    actions = [
        tables.FillLeaseItem.holder.set(holder),
        tables.FillLeaseItem.until.set(until),
        tables.FillLeaseItem.expires.set(_expiry()),
    ]
    if not write_if(item.update, actions=actions, condition=free):
        return None
    return Lease(registry, digest, holder, item.repository or "", item.upload or "")


def extend(lease: Lease, until: int) -> bool:
    """Go on holding a lease. False when it has come to be another's."""
    actions = [tables.FillLeaseItem.until.set(until), tables.FillLeaseItem.expires.set(_expiry())]
    return write_if(_lease_item(lease).update, actions=actions, condition=tables.FillLeaseItem.holder == lease.holder)


def note_upload(lease: Lease, repository: str, upload: str) -> bool:
    """Write down the upload that the blob is in, for whoever goes on. False when the lease is another's by now."""
    actions = [tables.FillLeaseItem.repository.set(repository), tables.FillLeaseItem.upload.set(upload)]
    return write_if(_lease_item(lease).update, actions=actions, condition=tables.FillLeaseItem.holder == lease.holder)


def release(lease: Lease, *, resumable: bool) -> None:
    """Let others fetch the blob: from where its upload stands if it is `resumable`. Another's lease stays."""
    is_mine = tables.FillLeaseItem.holder == lease.holder
    if resumable:
        write_if(_lease_item(lease).update, actions=[tables.FillLeaseItem.until.set(0)], condition=is_mine)
    else:
        write_if(_lease_item(lease).delete, condition=is_mine)


def _claim_all(part: Collection[tuple[FillRequest, Request | None]], execution: str, until: int) -> bool:
    def write(transaction: TransactWrite) -> None:
        for wanted, before in part:
            transaction.save(_requested(wanted, before, execution, until), condition=_is_as_read(before))

    return transact(write)


def _claim(wanted: FillRequest, before: Request | None, execution: str, until: int) -> bool:
    return write_if(_requested(wanted, before, execution, until).save, condition=_is_as_read(before))


def _requested(wanted: FillRequest, before: Request | None, execution: str, until: int) -> FillRequestItem:
    item = _request_item(wanted)
    item.execution, item.until, item.expires = execution, until, _expiry()
    item.failures = before.failures if before else 0
    return item


def _is_as_read(before: Request | None) -> Condition:
    if before is None:
        return tables.FillRequestItem.pk.does_not_exist()
    same: Condition = (tables.FillRequestItem.execution == before.execution) & (
        tables.FillRequestItem.until == before.until
    )
    return same


def _is_pending(execution: str) -> Condition:
    pending: Condition = (
        tables.FillRequestItem.execution == execution
    ) & tables.FillRequestItem.failure.does_not_exist()
    return pending


def _request_item(wanted: FillRequest) -> FillRequestItem:
    key = request_key(wanted)
    return tables.FillRequestItem(key.pk, key.sk)


def _lease_item(lease: Lease) -> FillLeaseItem:
    return tables.FillLeaseItem(_partition(lease.registry, lease.digest), _LEASE)


def _partition(registry: int, digest: str) -> str:
    return f"fill|{padded(registry)}|{digest}"


def _expiry() -> int:
    return now() // 1000 + _LINGER
