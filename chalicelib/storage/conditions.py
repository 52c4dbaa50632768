"""Conditional writes: whether a write's condition held, and which store faults are worth another try."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib import retrying

if TYPE_CHECKING:
    from pynamodb.exceptions import PynamoDBException, TransactWriteError

_TRANSIENT = {
    "InternalServerError",
    "InternalError",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "SlowDown",
    "ThrottlingException",
    "TransactionInProgressException",
}
_CONFLICTS = 6
"""Transactions on one item that a write waits for, 0.6 s in all: each ends within milliseconds."""
_LOST_RACE = {"ConditionalCheckFailed", "TransactionConflict"}


def new_id() -> str:
    """A value that was never used before: a version, a generation or an object's name."""
    return uuid.uuid4().hex


def now() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def write_if(write: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
    """Do a conditional write of one item; False when its condition did not hold. Other faults are raised.

    A transaction on the item that is under way ends within milliseconds, so what it has kept out is tried again.
    """
    from pynamodb.exceptions import PynamoDBException  # noqa: PLC0415 -- reads do without PynamoDB

    pauses = islice(retrying.pauses(0.01, 0.32), _CONFLICTS)
    while True:
        try:
            write(*args, **kwargs)
        except PynamoDBException as error:
            if error.cause_response_code == "ConditionalCheckFailedException":
                return False
            pause = next(pauses, None)
            if error.cause_response_code != "TransactionConflictException" or pause is None:
                raise
            time.sleep(pause)
        else:
            return True


def is_conflict(error: TransactWriteError) -> bool:
    """Whether a transaction was cancelled only by another's write, so that reading again and retrying can help."""
    reasons = [reason.code for reason in error.cancellation_reasons if reason is not None]
    if error.cause_response_code == "TransactionConflictException":
        return True
    return bool(reasons) and all(code in _LOST_RACE for code in reasons)


def is_transient(error: BaseException) -> bool:
    """Whether a store's error says: throttled, or out of reach for now."""
    from pynamodb.exceptions import PynamoDBException  # noqa: PLC0415 -- see `holds`

    while error is not None:
        if isinstance(error, ClientError):
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            return status >= 500 or error.response.get("Error", {}).get("Code") in _TRANSIENT
        if isinstance(error, BotoCoreError):
            return True
        if isinstance(error, PynamoDBException) and _cancelled_by_throttle(error):
            return True
        error = error.__cause__ or error.__context__  # type: ignore[assignment]  # the loop ends at None
    return False


def is_key_refused(error: BaseException) -> bool:
    """Whether a store's error says that a key is empty or too long (DynamoDB: 1 to 2048 and 1024 bytes).

    Reads take such a key for one that nothing is under (reads.py). A write comes here with a name that its rule should
    have refused: it is what the client sent that is wrong, not the store.
    """
    from pynamodb.exceptions import PynamoDBException  # noqa: PLC0415 -- see `holds`

    while error is not None:
        if isinstance(error, PynamoDBException) and _says_key(error):
            return True
        error = error.__cause__ or error.__context__  # type: ignore[assignment]  # the loop ends at None
    return False


def _says_key(error: PynamoDBException) -> bool:
    reasons = [reason for reason in getattr(error, "cancellation_reasons", ()) if reason is not None]
    told = [(reason.code, reason.message) for reason in reasons]
    told.append((error.cause_response_code, error.cause_response_message))
    codes = ("ValidationException", "ValidationError")
    return any(code in codes and "key" in str(message).lower() for code, message in told)


def _cancelled_by_throttle(error: PynamoDBException) -> bool:
    codes = [reason.code for reason in getattr(error, "cancellation_reasons", ()) if reason is not None]
    return any(code in ("ThrottlingError", "ProvisionedThroughputExceeded") for code in codes)
