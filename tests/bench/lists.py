"""What the first pages of lists cost as there is more to list: 10, 1,000 and 100,000 of everything.

`rows` starts a local cloud for this alone, and this module in a process of its own that fills the tables (with
copies of what clients have made) and sends each request to the functions. Calls and the items that they return are
what a real table bills and takes time for. The emulator walks a whole partition for each Query, so its part of the time
is measured apart: Berth's own time is what a request takes less what it waits for the answers of its calls.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.bench.servers import PROJECT
from tests.bench.table import Row

if TYPE_CHECKING:
    from pynamodb.transactions import TransactWrite

    from chalicelib.http import Response

_Raw = dict[str, Any]
"""An item as DynamoDB writes it in JSON."""

_AT_MOST = 1.5
_REQUESTS = 15
_BATCH = 25
_WRITERS = 4
_PREFIX = "many"
_RESULT = "costs.json"
_TIME = 1_700_000_000_000
_NOWHERE = "search, no match"
_READ_NAMES = (_NOWHERE, "search", "users by a part of the name")
"""What looks for a part of a name reads names until it has found enough: these grow, to a limit of calls, and are shown
without a target (docs/decisions/listing.md).
"""
_AUDIT_LOG = "audit log"
"""Its page is put together from the pages of eight partitions, which ten entries do not fill: a thousand do."""


@dataclass(frozen=True)
class Cost:
    """Of one request, as medians: calls of AWS, the items they returned, and milliseconds."""

    calls: int
    items: int
    total: float
    own: float
    """Of `total`, what was not spent waiting for the emulator."""


def rows(folder: Path, sizes: Sequence[int]) -> Iterator[Row]:
    """Needs an empty folder."""
    command = [sys.executable, "-m", "tests.bench.lists", str(folder), *map(str, sizes)]
    # What the functions log goes to standard output: a line of metrics for each request.
    if subprocess.run(command, cwd=PROJECT, stdout=subprocess.DEVNULL, check=False).returncode:
        raise SystemExit("bench: the lists could not be measured: see above")
    text = (folder / _RESULT).read_text()
    found = {
        int(size): {name: Cost(**cost) for name, cost in costs.items()} for size, costs in json.loads(text).items()
    }
    for name in found[sizes[0]]:
        yield from _rows_of(name, {size: costs[name] for size, costs in found.items()})


def _rows_of(name: str, costs: Mapping[int, Cost]) -> Iterator[Row]:
    """The largest by the smallest: calls, items and Berth's own time are bound, the emulator's time is shown."""
    first, last = costs[sorted(costs)[name == _AUDIT_LOG]], costs[max(costs)]
    between = " ".join(f"{size}:{{}}" for size in sorted(costs))
    bound = None if name in _READ_NAMES else _AT_MOST

    def row(what: str, unit: str, of: Callable[[Cost], float], at_most: float | None) -> Row:
        detail = between.format(*(f"{of(costs[size]):.3g}" for size in sorted(costs)))
        return Row(f"{name}: {what}", unit, of(last), of(first), at_most=at_most, berth_more=f"({detail})")

    yield row("AWS calls", "calls", lambda cost: cost.calls, bound)
    yield row("items read", "items", lambda cost: cost.items, bound)
    yield row("own p50", "ms", lambda cost: cost.own, bound)
    yield row("p50 with the emulator", "ms", lambda cost: cost.total, None)


def main(folder: Path, sizes: Sequence[int]) -> None:
    result = {}
    with _cloud(folder):
        from tests.access.support import be_administrator

        be_administrator()
        start = 0
        for size in sizes:
            began = time.monotonic()
            _fill(range(start, size))
            start = size
            print(f"bench: {size} of everything after {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
            result[size] = {name: vars(_measure(send)) for name, send in _requests().items()}
    (folder / _RESULT).write_text(json.dumps(result))


@contextlib.contextmanager
def _cloud(folder: Path) -> Iterator[None]:
    """A cloud with the stack deployed, and the functions' environment."""
    import boto3

    from infra.deploy import deploy_local
    from infra.package import build_template_only
    from infra.parameters import environment
    from tests import conftest  # sets the environment of the functions, which the benchmark's own must not have

    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.bench.plain_cloud", str(folder), str(conftest.PORT)]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE) as child:
        try:
            conftest.wait_until_up(f"{conftest.URL}/_ministack/health", child)
            client = boto3.client("cloudformation", endpoint_url=conftest.URL)
            os.environ.update(environment(deploy_local(client, build_template_only().read_text()), {}))
            yield
        finally:
            child.terminate()


