"""EventBridge Scheduler: the roles of schedules, and what the schedules of jobs are made with.

The schedules of jobs are the API's to make (chalicelib/storage/scheduler.py): in a group of the stack's own, aimed at
one function. That function can set schedules too, so its environment has the role's ARN and its own: the role names it
by its name, and so does the environment, for CloudFormation cannot make two things that each need the other first.
"""

from __future__ import annotations

from typing import Any

from infra.parameters import COMPUTED
from infra.policies import attribute_arn

Resource = dict[str, Any]

FUNCTION_NAMES = {"RunScheduledJob": {"Fn::Sub": "${AWS::StackName}-run-scheduled-job"}}
"""The names of functions that must be known before they are made."""


def job_schedules() -> dict[str, Resource]:
    """The group that the schedules of jobs are in, and the role that they are fired with."""
    return {
        "ScheduleGroup": {
            "Type": "AWS::Scheduler::ScheduleGroup",
            "Properties": {"Name": {"Fn::Sub": "${AWS::StackName}-jobs"}},
        },
        "JobSchedulerRole": scheduler_role(COMPUTED["ScheduleTarget"]),
    }


def schedule(
    function: str, role: str, description: str, expression: Any, *, within: int = 15, event: str = ""
) -> Resource:
    """What invokes `function` by itself, within so many minutes of its time, with `event` (JSON)."""
    target = {
        "Arn": attribute_arn(function),
        "RoleArn": attribute_arn(role),
        "DeadLetterConfig": {"Arn": attribute_arn("FailedTasks")},
        **({"Input": event} if event else {}),
    }
    return {
        "Type": "AWS::Scheduler::Schedule",
        "Properties": {
            "Description": description,
            "ScheduleExpression": expression,
            "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": within},
            "Target": target,
        },
    }


def scheduler_role(function_arn: Any) -> Resource:
    """What lets EventBridge Scheduler invoke a function, and tell the queue of failures."""
    return {
        "Type": "AWS::IAM::Role",
        "Properties": {
            "AssumeRolePolicyDocument": {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"Service": "scheduler.amazonaws.com"},
                        "Action": "sts:AssumeRole",
                        "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
                    }
                ],
            },
            "Policies": [
                {
                    "PolicyName": "invoke",
                    "PolicyDocument": {
                        "Version": "2012-10-17",
                        "Statement": [
                            {
                                "Effect": "Allow",
                                "Action": "lambda:InvokeFunction",
                                "Resource": function_arn,
                            },
                            {
                                "Effect": "Allow",
                                "Action": "sqs:SendMessage",
                                "Resource": {"Fn::GetAtt": ["FailedTasks", "Arn"]},
                            },
                        ],
                    },
                }
            ],
        },
    }
