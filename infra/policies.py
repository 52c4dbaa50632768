"""What each function may do: exact actions on exact ARNs, one role a function."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

Statement = dict[str, Any]


def attribute_arn(logical_id: str) -> Any:
    """The ARN of a resource of the same template. A secret has no attribute for it: its `Ref` is one."""
    return {"Ref": logical_id} if logical_id.endswith("Secret") else {"Fn::GetAtt": [logical_id, "Arn"]}


MACHINE_NAMES = {
    "CollectionMachine": "gc",
    "PurgeAuditLogMachine": "purge-audit-log",
    "RetentionMachine": "retention",
    "ProxyRefreshMachine": "proxy-refresh",
    "RepositoryDeletionMachine": "repository-deletion",
    "FillMachine": "proxy-fill",
}
"""What the state machines are called behind the stack's name, by their logical ids."""


def allow(sid: str, actions: list[str], resources: list[Any]) -> Statement:
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}


def assumed_by(service: str) -> dict[str, Any]:
    """The trust policy that lets `service` take a role, where AWS says for whom: for this account only.

    Lambda does not (Lambda developer guide, "Execution role"); the others do, so that nobody makes them act for another
    (IAM user guide, "The confused deputy problem").
    """
    statement: Statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    if service != "lambda.amazonaws.com":
        statement["Condition"] = {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}}
    return {"Version": "2012-10-17", "Statement": [statement]}


_ITEM_ACTIONS = {
    "BlobsTable": ("BatchGetItem", "BatchWriteItem", "DeleteItem", "PutItem", "Query", "UpdateItem"),
    "RepositoriesTable": (
        "BatchGetItem",
        "ConditionCheckItem",
        "DeleteItem",
        "GetItem",
        "PutItem",
        "Query",
        "UpdateItem",
    ),
    "UploadsTable": ("DeleteItem", "GetItem", "PutItem"),
    "ProjectsTable": ("BatchGetItem", "ConditionCheckItem", "DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem"),
    "AccountsTable": ("BatchGetItem", "ConditionCheckItem", "DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem"),
    "EventsTable": ("BatchGetItem", "BatchWriteItem", "GetItem", "PutItem", "Query"),
    "JobsTable": ("BatchGetItem", "BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem"),
}
"""Transactions need no action of their own: DynamoDB checks those of the items in them. tests/infra/iam.py holds the
whole suite to this."""

_UPLOAD_ITEM_ACTIONS = {
    "BlobsTable": ("BatchGetItem", "PutItem", "UpdateItem"),
    "UploadsTable": ("DeleteItem", "GetItem", "PutItem"),
    # A project's limit, whether a blob still fits, and what counts as unreferenced.
    "ProjectsTable": ("BatchGetItem", "GetItem", "UpdateItem"),
    "EventsTable": ("PutItem",),  # webhooks are told when it does not
    "AccountsTable": ("BatchGetItem", "GetItem"),  # whether an upload's owner may still push
}
"""tests/v2/test_relay.py holds the relay to this."""

_OBJECT_ACTIONS = [
    "s3:AbortMultipartUpload",
    "s3:DeleteObject",
    "s3:GetObject",
    "s3:PutObject",
]

_SECRETS = ("SigningSecret", "UploadSecret", "AdminSecret", "OidcSecret")

_OBJECT_PREFIXES = ("blobs", "manifests", "uploads")


def registry_statements() -> list[Statement]:
    """What the request function needs. Presigned URLs are signed by its role, and can do no more than it."""
    stores = _stores(_ITEM_ACTIONS, _OBJECT_PREFIXES, _SECRETS, attribute_arn)
    client_secret = allow("OidcSecret", ["secretsmanager:PutSecretValue"], [attribute_arn("OidcSecret")])
    made = ["secretsmanager:CreateSecret", "secretsmanager:DeleteSecret", "secretsmanager:GetSecretValue"]
    endpoints = allow("EndpointSecrets", made, endpoint_secrets())
    return [*stores, client_secret, endpoints, *_jobs_control(), *_schedules_control()]


