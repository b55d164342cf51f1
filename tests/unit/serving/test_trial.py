"""Shadow and canary: who answers whom, what is stored, and that the candidate harms nobody."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from sklearn.linear_model import LinearRegression
from sqlalchemy import make_url

from podium.errors import PodiumError
from podium.ledger.live_answers import LiveStore, read_predictions
from podium.ledger.store import Ledger
from podium.names import Alias
from podium.services import Services
from podium.serving import recorder, shadow
from podium.serving.bounded_queue import BoundedQueue
from podium.serving.settings import load_serving_settings
from podium.serving.trial import in_canary
from podium.stack.layout import Layout
from podium.training.run import FromCode
from support import odd_script
from support.proxy import Proxy
from support.serving import make_champion, register_model, serving
from support.trial import (
    RECORDS,
    ROWS,
    begun,
    beside,
    champion_and_candidate,
    classifier,
    nominate,
    predict,
    regression,
    stored,
)

ODD = FromCode(Path(odd_script.__file__), {})
RAISES, SLEEPS = {"x": 101.0, "z": 0.0}, {"x": 1001.0, "z": 0.0}


@pytest.fixture
def model() -> str:
    return f"trial-{uuid.uuid4().hex[:8]}"


@pytest.fixture(autouse=True)
def written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "WRITE_SECONDS", 0.02)


def shadowed(model: str, outcome: str) -> float:
    return REGISTRY.get_sample_value("podium_shadow_rows_total", {"model": model, "outcome": outcome}) or 0.0


def test_the_shadow_gets_the_same_rows_answers_nobody_and_both_answers_are_stored(
    services: Services, model: str
) -> None:
    champion_and_candidate(services, model, classifier(1.0), classifier(0.01))
    with serving(services, model, shadow="candidate") as server:
        begun(server)
        answers = {
            answer.headers["X-Request-Id"]: answer
            for answer in (predict(server, RECORDS[at : at + 3]) for at in range(0, 12, 3))
        }
        assert {answer.headers["X-Model-Version"] for answer in answers.values()} == {"1"}
        pairs = stored(services, model, 4)
    assert {pair.request_id for pair in pairs} == set(answers)
    for pair in pairs:
        assert pair.paired
        said = read_predictions(str(pair.champion_answers))
        assert list(said.values) == answers[pair.request_id].json()["predictions"]
        assert said.classes == ("loss", "win")
        assert read_predictions(str(pair.candidate_answers)).values != said.values
    expected = classifier(0.01).predict_proba(ROWS[:3])
    first = read_predictions(
        str(next(p for p in pairs if p.request_id == next(iter(answers))).candidate_answers)
    )
    assert np.array_equal(first.values, expected)
    assert shadowed(model, "scored") == 12


def test_nothing_is_stored_of_a_share_of_zero_nor_where_there_is_no_candidate(
    services: Services, model: str
) -> None:
    make_champion(services, model, register_model(services, model, regression(1), ROWS))
    with serving(services, model, shadow="candidate") as server:
        server.wait_until_ready()
        predict(server, RECORDS)
        state = server.client.get("/version").json()["shadow"]
        assert (state["version"], server.client.get("/ready").status_code) == (None, 200)
        server.wait_for(
            lambda: server.client.get("/version").json()["shadow"]["problem"] is None,
            "nothing to worry about",
        )
        nominate(services, model, register_model(services, model, regression(2), ROWS))
        begun(server)
        services.registry.delete_alias(model, Alias.CANDIDATE)
        server.wait_for(lambda: beside(server) is None, "no candidate any more")
        predict(server, RECORDS)
    with serving(services, model, shadow="v2", shadow_share=0) as server:
        begun(server)
        predict(server, RECORDS)
    with serving(services, model, shadow="v1") as server:
        server.wait_until_ready()
        server.wait_for(lambda: beside(server) == 1, "what serves")
        predict(server, RECORDS)
    assert LiveStore(services.ledger).newest_trial(model) is None


def test_what_serves_cannot_be_its_own_shadow_and_an_alias_that_is_not_there_is_told(
    services: Services, model: str
) -> None:
    with pytest.raises(
        PodiumError, match="--shadow champion is the version that serves: name another alias or version"
    ):
        load_serving_settings(models=(model,), shadow="champion")
    make_champion(services, model, register_model(services, model, regression(1), ROWS))
    with serving(services, model, shadow="candidat") as server:
        server.wait_until_ready()
        server.wait_for(
            lambda: "has no candidat" in str(server.client.get("/version").json()["shadow"]["problem"]),
            "told",
        )


def test_the_share_is_about_that_of_the_requests(services: Services, model: str) -> None:
    champion_and_candidate(services, model, regression(1), regression(2))
    with serving(services, model, shadow="v2", shadow_share=0.3) as server:
        begun(server)
        for number in range(100):
            predict(server, RECORDS[:1], **{"X-Request-Id": f"request {number}"})
    assert 15 <= len(stored(services, model, 15)) <= 45


@pytest.mark.parametrize("row", [RAISES, SLEEPS], ids=["raises", "sleeps"])
def test_a_candidate_that_raises_or_sleeps_delays_no_answer(
    services: Services, model: str, row: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "_STOP_SECONDS", 0.1)
    champion_and_candidate(services, model, regression(1), ODD)
    with serving(services, model, shadow="candidate") as server:
        begun(server)
        for _ in range(30):
            assert predict(server, [row]).headers["X-Model-Version"] == "1"
        # The candidate sleeps five seconds over one of them, and has not come to the end of them.
        assert shadowed(model, "scored") < 30
        if row is RAISES:
            server.wait_for(lambda: shadowed(model, "failed") == 30, "all were tried")
            predict(server, RECORDS[:1])
            assert [pair.rows for pair in stored(services, model, 1)] == [1]


def test_a_candidate_of_another_signature_is_asked_with_what_it_takes_or_not_at_all(
    services: Services, model: str
) -> None:
    fewer = ROWS[["x"]]
    champion_and_candidate(
        services, model, regression(1), LinearRegression().fit(fewer, ROWS["x"] * 3), inputs=fewer
    )
    with serving(services, model, shadow="candidate") as server:
        begun(server)
        predict(server, RECORDS[:2])
        (pair,) = stored(services, model, 1)
        assert np.allclose(read_predictions(str(pair.candidate_answers)).values, 3 * ROWS["x"][:2])
        more = ROWS.assign(new=1.0)
        nominate(
            services, model, register_model(services, model, LinearRegression().fit(more, ROWS["x"]), more)
        )
        server.wait_for(lambda: beside(server) == 3, "the next candidate")
        predict(server, RECORDS[:2])
        server.wait_for(lambda: shadowed(model, "refused") == 2, "refused")
        assert len(stored(services, model, 1)) == 1


def test_what_does_not_fit_into_the_queue_is_turned_away_at_once() -> None:
    queue = BoundedQueue[str](3, 10)
    assert [queue.offer(*thing) for thing in (("a", 6), ("b", 5), ("c", 4), ("d", 0), ("e", 0))] == [
        True,
        False,
        True,
        True,
        False,
    ]
    assert queue.take(2) == ["a", "c"]
    assert queue.offer("f", 10)
    queue.close()
    assert not queue.offer("g", 0)
    assert queue.wait()
    assert queue.take(9) == ["d", "f"]
    assert not queue.wait()


@given(st.text(), st.text(), st.floats(0, 100), st.floats(0, 100))
def test_a_client_stays_on_its_side_and_a_greater_share_only_moves_clients_to_the_candidate(
    model: str, client: str, one: float, other: float
) -> None:
    low, high = sorted((one, other))
    assert in_canary(model, client, low) <= in_canary(model, client, high)
    assert in_canary(model, client, 100)
    assert not in_canary(model, client, 0)


@settings(max_examples=20)
@given(st.text(max_size=5), st.sampled_from([10, 25, 50, 90]))
def test_the_canary_gets_about_its_share_of_the_clients(model: str, percent: int) -> None:
    clients = sum(in_canary(model, f"client {number}", percent) for number in range(2000))
    assert abs(clients / 20 - percent) < 6


def test_the_canarys_clients_get_the_candidate_each_time_and_every_answer_is_stored(
    services: Services, model: str
) -> None:
    champion_and_candidate(services, model, regression(1), regression(2))
    with serving(services, model, canary=40) as server:
        begun(server)
        sides: dict[str, set[str]] = {}
        for number in range(60):
            client = f"client {number % 20}"
            answer = predict(server, RECORDS[:1], **{"X-Client-Id": client})
            version = answer.headers["X-Model-Version"]
            assert np.allclose(answer.json()["predictions"], int(version) * ROWS["x"][0])
            sides.setdefault(client, set()).add(version)
        assert all(len(versions) == 1 for versions in sides.values())
        assert {version for versions in sides.values() for version in versions} == {"1", "2"}
        kept = stored(services, model, 60)
    by_candidate = sum(answer.candidate_answers is not None for answer in kept)
    assert by_candidate == 3 * sum(versions == {"2"} for versions in sides.values())
    assert all((answer.champion_answers is None) != (answer.candidate_answers is None) for answer in kept)


def test_what_the_candidate_cannot_answer_the_champion_answers(services: Services, model: str) -> None:
    champion_and_candidate(services, model, regression(1), ODD)
    with serving(services, model, canary=100) as server:
        begun(server)
        assert predict(server, RECORDS[:1]).headers["X-Model-Version"] == "2"
        assert predict(server, [RAISES]).headers["X-Model-Version"] == "1"
        wrong = server.client.post("/predict", json=[{"x": "text", "z": 0.0}])
        assert (wrong.status_code, "column x, row 0" in wrong.text) == (400, True)


def test_a_slow_candidate_delays_only_the_canarys_clients(services: Services, model: str) -> None:
    champion_and_candidate(services, model, regression(1), ODD)
    inside, outside = (
        next(name for name in map(str, range(100)) if in_canary(model, name, 50) is side)
        for side in (True, False)
    )
    with serving(services, model, canary=50) as server:
        begun(server)
        slow = threading.Thread(target=predict, args=(server, [SLEEPS]), kwargs={"X-Client-Id": inside})
        slow.start()
        time.sleep(0.2)
        assert predict(server, RECORDS, **{"X-Client-Id": outside}).headers["X-Model-Version"] == "1"
        assert slow.is_alive()
        slow.join()


def test_a_request_id_that_comes_again_changes_nothing(services: Services, model: str) -> None:
    champion_and_candidate(services, model, regression(1), regression(2))
    with serving(services, model, shadow="candidate") as server:
        begun(server)
        predict(server, RECORDS[:1], **{"X-Request-Id": "again"})
        before = stored(services, model, 1)
        predict(server, RECORDS[1:3], **{"X-Request-Id": "again"})
        predict(server, RECORDS[:1], **{"X-Request-Id": "another"})
        assert sorted(answer.request_id for answer in stored(services, model, 2)) == ["again", "another"]
        assert before[0] in stored(services, model, 2)


@pytest.fixture
def proxy(layout: Layout) -> Iterator[Proxy]:
    """A proxy before Postgres."""
    found = Proxy(int(make_url(layout.ledger_url).port or 0))
    yield found
    found.close()


def test_while_the_database_is_away_requests_go_on_and_what_waits_is_written_later(
    services: Services, model: str, layout: Layout, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "MAX_WAITING_ROWS", 8)
    champion_and_candidate(services, model, regression(1), regression(2))
    url = make_url(layout.ledger_url).set(port=proxy.port).render_as_string(hide_password=False)
    with serving(
        Services(services.settings, registry=services.registry, ledger=Ledger(url)), model, shadow="candidate"
    ) as server:
        begun(server)
        proxy.cut()
        for _ in range(20):
            predict(server, RECORDS[:2])
        server.wait_for(lambda: shadowed(model, "scored") == 40, "scored")
        refused = server.client.post("/feedback", json={"request_id": "x", "label": 1})
        assert (refused.status_code, "did not answer" in refused.text) == (503, True)
        lost = REGISTRY.get_sample_value("podium_kept_rows_total", {"model": model, "outcome": "lost"}) or 0
        assert 0 < lost < 40
        proxy.mend()
        kept = (40 - int(lost)) // 2
        assert len(stored(services, model, kept)) == kept
