"""The deployment package, unpacked and invoked as Lambda does: nothing of the source tree or the virtualenv is near."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from chalicelib.bootstrap import bootstrap
from infra.dependencies import ARCHITECTURE, SERVICES
from infra.package import build_template_only, build_zip
from tests.conftest import ADMIN, ADMIN_PASSWORD

SIZE_LIMIT = 30 * 1000 * 1000

CONFIG = b"{}"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"

runs_here = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", ARCHITECTURE), reason="the package's libraries are for Lambda"
)


@pytest.fixture(scope="module")
def archive() -> Path:
    return build_zip()


class Package:
    """An unpacked package in a process of its own."""

    def __init__(self, folder: Path) -> None:
        template = json.loads(build_template_only().read_text())
        resources = [(name, body["Type"], body["Properties"]) for name, body in template["Resources"].items()]
        self._functions = {
            name: properties["Handler"] for name, kind, properties in resources if kind == "AWS::Serverless::Function"
        }
        self._paths = {
            properties["RouteKey"].split(" ")[1]
            for _, kind, properties in resources
            if kind == "AWS::ApiGatewayV2::Route"
        }
        passed = {
            name: value for name, value in os.environ.items() if name.startswith(("AWS_", "BERTH_", "POWERTOOLS_"))
        }
        # As Lambda sets it; the second request is sampled, so that the X-Ray SDK is imported too.
        trace = "Root=1-5f9c3ea0-0123456789abcdef01234567;Parent=0123456789abcdef;Sampled=1"
        lambdas = {"LAMBDA_TASK_ROOT": str(folder), "_X_AMZN_TRACE_ID": trace, "PYTHONDONTWRITEBYTECODE": "1"}
        driver = Path(__file__).with_name("package_driver.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(driver), str(folder)],
            cwd=folder,
            env={**passed, **lambdas},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def invoke(self, function: str, event: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"handler": self._functions[function], "event": event}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the packaged function died; its traceback is above"
        result = json.loads(line)
        assert not result["elsewhere"], "modules that are not in the package"
        return result["answer"]

    def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> dict[str, Any]:
        """Send an HTTP API's event, payload format 1.0."""
        return dict(self.invoke("RequestFunction", http_event(self._paths, method, url, headers or {}, body)))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def http_event(paths: set[str], method: str, url: str, headers: dict[str, str], body: bytes) -> dict[str, Any]:
    """The event that an HTTP API with routes on `paths` sends, payload format 1.0 (API Gateway developer guide)."""
    parts = urlsplit(url)
    resource, proxy = parts.path, ""
    if resource not in paths:
        prefix = next(
            path.removesuffix("{proxy+}") for path in paths if resource.startswith(path.split("{")[0]) and "{" in path
        )
        resource, proxy = f"{prefix}{{proxy+}}", resource.removeprefix(prefix)
    query = dict(pair.split("=", 1) for pair in parts.query.split("&")) if parts.query else None
    sent = {"host": "registry.example.com", "x-forwarded-proto": "https", **headers}
    return {
        "version": "1.0",
        "resource": resource,
        "path": parts.path,
        "httpMethod": method,
        "headers": sent,
        "multiValueHeaders": {name: [value] for name, value in sent.items()},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": {k: [v] for k, v in query.items()} if query else None,
        "requestContext": {
            "apiId": "api",
            "httpMethod": method,
            "path": parts.path,
            "protocol": "HTTP/1.1",
            "requestId": "id=",
            "resourcePath": resource,
            "stage": "$default",
            "identity": {"sourceIp": "192.0.2.1"},
        },
        "pathParameters": {"proxy": proxy} if proxy else None,
        "stageVariables": None,
        "body": base64.b64encode(body).decode() if body else None,
        "isBase64Encoded": bool(body),
    }


@pytest.fixture
def package(archive: Path, tmp_path: Path, cloud: object) -> Iterator[Package]:
    with zipfile.ZipFile(archive) as contents:
        contents.extractall(tmp_path)
    bootstrap(ADMIN, ADMIN_PASSWORD)
    package = Package(tmp_path)
    yield package
    package.close()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def basic() -> dict[str, str]:
    credentials = base64.b64encode(f"{ADMIN}:{ADMIN_PASSWORD}".encode()).decode()
    return {"authorization": f"Basic {credentials}"}


