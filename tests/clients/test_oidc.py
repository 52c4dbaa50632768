"""Logins at a real provider: npm's oidc-provider (certified by the OpenID Foundation), driven as a browser does.

Berth is one of the test's own, since who logs in by OIDC has to be settled before there are users. OIDC_PROVIDER is the
folder that `npm install --prefix <folder> oidc-provider` has filled (.ci/run does).
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
import requests

from tests.infra.local.instance import PASSWORD, Instance, free_port

ADMIN = ("admin", PASSWORD)
_FORM = re.compile(r'<form[^>]* action="([^"]+)"')
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')


@pytest.fixture(scope="module")
def berth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    instance = Instance(tmp_path_factory.mktemp("berth") / "state", BERTH_OUTBOUND_ALLOWED="127.0.0.1/32")
    instance.start()
    yield instance
    instance.stop()


@pytest.fixture(scope="module")
def provider(berth: Instance) -> Iterator[str]:
    """The provider's issuer. Berth is configured to log users in there."""
    port = free_port()
    script = Path(__file__).with_name("login_provider.mjs")
    back = f"{berth.url}/c/oidc/callback"
    command = ["node", str(script), os.environ["OIDC_PROVIDER"], str(port), back]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "listening" in process.stdout.readline()
        issuer = f"http://127.0.0.1:{port}"
        configure(
            berth,
            auth_mode="oidc_auth",
            oidc_name="oidc-provider",
            oidc_endpoint=issuer,
            oidc_client_id="berth",
            oidc_client_secret="secret-of-the-client",
            oidc_scope="openid,email,profile",
            oidc_groups_claim="groups",
            oidc_auto_onboard=True,
        )
        yield issuer
        process.terminate()


def configure(berth: Instance, **values: object) -> None:
    answer = requests.put(f"{berth.url}/api/v2.0/configurations", json=values, auth=ADMIN, timeout=30)
    assert answer.status_code == 200, answer.text


def log_in(berth: Instance, name: str) -> tuple[requests.Session, requests.Response]:
    """A browser in which `name` has logged in, and the last page."""
    browser = requests.Session()
    page = browser.get(f"{berth.url}/c/oidc/login", timeout=30, allow_redirects=True)
    while (form := _FORM.search(page.text)) and "/interaction/" in page.url:
        fields = dict(_HIDDEN.findall(page.text))
        if fields.get("prompt") == "login":
            fields |= {"login": name, "password": "any"}
        page = browser.post(urljoin(page.url, form[1]), data=fields, timeout=30)
    return browser, page


def current(berth: Instance, browser: requests.Session) -> requests.Response:
    return browser.get(f"{berth.url}/api/v2.0/users/current", timeout=30)


def test_the_provider_answers_a_ping(berth: Instance, provider: str) -> None:
    url = f"{berth.url}/api/v2.0/system/oidc/ping"
    assert requests.post(url, json={"url": provider, "verify_cert": True}, auth=ADMIN, timeout=30).status_code == 200
    wrong = {"url": f"{provider}/nothing", "verify_cert": True}
    assert requests.post(url, json=wrong, auth=ADMIN, timeout=30).status_code == 400


def test_a_user_logs_in_works_and_logs_out(berth: Instance, provider: str) -> None:
    browser, page = log_in(berth, "ada@builders")
    assert urlsplit(page.url).netloc == urlsplit(berth.url).netloc, page.text
    found = current(berth, browser)
    assert found.status_code == 200, found.text
    user = found.json()
    assert (user["username"], user["email"]) == ("ada", "ada@example.com")
    assert user["oidc_user_meta"]["subiss"] == f"ada@builders{provider}"
    token = {"X-Harbor-CSRF-Token": found.headers["X-Harbor-CSRF-Token"]}
    project = {"project_name": "adas"}
    assert browser.post(f"{berth.url}/api/v2.0/projects", json=project, timeout=30).status_code == 403
    made = browser.post(f"{berth.url}/api/v2.0/projects", json=project, headers=token, timeout=30)
    assert made.status_code == 201, made.text
    assert browser.get(f"{berth.url}/c/log_out", timeout=30).status_code == 200
    assert current(berth, browser).status_code == 401


def test_the_providers_groups_have_roles(berth: Instance, provider: str) -> None:
    created = {"project_name": "built", "metadata": {"public": "false"}}
    assert requests.post(f"{berth.url}/api/v2.0/projects", json=created, auth=ADMIN, timeout=30).status_code == 201
    member = {"role_id": 3, "member_group": {"group_name": "builders", "group_type": 3}}
    url = f"{berth.url}/api/v2.0/projects/built"
    assert requests.post(f"{url}/members", json=member, auth=ADMIN, timeout=30).status_code == 201
    inside, _ = log_in(berth, "grace@builders")
    outside, _ = log_in(berth, "alan@testers")
    assert inside.get(url, timeout=30).json()["current_user_role_ids"] == [3]
    assert outside.get(url, timeout=30).status_code == 403


def test_a_client_logs_in_with_the_users_secret(berth: Instance, provider: str, tmp_path: Path) -> None:
    browser, _ = log_in(berth, "barbara")
    found = current(berth, browser)
    token = {"X-Harbor-CSRF-Token": found.headers["X-Harbor-CSRF-Token"]}
    url = f"{berth.url}/api/v2.0/users/{found.json()['user_id']}/cli_secret"
    secret = browser.put(url, json={}, headers=token, timeout=30).json()["secret"]
    registry = urlsplit(berth.url).netloc
    login = ["skopeo", "login", "--tls-verify=false", "--authfile", str(tmp_path / "auth.json"), "-u", "barbara"]
    for password, succeeds in ((secret, True), ("wrong", False)):
        command = [*login, "--password-stdin", registry]
        finished = subprocess.run(command, input=password, capture_output=True, text=True, timeout=60, check=False)
        assert (finished.returncode == 0) == succeeds, finished.stderr
