"""Debian's docker-registry as an upstream: with or without a token service in front, and its access log to count."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from tests.infra.local.instance import free_port
from tests.upstreams.servers.asked import Asked, Log
from tests.upstreams.servers.tokens import ISSUER, SERVICE, TokenService

_LINE = re.compile(r'\S+ - (?:\S+) \[[^]]+\] "(\S+) (\S+) HTTP/[\d.]+" (\d+) (\d+) ')


class DockerRegistry(Log):
    """One docker-registry, stopped and started any number of times on its port. Its images stay."""

    def __init__(self, folder: Path, tokens: TokenService | None = None) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._forgotten = 0
        self.name = f"127.0.0.1:{self._port}"
        self.url = f"http://{self.name}"
        folder.mkdir(parents=True, exist_ok=True)
        auth = _AUTH.format(tokens=tokens, service=SERVICE, issuer=ISSUER) if tokens else ""
        (folder / "config.yml").write_text(_CONFIG.format(folder=folder, address=self.name) + auth)

    def start(self) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "REGISTRY_"))}
        command = ["docker-registry", "serve", str(self._folder / "config.yml")]
        with self._access_log.open("ab") as log, (self._folder / "errors.log").open("ab") as errors:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=errors)
        deadline = time.monotonic() + 30
        while not self._answers():
            assert time.monotonic() < deadline, (self._folder / "errors.log").read_text()[-2000:]
            assert self._process.poll() is None, (self._folder / "errors.log").read_text()[-2000:]
            time.sleep(0.02)

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def forget(self) -> None:
        self._forgotten = self._access_log.stat().st_size

    def _all(self) -> list[Asked]:
        """From the access log, to which a request is written when its answer is complete: a moment is left for it."""
        time.sleep(0.1)
        with self._access_log.open("rb") as log:
            log.seek(self._forgotten)
            lines = log.read().decode().splitlines()
        return [_parse(line) for line in lines if line]

    @property
    def _access_log(self) -> Path:
        return self._folder / "access.log"

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.url}/v2/", timeout=5).close()
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False
        return True


@contextlib.contextmanager
def docker_registry(folder: Path, tokens: TokenService | None = None) -> Iterator[DockerRegistry]:
    """One that runs, with its files in `folder`. With a token service in front it asks that for everything."""
    registry = DockerRegistry(folder, tokens)
    registry.start()
    registry.forget()
    try:
        yield registry
    finally:
        registry.stop()


def _parse(line: str) -> Asked:
    found = _LINE.match(line)
    assert found, line
    target = urlsplit(found[2])
    return Asked(found[1], target.path, target.query, int(found[3]), int(found[4]))


_CONFIG = """\
version: 0.1
log: {{level: warn}}
storage:
  cache: {{blobdescriptor: inmemory}}
  filesystem: {{rootdirectory: {folder}/images}}
  delete: {{enabled: true}}
http:
  addr: {address}
  secret: of-a-test
  headers: {{X-Content-Type-Options: [nosniff]}}
"""
_AUTH = """\
auth:
  token:
    realm: {tokens.url}
    service: {service}
    issuer: {issuer}
    rootcertbundle: {tokens.certificate.file}
"""
