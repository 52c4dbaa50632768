"""Two clients that push the same at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.clients import layout
from tests.clients.conftest import Run


def test_the_same_image_to_the_same_tag(run: Run, repository: str, image: tuple[Path, str]) -> None:
    def push(tool: str) -> str:
        if tool == "crane":
            return run("crane", "push", str(image[0]), f"{repository}:1")
        target = f"docker://{repository}:1"
        return run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{image[0]}:latest", target)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(push, ["crane", "skopeo"] * 3))
    assert run("crane", "digest", f"{repository}:1").strip() == image[1]
    run("crane", "validate", "--remote", f"{repository}:1")


def test_different_images_to_the_same_tag(run: Run, repository: str, tmp_path: Path) -> None:
    digests = [layout.small(tmp_path / str(n)) for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: run("crane", "push", str(tmp_path / str(n)), f"{repository}:1"), range(4)))
    assert run("crane", "digest", f"{repository}:1").strip() in digests
    for digest in digests:
        run("crane", "validate", "--remote", f"{repository}@{digest}")
