"""The protocol of docs/gc.md, step by step: each `yield` is one call to a table or the bucket.

Every process takes the rules, so that one can be switched off. A rule that is off shows as the wrong path here.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from . import store
from .processes import Body, Call
from .rules import Rules
from .store import ANY
from .world import BLOB, SUBJECTS, TARGETS

Steps = Generator[Call, Any, Any]
APP, BASE = "app", "base"
CREATED, UNKNOWN, DELETED, REFUSED, ABSENT = "created", "MANIFEST_BLOB_UNKNOWN", "deleted", "refused", "absent"


# --- a client's blob


def complete_upload(rules: Rules, name: str, lost: bool = False) -> Steps:
    """Publishes an object; the first writer wins. `lost`: the answer to a conditional write may be lost."""
    yield store.put_object(name)
    while True:
        create = store.create_blob(name, rules.born_candidates)
        if (yield store.lost_answer(create) if lost else create):
            key = name
            break
        found = yield store.read_blob(not rules.shared_touch)
        if found is None:
            continue
        key = found[0]
        if (yield from keep(rules, *found)):
            break
    yield store.put_link(APP, key)
    if key != name or (lost and not rules.own_object_kept):
        yield store.delete_object(name)


def find_blob(rules: Rules, repository: str) -> Steps:
    """What HEAD and mount do: the key if the repository has the blob, and then it is promised; else None."""
    found = yield store.read_blob(not rules.shared_touch)
    link = yield store.read_link(repository)
    if found is None or link is None or (rules.incarnations and link[0] != found[0]):
        return None
    return found[0] if (yield from keep(rules, *found)) else None


def keep(rules: Rules, key: str, state: str) -> Steps:
    """Makes good that the blob is relied on: rescues a condemned one, renews a candidate. False: it is gone."""
    if (state == "condemned" and rules.rescue) or (state == "candidate" and rules.renewal):
        return (yield store.touch_blob(key, not rules.shared_touch))
    return True


def head(rules: Rules, name: str) -> Steps:
    """A client asks for the blob and uploads it if it is not there."""
    if (yield from find_blob(rules, APP)) is None:
        yield from complete_upload(rules, name)


def mount(rules: Rules, name: str) -> Steps:
    key = yield from find_blob(rules, BASE)
    if key is None:
        yield from complete_upload(rules, name)
    else:
        yield store.put_link(APP, key)


def pull_blob(rules: Rules) -> Body:
    """GET: a presigned URL is handed out; the client follows it within its life."""
    key = yield from find_blob(rules, APP)
    if key is None:
        return ABSENT
    return "pulled" if (yield store.fetch_object(key)) else "a URL that leads nowhere"


# --- a client's manifest


def push(rules: Rules, name: str, digest: str, tag: str | None, lost: bool = False) -> Body:
    generation = name if rules.generations else "-"
    if rules.edges_before_read:
        yield store.write_edges(digest, generation, rules.edges_onto_both)
    if not (yield from _references_hold(rules, digest)):
        yield from _unlink(rules, digest, generation)
        return UNKNOWN
    if not rules.edges_before_read:
        yield store.write_edges(digest, generation, rules.edges_onto_both)
    replaced = yield from _commit(rules, name, digest, tag, lost)
    if replaced is not None and rules.generations:
        yield store.delete_edges(digest, replaced)
    return CREATED


def _commit(rules: Rules, name: str, digest: str, tag: str | None, lost: bool) -> Steps:
    """Commits; returns the generation that was replaced."""
    while True:
        current = yield store.read_manifest(digest)
        replaced = current and current[0]
        expected = replaced if rules.conditional_commit else ANY
        write = store.commit(digest, name, expected, tag if rules.tag_in_transaction else None)
        if (yield store.lost_answer(write) if lost and not rules.idempotent_transactions else write):
            break
    if tag and not rules.tag_in_transaction:
        yield store.put_tag(tag, digest)
    return replaced


def _references_hold(rules: Rules, digest: str) -> Steps:
    """Whether what the manifest names is there, after its edges are written: as a blob, as a manifest, or as both."""
    held, number = not TARGETS[digest], 0
    while number < len(TARGETS[digest]):
        held = (yield from _holds(rules, TARGETS[digest][number])) or held
        number += 1
    return held


def _holds(rules: Rules, target: str) -> Steps:
    """Reads a blob or a manifest, and takes it back if it is about to go."""
    if target != BLOB:
        child = yield store.read_manifest(target)
        if child is None:
            return False
        return not child[1] or not rules.rescue or (yield store.rescue_manifest(target))
    found = yield store.read_blob(not rules.shared_touch)
    if found is None:
        return False
    if not (yield from keep(rules, *found)):
        return False
    link = yield store.read_link(APP)
    if link is None or (rules.incarnations and link[0] != found[0]):
        return False
    return not link[1] or not rules.rescue or (yield store.rescue_link(APP, link[0]))


def upload_and_push(rules: Rules, name: str, digest: str, tag: str, lost: bool = False) -> Body:
    yield from complete_upload(rules, name, lost)
    return (yield from push(rules, name, digest, tag, lost))


def head_and_push(rules: Rules, name: str, digest: str, tag: str) -> Body:
    yield from head(rules, name)
    return (yield from push(rules, name, digest, tag))


def mount_and_push(rules: Rules, name: str, digest: str, tag: str) -> Body:
    yield from mount(rules, name)
    return (yield from push(rules, name, digest, tag))


# --- a proxy project: manifests come before their blobs


def push_ahead(rules: Rules, name: str, digest: str, tag: str | None) -> Body:
    """Commits a manifest whose blob may be absent; what is there is kept, as by any push."""
    generation = name if rules.generations else "-"
    if rules.edges_before_read:
        yield store.write_edges(digest, generation, rules.edges_onto_both)
    while True:
        found = yield store.read_blob(not rules.shared_touch)
        link = yield store.read_link(APP)
        if found is None or link is None or link[0] != found[0] or (yield from keep(rules, *found)):
            break
    if not rules.edges_before_read:
        yield store.write_edges(digest, generation, rules.edges_onto_both)
    replaced = yield from _commit(rules, name, digest, tag, False)
    if replaced is not None and rules.generations:
        yield store.delete_edges(digest, replaced)
    return CREATED


def fill(rules: Rules, name: str) -> Steps:
    """A filler: it links what the registry has, or publishes what it fetched, and then all is as after an upload."""
    while True:
        found = yield store.read_blob(not rules.shared_touch)
        if found is None:
            yield from complete_upload(rules, name)
            return CREATED
        if (yield from keep(rules, *found)):
            yield store.put_link(APP, found[0])
            return CREATED


# --- deletes


def delete_manifest(rules: Rules, digest: str) -> Body:
    while True:
        found = yield store.read_manifest(digest)
        if found is None:
            return ABSENT
        generation = found[0]
        if rules.mark_before_look and not (yield store.mark_manifest(digest, generation)):
            continue
        if (yield from _held(rules, digest)):
            yield store.unmark_manifest(digest)
            return REFUSED
        if (yield from _delete_marked(rules, digest, generation)):
            break
    yield from _unlink(rules, digest, generation if rules.generations else "-")
    return DELETED


def _delete_marked(rules: Rules, digest: str, generation: str) -> Steps:
    tags = yield store.read_tags(digest)
    if rules.referrers_first and digest in SUBJECTS.values():
        yield store.mark_referrers(digest)
    if not (yield store.delete_manifest(digest, generation, tags, rules.mark, rules.conditional_untag)):
        return False
    if not rules.referrers_first and digest in SUBJECTS.values():
        yield store.mark_referrers(digest)
    return True


def delete_tag(rules: Rules, tag: str) -> Body:
    return DELETED if (yield store.delete_tag(tag)) else ABSENT


def _held(rules: Rules, target: str) -> Steps:
    """Whether a manifest that is committed, or may be about to be, names the target."""
    edges = yield store.look(target, rules.consistent_reads)
    if any(young for _, _, young in edges):
        return True
    if edges:
        current = yield store.read_generations()
        return any((digest, generation) in current for digest, generation, _ in edges)
    return False


def _unlink(rules: Rules, digest: str, generation: str) -> Steps:
    """Takes away the edges of a generation that is no manifest's (any more); what they hold may be garbage then."""
    is_blob = BLOB in TARGETS[digest]
    if is_blob and rules.touch_before_unlink:
        yield store.touch_blob(None)
    if TARGETS[digest] and TARGETS[digest][-1] != BLOB:
        yield store.mark_candidate(TARGETS[digest][-1])
    yield store.delete_edges(digest, generation)
    if is_blob and not rules.touch_before_unlink and not (yield store.look(BLOB, True)):
        yield store.touch_blob(None)


