"""Upstream registries as Harbor's API has them, against real registries on this machine."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chalicelib import outbound
from chalicelib.settings import settings
from chalicelib.storage import secrets
from chalicelib.storage.aws_json import SECRETS_MANAGER
from chalicelib.storage.aws_json import call as call_aws
from chalicelib.upstreams import credentials, endpoints, health
from chalicelib.upstreams import store as registries
from tests.api.people import as_user, content, new_user
from tests.api.support import call, errors_of
from tests.upstreams.servers import faults
from tests.upstreams.servers.certificates import Certificate, make_certificate
from tests.upstreams.servers.scripted import Scripted, scripted
from tests.upstreams.servers.tokens import PASSWORD, USER, token_service

NOWHERE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def loopback(administrator: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    present = settings()
    outbound.pool.cache_clear()
    monkeypatch.setattr(outbound, "settings", lambda: replace(present, outbound_allowed=("127.0.0.0/8",)))
    yield
    outbound.pool.cache_clear()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"), "127.0.0.1")


@pytest.fixture
def peer() -> Iterator[Scripted]:
    """One that asks for a name and a password."""
    with scripted(basic=("who", "secret")) as running:
        yield running


def body(address: str, **more: Any) -> dict[str, Any]:
    credential = {"type": "basic", "access_key": "who", "access_secret": "secret"}
    named = {"name": f"upstream-{uuid.uuid4().hex[:12]}", "type": "docker-registry", "url": address}
    return {**named, "credential": credential, "insecure": False, **more}


@pytest.fixture
def create(peer: Scripted) -> Iterator[Callable[..., int]]:
    """Make a registry of `peer`; returns its number. What is left of them goes at the end."""
    made = []

    def make(**more: Any) -> int:
        answer = call("POST", "/registries", body(peer.url, **more))
        assert answer.status == 201, answer.body
        made.append(int(answer.headers["Location"].rpartition("/")[2]))
        return made[-1]

    yield make
    for number in made:
        assert call("DELETE", f"/registries/{number}").status in (200, 404, 412)


def show(number: int) -> dict[str, Any]:
    shown: dict[str, Any] = content(call("GET", f"/registries/{number}"))
    return shown


def secrets_of_registries() -> set[str]:
    return set(secrets.list_names(settings().endpoint_secrets, float("inf")))


def test_a_registry_is_made_shown_changed_and_deleted(peer: Scripted, create: Callable[..., int]) -> None:
    before = secrets_of_registries()
    number = create(name="Mirror of the team", description="ours")
    assert show(number) == {
        "id": number,
        "name": "Mirror of the team",
        "description": "ours",
        "type": "docker-registry",
        "url": peer.url,
        "insecure": False,
        "ca_certificate": "",
        "credential": {"type": "basic", "access_key": "who", "access_secret": "*****"},
        "status": "healthy",
        "creation_time": show(number)["creation_time"],
        "update_time": show(number)["update_time"],
    }
    change = {"name": "Mirror", "description": "", "access_secret": "*****"}
    assert call("PUT", f"/registries/{number}", change).status == 200
    assert (show(number)["name"], show(number)["description"]) == ("Mirror", "")
    assert credentials.of(endpoints.get(number)).password == "secret"
    assert len(secrets_of_registries() - before) == 1
    assert call("DELETE", f"/registries/{number}").status == 200
    assert call("GET", f"/registries/{number}").status == 404
    assert secrets_of_registries() == before, "a registry that is deleted leaves no secret"
    assert call("DELETE", f"/registries/{number}").status == 404
    create(name="Mirror")


def test_the_password_is_in_no_answer_and_in_no_table(create: Callable[..., int]) -> None:
    number = create()
    for answer in (call("GET", f"/registries/{number}"), call("GET", "/registries?page_size=100")):
        assert b'"secret"' not in answer.body
    assert "secret" not in json.dumps(registries.read(number).__dict__).replace('"secret"', "").replace("berth", "")


def test_lists_are_searched_sorted_and_paged(create: Callable[..., int]) -> None:
    part = uuid.uuid4().hex[:8]
    numbers = [create(name=f"{part}-{letter}") for letter in "bca"]
    listed = call("GET", f"/registries?name={part}&sort=name&page_size=2")
    assert [each["name"] for each in content(listed)] == [f"{part}-a", f"{part}-b"]
    assert listed.headers["X-Total-Count"] == "3"
    assert 'rel="next"' in listed.headers["Link"]
    found = content(call("GET", f"/registries?q=name%3D~{part}"))
    assert [each["id"] for each in found] == numbers
    assert content(call("GET", f"/registries?q=name%3D{part}-c"))[0]["id"] == numbers[1]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 65},
        {"name": "a\nb"},
        {"name": 7},
        {"name": None},
        {"type": "no-such-type"},
        {"type": ["docker-registry"]},
        {"type": None},
        {"url": ""},
        {"url": "registry.example.com"},
        {"url": "ftp://registry.example.com"},
        {"url": "https://who:secret@registry.example.com"},
        {"url": "https://registry.example.com?x=1"},
        {"url": "https://registry.example.com:99999"},
        {"url": "https://[::1"},
        {"url": "https://re gistry"},
        {"url": f"https://{'x' * 3000}"},
        {"url": 7},
        {"insecure": "true"},
        {"description": "x" * 1025},
        {"ca_certificate": "no certificate"},
        {"credential": "who"},
        {"credential": {"type": "oauth"}},
        {"credential": {"access_key": 7}},
        {"credential": {"access_key": "a:b", "access_secret": "c"}},
        {"credential": {"access_key": "who", "access_secret": "x" * 40_000}},
        {"credential": {"access_key": "who", "access_secret": "wrong"}},
        {"credential": {}},
        {"url": NOWHERE},
    ],
)
def test_what_is_wrong_is_refused(peer: Scripted, wrong: dict[str, Any]) -> None:
    if wrong == {"credential": {}}:
        peer.script("*", faults.refuse(500), always=True)
    before = secrets_of_registries()
    answer = call("POST", "/registries", body(peer.url, **wrong))
    assert (answer.status, errors_of(answer)) == (400, ["BAD_REQUEST"])
    assert b"secret@" not in answer.body
    assert secrets_of_registries() == before


@pytest.mark.parametrize(
    "host",
    [
        "169.254.169.254",
        "[fd00:ec2::254]",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.16689662",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::a9fe:a9fe]",
        "[fe80::1]",
        "10.0.0.1",
        "[::1]",
    ],
)
def test_addresses_that_must_not_be_called_are_refused(peer: Scripted, create: Callable[..., int], host: str) -> None:
    number = create()
    for method, path, sent in (
        ("POST", "/registries", body(f"http://{host}")),
        ("PUT", f"/registries/{number}", {"url": f"http://{host}"}),
        ("POST", "/registries/ping", {"id": number, "url": f"http://{host}"}),
    ):
        answer = call(method, path, sent)
        assert (answer.status, errors_of(answer)) == (400, ["BAD_REQUEST"])
        assert b"private address" in answer.body
    assert show(number)["url"] == peer.url


def test_a_name_that_resolves_to_the_metadata_is_refused_even_if_it_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def resolve(host: str, port: Any, *_: Any, **__: Any) -> list[Any]:
        asked.append(host)
        return [(2, 1, 6, "", ("169.254.169.254", port or 0))]

    allowed = replace(settings(), outbound_allowed=("metadata.example.com", "127.0.0.0/8"))
    monkeypatch.setattr(outbound, "settings", lambda: allowed)
    monkeypatch.setattr("chalicelib.outbound.socket.getaddrinfo", resolve)
    answer = call("POST", "/registries/ping", {"type": "harbor", "url": "https://metadata.example.com"})
    assert (answer.status, errors_of(answer)) == (400, ["BAD_REQUEST"])
    assert asked == ["metadata.example.com"]


def test_a_name_is_given_once(create: Callable[..., int], peer: Scripted) -> None:
    number = create()
    other = create()
    before = secrets_of_registries()
    answer = call("POST", "/registries", body(peer.url, name=show(number)["name"]))
    assert (answer.status, errors_of(answer)) == (409, ["CONFLICT"])
    answer = call("PUT", f"/registries/{other}", {"name": show(number)["name"]})
    assert (answer.status, errors_of(answer)) == (409, ["CONFLICT"])
    assert secrets_of_registries() == before


def test_of_many_who_make_the_same_name_at_once_one_does(peer: Scripted) -> None:
    before = secrets_of_registries()
    sent = body(peer.url)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: call("POST", "/registries", sent), range(8)))
    assert sorted(answer.status for answer in answers) == [201] + [409] * 7
    assert len(secrets_of_registries() - before) == 1
    [location] = [answer.headers["Location"] for answer in answers if answer.status == 201]
    assert call("DELETE", location.removeprefix("/api/v2.0")).status == 200
    assert secrets_of_registries() == before


def test_updates_at_once_leave_a_record_whose_password_is_its_own(peer: Scripted, create: Callable[..., int]) -> None:
    before = secrets_of_registries()
    number = create()
    with ThreadPoolExecutor(8) as pool:
        sent = [{"description": f"d{each}", "access_secret": "secret"} for each in range(8)]
        answers = list(pool.map(lambda each: call("PUT", f"/registries/{number}", each), sent))
    assert {answer.status for answer in answers} <= {200, 503}
    assert any(answer.status == 200 for answer in answers)
    assert credentials.of(endpoints.get(number)).password == "secret"
    assert secrets_of_registries() - before == {endpoints.get(number).secret}


def test_an_update_takes_only_what_it_names(peer: Scripted, create: Callable[..., int]) -> None:
    number = create(description="ours")
    for nothing in ({}, {"access_secret": ""}, {"access_secret": None, "name": None}, {"access_secret": "*****"}):
        assert call("PUT", f"/registries/{number}", nothing).status == 200
        assert (show(number)["description"], credentials.of(endpoints.get(number)).password) == ("ours", "secret")
    peer.basic = ("who", "other")
    assert call("PUT", f"/registries/{number}", {}).status == 400, "as in Harbor it must answer"
    assert call("PUT", f"/registries/{number}", {"access_secret": "other"}).status == 200
    assert credentials.of(endpoints.get(number)).password == "other"
    peer.basic = None
    assert call("PUT", f"/registries/{number}", {"access_key": ""}).status == 200
    assert show(number)["credential"] == {}
    assert endpoints.get(number).secret == ""
    for wrong in ({"name": 7}, {"insecure": "yes"}, {"url": None, "access_key": []}, {"credential_type": "oauth"}):
        assert call("PUT", f"/registries/{number}", wrong).status == 400


def test_a_password_does_not_follow_to_another_address(create: Callable[..., int]) -> None:
    number = create()
    with scripted(basic=("who", "secret")) as thief:
        answer = call("PUT", f"/registries/{number}", {"url": thief.url})
        assert (answer.status, errors_of(answer)) == (400, ["BAD_REQUEST"])
        assert call("POST", "/registries/ping", {"id": number, "url": thief.url}).status == 400
        sent = [asked.headers.get("authorization", "") for asked in thief.asked()]
        assert sent
        assert not any(credentials.Credential("who", "secret").basic == each for each in sent)
        assert call("PUT", f"/registries/{number}", {"url": thief.url, "access_secret": "secret"}).status == 200


def test_a_ping_is_of_a_record_or_of_what_is_sent(peer: Scripted, create: Callable[..., int]) -> None:
    number = create()
    known = {"type": "docker-registry", "url": peer.url, "access_key": "who", "access_secret": "secret"}
    for fine in ({"id": number}, {"id": number, "access_secret": "*****"}, known):
        assert call("POST", "/registries/ping", fine).status == 200
    wrong = ({"id": number, "access_secret": "no"}, {**known, "access_key": "me"}, {**known, "url": NOWHERE}, {})
    for unhealthy in (*wrong, {"type": "harbor"}, {"url": peer.url}, {"id": "1"}, {**known, "insecure": 1}):
        answer = call("POST", "/registries/ping", unhealthy)
        assert (answer.status, errors_of(answer)) == (400, ["BAD_REQUEST"]), unhealthy
    assert call("POST", "/registries/ping", {"id": 999999999}).status == 404


def test_tls_is_checked_unless_it_is_switched_off(certificate: Certificate) -> None:
    with scripted(tls=certificate) as peer:
        answer = call("POST", "/registries", body(peer.url))
        assert (answer.status, errors_of(answer)) == (400, ["BAD_REQUEST"])
        for how in ({"insecure": True}, {"ca_certificate": certificate.file.read_text()}):
            made = call("POST", "/registries", body(peer.url, **how))
            assert made.status == 201
            path = made.headers["Location"].removeprefix("/api/v2.0")
            assert call("PUT", path, {"insecure": False, "ca_certificate": ""}).status == 400
            assert call("PUT", path, {"description": "still"}).status == 200
            assert call("DELETE", path).status == 200


def test_a_token_service_checks_the_credentials(tmp_path: Path, certificate: Certificate) -> None:
    with token_service(certificate, anonymous=False) as tokens, scripted(tokens=tokens) as peer:
        ping = {"type": "docker-registry", "url": peer.url, "access_key": USER, "access_secret": PASSWORD}
        assert call("POST", "/registries/ping", ping).status == 200
        answer = call("POST", "/registries/ping", {**ping, "access_secret": "wrong"})
        assert (answer.status, errors_of(answer)) == (400, ["BAD_REQUEST"])
        assert "the registry is unhealthy" in json.loads(answer.body)["errors"][0]["message"]


def test_who_is_no_administrator_sees_nothing(create: Callable[..., int]) -> None:
    number = create()
    name, _ = new_user()
    for method, path in (
        ("GET", "/registries"),
        ("POST", "/registries"),
        ("POST", "/registries/ping"),
        ("GET", f"/registries/{number}"),
        ("PUT", f"/registries/{number}"),
        ("DELETE", f"/registries/{number}"),
        ("GET", f"/registries/{number}/info"),
        ("GET", "/replication/adapters"),
        ("GET", "/replication/adapterinfos"),
    ):
        sent = {} if method in ("POST", "PUT") else None
        assert as_user(name, method, path, sent).status == 403
        assert call(method, path, sent, admin=False).status == 401
    assert show(number)["id"] == number


def test_what_kinds_of_registries_there_are(create: Callable[..., int]) -> None:
    kinds = content(call("GET", "/replication/adapters"))
    assert {"docker-hub", "harbor", "github-ghcr", "quay", "aws-ecr", "google-gcr", "azure-acr", "gitlab"} <= set(kinds)
    infos = content(call("GET", "/replication/adapterinfos"))
    assert set(infos) <= set(kinds)
    assert infos["docker-hub"]["endpoint_pattern"] == {
        "endpoint_type": "EndpointPatternTypeFix",
        "endpoints": [{"key": "hub.docker.com", "value": "https://hub.docker.com"}],
    }
    assert infos["google-gcr"]["credential_pattern"]["access_key_data"] == "_json_key"
    info = content(call("GET", f"/registries/{create()}/info"))
    assert (info["type"], info["supported_triggers"]) == ("docker-registry", ["manual", "scheduled"])
    assert call("GET", "/registries/999999999/info").status == 404


def test_the_regular_check_writes_down_who_answers(peer: Scripted, create: Callable[..., int]) -> None:
    number = create()
    version = endpoints.get(number).version
    peer.stop()
    outbound.pool.cache_clear()
    health.run()
    assert show(number)["status"] == "unhealthy"
    peer.start()
    health.run()
    assert show(number)["status"] == "healthy"
    peer.basic = ("who", "changed")
    health.run()
    assert show(number)["status"] == "unhealthy"
    assert endpoints.get(number).version == version


def test_a_check_of_a_record_that_changed_meanwhile_says_nothing_of_the_new_one(
    peer: Scripted, create: Callable[..., int]
) -> None:
    number = create()
    seen = endpoints.get(number)
    assert call("PUT", f"/registries/{number}", {"description": "new"}).status == 200
    peer.script("*", faults.refuse(500), always=True)
    endpoints.check_health(seen)
    assert show(number)["status"] == "healthy"
    assert call("DELETE", f"/registries/{number}").status == 200
    endpoints.check_health(seen)
    assert registries.read(number) is None, "a check makes no record of what is deleted"


def _age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_UNNAMED_SECONDS", -10)


@pytest.mark.parametrize("operation", ["create", "replace"])
def test_whoever_is_killed_between_secret_and_record_leaves_a_secret_that_is_found(
    create: Callable[..., int], peer: Scripted, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    number = create()
    before = secrets_of_registries()

    class KilledError(BaseException):
        pass

    def die(*_: object) -> bool:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(registries, operation, die)
        create_or_update = {
            "create": lambda: call("POST", "/registries", body(peer.url)),
            "replace": lambda: call("PUT", f"/registries/{number}", {"access_secret": "secret"}),
        }
        with pytest.raises(KilledError):
            create_or_update[operation]()
    assert len(secrets_of_registries() - before) == 1
    assert credentials.sweep() == 0, "it may be another's who is still at it"
    _age(monkeypatch)
    assert credentials.sweep() == 1
    assert secrets_of_registries() == before
    credentials._passwords.clear()
    assert credentials.of(endpoints.get(number)).password == "secret"


@pytest.mark.parametrize("operation", ["update", "delete"])
def test_whoever_is_killed_between_record_and_old_secret_leaves_it_to_the_sweep(
    create: Callable[..., int], monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    number = create()
    before = secrets_of_registries()

    class KilledError(BaseException):
        pass

    def die(_: str) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(secrets, "delete", die)
        method, sent = ("PUT", {"access_secret": "secret"}) if operation == "update" else ("DELETE", None)
        with pytest.raises(KilledError):
            call(method, f"/registries/{number}", sent)
    _age(monkeypatch)
    assert credentials.sweep() == 1
    assert len(secrets_of_registries()) == len(before) - (operation == "delete")


def test_a_reader_of_the_record_before_finds_the_new_password(create: Callable[..., int], peer: Scripted) -> None:
    number = create()
    seen = endpoints.get(number)
    peer.basic = ("who", "new")
    assert call("PUT", f"/registries/{number}", {"access_secret": "new"}).status == 200
    credentials._passwords.clear()
    assert credentials.of(seen).password == "new"
    peer.basic = ("you", "newer")
    assert call("PUT", f"/registries/{number}", {"access_key": "you", "access_secret": "newer"}).status == 200
    credentials._passwords.clear()
    assert credentials.of(seen).password == "", "another's password is not told"


def test_a_busy_secrets_manager_leaves_nothing_half_done(
    create: Callable[..., int], peer: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chalicelib.oci.errors import Unavailable

    number = create()
    before, seen = secrets_of_registries(), endpoints.get(number)

    def busy(*_: object) -> None:
        raise Unavailable("secretsmanager does not answer")

    with monkeypatch.context() as patched:
        patched.setattr(secrets, "create", busy)
        assert call("POST", "/registries", body(peer.url)).status == 503
        assert call("PUT", f"/registries/{number}", {"access_secret": "secret"}).status == 503
    assert (secrets_of_registries(), endpoints.get(number)) == (before, seen)


def test_a_secret_whose_making_is_tried_again_is_made_once(create: Callable[..., int]) -> None:
    """AWS may have made it although its answer was lost."""
    secret = endpoints.get(create()).secret
    secrets.create(secret, "secret", "again")
    assert secrets.read(secret) == "secret"
    for _ in range(2):
        secrets.delete(secret)
    assert secrets.read(secret) is None


def test_a_project_keeps_its_registry_from_being_deleted(create: Callable[..., int]) -> None:
    number = create()
    name = f"proxy-{uuid.uuid4().hex[:12]}"
    made = call("POST", "/projects", {"project_name": name, "registry_id": number, "metadata": {"public": "true"}})
    assert made.status == 201
    assert content(call("GET", f"/projects/{name}"))["registry_id"] == number
    answer = call("DELETE", f"/registries/{number}")
    assert (answer.status, errors_of(answer)) == (412, ["PRECONDITION"])
    assert call("PUT", f"/projects/{name}", {"registry_id": number, "metadata": {}}).status == 200
    for other in (number + 1, 0):
        assert call("PUT", f"/projects/{name}", {"registry_id": other}).status == 400
    assert call("PUT", f"/registries/{number}", {"description": "changed"}).status == 200
    assert endpoints.get(number).projects == 1
    assert call("DELETE", f"/projects/{name}").status == 200
    assert endpoints.get(number).projects == 0
    assert call("DELETE", f"/registries/{number}").status == 200


def test_a_proxy_cache_begins_with_harbors_retention_and_shows_its_registry(create: Callable[..., int]) -> None:
    number = create()
    name = f"proxy-{uuid.uuid4().hex[:12]}"
    metadata = {"public": "true", "max_upstream_conn": "4", "proxy_speed_kb": "1000"}
    sent = {"project_name": name, "registry_id": number, "metadata": metadata}
    assert call("POST", "/projects", sent).status == 201
    shown = content(call("GET", f"/projects/{name}"))["metadata"]
    policy = content(call("GET", f"/retentions/{shown.pop('retention_id')}"))
    assert shown == metadata
    [rule] = policy["rules"]
    assert (rule["template"], rule["params"], rule["action"]) == (
        "nDaysSinceLastPull",
        {"nDaysSinceLastPull": 7},
        "retain",
    )
    assert policy["trigger"]["settings"]["cron"] == "0 0 0 * * *"
    assert [each["vendor_id"] for each in content(call("GET", "/schedules?page_size=100"))].count(policy["id"]) == 1
    summary = content(call("GET", f"/projects/{name}/summary"))
    assert summary["registry"]["id"] == number
    assert "credential" not in summary["registry"]
    anybody = content(call("GET", f"/projects/{name}/summary", admin=False))
    assert "credential" not in anybody["registry"]
    assert call("DELETE", f"/projects/{name}").status == 200
    assert call("GET", f"/retentions/{policy['id']}").status == 404


def test_only_administrators_make_proxy_caches(create: Callable[..., int]) -> None:
    number = create()
    name, _ = new_user()
    project = f"proxy-{uuid.uuid4().hex[:12]}"
    assert as_user(name, "POST", "/projects", {"project_name": project, "registry_id": number}).status == 403
    assert as_user(name, "POST", "/projects", {"project_name": project, "registry_id": 999999999}).status == 403
    assert endpoints.get(number).projects == 0
    assert as_user(name, "POST", "/projects", {"project_name": project, "registry_id": None}).status == 201
    assert "registry_id" not in content(call("GET", f"/projects/{project}"))


def test_a_registry_and_its_first_project_do_not_miss_each_other(create: Callable[..., int]) -> None:
    """Whatever comes first: there is no project of a registry that is gone."""
    for _ in range(4):
        number = create()
        name = f"proxy-{uuid.uuid4().hex[:12]}"
        with ThreadPoolExecutor(2) as pool:
            made = pool.submit(call, "POST", "/projects", {"project_name": name, "registry_id": number})
            gone = pool.submit(call, "DELETE", f"/registries/{number}")
        assert (made.result().status, gone.result().status) in {(201, 412), (400, 200), (201, 503)}
        if made.result().status == 201:
            assert endpoints.get(number).projects == 1
            assert call("DELETE", f"/projects/{name}").status == 200


def test_secrets_are_named_by_nothing_that_tells_of_them(create: Callable[..., int]) -> None:
    secret = endpoints.get(create(name="the secret mirror")).secret
    described = call_aws(SECRETS_MANAGER, "DescribeSecret", {"SecretId": secret})
    assert described["Name"] == secret
    assert secret.startswith("berth-registry-")
    assert "secret" not in secret
