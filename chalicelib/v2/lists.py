"""Answers that are lists: tags, referrers, the catalog."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote, urlencode

from chalicelib.access.authentication import Caller
from chalicelib.access.authorization import authorize_catalog
from chalicelib.access.visibility import visibility_of
from chalicelib.http import Request, Response, json_response
from chalicelib.oci import manifests, names
from chalicelib.oci.errors import Unsupported
from chalicelib.oci.names import Target
from chalicelib.projects import rules
from chalicelib.projects.records import Project
from chalicelib.registry import listings

_NO_TYPE = "\x00"
"""What is asked for instead of what no manifest can have as its type: the list is empty."""


def _list_tags(request: Request, target: Target, _caller: Caller) -> Response:
    limit = listings.page_size(request.query.get("n"))
    after = request.query.get("last", "")
    project = _proxy(target.repository)
    if project is None:
        page = listings.tags(target.repository, after, limit)
    else:
        from chalicelib.proxycache import http  # noqa: PLC0415 -- other projects' lists do without

        page = http.tags(request, target, project, after, limit)
    body = {"name": target.repository, "tags": page.entries}
    return json_response(body, _link(request, page.next, n=str(limit)))


def _list_referrers(request: Request, target: Target, _caller: Caller) -> Response:
    limit = listings.page_size(request.query.get("n"))
    artifact_type = _artifact_type(request.query.get("artifactType", ""))
    after = request.query.get("last", "")
    project = _proxy(target.repository)
    if project is None:
        page = listings.referrers(target.repository, target.reference, artifact_type, after, limit)
    else:
        from chalicelib.proxycache import http  # noqa: PLC0415 -- see above

        page = http.referrers(request, target, project, artifact_type, after, limit)
    index = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": page.entries}
    headers = {"Content-Type": manifests.OCI_INDEX}
    parameters = {"n": str(limit)}
    if artifact_type:
        headers["OCI-Filters-Applied"] = "artifactType"
        parameters["artifactType"] = artifact_type
    return json_response(index, {**headers, **_link(request, page.next, **parameters)})


def _artifact_type(asked: str) -> str:
    """The type that a list is asked for. A bare `+` comes as a space, which a type has before parameters alone."""
    media_type, separator, parameters = asked.partition(";")
    artifact_type = f"{media_type.replace(' ', '+')}{separator}{parameters}"
    return artifact_type if manifests.is_type(artifact_type) else _NO_TYPE


def _proxy(repository: str) -> Project | None:
    """The repository's project, if it pulls through from an upstream registry."""
    project = rules.find(names.project_of(repository))
    return project if project is not None and project.is_proxy else None


def catalog(request: Request, caller: Caller) -> Response:
    if request.method != "GET":
        raise Unsupported(f"{request.method} is not defined for the catalog")
    authorize_catalog(caller, request)
    limit = listings.page_size(request.query.get("n"))
    visible = visibility_of(caller)
    projects = None if visible.everything else visible.names()
    page = listings.catalog(projects, request.query.get("last", ""), limit)
    return json_response({"repositories": page.entries}, _link(request, page.next, n=str(limit)))


def _link(request: Request, mark: str, **parameters: str) -> dict[str, str]:
    """The `Link` header to the next page (RFC 5988), if there is one. A path that was parsed needs no encoding."""
    if not mark:
        return {}
    url = f"{unquote(request.path)}?{urlencode({**parameters, 'last': mark})}"
    return {"Link": f'<{url}>; rel="next"'}


HANDLERS: dict[tuple[str, str], Callable[[Request, Target, Caller], Response]] = {
    ("tags", "GET"): _list_tags,
    ("referrers", "GET"): _list_referrers,
}
