"""An MLflow that tells aliases and nothing else, and keeps what it is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from urllib.parse import urlsplit


@dataclass
class ToldAliases:
    """Where it listens, and the paths that it was asked for."""

    url: str = ""
    asked: list[str] = field(default_factory=list)


@contextmanager
def mlflow_with_aliases(aliases: Mapping[str, Mapping[str, int]]) -> Iterator[ToldAliases]:
    """Answer any request with these models.

    Args:
        aliases: The version of each alias, by the model.
    """
    told = ToldAliases()
    models = [
        {"name": model, "aliases": [{"alias": alias, "version": str(of)} for alias, of in bears.items()]}
        for model, bears in aliases.items()
    ]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append(urlsplit(self.path).path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"registered_models": models}).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    told.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
