"""The stack's parameters, and the environment that its functions get from them (chalicelib/settings.py reads it)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PARAMETERS: dict[str, dict[str, Any]] = {
    "CodeBucket": {"Type": "String", "Description": "Bucket that holds the deployment package."},
    "CodeKey": {"Type": "String", "Description": "Key of the deployment package; its name carries its digest."},
    "RelayUrl": {
        "Type": "String",
        "Default": "",
        "AllowedPattern": r"|/[^?#]*|https?://[^?#]+",
        "Description": "Base of upload Locations: the relay's URL; empty when bodies pass through the API alone.",
    },
    "S3PublicEndpoint": {
        "Type": "String",
        "Default": "",
        "Description": "Where clients reach S3 when that differs from where functions do; empty on AWS.",
    },
    "TokenSeconds": {
        "Type": "Number",
        "Default": 300,
        "MinValue": 60,
        "MaxValue": 3600,
        "Description": "Life of a registry token. Clients renew one at 60 s at the earliest (distribution).",
    },
    "RefreshTokens": {
        "Type": "String",
        "Default": "false",
        "AllowedValues": ["true", "false"],
        "Description": "Give docker login a refresh token of 28 days to keep in place of the password.",
    },
    "UploadSeconds": {
        "Type": "Number",
        "Default": 86400,
        "MinValue": 600,
        "MaxValue": 86400,
        "Description": "Life of an upload session; the bucket drops what it left behind a day later.",
    },
    "UrlSeconds": {
        "Type": "Number",
        "Default": 1200,
        "MinValue": 60,
        "MaxValue": 43200,
        "Description": "Life of a presigned download URL. A role's session ends it sooner.",
    },
    "CandidateRenewSeconds": {
        "Type": "Number",
        "Default": 600,
        "MinValue": 1,
        "Description": "A candidate for collection older than this gets its full time again when it is used.",
    },
    "PushSeconds": {
        "Type": "Number",
        "Default": 60,
        "MinValue": 30,
        "MaxValue": 3600,
        "Description": "How long a push may take; what an older one left unfinished counts as abandoned.",
    },
    "GcGraceSeconds": {
        "Type": "Number",
        "Default": 7200,
        "MinValue": 1,
        "Description": "How long a condemned blob waits before it is deleted; must exceed UrlSeconds (docs/gc.md).",
    },
    "GcWindowSeconds": {
        "Type": "Number",
        "Default": 7200,
        "MinValue": 1,
        "Description": "How long something must have been garbage before it is condemned: Harbor's time window.",
    },
    "GcReconcileDays": {
        "Type": "Number",
        "Default": 7,
        "MinValue": 1,
        "MaxValue": 365,
        "Description": "How often a run of the collector looks through all tables and objects.",
    },
    "GcUnsafeTimes": {
        "Type": "String",
        "Default": "false",
        "AllowedValues": ["true", "false"],
        "Description": "Allow a grace and a window of any length: clients are told of blobs that then go. For tests.",
    },
    "SparseIndexes": {
        "Type": "String",
        "Default": "false",
        "AllowedValues": ["true", "false"],
        "Description": "Accept an index that names manifests which the repository does not hold.",
    },
    "ProxyFreshSeconds": {
        "Type": "Number",
        "Default": 5,
        "MinValue": 0,
        "MaxValue": 3600,
        "Description": "How long what an upstream registry said of a tag is good for, so that not every pull asks it.",
    },
    "ProxyWaitSeconds": {
        "Type": "Number",
        "Default": 21,
        "MinValue": 1,
        "MaxValue": 21,
        "Description": "How long a request waits for a blob that is being fetched from an upstream registry.",
    },
    "OutboundAllowed": {
        "Type": "String",
        "Default": "",
        "AllowedPattern": r"[A-Za-z0-9.:/_, -]*",
        "Description": "Private networks (CIDR) and hosts that may be called, separated by commas; public ones may be.",
    },
    "WebhookRetrySeconds": {
        "Type": "Number",
        "Default": 10,
        "MinValue": 0,
        "MaxValue": 600,
        "Description": "Pause before the second attempt to call a webhook; each one after it is four times as long.",
    },
    "LogLevel": {"Type": "String", "Default": "INFO", "AllowedValues": ["DEBUG", "INFO", "WARNING", "ERROR"]},
    "LogRetentionDays": {"Type": "Number", "Default": 30, "AllowedValues": [7, 14, 30, 90, 180, 365]},
    "RotationSchedule": {
        "Type": "String",
        "Default": "rate(30 days)",
        "AllowedPattern": r"(rate|cron)\(.+\)",
        "Description": "When the token signing key is replaced; the key before it stays valid.",
    },
    "ThrottleRate": {
        "Type": "Number",
        "Default": 1000,
        "MinValue": 1,
        "Description": "Requests a second that the API admits.",
    },
    "ThrottleBurst": {"Type": "Number", "Default": 2000, "MinValue": 1},
    "DomainName": {
        "Type": "String",
        "Default": "",
        "Description": "The registry's own host name, if any.",
    },
    "HostedZoneId": {
        "Type": "String",
        "Default": "",
        "Description": "The Route 53 zone that DomainName is in; its certificate and record are made there.",
    },
    "AlarmTopicArn": {
        "Type": "String",
        "Default": "",
        "Description": "SNS topic that alarms are told to; empty for none.",
    },
}

COMPUTED = {
    "StateMachines": {
        "Fn::Sub": "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:stateMachine:${AWS::StackName}-"
    },
    "ScheduleTarget": {
        "Fn::Sub": "arn:${AWS::Partition}:lambda:${AWS::Region}:${AWS::AccountId}:"
        "function:${AWS::StackName}-run-scheduled-job"
    },
    "ScheduleRole": {"Fn::GetAtt": ["JobSchedulerRole", "Arn"]},
    "EndpointSecrets": {"Fn::Sub": "${AWS::StackName}-registry-"},
}
"""What the environment names that is neither a parameter nor a resource's `Ref`; outputs of the stack, all the same.

