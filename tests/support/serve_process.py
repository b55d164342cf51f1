"""``podium serve`` as people start it: a process of its own, with the rights of a model server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from podium.settings import PROJECT_ROOT
from support.patience import PATIENCE_SECONDS

APP = "from podium.cli.main import app; app()"


@contextmanager
def serve_process(
    model: str, log: Path, environment: Mapping[str, str], code: str = APP
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Serve a model on a free port of loopback, and yield the process and its address.

    Args:
        model: The model.
        log: Where the process writes its log.
        environment: What its environment has besides that of the test.
        code: What it runs.
    """
    path = f"{PROJECT_ROOT / 'include'}:{PROJECT_ROOT / 'tests'}"
    command = [sys.executable, "-c", code, "serve", model, "--port", "0", "--poll", "0.2"]
    with (
        log.open("wb") as told,
        subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": path, **environment}, stderr=told
        ) as process,
    ):
        try:
            wait_for(lambda: _address_in(log) or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield process, _address_in(log)
        finally:
            process.kill()


def wait_for(look: Callable[[], object]) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _address_in(log: Path) -> str:
    found = re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text())
    return "" if found is None else found[1]
