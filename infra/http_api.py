"""The HTTP API that takes the place of the REST API which Chalice generates.

Why (docs/decisions/http-api.md): a REST API renames `WWW-Authenticate`, puts its stage into every path and costs 3.5
times as much. Payload format 1.0 is the REST API's event, so Chalice reads it unchanged.
"""

from __future__ import annotations

import re
from typing import Any

from chalicelib.chalice_http import CHALLENGE_COPY
from infra.certificate import certificate
from infra.http_routes import Route

_REST_RESOURCES = ("RestAPI", "APIHandlerInvokePermission")
_REST_OUTPUTS = ("RestAPIId", "APIHandlerName", "APIHandlerArn", "EndpointURL")

_ACCESS_LOG_FIELDS = (
    "requestId", "requestTime", "httpMethod", "path", "status", "responseLength", "responseLatency",
    "integrationLatency", "integrationErrorMessage", "identity.sourceIp",
)  # fmt: skip
"""What a request's log line holds. No query string: an upload's carries its capability. No user agent: API Gateway puts
values into the line as they are, so that a quote in it would end the string, and what follows be fields.
"""


def replace_rest_api(template: dict[str, Any], routes: list[Route], function: str) -> dict[str, Any]:
    """`template` with its REST API taken out, the handler named `function`, and an HTTP API of `routes` put in.

    Raises ValueError when something of the REST API would be left, such as an authorizer this does not know.
    """
    kept = {name: body for name, body in template["Resources"].items() if name not in _REST_RESOURCES}
    kept[function] = kept.pop("APIHandler")
    left = [name for name, body in kept.items() if "RestAPI" in repr(body)]
    if left:
        raise ValueError(f"resources of the REST API would be left: {', '.join(left)}")
    outputs = {name: body for name, body in template["Outputs"].items() if name not in _REST_OUTPUTS}
    return {**template, "Resources": {**kept, **http_api(routes, function)}, "Outputs": outputs}


def http_api(routes: list[Route], function: str) -> dict[str, Any]:
    """The API, its integration with `function`, one route each, its stage, and its own domain if one is wanted."""
    return {
        "Api": {
            "Type": "AWS::ApiGatewayV2::Api",
            "Properties": {
                "Name": {"Ref": "AWS::StackName"},
                "ProtocolType": "HTTP",
                "Description": "Berth: the registry protocol, its token service and the Harbor API.",
            },
        },
        "Integration": _integration(function),
        **{_logical_id(route): _route(route) for route in routes},
        "Stage": _stage(),
        "ApiPermission": {
            "Type": "AWS::Lambda::Permission",
            "Properties": {
                "Action": "lambda:InvokeFunction",
                "FunctionName": {"Ref": function},
                "Principal": "apigateway.amazonaws.com",
                "SourceArn": {"Fn::Sub": "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*"},
            },
        },
        **_domain(),
    }


def _integration(function: str) -> dict[str, Any]:
    return {
        "Type": "AWS::ApiGatewayV2::Integration",
        "Properties": {
            "ApiId": {"Ref": "Api"},
            "IntegrationType": "AWS_PROXY",
            "IntegrationUri": {"Fn::GetAtt": [function, "Arn"]},
            "PayloadFormatVersion": "1.0",
            "TimeoutInMillis": 30000,
            # Not one of the reserved headers, so it may be mapped (HTTP API developer guide, "Reserved headers").
            "ResponseParameters": {
                "401": {
                    "ResponseParameters": [
                        {
                            "Destination": "overwrite:header.WWW-Authenticate",
                            "Source": f"$response.header.{CHALLENGE_COPY}",
                        }
                    ]
                }
            },
        },
    }


def _route(route: Route) -> dict[str, Any]:
    return {
        "Type": "AWS::ApiGatewayV2::Route",
        "Properties": {
            "ApiId": {"Ref": "Api"},
            "RouteKey": route.key,
            "Target": {"Fn::Sub": "integrations/${Integration}"},
        },
    }


def _logical_id(route: Route) -> str:
    """A name that stays when other routes come and go: `GET /v2/{proxy+}` is RouteGetV2ProxyPlus."""
    path = route.path.replace("+", " plus").rstrip("/") + (" slash" if route.path.endswith("/") else "")
    words = re.findall(r"[A-Za-z0-9]+", f"{route.method} {path}")
    return "Route" + "".join(word[:1].upper() + word[1:].lower() for word in words)


def _stage() -> dict[str, Any]:
    log_line = {field.rpartition(".")[2]: f"$context.{field}" for field in _ACCESS_LOG_FIELDS}
    return {
        "Type": "AWS::ApiGatewayV2::Stage",
        "Properties": {
            "ApiId": {"Ref": "Api"},
            "StageName": "$default",
            "AutoDeploy": True,
            "DefaultRouteSettings": {
                "ThrottlingRateLimit": {"Ref": "ThrottleRate"},
                "ThrottlingBurstLimit": {"Ref": "ThrottleBurst"},
            },
            "AccessLogSettings": {
                "DestinationArn": {"Fn::GetAtt": ["AccessLogs", "Arn"]},
                "Format": "{" + ",".join(f'"{name}":"{value}"' for name, value in log_line.items()) + "}",
            },
        },
    }


def _domain() -> dict[str, Any]:
    """The registry's own host name, its certificate and its record, when DomainName and HostedZoneId are given."""
    resources: dict[str, Any] = {
        "Certificate": certificate(),
        "ApiDomain": {
            "Type": "AWS::ApiGatewayV2::DomainName",
            "Properties": {
                "DomainName": {"Ref": "DomainName"},
                "DomainNameConfigurations": [
                    {
                        "CertificateArn": {"Ref": "Certificate"},
                        "EndpointType": "REGIONAL",
                        "SecurityPolicy": "TLS_1_2",
                    }
                ],
            },
        },
        "ApiDomainMapping": {
            "Type": "AWS::ApiGatewayV2::ApiMapping",
            "Properties": {
                "ApiId": {"Ref": "Api"},
                "DomainName": {"Ref": "ApiDomain"},
                "Stage": {"Ref": "Stage"},
            },
        },
        "ApiDomainRecord": {
            "Type": "AWS::Route53::RecordSet",
            "Properties": {
                "HostedZoneId": {"Ref": "HostedZoneId"},
                "Name": {"Ref": "DomainName"},
                "Type": "A",
                "AliasTarget": {
                    "DNSName": {"Fn::GetAtt": ["ApiDomain", "RegionalDomainName"]},
                    "HostedZoneId": {"Fn::GetAtt": ["ApiDomain", "RegionalHostedZoneId"]},
                },
            },
        },
    }
    return {name: {**body, "Condition": "HasDomain"} for name, body in resources.items()}
