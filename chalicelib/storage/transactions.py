"""Transactions of DynamoDB: several writes, all or nothing."""

from __future__ import annotations

from collections.abc import Callable

from pynamodb.exceptions import TransactWriteError
from pynamodb.transactions import TransactWrite

from chalicelib.storage.conditions import lost_race
from chalicelib.storage.tables.item import connection


def transact(write: Callable[[TransactWrite], None]) -> bool:
    """Do what `write` adds to a transaction, all or nothing. False when a condition failed or another came between."""
    try:
        with TransactWrite(connection=connection()) as transaction:
            write(transaction)
    except TransactWriteError as error:
        if lost_race(error):
            return False
        raise
    return True
