"""Act as people and clients do, over REST: run a lifecycle, approve it, ask a model server.

For the demo, and for the programs that prove a stack before anybody trusts it.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn

import requests
from rich.markdown import Markdown
from tenacity import RetryCallState, Retrying, retry_if_result, stop_before_delay, wait_fixed

from podium.errors import PodiumError
from podium.operations.airflow_client import AirflowClient
from podium.reporting.terminal import Terminal

STALLED_SECONDS = 300
READY_SECONDS = 120
ANSWER_AFTER_SECONDS = 2
_ANSWER_SECONDS = 30
console = Terminal(highlight=False)
_SHOWN = {
    "running": "running",
    "awaiting_input": "[yellow]waits for a person[/yellow] (no worker slot held)",
    "success": "[green]done[/green]",
    "skipped": "[yellow]skipped[/yellow]",
    "up_for_retry": "[yellow]will be tried again[/yellow]",
    "failed": "[red]failed[/red]",
}


@contextmanager
def unpaused(who: AirflowClient, *dag_ids: str) -> Iterator[None]:
    """Let Dags run, and leave them afterwards as they were."""
    for dag_id in dag_ids:
        who.wait_for_dag(dag_id)
    paused = [dag_id for dag_id in dag_ids if who.is_paused(dag_id)]
    for dag_id in paused:
        who.set_paused(dag_id, paused=False)
    try:
        yield
    finally:
        for dag_id in paused:
            who.set_paused(dag_id, paused=True)


def run_lifecycle(  # noqa: PLR0913 - two people, a run and its form, an answer
    operator: AirflowClient,
    approver: AirflowClient,
    dag_id: str,
    form: Mapping[str, Any],
    reason: str,
    show_card: Callable[[Markdown], None] = console.print,
) -> str:
    """Trigger a lifecycle, show the approver's card, approve, and wait for its end.

    Args:
        operator: Who triggers it.
        approver: Who approves it.
        dag_id: Its Dag.
        form: The form of the run.
        reason: The approver's reason.
        show_card: Shows the card, once.

    Returns:
        The run's id.

    Raises:
        PodiumError: The run failed, or no task of it ran or changed for ``STALLED_SECONDS``.
    """
    run_id = operator.trigger(dag_id, form)
    shown = False
    for states in follow(operator, dag_id, run_id):
        if states.get("approve") != "awaiting_input":
            continue
        if not shown:
            action = approver.required_action(dag_id, run_id, "approve")
            show_card(Markdown(f"**{action['subject']}**\n\n{action['body']}", hyperlinks=False))
            shown = True
        time.sleep(ANSWER_AFTER_SECONDS)
        approver.answer(dag_id, run_id, "approve", "Approve", {"reason": reason})
        console.print(f"approver answers: Approve, because “{reason}”")
    return run_id


def follow(client: AirflowClient, dag_id: str, run_id: str) -> Iterator[dict[str, str | None]]:
    """Yield the task states after each change of them until the run has ended; prints each change.

    Raises:
        PodiumError: The run failed, or no task of it ran or changed for ``STALLED_SECONDS``.
    """
    begun = moved = time.monotonic()
    seen: dict[str, str | None] = {}
    while True:
        states = client.task_states(dag_id, run_id)
        for task_id, state in states.items():
            if state in _SHOWN and seen.get(task_id) != state:
                line = f"  {time.monotonic() - begun:5.1f} s  {task_id:<20} {_SHOWN[state]}"
                console.print(line, markup=True)
        changed = states != seen
        if changed:
            seen = states
            yield states
        # Training may take hours; a task whose process is gone, Airflow fails by itself.
        if changed or "running" in states.values():
            moved = time.monotonic()
        state = client.run_state(dag_id, run_id)
        if state == "success":
            return
        if state == "failed":
            raise PodiumError(f"run {dag_id}/{run_id} failed: {states}")
        if time.monotonic() - moved > STALLED_SECONDS:
            raise PodiumError(f"run {dag_id}/{run_id} has not moved for {STALLED_SECONDS} s: {states}")
        time.sleep(0.5)


def ask_for_example(
    url: str, model: str, token: str | None = None, server: subprocess.Popen[bytes] | None = None
) -> None:
    """Wait for a model server, and ask it for the example that the champion was registered with.

    Args:
        url: Where it listens.
        model: The model that it serves.
        token: Its token, if it wants one.
        server: Its process, if it is ours: nobody waits for one that has ended.

    Raises:
        PodiumError: It has ended, is not ready in time, or does not answer; says what it says.
    """
    _wait_until_ready(url, server)
    # Takes seconds, and the server needs them as well.
    from mlflow.artifacts import load_dict

    example = load_dict(f"models:/{model}@champion/serving_input_example.json")["dataframe_split"]
    records = [dict(zip(example["columns"], row, strict=True)) for row in example["data"]]
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = requests.post(f"{url}/predict", json=records, headers=headers, timeout=_ANSWER_SECONDS)
    if not answer.ok:
        raise PodiumError(f"the model server at {url} answers {answer.status_code}: {answer.text}")
    said = f"{model} is served by version {answer.headers['X-Model-Version']}: {answer.json()}"
    console.print(said, soft_wrap=True)


def _wait_until_ready(url: str, server: subprocess.Popen[bytes] | None) -> None:
    def give_up(state: RetryCallState) -> NoReturn:
        said = state.outcome and state.outcome.result()
        raise PodiumError(f"the model server at {url} is not ready after {READY_SECONDS} s: {said}")

    until_ready = Retrying(
        retry=retry_if_result(lambda missing: missing is not None),
        wait=wait_fixed(0.2),
        stop=stop_before_delay(READY_SECONDS),
        retry_error_callback=give_up,
    )
    until_ready(_ask_whether_ready, url, server)


def _ask_whether_ready(url: str, server: subprocess.Popen[bytes] | None) -> str | None:
    """Return None where it is ready, else what it says instead."""
    if server is not None and server.poll() is not None:
        raise PodiumError(f"the model server at {url} has ended with {server.returncode}")
    try:
        answer = requests.get(f"{url}/ready", timeout=10)
    except (requests.ConnectionError, requests.Timeout) as error:
        return str(error)
    return None if answer.ok else answer.text
