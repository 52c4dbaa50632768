"""Step Functions: starting, stopping and looking at the executions of the stack's state machines, by their names.

A name is used once: Step Functions answers a repeated start as it did the first, and refuses it when that has ended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from chalicelib.settings import settings
from chalicelib.storage.aws_json import STEP_FUNCTIONS, RefusedError, call

RUNNING = "RUNNING"
ABORTED = "ABORTED"

_UNKNOWN = "ExecutionDoesNotExist"
_EXISTS = "ExecutionAlreadyExists"


def start(machine: str, name: str, state: Mapping[str, Any]) -> None:
    """Let `machine` run with `state`, once for a name. Raises RefusedError or Unavailable."""
    request = {"stateMachineArn": f"{settings().state_machines}{machine}", "name": name, "input": json.dumps(state)}
    try:
        call(STEP_FUNCTIONS, "StartExecution", request)
    except RefusedError as error:
        if error.kind != _EXISTS:
            raise


def stop(machine: str, name: str, cause: str) -> None:
    """End a run; one that has ended already, or never was, is no error."""
    try:
        call(STEP_FUNCTIONS, "StopExecution", {"executionArn": _arn(machine, name), "cause": cause})
    except RefusedError as error:
        if error.kind not in (_UNKNOWN, "ValidationException"):
            raise


def status(machine: str, name: str) -> str:
    """What Step Functions says of a run: RUNNING, SUCCEEDED, FAILED, TIMED_OUT, ABORTED; empty when it knows none."""
    try:
        return str(call(STEP_FUNCTIONS, "DescribeExecution", {"executionArn": _arn(machine, name)})["status"])
    except RefusedError as error:
        if error.kind == _UNKNOWN:
            return ""
        raise


def _arn(machine: str, name: str) -> str:
    return f"{settings().state_machines}{machine}".replace(":stateMachine:", ":execution:", 1) + f":{name}"