def endpoint_secrets() -> list[Any]:
    """The secrets of upstream registries, which the API makes, and none of a stack whose name starts with this one's.

    The API names them by 32 digits (chalicelib/storage/conditions.py, fresh), and Secrets Manager adds six characters.
    """
    secrets = "arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:"
    return [{"Fn::Sub": f"{secrets}${{AWS::StackName}}-registry-{'?' * 32}-{'?' * 6}"}]


def upload_statements(arn: Callable[[str], Any]) -> list[Statement]:
    """What the relay needs, which goes on with uploads that the function has started; who may is in their addresses.

    The administrator's account is a secret: an upload that it began ends with its password. `arn` gives a store's ARN
    by its logical id.
    """
    return _stores(_UPLOAD_ITEM_ACTIONS, ("blobs", "uploads"), ["UploadSecret", "AdminSecret"], arn)


def _stores(
    items: Mapping[str, Iterable[str]], prefixes: Iterable[str], secrets: Collection[str], arn: Callable[[str], Any]
) -> list[Statement]:
    bucket = arn("Bucket")
    objects = [{"Fn::Sub": [f"${{Bucket}}/{prefix}/*", {"Bucket": bucket}]} for prefix in prefixes]
    return [
        *(allow(table, [f"dynamodb:{action}" for action in actions], [arn(table)]) for table, actions in items.items()),
        allow("Objects", _OBJECT_ACTIONS, objects),
        # Without it S3 answers 403 for an object that is gone, which could not be told from a fault of ours.
        allow("MissingObjects", ["s3:ListBucket"], [bucket]),
        *([allow("Secrets", ["secretsmanager:GetSecretValue"], [arn(name) for name in secrets])] if secrets else []),
    ]


def _jobs_control() -> list[Statement]:
    """Starting, stopping and looking at the runs of the stack's own state machines."""
    states = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}"
    # Each by its name: a pattern would be that of another stack too, whose name starts with this one's.
    names = [f"${{AWS::StackName}}-{name}" for name in MACHINE_NAMES.values()]
    started = [{"Fn::Sub": f"{states}:stateMachine:{name}"} for name in names]
    executions = [{"Fn::Sub": f"{states}:execution:{name}:*"} for name in names]
    return [
        allow("StartJobs", ["states:StartExecution"], started),
        allow("Jobs", ["states:DescribeExecution", "states:StopExecution"], executions),
    ]


def _schedules_control() -> list[Statement]:
    """Setting the schedules of jobs, in the stack's own group and with the one role that they may be fired with."""
    schedules = "arn:${AWS::Partition}:scheduler:${AWS::Region}:${AWS::AccountId}:schedule/${ScheduleGroup}/*"
    actions = ["scheduler:CreateSchedule", "scheduler:DeleteSchedule", "scheduler:UpdateSchedule"]
    return [
        allow("Schedules", actions, [{"Fn::Sub": schedules}]),
        allow("ScheduleRole", ["iam:PassRole"], [attribute_arn("JobSchedulerRole")]),
    ]


def scheduled_job_statements() -> list[Statement]:
    """What starting a job by its schedule needs, and putting right a schedule that is left over."""
    actions = [f"dynamodb:{name}" for name in ("DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem")]
    return [
        allow("JobsTable", actions, [attribute_arn("JobsTable")]),
        # Of a run that died, and is found when the next one is to start, the log and webhooks are told.
        allow("EventsTable", ["dynamodb:PutItem"], [attribute_arn("EventsTable")]),
        allow("AccountsTable", ["dynamodb:GetItem"], [attribute_arn("AccountsTable")]),
        *_jobs_control(),
        *_schedules_control(),
    ]


def rotation_statements() -> list[Statement]:
    """Reading the signing keys, writing the next ones, and moving the label that makes them current."""
    actions = [
        "secretsmanager:GetSecretValue",
        "secretsmanager:PutSecretValue",
        "secretsmanager:UpdateSecretVersionStage",
    ]
    return [allow("SigningKeys", actions, [attribute_arn("SigningSecret"), attribute_arn("UploadSecret")])]


