"""A model server that is killed while it counts: what it wrote counts once, and only rows are missing."""

from __future__ import annotations

import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from podium.ledger.events import EventKind
from podium.ledger.watch_counts import told_of
from podium.monitoring.watch_recompute import watch_differences
from podium.monitoring.watch_record import judge_window
from podium.services import Services
from support.patience import PATIENCE_SECONDS
from support.serve_process import serve_process, wait_for
from support.serving import make_champion, register_model
from support.trial import RECORDS, ROWS, regression
from support.watched import counted, promote_watched


@contextmanager
def real_server(services: Services, model: str, log: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A server in a process of its own, once it compares with the version before."""
    login = services.settings.ledger_server_url
    assert login is not None
    environment = {
        "MLFLOW_TRACKING_URI": services.settings.mlflow_tracking_uri,
        "PODIUM_LEDGER_SERVER_URL": login.get_secret_value(),
    }
    with serve_process(model, log, environment) as (process, url):
        wait_for(lambda: httpx.get(f"{url}/version").json().get("watch", {}).get("loaded"))
        yield process, url


def test_of_a_server_that_is_killed_what_it_wrote_counts_once(services: Services, tmp_path: Path) -> None:
    model = f"killed-{uuid.uuid4().hex[:8]}"
    make_champion(services, model, register_model(services, model, regression(1), ROWS))
    second = register_model(services, model, regression(2), ROWS)
    promoted = promote_watched(services, model, second, rows=12)
    with real_server(services, model, tmp_path / "first.log") as (process, url):
        for record in RECORDS[:5]:
            assert httpx.post(f"{url}/predict", json=[record]).status_code == 200
        wait_for(lambda: counted(services, promoted).requests == 5)
        for record in RECORDS[5:9]:
            assert httpx.post(f"{url}/predict", json=[record]).status_code == 200
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_SECONDS)
    left = counted(services, promoted).requests
    assert 5 <= left <= 9, "what it had not written is lost, and nothing is there twice"
    assert judge_window(services, model) is None
    with real_server(services, model, tmp_path / "second.log") as (_, url):
        for record in RECORDS[: 12 - left]:
            assert httpx.post(f"{url}/predict", json=[record]).status_code == 200
        wait_for(lambda: counted(services, promoted).requests == 12)
    assert sorted(told.counts.requests for told in told_of(services.ledger, model, promoted.seq)) == sorted(
        [left, 12 - left]
    )
    judged = judge_window(services, model)
    assert judged is not None
    assert (judged.event, judged.details["said"]) == (EventKind.WATCH_JUDGED, "good")
    assert watch_differences(services.ledger, [model]) == []
