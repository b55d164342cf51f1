"""Batch scoring on real Airflow: a task and an asset per partition, one version for the run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import boto3
import pandas as pd
import pyarrow.parquet as pq
import pytest

from podium.errors import DataError, Outage
from podium.ledger.events import EventKind
from podium.ledger.watch_counts import Counts
from podium.model_file.loading import find_spec
from podium.model_file.spec import ModelSpec
from podium.model_file.watch import WatchSpec
from podium.operations.airflow_client import AirflowClient
from podium.scoring.outputs import output_of
from podium.scoring.pinned_version import loaded, pin
from podium.scoring.run import Job, LogProgress, score_to
from podium.services import Services
from podium.sources.read import Source, list_partitions
from podium.stack.running_stack import Stack
from support.airflow import get, wait_for_event
from support.places import PROJECT
from support.steps import promote_past_airflow
from support.watched import counted

MODELS, SCORES = PROJECT / "include" / "models", PROJECT / "scores" / "toy"
MODEL, DAG, MONITORING = "toy-scored", "score_toy_scored", "monitor_toy_scored"


def write_rows(name: str, rows: int) -> None:
    (PROJECT / "new").mkdir(exist_ok=True)
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    ids = [f"{name}-{row}" for row in range(rows)]
    frame = pd.DataFrame({"id": ids, "day": yesterday, "x": [row / rows for row in range(rows)]})
    frame.astype({"x": object}).replace({"x": {0.0: "oops"}}).to_csv(
        PROJECT / "new" / f"{name}.csv", index=False
    )


def run_dag(client: AirflowClient, dag_id: str, **form: Any) -> tuple[str, str]:
    """Score, and return the run with how it ended."""
    client.wait_for_dag(dag_id)
    client.set_paused(dag_id, paused=False)
    run_id = client.trigger(dag_id, form)
    return run_id, client.wait_for_end(dag_id, run_id)


def tasks(client: AirflowClient, run_id: str) -> dict[str, str]:
    """The state of each task, with the partition for a name where it has one."""
    found = get(client, f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances")["task_instances"]
    return {task["rendered_map_index"] or task["task_id"]: task["state"] for task in found}


def events_of(client: AirflowClient, run_id: str) -> dict[str, dict[str, Any]]:
    """What a run told of each asset, by the asset's name."""
    told = get(client, f"/api/v2/assets/events?limit=100&source_run_id={quote(run_id)}&source_dag_id={DAG}")[
        "asset_events"
    ]
    return {event["name"]: event["extra"] for event in told}


def log_of(stack: Stack, run_id: str, task_id: str, dag_id: str = DAG) -> str:
    logs = sorted(stack.logs.rglob(f"dag_id={dag_id}/run_id={run_id}/task_id={task_id}/**/attempt=*.log"))
    return " ".join(log.read_text() for log in logs)


def scores() -> pd.DataFrame:
    return pq.read_table(SCORES).to_pandas()


@pytest.fixture
def champion(stack_services: Services) -> ModelSpec:
    """The scored toy, with version 2 as champion after version 1; promoted past Airflow, which is faster."""
    spec = find_spec(MODELS, MODEL)
    if stack_services.registry.champion(MODEL) is None:
        for days_ago in (20, 5):
            promote_past_airflow(stack_services, spec, datetime.now(UTC) - timedelta(days=days_ago))
    return spec


def test_a_task_and_an_asset_per_partition_and_a_re_run_replaces(
    champion: ModelSpec, operator: AirflowClient, stack: Stack
) -> None:
    write_rows("monday", 20)
    write_rows("tuesday", 30)
    run_id, state = run_dag(operator, DAG)
    assert state == "success"
    assert tasks(operator, run_id) == dict.fromkeys(("resolve", "monday", "tuesday", "announce"), "success")
    assert (len(scores()), set(scores()["model_version"])) == (48, {2})
    told = events_of(operator, run_id)
    assert set(told) == {f"scores of {MODEL}{part}" for part in ("", ": monday", ": tuesday")}
    monday = told[f"scores of {MODEL}: monday"]
    assert (monday["version"], monday["rows"], monday["rejected"]) == (2, 20, 1)
    assert monday["rejects"] == str(SCORES / "_rejects" / "monday.parquet")
    assert told[f"scores of {MODEL}"]["rows"] == 50
    assert "19 of 20 rows scored to" in log_of(stack, run_id, "score")
    assert "1 rejected to" in log_of(stack, run_id, "score")
    judged, state = run_dag(operator, MONITORING)
    assert state == "success"
    counted_before = "2 of 2 partitions; by an earlier run of monitoring: 0; read now: 0"
    assert f"counted by batch scoring: {counted_before}" in log_of(stack, judged, "judge", MONITORING)
    assert ", 48 rows" in get(operator, f"/api/v2/dags/{MONITORING}/dagRuns/{judged}")["note"]
    write_rows("tuesday", 10)
    run_id, state = run_dag(operator, DAG, version="1", partitions="tues*")
    assert state == "success"
    assert scores().groupby("model_version").size().to_dict() == {1: 9, 2: 19}
    assert set(events_of(operator, run_id)) == {f"scores of {MODEL}", f"scores of {MODEL}: tuesday"}


