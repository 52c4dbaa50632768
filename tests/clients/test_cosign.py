"""cosign: signatures in both of its forms, with a key pair and no transparency log, and what Berth makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from tests.clients.conftest import Run, Server

_OFFLINE = {
    "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
    "rekorTlogConfig": {},
    "tsaConfig": {},
}


@pytest.fixture
def signed(run: Run, server: Server, image: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An image, by digest, of a project of its own; the key pair is in the working directory."""
    folder, digest = image
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COSIGN_PASSWORD", "a test's")
    project = server.make_project(public=True)
    repository = f"{server.registry}/{project}/app"
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{folder}", f"docker://{repository}:v1")
    run("cosign", "generate-key-pair")
    run("cosign", "login", server.registry, "-u", server.user, "--password-stdin", stdin=server.password)
    (tmp_path / "offline.json").write_text(json.dumps(_OFFLINE))
    return f"{repository}@{digest}"


def accessories(server: Server, reference: str) -> list[str]:
    """Harbor's types of what is about an image."""
    repository, _, digest = reference.partition("@")
    _, project, name = repository.split("/")
    answer = server.get(f"/api/v2.0/projects/{project}/repositories/{name}/artifacts/{digest}/accessories")
    assert answer.status_code == 200, answer.text
    return [each["type"] for each in answer.json()]


def by_tag(run: Run, reference: str) -> None:
    options = ["--tlog-upload=false", "--use-signing-config=false", "--new-bundle-format=false"]
    run("cosign", "sign", "--yes", "--key", "cosign.key", *options, reference)
    run("cosign", "verify", "--key", "cosign.pub", "--insecure-ignore-tlog", "--new-bundle-format=false", reference)


def by_subject(run: Run, reference: str) -> None:
    run("cosign", "sign", "--yes", "--key", "cosign.key", "--signing-config", "offline.json", reference)
    run("cosign", "verify", "--key", "cosign.pub", "--insecure-ignore-tlog", reference)


@pytest.mark.parametrize("sign", [by_tag, by_subject])
def test_a_signature_verifies_and_is_shown_with_its_image(run: Run, server: Server, signed: str, sign: object) -> None:
    assert callable(sign)
    sign(run, signed)
    assert accessories(server, signed) == ["signature.cosign"]


def test_an_attestation_is_no_signature(run: Run, server: Server, signed: str, tmp_path: Path) -> None:
    (tmp_path / "predicate.json").write_text(json.dumps({"built": "by a test"}))
    about = ["--predicate", "predicate.json", "--type", "custom"]
    run("cosign", "attest", "--yes", "--key", "cosign.key", "--signing-config", "offline.json", *about, signed)
    assert accessories(server, signed) == ["subject.accessory"]


def test_a_project_that_requires_signatures_lets_only_signed_images_be_pulled(
    run: Run, server: Server, signed: str, tmp_path: Path
) -> None:
    project = signed.split("/")[1]
    url = f"{server.url}/api/v2.0/projects/{project}/metadatas/"
    body = {"enable_content_trust_cosign": "true"}
    assert requests.post(url, json=body, auth=(server.user, server.password), timeout=30).status_code == 200
    pull = ["skopeo", "copy", "--src-tls-verify=false", f"docker://{signed}"]
    said = run(*pull, f"oci:{tmp_path / 'refused'}", fails=True)
    assert "not signed by cosign" in said
    by_subject(run, signed)
    run(*pull, f"oci:{tmp_path / 'pulled'}")
