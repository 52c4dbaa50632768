"""Stands for Lambda's runtime: imports an app, sends it one event, and prints the milliseconds of both as JSON.

python lambda_driver.py <folder> <resource> <proxy>
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from types import SimpleNamespace


def main() -> None:
    folder, resource, proxy = sys.argv[1:]
    sys.path[0] = folder
    context = SimpleNamespace(
        aws_request_id="5f9c3ea0",
        function_name="berth-request",
        function_version="$LATEST",
        invoked_function_arn="arn:aws:lambda:us-east-1:000000000000:function:berth-request",
        memory_limit_in_mb=1769,
    )
    started = time.perf_counter()
    app = importlib.import_module("app").app
    imported = time.perf_counter()
    answer = app(_event(resource, proxy), context)
    answered = time.perf_counter()
    if answer["statusCode"] != 200:
        sys.exit(f"{answer['statusCode']}: {answer['body']}")
    print(json.dumps({"import": 1000 * (imported - started), "first": 1000 * (answered - imported)}))


def _event(resource: str, proxy: str) -> dict[str, object]:
    """A GET as an HTTP API sends it, payload format 1.0."""
    path = resource.replace("{proxy+}", proxy)
    headers = {"host": "registry.example.com", "x-forwarded-proto": "https", "accept": "*/*"}
    request = {"requestId": "id=", "httpMethod": "GET", "path": path, "resourcePath": resource, "stage": "$default"}
    return {
        "version": "1.0",
        "resource": resource,
        "path": path,
        "httpMethod": "GET",
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": None,
        "multiValueQueryStringParameters": None,
        "requestContext": {**request, "identity": {"sourceIp": "192.0.2.1"}},
        "pathParameters": {"proxy": proxy},
        "stageVariables": None,
        "body": None,
        "isBase64Encoded": False,
    }


main()
