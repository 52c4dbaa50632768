"""Tag retention through Harbor's API and the deployed state machine."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chalicelib.http import Response
from chalicelib.jobs import schedules
from chalicelib.projects import immutability, rules
from chalicelib.registry.store import listings
from chalicelib.retention.policies import RETENTION
from tests.api.people import as_user, content, new_user
from tests.api.support import call, errors_of
from tests.jobs.support import SECONDS, rule
from tests.registry.images import image, index, push_blob, push_image

pytestmark = pytest.mark.usefixtures("administrator")


def document(project: str, *documents: dict[str, Any], cron: str = "", **more: Any) -> dict[str, Any]:
    return {
        "algorithm": "or",
        "rules": list(documents) or [rule()],
        "trigger": {"kind": "Schedule", "settings": {"cron": cron}, "references": {}},
        "scope": {"level": "project", "ref": rules.get(project).project_id},
        **more,
    }


def made(response: Response) -> int:
    assert response.status == 201, response.body
    return int(response.headers["Location"].rpartition("/")[2])


def create(project: str, *documents: dict[str, Any], **more: Any) -> int:
    return made(call("POST", "/retentions", document(project, *documents, **more)))


def carry_out(policy: int, *, dry_run: bool = False) -> dict[str, Any]:
    """Execute a policy, and return the execution when it has ended."""
    number = made(call("POST", f"/retentions/{policy}/executions", {"dry_run": dry_run}))
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        [found] = [each for each in content(call("GET", f"/retentions/{policy}/executions")) if each["id"] == number]
        if found["status"] not in ("Pending", "Running"):
            return dict(found)
        time.sleep(0.1)
    raise AssertionError("it does not end")


def log_of(policy: int, execution: dict[str, Any], repository: str) -> str:
    where = f"/retentions/{policy}/executions/{execution['id']}/tasks"
    [task] = [each for each in content(call("GET", where)) if each["repository"] == repository.partition("/")[2]]
    response = call("GET", f"{where}/{task['id']}")
    assert response.status == 200
    return response.body.decode()


def verdicts(log: str) -> dict[str, str]:
    """What the log's table says of each artifact."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in log.splitlines() if "| sha256:" in line]
    return {row[0]: row[-1] for row in rows}


def present(repository: str) -> set[str]:
    name = repository.partition("/")
    response = call("GET", f"/projects/{name[0]}/repositories/{name[2]}/artifacts?page_size=100")
    return {each["digest"] for each in json.loads(response.body)} if response.status == 200 else set()


def test_what_a_policy_can_say_is_told() -> None:
    found = content(call("GET", "/retentions/metadatas"))
    names = [template["rule_template"] for template in found["templates"]]
    assert names == ["latestPushedK", "latestPulledN", "nDaysSinceLastPush", "nDaysSinceLastPull", "always"]
    assert call("GET", "/retentions/metadatas", admin=False).status == 401


def test_a_policy_is_made_shown_in_its_project_changed_and_deleted(project: str) -> None:
    number = create(project, rule("latestPushedK", number=3))
    assert content(call("GET", f"/projects/{project}"))["metadata"]["retention_id"] == str(number)
    found = content(call("GET", f"/retentions/{number}"))
    assert (found["id"], found["rules"][0]["params"]) == (number, {"latestPushedK": 3})
    assert found["scope"] == {"level": "project", "ref": rules.get(project).project_id}
    assert call("PUT", f"/retentions/{number}", document(project, rule(), rule(tags="v*"))).status == 200
    assert [each["id"] for each in content(call("GET", f"/retentions/{number}"))["rules"]] == [0, 1]
    assert call("DELETE", f"/retentions/{number}").status == 200
    assert "retention_id" not in content(call("GET", f"/projects/{project}"))["metadata"]
    assert call("GET", f"/retentions/{number}").status == 404
    assert call("DELETE", f"/retentions/{number}").status == 400


def test_a_project_has_one_policy_and_nobody_else_sets_its_number(project: str) -> None:
    number = create(project)
    assert call("POST", "/retentions", document(project)).status == 400
    assert call("PUT", f"/projects/{project}", {"metadata": {"retention_id": "7", "auto_scan": "true"}}).status == 200
    assert content(call("GET", f"/projects/{project}"))["metadata"]["retention_id"] == str(number)
    assert call("DELETE", f"/projects/{project}/metadatas/retention_id").status == 400
    assert call("PUT", f"/projects/{project}/metadatas/retention_id", {"retention_id": "7"}).status == 400


