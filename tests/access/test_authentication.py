from __future__ import annotations

import base64
import json
import time
import uuid
from contextlib import suppress

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.access import keys, passwords
from chalicelib.access.authentication import ANONYMOUS, RepositoryGrant, authenticate
from chalicelib.oci.errors import Unauthorized
from chalicelib.projects import rules
from tests.access.support import BASIC, NAME, PASSWORD, basic, bearer, request, token_for

pytestmark = pytest.mark.usefixtures("administrator")

CLAIMS = {"sub": "admin", "access": []}


def refused(header: str) -> Unauthorized:
    with pytest.raises(Unauthorized) as caught:
        authenticate(request("GET", "/v2/library/a/manifests/latest", {"authorization": header}))
    return caught.value


def test_without_a_header_the_caller_is_nobody() -> None:
    assert authenticate(request("GET", "/v2/")) == ANONYMOUS


def test_basic_credentials_are_the_administrators() -> None:
    caller = authenticate(request("GET", "/v2/", BASIC))
    assert caller.is_admin
    assert caller.name == NAME


@pytest.mark.parametrize("credentials", [(NAME, "wrong"), ("root", PASSWORD), ("", ""), (NAME, ""), ("", PASSWORD)])
def test_wrong_credentials_all_get_the_same_answer(credentials: tuple[str, str]) -> None:
    error = refused(basic(*credentials)["authorization"])
    assert error.message == "the user name or the password is wrong"
    assert error.headers["WWW-Authenticate"].startswith("Bearer realm=")


@pytest.mark.usefixtures("full_cost")
def test_a_wrong_name_costs_what_a_wrong_password_does(monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    verify = passwords.verify_password

    def spy(password: str, password_hash: str) -> bool:
        verified.append(password_hash)
        return verify(password, password_hash)

    monkeypatch.setattr(passwords, "verify_password", spy)
    for username in (NAME, f"nobody-{uuid.uuid4().hex}"):
        refused(basic(username, "wrong")["authorization"])
    assert len(verified) == 2
    assert {text.rpartition("$")[0].rpartition("$")[0] for text in verified} == {"$argon2id$v=19$m=19456,t=2,p=1"}


def test_a_token_bears_its_grants_and_no_role(private_project: str) -> None:
    token = token_for(BASIC, f"repository:{private_project}/a:pull,push")
    caller = authenticate(request("GET", "/v2/", bearer(token)))
    project = rules.get(private_project)
    grant = RepositoryGrant(frozenset({"pull", "push", "delete"}), project.project_id, signs=True)
    assert caller.grants == {f"{private_project}/a": grant}
    assert not caller.is_admin


@pytest.mark.parametrize("claims", [{"exp": 1}, {"nbf": 2**40}, {"aud": "upload"}, {"aud": ["other"]}, {"exp": None}])
def test_a_token_out_of_its_time_or_audience_is_refused(claims: dict[str, object]) -> None:
    token = jwt.decode(keys.sign(CLAIMS, "registry", 60), options={"verify_signature": False}) | claims
    key = keys._keys("registry").ring().current
    kept = {name: value for name, value in token.items() if value is not None}
    forged = jwt.encode(kept, key.key, "HS256", headers={"kid": key.id})
    assert 'error="invalid_token"' in refused(f"Bearer {forged}").headers["WWW-Authenticate"]


def test_a_token_of_another_algorithm_or_key_is_refused() -> None:
    key = keys._keys("registry").ring().current
    now = int(time.time())
    claims = {**CLAIMS, "aud": "registry", "iat": now, "nbf": now, "exp": now + 60, "jti": "1"}
    assert authenticate(request("GET", "/v2/", bearer(jwt.encode(claims, key.key, headers={"kid": key.id}))))
    for token in (
        jwt.encode(claims, key.key, "HS512", headers={"kid": key.id}),
        jwt.encode(claims, "x" * 64, "HS256", headers={"kid": key.id}),
        jwt.encode(claims, key.key, "HS256"),
        jwt.encode(claims, None, "none", headers={"kid": key.id}),  # type: ignore[arg-type]  # "none" takes no key
    ):
        refused(f"Bearer {token}")


def test_the_challenge_names_the_scope_so_that_a_client_can_renew_its_token() -> None:
    challenge = refused("Bearer expired").headers["WWW-Authenticate"]
    assert challenge == (
        'Bearer realm="https://registry.example.com/service/token",service="berth",'
        'scope="repository:library/a:pull",error="invalid_token"'
    )


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:\xff").decode(),
        "Basic " + "QQ" * 100_000,
        "Basic ünïcode",
        "Basic \udcff",
        "Bearer",
        "Bearer " + "." * 5000,
        "Bearer " + "a.b.c",
        "Bearer \udcff.\udcff.\udcff",
        "Bearer " + base64.urlsafe_b64encode(b"[" * 5900).decode().rstrip("=") + ".e30.e30",
        "Bearer " + base64.urlsafe_b64encode(json.dumps({"alg": ["HS256"], "kid": {}}).encode()).decode() + ".e30.e30",
        "Digest username=admin",
        "Negotiate",
        "\t",
        "\x00",
    ],
)
def test_a_malformed_header_is_unauthorized_or_nobody(header: str) -> None:
    try:
        assert authenticate(request("GET", "/v2/", {"authorization": header})) == ANONYMOUS
    except Unauthorized as error:
        assert "WWW-Authenticate" in error.headers


_encoded = st.binary(max_size=200).map(lambda data: base64.b64encode(data).decode())
_jws = st.lists(st.binary(max_size=120).map(lambda data: base64.urlsafe_b64encode(data).decode()), max_size=5)


@settings(deadline=None, max_examples=150)
@given(
    st.one_of(
        st.text(max_size=300),
        _encoded.map("Basic {}".format),
        _jws.map(lambda parts: "Bearer " + ".".join(parts)),
        st.tuples(st.sampled_from(["basic", "BEARER", "Bearer", "Basic"]), st.text(max_size=100)).map(" ".join),
    )
)
def test_no_header_makes_anyone_out_of_nobody(header: str) -> None:
    with suppress(Unauthorized):
        assert authenticate(request("GET", "/v2/", {"authorization": header})) == ANONYMOUS
