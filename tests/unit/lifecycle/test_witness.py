"""A cut end of the ledger stops what moves or decides, and Podium never overwrites the trace of it."""

from __future__ import annotations

from typing import Any

import pytest

from podium.errors import OtherLedger, Outage
from podium.ledger.chain import walk, write_head
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.lifecycle import approval
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.reconcile import reconcile_all
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.settle import Settlement, settle, settle_request
from podium.lifecycle.validate import validate_version
from podium.lifecycle.verify import told_heads
from podium.lifecycle.witness import record
from podium.model_file.spec import ModelSpec
from podium.names import Tag
from podium.services import Services
from podium.stack.layout import Layout
from support.database import execute
from support.services import Witness, services_with
from support.steps import (
    FIRST,
    answer,
    asked_now,
    decide,
    new_run,
    nominate_unjudged,
    promote,
    register,
    roll_back,
)

NOT_THE_ONE = "this is not the ledger that MLflow knows"


@pytest.fixture
def owner_url(layout: Layout, empty_database: str) -> str:
    return layout.database_url("ledger_owner", empty_database)


def told(services: Services, model: str) -> str | None:
    return services.registry.labels(model).tags.get(Tag.LEDGER_HEAD)


def test_a_rejection_that_was_cut_off_the_ledger_stops_all_that_moves_or_decides(
    own_services: Services, toy_spec: ModelSpec, owner_url: str
) -> None:
    name, run = toy_spec.name, new_run()
    nominate_unjudged(own_services, toy_spec, FIRST, run)
    rejected = decide(own_services, toy_spec, run, "Reject")
    assert told(own_services, name) == write_head(rejected)
    execute(owner_url, "DELETE FROM ledger_events WHERE event = 'rejected'")

    found, errors = reconcile_all(own_services, [toy_spec])
    assert (found, [type(error) for error in errors]) == ([], [OtherLedger])
    assert f"it lacks event {rejected.seq} with the hash {rejected.hash[:12]}" in str(errors[0])
    request = approval.find_request(own_services, run)
    asks = Person("amy")
    settling = settle_request(toy_spec, Settlement.ACCEPT, asks=asks, reason="meant to be so", run=new_run())
    for step in (
        lambda: approval.record_asked_again(own_services, request, 1),
        lambda: approval.judge(own_services, toy_spec.approval, request, answer(), None),
        lambda: approval.record_expiry(own_services, request),
        lambda: promote(own_services, toy_spec, run),
        lambda: roll_back(own_services, toy_spec),
        lambda: settle(own_services, toy_spec, settling, asked_now()),
        lambda: register(own_services, toy_spec, FIRST, new_run()),
        lambda: validate_version(own_services, toy_spec, 1, run),
        lambda: nominate_unjudged(own_services, toy_spec, FIRST, run),
        lambda: mirror(own_services, name),
    ):
        with pytest.raises(OtherLedger, match=NOT_THE_ONE):
            step()

    assert told(own_services, name) == write_head(rejected)
    assert own_services.registry.champion(name) is None
    kinds = [event.event for event in own_services.ledger.history(name) if event.seq > request.seq]
    assert set(kinds) <= {EventKind.GATES_PASSED}, "only what the test itself appended"
    difference = walk(own_services.ledger.record(), told_heads(own_services, [name])).difference
    assert difference is not None


def test_another_event_in_the_place_of_the_told_one_stops_as_well(own_ledger: Ledger, owner_url: str) -> None:
    services = services_with(own_ledger)
    event = record(services, NewEvent(EventKind.REGISTERED, "toy", 1))
    execute(owner_url, "DELETE FROM ledger_events")
    own_ledger.append(NewEvent(EventKind.REGISTERED, "toy", 2))
    with pytest.raises(OtherLedger, match="toy: " + NOT_THE_ONE):
        record(services, NewEvent(EventKind.REGISTERED, "toy", 3))
    assert told(services, "toy") == write_head(event)
    assert [one.version for one in own_ledger.history("toy")] == [2]


def test_every_event_is_told_and_an_older_one_never_in_the_place_of_a_newer(own_ledger: Ledger) -> None:
    services = services_with(own_ledger)
    first = record(services, NewEvent(EventKind.REGISTERED, "toy", 1, key="first"))
    assert told(services, "toy") == write_head(first)
    newest = record(services, NewEvent(EventKind.REGISTERED, "toy", 2))
    assert told(services, "toy") == write_head(newest)
    assert record(services, NewEvent(EventKind.REGISTERED, "toy", 1, key="first")) == first
    assert told(services, "toy") == write_head(newest)


@pytest.mark.parametrize("away", ["labels", "set_model_tag"])
def test_with_mlflow_away_an_event_stands_and_the_next_one_is_told(
    own_ledger: Ledger, monkeypatch: pytest.MonkeyPatch, away: str
) -> None:
    services = services_with(own_ledger)
    first = record(services, NewEvent(EventKind.REGISTERED, "toy", 1))

    def out(*_: Any) -> None:
        raise Outage("MLflow did not answer")

    with monkeypatch.context() as patch:
        patch.setattr(Witness, away, out)
        record(services, NewEvent(EventKind.REGISTERED, "toy", 2))
    assert told(services, "toy") == write_head(first)
    third = record(services, NewEvent(EventKind.REGISTERED, "toy", 3))
    assert told(services, "toy") == write_head(third)
    assert [event.version for event in own_ledger.history("toy")] == [1, 2, 3]


@pytest.mark.parametrize("tag", ["nonsense", "", "²:x", "9" * 4999 + ":x"])
def test_a_tag_that_tells_nothing_is_put_right(own_ledger: Ledger, tag: str) -> None:
    services = services_with(own_ledger)
    services.registry.set_model_tag("toy", Tag.LEDGER_HEAD, tag)
    event = record(services, NewEvent(EventKind.REGISTERED, "toy", 1))
    assert told(services, "toy") == write_head(event)


def test_a_number_that_no_ledger_can_hold_is_missing(own_ledger: Ledger) -> None:
    services = services_with(own_ledger)
    services.registry.set_model_tag("toy", Tag.LEDGER_HEAD, "9" * 19 + ":x")
    with pytest.raises(OtherLedger, match=NOT_THE_ONE):
        record(services, NewEvent(EventKind.REGISTERED, "toy", 1))
