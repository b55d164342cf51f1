"""How a run came out, in the sentence that its note says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from podium.errors import NothingToDo, Refused
from podium.ledger.events import EventKind, NewEvent
from podium.lifecycle import approval
from podium.lifecycle import promote as promote_module
from podium.lifecycle.outcome import Outcome, outcome_of
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.names import Alias, RunOutcome
from podium.services import Services
from support.steps import (
    FIRST,
    SECOND,
    decide,
    new_run,
    nominate,
    nominate_unjudged,
    promote,
    promote_as_of,
)

Said = Callable[..., Outcome]


@pytest.fixture
def said(services: Services, toy_spec: ModelSpec) -> Said:
    return lambda run, **failures: outcome_of(services, toy_spec.name, run, failures)


def test_a_refused_run_says_by_which_gates(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path], said: Said
) -> None:
    run = new_run()
    strict = load_spec(toy_file(name=toy_spec.name, gates=[{"metric": "log_loss", "threshold": 0.0001}]))
    with pytest.raises(Refused):
        nominate(services, strict, FIRST, run)
    refused = said(run)
    assert refused.kind is RunOutcome.REFUSED
    assert refused.sentence.startswith("v1, as of 2025-06-01: refused by 1 of 1 gates: log_loss at most")
    assert refused.request is None


def test_a_decided_run_says_by_whom_and_why(services: Services, toy_spec: ModelSpec, said: Said) -> None:
    rejected, approved = new_run(), new_run()
    nominate_unjudged(services, toy_spec, FIRST, rejected)
    decision = decide(services, toy_spec, rejected, "Reject")
    assert said(rejected) == (
        RunOutcome.REJECTED,
        "v1, as of 2025-06-01: rejected by amy: it is good enough",
        "The champion stays. To ask again, start a run with version 1",
        decision.details["request"],
    )
    nominate_unjudged(services, toy_spec, FIRST, approved)
    assert said(approved).kind is RunOutcome.UNDECIDED
    decide(services, toy_spec, approved)
    assert said(approved).sentence == "v1, as of 2025-06-01: approved by amy, not promoted yet"
    promote(services, toy_spec, approved)
    assert said(approved)[:2] == (
        RunOutcome.PROMOTED,
        "v1, as of 2025-06-01: promoted as the first champion, approved by amy",
    )
    again = new_run()
    with pytest.raises(NothingToDo):
        nominate_unjudged(services, toy_spec, FIRST, again)
    assert said(again)[:2] == (
        RunOutcome.NOTHING_TO_PROMOTE,
        "v1, as of 2025-06-01: nothing to promote: it is the champion already",
    )


def test_older_data_than_the_champions_is_said_on_record_and_in_the_sentence(
    services: Services, toy_spec: ModelSpec, said: Said
) -> None:
    promote_as_of(services, toy_spec, SECOND)
    run = new_run()
    nominate_unjudged(services, toy_spec, FIRST, run)
    older = "on older data than champion v1, as of 2025-07-01"
    nominated = services.ledger.find(f"nominated:{run}")
    assert nominated is not None
    assert nominated.reason.endswith(older)
    decide(services, toy_spec, run)
    promote(services, toy_spec, run)
    expected = f"v2, as of 2025-06-01 ({older}): promoted over v1, approved by amy"
    assert said(run).sentence == expected


def test_closed_requests_say_what_closed_them(services: Services, toy_spec: ModelSpec, said: Said) -> None:
    superseded, expired, voided = (new_run() for _ in range(3))
    nominate_unjudged(services, toy_spec, FIRST, superseded)
    approval.open_request(services, toy_spec.approval, toy_spec.name, superseded)
    nominate_unjudged(services, toy_spec, SECOND, expired)
    assert said(superseded)[:2] == (
        RunOutcome.SUPERSEDED,
        f"v1, as of 2025-06-01: superseded: v2 of run {expired} is a newer candidate, as of 2025-07-01",
    )
    request = approval.open_request(services, toy_spec.approval, toy_spec.name, expired)
    approval.record_expiry(services, request)
    assert said(expired).kind is RunOutcome.EXPIRED
    assert said(expired).sentence.startswith("v2, as of 2025-07-01: expired: no valid answer until")
    nominate_unjudged(services, toy_spec, SECOND, voided)
    approval.open_request(services, toy_spec.approval, toy_spec.name, voided)
    services.registry.set_alias(toy_spec.name, Alias.CHAMPION, 1)
    decide(services, toy_spec, voided)
    assert said(voided)[:2] == (
        RunOutcome.VOIDED,
        "v2, as of 2025-07-01: void: the champion was none and is v1 now",
    )


def test_a_failed_run_says_what_failed_and_what_had_been_done(
    services: Services, toy_spec: ModelSpec, said: Said
) -> None:
    assert said(new_run(), train="the data ends in May")[:2] == (
        RunOutcome.FAILED,
        "train failed: the data ends in May",
    )
    run = new_run()
    nominate_unjudged(services, toy_spec, FIRST, run)
    with pytest.raises(Exception, match="nobody has approved"):
        promote_module.promote(services, toy_spec.name, run)
    failed = said(run, promote="whatever it said")
    assert failed.kind is RunOutcome.FAILED
    # The record has it already.
    assert failed.sentence.count("nobody has approved") == 1
    assert "whatever it said" not in failed.sentence
    decide(services, toy_spec, run)
    promote(services, toy_spec, run)
    assert said(run, announce="no answer")[:2] == (
        RunOutcome.PROMOTED,
        "v1, as of 2025-06-01: promoted as the first champion, approved by amy; announce failed: no answer",
    )


def test_every_outcome_has_its_next_step(services: Services, toy_spec: ModelSpec, said: Said) -> None:
    run = new_run()
    services.ledger.append(NewEvent(EventKind.NOMINATION_REFUSED, toy_spec.name, run=run, reason="a toy"))
    assert said(run)[:2] == (RunOutcome.ONLY_A_PROFILE, "not asked: a toy")
    from podium.lifecycle.outcome import _NEXT

    assert set(_NEXT) == set(RunOutcome)
