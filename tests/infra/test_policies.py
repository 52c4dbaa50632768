"""Least privilege: every statement is exact, and what is granted is what the code calls, no more and no less."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

import pytest

from infra import relay, state_machines
from infra.package import PROJECT
from infra.policies import (
    FUNCTIONS,
    assumed_by,
    attribute_arn,
    collector_statements,
    endpoint_secrets,
    function_role,
    health_statements,
    registry_statements,
    rotation_statements,
    upload_statements,
)

# Actions that name no resource: the service authorization reference gives them "*" alone.
WITHOUT_RESOURCES = {
    "xray:GetSamplingRules", "xray:GetSamplingTargets", "xray:PutTelemetryRecords", "xray:PutTraceSegments",
    "ecr:GetAuthorizationToken", "secretsmanager:ListSecrets",
    "logs:CreateLogDelivery", "logs:DeleteLogDelivery", "logs:DescribeLogGroups", "logs:DescribeResourcePolicies",
    "logs:GetLogDelivery", "logs:ListLogDeliveries", "logs:PutResourcePolicy", "logs:UpdateLogDelivery",
}  # fmt: skip

# What IAM calls the S3 operations that have no action of their own name.
S3_ACTIONS = {
    "CompleteMultipartUpload": "PutObject",
    "CreateMultipartUpload": "PutObject",
    "DeleteObjects": "DeleteObject",
    "HeadBucket": "ListBucket",
    "HeadObject": "GetObject",
    "ListObjectsV2": "ListBucket",
    "ListParts": "ListMultipartUploadParts",
    "UploadPart": "PutObject",
}


def statements(role: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = role["Properties"]["Policies"][0]["PolicyDocument"]["Statement"]
    return found


def roles() -> dict[str, dict[str, Any]]:
    own = {name: function_role(name) for name in FUNCTIONS}
    resources = relay.build()["Resources"]
    machines = {name: body for name, body in state_machines.state_machines().items() if name.endswith("Role")}
    return {**own, **machines, **{name: resources[name] for name in ("TaskRole", "ExecutionRole")}}


def string_arguments(function: str) -> Iterator[tuple[str, list[str]]]:
    """The module and the literal strings of each call of `function` in the code that the Lambdas run."""
    for path in sorted((PROJECT / "chalicelib").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == function:
                literals = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                yield path.name, literals


def actions_under_prefixes(granted: list[dict[str, Any]]) -> dict[str, set[str]]:
    """What may be done with objects, by the pattern of their ARNs."""
    found: dict[str, set[str]] = {}
    for statement in granted:
        for resource in statement["Resource"]:
            if "${Bucket}" in repr(resource):
                actions = {action.removeprefix("s3:") for action in statement["Action"]}
                found.setdefault(resource["Fn::Sub"][0], set()).update(actions)
    return found


@pytest.mark.parametrize("name", roles())
def test_no_statement_has_a_wildcard_where_a_name_can_stand(name: str) -> None:
    for statement in statements(roles()[name]):
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in statement["Action"])
        if "*" in statement["Resource"]:
            assert set(statement["Action"]) <= WITHOUT_RESOURCES


def test_objects_are_reached_under_their_prefixes_only() -> None:
    (objects,) = (s for s in registry_statements() if s["Sid"] == "Objects")
    patterns = {resource["Fn::Sub"][0] for resource in objects["Resource"]}
    assert patterns == {"${Bucket}/blobs/*", "${Bucket}/manifests/*", "${Bucket}/uploads/*"}


def test_the_collector_writes_no_objects_but_its_own_and_reads_no_blobs() -> None:
    assert actions_under_prefixes(collector_statements()) == {
        "${Bucket}/blobs/*": {"AbortMultipartUpload", "DeleteObject"},
        "${Bucket}/gc/*": {"DeleteObject", "GetObject", "PutObject"},
        "${Bucket}/manifests/*": {"DeleteObject", "GetObject"},
        "${Bucket}/uploads/*": {"AbortMultipartUpload", "DeleteObject"},
    }


def test_indexes_are_queried_only() -> None:
    for name in FUNCTIONS:
        for statement in statements(function_role(name)):
            if "/index/" in repr(statement["Resource"]):
                assert statement["Action"] == ["dynamodb:Query"]
                assert all("/index/" in repr(resource) for resource in statement["Resource"])


def test_the_relay_reads_no_key_that_signs_tokens() -> None:
    read = [
        resource["Ref"]
        for statement in upload_statements(attribute_arn)
        if "secretsmanager:GetSecretValue" in statement["Action"]
        for resource in statement["Resource"]
    ]
    assert read == ["UploadSecret", "AdminSecret"]


def test_no_function_may_read_the_administrators_password() -> None:
    for role in roles().values():
        assert "AdminPassword" not in repr(role)


def test_keys_are_written_by_the_rotation_alone_and_the_client_secret_by_the_api() -> None:
    written = {
        (name, resource["Ref"])
        for name, role in roles().items()
        for statement in statements(role)
        if "secretsmanager:PutSecretValue" in statement["Action"]
        for resource in statement["Resource"]
    }
    rotated = {("RotateSigningKey", "SigningSecret"), ("RotateSigningKey", "UploadSecret")}
    assert written == rotated | {("RequestFunction", "OidcSecret")}


def test_the_s3_actions_are_those_that_the_code_calls() -> None:
    called = {literals[0] for _, literals in string_arguments("s3.call")}
    needed = {f"s3:{S3_ACTIONS.get(operation, operation)}" for operation in called}
    granted = {a for s in registry_statements() for a in s["Action"] if a.startswith("s3:")}
    assert granted == needed


def test_the_secret_actions_are_those_that_the_code_calls() -> None:
    called = {
        f"secretsmanager:{literals[0]}"
        for module, literals in string_arguments("call")
        if module == "secrets.py" and literals
    }
    granted = {
        a
        for s in [*rotation_statements(), *registry_statements(), *health_statements()]
        for a in s["Action"]
        if a.startswith("secretsmanager:")
    }
    assert granted == called


def test_the_request_function_controls_the_machines_of_its_stack_by_what_the_code_calls() -> None:
    called = {
        f"states:{literals[0]}"
        for module, literals in string_arguments("call")
        if module == "workflows.py" and literals
    }
    granted = {a for s in registry_statements() for a in s["Action"] if a.startswith("states:")}
    assert granted == called
    for statement in registry_statements():
        if statement["Sid"] in ("StartJobs", "Jobs"):
            names = [resource["Fn::Sub"].partition("${AWS::StackName}-")[2] for resource in statement["Resource"]]
            assert {name.removesuffix(":*") for name in names} == {name for name, _ in state_machines.MACHINES.values()}


@pytest.mark.parametrize(
    ("name", "is_own"),
    [
        (f"berth-registry-{'0a' * 16}-AbCdEf", True),
        (f"berth-registry-registry-{'0a' * 16}-AbCdEf", False),
        ("berth-registry-SigningSecret-AbCdEf", False),
    ],
)
def test_secrets_of_a_stack_whose_name_starts_alike_are_not_this_ones(name: str, is_own: bool) -> None:
    [resource] = endpoint_secrets()
    pattern = resource["Fn::Sub"].replace("${AWS::StackName}", "berth").rpartition(":")[2]
    assert fnmatchcase(name, pattern) is is_own


def test_services_take_a_role_for_this_account_only() -> None:
    for service in ("states.amazonaws.com", "ecs-tasks.amazonaws.com"):
        [statement] = assumed_by(service)["Statement"]
        assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
