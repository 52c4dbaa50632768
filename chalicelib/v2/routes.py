"""The one route of the registry protocol, and its dispatch: what a path names, who asks, which rule answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from chalice.app import Blueprint

from chalicelib.access.authentication import Caller, actor_of, authenticate
from chalicelib.access.authorization import authorize, may_sign, require_authentication
from chalicelib.chalice_http import ExactResponse, to_chalice, to_request
from chalicelib.http import Request, Response, json_response
from chalicelib.observability import observed
from chalicelib.oci import names
from chalicelib.oci.errors import BlobUnknown, Unsupported
from chalicelib.oci.names import Target
from chalicelib.projects import rules
from chalicelib.projects.records import Project
from chalicelib.registry import blobs, pull, pulls
from chalicelib.registry.preconditions import Preconditions
from chalicelib.registry.pull import PulledManifest
from chalicelib.registry.store.blobs import Blob
from chalicelib.storage import blobstore
from chalicelib.v2 import hits
from chalicelib.v2.answers import translate_errors

blueprint = Blueprint(__name__)

Handlers = Mapping[tuple[str, str], Callable[[Request, Target, Caller], Response]]
"""What answers a method on a kind of target."""

_METHODS = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]

_ACTIONS = {"GET": "pull", "HEAD": "pull", "PUT": "push", "DELETE": "delete"}


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
@translate_errors
def handle(request: Request) -> Response:
    """Answer one registry request."""
    target = names.parse_path(request.path)
    if target.kind in ("uploads", "upload"):
        return _upload(request, target)
    caller = authenticate(request)
    if target.kind == "base":
        return _base(request, caller)
    if target.kind == "catalog":
        return _catalog(request, caller)
    answer = _handlers(target.kind, request.method).get((target.kind, request.method))
    if answer is None:
        raise Unsupported(f"{request.method} is not defined for {request.path}")
    actions = authorize(caller, _ACTIONS[request.method], target.repository, request)
    if answer is _get_blob and "push" not in actions:
        answer = _pull_blob
    return answer(request, target, caller)


def _handlers(kind: str, method: str) -> Handlers:
    """Where the handler is, if there is one. A cold start imports what its request needs: most are pulls."""
    if kind in ("tags", "referrers"):
        from chalicelib.v2 import lists  # noqa: PLC0415 -- see above

        return lists.HANDLERS
    if method in ("PUT", "DELETE"):
        from chalicelib.v2 import pushes  # noqa: PLC0415 -- see above

        return pushes.HANDLERS
    return _PULLS


def _upload(request: Request, target: Target) -> Response:
    from chalicelib.v2 import pushes, uploads  # noqa: PLC0415 -- see _handlers

    if target.kind == "upload" and uploads.is_capability(request, target):
        return uploads.handle(request, target, None)
    caller = authenticate(request)
    authorize(caller, "push", target.repository, request)
    pushes.require_pushable(target.repository)
    return uploads.handle(request, target, caller)


def _catalog(request: Request, caller: Caller) -> Response:
    from chalicelib.v2 import lists  # noqa: PLC0415 -- see _handlers

    return lists.catalog(request, caller)


def _base(request: Request, caller: Caller) -> Response:
    if request.method not in ("GET", "HEAD"):
        raise Unsupported(f"{request.method} is not defined for /v2/")
    require_authentication(caller, request)
    return json_response({})


def _get_manifest(request: Request, target: Target, caller: Caller) -> Response:
    project = rules.find(names.project_of(target.repository))
    if project is not None and project.is_proxy:
        pulled = _pull_through(request, target, caller, project)
    elif request.method == "GET":
        pulled = _pull(request, target.repository, target.reference, caller, project)
    else:
        pulled = pull.manifest(target.repository, target.reference)
    preconditions = Preconditions.of(request.headers)
    preconditions.require_match(pulled.digest)
    if request.method == "GET":
        pulls.note(target.repository, target.reference, pulled.digest, actor_of(caller, request))
    named = {"Docker-Content-Digest": pulled.digest, "ETag": f'"{pulled.digest}"'}
    if preconditions.has(pulled.digest):
        return Response(304, named)
    length = str(len(pulled.content))
    return Response(200, {"Content-Type": pulled.media_type, "Content-Length": length, **named}, pulled.content)


def _pull(request: Request, repository: str, reference: str, caller: Caller, project: Project | None) -> PulledManifest:
    """What a GET is answered with, as far as the project's policies let it be."""
    if project is None or not project.guards_pulls:
        return pull.manifest(repository, reference)
    from chalicelib.registry import policies  # noqa: PLC0415 -- most projects have none: their pulls do without

    signs = policies.is_signer(request.headers.get("user-agent", "")) and may_sign(caller, repository)
    return policies.allowed(repository, reference, policies.Policy.of(project), signs=signs)


def _pull_through(request: Request, target: Target, caller: Caller, project: Project) -> PulledManifest:
    from chalicelib.proxycache import http  # noqa: PLC0415 -- other projects' pulls do without

    def read(digest: str) -> PulledManifest:
        return _pull(request, target.repository, digest, caller, project)

    return http.manifest(request, target, project, read)


def _get_blob(request: Request, target: Target, _caller: Caller) -> Response:
    return _send_blob(request, target, blobs.find)


def _pull_blob(request: Request, target: Target, _caller: Caller) -> Response:
    """A blob's GET or HEAD by a caller that cannot push, and so relies on it for no longer than the answer."""
    return _send_blob(request, target, blobs.find_to_pull)


def _send_blob(request: Request, target: Target, find: Callable[[str, str], Blob]) -> Response:
    try:
        blob = find(target.repository, target.reference)
    except BlobUnknown:
        project = rules.find(names.project_of(target.repository))
        if project is None or not project.is_proxy:
            raise
        from chalicelib.proxycache import http  # noqa: PLC0415 -- other projects' pulls do without

        found = http.blob(request, target, project)
        return _redirect(request, found) if isinstance(found, Blob) else found
    hits.note_blob(target.repository, request.method, blob.size)
    return _redirect(request, blob)


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


_PULLS: Handlers = {
    ("manifest", "GET"): _get_manifest,
    ("manifest", "HEAD"): _get_manifest,
    ("blob", "GET"): _get_blob,
    ("blob", "HEAD"): _get_blob,
}
