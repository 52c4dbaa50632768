"""The stores of the stack: tables, bucket, queue, secrets, log groups, and the schedules of the background functions.

The tables are what the docstring of chalicelib/storage/tables/__init__.py says. Stores are retained when the stack is
deleted: a registry's images must outlive a mistake with its stack. `infra.deploy` adopts them into a new one.
"""

from __future__ import annotations

from typing import Any

from infra.policies import attribute_arn
from infra.schedules import job_schedules, schedule, scheduler_role

Resource = dict[str, Any]

STORE_NAMES = {
    "BlobsTable": "${AWS::StackName}-blobs",
    "RepositoriesTable": "${AWS::StackName}-repositories",
    "UploadsTable": "${AWS::StackName}-uploads",
    "ProjectsTable": "${AWS::StackName}-projects",
    "AccountsTable": "${AWS::StackName}-accounts",
    "EventsTable": "${AWS::StackName}-events",
    "JobsTable": "${AWS::StackName}-jobs",
    "Bucket": "${AWS::StackName}-${AWS::AccountId}-${AWS::Region}",
}
"""What holds the registry's data, by logical id. Names are fixed so that a new stack can find what an old one left."""

STALE_DAYS = 2
"""After so many days S3 drops what an abandoned upload left. A session lives a day at most (UploadSeconds)."""


def resources() -> dict[str, Resource]:
    """Every store by its logical id."""
    return {
        "BlobsTable": _table("BlobsTable", candidates=True),
        "RepositoriesTable": _table("RepositoriesTable", candidates=True),
        "UploadsTable": _table("UploadsTable", ttl="expires"),
        "ProjectsTable": _table("ProjectsTable"),
        "AccountsTable": _table("AccountsTable", ttl="expires"),
        "EventsTable": _table("EventsTable", ttl="expires", stream=True),
        "JobsTable": _table("JobsTable", ttl="expires"),
        "Bucket": _bucket(),
        "BucketPolicy": _tls_only_bucket_policy(),
        "SigningSecret": _signing_secret("Keys that sign tokens."),
        "UploadSecret": _signing_secret("Keys that sign upload addresses, which the relay holds too."),
        "AdminSecret": _empty_secret("The administrator's name and password hash, written by infra.deploy."),
        "OidcSecret": _empty_secret("What Berth proves itself by to the OIDC provider, written through the API."),
        "AdminPassword": _admin_password(),
        "FailedTasks": _failed_tasks(),
        "RequestLogs": _log_group("request"),
        "RotateSigningKeyLogs": _log_group("rotate-signing-key"),
        "SweepUploadsLogs": _log_group("sweep-uploads"),
        "CollectGarbageLogs": _log_group("collect-garbage"),
        "RecountUsageLogs": _log_group("recount-usage"),
        "DispatchEventsLogs": _log_group("dispatch-events"),
        "DeliverWebhookLogs": _log_group("deliver-webhook"),
        "RunPurgeAuditLogLogs": _log_group("run-purge-audit-log"),
        "RunRetentionLogs": _log_group("run-retention"),
        "DeleteRepositoriesLogs": _log_group("delete-repositories"),
        "RefreshProxiesLogs": _log_group("refresh-proxies"),
        "RunScheduledJobLogs": _log_group("run-scheduled-job"),
        "CheckRegistriesLogs": _log_group("check-registries"),
        "FillBlobsLogs": _log_group("fill-blobs"),
        "AccessLogs": _log_group("access"),
        "RotationSchedulerRole": scheduler_role(attribute_arn("RotateSigningKey")),
        "Rotation": _rotation(),
        "SweepSchedulerRole": scheduler_role(attribute_arn("SweepUploads")),
        "Sweep": _sweep(),
        "RecountSchedulerRole": scheduler_role(attribute_arn("RecountUsage")),
        "Recount": _recount(),
        **job_schedules(),
    }


def _table(logical_id: str, *, candidates: bool = False, ttl: str = "", stream: bool = False) -> Resource:
    attributes = [_attribute("pk", "S"), _attribute("sk", "S")]
    properties: dict[str, Any] = {
        "TableName": {"Fn::Sub": STORE_NAMES[logical_id]},
        "BillingMode": "PAY_PER_REQUEST",
        "KeySchema": [_key("pk", "HASH"), _key("sk", "RANGE")],
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
        "DeletionProtectionEnabled": True,
        "SSESpecification": {"SSEEnabled": True},
    }
    if candidates:
        attributes += [_attribute("candidate", "S"), _attribute("candidate_since", "N")]
        properties["GlobalSecondaryIndexes"] = [
            {
                "IndexName": "candidates",
                "KeySchema": [_key("candidate", "HASH"), _key("candidate_since", "RANGE")],
                # A collector re-reads every candidate from the table itself, so keys are all it needs here.
                "Projection": {"ProjectionType": "KEYS_ONLY"},
            }
        ]
    if ttl:
        properties["TimeToLiveSpecification"] = {"AttributeName": ttl, "Enabled": True}
    if stream:
        properties["StreamSpecification"] = {"StreamViewType": "NEW_IMAGE"}
    properties["AttributeDefinitions"] = attributes
    return _retained({"Type": "AWS::DynamoDB::Table", "Properties": properties})


