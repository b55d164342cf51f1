"""Follow a run of a lifecycle Dag over Airflow's REST API, and read what it left behind."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from xml.sax.saxutils import unescape

import pytest
import requests

from podium.errors import PodiumError
from podium.ledger.events import Event
from podium.model_file.spec import ModelSpec
from podium.operations.airflow_client import AirflowClient
from podium.services import Services
from support.patience import PATIENCE_SECONDS

Found = TypeVar("Found")

# Each question is 20 ms of the API server's time, and the tasks that are waited for need it more.
POLL_SECONDS = 0.7


@dataclass(frozen=True)
class LifecycleRun:
    """A run of a lifecycle Dag, as a test follows it."""

    client: AirflowClient
    spec: ModelSpec
    run_id: str

    @property
    def reference(self) -> str:
        return f"{self.spec.lifecycle_dag_id}/{self.run_id}"

    def task_states(self) -> dict[str, str | None]:
        return self.client.task_states(self.spec.lifecycle_dag_id, self.run_id)

    def wait_until(self, task_id: str, *states: str) -> str:
        """Wait until a task is in one of these states; fails at once if a task has failed before."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (state := (found := self.task_states()).get(task_id)) not in states:
            assert "failed" not in found.values(), f"{self.reference} failed: {found}"
            assert time.monotonic() < deadline, f"{task_id} of {self.reference} is {state}, not {states}"
            time.sleep(POLL_SECONDS)
        return str(state)

    def wait_for_end(self) -> str:
        return wait_for_run(self.client, self.spec.lifecycle_dag_id, self.run_id)

    def note(self) -> str:
        """Return what the note of the run says, once it has ended."""
        run = get(self.client, f"/api/v2/dags/{self.spec.lifecycle_dag_id}/dagRuns/{self.run_id}")
        return str(run["note"])

    def answer(self, who: AirflowClient, option: str, reason: str | None, **ticks: bool) -> None:
        """Answer the approval; without a reason the form stays empty."""
        form = {} if reason is None else {"reason": reason, **ticks}
        who.answer(self.spec.lifecycle_dag_id, self.run_id, "approve", option, form)

    def answer_in_vain(self, who: AirflowClient, option: str, reason: str | None, **ticks: bool) -> str:
        """Give an answer that does not count, and return what the person is told."""
        with pytest.raises(PodiumError, match="409") as refused:
            self.answer(who, option, reason, **ticks)
        return str(refused.value)

    def wait_for_card(self, shown: str = "") -> str:
        """Wait until the card is up and its picture shows something; a little longer than answers are lost.

        Returns:
            The card's text, and then the picture's.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            self.wait_until("approve", "awaiting_input")
            card = self.client.required_action(self.spec.lifecycle_dag_id, self.run_id, "approve")
            picture = picture_of(self.client, card["body"])
            if shown in picture and card["responded_at"] is None:
                time.sleep(2)
                return str(card["body"]) + picture
            assert time.monotonic() < deadline, f"the card of {self.reference} does not show {shown!r}"
            time.sleep(POLL_SECONDS)

    def approve(self, who: AirflowClient, reason: str = "it is good enough", *, wait: bool = True) -> None:
        """Approve, and again if Airflow lost the answer, as a person would."""
        for _ in range(5):
            self.wait_until("approve", "awaiting_input")
            time.sleep(2)
            self.answer(who, "Approve", reason)
            if not wait:
                return
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:
                if self.task_states()["approve"] == "success":
                    return
                time.sleep(POLL_SECONDS)
        raise AssertionError(f"{self.reference} was not approved: {self.task_states()}")


def wait_for(look: Callable[[], Found], what: str) -> Found:
    """Look again until there is something, and return it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := look()):
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(POLL_SECONDS)
    return found


def wait_for_run(client: AirflowClient, dag_id: str, run_id: str) -> str:
    """Wait until a run of any Dag has ended, and return its state."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (state := client.run_state(dag_id, run_id)) in ("queued", "running"):
        assert time.monotonic() < deadline, (
            f"{dag_id}/{run_id} has not ended: {client.task_states(dag_id, run_id)}"
        )
        time.sleep(POLL_SECONDS)
    return state


def events_of(services: Services, model: str) -> list[tuple[str, int | None, str]]:
    """Return (event, version, actor) of a model's history."""
    return [(event.event.value, event.version, event.actor) for event in services.ledger.history(model)]


def picture_of(client: AirflowClient, body: str) -> str:
    """Fetch the picture on a card, as whoever is logged in, and return its text."""
    found = re.search(r"\[!\[Approved by .*?\]\((.*?)\)\]", body)
    assert found is not None, body
    picture = client._session.get(client.url + found[1], timeout=PATIENCE_SECONDS)
    picture.raise_for_status()
    assert picture.headers["content-type"] == "image/svg+xml"
    return " ".join(unescape(" ".join(re.findall(r">([^<>]+)</text>", picture.text))).split())


def wait_for_event(services: Services, model: str, kind: str) -> Event:
    """Wait until the history of a model has an event of a kind, and return the newest."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        if found := [event for event in services.ledger.history(model) if event.event == kind]:
            return found[-1]
        assert time.monotonic() < deadline, (
            f"no {kind} in the history of {model}: {events_of(services, model)}"
        )
        time.sleep(0.05)


def event_of(services: Services, model: str, kind: str) -> Event:
    """Return the one event of a kind."""
    found = [event for event in services.ledger.history(model) if event.event == kind]
    assert len(found) == 1, f"{kind} stands {len(found)} times in the history of {model}"
    return found[0]


def get(client: AirflowClient, path: str) -> Any:
    """GET anything of Airflow's REST API as a user."""
    answer = client._session.get(client.url + path, timeout=PATIENCE_SECONDS)
    answer.raise_for_status()
    return answer.json()


def send(client: AirflowClient, method: str, path: str, body: dict[str, Any]) -> requests.Response:
    """Send anything to Airflow's REST API as a user, whatever it answers."""
    return client._session.request(method, client.url + path, json=body, timeout=PATIENCE_SECONDS)