def delete_blob(rules: Rules) -> Body:
    """DELETE of a blob in one repository: the same handshake, on the link."""
    if rules.mark_before_look and not (yield store.mark_link(APP)):
        return ABSENT
    if (yield from _held(rules, BLOB)):
        yield store.unmark_link(APP)
        return REFUSED
    yield store.touch_blob(None)
    return DELETED if (yield store.delete_link(APP, rules.mark)) else REFUSED


# --- the collector: services, started again for ever


def collect(rules: Rules) -> Body:
    while True:
        yield from _collect_one(rules)


def _collect_one(rules: Rules) -> Steps:
    """Condemning and deleting are tasks of their own: nothing is remembered through the grace but the record."""
    key, condemned = yield store.due_blob()
    if rules.condemn_before_look and not condemned:
        if not (yield from _in_use(rules, condemned)):
            yield store.condemn_blob(False, rules.versions)
        return
    if (yield from _in_use(rules, condemned)):
        return
    if not rules.record_before_object:
        yield store.delete_object(key)
    if (yield store.delete_blob(condemned, rules.versions)):
        yield store.delete_links(key, rules.incarnations)
        yield store.delete_object(key)


def _in_use(rules: Rules, condemned: bool) -> Steps:
    """Looks for edges. One of a commit that stands clears the candidate; any other leaves it as it is."""
    edges = yield store.look(BLOB, rules.consistent_reads)
    if not edges:
        return False
    current = yield store.read_generations()
    if not rules.clear_if_committed or any(edge[:2] in current for edge in edges):
        yield store.clear_blob(condemned, rules.versions)
    return True


