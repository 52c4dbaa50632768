"""Holds the stores' calls of the whole suite to the functions' policies, as IAM would: MiniStack does not."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from infra.policies import FUNCTIONS, Statement, purge_statements

_IN_TRANSACTIONS = {
    "ConditionCheck": "ConditionCheckItem",
    "Delete": "DeleteItem",
    "Get": "GetItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
}


def enforce(outputs: Mapping[str, str]) -> None:
    """From now on a DynamoDB call of this process that no policy allows fails. `outputs` are the stack's."""
    # They read their settings when they are imported.
    from chalicelib.storage import aws_json
    from chalicelib.storage.tables.item import connection

    granted = actions_of(
        [each for statements, _ in FUNCTIONS.values() for each in statements()] + purge_statements(), outputs
    )
    own = {table for table, _ in granted}

    def check(operation: str, request: Mapping[str, Any]) -> None:
        for table, action in _actions(operation, request):
            assert table not in own or (table, action) in granted, f"infra/policies.py lacks {action} on {table}"

    aws_json.events.register("before-call.dynamodb.*", lambda model, params, **_: check(model, params))
    client = connection().client
    client.meta.events.register(
        "before-call.dynamodb.*", lambda model, params, **_: check(model.name, json.loads(params["body"]))
    )


def actions_of(statements: Iterable[Statement], outputs: Mapping[str, str]) -> set[tuple[str, str]]:
    """The DynamoDB actions that `statements` allow, each with its table's name."""
    return {
        (outputs[statement["Sid"]], action.partition(":")[2])
        for statement in statements
        for action in statement["Action"]
        if action.startswith("dynamodb:") and statement["Sid"] in outputs  # not a stream's
    }


@contextmanager
def recorded() -> Iterator[set[tuple[str, str]]]:
    """The DynamoDB actions that this process calls meanwhile, each with its table's name."""
    from chalicelib.storage import aws_json
    from chalicelib.storage.tables.item import connection

    called: set[tuple[str, str]] = set()

    def lean(model: str, params: Mapping[str, Any], **_: Any) -> None:
        called.update(_actions(model, params))

    def client(model: Any, params: Mapping[str, Any], **_: Any) -> None:
        called.update(_actions(model.name, json.loads(params["body"])))

    hubs = [(aws_json.events, lean), (connection().client.meta.events, client)]
    for hub, record in hubs:
        hub.register("before-call.dynamodb.*", record)
    try:
        yield called
    finally:
        for hub, record in hubs:
            hub.unregister("before-call.dynamodb.*", record)


def _actions(operation: str, request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The table and IAM action of each item that a call touches."""
    if "TransactItems" in request:
        for item in request["TransactItems"]:
            for kind, part in item.items():
                yield part["TableName"], _IN_TRANSACTIONS[kind]
    elif "RequestItems" in request:
        for table in request["RequestItems"]:
            yield table, operation
    else:
        yield request["TableName"], operation
