"""Tags and aliases follow the ledger."""

from __future__ import annotations

import pytest

from podium.errors import (
    CannotRollBack,
)
from podium.lifecycle import approval
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.settle import Settlement
from podium.model_file.spec import ModelSpec
from podium.names import Alias, Tag
from podium.registry.client import Registry, Version
from podium.services import Services
from support.mlflow_client import raw
from support.moved_outside import ask, assert_settled, look, make_by_hand, move_by_hand
from support.steps import (
    FIRST,
    answer,
    new_run,
    nominate_unjudged,
    pass_gates,
    promote_as_of,
    register,
    roll_back,
)


def test_the_mirror_puts_right_what_was_changed_by_hand(services: Services, spec: ModelSpec) -> None:
    registry = services.registry
    nominate_unjudged(services, spec, FIRST, new_run())
    before = {version.number: dict(version.tags) for version in registry.versions(spec.name)}
    aliases = registry.aliases(spec.name)
    assert aliases == {"champion": 2, "candidate": 1, "previous_champion": 1}

    registry.set_alias(spec.name, Alias.CANDIDATE, 2)
    registry.delete_alias(spec.name, Alias.PREVIOUS_CHAMPION)
    registry.set_tags(
        spec.name, 2, {Tag.LIFECYCLE_STAGE: "None", Tag.DECIDED_BY: "eve", Tag.ROLLED_BACK: "x"}
    )
    registry.delete_tags(spec.name, 1, [Tag.APPROVAL_STATUS, Tag.GATES_DIGEST])
    raw(registry).set_model_version_tag(spec.name, "1", "somebodys_own", "stays")
    registry.set_model_tag(spec.name, Tag.LEDGER_HEAD, "forged")
    assert look(services, spec) is None

    assert registry.aliases(spec.name) == aliases
    before[1]["somebodys_own"] = "stays"
    assert {version.number: dict(version.tags) for version in registry.versions(spec.name)} == before
    newest = services.ledger.history(spec.name)[-1]
    assert registry.labels(spec.name).tags[Tag.LEDGER_HEAD] == f"{newest.seq}:{newest.hash}"


@pytest.mark.parametrize("from_before", [False, True])
def test_what_happened_since_the_last_time_reaches_a_version_that_bears_no_alias(
    services: Services, toy_spec: ModelSpec, from_before: bool
) -> None:
    version = register(services, toy_spec, FIRST, new_run())
    if from_before:  # An earlier Podium told of the newest event, and named none up to which it had mirrored.
        raw(services.registry).delete_registered_model_tag(toy_spec.name, Tag.MIRRORED)
    pass_gates(services, toy_spec, version, new_run())
    mirror(services, toy_spec.name)
    assert services.registry.version(toy_spec.name, version).tags[Tag.VALIDATION_STATUS] == "passed"
    newest = services.ledger.history(toy_spec.name)[-1]
    assert services.registry.labels(toy_spec.name).tags[Tag.MIRRORED] == str(newest.seq)


def test_a_step_looks_at_no_version_to_which_nothing_happened(
    services: Services, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    real = Registry.version

    def seen(registry: Registry, model: str, number: int) -> Version:
        asked.append(number)
        return real(registry, model, number)

    monkeypatch.setattr(Registry, "version", seen)
    monkeypatch.delattr(Registry, "versions")
    mirror(services, spec.name)
    assert sorted(asked) == sorted(set(services.registry.aliases(spec.name).values()))


def test_the_mirror_never_touches_the_champion(services: Services, spec: ModelSpec) -> None:
    move_by_hand(services, spec, 1)
    mirror(services, spec.name)
    assert services.registry.champion(spec.name) == 1


def test_an_alias_that_must_not_be_there_is_removed(services: Services, toy_spec: ModelSpec) -> None:
    promote_as_of(services, toy_spec, FIRST)
    for alias in (Alias.CANDIDATE, Alias.PREVIOUS_CHAMPION):
        services.registry.set_alias(toy_spec.name, alias, 1)
    look(services, toy_spec)
    assert services.registry.aliases(toy_spec.name) == {"champion": 1}


def test_a_long_reason_fits_into_its_tag(services: Services, toy_spec: ModelSpec) -> None:
    run = new_run()
    nominate_unjudged(services, toy_spec, FIRST, run)
    request = approval.open_request(services, toy_spec.approval, toy_spec.name, run)
    approval.judge(services, toy_spec.approval, request, answer("Reject", reason="no " * 600), None)
    look(services, toy_spec)
    tag = services.registry.version(toy_spec.name, 1).tags[Tag.DECISION_REASON]
    assert tag == ("no " * 600)[:1000]


def test_a_former_champion_that_was_deleted_in_mlflow_stops_nothing(
    services: Services, spec: ModelSpec
) -> None:
    raw(services.registry).delete_model_version(spec.name, "1")
    assert_settled(services, spec)
    assert services.registry.aliases(spec.name) == {"champion": 2}
    with pytest.raises(CannotRollBack, match="v1"):
        roll_back(services, spec)
    number = make_by_hand(services, spec, FIRST)
    move_by_hand(services, spec, number)
    look(services, spec)
    ask(services, spec, Settlement.ACCEPT)
    assert services.registry.aliases(spec.name) == {"champion": 3, "previous_champion": 2}
