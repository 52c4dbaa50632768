"""Holds the stores' calls of the whole suite to the functions' policies, as IAM would: MiniStack does not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from infra.policies import registry_statements, sweep_statements

_IN_TRANSACTIONS = {
    "ConditionCheck": "ConditionCheckItem",
    "Delete": "DeleteItem",
    "Get": "GetItem",
    "Put": "PutItem",
    "Update": "UpdateItem",
}


def enforce(outputs: Mapping[str, str]) -> None:
    """From now on a DynamoDB call of this process that its policy does not allow fails. `outputs` are the stack's."""
    # They read their settings when they are imported.
    from chalicelib.storage import aws_json, tables

    granted = {
        (outputs[statement["Sid"]], action.partition(":")[2])
        for statement in [*registry_statements(), *sweep_statements()]
        for action in statement["Action"]
        if action.startswith("dynamodb:")
    }
    own = {table for table, _ in granted}

    def check(operation: str, request: Mapping[str, Any]) -> None:
        for table, action in _actions(operation, request):
            assert table not in own or (table, action) in granted, f"infra/policies.py lacks {action} on {table}"

    aws_json.events.register("before-call.dynamodb.*", lambda model, params, **_: check(model, params))
    client = tables.connection().client
    client.meta.events.register(
        "before-call.dynamodb.*", lambda model, params, **_: check(model.name, json.loads(params["body"]))
    )


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
