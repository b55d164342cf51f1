"""The champion before is asked the same as the new one, and what came of it is counted once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sqlalchemy import make_url

from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.live_answers import LiveStore, VersionOnTrial
from podium.ledger.store import Ledger
from podium.ledger.watch_counts import Counts, told_of
from podium.services import Services
from podium.serving import recorder, shadow, watch
from podium.serving.watch import is_answer
from podium.stack.layout import Layout
from podium.training.run import FromCode
from support import odd_script
from support.proxy import Proxy
from support.serving import Server, make_champion, register_model, serving
from support.trial import RECORDS, ROWS, nominate, predict, regression
from support.watched import counted, promote_watched, watch_of, watching

ODD = FromCode(Path(odd_script.__file__), {})
RAISES = {"x": 101.0, "z": 0.0}


@pytest.fixture
def model() -> str:
    return f"watched-{uuid.uuid4().hex[:8]}"


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "WRITE_SECONDS", 0.02)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(shadow, "SHARE_OF_TIME", 1.0)


def promoted(services: Services, model: str, first: Any, second: Any, **terms: Any) -> Event:
    make_champion(services, model, register_model(services, model, first, ROWS))
    return promote_watched(services, model, register_model(services, model, second, ROWS), **terms)


def wait_for_counts(services: Services, server: Server, promotion: Event, requests: int) -> Counts:
    server.wait_for(lambda: counted(services, promotion).requests == requests, f"{requests} counted")
    return counted(services, promotion)


def test_who_fails_alone_is_counted_and_both_stay_with_the_answer_of_the_new_one(
    services: Services, model: str
) -> None:
    promotion = promoted(services, model, regression(1), ODD)
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        watching(server, 1)
        for record in RECORDS[:3]:
            assert predict(server, [record]).headers["X-Model-Version"] == "2"
        for _ in range(2):
            assert server.client.post("/predict", json=[RAISES]).status_code == 400
        predict(server, RECORDS[:5])
        assert wait_for_counts(services, server, promotion, 6) == Counts(6, 10, new_failed=2)
        assert watch_of(server)["counts"]["new_failed"] == 2
    assert LiveStore(services.ledger).newest_trial(model) is None, "no labels are asked for"
    assert counted(services, promotion) == Counts(6, 10, new_failed=2)
    with serving(services, model, poll_seconds=0.05) as again:
        again.wait_until_ready()
        watching(again, 1)
        predict(again, RECORDS[:1])
        wait_for_counts(services, again, promotion, 7)
    assert sorted(told.counts.requests for told in told_of(services.ledger, model, promotion.seq)) == [1, 6]


def test_the_old_one_alone_and_both_may_fail_and_what_nobody_can_read_is_no_pair(
    services: Services, model: str
) -> None:
    promotion = promoted(services, model, ODD, regression(1))
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        watching(server, 1)
        predict(server, [RAISES])
        assert server.client.post("/predict", json=[{"x": "text"}]).status_code == 400
        assert wait_for_counts(services, server, promotion, 1) == Counts(1, 1, old_failed=1)
        both = promote_watched(services, model, register_model(services, model, ODD, ROWS))
        assert both.from_version == 2
        server.wait_for_version(3)
        watching(server, 2)
        assert server.client.post("/predict", json=[RAISES]).status_code == 400
        assert wait_for_counts(services, server, both, 1) == Counts(1, 1, new_failed=1)
    assert counted(services, promotion) == Counts(1, 1, old_failed=1), "the first window is what it was"


def test_both_are_timed_where_the_gates_bound_the_time_and_answers_are_stored_for_labels(
    services: Services, model: str
) -> None:
    promotion = promoted(services, model, regression(1), regression(2), max_ratio=1e6, labelled_rows=5)
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        watching(server, 1)
        asked = predict(server, RECORDS[:2]).headers["X-Request-Id"]
        assert wait_for_counts(services, server, promotion, 1) == Counts(1, 2, timed=1, slower=0)
        store = LiveStore(services.ledger)
        server.wait_for(lambda: store.find(model, asked), "stored")
        labels = {"request_id": asked, "labels": [1.0, 2.0]}
        assert server.client.post("/feedback", json=labels).status_code == 202
    ((pair, known),) = store.read(model, VersionOnTrial(2, 1), labelled=True)
    assert pair.paired
    assert known == [1.0, 2.0]


def test_the_window_has_the_memory_first_and_the_candidate_waits_and_says_so(
    services: Services, model: str
) -> None:
    promotion = promoted(services, model, regression(1), regression(2))
    nominate(services, model, register_model(services, model, regression(3), ROWS))
    with serving(services, model, poll_seconds=0.05, shadow="candidate") as server:
        server.wait_until_ready()
        watching(server, 1)

        def state() -> Any:
            return server.client.get("/version").json()["shadow"]

        server.wait_for(lambda: "watch window of v2 has the memory" in str(state()["problem"]), "it waits")
        assert state()["version"] is None
        ended = NewEvent(EventKind.WATCH_JUDGED, model, 2, details={"promotion": promotion.seq})
        services.ledger.append(ended)
        server.wait_for(lambda: state()["version"] == 3, "the candidate")
        assert watch_of(server) == {}


def test_a_version_before_that_cannot_be_loaded_is_told(services: Services, model: str) -> None:
    promotion = promoted(services, model, regression(1), regression(2))
    mlflow.MlflowClient().delete_model_version(model, "1")
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        server.wait_for(lambda: told_of(services.ledger, model, promotion.seq), "told")
        server.wait_for(lambda: told_of(services.ledger, model, promotion.seq)[0].problem, "why")
        predict(server, RECORDS[:1])
    (told,) = told_of(services.ledger, model, promotion.seq)
    assert told.counts == Counts()
    assert f"{model} v1" in told.problem


@pytest.fixture
def proxy(layout: Layout) -> Iterator[Proxy]:
    """A proxy before Postgres."""
    found = Proxy(int(make_url(layout.ledger_url).port or 0))
    yield found
    found.close()


def test_counts_wait_while_the_ledger_is_away_and_are_written_once(
    services: Services, model: str, layout: Layout, proxy: Proxy
) -> None:
    promotion = promoted(services, model, regression(1), regression(2))
    url = make_url(layout.ledger_url).set(port=proxy.port).render_as_string(hide_password=False)
    away = Services(services.settings, registry=services.registry, ledger=Ledger(url))
    with serving(away, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        watching(server, 1)
        proxy.cut()
        for record in RECORDS[:4]:
            predict(server, [record])
        server.wait_for(lambda: watch_of(server)["counts"]["requests"] == 4, "counted in memory")
        server.wait_for(lambda: "did not answer" in str(watch_of(server)["problem"]), "told")
        assert counted(services, promotion) == Counts()
        proxy.mend()
        assert wait_for_counts(services, server, promotion, 4) == Counts(4, 4)


@pytest.mark.parametrize(
    ("answer", "counts_as_one"),
    [
        (np.array([1.0, 2.0]), True),
        (np.array([1.0, np.nan]), False),
        (np.array([[0.5, np.inf]]), False),
        (np.array([1, 2]), True),
        (["text", "more"], True),
        ([1.0, None], False),
        (pd.DataFrame({"name": ["a"], "value": [1.0]}), True),
        (pd.DataFrame({"name": ["a"], "value": [float("nan")]}), False),
        (pd.Series([1.0, float("inf")]), False),
        (ValueError("x"), False),
        (None, False),
    ],
)
def test_an_answer_has_finite_numbers_or_texts(answer: Any, counts_as_one: bool) -> None:
    assert is_answer(answer) is counts_as_one
