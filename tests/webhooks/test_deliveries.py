"""From a push to a receiver, through the deployed stream, queue and functions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import boto3
import pytest

from chalicelib import project_deletion
from chalicelib.events import store as audit
from chalicelib.events.records import Event
from chalicelib.jobs.records import Status
from chalicelib.oci import manifests
from chalicelib.projects import rules
from chalicelib.registry import deletion, pulls, push
from chalicelib.settings import settings
from chalicelib.storage.conditions import now
from chalicelib.webhooks import delivery, dispatch, policies
from chalicelib.webhooks.records import Message, Policy, Target
from chalicelib.webhooks.store import deliveries as table
from infra.policies import delivery_statements, dispatch_statements
from tests.infra import iam
from tests.registry.images import image, push_blob
from tests.webhooks.receiver import Receiver, Reply, receiving
from tests.webhooks.support import ALICE, finished, http, policy_of

pytestmark = pytest.mark.usefixtures("cloud")


def push_to(repository: str, tag: str = "v1") -> str:
    content = image(push_blob(repository, b"{}"), push_blob(repository, b"layer"))
    return push.manifest(repository, tag, content, manifests.OCI_MANIFEST, ALICE).digest


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


def lost_message(project: str, event_id: str) -> Message:
    """An event that is in no stream: as if its record had been lost."""
    detail = {"repository": f"{project}/app", "digest": "sha256:" + "0" * 64, "tag": "v1", "registry": ""}
    return Message(
        audit.sort_key(now(), event_id), "outbox|0", "PUSH_ARTIFACT", rules.get(project).project_id, "alice", detail
    )


def test_a_push_a_pull_and_a_delete_are_told(project: str, receiver: Receiver) -> None:
    policy = policy_of(project, http(receiver.url, auth_header="Bearer s3cret"))
    repository = f"{project}/app"
    digest = push_to(repository)
    [pushed] = receiver.wait(1)
    assert pushed.headers["Authorization"] == "Bearer s3cret"
    assert pushed.headers["Content-Type"] == "application/json"
    body = pushed.json
    assert abs(body.pop("occur_at") - time.time()) < 60
    assert abs(body["event_data"]["repository"].pop("date_created") - time.time()) < 60
    assert body == {
        "type": "PUSH_ARTIFACT",
        "operator": "alice",
        "event_data": {
            "resources": [{"digest": digest, "tag": "v1", "resource_url": f"registry.example.com/{repository}:v1"}],
            "repository": {
                "name": "app",
                "namespace": project,
                "repo_full_name": repository,
                "repo_type": "private",
            },
        },
    }
    pulls.note(repository, digest, digest, ALICE)
    pulls.log.flush()
    assert receiver.wait(2)[1].json["type"] == "PULL_ARTIFACT"
    deletion.manifest(repository, digest, ALICE)
    assert receiver.wait(3)[2].json["type"] == "DELETE_ARTIFACT"
    assert {each.status for each in finished(policy, 3)} == {Status.SUCCESS}
    assert set(table.triggered(policy.number)) == {"PUSH_ARTIFACT", "PULL_ARTIFACT", "DELETE_ARTIFACT"}
    assert "s3cret" not in repr([vars(each) for each in table.newest(policy.number)])


def test_only_what_a_policy_wants_is_told(project: str, receiver: Receiver) -> None:
    policy = policy_of(project, http(receiver.url), events=("DELETE_ARTIFACT",))
    assert rules.get(project).webhook_events == ("DELETE_ARTIFACT",)
    digest = push_to(f"{project}/app")
    deletion.manifest(f"{project}/app", digest, ALICE)
    finished(policy)
    assert [each.json["type"] for each in receiver.received] == ["DELETE_ARTIFACT"]


def test_cloud_events_and_slack(project: str, receiver: Receiver) -> None:
    slack = Target("slack", f"{receiver.url}/slack")
    policy = policy_of(project, http(receiver.url, payload_format="CloudEvents"), slack)
    push_to(f"{project}/app")
    finished(policy, 2)
    by_path = {each.path: each for each in receiver.received}
    told = by_path["/hook"]
    assert told.headers["Content-Type"] == "application/cloudevents+json"
    assert (told.json["specversion"], told.json["type"]) == ("1.0", "harbor.artifact.pushed")
    assert told.json["source"] == f"/projects/{policy.project_id}/webhook/policies/{policy.number}"
    assert told.json["data"]["repository"]["repo_full_name"] == f"{project}/app"
    blocks = by_path["/hook/slack"].json["blocks"]
    assert blocks[1]["text"]["text"] == "*event_type:* PUSH_ARTIFACT"
    assert f"{project}/app:v1" in blocks[5]["text"]["text"]


def test_a_receiver_that_fails_twice_is_told_the_third_time(project: str) -> None:
    with receiving(lambda before: Reply(500 if before < 2 else 204)) as receiver:
        policy = policy_of(project, http(receiver.url))
        push_to(f"{project}/app")
        [delivered] = finished(policy)
        assert len(receiver.received) == 3
        assert len({each.body for each in receiver.received}) == 1
    assert (delivered.status, delivered.attempts) == (Status.SUCCESS, 3)
    assert ["answered 500" in line for line in delivered.log] == [True, True, False]


def dead_letters() -> list[dict[str, int]]:
    client = boto3.client("sqs")
    attributes = client.get_queue_attributes(QueueUrl=settings().webhook_queue, AttributeNames=["RedrivePolicy"])
    target = json.loads(attributes["Attributes"]["RedrivePolicy"])["deadLetterTargetArn"].rpartition(":")[2]
    url = client.get_queue_url(QueueName=target)["QueueUrl"]
    found = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0).get("Messages", [])
    return [json.loads(message["Body"]) for message in found]


@pytest.mark.slow
def test_after_the_last_attempt_the_message_is_a_dead_letter(
    project: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pauses grow to 16 seconds here, and two minutes and a half as it is deployed."""
    receiver.reply = lambda _: Reply(503, body=b"Bearer s3cret")
    policy = policy_of(project, http(receiver.url, auth_header="Bearer s3cret"))
    push_to(f"{project}/app")
    [delivered] = finished(policy)
    assert (delivered.status, delivered.attempts) == (Status.ERROR, delivery.ATTEMPTS)
    assert len(receiver.received) == delivery.ATTEMPTS
    assert "s3cret" not in "".join(delivered.log)
    deadline = time.monotonic() + 60
    while {"policy": policy.number, "number": delivered.number} not in dead_letters():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert delivered.number not in {each.number for each in table.undelivered()}


