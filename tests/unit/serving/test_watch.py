"""The champion before is asked the same as the new one, and what came of it is counted once."""

from __future__ import annotations

import sys
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sqlalchemy import make_url

from podium import memory
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.live_answers import LiveAnswer, LiveStore, VersionOnTrial
from podium.ledger.store import Ledger
from podium.ledger.watch_counts import Counts, told_of
from podium.lifecycle.watched import WatchWindow
from podium.lifecycle.watched import window_of as window_opened_by
from podium.monitoring.watch_record import standing
from podium.monitoring.watching import TIME_TO_LOAD, Ending, judge
from podium.services import Services
from podium.serving import counting, presence, recorder, shadow, watch
from podium.serving.watch import is_answer
from podium.stack.layout import Layout
from podium.training.run import FromCode
from support import odd_script
from support.patience import PATIENCE_SECONDS
from support.proxy import Proxy
from support.serving import Server, make_champion, register_model, serving
from support.trial import RECORDS, ROWS, nominate, predict, regression
from support.watched import beside, counted, promote_watched, watch_of, watching

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


def window_of(promotion: Event) -> WatchWindow:
    window = window_opened_by(promotion)
    assert window is not None
    return window


@pytest.mark.parametrize(
    ("step", "thread"),
    [
        (watch.Watch._look, "watch-"),
        (shadow.Shadow._ask, "shadow-"),
        (recorder.Recorder._write_all, "record-"),
        (counting.Counting._look, "count-"),
        (presence.Presence.served, "presence"),
    ],
)
def test_a_thread_goes_on_after_an_error_that_nobody_expects(
    services: Services,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    step: Any,
    thread: str,
) -> None:
    calls = Counter[str]()

    def fails_once(self: Any, *given: Any) -> Any:
        calls[thread] += 1
        if calls[thread] == 1:
            raise AttributeError("partially initialized module")
        return step(self, *given)

    owner = sys.modules[step.__module__].__dict__[step.__qualname__.split(".")[0]]
    monkeypatch.setattr(owner, step.__name__, fails_once)
    monkeypatch.setattr(presence, "LOOK_SECONDS", 0.02)
    promotion = promoted(services, model, regression(1), regression(2))
    with serving(services, model) as server:
        server.wait_until_ready()
        watching(server, 1)
        until = monotonic() + PATIENCE_SECONDS
        while calls[thread] < 2 or not counted(services, promotion).requests:
            assert monotonic() < until, calls
            predict(server, RECORDS[:1])
            sleep(0.05)
        assert any(alive.name.startswith(thread) for alive in threading.enumerate())
    assert "partially initialized module" in caplog.text
    assert "failed, and continues" in caplog.text


def end_window(services: Services, promotion: Event) -> None:
    details = {"promotion": promotion.seq, "said": "good"}
    services.ledger.append(
        NewEvent(EventKind.WATCH_JUDGED, promotion.model, promotion.version, details=details)
    )


def assert_not_judged(services: Services, promotion: Event, why: str) -> None:
    """Once servers had time to load the version before, they are taken at their word."""
    looked = standing(services.ledger, window_of(promotion))
    later = replace(looked.seen, at=promotion.at + TIME_TO_LOAD)
    verdict = judge(looked.window.terms, ("v2", "v1"), promotion.at, later)
    assert verdict.ending is Ending.NOT_JUDGED
    assert verdict.reason == f"no server can compare v2 with v1: {why}"


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
        end_window(services, promotion)
        server.wait_for(lambda: state()["version"] == 3, "the candidate")
        assert watch_of(server) == {}


@pytest.mark.parametrize("gone", ["deleted", "in quarantine"])
def test_a_version_before_that_cannot_be_loaded_is_told_and_the_window_not_judged(
    services: Services, model: str, gone: str
) -> None:
    promotion = promoted(services, model, regression(1), regression(2))
    if gone == "deleted":
        mlflow.MlflowClient().delete_model_version(model, "1")
    else:
        services.ledger.append(NewEvent(EventKind.QUARANTINED, model, 1, reason="no rule keeps it"))
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        server.wait_for(lambda: told_of(services.ledger, model, promotion.seq), "told")
        server.wait_for(lambda: told_of(services.ledger, model, promotion.seq)[0].problem, "why")
        predict(server, RECORDS[:1])
    (told,) = told_of(services.ledger, model, promotion.seq)
    assert told.counts == Counts()
    assert f"{model} v1" in told.problem
    assert gone == "deleted" or gone in told.problem
    assert_not_judged(services, promotion, told.problem)