def test_a_version_that_was_rolled_away_from_is_refused_unless_told(
    champion: ModelSpec, operator: AirflowClient, stack: Stack
) -> None:
    write_rows("monday", 20)
    form = {"model": MODEL, "reason": "complaints"}
    assert (
        operator.wait_for_end("rollback_champion", operator.trigger("rollback_champion", form)) == "success"
    )
    run_id, state = run_dag(operator, DAG, version="2")
    assert state == "failed"
    assert tasks(operator, run_id)["resolve"] == "failed"
    assert "v2 was rolled back on" in log_of(stack, run_id, "resolve")
    _, state = run_dag(operator, DAG, version="2", partitions="monday", allow_rolled_back=True)
    assert state == "success"
    _, state = run_dag(operator, DAG, partitions="monday")
    assert state == "success"
    assert scores().loc[lambda rows: rows["id"].str.startswith("monday"), "model_version"].unique() == [1]


def test_a_share_of_a_partition_is_judged_by_the_watch_window(
    champion: ModelSpec, operator: AirflowClient, stack_services: Services
) -> None:
    section = WatchSpec(rows=9, labelled_rows=0, auto_rollback="off")
    watched = champion.model_copy(update={"watch": section})
    promote_past_airflow(stack_services, watched, datetime.now(UTC) - timedelta(days=1))
    promoted = stack_services.ledger.history(MODEL, kinds=[EventKind.PROMOTED])[-1]
    write_rows("wednesday", 200)
    for _ in range(2):
        _, state = run_dag(operator, DAG, partitions="wednesday")
        assert state == "success"
        # Of the ten rows nobody can read the first.
        assert counted(stack_services, promoted) == Counts(9, 9)
    operator.wait_for_dag("watch_champion")
    run_id = operator.trigger("watch_champion", {})
    judged = wait_for_event(stack_services, MODEL, EventKind.WATCH_JUDGED)
    assert (judged.details["promotion"], judged.version) == (promoted.seq, promoted.version)
    assert judged.reason.startswith("good: ")
    assert judged.reason.endswith(" on 9 rows")
    assert operator.wait_for_end("watch_champion", run_id) == "success"


def test_s3_to_s3(
    champion: ModelSpec, stack: Stack, stack_services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = stack._layout()
    for name, value in (
        ("AWS_ENDPOINT_URL", layout.s3_url),
        ("AWS_ACCESS_KEY_ID", layout.secrets.s3_key),
        ("AWS_SECRET_ACCESS_KEY", layout.secrets.s3_secret),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="rows")
    for name in ("a", "b"):
        client.put_object(Bucket="rows", Key=f"new/{name}.csv", Body=b"id,x\n1,0.5\n2,oops\n")
    source = Source("s3://rows/new/*.csv", PROJECT)
    first, second = list_partitions(source)
    assert (first.name, second.at) == ("a", "s3://rows/new/b.csv")
    pinned = pin(stack_services, MODEL, "1")
    output = output_of("s3://rows/scores/", first.name, PROJECT, None)
    job = Job(source, first, output, ["id"])
    with loaded(stack_services, champion, pinned) as scorer:
        done = score_to(scorer, pinned, job, LogProgress("s3"))
        assert (done.rows, done.rejected, done.rejects) == (2, 1, "s3://rows/scores/_rejects/a.parquet")
        keys = [item["Key"] for item in client.list_objects_v2(Bucket="rows", Prefix="scores/")["Contents"]]
        assert keys == ["scores/_rejects/a.parquet", "scores/a.parquet"]
        client.put_object(Bucket="rows", Key="new/a.csv", Body=b"id,x\n1,0.5\n")
        score_to(scorer, pinned, job, LogProgress("s3"))
        keys = [item["Key"] for item in client.list_objects_v2(Bucket="rows", Prefix="scores/")["Contents"]]
        assert keys == ["scores/a.parquet"]
        with pytest.raises(DataError, match="there is no file or folder s3://rows/away"):
            list_partitions(Source("s3://rows/away", PROJECT))
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
        with pytest.raises(Outage, match="s3://rows/new/"):
            list_partitions(source)
