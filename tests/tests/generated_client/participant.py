"""A participant that does what each call's body tells it to, so that a saga can be led anywhere."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Shop:
    """Answers calls; the body's member of the operation's own name says how: done, refuse, fail or pend."""

    def __init__(self) -> None:
        self.pending: dict[tuple[str, str], str] = {}
        # While set, whatever is told to refuse is done instead.
        self.is_kind = False
        self.calls: list[tuple[str, str, str]] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, operation: str, headers: Any, body: Any) -> tuple[int, Any]:
        saga, step, op = headers["Saga-Id"], headers["Saga-Step"], headers["Saga-Op"]
        self.calls.append((saga, step, op))
        told = body.get(operation, "done") if isinstance(body, dict) else "done"
        if told == "pend":
            self.pending[saga, step] = headers["Saga-Token"]
            return 202, {}
        if told == "refuse" and not self.is_kind:
            return 409, {"title": "refused", "detail": f"{operation} was told to refuse"}
        if told == "fail":
            return 503, {"title": "failed"}
        return 200, {"operation": operation, "step": step}


def handler(shop: Shop) -> type[BaseHTTPRequestHandler]:
    """The HTTP side of a shop."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.reply(200, {"status": "ok"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            self.reply(*shop.answer(self.path.strip("/"), self.headers, body))

        def reply(self, status: int, body: Any) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Nothing: the tests have their own words."""

    return Handler
