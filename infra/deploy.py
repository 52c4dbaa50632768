"""`make deploy`: the package to an AWS account; and `deploy_local`: the same template to MiniStack.

python -m infra.deploy [--stack berth] [--region REGION] [--profile NAME] [--set Parameter=value ...]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, NoRegionError, PartialCredentialsError

from infra import relay
from infra.cloud import Cloud
from infra.package import PROJECT, build_template_only, build_zip, source_zip
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
    cloud.cloudformation = cloudformation
    return _deploy_registry(cloud, STACK, template_body, source_zip(), parameters or {})


def deploy_aws(
    session: Any, stack: str, parameters: Mapping[str, str], relay_parameters: Mapping[str, str]
) -> dict[str, str]:
    """Package, deploy, and bootstrap; then the relay, when parameters of its own are given. Returns the outputs."""
    cloud = Cloud(session)
    print(f"account {cloud.account}, region {session.region_name}, stack {stack}", flush=True)
    template = build_template_only().read_text()
    code = build_zip().read_bytes()
    outputs = _deploy_registry(cloud, stack, template, code, parameters)
    _bootstrap(session, outputs)
    if not relay_parameters:
        return outputs
    handed_over = {name: outputs[name] for name in relay.handed_over()} | {"RegistryUrl": outputs["ApiUrl"]}
    body = json.dumps(relay.build())
    relayed = _deploy(cloud, f"{stack}-relay", body, {}, {**handed_over, **relay_parameters})
    return _deploy_registry(cloud, stack, template, code, {**parameters, "RelayUrl": relayed["RelayUrl"]})


def _deploy_registry(cloud: Cloud, stack: str, body: str, code: bytes, parameters: Mapping[str, str]) -> dict[str, str]:
    code_key = _key(code, "zip")
    place = {"CodeBucket": cloud.artifacts.bucket, "CodeKey": code_key}
    return _deploy(cloud, stack, body, {code_key: code}, {**parameters, **place})


def _deploy(
    cloud: Cloud, stack: str, body: str, files: Mapping[str, bytes], parameters: Mapping[str, str]
) -> dict[str, str]:
    body = json.dumps(json.loads(body), separators=(",", ":"))
    key = _key(body.encode(), "json")
    return deploy(
        cloud.cloudformation,
        stack,
        Template(body, cloud.artifacts.url(key)),
        parameters,
        upload=partial(cloud.artifacts.upload, {**files, key: body.encode()}),
        find_stores=partial(cloud.stores, stack),
    )


def _key(content: bytes, extension: str) -> str:
    return f"{hashlib.sha256(content).hexdigest()}.{extension}"


def _bootstrap(session: Any, outputs: Mapping[str, str]) -> None:
    """Make the account and the project that a registry starts with, by the app's own rules.

    The password is the one that CloudFormation generated, or that an operator put in its place since. In a process of
    its own, since the app reads its settings and credentials from the environment when it is imported.
    """
    secret = session.client("secretsmanager").get_secret_value(SecretId=outputs["AdminPassword"])
    administrator = json.loads(secret["SecretString"])
    credentials = session.get_credentials().get_frozen_credentials()
    variables = {
        "AWS_ACCESS_KEY_ID": credentials.access_key,
        "AWS_SECRET_ACCESS_KEY": credentials.secret_key,
        "AWS_SESSION_TOKEN": credentials.token or "",
        "AWS_REGION": session.region_name,
    }
    subprocess.run(
        [sys.executable, "-m", "chalicelib.bootstrap", administrator["username"]],
        input=administrator["password"],
        env={**os.environ, **environment(outputs, {}), **variables},
        cwd=PROJECT,
        text=True,
        check=True,
    )


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
    add = partial(parser.add_argument, action="append", default=[], metavar="Parameter=value")
    add("--set", help="a parameter of infra/parameters.py")
    add("--relay", help="a parameter of infra/relay.py; deploys the relay too")
    return parser.parse_args()


def _assignments(entries: Sequence[str]) -> dict[str, str]:
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}


def main() -> int:
    """Deploy to AWS. Returns the exit status."""
    arguments = _arguments()
    try:
        session = boto3.Session(profile_name=arguments.profile, region_name=arguments.region)
        if session.region_name is None:
            raise NoRegionError
        outputs = deploy_aws(session, arguments.stack, _assignments(arguments.set), _assignments(arguments.relay))
    except (NoCredentialsError, PartialCredentialsError):
        return _failed("no AWS credentials: run `aws configure` or `aws sso login`, or set AWS_PROFILE")
    except NoRegionError:
        return _failed("no AWS region: give --region or set AWS_REGION")
    except (StackError, BotoCoreError, ClientError) as error:
        return _failed(str(error))
    except subprocess.CalledProcessError:
        return _failed("the stack is there, but not all of the rest: see above, and run it again")
    print(_report(outputs, session.region_name))
    return 0


def _failed(reason: str) -> int:
    print(f"deploy: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
