"""EventBridge Scheduler: a schedule for each job that has one, in the stack's own group.

By a botocore client, made when the first schedule is set: its protocol is none of the JSON ones of aws_json.py, and who
changes a schedule can wait 0.2 s for it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import get_session

from chalicelib import retrying
from chalicelib.oci.errors import Unavailable
from chalicelib.settings import settings
from chalicelib.storage.aws_json import region

_MISSING = "ResourceNotFoundException"
_EXISTS = "ConflictException"


def put(name: str, expression: str, message: str) -> None:
    """Make a schedule be there and send `message` (JSON) to the function that starts jobs. Raises Unavailable."""
    request = {
        "Name": name,
        "GroupName": settings().schedule_group,
        "ScheduleExpression": expression,
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": {"Arn": settings().schedule_target, "RoleArn": settings().schedule_role, "Input": message},
    }
    for _ in retrying.attempts(retrying.LOW):
        if _call("update_schedule", _MISSING, request) or _call("create_schedule", _EXISTS, request):
            return
    raise Unavailable(f"the schedule {name} is being changed by others")


def delete(name: str) -> None:
    """Remove a schedule; one that is not there is no error. Raises Unavailable."""
    _call("delete_schedule", _MISSING, {"Name": name, "GroupName": settings().schedule_group})


def names() -> list[str]:
    """The names of all schedules of the group."""
    pages = _client().get_paginator("list_schedules").paginate(GroupName=settings().schedule_group)
    return [schedule["Name"] for page in pages for schedule in page["Schedules"]]


def _call(operation: str, expected: str, request: dict[str, Any]) -> bool:
    """Do a call; False when it fails with the error that is `expected`."""
    try:
        getattr(_client(), operation)(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] == expected:
            return False
        raise
    except BotoCoreError as error:
        raise Unavailable("the scheduler does not answer") from error
    return True


@cache
def _client() -> Any:
    config = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "max_attempts": 4})
    return get_session().create_client("scheduler", region_name=region(), config=config)