def sweep_statements() -> list[Statement]:
    """Finding the uploads whose time is over, and dropping what they stored that became no blob."""
    bucket = attribute_arn("Bucket")
    objects = [{"Fn::Sub": [f"${{Bucket}}/{prefix}/*", {"Bucket": bucket}]} for prefix in ("blobs", "uploads")]
    return [
        allow("UploadsTable", ["dynamodb:DeleteItem", "dynamodb:Scan"], [attribute_arn("UploadsTable")]),
        allow("BlobsTable", ["dynamodb:BatchGetItem"], [attribute_arn("BlobsTable")]),
        # What an upload had stored counts in its project no longer.
        allow("ProjectsTable", ["dynamodb:GetItem", "dynamodb:UpdateItem"], [attribute_arn("ProjectsTable")]),
        allow("Objects", ["s3:AbortMultipartUpload", "s3:DeleteObject"], objects),
    ]


_COLLECTOR_ITEM_ACTIONS = {
    "BlobsTable": (
        *("BatchGetItem", "BatchWriteItem", "ConditionCheckItem", "DeleteItem", "GetItem", "Query", "Scan"),
        "UpdateItem",
    ),
    "RepositoriesTable": ("BatchGetItem", "DeleteItem", "GetItem", "Query", "Scan", "UpdateItem"),
    "UploadsTable": ("DeleteItem", "Scan"),
    "ProjectsTable": ("BatchGetItem", "DeleteItem", "GetItem", "UpdateItem"),  # charges are freed
    "JobsTable": ("BatchWriteItem", "DeleteItem", "GetItem", "Query", "UpdateItem"),
    "EventsTable": ("PutItem",),
    "AccountsTable": ("GetItem",),  # which types of events the log leaves out
}


def collector_statements() -> list[Statement]:
    """Everything that may be garbage: found by the sparse indexes, looked at, and deleted with its objects."""
    bucket = attribute_arn("Bucket")

    def objects(sid: str, actions: Iterable[str], *prefixes: str) -> Statement:
        under = [{"Fn::Sub": [f"${{Bucket}}/{prefix}/*", {"Bucket": bucket}]} for prefix in prefixes]
        return allow(sid, [f"s3:{action}" for action in actions], under)

    indexes = [
        {"Fn::Sub": ["${Table}/index/candidates", {"Table": attribute_arn(table)}]}
        for table in ("BlobsTable", "RepositoriesTable")
    ]
    return [
        *(
            allow(table, [f"dynamodb:{action}" for action in actions], [attribute_arn(table)])
            for table, actions in _COLLECTOR_ITEM_ACTIONS.items()
        ),
        allow("Candidates", ["dynamodb:Query"], indexes),
        objects("Blobs", ("AbortMultipartUpload", "DeleteObject"), "blobs", "uploads"),
        objects("Manifests", ("DeleteObject", "GetObject"), "manifests"),
        objects("Work", ("DeleteObject", "GetObject", "PutObject"), "gc"),
        allow("ListObjects", ["s3:ListBucket"], [bucket]),
    ]


def purge_statements() -> list[Statement]:
    """What purging the audit log takes (chalicelib/auditing/log.py), for the function that does it."""
    actions = ("BatchGetItem", "ConditionCheckItem", "DeleteItem", "GetItem", "Query", "UpdateItem")
    jobs = ("BatchWriteItem", "DeleteItem", "GetItem", "Query", "UpdateItem")
    return [
        allow("EventsTable", [f"dynamodb:{action}" for action in actions], [attribute_arn("EventsTable")]),
        allow("JobsTable", [f"dynamodb:{action}" for action in jobs], [attribute_arn("JobsTable")]),
    ]


