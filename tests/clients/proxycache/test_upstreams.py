"""docker-registry as an upstream, before Berth comes in: what it lets whom pull, and how its log counts that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from tests.clients import layout
from tests.clients.conftest import Run
from tests.upstreams.servers.certificates import make_certificate
from tests.upstreams.servers.docker import docker_registry
from tests.upstreams.servers.tokens import PASSWORD, USER, token_service


def test_its_log_counts_requests_and_bytes(run: Run, image: tuple[Path, str], tmp_path: Path) -> None:
    with docker_registry(tmp_path / "registry") as upstream:
        run("crane", "push", str(image[0]), f"{upstream.name}/app:1")
        assert upstream.count("PUT", "/v2/app/manifests/1") == 1
        upstream.forget()
        run("crane", "pull", f"{upstream.name}/app:1", str(tmp_path / "image.tar"))
        for layer in json.loads(layout.content(image[0], image[1]))["layers"]:
            assert upstream.count("GET", f"/v2/app/blobs/{layer['digest']}") == 1
            assert upstream.sent(f"*{layer['digest']}") == layer["size"]
        upstream.stop()
        with pytest.raises(requests.ConnectionError):
            requests.get(upstream.url, timeout=5)
        upstream.start()
        run("crane", "validate", "--remote", f"{upstream.name}/app:1")


def test_a_token_service_in_front(run: Run, image: tuple[Path, str], tmp_path: Path) -> None:
    with (
        token_service(make_certificate(tmp_path)) as tokens,
        docker_registry(tmp_path / "registry", tokens) as upstream,
    ):
        pushing = {"Authorization": f"Bearer {tokens.issue(USER, 'repository:app:pull,push')}"}
        anonymous = {"Authorization": f"Bearer {tokens.issue('', 'repository:app:pull,push')}"}
        uploads = f"{upstream.url}/v2/app/blobs/uploads/"
        assert requests.post(uploads, headers=pushing, timeout=5).status_code == 202
        assert requests.post(uploads, headers=anonymous, timeout=5).status_code == 401
        credentials = f"{USER}:{PASSWORD}"
        source, target = f"oci:{image[0]}:latest", f"docker://{upstream.name}/app:1"
        run("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", credentials, source, target)
        run("skopeo", "inspect", "--tls-verify=false", target)
        tokens.anonymous = False
        run("skopeo", "inspect", "--tls-verify=false", target, fails=True)
        run("skopeo", "inspect", "--tls-verify=false", "--creds", credentials, target)
        tokens.seconds = -10
        expired = {"Authorization": f"Bearer {tokens.issue(USER, 'repository:app:pull')}"}
        assert requests.get(f"{upstream.url}/v2/app/manifests/1", headers=expired, timeout=5).status_code == 401
