"""The relay's container, as far as it can be tried without a container engine: its command, run here."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from infra.package import PROJECT
from infra.relay import HEALTH_PATH, PORT, build


def command() -> list[str]:
    """The CMD of the Dockerfile."""
    text = (PROJECT / "Dockerfile").read_text().replace("\\\n", "")
    found = re.search(r"^CMD (\[.*\])$", text, re.M)
    assert found is not None
    words: list[str] = json.loads(found[1])
    return words


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_its_command_serves_the_relay_and_ends_when_told(cloud: object, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [sys.executable, *command()[1:]]
    words[words.index("--port") + 1] = str(port)
    words[words.index("--host") + 1] = "127.0.0.1"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(words, cwd=PROJECT, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        status = 0
        while not status and time.monotonic() < deadline and process.poll() is None:
            try:
                status = status_of(f"http://127.0.0.1:{port}{HEALTH_PATH}")
            except OSError:
                time.sleep(0.1)
        assert status == 200, f"the balancer would take it for dead: {(tmp_path / 'log').read_text()}"
    finally:
        process.terminate()
        process.wait(10)
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_the_balancers_port_is_the_commands() -> None:
    assert command()[command().index("--port") + 1] == str(PORT)
    (target,) = (body for body in build()["Resources"].values() if body["Type"].endswith("TargetGroup"))
    assert target["Properties"]["Port"] == PORT


def test_a_connection_outlives_the_balancers_patience() -> None:
    """AWS, "Edit attributes for your Application Load Balancer": else the balancer answers 502 now and then."""
    (balancer,) = (body for body in build()["Resources"].values() if body["Type"].endswith("LoadBalancer"))
    attributes = {each["Key"]: each["Value"] for each in balancer["Properties"]["LoadBalancerAttributes"]}
    kept_seconds = int(command()[command().index("--timeout-keep-alive") + 1])
    assert kept_seconds > int(attributes["idle_timeout.timeout_seconds"])


def test_the_image_holds_what_it_copies() -> None:
    text = (PROJECT / "Dockerfile").read_text()
    for source in re.findall(r"^COPY (.+) \S+$", text, re.M):
        for name in source.split():
            assert (PROJECT / name).exists()
            assert f"!{name}" in (PROJECT / ".dockerignore").read_text().splitlines()
