"""Making and updating a stack through CloudFormation, on AWS and on MiniStack alike.

A stack that is missing while its stores are there (it was deleted and retained them, or a laptop lost it in a crash)
is made by importing first the stores that are left, so that what they hold is kept.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

_CAPABILITIES = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
_NEVER_WORKED = ("ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED")
_PAUSES = (0.05, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
_LAST_PAUSE = 5.0

Stores = Mapping[str, Mapping[str, str]]
"""Stores that exist, by logical id: what CloudFormation's import calls the resource identifier."""


class StackError(Exception):
    """CloudFormation could not do it; the message holds the reasons it gave."""


@dataclass(frozen=True)
class Template:
    """A template, and where it was uploaded: as a request's own text it may have 51,200 bytes at most."""

    body: str
    url: str


def deploy(
    client: Any,
    stack: str,
    template: Template,
    parameters: Mapping[str, str],
    upload: Callable[[], None],
    find_stores: Callable[[], Stores],
) -> dict[str, str]:
    """Create or update `stack` and return its outputs; nothing happens when it is so already.

    A parameter that is not given keeps its value. `upload` puts the template and the code in place before a change;
    `find_stores` is asked only when there is no stack. Raises StackError.
    """
    found = describe(client, stack)
    if found is not None and _is_current(client, found, template, parameters):
        return outputs(client, stack)
    upload()
    if found is not None and found["StackStatus"] in _NEVER_WORKED:
        raise StackError(
            f"stack {stack} is {found['StackStatus']}: delete it and deploy again (its tables and bucket are kept)"
        )
    if found is None and (stores := find_stores()):
        _import(client, stack, template, stores)
        found = describe(client, stack)
    if found is None:
        _change(client, stack, "CREATE", TemplateURL=template.url, Parameters=_given(parameters))
    else:
        kept = {p["ParameterKey"] for p in found.get("Parameters", [])} - parameters.keys()
        kept &= json.loads(template.body)["Parameters"].keys()
        values = [*_given(parameters), *({"ParameterKey": k, "UsePreviousValue": True} for k in sorted(kept))]
        _change(client, stack, "UPDATE", TemplateURL=template.url, Parameters=values)
    return outputs(client, stack)


def describe(client: Any, stack: str) -> dict[str, Any] | None:
    """The stack's description, or None when there is none that was ever executed."""
    try:
        found: dict[str, Any] = client.describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        if "does not exist" in str(error):
            return None
        raise
    return None if found["StackStatus"] in ("DELETE_COMPLETE", "REVIEW_IN_PROGRESS") else found


def outputs(client: Any, stack: str) -> dict[str, str]:
    """The stack's outputs by name. Raises StackError when there is no such stack."""
    found = describe(client, stack)
    if found is None:
        raise StackError(f"there is no stack {stack}")
    return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}


def _given(parameters: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"ParameterKey": name, "ParameterValue": value} for name, value in sorted(parameters.items())]


def _is_current(client: Any, found: Mapping[str, Any], template: Template, parameters: Mapping[str, str]) -> bool:
    if found["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
        return False
    values = {p["ParameterKey"]: p["ParameterValue"] for p in found.get("Parameters", [])}
    if not parameters.items() <= values.items():
        return False
    body = client.get_template(StackName=found["StackName"], TemplateStage="Original")["TemplateBody"]
    deployed = json.loads(body) if isinstance(body, str) else body
    return bool(deployed == json.loads(template.body))


def _import(client: Any, stack: str, template: Template, stores: Stores) -> None:
    """Make a stack of nothing but `stores`: an import may create nothing beside."""
    declared = json.loads(template.body)
    body = {
        "AWSTemplateFormatVersion": declared["AWSTemplateFormatVersion"],
        "Resources": {name: declared["Resources"][name] for name in stores},
    }
    imported = [
        {
            "ResourceType": declared["Resources"][name]["Type"],
            "LogicalResourceId": name,
            "ResourceIdentifier": dict(identifier),
        }
        for name, identifier in stores.items()
    ]
    _change(client, stack, "IMPORT", TemplateBody=json.dumps(body), ResourcesToImport=imported)


def _change(client: Any, stack: str, kind: str, **request: Any) -> None:
    """Make a change set, execute it, and wait for its end."""
    change_set = client.create_change_set(
        StackName=stack,
        ChangeSetName=f"berth-{time.time_ns()}",
        ChangeSetType=kind,
        Capabilities=_CAPABILITIES,
        **request,
    )["Id"]
    made = _wait(lambda: client.describe_change_set(ChangeSetName=change_set), "Status")
    if made["Status"] == "FAILED":
        client.delete_change_set(ChangeSetName=change_set)
        reason = made.get("StatusReason", "no reason given")
        if "didn't contain changes" in reason or "No updates are to be performed" in reason:
            return
        raise StackError(f"stack {stack}: {reason}")
    client.execute_change_set(ChangeSetName=change_set)
    done = _wait(lambda: client.describe_stacks(StackName=stack)["Stacks"][0], "StackStatus")
    if "ROLLBACK" in done["StackStatus"] or done["StackStatus"].endswith("FAILED"):
        raise StackError(f"stack {stack} is {done['StackStatus']}:\n{_reasons(client, stack)}")


def _wait(ask: Callable[[], dict[str, Any]], field: str) -> dict[str, Any]:
    """Ask until `field` names an end: soon at first, for a laptop, then every five seconds."""
    pauses = iter(_PAUSES)
    while (answer := ask())[field].endswith(("_IN_PROGRESS", "_PENDING")):
        time.sleep(next(pauses, _LAST_PAUSE))
    return answer


def _reasons(client: Any, stack: str) -> str:
    """What failed, oldest first: the first line is the cause, the others mostly follow from it."""
    events = client.describe_stack_events(StackName=stack)["StackEvents"]
    failed = [event for event in events if event["ResourceStatus"].endswith("FAILED")]
    return "\n".join(
        f"  {event['LogicalResourceId']}: {event.get('ResourceStatusReason', '')}" for event in reversed(failed)
    )
