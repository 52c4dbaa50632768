"""The relay's streams: of any size, in flat memory, broken off and gone on with."""

from __future__ import annotations

import asyncio
import hashlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from chalicelib.access import accounts, members, users
from chalicelib.access.authentication import caller_of
from chalicelib.access.roles import Role
from chalicelib.http import Request
from chalicelib.oci import digests, names
from chalicelib.oci.errors import Unavailable
from chalicelib.projects import quotas, rules
from chalicelib.projects.records import Project
from chalicelib.registry.store import blobs
from chalicelib.registry.store import uploads as table
from chalicelib.storage import aws_json, blobstore
from chalicelib.v2 import uploads
from chalicelib.v2.relay import Relay, shares
from chalicelib.v2.relay import body as relay_body
from chalicelib.v2.relay.memory import Memory
from chalicelib.webhooks.records import Target
from infra.policies import upload_statements
from tests.hostile.slow_uploads import slow_uploads
from tests.infra import iam
from tests.v2.upload_paths import RelayPath, at, random_content, served_relay, start, stored, upload_of
from tests.webhooks.support import policy_of

pytestmark = pytest.mark.usefixtures("cloud")

MIB = 1 << 20
_READ_AHEAD = MIB // 2
PROTOCOL = "chalicelib.v2.relay.protocol:BoundedHeads"


@pytest.fixture(scope="module")
def relay(cloud: object) -> Iterator[RelayPath]:
    with served_relay() as path:
        yield path


