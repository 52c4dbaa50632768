"""The routes that the template and the local gateway take from the Chalice app."""

import json

import pytest
from chalice import Chalice

from infra.http_api import http_api
from infra.http_routes import Route, routes


def test_each_method_of_each_path_is_a_route() -> None:
    app = Chalice("probe")

    @app.route("/v2/{proxy+}", methods=["GET", "HEAD"])
    def registry() -> None: ...

    @app.route("/v2", methods=["GET"])
    def base() -> None: ...

    assert routes(app) == [Route("GET", "/v2"), Route("GET", "/v2/{proxy+}"), Route("HEAD", "/v2/{proxy+}")]
    assert Route("GET", "/v2").key == "GET /v2"


def test_an_app_without_routes_is_refused() -> None:
    with pytest.raises(ValueError, match="no routes"):
        routes(Chalice("empty"))


def test_the_access_log_holds_nothing_that_a_client_writes_with_quotes() -> None:
    """API Gateway puts values into the line as they are: a user agent could end its string and add fields."""
    line = http_api([], "Function")["Stage"]["Properties"]["AccessLogSettings"]["Format"]
    assert "userAgent" not in line
    assert set(json.loads(line)) >= {"requestId", "status", "path", "sourceIp"}
