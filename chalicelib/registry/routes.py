"""The one route of the registry protocol, and its dispatch: what a path names, who asks, which rule answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import unquote, urlencode

from chalice.app import Blueprint

from chalicelib.access.authentication import Caller, actor_of, authenticate
from chalicelib.access.authorization import (
    authorize,
    authorize_catalog,
    may_sign,
    require_authentication,
)
from chalicelib.access.visibility import visibility_of
from chalicelib.chalice_http import ExactResponse, to_chalice, to_request
from chalicelib.observability import observed
from chalicelib.projects import rules
from chalicelib.registry import blobs, deletion, listings, manifests, names, pull, pulls, push, upload_http
from chalicelib.registry.answers import answered
from chalicelib.registry.errors import Unsupported
from chalicelib.registry.http import Request, Response
from chalicelib.registry.names import Target
from chalicelib.registry.pull import PulledManifest
from chalicelib.storage import blobstore
from chalicelib.storage.blobs import Blob

blueprint = Blueprint(__name__)

_METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]

_ACTIONS = {"GET": "pull", "HEAD": "pull", "PUT": "push", "POST": "push", "PATCH": "push", "DELETE": "delete"}


@blueprint.route("/v2", methods=_METHODS, content_types=[])
def base() -> ExactResponse:
    return _answer("/v2/")


@blueprint.route("/v2/{proxy+}", methods=_METHODS, content_types=[])
def registry() -> ExactResponse:
    # An HTTP API takes no route that ends with a slash: `/v2/` comes by this one, with nothing for the variable.
    parameters = blueprint.current_request.uri_params or {}
    return _answer(f"/v2/{parameters.get('proxy') or ''}")


def _answer(path: str) -> ExactResponse:
    return to_chalice(handle(to_request(blueprint.current_request, path)))


@observed
@answered
def handle(request: Request) -> Response:
    """Answer one registry request."""
    target = names.parse_path(request.path)
    if target.kind == "upload" and upload_http.is_capability(request, target):
        return upload_http.handle(request, target, None)
    caller = authenticate(request)
    if target.kind == "base":
        return _base(request, caller)
    if target.kind == "catalog":
        return _catalog(request, caller)
    answer = _HANDLERS.get((target.kind, request.method))
    if target.kind in ("uploads", "upload"):
        action = "push"
    elif answer is None:
        raise Unsupported(f"{request.method} is not defined for {request.path}")
    else:
        action = _ACTIONS[request.method]
    actions = authorize(caller, action, target.repository, request)
    if answer is _get_blob and "push" not in actions:
        answer = _pull_blob
    return answer(request, target, caller) if answer else upload_http.handle(request, target, caller)


def _base(request: Request, caller: Caller) -> Response:
    if request.method not in ("GET", "HEAD"):
        raise Unsupported(f"{request.method} is not defined for /v2/")
    require_authentication(caller, request)
    return _json({})


def _get_manifest(request: Request, target: Target, caller: Caller) -> Response:
    if request.method == "GET":
        pulled = _pull(request, target, caller)
        pulls.note(target.repository, target.reference, pulled.digest, actor_of(caller, request))
    else:
        pulled = pull.manifest(target.repository, target.reference)
    return Response(
        200,
        {
            "Content-Type": pulled.media_type,
            "Content-Length": str(len(pulled.content)),
            "Docker-Content-Digest": pulled.digest,
            "ETag": f'"{pulled.digest}"',
        },
        pulled.content,
    )


def _pull(request: Request, target: Target, caller: Caller) -> PulledManifest:
    project = rules.find(names.project_of(target.repository))
    if project is None or not project.guards_pulls:
        return pull.manifest(target.repository, target.reference)
    from chalicelib.registry import policies  # noqa: PLC0415 -- most projects have none: their pulls do without

    signs = policies.is_signer(request.headers.get("user-agent", "")) and may_sign(caller, target.repository)
    return policies.allowed(target.repository, target.reference, policies.Policy.of(project), signs=signs)


def _put_manifest(request: Request, target: Target, caller: Caller) -> Response:
    content_type = request.headers.get("content-type", "")
    pushed = push.manifest(target.repository, target.reference, request.body, content_type, actor_of(caller, request))
    headers = {
        "Location": f"/v2/{target.repository}/manifests/{pushed.digest}",
        "Docker-Content-Digest": pushed.digest,
    }
    if pushed.subject is not None:
        headers["OCI-Subject"] = pushed.subject
    return Response(201, headers)


def _delete_manifest(request: Request, target: Target, caller: Caller) -> Response:
    deletion.manifest(target.repository, target.reference, actor_of(caller, request))
    return Response(202)


def _get_blob(request: Request, target: Target, _caller: Caller) -> Response:
    return _redirect(request, blobs.find(target.repository, target.reference))


def _pull_blob(request: Request, target: Target, _caller: Caller) -> Response:
    """A blob's GET or HEAD by who cannot push, and so relies on it for no longer than the answer."""
    return _redirect(request, blobs.find_to_pull(target.repository, target.reference))


