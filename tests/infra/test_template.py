"""The CloudFormation template: routes, stores, functions, and what AWS's linter says of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from chalice.app import Chalice

from chalicelib.access import keys
from chalicelib.chalice_http import CHALLENGE_COPY
from infra import relay
from infra.chalice_package import ChalicePackage
from infra.http_api import replace_rest_api
from infra.http_routes import Route
from infra.package import PROJECT, build_template_only
from infra.parameters import ENVIRONMENT, PARAMETERS, environment, function_environment, store_references
from infra.policies import FUNCTIONS
from infra.resources import STORE_NAMES
from infra.template import build

Template = dict[str, Any]


@pytest.fixture(scope="module")
def template() -> Template:
    built: Template = json.loads(build_template_only().read_text())
    return built


def of_type(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    found = template["Resources"].items()
    return {name: body["Properties"] for name, body in found if body["Type"] == kind}


@pytest.fixture(scope="module")
def app_routes() -> set[str]:
    """The app's route keys, from a process of its own: the app reads its settings when it is imported."""
    script = (
        "from pathlib import Path; from infra.chalice_package import chalice_package\n"
        f"for route in chalice_package(Path({str(PROJECT)!r})).routes: print(route.key)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, check=True, capture_output=True, text=True)
    return set(done.stdout.splitlines())


def test_every_route_of_the_app_is_a_route_of_the_api(template: Template, app_routes: set[str]) -> None:
    declared = [route["RouteKey"] for route in of_type(template, "AWS::ApiGatewayV2::Route").values()]
    assert len(declared) == len(set(declared))
    assert set(declared) == app_routes


def test_the_registry_is_one_greedy_route_for_each_method(app_routes: set[str]) -> None:
    for method in ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"):
        assert {f"{method} /v2", f"{method} /v2/{{proxy+}}"} <= app_routes
    assert not [route for route in app_routes if route.endswith("/")]


def test_nothing_of_the_rest_api_is_left(template: Template) -> None:
    assert "RestAPI" not in json.dumps(template)
    assert not of_type(template, "AWS::Serverless::Api")


def test_a_rest_api_resource_that_would_be_left_is_refused() -> None:
    template = {
        "Resources": {
            "APIHandler": {"Type": "AWS::Serverless::Function", "Properties": {}},
            "AuthInvokePermission": {"Properties": {"SourceArn": {"Ref": "RestAPI"}}},
        },
        "Outputs": {},
    }
    with pytest.raises(ValueError, match="AuthInvokePermission"):
        replace_rest_api(template, [Route("GET", "/")], "RequestFunction")


def test_the_api_speaks_payload_format_1_and_sets_the_challenge(template: Template) -> None:
    (integration,) = of_type(template, "AWS::ApiGatewayV2::Integration").values()
    assert integration["PayloadFormatVersion"] == "1.0"
    (mapping,) = integration["ResponseParameters"]["401"]["ResponseParameters"]
    assert mapping == {
        "Destination": "overwrite:header.WWW-Authenticate",
        "Source": f"$response.header.{CHALLENGE_COPY}",
    }


def test_the_stage_is_the_default_one_and_its_log_tells_no_secrets(template: Template) -> None:
    (stage,) = of_type(template, "AWS::ApiGatewayV2::Stage").values()
    assert stage["StageName"] == "$default"
    assert stage["AutoDeploy"] is True
    assert {"ThrottlingRateLimit", "ThrottlingBurstLimit"} <= stage["DefaultRouteSettings"].keys()
    line = json.loads(stage["AccessLogSettings"]["Format"])
    logged = set(line.values())
    assert "$context.path" in logged
    assert not any(re.search(r"query|authorizer|header|routeKey.*=", value) for value in logged)


@pytest.mark.parametrize("name", [name for name in STORE_NAMES if name.endswith("Table")])
def test_tables_are_as_the_storage_package_says(template: Template, name: str) -> None:
    table = of_type(template, "AWS::DynamoDB::Table")[name]
    assert [(key["AttributeName"], key["KeyType"]) for key in table["KeySchema"]] == [("pk", "HASH"), ("sk", "RANGE")]
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["DeletionProtectionEnabled"] is True
    assert table["SSESpecification"] == {"SSEEnabled": True}
    indexes = {index["IndexName"]: index for index in table.get("GlobalSecondaryIndexes", [])}
    if name in ("BlobsTable", "RepositoriesTable"):
        index_keys = [(key["AttributeName"], key["KeyType"]) for key in indexes["candidates"]["KeySchema"]]
        assert index_keys == [("candidate", "HASH"), ("candidate_since", "RANGE")]
    else:
        assert not indexes
    expires = (
        {"AttributeName": "expires", "Enabled": True}
        if name in ("UploadsTable", "AccountsTable", "EventsTable", "JobsTable")
        else None
    )
    assert table.get("TimeToLiveSpecification") == expires


@pytest.mark.parametrize("name", STORE_NAMES)
def test_stores_outlive_their_stack(template: Template, name: str) -> None:
    body = template["Resources"][name]
    assert body["DeletionPolicy"] == body["UpdateReplacePolicy"] == "Retain"


def test_the_bucket_is_private_encrypted_and_drops_what_uploads_left(template: Template) -> None:
    bucket = of_type(template, "AWS::S3::Bucket")["Bucket"]
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert len(bucket["PublicAccessBlockConfiguration"]) == 4
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    assert "AES256" in json.dumps(bucket["BucketEncryption"])
    rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
    assert rules["stale-multipart-uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 2}
    assert "Prefix" not in rules["stale-multipart-uploads"]
    assert (rules["stale-upload-tails"]["Prefix"], rules["stale-upload-tails"]["ExpirationInDays"]) == ("uploads/", 2)
    assert (rules["stale-work-of-the-collector"]["Prefix"]) == "gc/work/"
    assert len(rules) == 3, "no rule may expire blobs or manifests"


def test_stale_uploads_go_only_after_every_session_has_ended(template: Template) -> None:
    rules = of_type(template, "AWS::S3::Bucket")["Bucket"]["LifecycleConfiguration"]["Rules"]
    days = min(r.get("ExpirationInDays") or r["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] for r in rules)
    assert days * 86400 > PARAMETERS["UploadSeconds"]["MaxValue"]


def test_the_bucket_refuses_plain_http(template: Template) -> None:
    (policy,) = of_type(template, "AWS::S3::BucketPolicy").values()
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"]) == ("Deny", "*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_functions_are_traced_logged_and_have_a_queue_for_failures(template: Template) -> None:
    functions = of_type(template, "AWS::Serverless::Function")
    assert functions.keys() == FUNCTIONS.keys()
    for function in functions.values():
        assert function["Tracing"] == "Active"
        assert function["DeadLetterQueue"]["TargetArn"] == {"Fn::GetAtt": ["FailedTasks", "Arn"]}
        group = template["Resources"][function["LoggingConfig"]["LogGroup"]["Ref"]]
        assert group["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}
        assert function["Environment"]["Variables"] == function_environment()
    assert functions["RequestFunction"]["Timeout"] < 30, "a function must answer before the API gives up on it"


def test_the_key_rotates_as_often_as_what_it_signs_allows(template: Template) -> None:
    assert template["Parameters"]["RotationSchedule"]["Default"] == f"rate({keys.ROTATION_DAYS} days)"
    schedule = of_type(template, "AWS::Scheduler::Schedule")["Rotation"]
    assert "<aws.scheduler.execution-id>" in json.loads(schedule["Target"]["Input"])["id"]
    assert PARAMETERS["UploadSeconds"]["MaxValue"] <= keys.ROTATION_DAYS * 86400


@pytest.mark.parametrize("name", ["SigningSecret", "UploadSecret"])
def test_the_generated_signing_secret_is_one_that_the_app_reads(template: Template, name: str) -> None:
    secret = of_type(template, "AWS::SecretsManager::Secret")[name]["GenerateSecretString"]
    content = {
        **json.loads(secret["SecretStringTemplate"]),
        secret["GenerateStringKey"]: "k" * secret["PasswordLength"],
    }
    assert keys.parse(json.dumps(content)).current.key == "k" * 64


def test_the_environment_is_told_to_what_runs_beside_the_functions() -> None:
    outputs = {name: f"the-{name}" for name in store_references()}
    told = environment(outputs, {"TokenSeconds": "120"})
    assert told.keys() == ENVIRONMENT.keys()
    assert told["BERTH_BLOBS_TABLE"] == "the-BlobsTable"
    assert told["BERTH_TOKEN_SECONDS"] == "120"
    assert told["BERTH_UPLOAD_SECONDS"] == str(PARAMETERS["UploadSeconds"]["Default"])


def test_outputs_name_every_store(template: Template) -> None:
    wanted = {*STORE_NAMES, "SigningSecret", "UploadSecret", "AdminSecret", "OidcSecret", "RequestFunction", "ApiUrl"}
    assert wanted <= template["Outputs"].keys()


def test_a_lambda_without_a_policy_is_refused() -> None:
    app = Chalice("probe")
    app.route("/")(lambda: None)
    function = {"Type": "AWS::Serverless::Function", "Properties": {}}
    generated = {
        "Transform": "AWS::Serverless-2016-10-31",
        "Resources": {"APIHandler": function, "Newcomer": function},
        "Outputs": {},
    }
    with pytest.raises(KeyError, match="Newcomer"):
        build(ChalicePackage(generated, [Route("GET", "/")]))


def test_cfn_lint_finds_nothing(tmp_path: Path) -> None:
    relayed = tmp_path / "relay.json"
    relayed.write_text(json.dumps(relay.build()))
    linter = str(Path(sys.executable).with_name("cfn-lint"))
    files = [str(build_template_only()), str(relayed)]
    done = subprocess.run([linter, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_relay_gets_the_registrys_environment_and_no_root() -> None:
    task = relay.build()["Resources"]["Task"]["Properties"]
    (container,) = task["ContainerDefinitions"]
    variables = {entry["Name"]: entry["Value"] for entry in container["Environment"]}
    assert {name: variables[name] for name in ENVIRONMENT} == ENVIRONMENT
    assert container["ReadonlyRootFilesystem"] is True
    assert set(relay.handed_over()) <= relay.build()["Parameters"].keys()


def test_the_dockerfile_runs_the_relay_as_nobody_in_particular() -> None:
    lines = (PROJECT / "Dockerfile").read_text()
    assert re.search(r"^FROM python:3\.\d+-slim", lines, re.M)
    assert lines.index("USER relay") < lines.index("CMD [")
    assert f'"--port", "{relay.PORT}"' in lines
    assert "chalicelib.v2.relay:app" in lines
