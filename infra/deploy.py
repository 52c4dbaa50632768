"""`make deploy`: the package to an AWS account; and `deploy_local`: the same template to MiniStack.

python -m infra.deploy [--stack berth] [--region REGION] [--profile NAME] [--set Parameter=value ...]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, PartialCredentialsError

from infra.cloud import Cloud
from infra.package import build_template_only, build_zip, source_zip
from infra.parameters import environment
from infra.stack import StackError, Template, deploy

STACK = "berth"


def deploy_local(
    cloudformation: Any, template_body: str, parameters: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Deploy the template to MiniStack and return the stack's outputs; at once when nothing has changed.

    After a crash MiniStack has forgotten the stack and its tables but not the bucket: the bucket is adopted, the
    tables and secrets are made anew under the same names, so whoever kept a journal of them replays it afterwards.
    """
    meta = cloudformation.meta
    cloud = Cloud(boto3.Session(region_name=meta.region_name), meta.endpoint_url)
    return _deploy(cloud, cloudformation, STACK, template_body, source_zip(), parameters or {})


def deploy_aws(cloud: Cloud, stack: str, parameters: Mapping[str, str]) -> dict[str, str]:
    """Package, deploy, and set the administrator's password. Returns the stack's outputs."""
    template = build_template_only().read_text()
    code = build_zip().read_bytes()
    outputs = _deploy(cloud, cloud.client("cloudformation"), stack, template, code, parameters)
    _set_administrator(cloud.client("secretsmanager"), outputs)
    return outputs


def _deploy(
    cloud: Cloud, cloudformation: Any, stack: str, body: str, code: bytes, parameters: Mapping[str, str]
) -> dict[str, str]:
    artifacts = cloud.artifacts
    body = json.dumps(json.loads(body), separators=(",", ":"))
    files = {_key(body.encode(), "json"): body.encode(), _key(code, "zip"): code}
    template_key, code_key = files
    return deploy(
        cloudformation,
        stack,
        Template(body, artifacts.url(template_key)),
        {**parameters, "CodeBucket": artifacts.bucket, "CodeKey": code_key},
        upload=partial(artifacts.upload, files),
        find_stores=partial(cloud.stores, stack),
    )


def _key(content: bytes, extension: str) -> str:
    return f"{hashlib.sha256(content).hexdigest()}.{extension}"


def _set_administrator(secrets: Any, outputs: Mapping[str, str]) -> None:
    """Write the hash of the password that CloudFormation generated, unless it is written already.

    An operator who changes the AdminPassword secret deploys again to make it count.
    """
    os.environ.update(environment(outputs, {}))
    from chalicelib.access import accounts, passwords  # noqa: PLC0415 -- read the settings that were just set

    text = secrets.get_secret_value(SecretId=outputs["AdminPassword"])["SecretString"]
    wanted = json.loads(text)
    if accounts.verify(wanted["username"], wanted["password"]) is None:
        accounts.set_administrator(wanted["username"], passwords.hash_password(wanted["password"]))


def _report(outputs: Mapping[str, str], region: str) -> str:
    secret = outputs["AdminPassword"]
    return "\n".join(
        (
            f"registry: {outputs['ApiUrl']}",
            "administrator's name and password:",
            f"  aws secretsmanager get-secret-value --region {region} --query SecretString --output text \\",
            f"    --secret-id {secret}",
        )
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.deploy", description=__doc__)
    parser.add_argument("--stack", default=STACK, help="name of the stack, in lower case")
    parser.add_argument("--region")
    parser.add_argument("--profile")
    parser.add_argument(
        "--set", action="append", default=[], metavar="Parameter=value", help="a parameter of the template"
    )
    return parser.parse_args()


def main() -> int:
    """Deploy to AWS. Returns the exit status."""
    arguments = _arguments()
    parameters = dict(entry.split("=", 1) for entry in arguments.set)
    try:
        session = boto3.Session(profile_name=arguments.profile, region_name=arguments.region)
        if session.region_name is None:
            raise NoRegionError
        cloud = Cloud(session)
        print(f"account {cloud.account}, region {session.region_name}, stack {arguments.stack}")
        outputs = deploy_aws(cloud, arguments.stack, parameters)
    except (NoCredentialsError, PartialCredentialsError):
        return _failed("no AWS credentials: run `aws configure` or `aws sso login`, or set AWS_PROFILE")
    except NoRegionError:
        return _failed("no AWS region: give --region or set AWS_REGION")
    except (StackError, BotoCoreError, ClientError) as error:
        return _failed(str(error))
    print(_report(outputs, session.region_name))
    return 0


def _failed(reason: str) -> int:
    print(f"deploy: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