def dispatch_statements() -> list[Statement]:
    """Reading the stream and the outbox, making deliveries of them, and queueing these."""
    items = ("DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem")
    stream = ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")
    return [
        allow("EventsTable", [f"dynamodb:{action}" for action in items], [attribute_arn("EventsTable")]),
        allow("Stream", [f"dynamodb:{action}" for action in stream], [{"Fn::GetAtt": ["EventsTable", "StreamArn"]}]),
        allow("ProjectsTable", ["dynamodb:GetItem", "dynamodb:Query"], [attribute_arn("ProjectsTable")]),
        allow("RepositoriesTable", ["dynamodb:GetItem"], [attribute_arn("RepositoriesTable")]),
        allow("AccountsTable", ["dynamodb:GetItem"], [attribute_arn("AccountsTable")]),
        allow("WebhookQueue", ["sqs:SendMessage"], [attribute_arn("WebhookQueue")]),
    ]


def delivery_statements() -> list[Statement]:
    """Taking deliveries from their queue, and writing what became of them."""
    queue = ("ChangeMessageVisibility", "DeleteMessage", "GetQueueAttributes", "ReceiveMessage")
    items = ("DeleteItem", "GetItem", "UpdateItem")
    return [
        allow("EventsTable", [f"dynamodb:{action}" for action in items], [attribute_arn("EventsTable")]),
        allow("ProjectsTable", ["dynamodb:GetItem"], [attribute_arn("ProjectsTable")]),
        allow("WebhookQueue", [f"sqs:{action}" for action in queue], [attribute_arn("WebhookQueue")]),
    ]


def retention_statements() -> list[Statement]:
    """What the steps of tag retention need: looking at repositories, and deleting artifacts as the protocol has it."""
    items = {
        "BlobsTable": ("BatchGetItem", "BatchWriteItem", "Query", "UpdateItem"),
        "RepositoriesTable": ("DeleteItem", "GetItem", "BatchGetItem", "Query", "UpdateItem"),
        "ProjectsTable": ("BatchGetItem", "DeleteItem", "GetItem", "UpdateItem"),  # charges are freed
        "EventsTable": ("PutItem",),
        "AccountsTable": ("GetItem",),  # which types of events the log leaves out
        "JobsTable": ("BatchWriteItem", "DeleteItem", "GetItem", "Query", "UpdateItem"),
    }
    return _stores(items, ("manifests",), (), attribute_arn)


def repository_deletion_statements() -> list[Statement]:
    """What the job that deletes repositories needs: deleting artifacts and blobs as the protocol has it."""
    items = {
        "BlobsTable": ("BatchGetItem", "BatchWriteItem", "DeleteItem", "Query", "UpdateItem"),
        "RepositoriesTable": ("DeleteItem", "GetItem", "BatchGetItem", "Query", "UpdateItem"),
        "ProjectsTable": ("BatchGetItem", "DeleteItem", "GetItem", "UpdateItem"),
        "EventsTable": ("PutItem",),
        "AccountsTable": ("GetItem",),  # which types of events the log leaves out
        "JobsTable": ("BatchWriteItem", "DeleteItem", "GetItem", "Query", "UpdateItem"),
    }
    return _stores(items, ("manifests",), (), attribute_arn)


def refresh_statements() -> list[Statement]:
    """Asking upstream registries, pushing what they have as the protocol does it, and having blobs fetched."""
    items = {
        "BlobsTable": ("BatchGetItem", "BatchWriteItem", "Query", "UpdateItem"),
        "RepositoriesTable": ("BatchGetItem", "DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem"),
        "ProjectsTable": ("BatchGetItem", "DeleteItem", "GetItem", "PutItem", "UpdateItem"),
        "EventsTable": ("PutItem",),
        "AccountsTable": ("GetItem",),  # which types of events the log leaves out
        "JobsTable": ("BatchGetItem", "BatchWriteItem", "DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem"),
    }
    secrets = allow("EndpointSecrets", ["secretsmanager:GetSecretValue"], endpoint_secrets())
    return [*_stores(items, ("manifests",), (), attribute_arn), secrets, *_jobs_control()]


