"""Webhooks through Harbor's API. That they are told: tests/webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from chalicelib.access import members
from chalicelib.access.roles import Role
from chalicelib.jobs.records import Status
from chalicelib.projects import rules
from chalicelib.settings import settings
from chalicelib.storage.conditions import now
from chalicelib.webhooks.records import Delivery
from chalicelib.webhooks.store import deliveries as table
from chalicelib.webhooks.store import policies as policy_table
from tests.access.support import basic
from tests.api.people import as_user, content, new_user
from tests.api.support import call

pytestmark = pytest.mark.usefixtures("administrator")

ADDRESS = "https://203.0.113.9/hook"  # of documentation: private to outbound, so tests allow it


@pytest.fixture(autouse=True)
def allowed(monkeypatch: pytest.MonkeyPatch, cloud: dict[str, str]) -> Iterator[None]:
    monkeypatch.setenv("BERTH_OUTBOUND_ALLOWED", "203.0.113.0/24")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


def target(**more: Any) -> dict[str, Any]:
    return {"type": "http", "address": ADDRESS, "auth_header": "Bearer s3cret", "skip_cert_verify": False, **more}


def policy(*targets: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": "told",
        "description": "",
        "enabled": True,
        "event_types": ["PUSH_ARTIFACT", "DELETE_ARTIFACT"],
        "targets": list(targets) or [target()],
        **more,
    }


def add(project: str, document: dict[str, Any]) -> int:
    response = call("POST", f"/projects/{project}/webhook/policies", document)
    assert response.status == 201, response.body
    return int(response.headers["Location"].rpartition("/")[2])


def stored(project: str, number: int) -> Any:
    found = policy_table.read(rules.get(project).project_id, number)
    assert found is not None
    return found


def test_a_policy_is_made_changed_and_deleted(project: str) -> None:
    number = add(project, policy())
    where = f"/projects/{project}/webhook/policies/{number}"
    made = content(call("GET", where))
    assert (made["name"], made["creator"], made["enabled"]) == ("told", "admin", True)
    assert made["targets"] == [target(payload_format="Default")]
    assert content(call("GET", f"/projects/{project}/webhook/policies")) == [made]
    assert rules.get(project).webhook_events == ("DELETE_ARTIFACT", "PUSH_ARTIFACT")
    assert call("PUT", where, {**made, "enabled": False, "name": "silent"}).status == 200
    changed = content(call("GET", where))
    assert (changed["name"], changed["enabled"], changed["creation_time"]) == ("silent", False, made["creation_time"])
    assert rules.get(project).webhook_events == ()
    assert call("DELETE", where).status == 200
    assert call("DELETE", where).status == call("GET", where).status == call("PUT", where, policy()).status == 404
    logged = content(call("GET", f"/projects/{project}/logs?q=resource_type=webhook"))
    assert [(each["operation"], each["resource"]) for each in logged] == [
        ("delete", "silent"),
        ("update", "silent"),
        ("create", "told"),
    ]


def test_a_secret_is_shown_to_those_alone_who_may_write_the_policy(project: str) -> None:
    """Terraform compares what it wrote with what it reads; who only reads has no use for it."""
    number = add(project, policy())
    where = f"/projects/{project}/webhook/policies"
    assert content(call("GET", f"{where}/{number}"))["targets"][0]["auth_header"] == "Bearer s3cret"
    assert content(call("GET", where))[0]["targets"][0]["auth_header"] == "Bearer s3cret"
    for name, headers in readers_of(project).items():
        for url in (where, f"{where}/{number}"):
            found = content(call("GET", url, headers=headers, admin=False))
            [one] = found if isinstance(found, list) else [found]
            assert one["targets"][0]["auth_header"] == ("Bearer s3cret" if name == "writes" else "******")


def test_the_secret_of_a_policy_of_the_system_is_the_administrators(project: str) -> None:
    number = add(project, policy(event_types=["GARBAGE_COLLECTION"]))
    where = f"/projects/{project}/webhook/policies/{number}"
    assert content(call("GET", where))["targets"][0]["auth_header"] == "Bearer s3cret"
    for headers in readers_of(project).values():
        assert b"s3cret" not in call("GET", where, headers=headers, admin=False).body


def readers_of(project: str) -> dict[str, dict[str, str]]:
    """The credentials of two robots, one of which may change what it reads."""
    found = {}
    for name, actions in (("reads", ("read", "list")), ("writes", ("read", "list", "update"))):
        access = [{"resource": "notification-policy", "action": action} for action in actions]
        grant = {"kind": "project", "namespace": project, "access": access}
        body = {"name": name, "level": "project", "duration": 1, "permissions": [grant]}
        made = content(call("POST", "/robots", body), 201)
        found[name] = basic(made["name"], made["secret"])
    return found


def test_events_that_do_not_happen_yet_may_be_named(project: str) -> None:
    """Policies that Harbor made name them beside the others."""
    events = ["PUSH_ARTIFACT", "REPLICATION", "SCANNING_COMPLETED", "SCANNING_FAILED", "SCANNING_STOPPED"]
    number = add(project, policy(event_types=events))
    assert content(call("GET", f"/projects/{project}/webhook/policies/{number}"))["event_types"] == events
    offered = content(call("GET", f"/projects/{project}/webhook/events"))["event_type"]
    assert set(offered) & set(events) == {"PUSH_ARTIFACT"}


def test_a_hidden_secret_stays_and_goes_to_no_other_address(project: str) -> None:
    number = add(project, policy())
    where = f"/projects/{project}/webhook/policies/{number}"
    shown = content(call("GET", where))
    shown["targets"][0]["auth_header"] = "******"
    assert call("PUT", where, shown).status == 200
    assert stored(project, number).targets[0].auth_header == "Bearer s3cret"
    shown["targets"][0]["address"] = f"{ADDRESS}/of/another"
    assert call("PUT", where, shown).status == 200
    assert stored(project, number).targets[0].auth_header == ""
    assert "auth_header" not in content(call("GET", where))["targets"][0]
    assert "s3cret" not in repr(stored(project, add(project, policy(name="other"))))
    assert b"s3cret" not in call("GET", "/auditlog-exts?page_size=100").body


def test_two_policies_of_one_name_are_refused(project: str) -> None:
    add(project, policy())
    assert call("POST", f"/projects/{project}/webhook/policies", policy()).status == 409
    other = add(project, policy(name="other"))
    assert call("PUT", f"/projects/{project}/webhook/policies/{other}", policy()).status == 409


def test_the_policies_of_a_project_have_fifty_targets_together(project: str) -> None:
    """An event is as many requests: anyone's pull of a public image would be five hundred, to servers a user names."""
    for number in range(5):
        add(project, policy(name=f"p{number}", targets=[target()] * 10))
    where = f"/projects/{project}/webhook/policies"
    assert call("POST", where, policy(name="one more")).status == 400
    number = add_after_removing_one(where)
    assert call("PUT", f"{where}/{number}", policy(name="more", targets=[target()] * 10)).status == 200


