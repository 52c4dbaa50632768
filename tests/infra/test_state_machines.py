"""The definitions of the state machines: what Step Functions would refuse, and what every one of ours has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib import job_kinds
from chalicelib.jobs.errors import StoppedError
from chalicelib.jobs.steps import WORKERS
from chalicelib.proxycache import filling
from chalicelib.proxycache.steps import SLICE_SECONDS
from infra.state_machines import DEFINITIONS, MACHINES, state_machines

State = dict[str, Any]


def definition(name: str) -> State:
    loaded: State = json.loads((DEFINITIONS / f"{name}.asl.json").read_text())
    return loaded


def states(machine: State) -> Iterator[tuple[str, State]]:
    """Every state with its name, those of Map states too."""
    for name, state in machine["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"])


def machines(machine: State) -> Iterator[State]:
    yield machine
    for state in machine["States"].values():
        if "ItemProcessor" in state:
            yield from machines(state["ItemProcessor"])


NAMES = [name for name, _ in MACHINES.values()]
JOBS = [name for name in NAMES if name != filling.MACHINE]
"""Those that are executions of a job: a fill's record is what repositories want (proxycache/store/fills.py)."""


def test_every_kind_of_job_has_its_machine_and_no_definition_lies_about() -> None:
    assert sorted(JOBS) == sorted(kind.machine for kind in job_kinds.ALL)
    assert sorted(path.name for path in DEFINITIONS.iterdir()) == sorted(f"{name}.asl.json" for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_way_leads_to_a_state_that_is_there_and_every_state_is_reached(name: str) -> None:
    for machine in machines(definition(name)):
        reached = {machine["StartAt"]}
        for state in machine["States"].values():
            reached |= {state[field] for field in ("Next", "Default") if field in state}
            reached |= {way["Next"] for way in (*state.get("Choices", ()), *state.get("Catch", ()))}
        assert reached == machine["States"].keys()


@pytest.mark.parametrize("name", JOBS)
def test_every_task_is_tried_again_and_what_fails_for_good_is_told_to_the_table(name: str) -> None:
    machine = definition(name)
    tasks = [(step, state) for step, state in states(machine) if state["Type"] == "Task"]
    for _, state in tasks:
        assert state["Resource"] == "${Function}"
        assert state["TimeoutSeconds"] <= 900, "a Lambda's life"
        stopped, others = state["Retry"]
        assert stopped == {"ErrorEquals": [StoppedError.__name__], "MaxAttempts": 0}
        assert (others["ErrorEquals"], others["MaxAttempts"] > 1) == (["States.ALL"], True)
    for state in machine["States"].values():
        if state["Type"] in ("Task", "Map") and state.get("Next") != "Failed":
            assert state["Catch"][-1] == {"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Fail"}
    assert machine["States"]["Fail"]["Parameters"]["step"] == "fail"
    assert "TimeoutSeconds" in machine


def test_a_lane_of_a_fill_is_tried_again_and_what_fails_for_good_is_told_and_ends_no_other_lane() -> None:
    machine = definition(filling.MACHINE)
    lanes = machine["States"]["Lanes"]
    assert lanes["MaxConcurrency"] == filling.LANES
    assert "TimeoutSeconds" in machine
    for state in lanes["ItemProcessor"]["States"].values():
        assert state["Type"] != "Fail"
        if state["Type"] == "Task":
            assert (state["Resource"], state["TimeoutSeconds"]) == ("${Function}", 900)
            assert [retry["ErrorEquals"] for retry in state["Retry"]] == [["States.ALL"]]
    fill = lanes["ItemProcessor"]["States"]["Fill"]
    assert fill["Catch"] == [{"ErrorEquals": ["States.ALL"], "ResultPath": "$.error", "Next": "Tell"}]
    assert lanes["ItemProcessor"]["States"]["Tell"]["Parameters"]["step"] == "fail"
    assert fill["TimeoutSeconds"] > SLICE_SECONDS


def test_as_many_workers_come_as_share_the_tasks() -> None:
    machine = definition("retention")
    assert machine["States"]["Staff"]["Result"] == list(range(WORKERS))
    assert machine["States"]["Work"]["MaxConcurrency"] == WORKERS


def test_machines_are_standard_logged_traced_and_may_call_their_own_function_alone() -> None:
    resources = state_machines()
    for logical_id, (name, function) in MACHINES.items():
        properties = resources[logical_id]["Properties"]
        assert properties["StateMachineType"] == "STANDARD"
        assert properties["StateMachineName"] == {"Fn::Sub": f"${{AWS::StackName}}-{name}"}
        assert properties["TracingConfiguration"] == {"Enabled": True}
        assert properties["LoggingConfiguration"]["Destinations"]
        role = resources[f"{logical_id}Role"]["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
        invoked = [s["Resource"] for s in role if "lambda:InvokeFunction" in s["Action"]]
        assert invoked == [[{"Fn::GetAtt": [function, "Arn"]}]]