StateMachines is what the ARNs of all begin with. A machine needs the ARN of its function, so the function's environment
cannot name the machine itself. ScheduleTarget is the function RunScheduledJob, by its fixed name. EndpointSecrets is
what the names of the secrets begin with that the API makes for upstream registries.
"""

CONDITIONS = {
    "HasDomain": {"Fn::Not": [{"Fn::Equals": [{"Ref": "DomainName"}, ""]}]},
    "HasAlarmTopic": {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopicArn"}, ""]}]},
}

ENVIRONMENT: dict[str, Any] = {
    "BERTH_BLOBS_TABLE": {"Ref": "BlobsTable"},
    "BERTH_REPOSITORIES_TABLE": {"Ref": "RepositoriesTable"},
    "BERTH_UPLOADS_TABLE": {"Ref": "UploadsTable"},
    "BERTH_PROJECTS_TABLE": {"Ref": "ProjectsTable"},
    "BERTH_ACCOUNTS_TABLE": {"Ref": "AccountsTable"},
    "BERTH_EVENTS_TABLE": {"Ref": "EventsTable"},
    "BERTH_WEBHOOK_QUEUE": {"Ref": "WebhookQueue"},
    "BERTH_WEBHOOK_RETRY_SECONDS": {"Ref": "WebhookRetrySeconds"},
    "BERTH_JOBS_TABLE": {"Ref": "JobsTable"},
    "BERTH_BUCKET": {"Ref": "Bucket"},
    "BERTH_SIGNING_SECRET": {"Ref": "SigningSecret"},
    "BERTH_UPLOAD_SECRET": {"Ref": "UploadSecret"},
    "BERTH_ADMIN_SECRET": {"Ref": "AdminSecret"},
    "BERTH_OIDC_SECRET": {"Ref": "OidcSecret"},
    "BERTH_ENDPOINT_SECRETS": {"Ref": "EndpointSecrets"},
    "BERTH_STATE_MACHINES": {"Ref": "StateMachines"},
    "BERTH_SCHEDULE_GROUP": {"Ref": "ScheduleGroup"},
    "BERTH_SCHEDULE_TARGET": {"Ref": "ScheduleTarget"},
    "BERTH_SCHEDULE_ROLE": {"Ref": "ScheduleRole"},
    "BERTH_RELAY_URL": {"Ref": "RelayUrl"},
    "BERTH_S3_PUBLIC_ENDPOINT": {"Ref": "S3PublicEndpoint"},
    "BERTH_TOKEN_SECONDS": {"Ref": "TokenSeconds"},
    "BERTH_REFRESH_TOKENS": {"Ref": "RefreshTokens"},
    "BERTH_UPLOAD_SECONDS": {"Ref": "UploadSeconds"},
    "BERTH_URL_SECONDS": {"Ref": "UrlSeconds"},
    "BERTH_CANDIDATE_RENEW_SECONDS": {"Ref": "CandidateRenewSeconds"},
    "BERTH_PUSH_SECONDS": {"Ref": "PushSeconds"},
    "BERTH_GC_GRACE_SECONDS": {"Ref": "GcGraceSeconds"},
    "BERTH_GC_WINDOW_SECONDS": {"Ref": "GcWindowSeconds"},
    "BERTH_GC_RECONCILE_DAYS": {"Ref": "GcReconcileDays"},
    "BERTH_GC_UNSAFE_TIMES": {"Ref": "GcUnsafeTimes"},
    "BERTH_SPARSE_INDEXES": {"Ref": "SparseIndexes"},
    "BERTH_PROXY_FRESH_SECONDS": {"Ref": "ProxyFreshSeconds"},
    "BERTH_PROXY_WAIT_SECONDS": {"Ref": "ProxyWaitSeconds"},
    "BERTH_OUTBOUND_ALLOWED": {"Ref": "OutboundAllowed"},
    "POWERTOOLS_SERVICE_NAME": "berth",
    "POWERTOOLS_METRICS_NAMESPACE": "Berth",
    "POWERTOOLS_LOG_LEVEL": {"Ref": "LogLevel"},
}


def store_references() -> list[str]:
    """The stack's outputs that the environment names."""
    references = (value["Ref"] for value in ENVIRONMENT.values() if isinstance(value, dict))
    return [name for name in references if name not in PARAMETERS]


def function_environment() -> dict[str, Any]:
    """The environment as the template has it."""
    return {
        name: COMPUTED.get(value["Ref"], value) if isinstance(value, dict) else value
        for name, value in ENVIRONMENT.items()
    }


def environment(outputs: Mapping[str, str], parameters: Mapping[str, str]) -> dict[str, str]:
    """The functions' environment in a deployed stack, for what runs beside it: the local gateway, the relay.

    Raises KeyError when `outputs` is of a stack of another version.
    """
    defaults = {name: str(body["Default"]) for name, body in PARAMETERS.items() if "Default" in body}
    values = {**defaults, **parameters, **outputs}
    return {name: values[value["Ref"]] if isinstance(value, dict) else value for name, value in ENVIRONMENT.items()}