def test_the_same_event_and_the_same_message_twice_are_one_call(project: str, receiver: Receiver) -> None:
    policy = policy_of(project, http(receiver.url))
    message = lost_message(project, "a" * 32)
    dispatch.dispatch(message)
    dispatch.dispatch(message)
    [delivered] = finished(policy)
    dispatch.dispatch(message)
    assert delivery.attempt(policy.number, delivered.number) is None
    time.sleep(1)
    assert len(receiver.received) == len(table.newest(policy.number)) == 1


def test_two_attempts_at_once_are_one(project: str) -> None:
    """The lease of the first keeps the second off; when its holder has died, the lease ends."""
    with receiving(lambda _: Reply(seconds=1)) as receiver:
        policy = policy_of(project, http(receiver.url))
        dispatch.dispatch(lost_message(project, "b" * 32))
        receiver.wait(1)
        [running] = table.newest(policy.number)
        assert running.status is Status.RUNNING
        assert delivery.attempt(policy.number, running.number) is None
        assert finished(policy)[0].attempts == len(receiver.received) == 1


def test_events_of_the_same_millisecond_are_told_apart(
    project: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatch.hashlib, "sha256", lambda _: type("", (), {"hexdigest": lambda _: "0" * 64})())
    policy = policy_of(project, http(receiver.url), http(f"{receiver.url}2"))
    dispatch.dispatch(lost_message(project, "c" * 32))
    assert len({each.number for each in finished(policy, 2)}) == 2