def test_a_policys_schedule_follows_it(project: str) -> None:
    number = create(project, cron="0 0 3 * * *")
    found = schedules.find(RETENTION, number)
    assert found is not None
    assert found.cron == "0 0 3 * * *"
    assert "next_scheduled_time" in content(call("GET", f"/retentions/{number}"))["trigger"]["settings"]
    assert call("PUT", f"/retentions/{number}", document(project, cron="")).status == 200
    assert schedules.find(RETENTION, number) is None
    assert call("PUT", f"/retentions/{number}", document(project, cron="0 0 * * * *")).status == 200
    assert schedules.find(RETENTION, number) is not None
    assert call("DELETE", f"/projects/{project}").status == 200
    assert schedules.find(RETENTION, number) is None
    assert call("GET", f"/retentions/{number}").status == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"algorithm": "and"},
        {"rules": [rule("sometimes")]},
        {"rules": [rule("latestPushedK", number=-1)]},
        {"rules": [rule("latestPushedK", number=1.5)]},
        {"rules": [rule("latestPushedK", number="3")]},
        {"rules": [rule("nDaysSinceLastPush", number=10**9)]},
        {"rules": [rule(action="delete")]},
        {"rules": [rule(tags="[")]},
        {"rules": [rule(tag_selectors=[])]},
        {"rules": [{"template": "always"}]},
        {"rules": ["always"]},
        {"rules": {}},
        {"rules": [rule(tags=f"v{each}") for each in range(16)]},
        {"trigger": {"kind": "Event"}},
        {"trigger": {"kind": "Schedule", "settings": {"cron": "every day"}}},
        {"trigger": {"kind": "Schedule", "settings": {"cron": "1 0 0 * * *"}}},
        {"trigger": {"kind": "Schedule", "settings": {"cron": 5}}},
        {"scope": {"level": "system", "ref": 0}},
        {"scope": {"level": "project", "ref": 99999999}},
        {"scope": {"level": "project"}},
    ],
)
def test_a_policy_that_says_nothing_sensible_is_refused(project: str, wrong: dict[str, Any]) -> None:
    response = call("POST", "/retentions", {**document(project), **wrong})
    assert (response.status, errors_of(response)) == (400, ["BAD_REQUEST"])


def test_the_same_rule_is_there_once(project: str) -> None:
    assert call("POST", "/retentions", document(project, rule(), rule())).status == 409


def test_who_may_what(project: str) -> None:
    number = create(project)
    developer, developer_number = new_user()
    guest, guest_number = new_user()
    outsider, _ = new_user()
    for role, member in ((2, developer_number), (3, guest_number)):
        body = {"role_id": role, "member_user": {"user_id": member}}
        assert call("POST", f"/projects/{project}/members", body).status == 201
    assert as_user(developer, "GET", f"/retentions/{number}").status == 200
    for name in (guest, outsider):
        assert as_user(name, "GET", f"/retentions/{number}").status == 403
        assert as_user(name, "GET", f"/retentions/{number + 1000}").status == 403, "as one that is not there"
        assert as_user(name, "POST", f"/retentions/{number}/executions", {"dry_run": True}).status == 403
        assert as_user(name, "POST", "/retentions", document(project)).status == 403
    assert call("GET", f"/retentions/{number}", admin=False).status == 401


def test_what_no_rule_retains_is_deleted(project: str, repository: str) -> None:
    old, _ = push_image(repository, "v1")
    new, _ = push_image(repository, "v2")
    stable, _ = push_image(repository, "stable")
    number = create(project, rule("latestPushedK", "v*", number=1), rule(tags="stable"))
    execution = carry_out(number, dry_run=True)
    assert (execution["status"], execution["dry_run"], execution["trigger"]) == ("Success", True, "MANUAL")
    log = log_of(number, execution, repository)
    assert verdicts(log) == {old: "DEL", new: "RETAIN", stable: "RETAIN"}
    assert present(repository) == {old, new, stable}
    execution = carry_out(number)
    assert verdicts(log_of(number, execution, repository)) == {old: "DEL", new: "RETAIN", stable: "RETAIN"}
    assert present(repository) == {new, stable}
    [task] = content(call("GET", f"/retentions/{number}/executions/{execution['id']}/tasks"))
    assert (task["total"], task["retained"], task["status"], task["status_code"]) == (3, 2, "Success", 3)


def test_repositories_that_no_rule_is_for_are_left_alone(project: str, repository: str, other_repository: str) -> None:
    push_image(repository, "v1")
    other, _ = push_image(other_repository, "v1")
    number = create(project, rule("nothing", repositories="app"))
    execution = carry_out(number)
    assert present(repository) == set()
    assert present(other_repository) == {other}
    assert len(content(call("GET", f"/retentions/{number}/executions/{execution['id']}/tasks"))) == 1