@contextmanager
def relay_process() -> Iterator[tuple[RelayPath, subprocess.Popen[bytes]]]:
    """A relay as it is deployed: a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        descriptor = listener.fileno()
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "chalicelib.v2.relay:app",
            "--http",
            PROTOCOL,
            "--fd",
            str(descriptor),
        ]
        child = subprocess.Popen(command, pass_fds=[descriptor], stdout=subprocess.DEVNULL)
        try:
            yield RelayPath(listener.getsockname()[1]), child
        finally:
            child.kill()
            child.wait()


def started_by_user(project: Project) -> str:
    """The address of an upload that a developer of `project` has begun."""
    name = f"user{os.urandom(6).hex()}"
    user = users.create(name, "Passw0rd-of-a-test", f"{name}@example.com", "A user", "")
    members.add(project, Role.DEVELOPER, user.number)
    path = f"/v2/{project.name}/app/blobs/uploads/"
    caller = caller_of(accounts.of_user(user))
    return uploads.handle(Request("POST", path), names.parse_path(path), caller).headers["Location"]


def resident(process: subprocess.Popen[bytes], field: str = "VmHWM") -> int:
    """Bytes of memory that a process has, or had at its peak."""
    with open(f"/proc/{process.pid}/status", encoding="ascii") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) * 1024


def stream(path: RelayPath, location: str, blocks: Iterator[bytes], size: int) -> http.client.HTTPResponse:
    """PATCH a body of `size` bytes that is never in memory as a whole."""
    connection = http.client.HTTPConnection("127.0.0.1", path.port, timeout=120)
    connection.request("PATCH", location, blocks, {"Content-Length": str(size)})
    response = connection.getresponse()
    response.read()
    return response


def broken_off(path: RelayPath, method: str, location: str, sent: bytes, announced: int) -> None:
    """A client that goes away in the middle of its request."""
    with socket.create_connection(("127.0.0.1", path.port)) as connection:
        head = f"{method} {location} HTTP/1.1\r\nHost: relay\r\nContent-Length: {announced}\r\n\r\n"
        connection.sendall(head.encode() + sent)


def recorded(path: RelayPath, location: str) -> int:
    """How many bytes an upload holds."""
    last = int(path.send("GET", location).headers["Range"].partition("-")[2])
    return last + 1 if last else 0


def recorded_of(path: RelayPath, location: str, sent: int) -> int:
    """How many bytes an upload holds once what was `sent` is recorded.

    The HTTP server drops what it has read ahead when it sees the client leave, so some of the last may be missing.
    """
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        size = recorded(path, location)
        if size >= sent - _READ_AHEAD:
            return size
        time.sleep(0.05)
    raise AssertionError(f"{size} bytes of {sent}")


@pytest.mark.parametrize("size", [5 * MIB, 16 * MIB - 1, 16 * MIB, 16 * MIB + 1, 48 * MIB, 53 * MIB + 3])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_large_bodies(relay: RelayPath, repository: str, method: str, size: int) -> None:
    content, digest = random_content(size)
    location = start(relay, repository)
    if method == "PATCH":
        response = relay.send("PATCH", location, content)
        assert (response.status, response.headers["Range"]) == (202, f"0-{size - 1}")
        location, body = response.headers["Location"], b""
    else:
        body = content
    assert relay.send("PUT", location, body, digest=digest).status == 201
    assert stored(repository, digest) == content


def test_a_small_layer_is_one_object_written_once(relay: RelayPath, repository: str) -> None:
    content, digest = random_content(12 * MIB)
    location = start(relay, repository)
    with calls("*") as seen:
        location = relay.send("PATCH", location, content).headers["Location"]
        assert relay.send("PUT", location, digest=digest).status == 201
    assert [operation for operation in seen if "Object" in operation or "Part" in operation] == ["PutObject"]


def test_sha512_is_found_after_sha256_was_kept(relay: RelayPath, repository: str) -> None:
    content, _ = random_content(20 * MIB)
    digest = digests.of(content, "sha512")
    location = relay.send("PATCH", start(relay, repository), content).headers["Location"]
    assert relay.send("PUT", location, digest=digest).status == 201
    assert stored(repository, digest) == content


def test_it_calls_no_more_than_its_policy_allows(
    relay: RelayPath, project: str, repository: str, cloud: dict[str, str]
) -> None:
    policy_of(project, Target("http", "https://webhooks.example.com/"), events=("QUOTA_EXCEED",))
    quotas.set_limit(rules.get(project).project_id, 7 * MIB)
    content, digest = random_content(6 * MIB)
    location, cancelled = started_by_user(rules.get(project)), start(relay, repository)
    refused = start(relay, repository)
    rules.forget(project)
    accounts._users.clear()
    with iam.recorded() as called:
        for chunk in (content[: 3 * MIB], content[3 * MIB :]):
            location = relay.send("PATCH", location, chunk).headers["Location"]
        assert relay.send("GET", location).status == 204
        assert relay.send("PUT", location, digest=digest).status == 201
        assert relay.send("DELETE", cancelled).status == 204
        assert relay.send("PUT", refused, bytes(8 * MIB), digest=digests.of(bytes(8 * MIB))).status == 403
    assert stored(repository, digest) == content
    allowed = iam.actions_of(upload_statements(lambda name: name), cloud)
    # A blob of the same digest that was condemned meanwhile would be rescued.
    assert called | {(cloud["BlobsTable"], "UpdateItem")} == allowed


def test_a_blob_that_does_not_fit_the_project_is_refused(relay: RelayPath, project: str, repository: str) -> None:
    """Before it is sent when its size is told, and when it ends otherwise: nothing of it stays."""
    quotas.set_limit(rules.get(project).project_id, 6 * MIB)
    content, digest = random_content(6 * MIB + 1)
    location = start(relay, repository)
    assert relay.send("PUT", location, content, digest=digest).status == 403
    assert relay.send("GET", location).status == 204
    refused = relay.send("PATCH", location, content)
    assert refused.status == 403
    assert b'"DENIED"' in refused.body
    assert b"upper limit of 6.0 MiB" in refused.body
    content, digest = random_content(6 * MIB)
    assert relay.send("PUT", start(relay, repository), content, digest=digest).status == 201


def test_several_at_once(relay: RelayPath, repository: str) -> None:
    """More than there are buffers."""
    contents = [random_content(17 * MIB + number) for number in range(10)]

    def push(item: tuple[bytes, str]) -> int:
        location = relay.send("PATCH", start(relay, repository), item[0]).headers["Location"]
        return relay.send("PUT", location, digest=item[1]).status

    with ThreadPoolExecutor(len(contents)) as threads:
        assert list(threads.map(push, contents)) == [201] * len(contents)
    assert all(stored(repository, digest) == content for content, digest in contents)


def test_chunks_of_unknown_length(relay: RelayPath, repository: str) -> None:
    content, digest = random_content(18 * MIB)
    connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=60)
    blocks = (content[position : position + MIB] for position in range(0, len(content), MIB))
    connection.request("PATCH", start(relay, repository), blocks, encode_chunked=True)
    response = connection.getresponse()
    assert (response.status, response.read()) == (202, b"")
    location = response.getheader("Location") or ""
    connection.request("PUT", at(location, digest=digest), iter(()), encode_chunked=True)
    assert connection.getresponse().status == 201
    assert stored(repository, digest) == content


@pytest.mark.parametrize("size", [2, 4, 17 * MIB])
def test_a_range_that_the_body_does_not_fill_exactly(relay: RelayPath, repository: str, size: int) -> None:
    location = start(relay, repository)
    connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=60)
    connection.request("PATCH", location, iter([bytes(size)]), {"Content-Range": "0-2"}, encode_chunked=True)
    response = connection.getresponse()
    assert (response.status, b"SIZE_INVALID" in response.read()) == (400, True)
    assert relay.send("GET", location).headers["Range"] == "0-0"


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
@pytest.mark.parametrize("sent", [MIB, 21 * MIB, 37 * MIB])
def test_a_client_that_goes_away_can_go_on(relay: RelayPath, repository: str, method: str, sent: int) -> None:
    content, digest = random_content(40 * MIB)
    location = start(relay, repository)
    target = at(location, digest=digest) if method == "PUT" else location
    broken_off(relay, method, target, content[:sent], len(content))
    offset = recorded_of(relay, location, sent)
    assert stored(repository, digest) is None
    headers = {"Content-Range": f"{offset}-{len(content) - 1}"}
    response = relay.send("PATCH", location, content[offset:], headers)
    assert response.status == 202
    assert relay.send("PUT", response.headers["Location"], digest=digest).status == 201
    assert stored(repository, digest) == content


def test_a_client_that_falls_silent_is_taken_to_be_gone(
    relay: RelayPath, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay_body, "WINDOW_SECONDS", 0.2)
    location = start(relay, repository)
    with socket.create_connection(("127.0.0.1", relay.port)) as connection:
        connection.sendall(f"PATCH {location} HTTP/1.1\r\nHost: relay\r\nContent-Length: 9\r\n\r\nabc".encode())
        answer = connection.recv(65536)
    assert b" 408 " in answer.partition(b"\r\n")[0]
    assert recorded(relay, location) == 3


def test_a_relay_that_is_killed_loses_only_what_was_not_recorded(relay: RelayPath, repository: str) -> None:
    content, digest = random_content(150 * MIB)
    location = start(relay, repository)
    with relay_process() as (dying, process), socket.socket() as connection:
        connection.connect(("127.0.0.1", dying.port))
        head = f"PATCH {location} HTTP/1.1\r\nHost: relay\r\nContent-Length: {len(content) + 1}\r\n\r\n"
        connection.sendall(head.encode() + content)
        deadline = time.monotonic() + 30
        while not recorded(relay, location) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    offset = recorded(relay, location)
    assert offset >= 64 * MIB
    assert stored(repository, digest) is None
    headers = {"Content-Range": f"{offset}-{len(content) - 1}"}
    assert relay.send("PUT", location, content[offset:], headers, digest=digest).status == 201
    assert stored(repository, digest) == content


@contextmanager
def calls(operation: str, fail_from: int | None = None) -> Iterator[list[str]]:
    """S3's calls of this process; the store is out of reach from the one with number `fail_from`, counted from 0."""
    seen: list[str] = []

    def note(event_name: str, **_: Any) -> None:
        seen.append(event_name.rpartition(".")[2])
        if fail_from is not None and len(seen) > fail_from:
            raise Unavailable("the blob store does not answer")

    aws_json.events.register(f"before-call.s3.{operation}", note)
    try:
        yield seen
    finally:
        aws_json.events.unregister(f"before-call.s3.{operation}", note)