def test_a_version_before_that_is_too_large_is_not_loaded_and_told(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    promotion = promoted(services, model, regression(1), regression(2))
    monkeypatch.setattr(memory, "free_bytes", lambda: 1024)
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        server.wait_for(lambda: told_of(services.ledger, model, promotion.seq), "told")
        server.wait_for(lambda: told_of(services.ledger, model, promotion.seq)[0].problem, "why")
        assert predict(server, RECORDS[:1]).headers["X-Model-Version"] == "2"
        assert beside("podium_serving_expected_version", model) == 0
        end_window(services, promotion)
        server.wait_for(lambda: watch_of(server) == {}, "the end of the window")
        server.wait_for(lambda: beside("podium_serving_expected_version", model) == 1, "nothing is expected")
    (told,) = told_of(services.ledger, model, promotion.seq)
    assert told.counts == Counts()
    assert f"{model} v1 is too large for memory beside the version in use" in told.problem
    assert_not_judged(services, promotion, told.problem)


def test_a_version_before_of_another_signature_is_no_pair_and_the_window_says_what_is_missing(
    services: Services, model: str
) -> None:
    wider = ROWS.assign(w=0.0)
    first = LinearRegression().fit(wider, ROWS["x"])
    make_champion(services, model, register_model(services, model, first, wider))
    promotion = promote_watched(services, model, register_model(services, model, regression(2), ROWS))
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        watching(server, 1)
        predict(server, RECORDS[:3])
        predict(server, [{**RECORDS[0], "w": 1.0}])
        assert wait_for_counts(services, server, promotion, 1) == Counts(1, 1), "what both could read"
    looked = standing(services.ledger, window_of(promotion))
    assert looked.verdict.ending is None
    assert looked.verdict.reason == "missing: 39 rows"


def test_labels_of_an_answer_that_one_side_alone_gave_are_no_evidence(services: Services, model: str) -> None:
    asks = {"labelled_rows": 3, "metric": "mean_absolute_error", "rows": 1}
    promotion = promoted(services, model, ODD, regression(2), **asks)
    store = LiveStore(services.ledger)
    for number, (new, old) in enumerate([("[1.0]", "[1.0]"), ("[9.0]", None), (None, "[1.0]")]):
        both = [said and f'{{"predictions": {said}}}' for said in (new, old)]
        at = promotion.at + timedelta(seconds=1)
        store.write([LiveAnswer(model, f"r{number}", at, 1, 2, 1, *both)])
        store.add_labels(model, f"r{number}", [1.0])
    looked = standing(services.ledger, window_of(promotion))
    assert looked.seen.sums.rows == 1
    assert looked.verdict.reason == "missing: 1 rows and 2 labelled rows"


def test_no_clock_but_the_ledgers_closes_a_window(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    promotion = promoted(services, model, regression(1), regression(2), at_most_seconds=3600.0)
    window = window_of(promotion)
    assert standing(services.ledger, window).verdict.ending is None
    monkeypatch.setattr(Ledger, "now", lambda _: promotion.at + timedelta(seconds=3601))
    over = standing(services.ledger, window)
    assert over.verdict.ending is Ending.NOT_JUDGED
    monkeypatch.setattr(Ledger, "now", lambda _: promotion.at - timedelta(days=400))
    assert standing(services.ledger, window).verdict.ending is None
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        watching(server, 1)
        monkeypatch.setattr(Ledger, "now", lambda _: promotion.at + timedelta(seconds=3601 + 3600))
        server.wait_for(lambda: watch_of(server) == {}, "an hour after its time the server stops by itself")


def test_labels_count_though_the_clock_of_the_server_is_behind(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Behind(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) - timedelta(hours=1)

    monkeypatch.setattr("podium.serving.served_model.datetime", Behind)
    asks = {"labelled_rows": 3, "metric": "mean_absolute_error"}
    promotion = promoted(services, model, regression(1), regression(2), **asks)
    with serving(services, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        watching(server, 1)
        asked = predict(server, RECORDS[:2]).headers["X-Request-Id"]
        server.wait_for(lambda: LiveStore(services.ledger).find(model, asked), "stored")
        labels = {"request_id": asked, "labels": [1.0, 2.0]}
        assert server.client.post("/feedback", json=labels).status_code == 202
    assert standing(services.ledger, window_of(promotion)).seen.sums.rows == 2


@pytest.fixture
def proxy(layout: Layout) -> Iterator[Proxy]:
    """A proxy before Postgres."""
    found = Proxy(int(make_url(layout.ledger_url).port or 0))
    yield found
    found.close()


def test_evidence_waits_while_the_ledger_is_away_for_ten_minutes_and_is_written_once(
    services: Services, model: str, layout: Layout, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    promotion = promoted(services, model, regression(1), regression(2), labelled_rows=4)
    url = make_url(layout.ledger_url).set(port=proxy.port).render_as_string(hide_password=False)
    away = Services(services.settings, registry=services.registry, ledger=Ledger(url))
    store = LiveStore(services.ledger)
    with serving(away, model, poll_seconds=0.05) as server:
        server.wait_until_ready()
        watching(server, 1)
        proxy.cut()
        server.wait_for(lambda: "did not answer" in str(watch_of(server)["problem"]), "told")
        proxy.mend()
        server.wait_for(
            lambda: watch_of(server)["problem"] is None, "it is there again, with nothing to write"
        )
        proxy.cut()
        asked = [predict(server, [record]).headers["X-Request-Id"] for record in RECORDS[:4]]
        server.wait_for(lambda: watch_of(server)["counts"]["requests"] == 4, "counted in memory")
        server.wait_for(lambda: "did not answer" in str(watch_of(server)["problem"]), "told")
        now = watch.monotonic
        monkeypatch.setattr(watch, "monotonic", lambda: now() + 600)
        asked.append(predict(server, [RECORDS[4]]).headers["X-Request-Id"])
        server.wait_for(lambda: watch_of(server)["counts"]["requests"] == 5, "still counted")
        assert (counted(services, promotion), store.newest_trial(model)) == (Counts(), None)
        proxy.mend()
        assert wait_for_counts(services, server, promotion, 5) == Counts(5, 5)
        server.wait_for(lambda: all(store.find(model, one) for one in asked), "stored")
    found = [answer.request_id for answer, _ in store.read(model, VersionOnTrial(2, 1))]
    assert sorted(found) == sorted(asked)


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
