"""A program that answers over HTTP whatever a test tells it to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any


@contextmanager
def answering(
    pages: Mapping[str, Any], at: Callable[[], float] | None = None, asked: list[str] | None = None
) -> Iterator[str]:
    """Answer a path (or a method and a path) with a status, a text or JSON, dated as ``at`` tells; else 404.

    The method and path of each request are added to ``asked``.

    What is written with PUT is kept and read back, where no page says otherwise.
    """
    kept: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do(self) -> None:
            path = self.path.partition("?")[0]
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if asked is not None:
                asked.append(f"{self.command} {path}")
            page = pages.get(f"{self.command} {path}", pages.get(path, 404))
            if page == "keep":
                page = self._keep(path, body)
            status, answer = (page, b"") if isinstance(page, int) else (200, page)
            if not isinstance(answer, bytes):
                answer = json.dumps(answer).encode() if isinstance(answer, dict) else answer.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_DELETE = do  # noqa: N815

        def _keep(self, path: str, body: bytes) -> Any:
            if self.command == "PUT":
                kept[path] = body
            return kept.get(path, 404)

        def date_time_string(self, timestamp: float | None = None) -> str:
            return formatdate(at() if at else None, usegmt=True)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