@pytest.mark.parametrize("reachable", [0, 1, 2])
def test_a_store_out_of_reach_is_told_and_what_came_before_is_kept(
    relay: RelayPath, repository: str, reachable: int
) -> None:
    content, digest = random_content(60 * MIB)
    location = start(relay, repository)
    with calls("UploadPart", fail_from=reachable):
        refused = relay.send("PATCH", location, content)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
    offset = recorded(relay, location)
    assert offset % (16 * MIB) == 0
    headers = {"Content-Range": f"{offset}-{len(content) - 1}"}
    assert relay.send("PUT", location, content[offset:], headers, digest=digest).status == 201
    assert stored(repository, digest) == content


def test_it_answers_under_any_prefix_and_only_for_uploads(relay: RelayPath, repository: str) -> None:
    location = start(relay, repository)
    assert relay.send("GET", f"/relay{location}").status == 204
    for place in (
        "/",
        "/v2/",
        f"/v2/{repository}/tags/list",
        "/v2/%2e%2e/x",
        "/%ff",
        f"/v2/{repository}/blobs/uploads/",
        location + "&x=1" * 100,
    ):
        refused = relay.send("GET", place)
        assert 400 <= refused.status < 500
        assert b'"errors"' in refused.body
        assert refused.headers["Docker-Distribution-Api-Version"] == "registry/2.0"


