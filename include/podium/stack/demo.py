"""``make demo``: the whole mission on the football data, unattended, on the embedded stack.

Trains as of 2024-07-01, approves and promotes; the same as of 2025-07-01; rolls back; shows the record.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.rule import Rule

from podium.errors import PodiumError
from podium.model_file.loading import find_spec
from podium.model_file.spec import ModelSpec
from podium.names import version_name
from podium.operations.airflow_client import ROLLBACK_DAG, AirflowClient
from podium.reporting.terminal import Terminal
from podium.settings import PROJECT_ROOT, models_dir
from podium.stack.rehearsal import follow, run_lifecycle, unpaused
from podium.stack.running_stack import Stack, running_stack

MODEL = "soccer-match-outcome"

console = Terminal(highlight=False)


def tell() -> None:
    """Start the stack, act the story on it, and stop it again.

    Raises:
        PodiumError: The story did not happen; says which step, and where the logs are.
    """
    begun = time.monotonic()
    spec = find_spec(models_dir(), MODEL)
    try:
        with running_stack(PROJECT_ROOT / ".podium", console=console) as stack:
            os.environ.update(stack.client_env())
            _tell_the_story(stack, spec)
    except PodiumError:
        console.print("The demo failed. The logs are in .podium/logs.")
        raise
    console.print(
        f"\n[green]Done[/green] in {time.monotonic() - begun:.0f} s. `make up` keeps the stack running.",
        markup=True,
    )


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
        form = {"as_of": f"{as_of}T00:00:00+00:00"}
        run_lifecycle(operator, approver, spec.lifecycle_dag_id, form, reason)
        _expect_champion(as_of)


def _roll_back(operator: AirflowClient) -> None:
    from podium.services import connect

    aliases = connect().registry.aliases(MODEL)
    champion = version_name(aliases.get("champion"))
    form = {"model": MODEL, "reason": f"Complaints about the forecasts of {champion}."}
    for _ in follow(operator, ROLLBACK_DAG, operator.trigger(ROLLBACK_DAG, form)):
        pass
    _expect_champion("2024-07-01")


def _expect_champion(as_of: str) -> None:
    """Show the champion; it must be the version trained as of this date, or the story did not happen."""
    from podium.names import Tag
    from podium.services import connect

    registry = connect().registry
    champion = registry.champion(MODEL)
    if champion is None or registry.version(MODEL, champion).tags.get(Tag.AS_OF, "")[:10] != as_of:
        newest = registry.versions(MODEL)[0]
        raise PodiumError(
            f"the champion of {MODEL} is {version_name(champion)}, not the version as of {as_of}. Newest "
            f"gate report: {version_name(newest.number)} {newest.tags.get(Tag.GATES, 'has none')}. The story "
            "starts from an empty registry: `make clean`, then `make demo`."
        )
    console.print(f"champion of {MODEL}: [bold green]{version_name(champion)}[/bold green]", markup=True)


def _show_the_record() -> None:
    from podium.ledger.chain import walk
    from podium.lifecycle.verify import alias_differences, told_heads
    from podium.reporting.status import model_statuses
    from podium.reporting.tables import history_table, status_table, versions_table
    from podium.services import connect

    services = connect()
    statuses = [status for status in model_statuses(services) if status.model == MODEL]
    console.print(Rule("What is on record"))
    console.print(status_table(statuses, console.width))
    console.print(versions_table(MODEL, services.registry, console.width))
    console.print(history_table(services.ledger.history(MODEL)))
    chain = walk(services.ledger.stored(), told_heads(services, [MODEL]))
    if difference := chain.difference or next(iter(alias_differences(services, MODEL)), None):
        raise PodiumError(f"the record is not as it must be: {difference}")
    console.print(
        f"[green]Verified:[/green] {chain.events} events, each chained to the one before by its hash, and "
        f"the live aliases are what they say. Head: {chain.head[:16]}",
        markup=True,
    )


@contextmanager
def _chapter(title: str) -> Iterator[None]:
    console.print(Rule(title))
    yield
