"""What looks after upstream registries: the schedule of their health check."""

from __future__ import annotations

from infra.policies import attribute_arn
from infra.schedules import Resource, scheduler_role


def upstreams() -> dict[str, Resource]:
    """The schedule, as often as Harbor checks (src/controller/registry/controller.go), and its role."""
    return {
        "CheckSchedulerRole": scheduler_role(attribute_arn("CheckRegistries")),
        "Check": {
            "Type": "AWS::Scheduler::Schedule",
            "Properties": {
                "Description": "Looks whether the upstream registries of proxy caches answer.",
                "ScheduleExpression": "rate(5 minutes)",
                "FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 4},
                "Target": {
                    "Arn": attribute_arn("CheckRegistries"),
                    "RoleArn": attribute_arn("CheckSchedulerRole"),
                    "DeadLetterConfig": {"Arn": attribute_arn("FailedTasks")},
                    # What one check missed, the next one sees.
                    "RetryPolicy": {"MaximumRetryAttempts": 0},
                },
            },
        },
    }
