"""The events that are not of one artifact: quotas that are used up, and tag retention that has deleted something."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from chalicelib.access import accounts, configuration, members, users
from chalicelib.access.authentication import caller_of
from chalicelib.access.configuration import Configuration
from chalicelib.access.roles import Role
from chalicelib.events import store as audit
from chalicelib.gc import events, runs
from chalicelib.http import Request, Response
from chalicelib.jobs import executions
from chalicelib.jobs.records import Execution, Status, Trigger
from chalicelib.oci import digests, manifests, names
from chalicelib.oci.errors import QuotaExceeded
from chalicelib.project_deletion import delete as delete_project
from chalicelib.projects import quotas, rules
from chalicelib.registry import push
from chalicelib.retention.policies import RETENTION
from chalicelib.v2 import uploads
from chalicelib.webhooks import dispatch, policies
from chalicelib.webhooks.records import Message
from chalicelib.webhooks.store import deliveries as table
from chalicelib.webhooks.store import policies as webhook_table
from tests.jobs import support as jobs
from tests.registry.images import CONFIG, image, push_blob, push_image
from tests.registry.test_budgets import counted
from tests.webhooks.receiver import Receiver, receiving
from tests.webhooks.support import ALICE, finished, http, policy_of
from tests.webhooks.test_deliveries import lost_message

pytestmark = pytest.mark.usefixtures("cloud")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def limit(project: str, size: int) -> None:
    quotas.set_limit(rules.get(project).project_id, size)


def some_image(repository: str, size: int = 1000) -> bytes:
    return image(push_blob(repository, os.urandom(16), CONFIG), push_blob(repository, os.urandom(size - 16)))


def put(repository: str, tag: str, content: bytes) -> str:
    return push.manifest(repository, tag, content, manifests.OCI_MANIFEST, ALICE).digest


def repository_of(project: str) -> dict[str, Any]:
    return {"name": "app", "namespace": project, "repo_full_name": f"{project}/app", "repo_type": "private"}


def logged(project: str) -> list[tuple[str, str]]:
    partition = audit.project_partition(rules.get(project).project_id)
    return [(each.operation, each.resource_type) for each in audit.entries([partition], audit.ALWAYS, descending=False)]


def test_a_push_that_is_refused_for_its_size_is_told(project: str, receiver: Receiver) -> None:
    repository = f"{project}/app"
    content = some_image(repository)
    policy_of(project, http(receiver.url), events=("QUOTA_EXCEED", "QUOTA_WARNING"))
    limit(project, 500)
    before = logged(project)
    with pytest.raises(QuotaExceeded) as refused:
        put(repository, "v1", content)
    [told] = receiver.wait(1)
    body = told.json
    assert (body["type"], body["operator"]) == ("QUOTA_EXCEED", "alice")
    assert body["event_data"] == {
        "resources": [{"digest": digests.of(content), "tag": "v1"}],
        "repository": repository_of(project),
        "custom_attributes": {"Details": refused.value.message},
    }
    assert logged(project) == before


def test_an_upload_that_is_refused_for_its_size_is_told_with_who_began_it(project: str, receiver: Receiver) -> None:
    policy_of(project, http(receiver.url, payload_format="CloudEvents"), events=("QUOTA_EXCEED",))
    limit(project, 100)
    name = f"carol{os.urandom(6).hex()}"
    carol = accounts.of_user(users.create(name, "Passw0rd", f"{name}@example.com", "Carol", ""))
    members.add(rules.get(project), Role.DEVELOPER, carol.number)

    def send(method: str, location: str, body: bytes = b"", **query: str) -> Response:
        path, _, state = location.partition("?_state=")
        found = {**({"_state": state} if state else {}), **query}
        request = Request(method, path, found, {"content-length": str(len(body))}, body)
        caller = None if state else caller_of(carol)
        return uploads.handle(request, names.parse_path(path), caller)

    location = send("POST", f"/v2/{project}/app/blobs/uploads/").headers["Location"]
    location = f"/v2/{location.partition('/v2/')[2]}"
    with pytest.raises(QuotaExceeded):
        send("PATCH", location, b"x" * 101)
    [told] = receiver.wait(1)
    assert (told.json["type"], told.json["operator"]) == ("harbor.quota.exceeded", carol.username)
    assert told.json["data"]["repository"] == repository_of(project)
    assert "resources" not in told.json["data"]


def test_a_push_near_the_limit_is_warned_of_without_a_call_more(project: str, receiver: Receiver) -> None:
    repository = f"{project}/app"
    contents = [some_image(repository) for _ in range(3)]
    size = 1000 + len(contents[0])
    policy_of(project, http(receiver.url), events=("QUOTA_WARNING",))
    limit(project, 3 * size)
    calls = []
    for number, content in enumerate(contents):
        rules.find(project)
        with counted() as seen:
            put(repository, f"v{number}", content)
        calls.append(len(seen))
    put(repository, "again", contents[0])
    assert calls[2] <= calls[1]
    [told] = receiver.wait(1)
    used = quotas.displayed(3 * size)
    assert told.json["event_data"]["custom_attributes"] == {
        "Details": f"quota usage reach 85%: resource storage used {used} of {used}"
    }
    assert told.json["event_data"]["resources"] == [{"digest": digests.of(contents[2]), "tag": "v2"}]
    assert len(receiver.received) == 1


def test_nobody_is_told_who_did_not_ask(project: str, receiver: Receiver) -> None:
    policy_of(project, http(receiver.url), events=("PUSH_ARTIFACT",))
    limit(project, 500)
    with pytest.raises(QuotaExceeded):
        put(f"{project}/app", "v1", some_image(f"{project}/app"))
    limit(project, 2000)
    put(f"{project}/app", "v1", some_image(f"{project}/app", 1200))
    assert [each.json["type"] for each in receiver.wait(1)] == ["PUSH_ARTIFACT"]


def test_retention_is_told_for_each_repository_that_lost_something(project: str, receiver: Receiver) -> None:
    policy = policy_of(project, http(receiver.url), events=("TAG_RETENTION",))
    old, _ = push_image(f"{project}/app", "v1")
    push_image(f"{project}/app", "v2")
    push_image(f"{project}/other", "v1")
    wanted = jobs.policy_of(project, jobs.rule("latestPushedK", number=1))
    for dry_run in (True, False):
        extra = {"dry_run": dry_run}
        begun = executions.start(RETENTION, wanted.number, Trigger.MANUAL, operator="admin", extra=extra)
        assert jobs.wait(begun).status is Status.SUCCESS
    [told] = receiver.wait(1)
    assert (told.json["type"], told.json["operator"]) == ("TAG_RETENTION", "MANUAL")
    [rule] = wanted.rules
    host = told.json["event_data"]["retention"].pop("harbor_hostname", "localhost")
    assert host == "localhost"
    assert told.json["event_data"] == {
        "retention": {
            "total": 2,
            "retained": 1,
            "project_name": project,
            "retention_policy_id": wanted.number,
            "retention_rule": [
                {each: rule[each] for each in ("template", "params", "tag_selectors", "scope_selectors")}
            ],
            "result": "SUCCESS",
            "deleted_artifact": [
                {"type": "image", "status": "SUCCESS", "name_tag": "app:v1", "references": ["v1", old]}
            ],
        }
    }
    finished(policy)


@pytest.mark.parametrize("payload_format", ["Default", "CloudEvents"])
def test_a_garbage_collection_is_told_once_to_every_project_that_asked(
    project: str, receiver: Receiver, payload_format: str
) -> None:
    policy = policy_of(project, http(receiver.url, payload_format=payload_format), events=("GARBAGE_COLLECTION",))
    policy_of(project, http(receiver.url), name="of the project alone")
    begun = runs.start(runs.parameters({"dry_run": True}), Trigger.MANUAL, operator="admin")
    ended = jobs.wait(begun)
    dispatch.dispatch(outbox_message(ended))  # once more, as the stream may
    [told] = receiver.wait(1)
    finished(policy)
    expected = {
        "id": ended.number,
        "result": "Success",
        "message": "",
        "trigger": "MANUAL",
        "dry_run": True,
        "delete_untagged": False,
        **{name: runs.told(ended)[name] for name in ("purged_blobs", "purged_manifests", "freed_space")},
        "duration_seconds": round((ended.ended - ended.started) / 1000, 1),
    }
    if payload_format == "Default":
        assert (told.json["type"], told.json["operator"]) == ("GARBAGE_COLLECTION", "admin")
        assert told.json["event_data"] == {"garbage_collection": expected}
    else:
        assert told.json["type"] == "berth.garbage_collection.finished"
        assert told.json["source"] == f"/projects/{policy.project_id}/webhook/policies/{policy.number}"
        assert told.json["data"] == {"garbage_collection": expected}
    assert len(receiver.received) == 1


def outbox_message(ended: Execution) -> Message:
    event = events.ended(ended)
    [item] = audit._outbox_items(event)
    return Message(item.sk, item.pk, item.topic, item.project_id, item.operator, item.detail)


def test_nobody_is_told_of_garbage_collections_who_asks_no_more(project: str) -> None:
    policy = policy_of(project, http("https://registry.example.com"), events=("GARBAGE_COLLECTION",))
    number = policy.project_id
    assert number in webhook_table.subscribers("GARBAGE_COLLECTION")
    policies.update(rules.get(project), policy.number, replace(policy, enabled=False), ALICE)
    assert number not in webhook_table.subscribers("GARBAGE_COLLECTION")
    policies.update(rules.get(project), policy.number, policy, ALICE)
    assert number in webhook_table.subscribers("GARBAGE_COLLECTION")
    policies.delete(rules.get(project), policy.number, ALICE)
    assert number not in webhook_table.subscribers("GARBAGE_COLLECTION")
    policy_of(project, http("https://registry.example.com"), events=("GARBAGE_COLLECTION",))
    delete_project(rules.get(project))
    assert number not in webhook_table.subscribers("GARBAGE_COLLECTION")


def test_nothing_is_told_while_notifications_are_switched_off(project: str, receiver: Receiver) -> None:
    policy = policy_of(project, http(receiver.url), events=("PUSH_ARTIFACT",))
    message = lost_message(project, "2" * 32)
    configuration._cache.put("", replace(Configuration(), notification_enable=False), 30)
    try:
        dispatch.dispatch(message)
    finally:
        configuration._cache.clear()
    assert table.newest(policy.number) == []
    dispatch.dispatch(message)
    finished(policy)
    assert [each.json["type"] for each in receiver.received] == ["PUSH_ARTIFACT"]