def _requests() -> dict[str, Callable[[], Response]]:
    from chalicelib.http import Request
    from chalicelib.v2 import routes
    from tests.access.support import BASIC, ORIGIN, bearer, token_for
    from tests.api.support import call

    repository = f"{_PREFIX}/r0000000"
    token = bearer(token_for(BASIC, f"repository:{repository}:pull"))

    def protocol(path: str, headers: dict[str, str]) -> Callable[[], Response]:
        return lambda: routes.handle(Request("GET", f"/v2/{path}", {"n": "10"}, headers, b"", ORIGIN))

    def api(url: str) -> Callable[[], Response]:
        return lambda: call("GET", url)

    artifacts = f"/projects/{_PREFIX}/repositories/r0000000/artifacts"
    return {
        "projects": api("/projects"),
        "repositories of a project": api(f"/projects/{_PREFIX}/repositories"),
        "repositories of all projects": api("/repositories"),
        "catalog": protocol("_catalog", BASIC),
        "artifacts of a repository": api(artifacts),
        "tags of an artifact": api(f"{artifacts}/v0000000/tags"),
        "tags of a repository": protocol(f"{repository}/tags/list", token),
        "search": api(f"/search?q={_PREFIX}/r000000"),
        _NOWHERE: api("/search?q=nothing-of-this-name"),
        "statistics": api("/statistics"),
        "users": api("/users"),
        "users by a part of the name": api("/users/search?username=user-000000"),
        "audit log": api("/audit-logs"),
    }


def _measure(send: Callable[[], Response]) -> Cost:
    for _ in range(2):
        response = send()
        if response.status != 200:
            sys.exit(f"bench: a list answers {response.status}: {response.body.decode()[:500]}")
    measured = [_once(send) for _ in range(_REQUESTS)]
    return Cost(
        max(each.calls for each in measured),
        max(each.items for each in measured),
        statistics.median(each.total for each in measured),
        statistics.median(each.own for each in measured),
    )


def _once(send: Callable[[], Response]) -> Cost:
    with _observed() as answers:
        started = time.perf_counter()
        send()
        ended = time.perf_counter()
    waited = _union((start, end) for start, end, _ in answers)
    total = ended - started
    return Cost(len(answers), sum(items for *_, items in answers), 1e3 * total, 1e3 * (total - waited))


@contextlib.contextmanager
def _observed() -> Iterator[list[tuple[float, float, int]]]:
    """Of each call that is made meanwhile: when it began and ended, and how many items it returned."""
    from chalicelib.storage import aws_json

    answers: list[tuple[float, float, int]] = []
    original = aws_json._send

    def send(service: aws_json.Service, operation: str, body: bytes) -> tuple[int, bytes]:
        started = time.perf_counter()
        status, answer = original(service, operation, body)
        ended = time.perf_counter()
        found = json.loads(answer)
        items = len(found.get("Items", ())) + ("Item" in found)
        answers.append((started, ended, items + sum(map(len, found.get("Responses", {}).values()))))
        return status, answer

    aws_json._send = send
    try:
        yield answers
    finally:
        aws_json._send = original


def _union(spans: Iterable[tuple[float, float]]) -> float:
    """How long at least one of the spans lasted: calls are made side by side."""
    covered, until = 0.0, 0.0
    for start, end in sorted(spans):
        covered += max(0.0, end - max(start, until))
        until = max(until, end)
    return covered


def _fill(indexes: range) -> None:
    """Add projects, users, log entries, repositories of one project, and artifacts with a tag each of one of these.

    The first of each is made as clients make it; the others are copies of its items, with names of their own.
    """
    if not indexes.start:
        _make_first()
        indexes = range(1, indexes.stop)
    copies = _copies()
    spans = [range(first, min(first + _BATCH, indexes.stop)) for first in range(indexes.start, indexes.stop, _BATCH)]

    def write(span: range) -> None:
        for table, copy in copies:
            _write_batch(table, [copy(index) for index in span])

    with ThreadPoolExecutor(_WRITERS) as pool:
        for _ in pool.map(write, spans):
            pass
    _count(len(indexes))


def _make_first() -> None:
    from chalicelib.access import users
    from chalicelib.projects import rules
    from tests.registry.images import push_image

    rules.create(_PREFIX, "admin", public=False)
    push_image(f"{_PREFIX}/r0000000", "v0000000")
    users.create("user-0000000", "Passw0rd-of-a-benchmark", "user-0000000@example.com", "User", "")


