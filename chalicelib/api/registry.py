"""Harbor's tag `registry`: the upstream registries that proxy caches pull through from.

Source: Harbor, src/server/v2.0/handler/registry.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chalicelib.api import fields
from chalicelib.api.errors import BadRequestError
from chalicelib.api.guards import require_system
from chalicelib.api.operations import Call, json_body, json_response, operation
from chalicelib.api.paging import page
from chalicelib.api.query import selection
from chalicelib.http import Response
from chalicelib.upstreams import endpoints, providers
from chalicelib.upstreams.endpoints import Changes
from chalicelib.upstreams.records import Endpoint

_RESOURCE = "registry"
_ADAPTERS = "replication-adapter"
_FIELDS = ("id", "name", "type", "url", "insecure", "description", "status", "creation_time", "update_time")
_HIDDEN = "*****"
_BASIC = "basic"


@operation("POST", "/registries")
def create_registry(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "create")
    body = json_body(call.request)
    credential = fields.mapping(body, "credential")
    _require_basic(credential, "type")
    content = Changes(
        name=fields.text(body, "name"),
        url=fields.text(body, "url"),
        insecure=fields.boolean(body, "insecure", False),
        description=fields.text(body, "description", ""),
        ca_certificate=fields.text(body, "ca_certificate", ""),
        access_key=fields.text(credential, "access_key", ""),
        password=fields.text(credential, "access_secret", ""),
    )
    endpoint = endpoints.create(fields.text(body, "type"), content)
    return Response(201, {"Location": f"{call.request.path}/{endpoint.number}"})


@operation("GET", "/registries")
def list_registries(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "list")
    part_of_name = call.request.query.get("name", "")
    found = [to_json(each) for each in endpoints.list_all() if part_of_name in each.name]
    part = page(call.request, selection(call.request, _FIELDS, _FIELDS).of(found, dict))
    return json_response(part.entries, headers=part.headers)


@operation("POST", "/registries/ping")
def ping_registry(call: Call) -> Response:
    """Of a registry that is there, with what the body says in place of what its record does; or of one that is not."""
    require_system(call.caller, _RESOURCE, "read")
    body = json_body(call.request)
    number = fields.number(body, "id") if body.get("id") is not None else None
    endpoints.ping(fields.text(body, "type", ""), number, _changes(body))
    return Response(200)


@operation("GET", "/registries/{id}")
def get_registry(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "read")
    return json_response(to_json(endpoints.get(fields.identifier(call.parameters, "id"))))


@operation("PUT", "/registries/{id}")
def update_registry(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "update")
    endpoint = endpoints.get(fields.identifier(call.parameters, "id"))
    endpoints.update(endpoint.number, _changes(json_body(call.request)))
    return Response(200)


@operation("DELETE", "/registries/{id}")
def delete_registry(call: Call) -> Response:
    require_system(call.caller, _RESOURCE, "delete")
    endpoints.delete(fields.identifier(call.parameters, "id"))
    return Response(200)


@operation("GET", "/registries/{id}/info")
def get_registry_info(call: Call) -> Response:
    """What can be done with a registry of this type (Harbor, src/pkg/reg/adapter/native/adapter.go)."""
    require_system(call.caller, _RESOURCE, "read")
    endpoint = endpoints.get(fields.identifier(call.parameters, "id"))
    return json_response(
        {
            "type": endpoint.type,
            "description": "",
            "supported_resource_filters": [
                {"type": "name", "style": "input"},
                {"type": "tag", "style": "input"},
                {"type": "resource", "style": "radio", "values": ["image"]},
            ],
            "supported_triggers": ["manual", "scheduled"],
        }
    )


@operation("GET", "/replication/adapters")
def list_registry_provider_types(call: Call) -> Response:
    require_system(call.caller, _ADAPTERS, "list")
    return json_response(list(providers.PROVIDERS))


@operation("GET", "/replication/adapterinfos")
def list_registry_provider_infos(call: Call) -> Response:
    """Of each type that has some: its well-known addresses, and what its credentials are."""
    require_system(call.caller, _ADAPTERS, "list")
    return json_response({name: info for name, each in providers.PROVIDERS.items() if (info := _provider(each))})


def to_json(endpoint: Endpoint) -> dict[str, Any]:
    """The swagger's Registry. Of a password only that there is one is told."""
    credential = {"type": _BASIC, "access_key": endpoint.access_key} if endpoint.access_key else {}
    if endpoint.secret:
        credential["access_secret"] = _HIDDEN
    return {
        "id": endpoint.number,
        "name": endpoint.name,
        "type": endpoint.type,
        "url": endpoint.url,
        "insecure": endpoint.insecure,
        "description": endpoint.description,
        "ca_certificate": endpoint.ca_certificate,
        "credential": credential,
        "status": endpoint.status,
        "creation_time": fields.time(endpoint.created),
        "update_time": fields.time(endpoint.updated),
    }


def _changes(body: Mapping[str, Any]) -> Changes:
    """What a RegistryUpdate or RegistryPing names. An empty password changes nothing, nor what the API shows of one."""
    _require_basic(body, "credential_type")
    password = _given(body, "access_secret")
    return Changes(
        name=_given(body, "name"),
        url=_given(body, "url"),
        insecure=fields.boolean(body, "insecure") if body.get("insecure") is not None else None,
        description=_given(body, "description"),
        ca_certificate=_given(body, "ca_certificate"),
        access_key=_given(body, "access_key"),
        password=None if password in ("", _HIDDEN) else password,
    )


def _given(body: Mapping[str, Any], name: str) -> str | None:
    return fields.text(body, name) if body.get(name) is not None else None


def _require_basic(body: Mapping[str, Any], name: str) -> None:
    """Raises BadRequestError for a kind of credential that nothing could be done with."""
    if fields.text(body, name, "") not in ("", _BASIC):
        raise BadRequestError(f"the {name} of a credential must be {_BASIC}")


def _provider(provider: providers.Provider) -> dict[str, Any]:
    """The swagger's RegistryProviderInfo (Harbor, src/pkg/reg/model/registry.go, AdapterPattern)."""
    info: dict[str, Any] = {}
    if provider.endpoints:
        info["endpoint_pattern"] = {
            "endpoint_type": "EndpointPatternTypeFix" if provider.fixed else "EndpointPatternTypeList",
            "endpoints": [{"key": name, "value": url} for name, url in provider.endpoints],
        }
    if provider.access_key:
        info["credential_pattern"] = {
            "access_key_type": "AccessKeyTypeFix",
            "access_key_data": provider.access_key,
            "access_secret_type": "AccessSecretTypeFile",
            "access_secret_data": "No Change",
        }
    return info