def recount_statements() -> list[Statement]:
    """Reading manifests and who names what, and correcting what projects are charged for."""
    charges = ("BatchGetItem", "ConditionCheckItem", "DeleteItem", "GetItem", "PutItem", "Query", "UpdateItem")
    items = {
        "BlobsTable": ("BatchGetItem", "BatchWriteItem", "Query"),
        "RepositoriesTable": ("BatchGetItem", "Query"),
        "ProjectsTable": charges,
    }
    bucket = attribute_arn("Bucket")
    manifests = {"Fn::Sub": ["${Bucket}/manifests/*", {"Bucket": bucket}]}
    return [
        *(
            allow(table, [f"dynamodb:{action}" for action in actions], [attribute_arn(table)])
            for table, actions in items.items()
        ),
        allow("Objects", ["s3:GetObject"], [manifests]),
        allow("MissingObjects", ["s3:ListBucket"], [bucket]),
    ]


def health_statements() -> list[Statement]:
    """Calling upstream registries, writing down which answer, and deleting secrets that no record names."""
    return [
        allow(
            "ProjectsTable",
            [f"dynamodb:{name}" for name in ("GetItem", "Query", "UpdateItem")],
            [attribute_arn("ProjectsTable")],
        ),
        allow("EndpointSecrets", ["secretsmanager:DeleteSecret", "secretsmanager:GetSecretValue"], endpoint_secrets()),
        # Listing takes "*" only (service authorization reference); it shows names, and no secret.
        allow("ListSecrets", ["secretsmanager:ListSecrets"], ["*"]),
    ]


def fill_statements() -> list[Statement]:
    """Fetching blobs from upstream registries: uploading, publishing and linking them, and charging projects."""
    items = {
        "BlobsTable": ("BatchGetItem", "GetItem", "PutItem", "Query", "UpdateItem"),
        "RepositoriesTable": ("BatchGetItem",),
        "UploadsTable": ("DeleteItem", "GetItem", "PutItem"),
        "ProjectsTable": ("BatchGetItem", "DeleteItem", "GetItem", "PutItem", "UpdateItem"),
        "EventsTable": ("PutItem",),  # webhooks are told when a project has no room
        "JobsTable": ("DeleteItem", "GetItem", "UpdateItem"),
    }
    secrets = allow("EndpointSecrets", ["secretsmanager:GetSecretValue"], endpoint_secrets())
    return [*_stores(items, ("blobs", "uploads"), (), attribute_arn), secrets]


FUNCTIONS = {
    "RequestFunction": (registry_statements, "RequestLogs"),
    "RotateSigningKey": (rotation_statements, "RotateSigningKeyLogs"),
    "SweepUploads": (sweep_statements, "SweepUploadsLogs"),
    "CollectGarbage": (collector_statements, "CollectGarbageLogs"),
    "RecountUsage": (recount_statements, "RecountUsageLogs"),
    "DispatchEvents": (dispatch_statements, "DispatchEventsLogs"),
    "DeliverWebhook": (delivery_statements, "DeliverWebhookLogs"),
    "RunPurgeAuditLog": (purge_statements, "RunPurgeAuditLogLogs"),
    "RunRetention": (retention_statements, "RunRetentionLogs"),
    "DeleteRepositories": (repository_deletion_statements, "DeleteRepositoriesLogs"),
    "CheckRegistries": (health_statements, "CheckRegistriesLogs"),
    "RefreshProxies": (refresh_statements, "RefreshProxiesLogs"),
    "RunScheduledJob": (scheduled_job_statements, "RunScheduledJobLogs"),
    "FillBlobs": (fill_statements, "FillBlobsLogs"),
}
"""Each function's logical id, its statements, and its log group."""


def function_role(function: str) -> dict[str, Any]:
    """The role of `function`. Raises KeyError for one without a policy here: it must not get another's rights."""
    statements, logs = FUNCTIONS[function]
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": assumed_by("lambda.amazonaws.com"),
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


def _observability(logs: str) -> list[Statement]:
    return [
        allow("Logs", ["logs:CreateLogStream", "logs:PutLogEvents"], [attribute_arn(logs)]),
        # X-Ray names no resources: these two actions take "*" only (service authorization reference).
        allow("Traces", ["xray:PutTelemetryRecords", "xray:PutTraceSegments"], ["*"]),
    ]


def _dead_letters() -> list[Statement]:
    return [allow("FailedTasks", ["sqs:SendMessage"], [attribute_arn("FailedTasks")])]
