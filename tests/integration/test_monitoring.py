"""A champion is monitored on real Airflow: stable windows, then harm, and the lifecycle starts by itself."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from podium.ledger.events import EventKind
from podium.model_file.loading import find_spec
from podium.model_file.spec import ModelSpec
from podium.monitoring.on_record import KINDS, on_record
from podium.monitoring.recompute import evidence_differences
from podium.operations.airflow_client import AirflowClient
from podium.reporting.drift_run import PICTURE
from podium.services import Services
from support.airflow import LifecycleRun, get, send, wait_for, wait_for_event
from support.places import MODELS
from support.steps import promote_past_airflow

MODEL, DAG = "toy-monitored", "monitor_toy_monitored"
WEEK = timedelta(days=7)
TODAY = datetime.combine(datetime.now(UTC).date(), time.min, UTC)
# Seven whole weeks ago; of those the first two are as before.
BEGAN = TODAY - timedelta(days=TODAY.weekday()) - 7 * WEEK
STABLE, HARMED = 2, 2


@pytest.fixture(scope="module")
def rows() -> None:
    """Ten rows a day for 600 days; in the third and fourth week the labels are the other way round."""
    draws = np.random.default_rng(11)
    day = np.repeat(pd.date_range(BEGAN - timedelta(days=540), TODAY, tz="UTC"), 10)
    week = (day - BEGAN) // WEEK
    x = draws.normal(size=len(day))
    wrong = (week >= STABLE) & (week < STABLE + HARMED)
    y = np.where((x + draws.normal(scale=0.7, size=len(day)) > 0) ^ wrong, "yes", "no")
    pd.DataFrame({"day": day.strftime("%Y-%m-%d"), "x": x, "y": y}).to_csv(
        MODELS / "monitored.csv", index=False
    )


@pytest.fixture
def champion(rows: None, stack_services: Services) -> ModelSpec:
    """The monitored toy, whose first version was trained as of seven weeks ago."""
    spec = find_spec(MODELS, MODEL)
    promote_past_airflow(stack_services, spec, BEGAN)
    return spec


def backfill(client: AirflowClient, last: datetime) -> None:
    """Judge the windows from the promotion on; the last one begins at a moment."""
    span = {"from_date": BEGAN.isoformat(), "to_date": last.isoformat()}
    answer = send(client, "POST", "/api/v2/backfills", {"dag_id": DAG, **span, "max_active_runs": 1})
    assert answer.ok, answer.text


def runs_of(client: AirflowClient, dag_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = get(client, f"/api/v2/dags/{dag_id}/dagRuns?limit=100")["dag_runs"]
    return found


def test_harm_starts_the_lifecycle_and_after_its_promotion_the_wealth_is_new(
    champion: ModelSpec,
    operator: AirflowClient,
    admin: AirflowClient,
    approver: AirflowClient,
    stack_services: Services,
) -> None:
    for dag_id in (DAG, champion.lifecycle_dag_id):
        operator.wait_for_dag(dag_id)
        operator.set_paused(dag_id, paused=False)
    backfill(admin, BEGAN + STABLE * WEEK)
    wanted = wait_for_event(stack_services, MODEL, EventKind.RETRAIN_WANTED)
    assert wanted.version == 1
    assert wanted.reason.startswith("log loss ")
    assert wanted.details["as_of"] == (BEGAN + (STABLE + 1) * WEEK).isoformat()
    started = wait_for(
        lambda: [
            run
            for run in runs_of(operator, champion.lifecycle_dag_id)
            if run["run_type"] == "asset_triggered"
        ],
        "a run that the asset started",
    )
    run = LifecycleRun(operator, champion, started[0]["dag_run_id"])
    said = f'Requested by `monitoring of {MODEL}`: `started by "{wanted.reason}"`.'
    assert said in run.wait_for_card()
    asked = wait_for_event(stack_services, MODEL, EventKind.APPROVAL_REQUESTED)
    assert asked.details["requester"] == f"monitoring of {MODEL}"
    assert asked.details["form"] == {"started by": wanted.reason}
    run.approve(approver)
    assert run.wait_for_end() == "success"
    assert run.note().endswith(f"; started by: {wanted.reason}")
    assert stack_services.registry.champion(MODEL) == 2
    registered = [
        event
        for event in stack_services.ledger.history(MODEL, kinds=[EventKind.REGISTERED])
        if event.version == 2
    ]
    assert registered[0].details["podium.as_of"] == wanted.details["as_of"].removesuffix("+00:00")

    # The newest whole window, which the schedule judges, is the first one of the new champion.
    run_id = operator.trigger(DAG, {})
    assert operator.wait_for_end(DAG, run_id) == "success"
    events = stack_services.ledger.history(MODEL, kinds=KINDS)
    first, second = (on_record(events, version) for version in (1, 2))
    assert len(first.windows) >= STABLE + 1
    assert second.windows
    assert first.reference != second.reference
    references = stack_services.ledger.history(MODEL, kinds=[EventKind.REFERENCE_MADE])
    made = [(event.version, event.reason.rpartition(", ")[2]) for event in references]
    assert made == [(1, "made with the version"), (2, "made with the version")]
    for version in (1, 2):
        pictures = stack_services.registry.artifacts(stack_services.registry.monitoring_run(MODEL, version))
        assert PICTURE in pictures
    assert evidence_differences(stack_services.ledger, [MODEL]) == []
    notes = [run["note"] for run in runs_of(operator, DAG) if run["note"]]
    assert any("rows: nothing seen" in note for note in notes), json.dumps(notes)
    assert any(f"rows: retrain: {wanted.reason}" in note for note in notes), json.dumps(notes)