def test_slow_uploads_hold_up_nobody(relay: RelayPath, repository: str, other_repository: str) -> None:
    """Each has sent one byte of many, and sends no more for now: more of them than there are threads or parts."""
    locations = [start(relay, other_repository) for _ in range(150)]
    with slow_uploads(relay.port, locations):
        content, digest = random_content(20 * MIB)
        location = relay.send("PATCH", start(relay, repository), content).headers["Location"]
        assert relay.send("PUT", location, digest=digest).status == 201
        assert relay.send("GET", "/healthz").status == 200
    assert stored(repository, digest) == content


def test_the_health_check_waits_for_no_thread(relay: RelayPath) -> None:
    busy = Relay()
    busy._calls.shutdown()
    with served_relay(busy) as path:
        assert path.send("GET", "/healthz").status == 200


def test_a_project_has_a_share_of_the_uploads(
    relay: RelayPath, repository: str, make_project: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "OF_A_PROJECT", 3)
    other = f"other{os.urandom(6).hex()}"
    make_project(other)
    with slow_uploads(relay.port, [start(relay, repository) for _ in range(3)]):
        refused = relay.send("PATCH", start(relay, repository), b"more")
        assert (refused.status, refused.headers["Retry-After"]) == (429, "5")
        assert relay.send("PATCH", start(relay, f"{other}/app"), b"more").status == 202
    deadline = time.monotonic() + 10
    while relay.send("PATCH", start(relay, repository), b"more").status != 202:
        assert time.monotonic() < deadline


def test_the_latest_request_for_an_upload_goes_on(relay: RelayPath, repository: str) -> None:
    """A client that has lost its connection comes back before the relay knows."""
    location, (content, digest) = start(relay, repository), random_content(1000)
    deadline = time.monotonic() + 20
    with slow_uploads(relay.port, [location] * 20):
        # Which of them have begun when this one comes, nobody knows: the latest is the one after all others.
        while relay.send("PUT", location, content, digest=digest).status != 201:
            assert time.monotonic() < deadline
    assert stored(repository, digest) == content


def test_a_request_that_is_busy_with_the_store_is_overtaken_as_well(relay: RelayPath, repository: str) -> None:
    """It does not wait for its client then, and ends as soon as it would."""
    location, (content, digest) = start(relay, repository), random_content(1000)
    is_blocked, goes_on = threading.Semaphore(0), threading.Event()

    def block(**_: Any) -> None:
        is_blocked.release()
        goes_on.wait(20)

    aws_json.events.register("before-call.s3.UploadPart", block)
    try:
        with socket.create_connection(("127.0.0.1", relay.port), timeout=20) as earlier:
            head = f"PATCH {location} HTTP/1.1\r\nHost: relay\r\nContent-Length: {80 * MIB}\r\n\r\n"
            earlier.sendall(head.encode() + bytes(48 * MIB))
            for _ in range(3):
                assert is_blocked.acquire(timeout=20)
            assert relay.send("PUT", location, content, digest=digest).status == 201
            goes_on.set()
            assert earlier.recv(65536).split()[1] in (b"404", b"416"), "the upload that its parts were of is completed"
    finally:
        goes_on.set()
        aws_json.events.unregister("before-call.s3.UploadPart", block)
    assert stored(repository, digest) == content


def test_many_fast_uploads_share_little_memory(cloud: object, repository: str) -> None:
    """Each has a part of what it needs, and none may wait for what the others hold."""
    contents = [random_content(6 * MIB) for _ in range(24)]
    with served_relay(Relay(memory=16 * MIB)) as path, ThreadPoolExecutor(len(contents)) as threads:
        pushed = threads.map(
            lambda item: path.send("PUT", start(path, repository), item[0], digest=item[1]).status, contents
        )
        assert list(pushed) == [201] * len(contents)


def test_the_last_memory_is_for_the_user_who_holds_least() -> None:
    """One who holds much, and sends fast, does not take it again and again from one who has nothing yet."""

    @dataclass(eq=False)
    class Upload:
        user: str
        held: int = 0

        def bytes_a_second(self) -> float:
            return 1.0

        def dismiss(self) -> bool:
            return False

    memory = Memory(10, reserve=1)

    async def served() -> list[str]:
        order: list[str] = []

        async def take(upload: Upload) -> None:
            await memory.take(upload, 1)
            order.append(upload.user)

        many, honest = [Upload("hostile") for _ in range(3)], Upload("honest")
        for _ in range(10):
            await memory.take(many[0], 1)
        waiting = [asyncio.create_task(take(each)) for each in (*many, honest)]
        await asyncio.sleep(0)
        memory.give(many[0], 1)
        await asyncio.sleep(0.01)
        memory.leave(many[0])
        await asyncio.gather(*waiting)
        return order

    assert asyncio.run(served())[0] == "honest"


