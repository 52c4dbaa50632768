"""Brings Berth up on this machine, step by step, and watches over it.

The local cloud starts and gets the stack deployed, then what the journal holds, then the administrator; after that the
gateway starts. They stop in the other order, so that the cloud saves what the gateway's last requests have written.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from typing import NoReturn

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra.deploy import deploy_local
from infra.local import state
from infra.local.durability import RECOVER_PATH
from infra.local.options import FUNCTION_SETTINGS, Options, StartError
from infra.local.processes import Child, undisturbed
from infra.package import build_template_only
from infra.parameters import PARAMETERS, environment
from infra.stack import StackError

ADMIN = "admin"
REGION = "us-east-1"
_FAULTS = (StackError, BotoCoreError, ClientError, OSError, subprocess.CalledProcessError)


def run(options: Options) -> NoReturn:
    """Run until a signal (KeyboardInterrupt) or a failure (StartError). Stops all that it started."""
    _require_free(options.bind, options.port)
    with state.owned(options.state), contextlib.ExitStack() as stack:
        with _explained():
            password = state.admin_password(options.state, options.password)
            _say("building the template")
            template = build_template_only().read_text()
            port = _free_port()
            endpoint = f"http://127.0.0.1:{port}"
            _say(f"starting the local cloud in {options.state}")
            arguments = [str(options.state), str(port)]
            _use_as_aws(endpoint, secrets.token_hex() if options.is_public else "local")
            with undisturbed():
                cloud = stack.enter_context(Child("cloud", "cloud", arguments, {}, options.state))
            cloud.wait_until_up(f"{endpoint}/_ministack/health")
        with _explained(cloud):
            _say("deploying the stack")
            outputs, variables = _deploy(options, template, endpoint)
            _recover(endpoint)
            _say("starting the gateway")
            arguments = [options.bind, str(options.port), ADMIN, *([outputs["Bucket"]] if options.is_public else [])]
            with undisturbed():
                gateway = stack.enter_context(Child("gateway", "serve", arguments, variables, options.state))
            gateway.tell(password)
            gateway.wait_until_up(f"http://127.0.0.1:{options.port}/api/v2.0/health")
            state.tell(options.state, _facts(options, outputs, endpoint, cloud, gateway))
        print(_banner(options, password), flush=True)
        while True:
            for child in (cloud, gateway):
                child.require_alive()
                child.trim_log()
            time.sleep(0.5)


@contextlib.contextmanager
def _explained(*children: Child) -> Iterator[None]:
    """Turn a failed step into a line: when a process that it needs has ended, that is the reason."""
    try:
        yield
    except _FAULTS as error:
        for child in children:
            child.require_alive()
        raise StartError(f"that failed: {' '.join(str(error).split())}") from error


def _require_free(address: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise StartError(f"port {port} cannot be had ({error.strerror}): choose another with BERTH_PORT") from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _use_as_aws(endpoint: str, secret: str) -> None:
    """Set the environment of AWS clients here and in the children: to the local cloud, and nothing of the user's own.

    MiniStack verifies presigned URLs by `secret`.
    """
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    around_proxy = ",".join(filter(None, (os.environ.get("no_proxy", os.environ.get("NO_PROXY")), "127.0.0.1")))
    os.environ |= {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "no_proxy": around_proxy,
        "NO_PROXY": around_proxy,
    }


def _deploy(options: Options, template: str, endpoint: str) -> tuple[dict[str, str], dict[str, str]]:
    """Deploy the stack: its outputs, and the environment of the functions that run here."""
    settings = {name: str(PARAMETERS[parameter]["Default"]) for name, parameter in FUNCTION_SETTINGS.items()}
    settings |= options.function_settings
    parameters = {"RelayUrl": "/relay", **{FUNCTION_SETTINGS[name]: value for name, value in settings.items()}}
    outputs = deploy_local(boto3.client("cloudformation"), template, parameters)
    # Clients of this machine reach S3 by the name that they call the registry by; others, through the gateway.
    public = f"http://{options.registry}" if options.is_public else endpoint.replace("127.0.0.1", "{host}")
    variables = environment(outputs, {**parameters, "S3PublicEndpoint": public})
    return outputs, variables


def _recover(endpoint: str) -> None:
    request = urllib.request.Request(f"{endpoint}{RECOVER_PATH}", method="POST")  # noqa: S310 -- an address made here
    with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310 -- as above
        images = json.load(answer)["images"]
    if images:
        _say(f"recovered {images} records that the last run had not saved")


def _facts(
    options: Options, outputs: Mapping[str, str], endpoint: str, cloud: Child, gateway: Child
) -> dict[str, object]:
    """What scripts are told in run.json."""
    return {
        "pid": os.getpid(),
        "gateway_pid": gateway.pid,
        "cloud_pid": cloud.pid,
        "url": f"http://{options.registry}",
        "cloud_url": endpoint,
        "s3_endpoint": endpoint,
        "region": REGION,
        "bucket": outputs["Bucket"],
        "admin_user": ADMIN,
    }


def _banner(options: Options, password: str) -> str:
    registry = options.registry
    credentials = shlex.quote(f"{ADMIN}:{password}")
    return f"""
Berth is running.

  registry   {registry}
  user       {ADMIN}
  password   {password}

  docker login {registry} -u {ADMIN}
  docker tag alpine {registry}/library/alpine && docker push {registry}/library/alpine

  podman login --tls-verify=false -u {ADMIN} {registry}
  podman push --tls-verify=false alpine {registry}/library/alpine

  skopeo copy --dest-tls-verify=false --dest-creds {credentials} \\
      docker://docker.io/library/alpine docker://{registry}/library/alpine

Ctrl-C stops it; everything is kept in {options.state}.
"""


def _say(step: str) -> None:
    print(f"berth: {step}", flush=True)
