"""Transactions of DynamoDB: several writes, all or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from chalicelib.storage import tables
from chalicelib.storage.conditions import is_conflict

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite


def transact(write: Callable[[TransactWrite], None]) -> bool:
    """Do what `write` adds to a transaction, all or nothing. False when a condition failed or another came between."""
    from pynamodb.exceptions import TransactWriteError  # noqa: PLC0415 -- reads do without PynamoDB
    from pynamodb.transactions import TransactWrite  # noqa: PLC0415 -- see above

    try:
        with TransactWrite(connection=tables.connection()) as transaction:
            write(transaction)
    except TransactWriteError as error:
        if is_conflict(error):
            return False
        raise
    return True
