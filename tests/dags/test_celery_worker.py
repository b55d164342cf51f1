"""A Celery worker tells by the age of a file that it is there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from podium.settings import PROJECT_ROOT
from support.compose import settings_of
from support.patience import PATIENCE_SECONDS

APP = "airflow.providers.celery.executors.celery_executor.app"


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """One that tasks are forked from, with a broker of its own in its memory."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AIRFLOW_HOME": str(tmp_path),
        "PYTHONPATH": f"{PROJECT_ROOT / 'include'}:{PROJECT_ROOT / 'plugins'}",
        **settings_of("deploy/celery-executor.env"),
        "AIRFLOW__CELERY__BROKER_URL": "memory://",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+sqlite:///{tmp_path}/results.db",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
    }
    command = [sys.executable, "-m", "celery", "--app", APP, "worker", "--concurrency", "1"]
    with (tmp_path / "worker.log").open("wb") as log:
        running = subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=log, stderr=log)
        yield running
        running.send_signal(signal.SIGCONT)
        running.kill()
        running.wait()


def wait_until(true: Callable[[], bool]) -> bool:
    end = time.monotonic() + PATIENCE_SECONDS
    while not true() and time.monotonic() < end:
        time.sleep(0.2)
    return true()


def test_a_worker_renews_its_file_and_a_frozen_one_does_not(
    worker: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    file = tmp_path / "worker-heartbeat"
    assert wait_until(file.exists), (tmp_path / "worker.log").read_text()
    first = file.stat().st_mtime_ns
    assert wait_until(lambda: file.stat().st_mtime_ns > first), (tmp_path / "worker.log").read_text()
    worker.send_signal(signal.SIGSTOP)
    frozen = file.stat().st_mtime_ns
    time.sleep(3)
    assert file.stat().st_mtime_ns == frozen
    worker.send_signal(signal.SIGCONT)
    assert wait_until(lambda: file.stat().st_mtime_ns > frozen), (tmp_path / "worker.log").read_text()