def collect_manifests(rules: Rules) -> Body:
    while True:
        yield from _collect_manifest(rules)


def _collect_manifest(rules: Rules) -> Steps:
    """A manifest without tag: the delete of a client, if nothing has come to hold it."""
    digest, generation = yield store.due_manifest()
    tags = yield store.read_tags(digest)
    edges = yield store.look(digest, rules.consistent_reads)
    current = yield store.read_generations()
    held = any(edge[:2] in current for edge in edges)
    subject = (yield store.read_manifest(SUBJECTS[digest])) if digest in SUBJECTS else None
    if tags or held or subject is not None:
        yield store.clear_manifest(digest, rules.marks_have_times)
        return
    if any(young for _, _, young in edges):
        return  # a push may be in progress: it stays a candidate
    if rules.mark_before_look and not (yield store.mark_manifest(digest, generation)):
        return
    if (yield from _held(rules, digest)):
        yield store.unmark_manifest(digest)
        return
    if (yield from _delete_marked(rules, digest, generation)):
        yield from _unlink(rules, digest, generation if rules.generations else "-")


def sweep(rules: Rules) -> Body:
    while True:
        yield from _sweep_one(rules)


def _sweep_one(rules: Rules) -> Steps:
    digest, generation = yield store.orphan_edge()
    yield from _unlink(rules, digest, generation)


def reconcile(rules: Rules) -> Body:
    while True:
        yield from _reconcile_one(rules)


def _reconcile_one(rules: Rules) -> Steps:
    key = yield store.stray_object()
    yield store.delete_object(key)


def reconcile_links(rules: Rules) -> Body:
    while True:
        yield from _reconcile_link(rules)


def _reconcile_link(rules: Rules) -> Steps:
    """A link whose key is not its record's goes, if it was not written since it was read."""
    found = None if rules.link_before_record else (yield store.read_blob())
    key = yield store.watch_link(APP)
    if rules.link_before_record:
        found = yield store.read_blob()
    if found is None or found[0] != key:
        yield store.delete_link(APP, "own")