def test_disabled_rules_and_no_rules_delete_nothing(project: str, repository: str) -> None:
    digest, _ = push_image(repository, "v1")
    number = create(project, rule("nothing", disabled=True))
    assert carry_out(number)["status"] == "Success"
    assert present(repository) == {digest}


def test_immutable_tags_stay(project: str, repository: str) -> None:
    kept, _ = push_image(repository, "v1")
    gone, _ = push_image(repository, "dev")
    selector = {"kind": "doublestar", "decoration": "matches", "pattern": "v*"}
    scope = {"repository": [{"kind": "doublestar", "decoration": "repoMatches", "pattern": "**"}]}
    immutability.create(rules.get(project), {"tag_selectors": [selector], "scope_selectors": scope})
    number = create(project, rule("nothing"))
    log = log_of(number, carry_out(number), repository)
    assert verdicts(log) == {kept: "RETAIN", gone: "DEL"}
    assert present(repository) == {kept}


def test_the_untagged_go_or_stay_as_the_selector_says(project: str, repository: str) -> None:
    first, _ = push_image(repository, "v1")
    second, _ = push_image(repository, "v1")
    assert first not in listings.tags_by_digest(repository)
    selector = {"kind": "doublestar", "decoration": "matches", "pattern": "**", "extras": '{"untagged":true}'}
    number = create(project, rule(tag_selectors=[selector]))
    carry_out(number)
    assert present(repository) == {first, second}
    selector["extras"] = '{"untagged":false}'
    assert call("PUT", f"/retentions/{number}", document(project, rule(tag_selectors=[selector]))).status == 200
    carry_out(number)
    assert present(repository) == {second}


def test_what_an_index_names_and_what_has_a_subject_follow_it(project: str, repository: str) -> None:
    from chalicelib.oci import digests, manifests
    from chalicelib.registry import push

    def push_index(tag: str) -> tuple[str, str, str]:
        """An index with one child, and a signature of it."""
        config = push_blob(repository, tag.encode() * 9)
        child = image(config, push_blob(repository, tag.encode()))
        push.manifest(repository, digests.of(child), child, manifests.OCI_MANIFEST)
        whole = index(child, annotations={"tag": tag})
        push.manifest(repository, tag, whole, manifests.OCI_INDEX)
        subject = {"mediaType": manifests.OCI_INDEX, "digest": digests.of(whole), "size": len(whole)}
        signature = image(config, subject=subject)
        push.manifest(repository, digests.of(signature), signature, manifests.OCI_MANIFEST)
        return digests.of(whole), digests.of(child), digests.of(signature)

    gone = push_index("old")
    kept = push_index("new")
    number = create(project, rule(tags="new"))
    log = log_of(number, carry_out(number), repository)
    assert verdicts(log) == {gone[0]: "DEL", kept[0]: "RETAIN"}
    from chalicelib.registry.store.manifests import read_records

    assert read_records(repository, [*gone, *kept]).keys() == set(kept)


def test_an_execution_can_be_stopped_once_and_again(project: str) -> None:
    number = create(project)
    execution = made(call("POST", f"/retentions/{number}/executions", {"dry_run": False}))
    where = f"/retentions/{number}/executions/{execution}"
    assert call("PATCH", where, {"action": "start"}).status == 400
    assert call("PATCH", where, {"action": "stop"}).status == 200
    assert content(call("GET", f"/retentions/{number}/executions"))[0]["status"] == "Stopped"
    assert call("PATCH", where, {"action": "stop"}).status == 200
    assert call("PATCH", f"/retentions/{number}/executions/{execution + 9999}", {"action": "stop"}).status == 404


def test_two_executions_at_once_do_what_one_does(project: str, repository: str) -> None:
    pushed = [push_image(repository, f"v{each}")[0] for each in range(6)]
    number = create(project, rule("latestPushedK", number=2))
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda _: carry_out(number), range(2)))
    assert [each["status"] for each in ended] == ["Success", "Success"]
    assert present(repository) == set(pushed[-2:])


def test_executions_and_logs_of_one_policy_are_not_anothers(project: str, repository: str, make_project: Any) -> None:
    push_image(repository, "v1")
    number = create(project)
    execution = carry_out(number, dry_run=True)
    [task] = content(call("GET", f"/retentions/{number}/executions/{execution['id']}/tasks"))
    make_project(f"{project}-other")
    other = create(f"{project}-other")
    where = f"/retentions/{other}/executions/{execution['id']}"
    assert call("GET", f"{where}/tasks").status == 404
    assert call("GET", f"/retentions/{number}/executions/88888888/tasks").status == 404
    assert call("GET", f"{where}/tasks/{task['id']}").status == 404
    assert call("PATCH", where, {"action": "stop"}).status == 404
    assert call("GET", f"/retentions/{number}/executions/{execution['id']}/tasks/1").status == 404
