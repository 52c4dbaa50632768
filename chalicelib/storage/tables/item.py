"""What the items of all tables share: their keys, and one connection."""

from __future__ import annotations

import os
import threading

from pynamodb.attributes import UnicodeAttribute
from pynamodb.connection import Connection, TableConnection
from pynamodb.models import Model

if name := os.environ.get("AWS_LAMBDA_FUNCTION_NAME"):
    # What botocore adds to its User-Agent, 50 characters at most (aws_json.user_agent says what for).
    os.environ.setdefault("AWS_SDK_UA_APP_ID", name[-50:])

_connection = Connection(
    # botocore by itself reads AWS_DEFAULT_REGION alone, which Lambda sets, but not every container or shell.
    region=os.environ.get("AWS_REGION"),
    connect_timeout_seconds=2,
    read_timeout_seconds=5,
    max_retry_attempts=6,
    max_pool_connections=32,
)
_connecting = threading.Lock()


def connection() -> Connection:
    """The one connection of the process, its botocore client made."""
    with _connecting:
        _connection.client  # noqa: B018 -- the property makes the client, which is not safe in two threads at once
    return _connection


class Item(Model):
    """The keys that every item has."""

    pk = UnicodeAttribute(hash_key=True)
    sk = UnicodeAttribute(range_key=True)

    @classmethod
    def _get_connection(cls) -> TableConnection:
        """Share one botocore client: PynamoDB would make one a model, at 200 ms each."""
        own = super()._get_connection()
        own.connection._client = connection().client
        return own
