"""One account does its worst, and an honest one hardly notices: it pushes and pulls as fast as ever, or nearly so."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from urllib.parse import urljoin, urlsplit

import pytest
import requests

from tests.hostile.bombs import ARCHIVES, CONFIGS, ODD_TEXTS
from tests.hostile.conftest import ROUNDS, User, memory
from tests.hostile.slow_uploads import slow_uploads
from tests.infra.local.instance import Instance

MIB = 1 << 20
OCI = "application/vnd.oci.image.manifest.v1+json"
CHART_CONFIG = "application/vnd.cncf.helm.config.v1+json"
CHART_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

Attack = Callable[[User, int], None]


def upload(user: User, repository: str, content: bytes) -> dict[str, object]:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    location = start(user, repository)
    joint = "&" if "?" in location else "?"
    put(user, f"{location}{joint}digest={digest}", content, 201)
    return {"digest": digest, "size": len(content)}


def start(user: User, repository: str) -> str:
    url = f"{user.berth.url}/v2/{user.project}/{repository}/blobs/uploads/"
    answer = user.session.post(url, timeout=60)
    assert answer.status_code == 202, answer.text
    return urljoin(user.berth.url, answer.headers["Location"])


def put(user: User, url: str, content: bytes, status: int, media_type: str = "application/octet-stream") -> None:
    answer = user.session.put(url, content, headers={"Content-Type": media_type}, timeout=60)
    assert answer.status_code == status, answer.text[:300]


def push(user: User, repository: str, config: bytes, layer: bytes, number: int = 0) -> None:
    """Push what says that it is a chart; the number makes it another one."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI,
        "config": {"mediaType": CHART_CONFIG, **upload(user, repository, config)},
        "layers": [{"mediaType": CHART_LAYER, **upload(user, repository, layer)}],
        "annotations": {"number": str(number)},
    }
    url = f"{user.berth.url}/v2/{user.project}/{repository}/manifests/v{number}"
    put(user, url, json.dumps(document).encode(), 201, OCI)


def read(user: User, path: str) -> None:
    """Ask the API for something anonymously, as anybody may of a public project."""
    answer = requests.get(f"{user.berth.url}/api/v2.0/projects/{user.project}{path}", timeout=60)
    assert answer.status_code < 500, answer.text[:300]


def archives(user: User, number: int) -> None:
    name = list(ARCHIVES)[number % len(ARCHIVES)]
    repository = f"archive{number % len(ARCHIVES)}"
    push(user, repository, b"{}", _bomb(ARCHIVES[name]))
    for addition in ("values.yaml", "readme.md", "dependencies"):
        read(user, f"/repositories/{repository}/artifacts/v0/additions/{addition}")


def configs(user: User, number: int) -> None:
    name = list(CONFIGS)[number % len(CONFIGS)]
    push(user, "configs", _bomb(CONFIGS[name]), b"layer", number % len(CONFIGS))
    read(user, "/repositories/configs/artifacts?page_size=100&with_label=true&with_accessory=true")


_built: dict[int, bytes] = {}


def _bomb(build: Callable[[], bytes]) -> bytes:
    """Built once: it is the registry that is to be busy."""
    return _built.setdefault(id(build), build())


def large_manifests(user: User, number: int) -> None:
    """As many layers as fit four megabytes, and as many as are allowed; none of them is there."""
    refused(user, "large", (_manifest(30_000), _manifest(2_000))[number % 2])


@cache
def _manifest(layers: int) -> bytes:
    digests = (f"sha256:{hashlib.sha256(str(number).encode()).hexdigest()}" for number in range(layers))
    entries = [{"mediaType": "a/b", "digest": digest, "size": 1} for digest in digests]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI, "config": entries[0], "layers": entries[1:]}).encode()


def deep_manifests(user: User, number: int) -> None:
    refused(user, "deep", b'{"a":' * 400_000 + str(number).encode() + b"}" * 400_000)


def refused(user: User, repository: str, manifest: bytes) -> None:
    url = f"{user.berth.url}/v2/{user.project}/{repository}/manifests/v1"
    answer = user.session.put(url, manifest, headers={"Content-Type": OCI}, timeout=60)
    assert 400 <= answer.status_code < 500


