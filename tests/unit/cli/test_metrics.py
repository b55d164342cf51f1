"""``podium metrics``: windows, verdicts and trainings as Prometheus reads them."""

from __future__ import annotations

import uuid

import pytest
import requests
from prometheus_client import start_http_server
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from podium.cli.main import app
from podium.errors import Outage
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.reporting.prometheus import metrics_text, registry_of
from podium.services import Services
from support.monitored import DAY, FIRST_DAY, record_windows


@pytest.fixture
def model(services: Services) -> str:
    """A model with two stable days and four whose x rose by four, and a training that was asked for."""
    name = f"toy-{uuid.uuid4().hex[:8]}"
    record_windows(services, name, 1, [0.0, 0.0, 4.0, 4.0, 4.0, 4.0])
    services.ledger.append(NewEvent(EventKind.RETRAIN_WANTED, name, 1))
    return name


def samples(text: str, model: str) -> dict[tuple[str, str], float]:
    return {
        (sample.name, sample.labels.get("said", "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.labels["model"] == model
    }


def test_windows_verdicts_and_trainings_are_printed(model: str) -> None:
    done = CliRunner().invoke(app, ["metrics"])
    assert done.exit_code == 0, done.output
    found = samples(done.stdout, model)
    windows = {said: value for (name, said), value in found.items() if name == "podium_monitored_windows"}
    assert sum(windows.values()) == 6
    assert windows["moved"] >= 1
    assert found["podium_retrainings_wanted_total", ""] == 1
    end = FIRST_DAY + 66 * DAY
    assert found["podium_monitored_window_end_timestamp_seconds", ""] == end.timestamp()
    verdicts = {said: value for (name, said), value in found.items() if name == "podium_monitored_verdict"}
    assert sum(verdicts.values()) == 1
    assert verdicts["nothing seen"] + verdicts["not judged"] + verdicts["moved"] == 1
    assert ("podium_monitored_risk", "") not in found, "nobody asked whether it hurts"


def test_they_are_served_and_read_anew_at_each_scrape(services: Services, model: str) -> None:
    server, thread = start_http_server(0, "127.0.0.1", registry_of(services.ledger))
    try:
        url = f"http://127.0.0.1:{server.server_port}/metrics"
        before = samples(requests.get(url, timeout=30).text, model)
        services.ledger.append(NewEvent(EventKind.RETRAIN_WANTED, model, 1))
        after = samples(requests.get(url, timeout=30).text, model)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    name = ("podium_retrainings_wanted_total", "")
    assert (before[name], after[name]) == (1, 2)


def test_while_the_ledger_is_away_there_is_no_metric() -> None:
    with pytest.raises(Outage):
        metrics_text(Ledger("postgresql+psycopg2://podium:x@127.0.0.1:1/ledger"))
