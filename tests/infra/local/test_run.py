"""`make run`: what it says, keeps and leaves, and how it refuses to run."""

from __future__ import annotations

import base64
import contextlib
import signal
import socket
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local import processes
from tests.crash.client import Client
from tests.infra.local.instance import PASSWORD, Instance

STEPS = ("building the template", "starting the local cloud", "deploying the stack", "starting the gateway")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(tmp_path_factory.mktemp("berth") / "state")
    instance.start()
    yield instance
    status, said = instance.stop()
    assert (status, said.strip()) == (0, "berth: stopped")
    instance.wait_until_gone()
    assert not (instance.state / "run.json").exists()


def log_in(instance: Instance, password: str) -> int:
    basic = base64.b64encode(f"admin:{password}".encode()).decode()
    request = urllib.request.Request(f"{instance.url}/v2/", headers={"Authorization": f"Basic {basic}"})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_it_is_healthy_and_lets_the_administrator_in(running: Instance) -> None:
    assert running.health() == "healthy"
    assert log_in(running, PASSWORD) == 200
    assert log_in(running, "wrong") == 401


def test_scripts_are_told_what_runs_where(running: Instance) -> None:
    assert running.facts["url"] == running.url
    assert running.facts["admin_user"] == "admin"
    with urllib.request.urlopen(f"{running.facts['cloud_url']}/_ministack/health", timeout=10) as answer:
        assert answer.status == 200


def test_only_the_user_can_read_the_state(running: Instance) -> None:
    assert stat.S_IMODE(running.state.stat().st_mode) == 0o700
    assert stat.S_IMODE((running.state / "admin-password").stat().st_mode) == 0o600


def test_no_secret_is_in_a_log_or_an_argument(running: Instance) -> None:
    log_in(running, PASSWORD)
    pids = [running.facts[name] for name in ("pid", "cloud_pid", "gateway_pid")]
    told = b"".join(path.read_bytes() for path in running.state.glob("*.log"))
    told += b"".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)
    assert PASSWORD.encode() not in told
    assert base64.b64encode(f"admin:{PASSWORD}".encode()) not in told


def test_a_folder_in_use_and_a_taken_port_are_refused(running: Instance, tmp_path: Path) -> None:
    assert Instance(running.state).run_to_end() == (
        1,
        f"berth: {running.state} is in use by another Berth: choose another with BERTH_STATE\n",
    )
    status, said = Instance(tmp_path / "other", BERTH_PORT=str(running.port)).run_to_end()
    assert status == 1
    assert said.startswith(f"berth: port {running.port} cannot be had (Address already in use)")
    assert said.count("\n") == 1
    assert not (tmp_path / "other").exists()
    assert running.health() == "healthy"


@pytest.mark.slow
def test_two_run_side_by_side_and_ctrl_c_may_come_at_any_step(running: Instance, tmp_path: Path) -> None:
    other = Instance(tmp_path / "state")
    for step in STEPS:
        process = other.launch()
        assert process.stdout is not None
        while step not in process.stdout.readline():
            pass
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert said.strip() == "berth: stopped"
        assert _processes_of(other.state) == []
    other.start()
    assert (other.health(), running.health()) == ("healthy", "healthy")
    assert other.stop(signal.SIGTERM)[0] == 0


@pytest.mark.slow
def test_a_second_start_is_quick_takes_a_new_password_and_refuses_a_damaged_state(tmp_path: Path) -> None:
    first = Instance(tmp_path / "state", BERTH_ADMIN_PASSWORD="")
    first.start()
    generated = (first.state / "admin-password").read_text().strip()
    assert log_in(first, generated) == 200
    first.stop()
    again = Instance(first.state, BERTH_ADMIN_PASSWORD="another one")
    assert again.start() < 10  # 3 s on an idle machine
    assert log_in(again, "another one") == 200
    assert log_in(again, generated) == 401
    again.stop()
    (saved,) = again.state.rglob("dynamodb.json")
    whole = saved.read_bytes()
    saved.write_bytes(whole[:-100])
    status, said = again.run_to_end()
    assert status == 1
    assert f"{again.state / 'ministack'} cannot be loaded (" in said
    assert "dynamodb" in said
    assert "Traceback" not in said
    assert saved.read_bytes() == whole[:-100]
    saved.write_bytes(whole)
    again.start()
    assert log_in(again, "another one") == 200
    again.stop()


