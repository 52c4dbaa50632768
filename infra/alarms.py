"""The few alarms that mean someone must look."""

from __future__ import annotations

from typing import Any


def alarms() -> dict[str, dict[str, Any]]:
    """A task that failed for good; a request function that throws or is throttled; an API that answers 5xx."""
    return {
        "FailedTasksAlarm": _alarm(
            "An event failed in a task, retries and all: see the queue's messages.",
            "AWS/SQS", "ApproximateNumberOfMessagesVisible",
            {"QueueName": {"Fn::GetAtt": ["FailedTasks", "QueueName"]}}, statistic="Maximum",
        ),
        "RequestErrorsAlarm": _alarm(
            "The request function threw: a fault of ours, since every expected failure is an answer.",
            "AWS/Lambda", "Errors", {"FunctionName": {"Ref": "RequestFunction"}},
        ),
        "RequestThrottlesAlarm": _alarm(
            "Requests came faster than the account's Lambda concurrency allows.",
            "AWS/Lambda", "Throttles", {"FunctionName": {"Ref": "RequestFunction"}},
        ),
        "ApiErrorsAlarm": _alarm(
            "Clients got 5xx.", "AWS/ApiGateway", "5xx", {"ApiId": {"Ref": "Api"}}, threshold=10
        ),
    }  # fmt: skip


def _alarm(
    description: str,
    namespace: str,
    metric: str,
    dimensions: dict[str, Any],
    *,
    statistic: str = "Sum",
    threshold: int = 1,
) -> dict[str, Any]:
    """An alarm on five minutes at or above `threshold`; no data is no trouble."""
    return {
        "Type": "AWS::CloudWatch::Alarm",
        "Properties": {
            "AlarmDescription": description,
            "Namespace": namespace,
            "MetricName": metric,
            "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
            "Statistic": statistic,
            "Period": 300,
            "EvaluationPeriods": 1,
            "Threshold": threshold,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "TreatMissingData": "notBreaching",
            "AlarmActions": {"Fn::If": ["HasAlarmTopic", [{"Ref": "AlarmTopicArn"}], {"Ref": "AWS::NoValue"}]},
        },
    }
