"""The token service and the API behind the Chalice app, fed with the gateway's events."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from chalicelib.access import routes as access_routes
from chalicelib.api import routes as api_routes
from chalicelib.chalice_http import BerthApp
from tests.access.support import BASIC, NAME, PASSWORD

pytestmark = pytest.mark.usefixtures("administrator")


@pytest.fixture(scope="module")
def app() -> BerthApp:
    built = BerthApp(app_name="berth")
    built.register_blueprint(access_routes.blueprint)
    built.register_blueprint(api_routes.blueprint)
    return built


def event(method: str, resource: str, headers: dict[str, str], **more: Any) -> dict[str, Any]:
    return {
        "resource": resource,
        "httpMethod": method,
        "headers": {"Host": "registry.example.com", **headers},
        "multiValueQueryStringParameters": None,
        "pathParameters": None,
        "stageVariables": None,
        "body": None,
        "isBase64Encoded": False,
        "requestContext": {"resourcePath": resource, "httpMethod": method, "requestId": "id-of-the-gateway"},
        **more,
    }


def test_a_scope_parameter_may_come_more_than_once(app: BerthApp) -> None:
    scopes = ["repository:library/a:pull", "repository:library/b:pull"]
    sent = event("GET", "/service/token", {}, multiValueQueryStringParameters={"scope": scopes})
    answer = app(sent, None)
    assert json.loads(answer["body"])["scope"] == " ".join(scopes)
    assert answer["headers"]["X-Request-Id"] == "id-of-the-gateway"


def test_a_form_arrives_encoded_for_transport_or_not(app: BerthApp) -> None:
    form = f"grant_type=password&username={NAME}&password={PASSWORD}&service=berth"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    encoded = {"body": base64.b64encode(form.encode()).decode(), "isBase64Encoded": True}
    for body in ({"body": form}, encoded):
        assert app(event("POST", "/service/token", headers, **body), None)["statusCode"] == 200


def test_the_api_is_one_greedy_route(app: BerthApp) -> None:
    resource = "/api/v2.0/{proxy+}"
    headers = {"Authorization": BASIC["authorization"]}
    found = app(event("GET", resource, headers, pathParameters={"proxy": "projects/library"}), None)
    assert json.loads(found["body"])["name"] == "library"
    missing = app(event("GET", resource, headers, pathParameters={"proxy": "projects/%2e%2e%2fv2"}), None)
    assert missing["statusCode"] == 404