def _attribute(name: str, kind: str) -> dict[str, str]:
    return {"AttributeName": name, "AttributeType": kind}


def _key(name: str, kind: str) -> dict[str, str]:
    return {"AttributeName": name, "KeyType": kind}


def _retained(resource: Resource) -> Resource:
    return {**resource, "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain"}


def _bucket() -> Resource:
    return _retained(
        {
            "Type": "AWS::S3::Bucket",
            "Properties": {
                "BucketName": {"Fn::Sub": STORE_NAMES["Bucket"]},
                "PublicAccessBlockConfiguration": {
                    "BlockPublicAcls": True,
                    "BlockPublicPolicy": True,
                    "IgnorePublicAcls": True,
                    "RestrictPublicBuckets": True,
                },
                "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                "BucketEncryption": {
                    "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
                },
                "LifecycleConfiguration": {
                    "Rules": [
                        {
                            "Id": "stale-multipart-uploads",
                            "Status": "Enabled",
                            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": STALE_DAYS},
                        },
                        {
                            "Id": "stale-upload-tails",
                            "Status": "Enabled",
                            "Prefix": "uploads/",
                            "ExpirationInDays": STALE_DAYS,
                        },
                        {
                            "Id": "stale-work-of-the-collector",
                            "Status": "Enabled",
                            "Prefix": "gc/work/",
                            "ExpirationInDays": STALE_DAYS,
                        },
                    ]
                },
            },
        }
    )


def _tls_only_bucket_policy() -> Resource:
    return {
        "Type": "AWS::S3::BucketPolicy",
        "Properties": {
            "Bucket": {"Ref": "Bucket"},
            "PolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Sid": "TlsOnly",
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "s3:*",
                        "Resource": [{"Fn::GetAtt": ["Bucket", "Arn"]}, {"Fn::Sub": "${Bucket.Arn}/*"}],
                        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                    }
                ],
            },
        },
    }


def _signing_secret(description: str) -> Resource:
    """The first key; its form, and what a rotation makes of it, are in chalicelib/access/keys.py."""
    return _generated_secret(description, "{}", "key", length=64)


def _empty_secret(description: str) -> Resource:
    return {
        "Type": "AWS::SecretsManager::Secret",
        "Properties": {"Description": description, "SecretString": "{}"},
    }


def _admin_password() -> Resource:
    """The password itself, for operators to read: no function's policy names it."""
    return _generated_secret("The administrator's password.", '{"username": "admin"}', "password", length=32)


def _generated_secret(description: str, template: str, key: str, *, length: int) -> Resource:
    return {
        "Type": "AWS::SecretsManager::Secret",
        "Properties": {
            "Description": description,
            "GenerateSecretString": {
                "SecretStringTemplate": template,
                "GenerateStringKey": key,
                "PasswordLength": length,
                "ExcludePunctuation": True,
            },
        },
    }


def _failed_tasks() -> Resource:
    """Where an event ends that a task has failed, retries and all."""
    return {
        "Type": "AWS::SQS::Queue",
        "Properties": {"MessageRetentionPeriod": 14 * 24 * 3600, "SqsManagedSseEnabled": True},
    }


def _log_group(name: str) -> Resource:
    return {
        "Type": "AWS::Logs::LogGroup",
        "Properties": {
            "LogGroupName": {"Fn::Sub": f"/berth/${{AWS::StackName}}/{name}"},
            "RetentionInDays": {"Ref": "LogRetentionDays"},
        },
    }


def _rotation() -> Resource:
    # The scheduler gives every attempt of one firing the same id, so that a retry is no second rotation.
    event = '{"id": "<aws.scheduler.execution-id>", "time": "<aws.scheduler.scheduled-time>"}'
    description = "Replaces the token signing key; the key before it stays valid."
    expression = {"Ref": "RotationSchedule"}
    return schedule("RotateSigningKey", "RotationSchedulerRole", description, expression, within=60, event=event)


def _sweep() -> Resource:
    description = "Drops what uploads stored that were never ended."
    return schedule("SweepUploads", "SweepSchedulerRole", description, "rate(6 hours)", within=60)


def _recount() -> Resource:
    """Every hour, so that a round goes on soon where a function's life ended; one begins once a day."""
    description = "Recounts what projects use, once a day."
    return schedule("RecountUsage", "RecountSchedulerRole", description, "rate(1 hour)", event="{}")