def _copies() -> list[tuple[str, Callable[[int], _Raw]]]:
    """The tables, and for each kind of item what makes its copy with a number."""
    from chalicelib.events import store as audit
    from chalicelib.settings import settings

    projects, repositories = settings().projects_table, settings().repositories_table
    accounts, events = settings().accounts_table, settings().events_table
    first = f"{_PREFIX}/r0000000"

    def copied(item: _Raw, sk: str, **others: str | int) -> _Raw:
        kinds = {name: "N" if isinstance(value, int) else "S" for name, value in others.items()}
        return {**item, "sk": {"S": sk}, **{name: {kinds[name]: str(value)} for name, value in others.items()}}

    def entry_key(index: int) -> str:
        return audit.sort_key(_TIME + index, _digest(index)[-32:])

    project, listed = _read(projects, "project", _PREFIX), _read(projects, "listed|private", _PREFIX)
    catalog, name = _read(repositories, f"catalog|{_PREFIX}", first), _read(repositories, "names", first)
    artifact, tag, tagged = (_read(repositories, first, prefix) for prefix in ("artifact|", "tag|", "tagged|"))
    user, user_name = _read(accounts, "user", ""), _read(accounts, "user-name", "")
    entry = _read(events, audit.project_partition(int(project["project_id"]["N"])), "")
    return [
        (projects, lambda index: copied(project, f"other{index:07d}", project_id=10**6 + index, repositories=0)),
        (projects, lambda index: copied(listed, f"other{index:07d}")),
        (repositories, lambda index: copied(catalog, f"{_PREFIX}/r{index:07d}")),
        (repositories, lambda index: copied(name, f"{_PREFIX}/r{index:07d}")),
        (repositories, lambda index: copied(artifact, f"artifact|{_TIME + index:015d}|{_digest(index)}")),
        (repositories, lambda index: copied(tag, f"tag|v{index:07d}", digest=_digest(index))),
        (repositories, lambda index: copied(tagged, f"tagged|{_digest(index)}|v{index:07d}", digest=_digest(index))),
        (accounts, lambda index: copied(user, f"{10**6 + index:010d}", username=f"user-{index:07d}")),
        (accounts, lambda index: copied(user_name, f"user-{index:07d}", number=10**6 + index)),
        (events, lambda index: copied(entry, entry_key(index), pk=f"log|{index % audit.SHARDS}")),
    ]


def _read(table: str, pk: str, prefix: str) -> _Raw:
    """The first item of a partition whose sort key starts so, as DynamoDB writes it."""
    from chalicelib.storage import aws_json

    request = {
        "TableName": table,
        "KeyConditionExpression": "pk = :pk AND begins_with(sk, :prefix)" if prefix else "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": pk}, **({":prefix": {"S": prefix}} if prefix else {})},
        "Limit": 1,
    }
    [item] = aws_json.call(aws_json.DYNAMODB, "Query", request)["Items"]
    return dict(item)


def _write_batch(table: str, items: Sequence[_Raw]) -> None:
    from chalicelib.storage import aws_json

    pending: Any = {table: [{"PutRequest": {"Item": item}} for item in items]}
    while pending:
        pending = aws_json.call(aws_json.DYNAMODB, "BatchWriteItem", {"RequestItems": pending}).get("UnprocessedItems")


def _count(added: int) -> None:
    """Add so many to the sums that are kept of what `_fill` copies."""
    from chalicelib.access.store import user_counts
    from chalicelib.projects.store import directory
    from chalicelib.registry.store.repositories import catalog_key
    from chalicelib.storage.tables.projects import ProjectItem
    from chalicelib.storage.tables.repositories import CatalogItem
    from chalicelib.storage.transactions import transact

    def write(transaction: TransactWrite) -> None:
        directory.count(transaction, _PREFIX, public=False, projects=added, repositories=added)
        key = catalog_key(f"{_PREFIX}/r0000000")
        transaction.update(CatalogItem(key.pk, key.sk), actions=[CatalogItem.manifests.add(added)])
        user_counts.add(transaction, 0, added)
        transaction.update(ProjectItem("project", _PREFIX), actions=[ProjectItem.repositories.add(added)])

    if not transact(write):
        sys.exit("bench: the sums could not be written")


def _digest(index: int) -> str:
    return f"sha256:{hashlib.sha256(str(index).encode()).hexdigest()}"


if __name__ == "__main__":
    main(Path(sys.argv[1]), [int(size) for size in sys.argv[2:]])