def add_after_removing_one(where: str) -> int:
    first = content(call("GET", where))[0]["id"]
    assert call("DELETE", f"{where}/{first}").status == 200
    response = call("POST", where, policy(name="one more"))
    return int(response.headers["Location"].rpartition("/")[2])


@pytest.mark.parametrize(
    "document",
    [
        {},
        policy(name=""),
        policy(name="x" * 256),
        policy(name=7),
        policy(enabled="yes"),
        policy(event_types=[]),
        policy(event_types=["PUSH_CHART"]),
        policy(event_types="PUSH_ARTIFACT"),
        policy(targets=[]),
        policy(targets=["http"]),
        policy(targets=[target()] * 11),
        policy(target(type="mail")),
        policy(target(type="slack", payload_format="Default")),
        policy(target(payload_format="XML")),
        policy(target(auth_header="a\r\nHost: b")),
        policy(target(auth_header="ü")),
        policy(target(address="")),
        policy(target(address="ftp://203.0.113.9/")),
        policy(target(address="203.0.113.9")),
        policy(target(address="http://")),
        policy(target(address="http://[::1")),
        policy(target(address="http://203.0.113.9:99999/")),
        policy(target(address="http://user:word@203.0.113.9/")),
        policy(target(address="http://203.0.113.9/a b")),
        policy(target(address="http://203.0.113.9/\r\n")),
        policy(target(address="http://203.0.113.9/" + "x" * 2048)),
        policy(target(address="http://127.0.0.1/")),
        policy(target(address="http://localhost:8080/")),
        policy(target(address="http://10.1.2.3/")),
        policy(target(address="http://169.254.169.254/latest/meta-data/")),
        policy(target(address="http://[::ffff:169.254.169.254]/")),
        policy(target(address="http://[fd00:ec2::254]/")),
        policy(target(address="http://2130706433/")),
    ],
)
def test_what_is_no_policy_is_refused(project: str, document: dict[str, Any]) -> None:
    response = call("POST", f"/projects/{project}/webhook/policies", document)
    assert response.status == 400, response.body
    assert content(call("GET", f"/projects/{project}/webhook/policies")) == []


def test_what_can_be_told(project: str) -> None:
    found = content(call("GET", f"/projects/{project}/webhook/events"))
    assert {"PUSH_ARTIFACT", "PULL_ARTIFACT", "DELETE_ARTIFACT"} <= set(found["event_type"])
    assert found["notify_type"] == ["http", "slack"]
    assert found["payload_formats"] == [{"notify_type": "http", "formats": ["CloudEvents", "Default"]}]


