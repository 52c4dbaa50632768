"""Pulls from proxy projects over HTTP: what their routes hand on here, and Docker Hub's names without a slash."""

from __future__ import annotations

from chalicelib.http import Request, Response
from chalicelib.oci.errors import MovedPermanently, Unavailable
from chalicelib.oci.names import Target
from chalicelib.projects.records import Project
from chalicelib.proxycache import blobs, lists, pulling, sources
from chalicelib.proxycache.pulling import Read
from chalicelib.proxycache.sources import LIBRARY, Source
from chalicelib.registry.listings import Page
from chalicelib.registry.pull import PulledManifest
from chalicelib.registry.store.blobs import Blob

_WAITED = "berth-wait"
"""The query parameter that counts the redirects of a client which waits for a blob."""


def manifest(request: Request, target: Target, project: Project, read: Read) -> PulledManifest:
    """The answer to a GET or HEAD of a manifest. Raises as chalicelib/proxycache/pulling.py does."""
    source = _source(request, target, project)
    if request.method == "GET":
        return pulling.get(source, target.reference, read)
    return pulling.head(source, target.reference)


def blob(request: Request, target: Target, project: Project) -> Blob | Response:
    """The blob that was not there, once it is; or where to wait on for it.

    A HEAD waits too: the gateway tells the length of a body that it gets, and nothing that a header says.
    Raises Unavailable for a client that has waited long enough, or as chalicelib/proxycache/blobs.py does.
    """
    waited = _waited(request)
    found = blobs.wait(_source(request, target, project), target.reference, is_first=not waited)
    if found is not None:
        return found
    if waited >= blobs.REDIRECTS:
        raise Unavailable(
            f"the blob {target.reference} is still being fetched from the upstream registry: try again",
            retry_after=blobs.RETRY_SECONDS,
        )
    location = f"{request.path}?{_WAITED}={waited + 1}"
    return Response(307, {"Location": location, "Docker-Content-Digest": target.reference})


def tags(request: Request, target: Target, project: Project, after: str, limit: int) -> Page:
    return lists.tags(_source(request, target, project), after, limit)


def referrers(request: Request, target: Target, project: Project, artifact_type: str, after: str, limit: int) -> Page:
    return lists.referrers(_source(request, target, project), target.reference, artifact_type, after, limit)


def _source(request: Request, target: Target, project: Project) -> Source:
    """Raises NameUnknown, or MovedPermanently for a bare name of Docker Hub's (Harbor, repoproxy: defaultLibrary)."""
    source = sources.of(project, target.repository)
    if source.is_in_library:
        bare = f"/v2/{target.repository}/"
        moved = f"/v2/{project.name}/{LIBRARY}/{source.remote}/{request.path.removeprefix(bare)}"
        raise MovedPermanently(f"{source.remote} is {LIBRARY}/{source.remote}", headers={"Location": moved})
    return source


def _waited(request: Request) -> int:
    """How often the client was sent here to wait."""
    text = request.query.get(_WAITED, "0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else blobs.REDIRECTS