def names(user: User, number: int) -> None:
    """A flood of odd names, in every place that takes one."""
    text = ODD_TEXTS[number % len(ODD_TEXTS)]
    quoted = requests.utils.quote(text, safe="")
    for path in (
        f"/{quoted}",
        f"/{user.project}/repositories/{quoted}",
        f"/{user.project}/members?entityname={quoted}",
    ):
        answer = user.api("GET", f"/projects{path}")
        assert answer.status_code < 500, (path[:50], answer.text[:200])
    url = f"{user.berth.url}/v2/{user.project}/{quoted}/manifests/{quoted}"
    assert user.session.get(url, timeout=60).status_code < 500


def logins(user: User, number: int) -> None:
    """A burst of wrong passwords for names of others."""

    def guess(attempt: int) -> int:
        basic = base64.b64encode(f"victim{attempt % 5}:wrong{attempt}".encode()).decode()
        answer = requests.get(f"{user.berth.url}/v2/", headers={"Authorization": f"Basic {basic}"}, timeout=60)
        return answer.status_code

    with ThreadPoolExecutor(30) as pool:
        assert set(pool.map(guess, range(number, number + 30))) <= {401, 429, 503}


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack for attack in (archives, configs, large_manifests, deep_manifests, names, logins)
}


@contextmanager
def attacking(attack: Attack, user: User, threads: int = 2) -> Iterator[list[BaseException]]:
    """Attack again and again, from a few threads, until the context ends; what went wrong for the attacker."""
    done, faults, lock = threading.Event(), [], threading.Lock()
    numbers = iter(range(1_000_000))

    def run() -> None:
        while not done.is_set():
            with lock:
                number = next(numbers)
            try:
                attack(user, number)
            except BaseException as error:
                faults.append(error)
                return

    attackers = [threading.Thread(target=run) for _ in range(threads)]
    for thread in attackers:
        thread.start()
    try:
        yield faults
    finally:
        done.set()
        for thread in attackers:
            thread.join()


def require_served(honest: User, usual: float) -> None:
    """Nothing of the honest client's takes more than twice its usual time plus a second.

    Three series are tried: what an attack causes comes again in each, what else the machine did for a moment does not.
    """
    series = []
    for _ in range(3):
        series.append([honest.work() for _ in range(ROUNDS)])
        if max(series[-1]) <= 2 * usual + 1:
            return
    pytest.fail(f"{usual:.2f} s alone; beside the attack {series}")


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack(berth: Instance, honest: User, hostile: User, usual: float, name: str) -> None:
    with attacking(ATTACKS[name], hostile) as faults:
        require_served(honest, usual)
    assert not faults


@pytest.mark.parametrize("every_seconds", [1.0, 15.0])
def test_slow_uploads(berth: Instance, honest: User, hostile: User, usual: float, every_seconds: float) -> None:
    locations = [_path(start(hostile, f"slow{number % 10}")) for number in range(200)]
    with slow_uploads(hostile.port, locations, every_seconds=every_seconds):
        require_served(honest, usual)


def test_many_requests_for_one_upload(berth: Instance, honest: User, hostile: User, usual: float) -> None:
    with slow_uploads(hostile.port, [_path(start(hostile, "one"))] * 64):
        require_served(honest, usual)


def test_uploads_that_hold_memory(berth: Instance, honest: User, hostile: User, usual: float) -> None:
    locations = [_path(start(hostile, f"held{number % 10}")) for number in range(60)]
    with slow_uploads(hostile.port, locations, first=os.urandom(4 * MIB)):
        require_served(honest, usual)


def test_memory_is_flat(berth: Instance, honest: User, hostile: User, usual: float) -> None:
    """After each attack has been seen, seeing it again takes no more."""

    def attack_with_all() -> None:
        for attack in ATTACKS.values():
            for number in range(len(ARCHIVES)):
                attack(hostile, number)

    attack_with_all()
    before = memory(berth)
    attack_with_all()
    after = memory(berth)
    assert {name: after[name] - before[name] < 64 * MIB for name in before} == dict.fromkeys(before, True), (
        before,
        after,
    )


def _path(location: str) -> str:
    url = urlsplit(location)
    return f"{url.path}?{url.query}"
