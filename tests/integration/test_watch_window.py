"""A new champion is watched beside the one before, with a real server and the Dag `watch_champion`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from podium.ledger.events import Event, EventKind
from podium.ledger.history import watch_freeze
from podium.ledger.receivers import CHAMPION_ASSET
from podium.ledger.watch_counts import Counts, tell_watched
from podium.monitoring.watch_recompute import watch_differences
from podium.operations.airflow_client import AirflowClient
from podium.services import Services
from podium.training.run import FromCode
from support import odd_script
from support.airflow import LifecycleRun, get, wait_for, wait_for_run
from support.serving import Server, make_champion, register_model, serving
from support.trial import RECORDS, ROWS, regression
from support.watched import promote_watched, watching

MODEL, DAG, ASKS = "toy-watched", "watch_champion", "propose_rollback"
ODD = FromCode(Path(odd_script.__file__), {})
RAISES = {"x": 101.0, "z": 0.0}
# From the verdict on record to the old version that answers.
SERVED_WITHIN_SECONDS = 15


@pytest.fixture
def server(stack_services: Services) -> Iterator[Server]:
    """A server of a model whose first champion never fails."""
    number = register_model(stack_services, MODEL, regression(1), ROWS)
    make_champion(stack_services, MODEL, number)
    announced(stack_services)
    with serving(stack_services, MODEL, poll_seconds=1.0) as running:
        running.wait_until_ready()
        yield running


def announced(services: Services, model: str = MODEL) -> None:
    """No task announces the test's promotions: the announcement of a rollback would wait for them."""
    newest = services.ledger.history(model, kinds=[EventKind.PROMOTED])[-1]
    services.ledger.move_cursor(CHAMPION_ASSET.name, model, newest.seq)


def promote(services: Services, server: Server, model: Any, **terms: Any) -> Event:
    before = services.registry.champion(MODEL)
    assert before is not None
    number = register_model(services, MODEL, model, ROWS)
    promoted = promote_watched(services, MODEL, number, **terms)
    announced(services)
    server.wait_for_version(number)
    watching(server, before)
    return promoted


def open_another(services: Services) -> Event:
    """Open the watch window of another model, of which a server is to tell."""
    model = f"{MODEL}-too"
    make_champion(services, model, register_model(services, model, regression(1), ROWS))
    promoted = promote_watched(services, model, register_model(services, model, regression(2), ROWS), rows=5)
    announced(services, model)
    return promoted


def verdict_on(services: Services, promoted: Event) -> Event:
    def found() -> list[Event]:
        events = services.ledger.history(promoted.model, kinds=[EventKind.WATCH_JUDGED])
        return [event for event in events if event.details["promotion"] == promoted.seq]

    return wait_for(found, f"the verdict on the window of {promoted.version}")[0]


def test_good_then_bad_that_goes_back_by_itself_then_both_bad(
    server: Server, stack_services: Services, operator: AirflowClient
) -> None:
    operator.wait_for_dag(DAG)
    promoted = promote(stack_services, server, regression(2), rows=5)
    run = operator.trigger(DAG, {})
    for record in RECORDS[:5]:
        assert server.client.post("/predict", json=[record]).status_code == 200
    good = verdict_on(stack_services, promoted)
    assert good.reason == "good: v2 is not seen to be worse than v1 on 5 rows"
    assert wait_for_run(operator, DAG, run) == "success"

    promoted = promote(stack_services, server, ODD, rows=1000, auto_rollback="on")
    run = operator.trigger(DAG, {})
    for _ in range(20):
        assert server.client.post("/predict", json=[RAISES]).status_code == 400
    bad = verdict_on(stack_services, promoted)
    assert bad.details["said"] == "bad"
    server.wait_for_version(2)
    assert (datetime.now(UTC) - bad.at).total_seconds() < SERVED_WITHIN_SECONDS
    assert server.client.post("/predict", json=[RAISES]).status_code == 200
    assert wait_for_run(operator, DAG, run) == "success"
    events = stack_services.ledger.history(MODEL)
    (back,) = [event for event in events if event.event is EventKind.ROLLED_BACK]
    assert (back.version, back.from_version, back.actor) == (2, 3, "watch window of v3")
    assert back.reason.startswith("bad: v3 alone failed ")
    done = dict.fromkeys(["judge", "announce", "note_announced", "proposals"], "success")
    assert operator.task_states(DAG, run) == {
        **done,
        "others": "success",
        "ask": "skipped",
        "again": "skipped",
    }

    make_champion(stack_services, MODEL, register_model(stack_services, MODEL, ODD, ROWS))
    announced(stack_services)
    promoted = promote(stack_services, server, ODD, rows=1000, auto_rollback="on")
    run = operator.trigger(DAG, {})
    for _ in range(20):
        assert server.client.post("/predict", json=[RAISES]).status_code == 400
    both = verdict_on(stack_services, promoted)
    assert both.details["said"] == "both bad"
    assert wait_for_run(operator, DAG, run) == "success"
    assert stack_services.registry.champion(MODEL) == promoted.version
    assert watch_freeze(stack_services.ledger.history(MODEL)) == both
    assert watch_differences(stack_services.ledger, [MODEL]) == []


