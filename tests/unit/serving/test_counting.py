"""Model servers count what they are asked and answer, by bins alone, and no answer waits for it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sqlalchemy import make_url

from podium.ledger.events import EventKind, NewEvent
from podium.ledger.evidence import Evidence, EvidenceStore
from podium.ledger.served_counts import OnBins, Served, Span, served_in
from podium.ledger.store import Ledger
from podium.metrics.predictions import answer_streams
from podium.metrics.reference import Reference, count_rows, make_reference, with_answers
from podium.metrics.reference_file import FILE, bins_digest, reference_content
from podium.services import Services
from podium.serving import counting
from podium.stack.layout import Layout
from support.proxy import Proxy
from support.serving import Server, as_server, make_champion, register_model, serving
from support.trial import OUTCOME, RECORDS, ROWS, predict, regression

LABELS = ("loss", "win")
SPAN = Span(datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
DAYS = pd.Series(pd.date_range("2026-01-01", periods=len(ROWS)))


@pytest.fixture
def model() -> str:
    return f"counted-{uuid.uuid4().hex[:8]}"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "COUNT_SECONDS", 0.02)
    monkeypatch.setattr(counting, "SHARE_OF_TIME", 1.0)
    monkeypatch.setattr(counting, "LOOK_SECONDS", 0.1)


def reference(rows: pd.DataFrame, labels: tuple[str, ...], answers: Any) -> Reference:
    streams = make_reference(answer_streams(labels, np.asarray(answers)), DAYS, "0 0 * * *")
    return with_answers(make_reference(rows, DAYS, "0 0 * * *"), streams)


REGRESSION = reference(ROWS, (), regression(1).predict(ROWS))


def champion(services: Services, model: str, held_against: Reference | None = REGRESSION) -> None:
    number = register_model(services, model, regression(1), ROWS, reference=held_against)
    make_champion(services, model, number)


def served(services: Services, model: str, on: Reference = REGRESSION, version: int = 1) -> Served:
    sizes = {name: len(column.counts) for name, column in on.columns.items()}
    return served_in(services.ledger, OnBins(model, version, bins_digest(on.bins)), SPAN, sizes)


def lists(counts: Any) -> dict[str, list[int]]:
    return {name: counted.tolist() for name, counted in counts.items()}


def counts_begin(server: Server, model: str) -> None:
    counted = server.app.state.models[model]._counting
    server.wait_for(lambda: counted._counted, "the bins")


def test_each_row_that_is_answered_is_counted_once_as_it_would_be_from_a_table(
    services: Services, model: str
) -> None:
    champion(services, model)
    for processes in (1, 2):
        with serving(as_server(services), model, poll_seconds=0.05) as server:
            server.wait_until_ready()
            counts_begin(server, model)
            for record in RECORDS[:20]:
                predict(server, [record])
            predict(server, RECORDS[20:])
            assert server.client.post("/predict", json=[{"x": "text"}]).status_code == 400
        found = served(services, model)
        assert (found.rows, found.lost) == (processes * len(ROWS), 0)
    table = ROWS.assign(prediction=regression(1).predict(ROWS))
    expected = count_rows(REGRESSION.columns, table)
    assert lists(found.counts) == lists({name: 2 * counted for name, counted in expected.items()})


def test_texts_gaps_and_the_probability_of_a_label_are_counted_too(services: Services, model: str) -> None:
    rows = pd.DataFrame({"kind": np.resize(["a", "b", "c"], len(ROWS))})
    fitted = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression()).fit(rows, OUTCOME)
    known = reference(rows, LABELS, fitted.predict_proba(rows))
    assert list(known.columns) == ["kind", "prediction win"]
    number = register_model(services, model, fitted, rows, classifies=True, reference=known)
    make_champion(services, model, number)
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        counts_begin(server, model)
        predict(server, [{"kind": "a"}, {"kind": "new"}, {"kind": "c"}])
    found = served(services, model, known)
    categories = dict(
        zip([*known.bins["kind"].categories, "other", "missing"], found.counts["kind"], strict=True)
    )
    assert categories == {"a": 1, "b": 0, "c": 1, "other": 1, "missing": 0}
    asked = pd.DataFrame({"kind": ["a", "new", "c"]})
    expected = count_rows(known.columns, answer_streams(LABELS, fitted.predict_proba(asked)))
    assert lists(expected) == lists({"prediction win": found.counts["prediction win"]})


def test_the_bins_are_a_file_of_the_version_and_part_of_its_manifest(services: Services, model: str) -> None:
    champion(services, model)
    (registered,) = services.ledger.history(model, kinds=[EventKind.REGISTERED])
    assert FILE in [file["path"] for file in registered.details["manifest"]]


def test_a_version_from_before_is_counted_as_soon_as_its_bins_are_on_record(
    services: Services, model: str
) -> None:
    champion(services, model, None)
    with serving(as_server(services), model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        predict(server, RECORDS[:5])
        kept = Evidence.of(model, 1, reference_content(REGRESSION))
        EvidenceStore(services.ledger).keep([kept])
        made = {"digest": kept.digest}
        services.ledger.append(NewEvent(EventKind.REFERENCE_MADE, model, 1, details=made))
        counts_begin(server, model)
        predict(server, RECORDS[:7])
    assert served(services, model).rows == 7


@pytest.fixture
def proxy(layout: Layout) -> Iterator[Proxy]:
    """A proxy before Postgres."""
    found = Proxy(int(make_url(layout.ledger_url).port or 0))
    yield found
    found.close()


def test_while_the_ledger_is_away_requests_go_on_and_their_counts_wait(
    services: Services, model: str, layout: Layout, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion(services, model)
    url = make_url(layout.ledger_server_url).set(port=proxy.port).render_as_string(hide_password=False)
    away = Services(services.settings, registry=services.registry, ledger=Ledger(url))
    # A minute is over as soon as it is counted.
    monkeypatch.setattr(counting, "_MINUTE", timedelta(0))
    with serving(away, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        counts_begin(server, model)
        proxy.cut()
        counter = server.app.state.models[model]._counting
        predict(server, RECORDS[:4])
        server.wait_for(lambda: counter._unwritten, "they wait")
        assert served(services, model).rows == 0
        proxy.mend()
        server.wait_for(lambda: served(services, model).rows == 4, "written")


def test_what_there_is_no_room_for_is_told_as_lost(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion(services, model)
    monkeypatch.setattr(counting, "MAX_WAITING_ROWS", 10)
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        counts_begin(server, model)
        predict(server, RECORDS[:11])
        predict(server, RECORDS[:9])
    found = served(services, model)
    assert (found.rows, found.lost) == (9, 11)


def test_what_is_written_down_holds_no_value(services: Services, model: str, layout: Layout) -> None:
    champion(services, model)
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        counts_begin(server, model)
        predict(server, [{"x": 0.123456789, "z": -0.987654321}])
    with services.ledger.engine.connect() as connection:
        from sqlalchemy import text

        (row,) = connection.execute(
            text("SELECT row_to_json(s)::text FROM served_counts s WHERE model = :m"), {"m": model}
        ).scalars()
    assert "0.12345" not in row
    assert "0.98765" not in row
