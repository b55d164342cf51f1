"""More old versions at once than go unasked: people decide about a list, and exactly the list goes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from podium.errors import DecisionVoid, NotApproved, NothingToDo, PodiumError, Refused
from podium.ledger import custody, history
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.store import Ledger
from podium.lifecycle import approval, removal, retention
from podium.lifecycle.approval_policy import Person, Request
from podium.lifecycle.holding import Keeping, keeping_request, say
from podium.lifecycle.retention import Done, retain
from podium.lifecycle.retention_rules import Action
from podium.model_file.retention import AskAboveSpec
from podium.model_file.spec import ModelSpec
from podium.reporting import approval_card, removal_card
from podium.reporting.decision_overview import decision_page
from podium.reporting.overview import describe, overview
from podium.reporting.pending import all_pending, pending_of
from podium.reporting.status import recorded_statuses
from podium.services import Services
from support.bad_window import with_models
from support.retained import RULES, add_version, crown, disposal, later, loads
from support.steps import answer, new_run

AMY = Person("amy")
PAGES = approval_card.Pages("/answers.svg", "/decision")


@pytest.fixture
def here(own_services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    """Nobody needs an account to delete here."""
    services = with_models(own_services, tmp_path)
    monkeypatch.setattr(retention, "Disposal", lambda *_: disposal(services))
    return services


@pytest.fixture
def spec(here: Services, toy_spec: ModelSpec) -> ModelSpec:
    """Six versions: v2 is champion, v1 was; v6 is the newest; nothing keeps v3, v4 and v5."""
    for _ in range(6):
        add_version(here, toy_spec.name)
    crown(here, toy_spec.name, 1)
    crown(here, toy_spec.name, 2, 1)
    return toy_spec.model_copy(
        update={"retention": RULES.model_copy(update={"ask_above": AskAboveSpec(versions=2)})}
    )


def proposed(services: Services, spec: ModelSpec, requester: str | None = None) -> Event:
    event = removal.propose(services, spec, new_run(), requester)
    assert event is not None
    return event


def asked(services: Services, spec: ModelSpec) -> Request:
    return removal.ask(services, spec.approval, removal.run_of(proposed(services, spec)))


def answered(services: Services, spec: ModelSpec, request: Request, option: str = "Approve") -> Event:
    return approval.judge(services, spec.approval, request, answer(option), 2)


def go(services: Services, spec: ModelSpec) -> Done:
    return retain(services, spec, "", new_run())


def remove(services: Services, spec: ModelSpec, request: Request) -> Done:
    return removal.remove_approved(services, spec, "", request.run)


def kinds(services: Services, spec: ModelSpec) -> list[EventKind]:
    return [event.event for event in services.ledger.history(spec.name)]


def test_people_approve_a_list_and_exactly_these_versions_go(here: Services, spec: ModelSpec) -> None:
    done = go(here, spec)
    assert (done.asks, done.quarantined) == (True, [])
    assert "that is more than ask_above allows: no version goes until an approver has decided" in str(done)
    request = asked(here, spec)
    assert removal.ask(here, spec.approval, request.run) == request, "a task that runs again"
    listed = removal.versions_asked_about(here.ledger, request.gates)
    records = custody.versions_on_record(here.ledger, spec.name, [3, 4, 5])
    assert [(one.version, one.digest, one.bytes, one.registered_at) for one in listed] == [
        (one.number, one.digest, one.size, one.registered_at) for one in records
    ]
    assert {one.action for one in listed} == {Action.QUARANTINE}
    # One that became due meanwhile waits for the next run, and one that somebody holds by now stays.
    add_version(here, spec.name)
    say(here, keeping_request(spec, Keeping.HOLD, 4, asks=AMY, reason="a court asks", run=new_run()))
    assert answered(here, spec, request).event is EventKind.APPROVED
    assert describe(here.ledger.history(spec.name)[-1]) == (
        "the removal of 3 old versions was approved by amy: it is good enough"
    )
    done = remove(here, spec, request)
    assert done.quarantined == [3, 5]
    assert done.kept_meanwhile == ["v4 stays: it is held by amy: a court asks"]
    ended = here.ledger.history(spec.name)[-1]
    assert ended.event is EventKind.REMOVAL_DONE
    assert ended.reason == "quarantined: v3, v5; v4 stays: it is held by amy: a court asks"
    assert remove(here, spec, request).quarantined == [], "a task that was killed and runs again"
    assert go(here, spec).quarantined == [6], "one goes unasked"


def test_what_is_deleted_for_good_is_asked_about_once_more(
    here: Services, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(here, spec, first := asked(here, spec))
    remove(here, spec, first)
    monkeypatch.setattr(custody, "now", later(15))
    assert go(here, spec).asks
    request = asked(here, spec)
    assert "3 are deleted for good" in request.why
    answered(here, spec, request)
    done = remove(here, spec, request)
    assert (done.deleted, done.checked) == ([3, 4, 5], 3)
    assert [loads(here, spec.name, number) for number in (1, 2, 3, 6)] == [True, True, False, True]


def test_nobody_is_asked_about_a_damaged_model_and_its_present_is_read_once(
    here: Services, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    present, reads = Ledger.present, []

    def counted(ledger: Ledger, *asked: Any, **options: Any) -> history.Present:
        reads.append(asked)
        return present(ledger, *asked, **options)

    monkeypatch.setattr(Ledger, "present", counted)
    proposed(here, spec)
    assert len(reads) == 1
    damaged = {history.DAMAGES: ["v1: model.skops is missing."]}
    here.ledger.append(NewEvent(EventKind.RETENTION_CHECKED, spec.name, details=damaged))
    assert removal.propose(here, spec, new_run(), None) is None


def test_an_approval_to_quarantine_deletes_nothing(
    here: Services, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered(here, spec, request := asked(here, spec))
    for number in (3, 4):
        here.ledger.append(NewEvent(EventKind.QUARANTINED, spec.name, number))
    monkeypatch.setattr(custody, "now", later(15))
    done = remove(here, spec, request)
    assert (done.quarantined, done.deleted) == ([5], [])


@pytest.mark.parametrize("end", ["rejected", "expired"])
def test_after_a_rejection_or_without_a_decision_nothing_goes_and_the_next_run_asks_again(
    here: Services, spec: ModelSpec, end: str
) -> None:
    request = asked(here, spec)
    assert removal.propose(here, spec, new_run(), None) is None, "nobody is asked twice at once"
    assert go(here, spec).asks
    if end == "rejected":
        said = answered(here, spec, request, "Reject")
        reason = "was rejected by amy: it is good enough"
    else:
        said = approval.record_expiry(here, request)
        reason = "was expired by podium: no valid answer until"
    assert said.event == end
    with pytest.raises(Refused, match=f"the removal of 3 old versions {reason}.*; nothing is removed"):
        remove(here, spec, request)
    assert not {EventKind.QUARANTINED, EventKind.DELETION_STARTED} & set(kinds(here, spec))
    assert go(here, spec).asks
    assert proposed(here, spec).seq > request.seq


def test_a_question_that_nobody_can_answer_any_more_stops_no_later_one(
    here: Services, spec: ModelSpec
) -> None:
    short = spec.model_copy(
        update={"approval": spec.approval.model_copy(update={"expires_after": timedelta(0)})}
    )
    gone = asked(here, short)
    request = asked(here, spec)
    assert request.seq > gone.seq
    decision = approval.find_decision(here, gone.run)
    assert decision is not None
    assert decision.event is EventKind.EXPIRED
    with pytest.raises(NothingToDo, match="another removal waits for a decision"):
        removal.ask(here, spec.approval, removal.run_of(_again(here, spec)))


def _again(services: Services, spec: ModelSpec) -> Event:
    """Propose as if nobody was asked."""
    last = services.ledger.newest([spec.name], [EventKind.REMOVAL_PROPOSED])[spec.name][-1]
    proposal = NewEvent(EventKind.REMOVAL_PROPOSED, spec.name, details=last.details)
    return services.ledger.append(proposal)


def test_a_run_of_retention_names_the_runs_that_ask_and_one_model_stops_no_other(
    here: Services, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find(_: Path, name: str) -> ModelSpec:
        if name != spec.name:
            raise PodiumError(f"there is no model file of {name}")
        return spec

    monkeypatch.setattr(removal, "find_spec", find)
    run = new_run()
    (asks,) = removal.propose_all(here, ["broken", spec.name], run, "olga")
    assert removal.propose_all(here, [spec.name], run, "olga") == [asks], "a task that runs again"
    request = removal.ask(here, spec.approval, asks)
    assert request.requester == "olga"
    assert removal.propose_all(here, [spec.name], run, "olga") == []


def test_only_the_decision_of_people_on_record_removes_and_only_for_a_while(
    here: Services, spec: ModelSpec
) -> None:
    request = asked(here, spec)
    with pytest.raises(NotApproved):
        remove(here, spec, request)
    assert EventKind.PROMOTION_REFUSED not in kinds(here, spec)
    short = spec.approval.model_copy(update={"valid_for": timedelta(0)})
    answered(here, spec.model_copy(update={"approval": short}), request)
    with pytest.raises(DecisionVoid, match="nothing was removed. The next run of retention asks again"):
        remove(here, spec, request)
    for run in ("propose_removal/proposal-x", f"propose_removal/proposal-{request.seq}", "other/proposal-1"):
        with pytest.raises(PodiumError, match="is named after no proposal of a removal"):
            removal.proposal_of(here.ledger, run)


def test_who_triggered_it_may_not_approve_it_where_the_model_file_says_so(
    here: Services, spec: ModelSpec
) -> None:
    request = removal.ask(here, spec.approval, removal.run_of(proposed(here, spec, "amy")))
    strict = spec.model_copy(
        update={"approval": spec.approval.model_copy(update={"prevent_self_approval": True})}
    )
    said = answered(here, strict, request)
    assert said.event is EventKind.ANSWER_INVALID
    assert "amy triggered this run and may not approve it" in said.reason


def test_the_card_and_the_lists_show_each_version_with_size_and_age(here: Services, spec: ModelSpec) -> None:
    request = asked(here, spec)
    assert approval_card.subject(request) == f"Remove 3 old versions of {spec.name}?"
    card = removal_card.body(here, spec, request, PAGES)
    month = f"{datetime.now(UTC):%B %Y}"
    assert f", oldest of {month}: 3 go to quarantine.**" in card
    assert "exactly these versions go" in card
    assert "can be restored for 14 days" in card
    assert "and no version goes." in card
    listed = removal.versions_asked_about(here.ledger, request.gates)
    for one in listed:
        row = f"| v{one.version} | goes to quarantine | {one.bytes} bytes | 0 days | "
        assert row in card
        assert f"`{one.digest[:12]}`" in card
    (item,) = all_pending(here, "")
    assert item.headline.startswith(f"{spec.name}: the removal of 3 old versions: waits until ")
    assert item.as_json()["removes"] == 3
    (status,) = [status for status in recorded_statuses(here) if status.model == spec.name]
    assert status.needs()[0].startswith("the removal of 3 old versions waits for approval until ")
    (row,) = overview(here, {spec.name: spec}, AMY, lambda _: True, None).rows
    assert row.sentence.startswith("Remove old versions? 3 versions, ")
    event = here.ledger.event(request.seq)
    assert event is not None
    page = decision_page(here, spec, event, AMY)
    assert (page.listed, page.report, page.pictures, page.problems) == (listed, None, (), [])
    answered(here, spec, request)
    remove(here, spec, request)
    page = decision_page(here, spec, event, AMY)
    assert page.state.startswith("The removal of 3 old versions was done on ")
    assert page.state.endswith(": quarantined: v3, v4, v5.")
    events = here.ledger.of_run(spec.name, request.run)
    (state, *_) = approval_card.describe_state(spec.approval, request, events)
    assert state.endswith(": quarantined: v3, v4, v5.")


def test_while_people_are_asked_nothing_else_goes_and_a_new_champion_closes_nothing(
    here: Services, spec: ModelSpec
) -> None:
    request = asked(here, spec)
    say(here, keeping_request(spec, Keeping.HOLD, 4, asks=AMY, reason="a court asks", run=new_run()))
    done = go(here, spec)
    assert (done.asks, done.quarantined) == (True, []), "v3 and v5 would go unasked, and are on the card"
    crown(here, spec.name, 6, 2)
    champion = here.registry.champion(spec.name)
    said = approval.judge(here, spec.approval, request, answer(), champion)
    assert said.event is EventKind.APPROVED
    assert remove(here, spec, request).quarantined == [3, 5]


def test_a_removal_hides_no_other_question(here: Services, spec: ModelSpec) -> None:
    removes = asked(here, spec)
    assert pending_of(here, spec.name, "").request == removes
    verdicts = retention.look(here, spec.name, spec.retention or RULES).verdicts
    waiting = [one.number for one in verdicts if any(reason.kind == "waiting" for reason in one.reasons)]
    assert waiting == [], "what would go does not stay because people are asked about it"
    run = "lifecycle_toy/r"
    bound = {"requester": None, "form": {}, "form_digest": "f", "manifest": "m", "gates": "d"}
    details = {**bound, "expires_after_seconds": 3600.0}
    key = approval.request_key(run)
    event = NewEvent(EventKind.APPROVAL_REQUESTED, spec.name, 6, 2, run=run, key=key, details=details)
    here.ledger.append(event)
    (row,) = overview(here, {spec.name: spec}, AMY, lambda _: True, None).rows
    assert row.waiting is not None
    assert row.waiting.request.run == run, "old versions can wait"
    with pytest.raises(PodiumError, match=f"--request {removes.seq}: {spec.name}: the removal of 3 old"):
        pending_of(here, spec.name, "")
    assert pending_of(here, spec.name, "", removes.seq).request == removes
