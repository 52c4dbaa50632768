"""Garbage collection: what it costs beside the registry's size, beside docker-registry's, and what clients feel of it.

`rows` starts this module in processes of its own, with the environment of Berth's functions: to fill a registry of a
size with blobs of which some are garbage, and to collect that, counting calls as tests/registry/test_budgets.py does.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from chalicelib.storage.tables import keys
from tests.bench import load, servers
from tests.bench.images import MANIFEST
from tests.bench.load import Target
from tests.bench.scale import Scale
from tests.bench.servers import PASSWORD, PROJECT, Berth
from tests.bench.table import Row
from tests.crash.client import Client

_BLOB_BYTES = 1000
_HOUR_MS = 3_600_000
_UNDER_WAY = ("Pending", "Running")
_PUSHING = 3
"""How much longer pushes are measured than GETs, of which there are thirty in the time of one."""
_STOP_SECONDS = 2.0
"""After which nothing of a run that was stopped is at work."""
_PEER_ROOT = "docker/registry/v2"
_SETTINGS = {
    "BERTH_GC_UNSAFE_TIMES": "true",
    "BERTH_GC_GRACE_SECONDS": "1",
    "BERTH_GC_WINDOW_SECONDS": "60",
    "BERTH_CANDIDATE_RENEW_SECONDS": "1",
}


def rows(folder: Path, scale: Scale) -> Iterator[Row]:
    """The collector's rows: a registry of its own, which is filled further for each size."""
    with servers.berth(folder / "collected", **_SETTINGS) as berth:
        measured = {size: _collect(berth, size, scale) for size in scale.blobs}
        smallest, largest = scale.blobs[0], scale.blobs[-1]
        for size, found in measured.items():
            yield Row(
                f"GC of {scale.garbage} blobs among {size}", "s", found["seconds"], berth_more=f"{found['calls']} calls"
            )
        for what in ("calls", "seconds"):
            name = f"GC {what}, {largest} blobs by {smallest}"
            yield Row(name, "", measured[largest][what], measured[smallest][what], at_most=1.3)
        yield from _forecast(berth, scale)
        with servers.docker_registry(folder, berth):
            _fill_peer(berth, scale.peer_blobs, scale.garbage)
        theirs = servers.collect_garbage(folder)
        ours = min(measured.items(), key=lambda entry: abs(entry[0] - scale.peer_blobs))[1]["seconds"]
        name = f"GC of {scale.garbage} blobs among {scale.peer_blobs}, beside garbage-collect"
        yield Row(name, "s", ours, theirs, at_most=0.1)
        yield from _impact(berth, scale)


def _collect(berth: Berth, size: int, scale: Scale) -> dict[str, float]:
    """The calls of a run, and the median time of runs by the API, without what they wait for the grace."""
    _run(berth, "fill", str(size), str(scale.garbage))
    calls = _run(berth, "collect")["calls"]
    times = []
    for _ in range(scale.repetitions):
        _run(berth, "fill", "0", str(scale.garbage))
        told = _job(berth)
        if told["purged_blobs"] != scale.garbage:
            raise SystemExit(f"bench: {scale.garbage} blobs were garbage, and a run purged {told['purged_blobs']}")
        times.append(told["duration_seconds"] - told["wait_seconds"])
    return {"calls": calls, "seconds": statistics.median(times)}