def test_bad_by_labels_is_proposed_and_approved_by_a_person_and_a_window_may_be_inconclusive(
    server: Server, stack_services: Services, operator: AirflowClient, approver: AirflowClient
) -> None:
    operator.wait_for_dag(ASKS)
    asks_for = {"rows": 1000, "labelled_rows": 60, "metric": "mean_absolute_error"}
    promoted = promote(stack_services, server, regression(9), **asks_for)
    other = open_another(stack_services)
    run = operator.trigger(DAG, {})
    for number, record in enumerate(RECORDS):
        headers = {"X-Request-Id": f"{promoted.seq}-{number}"}
        assert server.client.post("/predict", json=[record], headers=headers).status_code == 200
    for number, record in enumerate(RECORDS):
        said = {"request_id": f"{promoted.seq}-{number}", "label": record["x"]}
        wait_for(lambda said=said: server.client.post("/feedback", json=said).status_code == 202, "stored")
    bad = verdict_on(stack_services, promoted)
    assert bad.reason.startswith(f"bad: mean absolute error of v{promoted.version} is worse than that of v")
    assert wait_for_run(operator, DAG, run) == "success"
    spec = SimpleNamespace(lifecycle_dag_id=ASKS, name=MODEL)
    asking = LifecycleRun(operator, cast(Any, spec), f"verdict-{bad.seq}")
    assert f"said {bad.reason}.**" in asking.wait_for_card("Open until")
    tell_watched(stack_services.ledger, other.model, other.seq, "a", Counts(5, 5), "")
    assert verdict_on(stack_services, other).details["said"] == "good"
    started = [one["dag_run_id"] for one in get(operator, f"/api/v2/dags/{DAG}/dagRuns")["dag_runs"]]
    assert [name for name in started if name.startswith("after__")], "no schedule is waited for"
    assert "the reason has 5 letters and digits" in asking.answer_in_vain(approver, "Approve", "short")
    asking.approve(approver, "the labels are right")
    assert asking.wait_for_end() == "success"
    back = stack_services.ledger.history(MODEL, kinds=[EventKind.ROLLED_BACK])[-1]
    assert (back.version, back.from_version) == (promoted.from_version, promoted.version)
    assert back.actor == "approver"
    assert back.reason == f"the labels are right; the watch window of v{promoted.version} said {bad.reason}"
    assert back.version is not None
    server.wait_for_version(back.version)

    promoted = promote(stack_services, server, regression(2), rows=1000, at_most_seconds=20.0)
    run = operator.trigger(DAG, {})
    assert server.client.post("/predict", json=RECORDS[:3]).status_code == 200
    unsure = verdict_on(stack_services, promoted)
    assert unsure.reason == "inconclusive: the window is over; missing: 997 rows"
    assert wait_for_run(operator, DAG, run) == "success"
    assert stack_services.registry.champion(MODEL) == promoted.version
    assert watch_differences(stack_services.ledger, [MODEL]) == []
