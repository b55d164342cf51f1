"""The other shipped models go through the same chain: trained, judged, approved, served, rolled back."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import mlflow
import numpy as np
import pyarrow.parquet as pq

from podium.model_file.loading import find_spec
from podium.operations.airflow_client import AirflowClient
from podium.registry.manifest import downloaded
from podium.registry.model_files import load_model
from podium.services import Services
from podium.settings import PROJECT_ROOT
from podium.stack.running_stack import Stack
from support.airflow import LifecycleRun, events_of
from support.command_line import commands_of, podium
from support.serving import Server, serving

PROMOTED = ["registered", "gates_passed", "nominated", "approval_requested", "approval_given", "approved"]
PROMOTED += ["promotion_started", "promoted"]
# Two days each: the made-up sales end on 2015-07-31; bug reports and code tasks are known at any time.
AS_OF = {
    "rossmann-ensemble": ("2015-07-20", "2015-08-01"),
    "bug-severity-clf": ("2026-01-01", "2026-02-01"),
    "code-generation": ("2026-01-01", "2026-02-01"),
}


def test_each_family_is_promoted_twice_and_rolled_back(
    start: Callable[..., LifecycleRun],
    operator: AirflowClient,
    approver: AirflowClient,
    stack: Stack,
    stack_services: Services,
    models: Path,
    tmp_path: Path,
) -> None:
    with serving(stack_services, *AS_OF, poll_seconds=5) as server:
        for place in (0, 1):
            runs = {model: start(model, as_of=days[place]) for model, days in AS_OF.items()}
            if place == 1:
                runs["bug-severity-clf"].wait_until("approve", "awaiting_input")
                follow_the_document_on_batch_scoring(stack, models, tmp_path)
            for model, run in runs.items():
                run.approve(approver)
                assert run.wait_for_end() == "success"
                assert "promoted" in run.note(), model
                assert_serves(server, stack_services, model, place + 1)
        back = {
            model: operator.trigger("rollback_champion", {"model": model, "reason": "complaints"})
            for model in AS_OF
        }
        for model, run_id in back.items():
            assert operator.wait_for_end("rollback_champion", run_id) == "success"
            told = [event for event, _, _ in events_of(stack_services, model)]
            assert [event for event in told if event != "asked_again"] == [
                *PROMOTED,
                *PROMOTED,
                "rollback_started",
                "rolled_back",
            ]
            assert stack_services.registry.aliases(model) == {"champion": 1}
            assert_serves(server, stack_services, model, 1)
    assert_new_reports_are_scored(operator, models)


def assert_serves(server: Server, services: Services, model: str, number: int) -> None:
    """The server answers the version's example, as the version does."""
    server.wait_for_version(number, f"/models/{model}")
    uri = f"models:/{model}/{number}"
    body = mlflow.artifacts.load_text(f"{uri}/serving_input_example.json")
    headers = {"Content-Type": "application/json"}
    answer = server.client.post(f"/models/{model}/invocations", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["X-Model-Version"] == str(number)
    with downloaded(services.registry, model, number) as folder:
        pyfunc = load_model(folder)
        expected = pyfunc.predict(pyfunc.input_example)
    assert answer.json()["predictions"] == np.asarray(expected).tolist()


def follow_the_document_on_batch_scoring(stack: Stack, models: Path, folder: Path) -> None:
    """While a candidate waits for its review."""
    (folder / "include").symlink_to(PROJECT_ROOT / "include")
    for command in commands_of(PROJECT_ROOT / "docs" / "batch-scoring.md"):
        done = podium(
            stack, *shlex.split(command, comments=True), folder=folder, PODIUM_MODELS_DIR=str(models)
        )
        assert done.returncode == 0, f"podium {command}: {done.stderr}"
    assert (json.loads(done.stdout)["versions"], json.loads(done.stdout)["rows"]) == ([1, 2], 300)
    assert len(pq.read_table(folder / "scores.parquet")) == 300


def assert_new_reports_are_scored(operator: AirflowClient, models: Path) -> None:
    """By the version that was rolled back to."""
    dag_id = "score_bug_severity_clf"
    operator.set_paused(dag_id, paused=False)
    assert operator.wait_for_end(dag_id, operator.trigger(dag_id, {})) == "success"
    scoring = find_spec(models, "bug-severity-clf").scoring
    assert scoring is not None
    found = pq.read_table(scoring.output).to_pandas()
    assert (len(found), set(found["model_version"])) == (600, {1})
    assert set(found["prediction"]) == {"Minor", "Major", "Critical"}
