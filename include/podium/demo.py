"""``make demo``: the whole mission on the football data, unattended, on the embedded stack.

Trains as of 2024-07-01, approves and promotes; the same as of 2025-07-01; rolls back; shows the record.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markdown import Markdown
from rich.rule import Rule

from podium.airflow_client import ROLLBACK_DAG, AirflowClient
from podium.errors import PodiumError, version_name
from podium.settings import PROJECT_ROOT, models_dir
from podium.spec import ModelSpec, find_spec
from podium.stack import Stack, running_stack

MODEL = "soccer-match-outcome"
RUN_TIMEOUT_SECONDS = 300
ANSWER_AFTER_SECONDS = 2

console = Console(highlight=False)


def main() -> int:
    """Run the demo; returns the exit code."""
    begun = time.monotonic()
    spec = find_spec(models_dir(), MODEL)
    try:
        with running_stack(PROJECT_ROOT / ".podium", console=console) as stack:
            os.environ.update(stack.client_env())
            _tell_the_story(stack, spec)
    except PodiumError as error:
        console.print(f"[red]demo failed:[/red] {error}")
        return 1
    console.print(
        f"\n[green]Done[/green] in {time.monotonic() - begun:.0f} s. `make up` keeps the stack running."
    )
    return 0


def _tell_the_story(stack: Stack, spec: ModelSpec) -> None:
    admin = AirflowClient(stack.airflow_url, "admin", stack.passwords["admin"])
    operator = AirflowClient(stack.airflow_url, "operator", stack.passwords["operator"])
    approver = AirflowClient(stack.airflow_url, "approver", stack.passwords["approver"])
    with unpaused(admin, spec.lifecycle_dag_id, ROLLBACK_DAG):
        _act(operator, approver, spec)
    _show_the_record()


def _act(operator: AirflowClient, approver: AirflowClient, spec: ModelSpec) -> None:
    _promote_as_of(
        operator, approver, spec, "2024-07-01", "First model: beats the class prior and Elo alone."
    )
    _promote_as_of(operator, approver, spec, "2025-07-01", "One more season; no worse on the newest matches.")
    with _chapter("Roll back, as the operator"):
        _roll_back(operator)


def _promote_as_of(
    operator: AirflowClient, approver: AirflowClient, spec: ModelSpec, as_of: str, reason: str
) -> None:
    with _chapter(f"Lifecycle of {spec.name} as of {as_of}"):
        run_id = operator.trigger(spec.lifecycle_dag_id, {"as_of": f"{as_of}T00:00:00+00:00"})
        run = Run(operator, spec.lifecycle_dag_id, run_id)
        shown = False
        for states in run.follow():
            if states.get("approve") == "awaiting_input":
                if not shown:
                    action = approver.required_action(run.dag_id, run_id, "approve")
                    console.print(Markdown(f"**{action['subject']}**\n\n{action['body']}"))
                    shown = True
                time.sleep(ANSWER_AFTER_SECONDS)
                approver.answer(run.dag_id, run_id, "approve", "Approve", {"reason": reason})
                console.print(f"[bold]approver[/bold] answers: Approve, because “{reason}”")
        _expect_champion(as_of)


def _roll_back(operator: AirflowClient) -> None:
    from podium.parts import connect

    aliases = connect().registry.aliases(MODEL)
    champion = version_name(aliases.get("champion"))
    form = {"model": MODEL, "reason": f"Complaints about the forecasts of {champion}."}
    run = Run(operator, ROLLBACK_DAG, operator.trigger(ROLLBACK_DAG, form))
    for _ in run.follow():
        pass
    _expect_champion("2024-07-01")


def _expect_champion(as_of: str) -> None:
    """Show the champion; it must be the version trained as of this date, or the story did not happen."""
    from podium.parts import connect
    from podium.tags import Tag

    registry = connect().registry
    champion = registry.champion(MODEL)
    if champion is None or registry.version(MODEL, champion).tags.get(Tag.AS_OF, "")[:10] != as_of:
        newest = registry.versions(MODEL)[0]
        raise PodiumError(
            f"the champion of {MODEL} is {version_name(champion)}, not the version as of {as_of}. Newest "
            f"gate report: {version_name(newest.number)} {newest.tags.get(Tag.GATES, 'has none')}. The story "
            "starts from an empty registry: `make clean`, then `make demo`."
        )
    console.print(f"champion of {MODEL}: [bold green]{version_name(champion)}[/bold green]")


def _show_the_record() -> None:
    from podium.parts import connect
    from podium.status import model_statuses
    from podium.tables import history_table, status_table, versions_table
    from podium.verify import alias_differences, told_heads, walk

    parts = connect()
    statuses = [status for status in model_statuses(parts) if status.model == MODEL]
    console.print(Rule("What is on record"))
    console.print(status_table(statuses))
    console.print(versions_table(statuses[0], parts.registry))
    console.print(history_table(parts.ledger.history(MODEL)))
    chain = walk(parts.ledger.record(), told_heads(parts.registry, [MODEL]))
    if difference := chain.difference or next(
        iter(alias_differences(parts.registry, parts.ledger, MODEL)), None
    ):
        raise PodiumError(f"the record is not as it must be: {difference}")
    console.print(
        f"[green]Verified:[/green] {chain.events} events, each chained to the one before by its hash, and "
        f"the live aliases are what they say. Head: {chain.head[:16]}"
    )


class Run:
    """One Airflow run, followed task by task."""

    def __init__(self, client: AirflowClient, dag_id: str, run_id: str) -> None:
        self.client = client
        self.dag_id = dag_id
        self.run_id = run_id

    def follow(self) -> Iterator[dict[str, Any]]:
        """Yield the task states after each change of them until the run has ended; prints each change.

        Raises:
            PodiumError: The run failed, or has not ended in time.
        """
        begun = time.monotonic()
        seen: dict[str, str | None] = {}
        while True:
            states = self.client.task_states(self.dag_id, self.run_id)
            for task_id, state in states.items():
                if state in _SHOWN and seen.get(task_id) != state:
                    console.print(f"  {time.monotonic() - begun:5.1f} s  {task_id:<20} {_SHOWN[state]}")
            if states != seen:
                seen = states
                yield states
            state = self.client.run_state(self.dag_id, self.run_id)
            if state == "success":
                return
            if state == "failed" or time.monotonic() - begun > RUN_TIMEOUT_SECONDS:
                raise PodiumError(
                    f"run {self.dag_id}/{self.run_id} is {state}: {states}; logs are in .podium/"
                )
            time.sleep(0.5)


_SHOWN = {
    "running": "running",
    "awaiting_input": "[yellow]waits for a person[/yellow] (no worker slot held)",
    "success": "[green]done[/green]",
    "skipped": "[yellow]skipped[/yellow]",
    "up_for_retry": "[yellow]will be tried again[/yellow]",
    "failed": "[red]failed[/red]",
}


@contextmanager
def unpaused(admin: AirflowClient, *dag_ids: str) -> Iterator[None]:
    """Let Dags run, and leave them afterwards as they were."""
    for dag_id in dag_ids:
        admin.wait_for_dag(dag_id)
    paused = [dag_id for dag_id in dag_ids if admin.is_paused(dag_id)]
    for dag_id in paused:
        admin.set_paused(dag_id, paused=False)
    try:
        yield
    finally:
        for dag_id in paused:
            admin.set_paused(dag_id, paused=True)


@contextmanager
def _chapter(title: str) -> Iterator[None]:
    console.print(Rule(title))
    yield


if __name__ == "__main__":
    sys.exit(main())
