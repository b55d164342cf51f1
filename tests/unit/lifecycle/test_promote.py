"""Promote: what is refused, and why, on the real registry code and a real ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podium.errors import (
    BytesChanged,
    ChampionChanged,
    DecisionVoid,
    NotApproved,
    NothingToDo,
    Outage,
    Refused,
)
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.lifecycle import approval, validate
from podium.lifecycle import nominate as nominate_module
from podium.lifecycle import promote as promote_module
from podium.lifecycle.registry_sync import mirror
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.names import Alias, Tag
from podium.registry.client import Registry
from podium.services import Services
from support.steps import (
    FIRST,
    SECOND,
    decide,
    kinds,
    new_run,
    newest,
    nominate,
    nominate_unjudged,
    pass_gates,
    promote,
    promote_as_of,
    register,
    roll_back,
)
from support.store import TAMPERED, changed_bytes, stored_files


def test_nobody_is_promoted_without_a_decision(services: Services, toy_spec: ModelSpec) -> None:
    run = new_run()
    nominate_unjudged(services, toy_spec, FIRST, run)
    approval.open_request(services, toy_spec.approval, toy_spec.name, run)
    with pytest.raises(NotApproved, match="nobody has approved"):
        promote(services, toy_spec, run)
    assert services.registry.champion(toy_spec.name) is None
    assert newest(services, toy_spec).event == "promotion_refused"


def test_tags_approve_nothing_and_are_put_right(services: Services, toy_spec: ModelSpec) -> None:
    run = new_run()
    nominate_unjudged(services, toy_spec, FIRST, run)
    services.registry.set_tags(
        toy_spec.name, 1, {Tag.APPROVAL_STATUS: "approved", Tag.DECIDED_BY: "eve", Tag.LIFECYCLE_STAGE: "x"}
    )
    with pytest.raises(NotApproved):
        promote(services, toy_spec, run)
    decide(services, toy_spec, run, "Reject")
    mirror(services, toy_spec.name)
    tags = services.registry.version(toy_spec.name, 1).tags
    assert tags[Tag.APPROVAL_STATUS] == "rejected"
    assert tags[Tag.DECIDED_BY] == "amy"
    assert tags[Tag.LIFECYCLE_STAGE] == "None"


def test_a_rejected_version_is_not_promoted_and_no_candidate(services: Services, toy_spec: ModelSpec) -> None:
    run = new_run()
    nominate_unjudged(services, toy_spec, FIRST, run)
    assert services.registry.aliases(toy_spec.name) == {"candidate": 1}
    decide(services, toy_spec, run, "Reject")
    with pytest.raises(Refused, match="v1 was rejected by amy: it is good enough"):
        promote(services, toy_spec, run)
    mirror(services, toy_spec.name)
    assert services.registry.aliases(toy_spec.name) == {}


def test_promoting_twice_moves_once(services: Services, toy_spec: ModelSpec) -> None:
    run = new_run()
    nominate_unjudged(services, toy_spec, FIRST, run)
    decide(services, toy_spec, run)
    first = promote(services, toy_spec, run)
    assert promote(services, toy_spec, run) == first
    assert kinds(services, toy_spec).count(EventKind.PROMOTED) == 1


def test_an_old_run_that_runs_again_changes_nothing(services: Services, toy_spec: ModelSpec) -> None:
    old = new_run()
    nominate_unjudged(services, toy_spec, FIRST, old)
    decide(services, toy_spec, old)
    promote(services, toy_spec, old)
    promote_as_of(services, toy_spec, SECOND)
    aliases = services.registry.aliases(toy_spec.name)
    nominate_unjudged(services, toy_spec, FIRST, old)
    with pytest.raises(NothingToDo, match="this run made v1 the champion on .* moved since"):
        promote(services, toy_spec, old)
    assert services.registry.aliases(toy_spec.name) == aliases == {"champion": 2, "previous_champion": 1}


def test_a_decision_of_one_run_promotes_nothing_of_another(services: Services, toy_spec: ModelSpec) -> None:
    approved, other = new_run(), new_run()
    nominate_unjudged(services, toy_spec, FIRST, approved)
    decide(services, toy_spec, approved)
    # The approved run is run again, and has another version to show now: its decision is about the old one.
    version = register(services, toy_spec, SECOND, approved)
    pass_gates(services, toy_spec, version, approved)
    nominate_module.nominate_version(services, toy_spec.name, approved)
    assert promote(services, toy_spec, approved).version == 1
    nominate_unjudged(services, toy_spec, SECOND, other)
    with pytest.raises(NotApproved):
        promote(services, toy_spec, other)
    with pytest.raises(NotApproved):
        promote_module.promote(services, "another-model", approved)


def test_of_two_approved_at_once_the_second_is_told_who_was_first(
    services: Services, toy_spec: ModelSpec
) -> None:
    one, two = new_run(), new_run()
    nominate_unjudged(services, toy_spec, FIRST, one)
    decide(services, toy_spec, one)
    nominate_unjudged(services, toy_spec, SECOND, two)
    decide(services, toy_spec, two)
    promote(services, toy_spec, two)
    with pytest.raises(ChampionChanged, match=r"against champion none, but .* now v2 \(promoted by amy on"):
        promote(services, toy_spec, one)
    assert services.registry.champion(toy_spec.name) == 2
    assert newest(services, toy_spec).event == "promotion_refused"


@pytest.mark.parametrize("what", TAMPERED)
def test_approved_and_then_changed_in_the_store_is_refused_with_the_file_named(
    services: Services, toy_spec: ModelSpec, what: str
) -> None:
    run = new_run()
    nominate_unjudged(services, toy_spec, FIRST, run)
    decide(services, toy_spec, run)
    with (
        changed_bytes(stored_files(services, toy_spec.name, 1), what),
        pytest.raises(BytesChanged, match=f"v1 is not what was registered: {TAMPERED[what]}"),
    ):
        promote(services, toy_spec, run)
    assert services.registry.champion(toy_spec.name) is None
    refused = newest(services, toy_spec)
    assert refused.event == "promotion_refused"
    assert "is not what was registered" in refused.reason
    assert promote(services, toy_spec, run).version == 1


@pytest.mark.parametrize("what", TAMPERED)
def test_gates_do_not_load_what_is_not_what_was_registered(
    services: Services, toy_spec: ModelSpec, what: str
) -> None:
    register(services, toy_spec, FIRST, new_run())
    with changed_bytes(stored_files(services, toy_spec.name, 1), what), pytest.raises(BytesChanged):
        validate.validate_version(services, toy_spec, 1, new_run())


def test_an_approval_is_void_after_a_while(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    hasty = load_spec(toy_file(name=toy_spec.name, approval__valid_for="1s"))
    run = new_run()
    nominate_unjudged(services, hasty, FIRST, run)
    decide(services, hasty, run)
    time.sleep(1.1)
    with pytest.raises(
        DecisionVoid, match="v1: the approval by amy was valid until .*Run the lifecycle again"
    ):
        promote(services, hasty, run)
    assert services.registry.champion(hasty.name) is None


def test_an_approval_is_void_once_the_gates_say_something_else(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    run = new_run()
    nominate(services, toy_spec, FIRST, run)
    decide(services, toy_spec, run)
    strict = load_spec(toy_file(name=toy_spec.name, gates=[{"metric": "log_loss", "threshold": 0.0001}]))
    validate.validate_version(services, strict, 1, new_run())
    with pytest.raises(DecisionVoid, match="the gates ran again since, with a different report: refused by"):
        promote(services, toy_spec, run)


def test_an_intent_is_on_record_for_every_try_that_moves(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = new_run(), new_run()
    for run, as_of in ((one, FIRST), (two, SECOND)):
        nominate_unjudged(services, toy_spec, as_of, run)
        decide(services, toy_spec, run)

    def away(registry: Registry, model: str, alias: Alias, number: int) -> None:
        raise Outage("MLflow did not answer")

    def lost(ledger: Ledger, new: NewEvent, after: Event | None) -> Event:
        raise Outage("the ledger database did not answer")

    with monkeypatch.context() as patched:
        patched.setattr(Registry, "set_alias", away)
        for run in (one, two):
            with pytest.raises(Outage):
                promote(services, toy_spec, run)
    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "append_move", lost)
        with pytest.raises(Outage, match="database did not answer"):
            promote(services, toy_spec, one)
    assert services.registry.champion(toy_spec.name) == 1
    with pytest.raises(Outage, match=f"run {one} moved the champion to v1 and was stopped"):
        promote(services, toy_spec, two)
    assert promote(services, toy_spec, one).version == 1
    with pytest.raises(ChampionChanged):
        promote(services, toy_spec, two)


def test_a_move_reads_no_whole_history(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_as_of(services, toy_spec, FIRST)
    real = Ledger.history

    def of_a_part(ledger: Ledger, model: str, **which: Any) -> list[Event]:
        assert which.get("after") or which.get("newest")
        return real(ledger, model, **which)

    monkeypatch.setattr(Ledger, "history", of_a_part)
    promote_as_of(services, toy_spec, SECOND)
    roll_back(services, toy_spec)


def test_what_others_record_during_a_move_stays_in_the_tags(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_as_of(services, toy_spec, FIRST)
    promote_as_of(services, toy_spec, SECOND)
    run = new_run()
    real = Registry.set_alias

    def meanwhile(registry: Registry, model: str, alias: Alias, number: int) -> None:
        # After the rollback has read the history: the older candidate's gates are run again.
        if alias is Alias.CHAMPION:
            pass_gates(services, toy_spec, 2, run)
            mirror(services, toy_spec.name)
        real(registry, model, alias, number)

    monkeypatch.setattr(Registry, "set_alias", meanwhile)
    services.registry.set_tags(toy_spec.name, 2, {Tag.VALIDATION_STATUS: "pending"})
    roll_back(services, toy_spec)
    assert services.registry.version(toy_spec.name, 2).tags[Tag.VALIDATION_STATUS] == "passed"
    assert (
        services.registry.labels(toy_spec.name)
        .tags[Tag.LEDGER_HEAD]
        .startswith(f"{services.ledger.history(toy_spec.name)[-1].seq}:")
    )