def test_an_upload_that_holds_memory_and_sends_nothing_makes_room(cloud: object, repository: str) -> None:
    with served_relay(Relay(memory=8 * MIB)) as path:
        locations = [start(path, repository) for _ in range(2)]
        with slow_uploads(path.port, locations, first=bytes(4 * MIB)):
            content, digest = random_content(12 * MIB)
            assert path.send("PUT", start(path, repository), content, digest=digest).status == 201
            deadline = time.monotonic() + 10
            while max(recorded(path, location) for location in locations) < 4 * MIB:
                assert time.monotonic() < deadline, "what the one that had to leave had sent is kept"
    assert stored(repository, digest) == content


def test_a_body_of_unknown_length_is_refused_once_it_is_too_large(
    relay: RelayPath, project: str, repository: str
) -> None:
    quotas.set_limit(rules.get(project).project_id, 20 * MIB)
    location = start(relay, repository)
    rules.forget(project)
    connection = http.client.HTTPConnection("127.0.0.1", relay.port, timeout=60)
    connection.request("PATCH", location, (bytes(MIB) for _ in range(64)), encode_chunked=True)
    assert connection.getresponse().status == 403
    assert recorded(relay, location) <= 32 * MIB


def test_a_chunk_that_does_not_fit_the_project_is_refused_before_it_is_sent(
    relay: RelayPath, project: str, repository: str
) -> None:
    quotas.set_limit(rules.get(project).project_id, MIB)
    location = start(relay, repository)
    rules.forget(project)
    for _ in range(4):
        assert relay.send("PATCH", location, bytes(2 * MIB)).status == 403
    assert recorded(relay, location) == 0


def flat_memory(repository: str, size: int) -> None:
    block = os.urandom(MIB)
    hasher = hashlib.sha256()
    for _ in range(size // MIB):
        hasher.update(block)
    digest = f"sha256:{hasher.hexdigest()}"
    with relay_process() as (path, process):
        relay_upload(path, repository, b"warm")
        before = resident(process)
        response = stream(path, start(path, repository), (block for _ in range(size // MIB)), size)
        assert response.status == 202
        assert path.send("PUT", response.getheader("Location") or "", digest=digest).status == 201
        assert resident(process) - before < 150 * MIB
    record, _ = blobs.read(repository, digest)
    assert record is not None
    assert record.size == size


def relay_upload(path: RelayPath, repository: str, content: bytes) -> None:
    deadline = time.monotonic() + 20
    location = start(path, repository)
    while time.monotonic() < deadline:
        try:
            assert path.send("PUT", location, content, digest=digests.of(content)).status == 201
        except ConnectionError:
            time.sleep(0.05)
        else:
            return


@pytest.mark.slow
def test_memory_stays_flat(repository: str) -> None:
    flat_memory(repository, 320 * MIB)


@pytest.mark.soak
def test_memory_stays_flat_over_four_gibibytes(repository: str) -> None:
    flat_memory(repository, 4096 * MIB)


def test_an_interrupted_upload_holds_what_came_in_parts_and_a_tail(relay: RelayPath, repository: str) -> None:
    content, _ = random_content(34 * MIB)
    location = start(relay, repository)
    broken_off(relay, "PATCH", location, content[: 33 * MIB], len(content))
    size = recorded_of(relay, location, 33 * MIB)
    session = table.read(upload_of(location))
    assert session is not None
    assert (len(session.parts), session.tail_size) == (2, size - 32 * MIB)
    assert blobstore.get(session.tail_key) == content[32 * MIB : size]


def test_it_is_an_upload_of_whoever_holds_most_that_has_to_leave() -> None:
    """However slow a user's only upload is beside those of one who has many."""

    @dataclass(eq=False)
    class Upload:
        user: str
        rate: float
        held: int = 0
        dismissed: bool = False

        def bytes_a_second(self) -> float:
            return self.rate

        def dismiss(self) -> bool:
            self.dismissed = True
            memory.leave(self)
            return True

    memory = Memory(10, reserve=0)

    async def fill() -> tuple[Upload, list[Upload]]:
        honest, many = Upload("honest", 1.0), [Upload("hostile", 100.0 + number) for number in range(8)]
        await memory.take(honest, 2)
        for each in many:
            await memory.take(each, 1)
        await memory.take(Upload("other", 1.0), 1)
        return honest, many

    honest, many = asyncio.run(fill())
    assert not honest.dismissed
    assert [each.dismissed for each in many] == [True] + [False] * 7
