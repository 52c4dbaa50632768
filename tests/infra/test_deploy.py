"""Deploying, deploying again, and deploying over what a lost stack left behind: on a cloud of this module's own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from chalicelib.access import passwords
from infra.deploy import STACK, deploy_local
from infra.package import PROJECT, build_template_only
from infra.resources import STORE_NAMES
from infra.stack import StackError
from tests.conftest import start_cloud


class LocalCloud:
    """A MiniStack, and clients of it."""

    def __init__(self, url: str) -> None:
        self.cloudformation = boto3.client("cloudformation", endpoint_url=url)
        self.dynamodb = boto3.client("dynamodb", endpoint_url=url)
        self.s3 = boto3.client("s3", endpoint_url=url)
        self.aws_lambda = boto3.client("lambda", endpoint_url=url)
        self.secrets = boto3.client("secretsmanager", endpoint_url=url)
        self.url = url
        self.calls: list[str] = []
        self.cloudformation.meta.events.register("before-call.*.*", lambda model, **_: self.calls.append(model.name))

    def deploy(self, **parameters: str) -> dict[str, str]:
        self.calls.clear()
        return deploy_local(self.cloudformation, build_template_only().read_text(), parameters)

    def parameters(self) -> dict[str, str]:
        stack = self.cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
        return {entry["ParameterKey"]: entry["ParameterValue"] for entry in stack["Parameters"]}


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", url)  # or its Lambdas would call the session's cloud
        with start_cloud(tmp_path_factory.mktemp("deploy"), port):
            patch.undo()
            yield LocalCloud(url)


def item(key: str) -> dict[str, Any]:
    return {"pk": {"S": key}, "sk": {"S": key}}


def test_deploying_twice_changes_nothing(local: LocalCloud) -> None:
    first = local.deploy()
    assert local.deploy() == first
    assert "CreateChangeSet" not in local.calls


def test_a_parameter_keeps_its_value_until_another_is_given(local: LocalCloud) -> None:
    local.deploy(RelayUrl="/relay", TokenSeconds="120")
    local.deploy(TokenSeconds="240")
    assert (local.parameters()["RelayUrl"], local.parameters()["TokenSeconds"]) == ("/relay", "240")


def test_a_value_that_the_template_forbids_is_refused_with_its_reason(local: LocalCloud) -> None:
    local.deploy()
    with pytest.raises((StackError, local.cloudformation.exceptions.ClientError), match="LogLevel"):
        local.deploy(LogLevel="LOUD")


def test_the_deployed_rotation_runs(local: LocalCloud) -> None:
    outputs = local.deploy()
    before = local.secrets.get_secret_value(SecretId=outputs["SigningSecret"])["SecretString"]
    answer = local.aws_lambda.invoke(FunctionName=outputs["RotateSigningKey"], Payload=json.dumps({"id": "one"}))
    assert "FunctionError" not in answer, answer["Payload"].read()
    after = json.loads(local.secrets.get_secret_value(SecretId=outputs["SigningSecret"])["SecretString"])
    assert after["previous"]["key"] == json.loads(before)["key"]


def test_a_new_stack_adopts_the_stores_of_a_deleted_one(local: LocalCloud) -> None:
    outputs = local.deploy()
    local.dynamodb.put_item(TableName=outputs["BlobsTable"], Item=item("kept"))
    local.s3.put_object(Bucket=outputs["Bucket"], Key="blobs/kept", Body=b"kept")
    local.cloudformation.delete_stack(StackName=STACK)
    local.cloudformation.get_waiter("stack_delete_complete").wait(StackName=STACK, WaiterConfig={"Delay": 1})

    again = local.deploy()
    assert {name: again[name] for name in STORE_NAMES} == {name: outputs[name] for name in STORE_NAMES}
    found = local.dynamodb.get_item(TableName=again["BlobsTable"], Key=item("kept"))
    assert found["Item"] == item("kept")
    assert local.s3.get_object(Bucket=again["Bucket"], Key="blobs/kept")["Body"].read() == b"kept"


def run_deploy(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """`python -m infra.deploy` in an environment without credentials, profile or region."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    nowhere = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull}
    nowhere["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    command = [sys.executable, "-m", "infra.deploy", *arguments]
    return subprocess.run(
        command, cwd=PROJECT, env={**environment, **nowhere, **variables}, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_make_deploy_packages_deploys_and_sets_the_administrator(local: LocalCloud) -> None:
    """All of `make deploy`, with the region from the command line alone, to a stack of its own."""
    reached = {"AWS_ENDPOINT_URL": local.url, "AWS_ACCESS_KEY_ID": "local", "AWS_SECRET_ACCESS_KEY": "local"}
    for _ in ("first", "again"):
        done = run_deploy("--stack", "team", "--region", "us-east-1", "--set", "TokenSeconds=120", **reached)
        assert done.returncode == 0, done.stderr
    stack = local.cloudformation.describe_stacks(StackName="team")["Stacks"][0]
    outputs = {entry["OutputKey"]: entry["OutputValue"] for entry in stack["Outputs"]}
    assert f"registry: {outputs['ApiUrl']}\n" in done.stdout
    assert outputs["AdminPassword"] in done.stdout
    password = json.loads(local.secrets.get_secret_value(SecretId=outputs["AdminPassword"])["SecretString"])["password"]
    assert password not in done.stdout
    account = json.loads(local.secrets.get_secret_value(SecretId=outputs["AdminSecret"])["SecretString"])
    assert account["username"] == "admin"
    assert passwords.verify_password(password, account["password_hash"])
    key = {"pk": {"S": "project"}, "sk": {"S": "library"}}
    library = local.dynamodb.get_item(TableName=outputs["ProjectsTable"], Key=key)["Item"]
    assert library["public"] == {"BOOL": True}


def test_without_credentials_one_line_says_what_to_do() -> None:
    done = run_deploy("--region", "eu-west-1")
    assert done.returncode == 1
    assert done.stderr == "deploy: no AWS credentials: run `aws configure` or `aws sso login`, or set AWS_PROFILE\n"


def test_without_a_region_one_line_says_what_to_do() -> None:
    done = run_deploy(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x")
    assert (done.returncode, done.stderr) == (1, "deploy: no AWS region: give --region or set AWS_REGION\n")


def test_an_unknown_profile_is_named() -> None:
    done = run_deploy("--profile", "nobody", "--region", "eu-west-1")
    assert done.returncode == 1
    assert "nobody" in done.stderr
    assert "Traceback" not in done.stderr
