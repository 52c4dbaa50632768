"""The state machines that drive background jobs, each with its own role; infra/statemachines defines them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from infra.policies import MACHINE_NAMES, allow, assumed_by, attribute_arn

Resource = dict[str, Any]

DEFINITIONS = Path(__file__).parent / "statemachines"

_FUNCTIONS = {
    "CollectionMachine": "CollectGarbage",
    "PurgeAuditLogMachine": "RunPurgeAuditLog",
    "RetentionMachine": "RunRetention",
    "ProxyRefreshMachine": "RefreshProxies",
    "RepositoryDeletionMachine": "DeleteRepositories",
    "FillMachine": "FillBlobs",
}
MACHINES = {logical_id: (MACHINE_NAMES[logical_id], function) for logical_id, function in _FUNCTIONS.items()}
"""Each machine's logical id, the name of its definition, and the function that does its steps.

Its function learns the ARN from the name alone (parameters.COMPUTED).
"""


def state_machines() -> dict[str, Resource]:
    """The machines, their roles, and the log group that all of them write to."""
    resources = {"JobLogs": _log_group()}
    for logical_id, (name, function) in MACHINES.items():
        resources[logical_id] = _machine(logical_id, name, function)
        resources[f"{logical_id}Role"] = _role(function)
    return resources


def _machine(logical_id: str, name: str, function: str) -> Resource:
    return {
        "Type": "AWS::StepFunctions::StateMachine",
        "Properties": {
            "StateMachineName": {"Fn::Sub": f"${{AWS::StackName}}-{name}"},
            "StateMachineType": "STANDARD",
            "RoleArn": attribute_arn(f"{logical_id}Role"),
            "Definition": json.loads((DEFINITIONS / f"{name}.asl.json").read_text()),
            "DefinitionSubstitutions": {"Function": attribute_arn(function)},
            "LoggingConfiguration": {
                "Level": "ERROR",
                "IncludeExecutionData": True,
                "Destinations": [{"CloudWatchLogsLogGroup": {"LogGroupArn": attribute_arn("JobLogs")}}],
            },
            "TracingConfiguration": {"Enabled": True},
        },
    }


def _log_group() -> Resource:
    """Its name begins as AWS wants it of vended logs: others would need a resource policy, which has a size limit."""
    return {
        "Type": "AWS::Logs::LogGroup",
        "Properties": {
            "LogGroupName": {"Fn::Sub": "/aws/vendedlogs/states/${AWS::StackName}-jobs"},
            "RetentionInDays": {"Ref": "LogRetentionDays"},
        },
    }


def _role(function: str) -> Resource:
    deliveries = [
        "logs:CreateLogDelivery",
        "logs:DeleteLogDelivery",
        "logs:DescribeLogGroups",
        "logs:DescribeResourcePolicies",
        "logs:GetLogDelivery",
        "logs:ListLogDeliveries",
        "logs:PutResourcePolicy",
        "logs:UpdateLogDelivery",
    ]
    traces = [
        "xray:GetSamplingRules",
        "xray:GetSamplingTargets",
        "xray:PutTelemetryRecords",
        "xray:PutTraceSegments",
    ]
    statements = [
        allow("Steps", ["lambda:InvokeFunction"], [attribute_arn(function)]),
        # Neither vended logs nor X-Ray name resources (Step Functions developer guide, "Logging", "X-Ray").
        allow("Logs", deliveries, ["*"]),
        allow("Traces", traces, ["*"]),
    ]
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": assumed_by("states.amazonaws.com"),
            "Policies": [
                {"PolicyName": "own", "PolicyDocument": {"Version": "2012-10-17", "Statement": statements}},
            ],
        },
    }
