"""`make run`: the whole of Berth on this machine, from one CloudFormation template.

Starts the local cloud, deploys the stack to it, writes back what the journal holds, sets the administrator, starts the
gateway, and watches both until Ctrl-C or SIGTERM. Settings come from the environment; the README lists them.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

import boto3

from infra.deploy import deploy_local
from infra.local.durability import RECOVER_PATH
from infra.package import build_template_only
from infra.parameters import environment

ADMIN = "admin"
REGION = "us-east-1"
PROJECT = Path(__file__).resolve().parents[2]
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class StartError(Exception):
    """Why Berth cannot run, and what to do, in one line."""


@dataclass(frozen=True)
class Options:
    """What the environment asks for."""

    state: Path
    host: str
    port: int
    password: str | None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def bind(self) -> str:
        return "127.0.0.1" if self.host in _LOOPBACK else "0.0.0.0"  # noqa: S104 -- asked for by BERTH_HOST


def main() -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        run(_options())
    except StartError as error:
        sys.exit(f"berth: {error}")
    except KeyboardInterrupt:
        print("berth: stopped", flush=True)


def run(options: Options) -> None:
    """Run until a signal (KeyboardInterrupt) or a failure (StartError). Stops all that it started."""
    _require_free(options.bind, options.port)
    with _locked(options.state), contextlib.ExitStack() as stack:
        password = _admin_password(options)
        _say("building the template")
        template = build_template_only().read_text()
        cloud_port = _free_port()
        cloud_url = f"http://127.0.0.1:{cloud_port}"
        _say(f"starting the local cloud in {options.state}")
        cloud = stack.enter_context(_process(options, "cloud", [str(options.state), str(cloud_port)], _aws("")))
        _wait_until_up(cloud, options, "cloud", f"{cloud_url}/_ministack/health")
        os.environ.update(_aws(cloud_url))
        _say("deploying the stack")
        parameters = {"RelayUrl": "/relay", "S3PublicEndpoint": f"http://{{host}}:{cloud_port}"}
        outputs = deploy_local(boto3.client("cloudformation"), template, parameters)
        variables = {**_aws(cloud_url), **environment(outputs, parameters), **_passed_on()}
        _recover(cloud_url)
        _bootstrap(variables, password)
        _say("starting the gateway")
        gateway = stack.enter_context(_process(options, "serve", [options.bind, str(options.port)], variables))
        _wait_until_up(gateway, options, "serve", f"http://127.0.0.1:{options.port}/api/v2.0/health")
        _write_run_file(options, outputs, cloud_url, cloud.pid, gateway.pid)
        print(_banner(options, password), flush=True)
        _watch({"cloud": cloud, "gateway": gateway}, options)


def _options() -> Options:
    env = os.environ
    try:
        port = int(env.get("BERTH_PORT", "8080"))
    except ValueError:
        raise StartError(f"BERTH_PORT must be a number, not {env['BERTH_PORT']!r}") from None
    state = Path(env.get("BERTH_STATE", ".berth")).resolve()
    return Options(state, env.get("BERTH_HOST", "localhost"), port, env.get("BERTH_ADMIN_PASSWORD") or None)


def _require_free(address: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise StartError(f"port {port} is taken ({error.strerror}): choose another with BERTH_PORT") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Own the state folder: a second instance must choose another."""
    try:
        state.mkdir(parents=True, exist_ok=True)
        state.chmod(0o700)
        lock = (state / "lock").open("w")
    except OSError as error:
        raise StartError(f"{state} cannot be used ({error.strerror}): choose another with BERTH_STATE") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartError(f"{state} is in use by another Berth: choose another with BERTH_STATE") from None
        yield


def _admin_password(options: Options) -> str:
    """The password given, or the one kept from an earlier run, or a new one that is kept."""
    kept = options.state / "admin-password"
    password = options.password or (kept.read_text().strip() if kept.exists() else secrets.token_urlsafe(18))
    descriptor = os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{password}\n")
    return password


def _aws(endpoint: str) -> dict[str, str]:
    """The environment of an AWS client that talks to the local cloud, whatever the user's own says."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _passed_on() -> dict[str, str]:
    """Settings of the functions that the user set for this run."""
    names = ("TOKEN_SECONDS", "UPLOAD_SECONDS", "URL_SECONDS", "SPARSE_INDEXES", "CANDIDATE_RENEW_SECONDS")
    return {f"BERTH_{name}": os.environ[f"BERTH_{name}"] for name in names if f"BERTH_{name}" in os.environ}


@contextlib.contextmanager
def _process(
    options: Options, module: str, arguments: list[str], variables: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """A child that logs to the state folder, and ends with its standard input: also when this process is killed."""
    with _log(options, module).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", f"infra.local.{module}", *arguments],
            cwd=PROJECT,
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C is for the supervisor, which stops its children in their order
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _log(options: Options, module: str) -> Path:
    return options.state / f"{module}.log"


def _wait_until_up(child: subprocess.Popen[bytes], options: Options, module: str, url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):  # noqa: S310 -- an address made here
            return
        time.sleep(0.05)
    _fail(options, module, "did not start")


def _fail(options: Options, module: str, what: str) -> NoReturn:
    lines = _log(options, module).read_text(errors="replace").strip().splitlines()
    reason = lines[-1] if lines else "it said nothing"
    raise StartError(f"the {module} process {what}: {reason} (more in {_log(options, module)})")


def _recover(cloud_url: str) -> None:
    request = urllib.request.Request(f"{cloud_url}{RECOVER_PATH}", method="POST")  # noqa: S310 -- as above
    with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310 -- as above
        images = json.load(answer)["images"]
    if images:
        _say(f"recovered {images} records that the last run had not saved")


def _bootstrap(variables: Mapping[str, str], password: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "chalicelib.access.bootstrap", ADMIN],
        cwd=PROJECT,
        env={**os.environ, **variables},
        input=f"{password}\n".encode(),
        check=True,
    )


def _write_run_file(
    options: Options, outputs: Mapping[str, str], cloud_url: str, cloud_pid: int, gateway_pid: int
) -> None:
    """Tell scripts what runs where."""
    facts = {
        "pid": os.getpid(),
        "gateway_pid": gateway_pid,
        "cloud_pid": cloud_pid,
        "url": options.url,
        "cloud_url": cloud_url,
        "s3_endpoint": cloud_url,
        "region": REGION,
        "bucket": outputs["Bucket"],
        "admin_user": ADMIN,
    }
    (options.state / "run.json").write_text(json.dumps(facts, indent=2))


def _banner(options: Options, password: str) -> str:
    registry = f"{options.host}:{options.port}"
    return f"""
Berth is running.

  registry   {registry}
  user       {ADMIN}
  password   {password}

  docker login {registry} -u {ADMIN}
  docker tag alpine {registry}/library/alpine && docker push {registry}/library/alpine

  podman login --tls-verify=false -u {ADMIN} {registry}
  podman push --tls-verify=false alpine {registry}/library/alpine

  skopeo copy --dest-tls-verify=false --dest-creds {ADMIN}:{password} \\
      docker://docker.io/library/alpine docker://{registry}/library/alpine

Ctrl-C stops it; everything is kept in {options.state}.
"""


def _watch(children: Mapping[str, subprocess.Popen[bytes]], options: Options) -> NoReturn:
    while True:
        for name, child in children.items():
            if child.poll() is not None:
                module = "serve" if name == "gateway" else name
                _fail(options, module, f"ended with status {child.returncode}; run `make run` again")
        time.sleep(0.5)


def _say(step: str) -> None:
    print(f"berth: {step}", flush=True)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