def test_ctrl_c_again_and_again_leaves_no_process_and_is_no_failure(running: Instance, tmp_path: Path) -> None:
    """Whenever the second one comes: while the processes stop, or when the supervisor itself is about to end."""
    instance = Instance(tmp_path / "state")
    for step in (STEPS[-1], "Ctrl-C stops it"):
        process = instance.launch()
        assert process.stdout is not None
        while step not in process.stdout.readline():
            pass
        said = ""
        process.send_signal(signal.SIGINT)
        while line := process.stdout.readline():
            said += line
            process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, said
        assert "Traceback" not in said
        assert _processes_of(instance.state) == []


@pytest.mark.parametrize("below", [".", "below"])
def test_a_state_that_is_no_folder_is_refused(tmp_path: Path, below: str) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    status, said = Instance(file / below).run_to_end()
    assert status == 1
    assert said.startswith(f"berth: {file}")
    assert "BERTH_STATE" in said
    assert said.count("\n") == 1
    assert file.read_text() == "mine"


def test_a_damaged_journal_is_refused_and_left_alone(tmp_path: Path) -> None:
    damaged = b'[{"table": "t"\n[]\n'
    (tmp_path / "journal.jsonl").write_bytes(damaged)
    status, said = Instance(tmp_path).run_to_end()
    assert status == 1
    assert "journal.jsonl is damaged at line 1" in said
    assert "Traceback" not in said
    assert (tmp_path / "journal.jsonl").read_bytes() == damaged


def test_a_wrong_setting_is_told_before_anything_starts(tmp_path: Path) -> None:
    status, said = Instance(tmp_path, BERTH_PORT="http").run_to_end()
    assert (status, said) == (1, "berth: BERTH_PORT must be a number from 1 to 65535, not 'http'\n")


def test_other_machines_download_through_the_gateway_and_only_what_was_signed(tmp_path: Path) -> None:
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError:
        pytest.skip("this machine does not resolve its own name")
    instance = Instance(tmp_path / "state", BERTH_HOST=name)
    instance.start()
    try:
        client = Client(f"http://{name}:{instance.port}")
        client.log_in("library/app")
        image = client.push("library/app", "v1", size=3_000_001)
        client.pull(image)
        url = client.location(image.repository, image.blobs[1])
        assert url.startswith(f"{client.url}/{instance.facts['bucket']}/blobs/")
        unsigned, _, query = url.partition("?")
        bucket = f"{client.url}/{instance.facts['bucket']}"
        assert client.status_of("GET", url) == 200
        for forged in (
            unsigned,
            f"{unsigned}?X-Amz-Signature=x",
            url[:-1] + ("0" if url[-1] != "0" else "1"),
            f"{bucket}/?{query}",
            f"{bucket}/?list-type=2&X-Amz-Signature=x",
            f"{bucket}/blobs/../?{query}",
            url.replace("X-Amz-Expires=1200", "X-Amz-Expires=43200"),
            url.replace("X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Algorithm=none"),
            f"{url}&acl",
        ):
            assert client.status_of("GET", forged) in (403, 400, 404), forged
        assert client.status_of("PUT", url) in (403, 405)
    finally:
        instance.stop()


def _processes_of(folder: Path) -> list[str]:
    """Read from /proc: a fresh machine need not have `ps`."""
    lines = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            lines.append(file.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
    assert any("pytest" in line for line in lines)
    return [line for line in lines if str(folder) in line]


def test_a_large_log_is_cut_and_the_one_before_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_LOG_BYTES", 1000)
    log = tmp_path / "gateway.log"
    log.write_bytes(b"old\n" * 400)
    with processes.Child("gateway", "serve", [], {}, tmp_path):
        assert (tmp_path / "gateway.log.1").read_bytes() == b"old\n" * 400
        assert log.stat().st_size < 1600
