"""helm: a chart is pushed and pulled, and Berth shows what is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.conftest import Run, Server

PLAIN = "--plain-http"


@pytest.fixture
def chart(run: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The repository of a chart under the tag `0.1.0`."""
    monkeypatch.chdir(tmp_path)
    run(
        "helm",
        "registry",
        "login",
        PLAIN,
        server.registry,
        "-u",
        server.user,
        "--password-stdin",
        stdin=server.password,
    )
    run("helm", "create", "web")
    (tmp_path / "web" / "README.md").write_text("# Web\n")
    run("helm", "package", "web")
    project = server.make_project(public=False)
    run("helm", "push", PLAIN, "web-0.1.0.tgz", f"oci://{server.registry}/{project}")
    return f"{project}/web"


def test_a_chart_comes_back_equal(run: Run, server: Server, chart: str, tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    pushed = (tmp_path / "web-0.1.0.tgz").read_bytes()
    run("helm", "pull", PLAIN, f"oci://{server.registry}/{chart}", "--version", "0.1.0", "-d", str(tmp_path / "back"))
    assert (tmp_path / "back" / "web-0.1.0.tgz").read_bytes() == pushed


def test_what_is_in_a_chart_is_shown(server: Server, chart: str, tmp_path: Path) -> None:
    project, _, name = chart.partition("/")
    artifact = f"/api/v2.0/projects/{project}/repositories/{name}/artifacts/0.1.0"
    shown = server.get(artifact).json()
    assert shown["type"] == "CHART"
    assert (shown["extra_attrs"]["name"], shown["extra_attrs"]["version"]) == ("web", "0.1.0")
    for addition, file in (("values.yaml", "values.yaml"), ("readme.md", "README.md")):
        assert server.get(f"{artifact}/additions/{addition}").text == (tmp_path / "web" / file).read_text()
    assert server.get(f"{artifact}/additions/dependencies").json() == []