def test_only_an_administrator_of_the_system_lets_a_project_hear_of_garbage_collections(project: str) -> None:
    name, number = new_user()
    members.add(rules.get(project), Role.PROJECT_ADMIN, number)
    where = f"/projects/{project}/webhook/policies"
    wanted = policy(event_types=["PUSH_ARTIFACT", "GARBAGE_COLLECTION"])
    assert as_user(name, "POST", where, wanted).status == 403
    assert content(call("GET", where)) == []
    assert as_user(name, "POST", where, policy(name="mine")).status == 201
    [mine] = content(call("GET", where))
    assert as_user(name, "PUT", f"{where}/{mine['id']}", {**wanted, "name": "mine"}).status == 403
    system = f"{where}/{add(project, wanted)}"
    elsewhere = [target(address="https://203.0.113.10/")]
    assert as_user(name, "PUT", system, {**wanted, "targets": elsewhere}).status == 403
    assert content(call("GET", system))["targets"][0]["address"] == ADDRESS
    assert as_user(name, "DELETE", system).status == 200
    told = content(as_user(name, "GET", f"/projects/{project}/webhook/events"))["event_type"]
    assert "GARBAGE_COLLECTION" not in told
    assert "GARBAGE_COLLECTION" in content(call("GET", f"/projects/{project}/webhook/events"))["event_type"]


def deliver(project: str, policy: int, status: Status, number: int) -> None:
    """A delivery as the functions leave it."""
    found = stored(project, policy)
    time = now()
    delivery = Delivery(
        found.project_id, policy, number, f"event {number}", "PUSH_ARTIFACT", found.targets[0], {}, '{"a": 1}',
        Status.PENDING, 0, time, time, (), "",
    )  # fmt: skip
    assert table.create(delivery)
    begun = table.claim(table.read(policy, number) or delivery, time + 60_000)
    assert begun is not None
    table.finish(begun, status, ["first line"])


def test_executions_tasks_logs_and_jobs(project: str) -> None:
    number = add(project, policy())
    for index, status in enumerate((Status.SUCCESS, Status.ERROR, Status.PENDING), 1):
        deliver(project, number, status, index)
    table.set_triggered(number, "PUSH_ARTIFACT", now())
    where = f"/projects/{project}/webhook"
    executions = f"{where}/policies/{number}/executions"
    response = call("GET", f"{executions}?page_size=2")
    assert [each["id"] for each in content(response)] == [3, 2]
    assert response.headers["X-Total-Count"] == "3"
    [failed] = content(call("GET", f"{executions}?q=status=Error"))
    assert (failed["vendor_type"], failed["vendor_id"], failed["metrics"]["error_task_count"]) == ("WEBHOOK", number, 1)
    [task] = content(call("GET", f"{executions}/2/tasks"))
    assert (task["execution_id"], task["run_count"], task["status"]) == (2, 1, "Error")
    log = call("GET", f"{executions}/2/tasks/2/log")
    assert (log.status, log.body) == (200, b"first line\n")
    for path in ("9/tasks", "2/tasks/3/log", "x/tasks"):
        assert call("GET", f"{executions}/{path}").status == 404
    jobs = content(call("GET", f"{where}/jobs?policy_id={number}&status=Error,Pending"))
    assert [(each["id"], each["status"], each["notify_type"]) for each in jobs] == [
        (3, "Pending", "http"),
        (2, "Error", "http"),
    ]
    assert call("GET", f"{where}/jobs").status == call("GET", f"{where}/jobs?policy_id={number}&status=x").status == 400
    times = {each["event_type"]: "last_trigger_time" in each for each in content(call("GET", f"{where}/lasttrigger"))}
    assert times == {"PUSH_ARTIFACT": True, "DELETE_ARTIFACT": False}


def test_a_policy_of_another_project_is_not_found(project: str, make_project: Any) -> None:
    number = add(project, policy())
    other = f"{project}-2"
    make_project(other)
    for path in ("", "/executions", "/executions/1/tasks", "/executions/1/tasks/1/log"):
        assert call("GET", f"/projects/{other}/webhook/policies/{number}{path}").status == 404
    assert call("DELETE", f"/projects/{other}/webhook/policies/{number}").status == 404
    assert stored(project, number).name == "told"


def test_who_may_do_what(project: str) -> None:
    number = add(project, policy())
    maintainer, _ = new_user()
    guest, _ = new_user()
    for name, role in ((maintainer, 4), (guest, 3)):
        assert call("POST", f"/projects/{project}/members", {"role_id": role, "member_user": {"username": name}}).status
    where = f"/projects/{project}/webhook/policies"
    assert json.loads(as_user(maintainer, "GET", f"{where}/{number}").body)["targets"][0]["auth_header"] == "******"
    assert as_user(maintainer, "POST", where, policy(name="x")).status == 403
    assert as_user(maintainer, "DELETE", f"{where}/{number}").status == 403
    for path in (
        where,
        f"{where}/{number}",
        f"{where}/{number}/executions",
        f"/projects/{project}/webhook/lasttrigger",
    ):
        assert as_user(guest, "GET", path).status == 403
        assert as_user(guest, "GET", path.replace(project, "nosuchproject")).status == 403
        assert call("GET", path, admin=False).status == 401


def test_changes_side_by_side_all_count(project: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    where = f"/projects/{project}/webhook/policies"
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda each: call("POST", where, policy(name=f"p{each}")).status, range(6)))
    assert set(answers) <= {201, 503}
    assert len(content(call("GET", where))) == answers.count(201) > 0