def _run(berth: Berth, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.collection", *arguments]
    done = subprocess.run(command, cwd=PROJECT, env=berth.environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench: {' '.join(arguments)} failed: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _forecast(berth: Berth, scale: Scale) -> Iterator[Row]:
    """A dry run and a run by the API, as an operator starts them."""
    _run(berth, "fill", "0", str(scale.garbage))
    foretold, done = _job(berth, dry_run=True), _job(berth)
    for what, unit, said, was, limit in (
        ("bytes", "B", foretold["freed_space"], done["freed_space"], 1.1),
        ("time", "s", foretold["expected_seconds"], done["duration_seconds"], 2.0),
    ):
        more = f"({said} {unit} foretold, {was} {unit} in truth)"
        ratio = max(said, was) / max(min(said, was), 1e-9)
        yield Row(f"GC forecast, {what} (the greater by the less)", "", ratio, at_most=limit, berth_more=more)


def _job(berth: Berth, *, dry_run: bool = False) -> dict[str, Any]:
    """Do a run; returns what it tells in the end."""
    number = _start(berth, dry_run=dry_run)
    while (found := _ask(berth, "GET", f"/{number}"))["job_status"] in _UNDER_WAY:
        time.sleep(0.5)
    if found["job_status"] != "Success":
        raise SystemExit(f"bench: a garbage collection ended as {found['job_status']}")
    told: dict[str, Any] = json.loads(found["job_parameters"])
    return told


def _start(berth: Berth, *, dry_run: bool = False) -> str:
    body = {"schedule": {"type": "Manual"}, "parameters": {"dry_run": dry_run, "reconcile": False}}
    with _open(berth, "POST", "/schedule", body) as answer:
        number: str = answer.headers["Location"].rpartition("/")[2]
        return number


def _ask(berth: Berth, method: str, path: str) -> Any:
    with _open(berth, method, path) as answer:
        content = answer.read()
        return json.loads(content) if content else None


def _open(berth: Berth, method: str, path: str, body: Any = None) -> Any:
    basic = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/json"}
    url = f"http://{berth.name}/api/v2.0/system/gc{path}"
    content = None if body is None else json.dumps(body).encode()
    return urllib.request.urlopen(urllib.request.Request(url, content, headers, method=method), timeout=30)


def _impact(berth: Berth, scale: Scale) -> Iterator[Row]:
    """The 99th percentiles of clients, while a run works and while none does, in turns: the median of the turns'.

    Of all samples together it would be that of the few seconds in which the disk was slowest.
    """
    berth.make_project("collected", public=False)
    client = Client(f"http://{berth.name}")
    client.log_in("collected/app", password=PASSWORD)
    image = client.push("collected/app", "v1", layers=1, size=1000)
    target = Target(
        "GET",
        f"http://{berth.name}/v2/{image.repository}/manifests/{image.digest}",
        {"Accept": MANIFEST, **berth.authorization(image.repository)},
        200,
    )
    gets: dict[bool, list[list[float]]] = {True: [], False: []}
    pushes: dict[bool, list[list[float]]] = {True: [], False: []}
    _run(berth, "fill", "0", str(10 * scale.garbage))
    for _ in range(scale.repetitions):
        for collecting in (False, True):
            with _collecting(berth) if collecting else contextlib.nullcontext():
                gets[collecting].append(load.times(target, 1, scale.load_seconds))
                pushes[collecting].append(_push_times(client, _PUSHING * scale.load_seconds))
    for name, found in (("manifest GET", gets), ("small push", pushes)):
        quiet, busy = (1000 * statistics.median(map(_p99, found[collecting])) for collecting in (False, True))
        more = f"({sum(map(len, found[True]))} of them)"
        yield Row(f"p99 of {name} while GC runs", "ms", busy, quiet, at_most=1.3, berth_more=more)


@contextlib.contextmanager
def _collecting(berth: Berth) -> Iterator[None]:
    """A run that is at work, and is so until it is stopped."""
    number = _start(berth)
    while json.loads(_ask(berth, "GET", f"/{number}")["job_parameters"])["percent"] == 0:
        time.sleep(0.2)
    yield
    if _ask(berth, "GET", f"/{number}")["job_status"] != "Running":
        raise SystemExit("bench: the garbage collection had ended before the clients had")
    _ask(berth, "PUT", f"/{number}")
    time.sleep(_STOP_SECONDS)


def _push_times(client: Client, seconds: float) -> list[float]:
    times = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        started = time.perf_counter()
        client.push("collected/app", "pushed", layers=1, size=1000)
        times.append(time.perf_counter() - started)
    return times


def _p99(times: Sequence[float]) -> float:
    return sorted(times)[int(len(times) * 0.99)]


def _fill_peer(berth: Berth, blobs: int, garbage: int) -> None:
    """Blobs as docker-registry keeps them in S3, all but the garbage named by manifests of a thousand layers."""
    import boto3

    cloud = berth.environment
    s3 = boto3.client(
        "s3",
        endpoint_url=cloud["AWS_ENDPOINT_URL"],
        region_name=cloud["AWS_REGION"],
        aws_access_key_id=cloud["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=cloud["AWS_SECRET_ACCESS_KEY"],
    )

    def put(content: bytes) -> str:
        name = hashlib.sha256(content).hexdigest()
        s3.put_object(Bucket=servers.PEER_BUCKET, Key=f"{_PEER_ROOT}/blobs/sha256/{name[:2]}/{name}/data", Body=content)
        return name

    with ThreadPoolExecutor(4) as pool:
        names = list(pool.map(lambda number: put(f"blob {number}".encode().ljust(_BLOB_BYTES)), range(blobs)))
    live = names[garbage:]
    for start in range(0, len(live), 1000):
        layers = [
            {"mediaType": "application/octet-stream", "digest": f"sha256:{name}", "size": _BLOB_BYTES}
            for name in live[start : start + 1000]
        ]
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": layers[0], "layers": layers}
        name = put(json.dumps(document).encode())
        link = f"{_PEER_ROOT}/repositories/app/_manifests/revisions/sha256/{name}/link"
        s3.put_object(Bucket=servers.PEER_BUCKET, Key=link, Body=f"sha256:{name}".encode())


def _fill(live: int, garbage: int) -> dict[str, int]:
    """Add records until there are `live` blobs that are no candidates, and garbage that is due, with its objects."""
    from chalicelib.registry.store import blobs
    from chalicelib.storage import blobstore
    from chalicelib.storage.conditions import new_id, now

    since = now() - _HOUR_MS

    def record(digest: str, key: str, *, candidate: bool) -> dict[str, Any]:
        item = {"pk": {"S": digest}, "sk": {"S": "blob"}, "object_key": {"S": key}, "size": {"N": str(_BLOB_BYTES)}}
        item |= {"state": {"S": "live"}, "version": {"S": new_id()}, "created": {"N": str(since)}}
        if candidate:
            item |= {"candidate": {"S": keys.shard(digest)}, "candidate_since": {"N": str(since)}}
        return {"PutRequest": {"Item": item}}

    def digest(text: str) -> str:
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"

    def put(key: str) -> None:
        blobstore.put(key, bytes(_BLOB_BYTES))

    requests = [record(digest(f"live {n}"), f"blobs/{new_id()}", candidate=False) for n in range(live - garbage)]
    doomed = [(digest(new_id()), blobstore.blob_key()) for _ in range(garbage)]
    requests += [record(name, key, candidate=True) for name, key in doomed]
    for name, _key in doomed:
        link = {"pk": {"S": name}, "sk": {"S": "link|collected/app"}, "object_key": {"S": _key}}
        requests.append({"PutRequest": {"Item": link | {"state": {"S": "live"}, "version": {"S": new_id()}}}})
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, (key for _, key in doomed)))
    blobs._batch_write(requests)
    return {"filled": len(requests)}


def _collect_here() -> dict[str, int]:
    """The calls of both looks of a run."""
    from chalicelib.gc import rounds, work
    from chalicelib.gc.records import Tally, Times, unwatched
    from chalicelib.storage.conditions import new_id
    from tests.registry.test_budgets import counted

    times, run, tally = Times(_HOUR_MS // 2, 0), new_id(), Tally()
    with counted() as calls:
        for number, kind in enumerate((rounds.BLOBS, rounds.CONDEMNED)):
            for task in rounds.plan(run, number, [kind], times):
                tally += rounds.carry_out(run, task, times, unwatched)
    work.drop(run)
    return {"calls": len(calls), "purged": tally.purged_blobs}


def main() -> None:
    what, *numbers = sys.argv[1:]
    print(json.dumps(_fill(*map(int, numbers)) if what == "fill" else _collect_here()))


if __name__ == "__main__":
    main()
