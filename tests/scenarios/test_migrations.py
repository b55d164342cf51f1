"""A ledger of an earlier Podium is migrated: told how far, stopped anywhere, with an approval that waits."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from podium.errors import Outage
from podium.ledger import store
from podium.ledger.chain import walk
from podium.ledger.events import FIRST_PREVIOUS_HASH, Event, EventKind, NewEvent, event_hash
from podium.ledger.store import Ledger, migrate
from podium.lifecycle.approval import open_request
from podium.lifecycle.verify import alias_differences, told_heads
from podium.model_file.spec import ModelSpec
from podium.services import Services
from podium.stack.layout import Layout
from support.database import as_superuser, execute
from support.old_ledger import insert_as_before, migrate_to
from support.steps import FIRST, decide, new_run, nominate, promote

REVISIONS = sorted(
    path.name[:4] for path in (Path(store.__file__).parent / "migrations" / "versions").glob("0*.py")
)
OLD = "0003"
# Each tells of its end; 0004 how many texts are written, 0007 of each of its eight indexes.
TOLD = len(REVISIONS) - REVISIONS.index(OLD) - 1 + 1 + 8


@pytest.fixture
def old_ledger(layout: Layout, empty_database: str) -> str:
    """The owner's address of a ledger of before rows had their text, with five events."""
    owner = layout.database_url("ledger_owner", empty_database)
    migrate_to(owner, OLD)
    previous = FIRST_PREVIOUS_HASH
    for seq in range(1, 6):
        event = Event(
            seq, datetime(2026, 1, seq, tzinfo=UTC), EventKind.REGISTERED, "toy", seq, None, "podium", "",
            None, f"registered:toy:{seq}", {"of": [0.1, None]}, previous, "",
        )  # fmt: skip
        event = replace(event, hash=event_hash(event.as_json()))
        insert_as_before(owner, event)
        previous = event.hash
    return owner


def test_it_is_told_how_far_it_is(old_ledger: str) -> None:
    told: list[str] = []
    migrate(old_ledger, app_role="podium", server_role="podium_server", tell=told.append)
    assert "the text of 5 of 5 events is written" in told
    assert "index 8 of 8 of the ledger's events is made" in told
    assert told[-1].startswith(f"the ledger is migrated to {REVISIONS[-1]}: ")
    assert len(told) == TOLD
    migrate(old_ledger, app_role="podium", server_role="podium_server", tell=told.append)
    assert len(told) == TOLD, "there was nothing to do any more"


def test_of_a_new_ledger_nothing_is_told(layout: Layout, empty_database: str) -> None:
    told: list[str] = []
    owner = layout.database_url("ledger_owner", empty_database)
    migrate(owner, app_role="podium", server_role="podium_server", tell=told.append)
    assert told == []


@pytest.mark.parametrize("step", range(TOLD))
def test_stopped_at_any_step_it_goes_on_at_the_next_start(
    step: int, old_ledger: str, layout: Layout, empty_database: str
) -> None:
    """Its connection ends, as that of a process that is killed does."""
    told: list[str] = []

    def stop(said: str) -> None:
        told.append(said)
        if len(told) == step + 1:
            others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            as_superuser(layout, others, empty_database)

    with pytest.raises(Outage):
        migrate(old_ledger, app_role="podium", server_role="podium_server", tell=stop)
    at = execute(old_ledger, "SELECT version_num FROM alembic_version")[0][0]
    finished = [said for said in told[:-1] if "is migrated to" in said]
    assert at == (finished[-1].split()[5].rstrip(":") if finished else OLD)
    migrate(old_ledger, app_role="podium", server_role="podium_server")
    ledger = Ledger(layout.database_url("podium", empty_database))
    ledger.append(NewEvent(EventKind.REGISTERED, "toy", 6))
    assert (walk(ledger.stored()).difference, ledger.size()) == (None, 6)
    ledger.engine.dispose()


def test_an_approval_that_waits_is_migrated_and_its_answer_counts(
    own_services: Services, toy_spec: ModelSpec, layout: Layout
) -> None:
    run = new_run()
    nominate(own_services, toy_spec, FIRST, run)
    open_request(own_services, toy_spec.approval, toy_spec.name, run)
    events = list(own_services.ledger.record())
    assert events[-1].event is EventKind.APPROVAL_REQUESTED
    name = f"older_{uuid.uuid4().hex[:8]}"
    as_superuser(layout, f"CREATE DATABASE {name} OWNER ledger_owner")
    owner = layout.database_url("ledger_owner", name)
    migrate_to(owner, OLD)
    for event in events:
        insert_as_before(owner, event)
    migrate(owner, app_role="podium", server_role="podium_server")
    ledger = Ledger(layout.database_url("podium", name))
    services = Services(own_services.settings, registry=own_services.registry, ledger=ledger)
    assert decide(services, toy_spec, run).event is EventKind.APPROVED
    assert promote(services, toy_spec, run).version == 1
    assert services.registry.champion(toy_spec.name) == 1
    chain = walk(ledger.stored(), told_heads(services, [toy_spec.name]))
    assert (chain.difference, alias_differences(services, toy_spec.name)) == (None, [])
    ledger.engine.dispose()
    as_superuser(layout, f"DROP DATABASE {name} WITH (FORCE)")
