"""Waiting for Airflow: until it knows a Dag, and until a run has ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from podium.errors import Outage, PodiumError
from podium.operations import airflow_client
from podium.operations.airflow_client import AirflowClient
from support.answering import answering

DETAILS = "/api/v2/dags/lifecycle_toy/details"
DAG = "/api/v2/dags/lifecycle_toy"
RUN = "/api/v2/dags/lifecycle_toy/dagRuns/r1"


class Airflow(dict[str, Any]):
    """Its pages; one that is a list is another at each look, and at last stays."""

    def get(self, path: str, default: Any = None) -> Any:
        page = super().get(path, default)
        if isinstance(page, list):
            page = page.pop(0) if len(page) > 1 else page[0]
        return page


@pytest.fixture
def airflow() -> Airflow:
    return Airflow({"/auth/token": {"access_token": "of amy"}, DAG: {"is_paused": False}})


@pytest.fixture
def client(airflow: Airflow) -> Iterator[AirflowClient]:
    with answering(airflow) as url:
        yield AirflowClient(url, "amy", "hush")


def test_a_dag_is_waited_for_until_it_is_known(airflow: Airflow, client: AirflowClient) -> None:
    airflow[DETAILS] = [404, 404, {"dag_id": "lifecycle_toy"}]
    client.wait_for_dag("lifecycle_toy")
    assert len(airflow[DETAILS]) == 1


def test_a_dag_that_does_not_come_is_told_with_what_is_wrong(airflow: Airflow, client: AirflowClient) -> None:
    airflow["/api/v2/dags"] = {"dags": [{"dag_id": "reconcile_champions"}]}
    airflow["/api/v2/importErrors"] = {
        "import_errors": [{"filename": "x.py", "stack_trace": "SyntaxError: x"}]
    }
    with pytest.raises(PodiumError) as missing:
        client.wait_for_dag("lifecycle_toy", timeout_seconds=0.7)
    assert str(missing.value) == (
        "Airflow has no Dag lifecycle_toy after 0.7 s: ['reconcile_champions']\nSyntaxError: x"
    )


@pytest.mark.parametrize("state", ["success", "failed"])
def test_a_run_is_waited_for_until_it_has_ended(airflow: Airflow, client: AirflowClient, state: str) -> None:
    airflow[RUN] = [{"state": "queued"}, {"state": "running"}, {"state": state}, {"state": "asked too often"}]
    assert client.wait_for_end("lifecycle_toy", "r1") == state


def test_each_step_of_a_run_is_told_once_and_in_order(airflow: Airflow, client: AirflowClient) -> None:
    def tasks(**states: str | None) -> dict[str, Any]:
        found = [{"task_id": name, "state": state} for name, state in states.items()]
        return {"task_instances": found}

    airflow[RUN] = [{"state": "running"}, {"state": "running"}, {"state": "running"}, {"state": "success"}]
    airflow[f"{RUN}/taskInstances"] = [
        tasks(move=None, announce=None),
        tasks(move="running", announce=None),
        tasks(move="running", announce=None),
        tasks(move="success", announce="success"),
    ]
    steps: list[tuple[str, str]] = []
    assert client.wait_for_end("lifecycle_toy", "r1", lambda *step: steps.append(step)) == "success"
    assert steps == [("move", "running"), ("move", "success"), ("announce", "success")]


def test_a_run_of_a_paused_dag_is_not_waited_for(airflow: Airflow, client: AirflowClient) -> None:
    airflow[RUN] = [{"state": "running"}, {"state": "queued"}]
    airflow[DAG] = [{"is_paused": False}, {"is_paused": True}]
    with pytest.raises(PodiumError, match="the Dag lifecycle_toy is paused in Airflow, .*switch it on"):
        client.wait_for_end("lifecycle_toy", "r1")
    airflow[RUN] = {"state": "success"}
    assert client.wait_for_end("lifecycle_toy", "r1") == "success"


def test_who_follows_a_run_asks_a_silent_airflow_again_for_a_while(
    airflow: Airflow, client: AirflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow[RUN] = [{"state": "running"}, 500, 500, {"state": "success"}]
    assert client.wait_for_end("lifecycle_toy", "r1") == "success"
    monkeypatch.setattr(airflow_client, "SILENCE_SECONDS", 0.7)
    airflow[RUN] = [{"state": "running"}, *[500] * 5, {"state": "asked too often"}]
    with pytest.raises(Outage, match=f"Airflow failed at GET {RUN}: 500"):
        client.wait_for_end("lifecycle_toy", "r1")


def test_an_airflow_that_refuses_is_not_waited_for(airflow: Airflow, client: AirflowClient) -> None:
    airflow[RUN] = [403, {"state": "success"}]
    with pytest.raises(PodiumError, match="refused GET .* to amy: 403"):
        client.wait_for_end("lifecycle_toy", "r1")
    airflow[DETAILS] = [403, {"dag_id": "lifecycle_toy"}]
    with pytest.raises(PodiumError, match="refused GET .* to amy: 403"):
        client.wait_for_dag("lifecycle_toy")