def _redirect(request: Request, blob: Blob) -> Response:
    """Send the client to S3: the bytes of a blob never pass through the function."""
    return Response(
        307,
        {
            "Location": blobstore.presign(request.method, blob.object_key, request.host),
            "Docker-Content-Digest": blob.digest,
            "Content-Type": "application/octet-stream",
        },
    )


def _delete_blob(_request: Request, target: Target, _caller: Caller) -> Response:
    deletion.blob(target.repository, target.reference)
    return Response(202)


def _list_tags(request: Request, target: Target, _caller: Caller) -> Response:
    limit = listings.page_size(request.query.get("n"))
    page = listings.tags(target.repository, request.query.get("last", ""), limit)
    body = {"name": target.repository, "tags": page.entries}
    return _json(body, _link(request, page.next, n=str(limit)))


def _list_referrers(request: Request, target: Target, _caller: Caller) -> Response:
    limit = listings.page_size(request.query.get("n"))
    artifact_type = request.query.get("artifactType", "")
    if artifact_type and not manifests.is_media_type(artifact_type):
        artifact_type = "-/-"  # no manifest can have what is no media type, so the list is empty
    page = listings.referrers(target.repository, target.reference, artifact_type, request.query.get("last", ""), limit)
    index = {"schemaVersion": 2, "mediaType": manifests.OCI_INDEX, "manifests": page.entries}
    headers = {"Content-Type": manifests.OCI_INDEX}
    parameters = {"n": str(limit)}
    if artifact_type:
        headers["OCI-Filters-Applied"] = "artifactType"
        parameters["artifactType"] = artifact_type
    return _json(index, {**headers, **_link(request, page.next, **parameters)})


def _catalog(request: Request, caller: Caller) -> Response:
    if request.method != "GET":
        raise Unsupported(f"{request.method} is not defined for the catalog")
    authorize_catalog(caller, request)
    limit = listings.page_size(request.query.get("n"))
    visible = visibility_of(caller)
    projects = None if visible.everything else visible.names()
    page = listings.catalog(projects, request.query.get("last", ""), limit)
    return _json({"repositories": page.entries}, _link(request, page.next, n=str(limit)))


def _link(request: Request, mark: str, **parameters: str) -> dict[str, str]:
    """The `Link` header to the next page (RFC 5988), if there is one. A path that was parsed needs no encoding."""
    if not mark:
        return {}
    url = f"{unquote(request.path)}?{urlencode({**parameters, 'last': mark})}"
    return {"Link": f'<{url}>; rel="next"'}


def _json(body: object, headers: dict[str, str] | None = None) -> Response:
    return Response(200, {"Content-Type": "application/json", **(headers or {})}, json.dumps(body).encode())


_HANDLERS: dict[tuple[str, str], Callable[[Request, Target, Caller], Response]] = {
    ("manifest", "GET"): _get_manifest,
    ("manifest", "HEAD"): _get_manifest,
    ("manifest", "PUT"): _put_manifest,
    ("manifest", "DELETE"): _delete_manifest,
    ("blob", "GET"): _get_blob,
    ("blob", "HEAD"): _get_blob,
    ("blob", "DELETE"): _delete_blob,
    ("tags", "GET"): _list_tags,
    ("referrers", "GET"): _list_referrers,
}