def token(package: Package, scope: str) -> dict[str, str]:
    answer = package.request("GET", f"/service/token?service=berth&scope={scope}", basic())
    assert answer["statusCode"] == 200, answer
    return {"authorization": f"Bearer {json.loads(answer['body'])['token']}"}


@runs_here
def test_a_client_is_challenged(package: Package) -> None:
    answer = package.request("GET", "/v2/")
    assert answer["statusCode"] == 401
    assert answer["headers"]["WWW-Authenticate"].startswith('Bearer realm="https://registry.example.com/service/token"')
    assert answer["headers"]["x-berth-authenticate"] == answer["headers"]["WWW-Authenticate"]


@runs_here
def test_an_image_is_pushed_and_pulled(package: Package) -> None:
    bearer = token(package, "repository:library/packaged:pull,push,delete")
    started = package.request("POST", "/v2/library/packaged/blobs/uploads/", bearer)
    assert started["statusCode"] == 202, started
    location = urlsplit(started["headers"]["Location"])
    closed = package.request(
        "PUT", f"/v2/{location.path.split('/v2/', 1)[1]}?{location.query}&digest={digest_of(CONFIG)}", bearer, CONFIG
    )
    assert closed["statusCode"] == 201, closed

    descriptor = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest_of(CONFIG), "size": len(CONFIG)}
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": descriptor, "layers": [descriptor]}
    ).encode()
    headers = {**bearer, "content-type": MANIFEST_TYPE}
    pushed = package.request("PUT", "/v2/library/packaged/manifests/latest", headers, manifest)
    assert pushed["statusCode"] == 201, pushed

    pulled = package.request("GET", "/v2/library/packaged/manifests/latest", bearer)
    assert pulled["statusCode"] == 200
    assert pulled["body"].encode() == manifest
    assert pulled["headers"]["Docker-Content-Digest"] == digest_of(manifest)
    artifact = "/api/v2.0/projects/library/repositories/packaged/artifacts/latest"
    shown = json.loads(package.request("GET", artifact, basic())["body"])
    assert shown["pull_time"] >= shown["push_time"], "without an extension, the pull is written before its answer"
    blob = package.request("GET", f"/v2/library/packaged/blobs/{digest_of(CONFIG)}", bearer)
    assert blob["statusCode"] == 307
    assert "X-Amz-Signature=" in blob["headers"]["Location"]


@runs_here
def test_the_harbor_api_answers(package: Package) -> None:
    health = package.request("GET", "/api/v2.0/health")
    assert (health["statusCode"], json.loads(health["body"])["status"]) == (200, "healthy")


@runs_here
def test_the_signing_key_is_rotated_and_what_it_signed_stays_valid(package: Package) -> None:
    bearer = token(package, "repository:library/packaged:pull")
    package.invoke("RotateSigningKey", {"id": "test-rotation", "time": "2026-01-01T00:00:00Z"})
    assert package.request("GET", "/v2/library/packaged/tags/list", bearer)["statusCode"] in (200, 404)


@runs_here
def test_uploads_are_swept(package: Package) -> None:
    assert package.invoke("SweepUploads", {}) == 0


def test_the_package_is_small(archive: Path) -> None:
    assert archive.stat().st_size <= SIZE_LIMIT


@pytest.mark.slow
def test_the_same_sources_make_the_same_package(archive: Path) -> None:
    first = archive.read_bytes()
    assert build_zip().read_bytes() == first
    with zipfile.ZipFile(archive) as contents:
        names = contents.namelist()
        assert names == sorted(names)
        assert {entry.date_time for entry in contents.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_only_what_runs_is_packaged(archive: Path) -> None:
    with zipfile.ZipFile(archive) as contents:
        names = contents.namelist()
    chalice = {name for name in names if name.startswith("chalice/") and name.endswith(".py")}
    assert chalice == {"chalice/__init__.py", "chalice/app.py"}
    services = {name.split("/")[2] for name in names if name.startswith("botocore/data/") and name.count("/") > 2}
    assert services == set(SERVICES)
    assert not [name for name in names if name.startswith(("infra/", "tests/", "pip/", "ministack/", "boto3/"))]


def test_the_template_names_the_runtime_that_was_packaged_for() -> None:
    resources = json.loads(build_template_only().read_text())["Resources"].values()
    functions = [body["Properties"] for body in resources if body["Type"] == "AWS::Serverless::Function"]
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert {(f["Runtime"], *f["Architectures"]) for f in functions} == {(runtime, ARCHITECTURE)}
