"""Lambda's Extensions API, as AWS documents it, for processes that register an extension."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Thread
from typing import Any


class ExtensionsApi:
    """What was called, and the events that are still to be told."""

    def __init__(self, refuses: bool = False) -> None:
        self.calls: Queue[tuple[str, str, dict[str, Any]]] = Queue()
        self.events: Queue[str] = Queue()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # one packet an answer: two would wait for the client's acknowledgement

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                api.calls.put((self.path, self.headers["Lambda-Extension-Name"], body))
                self._answer(403 if refuses else 200, {"Lambda-Extension-Identifier": "the-id"})

            def do_GET(self) -> None:
                api.calls.put((self.path, self.headers["Lambda-Extension-Identifier"], {}))
                api.events.get()
                self._answer(200, {})

            def _answer(self, status: int, headers: dict[str, str]) -> None:
                content = b'{"eventType": "INVOKE"}'
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"
