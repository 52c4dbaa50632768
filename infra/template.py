"""The one CloudFormation template: what Chalice packages, with an HTTP API, the stores, and a policy for each function.

`python -m infra.template FILE` writes it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from infra.alarms import alarms
from infra.chalice_package import ChalicePackage, chalice_package
from infra.http_api import replace_rest_api
from infra.parameters import COMPUTED, CONDITIONS, PARAMETERS, function_environment
from infra.policies import FUNCTIONS, function_role
from infra.resources import STORE_NAMES, resources
from infra.schedules import FUNCTION_NAMES
from infra.state_machines import state_machines
from infra.upstreams import upstreams
from infra.webhooks import webhooks

PROJECT = Path(__file__).resolve().parent.parent

_OUTPUTS = [
    *STORE_NAMES,
    "WebhookQueue",
    "SigningSecret",
    "UploadSecret",
    "AdminSecret",
    "OidcSecret",
    "AdminPassword",
    "RequestFunction",
    "RotateSigningKey",
    "RecountUsage",
    "Api",
    "ScheduleGroup",
]
"""Resources whose `Ref` is an output of the same name."""


def build(package: ChalicePackage) -> dict[str, Any]:
    """The template to deploy, from what Chalice packages.

    Raises KeyError when the app names a Lambda that has no policy in infra/policies.py.
    """
    template = replace_rest_api(package.template, package.routes, "RequestFunction")
    generated = template["Resources"]
    functions = [name for name, body in generated.items() if body["Type"] == "AWS::Serverless::Function"]
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Transform": template["Transform"],
        "Description": "Berth: a container registry without servers",
        "Parameters": PARAMETERS,
        "Conditions": CONDITIONS,
        "Resources": {
            **generated,
            **{name: _function(name, generated[name]) for name in functions},
            **{f"{name}Role": function_role(name) for name in functions},
            **resources(),
            **webhooks(),
            **upstreams(),
            **state_machines(),
            **alarms(),
        },
        "Outputs": {**template["Outputs"], **_outputs()},
    }


def _function(name: str, generated: dict[str, Any]) -> dict[str, Any]:
    """Chalice's function with its own role, code from S3, the settings, its log group, and a queue for failures."""
    _, logs = FUNCTIONS[name]
    properties = {
        **generated["Properties"],
        **({"FunctionName": FUNCTION_NAMES[name]} if name in FUNCTION_NAMES else {}),
        "CodeUri": {"Bucket": {"Ref": "CodeBucket"}, "Key": {"Ref": "CodeKey"}},
        "Role": {"Fn::GetAtt": [f"{name}Role", "Arn"]},
        "Environment": {"Variables": function_environment()},
        "LoggingConfig": {"LogGroup": {"Ref": logs}},
        "DeadLetterQueue": {"Type": "SQS", "TargetArn": {"Fn::GetAtt": ["FailedTasks", "Arn"]}},
    }
    return {**generated, "Properties": properties}


def _outputs() -> dict[str, Any]:
    url = {
        "Fn::If": [
            "HasDomain",
            {"Fn::Sub": "https://${DomainName}"},
            {"Fn::GetAtt": ["Api", "ApiEndpoint"]},
        ]
    }
    return {
        **{name: {"Value": {"Ref": name}} for name in _OUTPUTS},
        **{name: {"Value": value} for name, value in COMPUTED.items()},
        "ApiUrl": {"Description": "The registry's address.", "Value": url},
    }


def main() -> None:
    """Write the template of the project to the file named on the command line."""
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(build(chalice_package(PROJECT)), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