@pytest.mark.parametrize("step", ["written", "queued"])
def test_a_dispatcher_that_is_killed_is_taken_up(
    project: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Killed before the queue has the deliveries, or before the event has left the outbox."""
    policy = policy_of(project, http(receiver.url))
    project_id = rules.get(project).project_id
    detail = {"repository": f"{project}/app", "digest": "sha256:" + "0" * 64, "tag": "v1", "registry": ""}
    event = Event("create", "artifact", "r", ALICE, project_id=project_id, topic="PUSH_ARTIFACT", detail=detail)
    # Not by the stream: this process is the dispatcher.
    [outbox] = [item for item in audit.items_of(event) if item.pk.startswith("outbox")]
    message = Message(outbox.sk, outbox.pk, "PUSH_ARTIFACT", project_id, "alice", detail)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(*((dispatch.queues, "send", die) if step == "written" else (dispatch.table, "drop", die)))
        with pytest.raises(KeyboardInterrupt):
            dispatch.dispatch(message)
    time.sleep(0.01)
    dispatch.resume(0)
    [delivered] = finished(policy)
    assert delivered.status is Status.SUCCESS
    time.sleep(0.5)
    assert len(receiver.received) == 1


def test_an_event_that_stayed_in_the_outbox_is_dispatched(project: str, receiver: Receiver) -> None:
    """As after a crash of the local cloud, which keeps no stream: there the item is, and nothing tells of it."""
    policy = policy_of(project, http(receiver.url))
    message = lost_message(project, "d" * 32)
    from chalicelib.storage.tables.events import OutboxItem

    # An update of an item makes no INSERT in the stream, which the mapping waits for.
    OutboxItem(message.partition, message.key).update(
        actions=[
            OutboxItem.topic.set(message.topic),
            OutboxItem.project_id.set(message.project_id),
            OutboxItem.operator.set("alice"),
            OutboxItem.detail.set(dict(message.detail)),
        ]
    )
    time.sleep(0.01)
    dispatch.resume(0)
    finished(policy)
    assert len(receiver.received) == 1
    assert table.message(message.partition, message.key) is None


def test_a_disabled_or_deleted_policy_tells_no_more(project: str, receiver: Receiver) -> None:
    receiver.reply = lambda _: Reply(500)
    policy = policy_of(project, http(receiver.url))
    push_to(f"{project}/app")
    receiver.wait(1)
    policies.delete(rules.get(project), policy.number, ALICE)
    [stopped] = finished(policy)
    assert stopped.status is Status.STOPPED
    assert rules.get(project).webhook_events == ()


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(302, {"Location": "http://169.254.169.254/latest/meta-data"}), "private address"),
        (Reply(200, body=b"x" * 200_000), "longer than"),
        (Reply(200, {"Location": "http://169.254.169.254/"}, b"s3cret"), "answered 200"),
    ],
)
def test_what_a_receiver_answers_does_no_harm(project: str, reply: Reply, told: str) -> None:
    with receiving(lambda _: reply) as receiver:
        policy = policy_of(project, http(receiver.url, auth_header="s3cret"))
        dispatch.dispatch(lost_message(project, "e" * 32))
        deadline = time.monotonic() + 30
        while not table.newest(policy.number)[0].log:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        [line, *_] = table.newest(policy.number)[0].log
        assert told in line
        assert "s3cret" not in line
        policies.delete(rules.get(project), policy.number, ALICE)


def test_a_receiver_that_takes_too_long_is_given_up(project: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "_SECONDS", 0.5)
    with receiving(lambda _: Reply(seconds=2)) as receiver:
        policy = policy_of(project, http(receiver.url))
        monkeypatch.setattr(dispatch.queues, "send", lambda *_: None)
        dispatch.dispatch(lost_message(project, "f" * 32))
        [waiting] = table.newest(policy.number)
        after = delivery.attempt(policy.number, waiting.number)
        assert after is not None
        assert after.status is Status.PENDING
        assert "ReadTimeout" in table.newest(policy.number)[0].log[0]


def test_an_address_that_has_become_private_is_refused_at_once(
    project: str, monkeypatch: pytest.MonkeyPatch, receiver: Receiver
) -> None:
    policy = policy_of(project, http(receiver.url))
    monkeypatch.setattr(dispatch.queues, "send", lambda *_: None)
    dispatch.dispatch(lost_message(project, "0" * 32))
    monkeypatch.setenv("BERTH_OUTBOUND_ALLOWED", "")
    settings.cache_clear()
    [waiting] = table.newest(policy.number)
    after = delivery.attempt(policy.number, waiting.number)
    assert after is not None
    assert after.status is Status.ERROR
    assert receiver.received == []


def test_a_project_without_webhooks_puts_nothing_into_the_outbox(project: str) -> None:
    before = {each.event_id for each in table.waiting(now())}
    push_to(f"{project}/app")
    assert {each.event_id for each in table.waiting(now())} <= before


def test_each_function_does_what_its_policy_allows_and_no_more(
    project: str, receiver: Receiver, cloud: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = policy_of(project, http(receiver.url))
    monkeypatch.setattr(dispatch.queues, "send", lambda *_: None)
    with iam.recorded() as called:
        dispatch.dispatch(lost_message(project, "1" * 32))
        dispatch.resume(0)
    assert called <= iam.actions_of(dispatch_statements(), cloud)
    [waiting] = table.newest(policy.number)
    with iam.recorded() as called:
        assert delivery.attempt(policy.number, waiting.number) is not None
    assert called == iam.actions_of(delivery_statements(), cloud)


def test_policies_go_with_their_project(project: str) -> None:
    policy: Policy = policy_of(project, http("http://127.0.0.1:9/"))
    found = rules.get(project)
    project_deletion.delete(found, ALICE)
    assert policies.list_all(found) == []
    assert policy.number
