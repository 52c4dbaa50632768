"""What each function may do: exact actions on exact ARNs, one role a function."""

from __future__ import annotations

from typing import Any

Statement = dict[str, Any]

_EVERY_TABLE = ("BlobsTable", "RepositoriesTable", "UploadsTable", "ProjectsTable")

_ITEM_ACTIONS = [
    "dynamodb:BatchGetItem",
    "dynamodb:BatchWriteItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
]
"""Transactions need no action of their own: DynamoDB checks those of the items in them."""

_OBJECT_ACTIONS = [
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:GetObject",
    "s3:ListMultipartUploadParts",
    "s3:PutObject",
]

_OBJECT_PREFIXES = ("blobs", "manifests", "uploads")


def registry_statements() -> list[Statement]:
    """What the registry's rules need, whether the function or the relay carries them out."""
    return [
        _allow("Items", _ITEM_ACTIONS, [_arn(table) for table in _EVERY_TABLE]),
        # Presigned URLs are signed by this role, and can do no more than it.
        _allow("Objects", _OBJECT_ACTIONS, [{"Fn::Sub": f"${{Bucket.Arn}}/{p}/*"} for p in _OBJECT_PREFIXES]),
        # Without it S3 answers 403 for an object that is gone, which could not be told from a fault of ours.
        _allow("MissingObjects", ["s3:ListBucket"], [_arn("Bucket")]),
        _allow("Secrets", ["secretsmanager:GetSecretValue"], [{"Ref": "SigningSecret"}, {"Ref": "AdminSecret"}]),
    ]


def rotation_statements() -> list[Statement]:
    """Reading the signing key, writing the next one, and moving the label that makes it current."""
    actions = [
        "secretsmanager:GetSecretValue",
        "secretsmanager:PutSecretValue",
        "secretsmanager:UpdateSecretVersionStage",
    ]
    return [_allow("SigningKey", actions, [{"Ref": "SigningSecret"}])]


FUNCTIONS = {
    "RequestFunction": (registry_statements, "RequestLogs"),
    "RotateSigningKey": (rotation_statements, "RotateSigningKeyLogs"),
}
"""Each function's logical id, its statements, and its log group."""


def function_role(function: str) -> dict[str, Any]:
    """The role of `function`. Raises KeyError for one without a policy here: it must not get another's rights."""
    statements, logs = FUNCTIONS[function]
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": _assumed_by("lambda.amazonaws.com"),
            "Policies": [
                {
                    "PolicyName": "own",
                    "PolicyDocument": {
                        "Version": "2012-10-17",
                        "Statement": [*statements(), *_observability(logs), *_dead_letters()],
                    },
                }
            ],
        },
    }


def _assumed_by(service: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    }


def _observability(logs: str) -> list[Statement]:
    return [
        _allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], [_arn(logs)]),
        # X-Ray names no resources: these two actions take "*" only (service authorization reference).
        _allow("Traces", ["xray:PutTelemetryRecords", "xray:PutTraceSegments"], ["*"]),
    ]


def _dead_letters() -> list[Statement]:
    return [_allow("FailedTasks", ["sqs:SendMessage"], [_arn("FailedTasks")])]


def _allow(sid: str, actions: list[str], resources: list[Any]) -> Statement:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


def _arn(logical_id: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [logical_id, "Arn"]}
