"""``make demo``: the full lifecycle on the football data, unattended, on the embedded stack.

Trains as of 2024-07-01, approves and promotes; the same as of 2025-07-01; rolls back; shows the record.
With ``--story`` it is told for a presentation: a screen a step, with a sentence on each and time to read.
"""

from __future__ import annotations

import os
import time

from rich.markdown import Markdown
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
READ_SECONDS = 8.0

# As of when, what the story tells of it, and the approver's reason.
_SEASONS = (
    (
        "2024-07-01",
        "A model trains on all matches before this day, and its gates score it on the newest 365 days.",
        "First model: beats the class prior and Elo alone.",
    ),
    (
        "2025-07-01",
        "One season later a second version trains. Its gates score both versions on the same new matches.",
        "One more season; no worse on the newest matches.",
    ),
)

console = Terminal(highlight=False)


class Demo:
    """Tells the demo in one go, a rule above each chapter."""

    def chapter(self, title: str, told: str) -> None:  # noqa: ARG002 - what the story tells
        """Begin a chapter."""
        console.print(Rule(title))

    def card(self, card: Markdown) -> None:
        """Show the approval card."""
        console.print(card)


class Story(Demo):
    """Tells the demo for a presentation: a screen a step, and time to read each."""

    def __init__(self) -> None:
        self._screens = 0

    def chapter(self, title: str, told: str) -> None:
        """Clear the screen, say what happens next, and wait."""
        if self._screens:
            time.sleep(READ_SECONDS)
        self._screens += 1
        console.clear()
        console.print(Rule(f"{self._screens}. {title}"))
        console.print(f"\n{told}\n", style="bold")
        time.sleep(READ_SECONDS / 2)

    def card(self, card: Markdown) -> None:
        """Show how the approval card begins, on its own screen: all of it fills several."""
        self.chapter("The approval card", "Airflow asks a person. The card begins with what would change.")
        console.print(Markdown(card.markup.partition("\n![")[0], hyperlinks=False))
        console.print("… then every gate, slice and metric of both versions, and their lineage.\n")
        time.sleep(READ_SECONDS)


def tell(teller: Demo) -> None:
    """Start the stack, run the demo on it, and stop it again.

    Raises:
        PodiumError: A step failed; names it, and where the logs are.
    """
    begun = time.monotonic()
    teller.chapter(
        "Real services on this machine",
        "Postgres, an S3 server, MLflow and Airflow start on localhost. No Docker, no root.",
    )
    spec = find_spec(models_dir(), MODEL)
    try:
        with running_stack(PROJECT_ROOT / ".podium", console=console) as stack:
            os.environ.update(stack.client_env())
            _tell_the_story(stack, spec, teller)
    except PodiumError:
        console.print("The demo failed. The logs are in .podium/logs.")
        raise
    console.print(
        f"\n[green]Done[/green] in {time.monotonic() - begun:.0f} s. `make up` keeps the stack running.",
        markup=True,
    )


def _tell_the_story(stack: Stack, spec: ModelSpec, teller: Demo) -> None:
    admin = AirflowClient(stack.airflow_url, "admin", stack.passwords["admin"])
    operator = AirflowClient(stack.airflow_url, "operator", stack.passwords["operator"])
    approver = AirflowClient(stack.airflow_url, "approver", stack.passwords["approver"])
    with unpaused(admin, spec.lifecycle_dag_id, ROLLBACK_DAG):
        for as_of, told, reason in _SEASONS:
            teller.chapter(f"Lifecycle of {spec.name} as of {as_of}", told)
            form = {"as_of": f"{as_of}T00:00:00+00:00"}
            run_lifecycle(operator, approver, spec.lifecycle_dag_id, form, reason, teller.card)
            _expect_champion(as_of)
        teller.chapter(
            "Roll back, as the operator",
            "People complain. The previous version proves that it predicts, and becomes champion again.",
        )
        _roll_back(operator)
    teller.chapter(
        "The versions", "Both versions are in the registry, with their numbers and the person who decided."
    )
    _show_the_versions()
    teller.chapter(
        "The record", "The ledger has every decision and move, each chained to the one before by its hash."
    )
    _show_the_record()


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


def _show_the_versions() -> None:
    from podium.reporting.status import model_statuses
    from podium.reporting.tables import status_table, versions_table
    from podium.services import connect

    services = connect()
    statuses = [status for status in model_statuses(services) if status.model == MODEL]
    console.print(status_table(statuses, console.width))
    console.print(versions_table(MODEL, services.registry, console.width))


def _show_the_record() -> None:
    from podium.ledger.chain import walk
    from podium.lifecycle.verify import alias_differences, told_heads
    from podium.reporting.tables import history_table
    from podium.services import connect

    services = connect()
    console.print(history_table(services.ledger.history(MODEL)))
    chain = walk(services.ledger.stored(), told_heads(services, [MODEL]))
    if difference := chain.difference or next(iter(alias_differences(services, MODEL)), None):
        raise PodiumError(f"the record does not verify: {difference}")
    console.print(
        f"[green]Verified:[/green] {chain.events} events, each chained to the one before by its hash, and "
        f"the live aliases match them. Head: {chain.head[:16]}",
        markup=True,
    )
