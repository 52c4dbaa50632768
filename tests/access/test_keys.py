from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jwt
import pytest

from chalicelib.access import keys, tokens
from chalicelib.access.keys import KeyCache, TokenExpiredError, TokenInvalidError, parse, rotate, sign, verify
from chalicelib.oci.errors import Unavailable
from chalicelib.settings import settings
from chalicelib.storage import aws_json, secrets


@pytest.fixture
def rotation(cloud: object) -> Iterator[Callable[[], str]]:
    """Rotates as the schedule does. The process forgets its keys before and after."""
    keys._keys_in.cache_clear()

    def fire() -> str:
        occasion = uuid.uuid4().hex
        rotate({"id": occasion})
        return occasion

    yield fire
    keys._keys_in.cache_clear()


CLAIMS = {"iat": 0, "nbf": 0, "exp": 1 << 40, "jti": "x"}


class Killed(BaseException):
    """Stands for the function's process being killed before a call."""


@contextmanager
def before(operation: str, act: Callable[[], None]) -> Iterator[None]:
    def handler(**_: Any) -> None:
        aws_json.events.unregister(name, handler)
        act()

    name = f"before-call.secretsmanager.{operation}"
    aws_json.events.register(name, handler)
    try:
        yield
    finally:
        aws_json.events.unregister(name, handler)


def die() -> None:
    raise Killed


def forget() -> None:
    """Be another process, which has read no key yet."""
    keys._keys_in.cache_clear()


def stored() -> keys.KeyRing:
    return parse(secrets.read_current(settings().signing_secret)[1])


def test_a_generated_secret_is_the_first_key_and_known_by_a_digest() -> None:
    ring = parse('{"id": "initial", "key": "generated"}')
    assert ring.current.key == "generated"
    assert ring.previous is None
    assert ring.current.id == parse('{"key": "generated"}').current.id != parse('{"key": "another"}').current.id


def test_what_is_signed_is_verified_for_its_audience_only(cloud: object) -> None:
    token = sign({"sub": "someone"}, "upload", 60)
    assert verify(token, "upload")["sub"] == "someone"
    with pytest.raises(TokenInvalidError):
        verify(token, "registry")
    with pytest.raises(TokenInvalidError):
        verify(sign({"sub": "someone"}, "refresh", 60), "registry")


def test_the_key_of_upload_addresses_signs_nothing_else(rotation: Callable[[], str]) -> None:
    """It is what the relay holds."""
    for _ in range(2):
        uploads, others = (keys._keys(audience).ring() for audience in ("upload", "registry"))
        assert uploads.current != others.current
        forged = jwt.encode({**CLAIMS, "aud": "registry"}, uploads.current.key, headers={"kid": uploads.current.id})
        with pytest.raises(TokenInvalidError):
            verify(forged, "registry")
        named = jwt.encode({**CLAIMS, "aud": "registry"}, uploads.current.key, headers={"kid": others.current.id})
        with pytest.raises(TokenInvalidError):
            verify(named, "registry")
        rotation()
        forget()


def test_a_rotation_is_of_both_secrets(rotation: Callable[[], str]) -> None:
    names = (settings().signing_secret, settings().upload_secret)
    before_it = [parse(secrets.read_current(name)[1]).current for name in names]
    rotation()
    assert [parse(secrets.read_current(name)[1]).previous for name in names] == before_it


def test_an_expired_token_is_told_apart(cloud: object) -> None:
    with pytest.raises(TokenExpiredError):
        verify(sign({}, "upload", -60), "upload")


def test_a_rotation_keeps_the_previous_key_valid_and_ends_the_one_before(rotation: Callable[[], str]) -> None:
    first = sign({}, "upload", 60)
    rotation()
    forget()
    second = sign({}, "upload", 60)
    assert verify(first, "upload")
    assert verify(second, "upload")
    rotation()
    forget()
    assert verify(second, "upload")
    with pytest.raises(TokenInvalidError):
        verify(first, "upload")


def test_a_process_learns_a_new_key_from_the_first_token_signed_with_it(rotation: Callable[[], str]) -> None:
    clock = [1000.0]
    stale = KeyCache(lambda: secrets.read(settings().signing_secret), lambda: clock[0])
    old = stale.ring().current
    rotation()
    assert stale.ring().current == old
    clock[0] += 4
    assert stale.find(stored().current.id) == stored().current


def test_an_event_that_arrives_twice_rotates_once(rotation: Callable[[], str]) -> None:
    occasion = rotation()
    before_again = stored()
    rotate({"id": occasion})
    assert stored() == before_again


@pytest.mark.parametrize("operation", ["GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"])
def test_a_rotation_killed_half_way_is_finished_by_its_retry(operation: str, rotation: Callable[[], str]) -> None:
    old = stored().current
    occasion = uuid.uuid4().hex
    with before(operation, die), pytest.raises(Killed):
        rotate({"id": occasion})
    assert stored().current == old
    rotate({"id": occasion})
    assert stored().previous == old
    assert stored().current != old


def test_a_rotation_overtaken_by_another_is_left_aside(rotation: Callable[[], str]) -> None:
    slow = uuid.uuid4().hex
    with before("UpdateSecretVersionStage", rotation):
        rotate({"id": slow})
    winner = stored()
    rotate({"id": slow})
    assert stored() == winner


def test_forged_key_ids_do_not_stampede_the_secret(rotation: Callable[[], str]) -> None:
    reads: list[object] = []

    def count(**_: Any) -> None:
        reads.append(_)

    sign({}, "upload", 60)
    aws_json.events.register("before-call.secretsmanager.GetSecretValue", count)
    try:
        for forged in range(50):
            assert keys._keys("upload").find(f"forged {forged}") is None
    finally:
        aws_json.events.unregister("before-call.secretsmanager.GetSecretValue", count)
    assert len(reads) <= 1


def test_the_last_known_keys_serve_on_while_the_secret_is_out_of_reach() -> None:
    clock, answers = [1000.0], [json.dumps({"key": "generated"})]

    def read() -> str:
        if not answers:
            raise Unavailable("secretsmanager does not answer")
        return answers.pop()

    cache = KeyCache(read, lambda: clock[0])
    ring = cache.ring()
    clock[0] += 10_000
    assert cache.ring() == ring


def test_without_a_key_nothing_is_signed() -> None:
    with pytest.raises(Unavailable):
        KeyCache(lambda: None).ring()


def test_nothing_is_signed_for_longer_than_two_keys_last(cloud: object) -> None:
    longest = max(tokens.REFRESH_SECONDS, settings().upload_seconds, settings().token_seconds)
    assert longest < keys.ROTATION_DAYS * 86400
