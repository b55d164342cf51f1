"""Nominate: requests that newer candidates close."""

from __future__ import annotations

from datetime import timedelta

import pytest
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from podium.errors import NotFound, NothingToDo, Refused
from podium.lifecycle import approval
from podium.lifecycle import nominate as nominate_module
from podium.lifecycle.outcome import outcome_of
from podium.model_file.spec import ModelSpec
from podium.names import RunOutcome, Tag
from podium.services import Services
from support.steps import (
    FIRST,
    SECOND,
    decide,
    new_run,
    nominate,
    nominate_unjudged,
    promote_as_of,
    register,
)


def test_the_champion_itself_is_nothing_to_promote(services: Services, toy_spec: ModelSpec) -> None:
    promote_as_of(services, toy_spec, FIRST)
    with pytest.raises(NothingToDo, match="v1 is the champion already"):
        nominate(services, toy_spec, FIRST, new_run())


def test_a_newer_candidate_closes_older_pending_requests(services: Services, toy_spec: ModelSpec) -> None:
    old, answered, new = new_run(), new_run(), new_run()
    nominate_unjudged(services, toy_spec, FIRST, answered)
    decide(services, toy_spec, answered)
    nominate_unjudged(services, toy_spec, FIRST, old)
    approval.open_request(services, toy_spec.approval, toy_spec.name, old)
    nominated = nominate_unjudged(services, toy_spec, SECOND, new)
    assert nominated["superseded"] == [old]
    decision = approval.find_decision(services, old)
    assert decision is not None
    assert decision.event == "superseded"
    assert decision.reason == f"v2 of run {new} is a newer candidate, as of 2025-07-01"
    assert services.registry.aliases(toy_spec.name) == {"candidate": 2}
    assert services.registry.version(toy_spec.name, 1).tags[Tag.APPROVAL_STATUS] == "superseded"
    # Run again after it was killed, it still knows whom to tell.
    assert nominate_module.nominate_version(services, toy_spec.name, new) == nominated
    with pytest.raises(Refused, match="v1 was superseded by podium: v2 of run .* To ask again"):
        nominate_module.refuse_decided_run(services, old)
    nominate_module.refuse_decided_run(services, answered)
    nominate_module.refuse_decided_run(services, new)


def test_a_request_that_a_newer_candidate_overtook_is_closed_at_once(
    services: Services, toy_spec: ModelSpec
) -> None:
    old, new = new_run(), new_run()
    nominate_unjudged(services, toy_spec, FIRST, old)
    nominate_unjudged(services, toy_spec, SECOND, new)
    decide_later = approval.open_request(services, toy_spec.approval, toy_spec.name, new)
    approval.open_request(services, toy_spec.approval, toy_spec.name, old)
    decision = approval.find_decision(services, old)
    assert decision is not None
    assert decision.event == "superseded"
    # The older run's nomination is run again: it closes nothing that is newer.
    again = nominate_module.nominate_version(services, toy_spec.name, old)
    assert again["superseded"] == []
    assert approval.open_requests(services.ledger.history(toy_spec.name)) == [decide_later]
    assert services.registry.aliases(toy_spec.name) == {"candidate": 2}


def test_a_nomination_stands_on_the_runs_own_report_in_the_ledger(
    services: Services, toy_spec: ModelSpec
) -> None:
    register(services, toy_spec, FIRST, new_run())
    with pytest.raises(NotFound, match="holds no gate report of run .*: clear its task 'validate'"):
        nominate_module.nominate_version(services, toy_spec.name, new_run())


def test_a_tag_is_one_request(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register(services, toy_spec, FIRST, new_run())
    asked: list[str] = []
    for call in ("get_registered_model", "set_model_version_tag"):
        real = getattr(SqlAlchemyStore, call)
        monkeypatch.setattr(
            SqlAlchemyStore, call, lambda *args, real=real, call=call: (asked.append(call), real(*args))[1]
        )
    services.registry.set_tags(toy_spec.name, version, {"one": "1", "two": "2"})
    assert asked == ["set_model_version_tag"] * 2
    tags = services.registry.version(toy_spec.name, version).tags
    assert (tags["one"], tags["two"]) == ("1", "2")


def test_a_version_on_older_data_takes_no_place_of_one_that_waits(
    services: Services, toy_spec: ModelSpec
) -> None:
    newer, older = new_run(), new_run()
    nominate_unjudged(services, toy_spec, SECOND, newer)
    # Also in the moment before people are asked.
    with pytest.raises(
        Refused, match="v2, as of 2025-06-01, was trained on older data than v1, as of 2025-07"
    ):
        nominate_unjudged(services, toy_spec, FIRST, older)
    request = approval.open_request(services, toy_spec.approval, toy_spec.name, newer)
    with pytest.raises(Refused, match="reject v1 first, then start a run with version 2"):
        nominate_unjudged(services, toy_spec, FIRST, new_run())
    assert approval.open_requests(services.ledger.present(toy_spec.name)) == [request]
    assert services.registry.aliases(toy_spec.name) == {"candidate": 1}
    came_out = outcome_of(services, toy_spec.name, older, {})
    assert came_out.kind is RunOutcome.OLDER_DATA
    assert "which waits for a decision and keeps its place" in came_out.sentence
    # Nobody waits any more: then it is asked about, on whatever data it was trained.
    decide(services, toy_spec, newer, "Reject")
    nominate_unjudged(services, toy_spec, FIRST, new_run())
    assert services.registry.aliases(toy_spec.name) == {"candidate": 2}


def test_a_request_that_nobody_answered_in_time_keeps_no_place(
    services: Services, toy_spec: ModelSpec
) -> None:
    newer, older = new_run(), new_run()
    nominate_unjudged(services, toy_spec, SECOND, newer)
    brief = toy_spec.approval.model_copy(update={"expires_after": timedelta(0)})
    approval.open_request(services, brief, toy_spec.name, newer)
    assert nominate_unjudged(services, toy_spec, FIRST, older)["superseded"] == []
    decision = approval.find_decision(services, newer)
    assert decision is not None
    assert decision.event == "expired"
