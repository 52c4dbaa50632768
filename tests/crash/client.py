"""A registry client as small as the crash tests need: it pushes images of random bytes, and pulls them whole."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from urllib.parse import urljoin

import urllib3

from tests.infra.local.instance import PASSWORD

MEDIA_TYPE = "application/vnd.oci.image.manifest.v1+json"


@dataclass(frozen=True)
class Image:
    """A pushed image: where, and what a pull must bring back."""

    repository: str
    tag: str
    manifest: bytes
    blobs: tuple[str, ...]

    @property
    def digest(self) -> str:
        return _digest(self.manifest)


class Client:
    """Talks to the registry at `url` with a bearer token: the administrator's, unless `log_in` is told another user."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = urllib3.PoolManager(maxsize=8, retries=False, timeout=30)
        self.token = ""

    def log_in(self, *repositories: str, user: str = "admin", password: str = PASSWORD) -> None:
        scopes = "&".join(f"scope=repository:{repository}:pull,push,delete" for repository in repositories)
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        body = self._call("GET", f"/service/token?{scopes}", 200, headers={"Authorization": f"Basic {basic}"}).data
        self.token = json.loads(body)["token"]

    def push(self, repository: str, tag: str, layers: int = 2, size: int = 20_000) -> Image:
        """Push an image of new layers. Returns when all of it has been acknowledged."""
        blobs = [json.dumps({"architecture": "amd64", "id": os.urandom(8).hex()}).encode()]
        blobs += [os.urandom(size) for _ in range(layers)]
        for blob in blobs:
            self._upload(repository, blob)
        config, *others = (
            {"mediaType": "application/octet-stream", "digest": _digest(blob), "size": len(blob)} for blob in blobs
        )
        document = {"schemaVersion": 2, "mediaType": MEDIA_TYPE, "config": config, "layers": others}
        image = Image(repository, tag, json.dumps(document).encode(), tuple(map(_digest, blobs)))
        self.tag(image, tag)
        return image

    def tag(self, image: Image, tag: str) -> None:
        self._call(
            "PUT",
            f"/v2/{image.repository}/manifests/{tag}",
            201,
            body=image.manifest,
            headers={"Content-Type": MEDIA_TYPE},
        )

    def delete_tag(self, image: Image) -> None:
        self._call("DELETE", f"/v2/{image.repository}/manifests/{image.tag}", 202)

    def digest_of(self, repository: str, tag: str) -> str | None:
        """What a tag names, None when it is gone."""
        answer = self._request("HEAD", f"/v2/{repository}/manifests/{tag}", headers={"Accept": MEDIA_TYPE})
        return answer.headers["Docker-Content-Digest"] if answer.status == 200 else None

    def pull(self, image: Image) -> None:
        """Pull the image by its tag and compare every byte."""
        path = f"/v2/{image.repository}/manifests/{image.tag}"
        answer = self._call("GET", path, 200, headers={"Accept": MEDIA_TYPE})
        assert answer.data == image.manifest
        assert answer.headers["Docker-Content-Digest"] == image.digest
        for digest in image.blobs:
            assert _digest(self._http.request("GET", self.location(image.repository, digest)).data) == digest

    def location(self, repository: str, digest: str) -> str:
        """Where a blob's bytes are."""
        return self._call("GET", f"/v2/{repository}/blobs/{digest}", 307).headers["Location"]

    def status_of(self, method: str, url: str) -> int:
        return self._http.request(method, url, redirect=False).status

    def _upload(self, repository: str, blob: bytes) -> None:
        started = self._call("POST", f"/v2/{repository}/blobs/uploads/", 202)
        location = urljoin(self.url, started.headers["Location"])
        if len(blob) % 2:
            location = urljoin(self.url, self._call("PATCH", location, 202, body=blob).headers["Location"])
            blob, rest = b"", blob
        else:
            rest = blob
        joint = "&" if "?" in location else "?"
        self._call("PUT", f"{location}{joint}digest={_digest(rest)}", 201, body=blob)

    def _call(
        self, method: str, path: str, status: int, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        answer = self._request(method, path, body, headers)
        assert answer.status == status, f"{method} {path}: {answer.status} {answer.data[:300]!r}"
        return answer

    def _request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        given = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        return self._http.request(method, urljoin(self.url, path), body=body, headers=given, redirect=False)


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
