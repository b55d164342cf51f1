"""A rollback that a watch window proposes: asked about once, decided by people, done by the safe steps."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from podium.errors import ApprovalNotGiven, CannotRollBack, DecisionVoid, NothingToDo, PodiumError, Refused
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.history import candidate, watch_freeze
from podium.lifecycle import approval
from podium.lifecycle.registry_sync import mirror, version_tags
from podium.lifecycle.verify import alias_differences
from podium.lifecycle.watched import WATCH
from podium.model_file.spec import ModelSpec
from podium.monitoring.watch_act import act, is_due
from podium.monitoring.watch_propose import (
    overtaken,
    owed_proposals,
    propose,
    roll_back_approved,
    run_of,
    verdict_of,
)
from podium.monitoring.watch_recompute import watch_differences
from podium.names import Tag
from podium.operations.notify.sweep import sweep
from podium.reporting import approval_card, rollback_card
from podium.reporting.pending import all_pending, pending_of
from podium.reporting.status import recorded_statuses
from podium.services import Services
from support.bad_window import answered, found_bad, with_models
from support.steps import FIRST, kinds, new_run, nominate_unjudged
from support.steps import roll_back as roll_back_by_hand
from support.watched import terms

SAID = "bad: v2 alone failed 30 and v1 alone 0 of 200 requests"


@pytest.fixture
def here(own_services: Services, tmp_path: Path) -> Services:
    return with_models(own_services, tmp_path)


def open_another(services: Services) -> None:
    """The watch window of another model, so that there is something to wait for."""
    services.ledger.append(NewEvent(EventKind.PROMOTED, "another", 2, 1, details={WATCH: terms().as_json()}))


def test_people_approve_and_the_champion_goes_back_by_the_safe_steps(
    here: Services, toy_spec: ModelSpec
) -> None:
    verdict = found_bad(here, toy_spec)
    assert is_due(here)
    done = act(here)
    assert done.proposed == [f"propose_rollback/verdict-{verdict.seq}"]
    open_another(here)
    assert is_due(here)
    assert not is_due(here, done.proposed), "a run that is about to ask is waited for"
    assert done.told == [f"{toy_spec.name}: people are asked whether to roll back v2 to v1"]
    request = propose(here, toy_spec.approval, done.proposed[0])
    assert propose(here, toy_spec.approval, done.proposed[0]) == request, "a task that runs again"
    assert act(here).proposed == []
    assert approval_card.subject(request) == f"Roll back {toy_spec.name} v2 to v1?"
    card = rollback_card.body(here, toy_spec, request, approval_card.Pages("/answers.svg", "/decision"))
    assert f"**The watch window of v2 said {SAID}.**" in card
    assert "| errors | ████████████████████ 100% | 200 | v2 alone failed 30 and v1 alone 0" in card
    (status,) = [status for status in recorded_statuses(here) if status.model == toy_spec.name]
    assert status.needs()[0].startswith("back to v1 waits for approval until ")
    (item,) = all_pending(here, "")
    assert item.headline.startswith(f"{toy_spec.name}: the rollback of v2 to v1: waits until ")
    assert item.comparison == f"The watch window of v2 said {SAID}."
    approved = answered(here, toy_spec, verdict)
    assert approved.event is EventKind.APPROVED
    moved = roll_back_approved(here, request.run)
    assert (moved.version, moved.from_version, moved.actor) == (1, 2, "amy")
    assert moved.reason == f"it is good enough; the watch window of v2 said {SAID}"
    assert here.registry.champion(toy_spec.name) == 1
    assert roll_back_approved(here, request.run) == moved, "a task that was killed and runs again"
    assert alias_differences(here, toy_spec.name) == []
    assert watch_differences(here.ledger, [toy_spec.name]) == []
    events = here.ledger.history(toy_spec.name)
    assert watch_freeze(events) is None
    assert version_tags(events, 1)[Tag.DECISION_REASON] == "it is good enough", "that of its own promotion"
    subjects = [notice.subject for notice, _ in sweep(here, None, {}, dry_run=True).told]
    assert subjects == [], "nobody configured a channel"


def test_after_a_rejection_the_champion_stays_and_nobody_is_asked_again(
    here: Services, toy_spec: ModelSpec
) -> None:
    verdict = found_bad(here, toy_spec)
    rejected = answered(here, toy_spec, verdict, "Reject")
    assert (rejected.event, rejected.actor) == (EventKind.REJECTED, "amy")
    with pytest.raises(Refused, match="the rollback of v2 to v1 was rejected by amy: it is good enough; no"):
        roll_back_approved(here, run_of(verdict))
    assert act(here).proposed == []
    mirror(here, toy_spec.name)
    tags = here.registry.version(toy_spec.name, 1).tags
    assert tags[Tag.APPROVAL_STATUS] == "approved", "v1 was promoted once; nobody rejected it"
    assert here.registry.champion(toy_spec.name) == 2


def test_a_newer_candidate_closes_no_proposal_and_both_can_be_told_apart(
    here: Services, toy_spec: ModelSpec
) -> None:
    verdict = found_bad(here, toy_spec)
    request = propose(here, toy_spec.approval, run_of(verdict))
    run = new_run()
    nominate_unjudged(here, toy_spec, FIRST, run)
    asked = approval.open_request(here, toy_spec.approval, toy_spec.name, run)
    assert candidate(here.ledger.history(toy_spec.name)) == asked.version == 1
    assert not approval.is_closed(here, request.run)
    with pytest.raises(PodiumError, match=rf"--request {request.seq}: {toy_spec.name}: the rollback of v2"):
        pending_of(here, toy_spec.name, "")
    assert pending_of(here, toy_spec.name, "", asked.seq).request.run == run


def test_a_move_by_anybody_closes_the_question(here: Services, toy_spec: ModelSpec) -> None:
    verdict = found_bad(here, toy_spec)
    request = propose(here, toy_spec.approval, run_of(verdict))
    assert overtaken(here.ledger, [toy_spec.name]) == []
    roll_back_by_hand(here, toy_spec)
    assert is_due(here)
    assert act(here).closed == [request.run]
    decision = approval.find_decision(here, request.run)
    assert decision is not None
    assert (decision.event, decision.reason) == (EventKind.VOIDED, "the champion is v1 now")
    late = propose(here, toy_spec.approval, request.run)
    assert late == request
    with pytest.raises(Refused, match="was voided by podium"):
        roll_back_approved(here, request.run)


def test_nobody_is_asked_about_a_champion_that_was_moved_before(here: Services, toy_spec: ModelSpec) -> None:
    verdict = found_bad(here, toy_spec)
    roll_back_by_hand(here, toy_spec)
    assert owed_proposals(here, [toy_spec.name]) == []
    with pytest.raises(NothingToDo, match="the champion is v1 now, so nobody is asked about v2"):
        propose(here, toy_spec.approval, run_of(verdict))


def test_only_a_verdict_that_proposes_is_asked_about(here: Services, toy_spec: ModelSpec) -> None:
    off = found_bad(here, toy_spec, auto_rollback="off")
    assert owed_proposals(here, [toy_spec.name]) == []
    for run in (run_of(off), "propose_rollback/verdict-x", "propose_rollback/manual__1", "other/verdict-1"):
        with pytest.raises(PodiumError, match="is named after no verdict that proposes a rollback"):
            verdict_of(here.ledger, run)


def test_an_approval_that_nobody_gave_moves_nothing(here: Services, toy_spec: ModelSpec) -> None:
    verdict = found_bad(here, toy_spec)
    request = propose(here, toy_spec.approval, run_of(verdict))
    forged = approval._decision(request, EventKind.APPROVED, "amy", "as if", {"approved_by": ["amy"]})
    here.ledger.append(forged)
    with pytest.raises(ApprovalNotGiven):
        roll_back_approved(here, request.run)
    assert here.registry.champion(toy_spec.name) == 2


def test_an_approval_is_valid_for_a_while(here: Services, toy_spec: ModelSpec) -> None:
    verdict = found_bad(here, toy_spec)
    short = toy_spec.approval.model_copy(update={"valid_for": timedelta(0)})
    answered(here, toy_spec.model_copy(update={"approval": short}), verdict)
    with pytest.raises(DecisionVoid, match="nothing was moved. Run `podium rollback`"):
        roll_back_approved(here, run_of(verdict))
    assert EventKind.ROLLBACK_STARTED not in kinds(here, toy_spec)


@pytest.mark.parametrize("auto_rollback", ["propose", "on"])
@pytest.mark.parametrize("gone", ["deleted", "in quarantine"])
def test_where_the_version_of_before_cannot_serve_the_model_is_frozen_and_both_are_named(
    here: Services, toy_spec: ModelSpec, auto_rollback: str, gone: str
) -> None:
    verdict = found_bad(here, toy_spec, auto_rollback)
    if gone == "deleted":
        here.registry._client.delete_model_version(toy_spec.name, "1")
        why = f"reading {toy_spec.name} v1"
    else:
        here.ledger.append(NewEvent(EventKind.QUARANTINED, toy_spec.name, 1, reason="no rule keeps it"))
        why = f"{toy_spec.name} v1 is in quarantine since "
    if auto_rollback == "propose":
        answered(here, toy_spec, verdict)
        with pytest.raises(CannotRollBack):
            roll_back_approved(here, run_of(verdict))
    else:
        act(here)
    frozen = watch_freeze(here.ledger.present(toy_spec.name))
    assert frozen is not None
    assert frozen.event is EventKind.WATCH_FROZE
    assert frozen.reason.startswith(f"v2 is {SAID}; it is not rolled back to v1: {why}")
    assert here.registry.champion(toy_spec.name) == 2
