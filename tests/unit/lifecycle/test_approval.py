"""Which answers count, and what they amount to, on a real ledger."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from podium.errors import ApprovalNotGiven, NotFound, RequesterUnknown
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.history import REMOVAL, VERDICT
from podium.ledger.store import Ledger
from podium.lifecycle import approval
from podium.lifecycle.approval_policy import (
    Act,
    Answer,
    Person,
    Request,
    act_of,
    problems,
    reason_problem,
)
from podium.model_file.approval import ApprovalSpec
from support.services import services_with

POLICY = ApprovalSpec(approvers=("amy", "ben"), reason_min_length=10)
TWO = ApprovalSpec(approvers=("amy", "ben", "role:op"), required=2, reason_min_length=10)
BOXES = ("I looked at the calibration", "The owner was told")
CHECKED = ApprovalSpec(approvers=("amy",), checklist=BOXES)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
ASKED = Request(
    seq=1,
    model="toy",
    version=2,
    champion=1,
    run="lifecycle_toy/r",
    requester="amy",
    manifest="m",
    gates="g",
    waits=timedelta(days=3),
    expires_at=NOW + timedelta(days=1),
)
SELF = "amy triggered this run and may not approve it; somebody else must"


def says(
    option: str = "Approve",
    who: str | None = "ben",
    reason: str = "looks good to me",
    *,
    roles: tuple[str, ...] = (),
    ticked: tuple[str, ...] = (),
    active: bool = True,
) -> Answer:
    person = None if who is None else Person(who, frozenset(roles), active)
    return Answer(option, reason, person, datetime.now(UTC), frozenset(ticked))


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("ten letters!", None),
        ("größer, 第二版 ist besser", None),
        ("first line of it\nsecond\r\nthird", None),
        ("x" * 2_000, None),
        ("good. " * 3, None),
        ("!!!!!!!!!!!! ok", "the reason has 2 letters and digits, at least 10 are required"),
        ("x" * 2_001, "the reason has 2,001 characters, at most 2,000 are allowed"),
        ("x" * 3_000_000, "the reason has 3,000,000 characters, at most 2,000 are allowed"),
        ("\u200b" * 12, "U+200B (ZERO WIDTH SPACE)"),
        ("looks good to me\u202e", "U+202E (RIGHT-TO-LEFT OVERRIDE)"),
        ("looks good to me\x00", "U+0000 (no name)"),
        ("\x1b[2Jlooks good to me", "U+001B (no name)"),
        ("looks good\tto me too", "U+0009 (no name)"),
        ("looks good to me\ud800", "U+D800 (no name)"),
        ("\u3164" * 12, "U+3164 (HANGUL FILLER)"),
        ("\u2800" * 12, "U+2800 (BRAILLE PATTERN BLANK)"),
        ("looks good to me\u2028", "U+2028 (LINE SEPARATOR)"),
    ],
)
def test_a_reason_is_text_that_can_be_read(reason: str, said: str | None) -> None:
    found = reason_problem(reason, 10)
    assert found is None if said is None else said in str(found)
    assert len(str(found)) < 200


@pytest.mark.parametrize(
    ("policy", "answer", "expected"),
    [
        (POLICY, says(), []),
        (POLICY, says("Reject", "ben", "worse on friendlies"), []),
        (POLICY, says(who="eve"), ["eve is not an approver (approvers: amy, ben)"]),
        (POLICY, says(who=None), ["the answer has no user"]),
        (POLICY, says(reason=""), ["the reason has 0 letters and digits, at least 10 are required"]),
        (
            POLICY,
            says(reason=" short     "),
            ["the reason has 5 letters and digits, at least 10 are required"],
        ),
        (
            POLICY,
            says("Reject", reason=""),
            ["the reason has 0 letters and digits, at least 10 are required"],
        ),
        (POLICY, says("Maybe"), ["'Maybe' is neither Approve nor Reject"]),
        (POLICY, says("approve"), ["'approve' is neither Approve nor Reject"]),
        (
            POLICY,
            says("", None, ""),
            [
                "the answer has no user",
                "'' is neither Approve nor Reject",
                "the reason has 0 letters and digits, at least 10 are required",
            ],
        ),
        # Whoever triggered the run may not approve it, but may well see that it is no good.
        (POLICY, says(who="amy"), [SELF]),
        (POLICY, says("Reject", "amy"), []),
        (POLICY.model_copy(update={"prevent_self_approval": False}), says(who="amy"), []),
        # Roles are named with role: before them, so no user name can be taken for one.
        (TWO, says(who="olga", roles=("op",)), []),
        (TWO, says(who="olga", roles=("viewer", "op")), []),
        (
            TWO,
            says(who="olga", roles=("Op",)),
            ["olga is not an approver (approvers: 2 of: amy, ben, any op)"],
        ),
        (TWO, says(who="op"), ["op is not an approver (approvers: 2 of: amy, ben, any op)"]),
        (
            TWO,
            says(who="olga", roles=("amy",)),
            ["olga is not an approver (approvers: 2 of: amy, ben, any op)"],
        ),
        (TWO, says(who="amy", roles=("op",)), [SELF]),
        # Names are compared as Airflow logs in; nobody is taken for a role by being called so.
        (POLICY, says(who="BEN"), []),
        (POLICY, says(who="Amy"), [SELF.replace("amy", "Amy", 1)]),
        (TWO, says(who="role:op"), ["role:op is not an approver (approvers: 2 of: amy, ben, any op)"]),
        (TWO, says(who="ROLE:op"), ["ROLE:op is not an approver (approvers: 2 of: amy, ben, any op)"]),
        (POLICY, says(active=False), ["ben no longer has an active account in Airflow"]),
        (POLICY, says("Reject", active=False), ["ben no longer has an active account in Airflow"]),
        (
            TWO,
            says(who="olga", roles=("op",), active=False),
            ["olga no longer has an active account in Airflow"],
        ),
        # Each statement that was not ticked is named; to reject, none is needed.
        (CHECKED, says(who="amy", ticked=BOXES), [SELF]),
        (
            CHECKED,
            says(who="amy", ticked=BOXES[:1]),
            [SELF, "not ticked: 'The owner was told'"],
        ),
        (CHECKED, says(who="amy"), [SELF, *(f"not ticked: '{box}'" for box in BOXES)]),
        (
            CHECKED,
            says(who="amy", ticked=("Something else",)),
            [SELF, *(f"not ticked: '{b}'" for b in BOXES)],
        ),
        (CHECKED, says("Reject", "amy"), []),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(
    policy: ApprovalSpec, answer: Answer, expected: list[str]
) -> None:
    assert problems(policy, ASKED, answer) == expected


def test_a_run_that_nobody_triggered_may_be_approved_by_any_approver() -> None:
    assert problems(POLICY, replace(ASKED, requester=None), says(who="amy")) == []
    assert problems(POLICY, replace(ASKED, requester=None), says(who=None)) != []


Ask = Callable[..., Request]


@pytest.fixture
def model() -> str:
    return f"asked-{uuid.uuid4().hex[:8]}"


def record(ledger: Ledger, model: str, kind: EventKind, version: int | None, **more: Any) -> Event:
    return ledger.append(NewEvent(kind, model, version, **more))


def nominated(ledger: Ledger, model: str, version: int = 2, champion: int | None = 1) -> str:
    """What stands in the ledger before anybody is asked; returns the run."""
    run = f"lifecycle/{uuid.uuid4()}"
    registered = {"manifest": [], "manifest_digest": f"manifest of v{version}"}
    gates = {"digest": f"gates of v{version}"}
    record(ledger, model, EventKind.REGISTERED, version, details=registered)
    record(ledger, model, EventKind.GATES_PASSED, version, from_version=champion, run=run, details=gates)
    record(
        ledger, model, EventKind.NOMINATED, version, from_version=champion, run=run, key=f"nominated:{run}"
    )
    return run


@pytest.fixture
def request_(ledger: Ledger, model: str) -> Request:
    return approval.open_request(services_with(ledger), POLICY, model, nominated(ledger, model))


def kinds(ledger: Ledger, request: Request) -> list[str]:
    """What stands in the history after the request."""
    return [str(event.event) for event in ledger.history(request.model) if event.seq > request.seq]


def judge(
    ledger: Ledger, request: Request, answer: Answer, policy: ApprovalSpec = POLICY, champion: int | None = 1
) -> Event:
    return approval.judge(services_with(ledger), policy, request, answer, champion)


def test_a_request_is_bound_to_what_the_ledger_says_of_the_nominated_version(
    ledger: Ledger, model: str
) -> None:
    run = nominated(ledger, model, version=3, champion=2)
    request = approval.open_request(services_with(ledger), POLICY, model, run, requester="olga")
    assert (request.version, request.champion, request.requester) == (3, 2, "olga")
    assert (request.manifest, request.gates) == ("manifest of v3", "gates of v3")
    assert approval.find_request(services_with(ledger), run) == request
    asked = ledger.history(model)[-1]
    assert (asked.event, asked.reason, asked.seq) == ("approval_requested", "waits for amy, ben", request.seq)


def test_a_run_that_nominated_nothing_asks_nothing(ledger: Ledger, model: str) -> None:
    nominating = nominated(ledger, model)
    with pytest.raises(NotFound, match="holds no nomination of run other/run: clear its task 'nominate'"):
        approval.open_request(services_with(ledger), POLICY, model, "other/run")
    with pytest.raises(NotFound, match="holds no nomination of run"):
        approval.open_request(services_with(ledger), POLICY, "another-model", nominating)
    with pytest.raises(NotFound, match="holds no approval request of run"):
        approval.find_request(services_with(ledger), nominating)


def test_a_version_without_manifest_or_gates_cannot_be_asked_for(ledger: Ledger, model: str) -> None:
    record(ledger, model, EventKind.NOMINATED, 1, run="x", key=f"nominated:{model}")
    with pytest.raises(NotFound, match="no manifest of v1: Podium did not register it"):
        approval.open_request(services_with(ledger), POLICY, model, model)
    details = {"manifest": [], "manifest_digest": "m"}
    record(ledger, model, EventKind.REGISTERED, 1, details=details)
    with pytest.raises(NotFound, match="no gate report of v1"):
        approval.open_request(services_with(ledger), POLICY, model, model)


@pytest.mark.parametrize(
    ("version", "details", "act", "name"),
    [
        (2, {}, Act.PROMOTION, "m v2"),
        (2, {VERDICT: 6}, Act.ROLLBACK, "m: the rollback of v3 to v2"),
        (None, {REMOVAL: 4}, Act.REMOVAL, "m: the removal of 4 old versions"),
    ],
)
def test_a_request_and_its_events_say_alike_what_they_are_about(
    version: int | None, details: dict[str, int], act: Act, name: str
) -> None:
    bound = {"requester": None, "manifest": "d", "gates": "g", "expires_after_seconds": 60, **details}
    at, kind = datetime(2026, 5, 1, tzinfo=UTC), EventKind.APPROVAL_REQUESTED
    event = Event(9, at, kind, "m", version, 3, "podium", "", "dag/r", None, bound, "", "")
    request = approval.request_of(event)
    assert (request.act, act_of(event), request.name) == (act, act, name)
    rejected = replace(event, event=EventKind.REJECTED, actor="amy", reason="no")
    assert approval.describe_decision(rejected) == f"{name} was rejected by amy: no"


def test_a_run_asks_once_and_its_clock_does_not_start_again(ledger: Ledger, request_: Request) -> None:
    later = ApprovalSpec(approvers=("amy",), expires_after="9d")
    again = approval.open_request(services_with(ledger), later, request_.model, request_.run, requester="eve")
    assert again == request_ == approval.find_request(services_with(ledger), request_.run)
    assert timedelta(days=2) < request_.expires_at - datetime.now(UTC) < timedelta(days=3)


FORM = {"version": 3, "params": {"strength": 0.5}}


def test_a_request_keeps_what_the_form_asked_for_and_another_form_voids_it(
    ledger: Ledger, model: str
) -> None:
    services, run = services_with(ledger), nominated(ledger, model)
    request = approval.open_request(services, POLICY, model, run, "olga", FORM)
    assert request.form == FORM
    assert approval.void_changed_form(services, request, dict(reversed(FORM.items()))) is None
    # Asked again with another form: the first request stays, and is void.
    again = approval.open_request(services, POLICY, model, run, "olga", {"version": 4})
    assert again == request == approval.find_request(services, run)
    voided = approval.void_changed_form(services, again, {"version": 4})
    assert voided is not None
    assert (voided.event, voided.actor) == ("voided", "podium")
    assert voided.reason == "the run's form was changed; it is now: version 4"
    assert judge(ledger, request, says()) == voided


@pytest.mark.parametrize("form", [{}, {"profile": "smoke"}])
def test_a_form_that_was_empty_or_is_empty_now_is_another_one_too(
    ledger: Ledger, model: str, form: dict[str, Any]
) -> None:
    services = services_with(ledger)
    request = approval.open_request(services, POLICY, model, nominated(ledger, model), None, form)
    other = {} if form else FORM
    assert approval.void_changed_form(services, request, form) is None
    assert approval.void_changed_form(services, request, other) is not None


def test_a_request_of_an_older_podium_knows_no_form_and_stands(ledger: Ledger, model: str) -> None:
    run = nominated(ledger, model)
    details = {
        "requester": None,
        "manifest": "manifest of v2",
        "gates": "gates of v2",
        "expires_after_seconds": 60.0,
    }
    key = f"approval_requested:{run}"
    record(ledger, model, EventKind.APPROVAL_REQUESTED, 2, from_version=1, run=run, key=key, details=details)
    request = approval.find_request(services_with(ledger), run)
    assert (request.form, request.form_digest) == (None, None)
    assert approval.void_changed_form(services_with(ledger), request, FORM) is None
    assert judge(ledger, request, says()).event == "approved"


def test_a_run_that_a_backfill_started_again_asks_nobody_unless_it_had_asked_before(
    ledger: Ledger, model: str
) -> None:
    services, run = services_with(ledger), nominated(ledger, model)
    with pytest.raises(RequesterUnknown, match="started again by a backfill.* Trigger it yourself"):
        approval.open_request(services, POLICY, model, run, None, FORM, started_again=True)
    assert approval.open_requests(ledger.history(model)) == []
    request = approval.open_request(services, POLICY, model, run, None, FORM)
    again = approval.open_request(services, POLICY, model, run, None, FORM, started_again=True)
    assert again == request


def test_a_valid_approval_decides_and_is_bound_to_what_was_asked(ledger: Ledger, request_: Request) -> None:
    decision = judge(ledger, request_, says(reason="  looks good to me "))
    assert decision == approval.find_decision(services_with(ledger), request_.run)
    assert (decision.event, decision.actor, decision.reason) == ("approved", "ben", "looks good to me")
    assert (decision.version, decision.from_version, decision.run) == (2, 1, request_.run)
    bound = {"request": request_.seq, "manifest": "manifest of v2", "gates": "gates of v2"}
    assert bound.items() <= decision.details.items()
    valid_for = datetime.fromisoformat(decision.details["valid_until"]) - datetime.now(UTC)
    assert timedelta(hours=23) < valid_for < timedelta(days=1)
    assert (
        approval.describe_decision(decision) == f"{request_.model} v2 was approved by ben: looks good to me"
    )


def test_the_first_decision_of_a_run_stays_whatever_comes_after(ledger: Ledger, request_: Request) -> None:
    first = judge(ledger, request_, says("Reject", "amy", "too risky now"))
    assert (first.event, first.actor, first.reason) == (EventKind.REJECTED, "amy", "too risky now")
    assert judge(ledger, request_, says()) == first
    assert judge(ledger, request_, says(who="eve")) == first
    assert judge(ledger, request_, says(), champion=7) == first
    assert approval.record_expiry(services_with(ledger), request_) == first
    assert kinds(ledger, request_) == ["rejected", "answer_invalid", "answer_invalid", "answer_invalid"]
    late = ledger.history(request_.model)[-3]
    assert approval.is_late(late)
    assert not approval.is_late(first)
    newer = ledger.find(f"nominated:{nominated(ledger, request_.model, 3)}")
    assert newer is not None
    assert approval.supersede(services_with(ledger), newer) == []
    assert (late.actor, late.details["option"], late.details["reason"]) == (
        "ben",
        "Approve",
        "looks good to me",
    )
    assert late.reason == (
        f"it came after the request was closed: {request_.model} v2 was rejected by amy: too risky now"
    )


def forged_approval(ledger: Ledger, request: Request, **changes: Any) -> Event:
    """Write what whoever stole the application's password would write."""
    forged = approval._decision(request, EventKind.APPROVED, "ben", "looks good to me")
    details = {"valid_until": (datetime.now(UTC) + timedelta(days=1)).isoformat(), **changes}
    return ledger.append(replace(forged, details={**forged.details, **details}))


@pytest.mark.parametrize("changes", [{}, {"approved_by": ["ben"]}, {"approved_by": []}])
def test_an_approval_that_nobody_gave_stops_whoever_finds_it_and_no_answer_is_lost(
    ledger: Ledger, request_: Request, changes: dict[str, Any]
) -> None:
    services, forged = services_with(ledger), forged_approval(ledger, request_, **changes)
    said = f"was approved by ben: looks good to me. But no such answer of ben .* event {forged.seq}:"
    with pytest.raises(ApprovalNotGiven, match=said):
        judge(ledger, request_, says("Reject", "ben", "this must never go live"))
    kept = ledger.history(request_.model)[-1]
    assert (kept.event, kept.actor, kept.details["option"]) == ("answer_invalid", "ben", "Reject")
    for look in (approval.find_decision, lambda *_: approval.find_approval(services, *about(request_))):
        with pytest.raises(ApprovalNotGiven, match=said):
            look(services, request_.run)
    # An answer after the forgery makes it no decision that somebody gave.
    with pytest.raises(ApprovalNotGiven, match=said):
        judge(ledger, request_, says())


def about(request: Request) -> tuple[str, str]:
    return request.model, request.run


def test_an_approval_that_was_there_before_anybody_was_asked_stops_the_run(
    ledger: Ledger, model: str
) -> None:
    run = nominated(ledger, model)
    ledger.append(NewEvent(EventKind.APPROVED, model, 2, 1, "ben", run=run, key=f"decision:{run}"))
    with pytest.raises(ApprovalNotGiven):
        approval.find_decision(services_with(ledger), run)
    approval.open_request(services_with(ledger), POLICY, model, run)
    with pytest.raises(ApprovalNotGiven):
        approval.find_approval(services_with(ledger), model, run)


def test_a_forged_part_of_a_quorum_is_found(ledger: Ledger, request_: Request) -> None:
    judge(ledger, request_, says(), policy=TWO)
    forged_approval(ledger, request_, approved_by=["ben", "amy"])
    with pytest.raises(ApprovalNotGiven, match="no such answer of amy is on record"):
        approval.find_approval(services_with(ledger), *about(request_))


def test_an_approval_by_an_older_podium_still_counts(ledger: Ledger, model: str) -> None:
    run = nominated(ledger, model)
    old = approval.open_request(services_with(ledger), POLICY, model, run)
    asked = ledger.history(model)[-1]
    older = {name: said for name, said in asked.details.items() if not name.startswith("form")}
    other = nominated(ledger, model)
    ledger.append(
        NewEvent(
            EventKind.APPROVAL_REQUESTED,
            model,
            2,
            1,
            run=other,
            key=f"approval_requested:{other}",
            details=older,
        )
    )
    decision = forged_approval(ledger, replace(old, run=other))
    assert approval.find_approval(services_with(ledger), model, other) == decision


def test_an_invalid_answer_is_on_record_once_and_decides_nothing(ledger: Ledger, request_: Request) -> None:
    answer = says("Approve", "eve", "")
    event = judge(ledger, request_, answer)
    assert (event.event, event.actor) == (EventKind.ANSWER_INVALID, "eve")
    assert event.reason == (
        "eve is not an approver (approvers: amy, ben); "
        "the reason has 0 letters and digits, at least 10 are required"
    )
    assert event.details["option"] == "Approve"
    assert judge(ledger, request_, answer) == event
    assert approval.find_decision(services_with(ledger), request_.run) is None
    assert judge(ledger, request_, says()).event == "approved"
    assert kinds(ledger, request_) == ["answer_invalid", "approval_given", "approved"]


def test_what_was_answered_is_kept_as_it_can_be_read(ledger: Ledger, request_: Request) -> None:
    event = judge(ledger, request_, says(reason="\x00\x1b[2J" + "x" * 3_000_000))
    assert event.event == EventKind.ANSWER_INVALID
    assert str(event.details["reason"]).startswith("\\x00\\x1b[2Jxxx")
    assert len(str(event.details["reason"])) < 2_100


def test_of_two_that_are_needed_the_second_decides(ledger: Ledger, model: str) -> None:
    request = approval.open_request(services_with(ledger), TWO, model, nominated(ledger, model))
    amy, ben = says(who="amy", reason="fine on all leagues"), says(who="ben", reason="I agree with amy")
    given = judge(ledger, request, amy, TWO)
    assert (given.event, given.actor, given.reason) == ("approval_given", "amy", "fine on all leagues")
    assert judge(ledger, request, amy, TWO) == given
    assert approval.find_decision(services_with(ledger), request.run) is None

    twice = judge(ledger, request, says(who="amy", reason="fine, as I said"), TWO)
    assert (twice.event, twice.reason) == (
        "answer_invalid",
        "amy has approved already; another person must",
    )
    decision = judge(ledger, request, ben, TWO)
    assert (decision.event, decision.actor) == ("approved", "amy, ben")
    assert decision.reason == "fine on all leagues; I agree with amy"
    assert judge(ledger, request, ben, TWO) == decision == judge(ledger, request, amy, TWO)
    assert decision.details["approved_by"] == ["amy", "ben"]
    assert kinds(ledger, request) == ["approval_given", "answer_invalid", "approval_given", "approved"]
    told = approval.answers(ledger.history(model), request.run)
    assert told[:2] == [given, twice]
    assert told[2].actor == "ben"


@pytest.mark.parametrize("policy", [POLICY, TWO])
def test_a_rejection_wins_until_enough_approvals_are_acted_upon(
    ledger: Ledger, model: str, policy: ApprovalSpec
) -> None:
    services = services_with(ledger)
    request = approval.open_request(services, policy, model, nominated(ledger, model))
    given = approval.take_answer(services, policy, request, says(who="ben"))
    rejection = says("Reject", "amy", "worse on friendlies")
    rejected = approval.take_answer(services, policy, request, rejection)
    assert (given.event, rejected.event) == ("approval_given", "rejected")
    assert approval.decide(services, policy, request, 1) == rejected
    assert approval.take_answer(services, policy, request, rejection) == rejected
    assert kinds(ledger, request) == ["approval_given", "rejected"]


def test_approvals_that_are_on_record_decide_without_another_answer(
    ledger: Ledger, request_: Request
) -> None:
    services = services_with(ledger)
    assert approval.decide(services, POLICY, request_, 1) is None
    approval.take_answer(services, POLICY, request_, says(who="ben"))
    decision = approval.decide(services, POLICY, request_, 1)
    assert decision is not None
    assert (decision.event, decision.actor) == ("approved", "ben")
    late = approval.take_answer(services, POLICY, request_, says("Reject", "amy", "worse on friendlies"))
    assert approval.is_late(late)
    assert approval.decide(services, POLICY, request_, 1) == decision


def test_a_person_who_approves_twice_at_the_same_moment_is_one(ledger: Ledger, model: str) -> None:
    services = services_with(ledger)
    request = approval.open_request(services, TWO, model, nominated(ledger, model))
    answered = says(who="ben")
    approval.take_answer(services, TWO, request, answered)
    # Each was judged before the other was on record.
    first = ledger.history(model)[-1]
    record(ledger, model, EventKind.APPROVAL_GIVEN, 2, run=request.run, actor="Ben", details=first.details)
    assert approval.decide(services, TWO, request, 1) is None
    at_once = replace(says(who="amy"), at=answered.at)
    assert judge(ledger, request, at_once, TWO).event == "approved"


def test_one_rejection_is_enough_also_after_an_approval_and_by_who_approved(
    ledger: Ledger, model: str
) -> None:
    request = approval.open_request(services_with(ledger), TWO, model, nominated(ledger, model))
    judge(ledger, request, says(who="amy"), TWO)
    decision = judge(ledger, request, says("Reject", "amy", "I was wrong, sorry"), TWO)
    assert (decision.event, decision.actor) == ("rejected", "amy")


def test_approvals_of_another_run_do_not_count(ledger: Ledger, model: str) -> None:
    one, other = (
        approval.open_request(services_with(ledger), TWO, model, nominated(ledger, model)) for _ in range(2)
    )
    judge(ledger, one, says(who="amy"), TWO)
    assert judge(ledger, other, says(who="ben"), TWO).event == "approval_given"
    assert judge(ledger, other, says(who="amy"), TWO).actor == "ben, amy"


@pytest.mark.parametrize("option", ["Approve", "Reject"])
def test_a_late_answer_is_on_record_and_the_request_expired(
    ledger: Ledger, request_: Request, option: str
) -> None:
    late = replace(says(option), at=request_.expires_at)
    decision = judge(ledger, request_, late)
    assert (decision.event, decision.actor) == ("expired", "podium")
    assert decision.reason == f"no valid answer until {request_.expires_at:%Y-%m-%d %H:%M} UTC"
    assert judge(ledger, request_, late) == decision
    assert kinds(ledger, request_) == ["answer_invalid", "expired"]
    invalid = ledger.history(request_.model)[-2]
    assert (invalid.actor, invalid.reason) == (
        "ben",
        f"the request expired on {request_.expires_at:%Y-%m-%d %H:%M} UTC",
    )


def test_an_answer_in_time_counts_also_if_it_is_read_late(ledger: Ledger, model: str) -> None:
    hasty = POLICY.model_copy(update={"expires_after": timedelta(microseconds=1)})
    request = approval.open_request(services_with(ledger), hasty, model, nominated(ledger, model))
    in_time = replace(says(), at=request.expires_at - timedelta(microseconds=1))
    assert judge(ledger, request, in_time).event == "approved"


def gates_run_again(ledger: Ledger, request: Request) -> None:
    record(
        ledger,
        request.model,
        EventKind.GATES_REFUSED,
        2,
        reason="refused by 1 of 4 gates",
        details={"digest": "another report"},
    )


def gates_run_again_alike(ledger: Ledger, request: Request) -> None:
    record(ledger, request.model, EventKind.GATES_PASSED, 2, details={"digest": "gates of v2"})


def gates_of_another_version(ledger: Ledger, request: Request) -> None:
    record(ledger, request.model, EventKind.GATES_PASSED, 3, details={"digest": "gates of v3"})


def rolled_back(ledger: Ledger, request: Request) -> None:
    record(ledger, request.model, EventKind.ROLLED_BACK, 1, from_version=2, actor="olga", reason="complaints")


def nothing(ledger: Ledger, request: Request) -> None:
    pass


@pytest.mark.parametrize(
    ("happens", "champion", "why"),
    [
        (nothing, 3, "the champion was v1 and is v3 now"),
        (nothing, None, "the champion was v1 and is none now"),
        (
            gates_run_again,
            1,
            "the gates ran again since, with a different report: refused by 1 of 4 gates",
        ),
        (rolled_back, 1, "it was rolled back on "),
    ],
)
def test_an_approval_of_what_has_changed_is_void(
    ledger: Ledger,
    request_: Request,
    happens: Callable[[Ledger, Request], None],
    champion: int | None,
    why: str,
) -> None:
    happens(ledger, request_)
    answer = says()
    decision = judge(ledger, request_, answer, champion=champion)
    assert (decision.event, decision.actor) == ("voided", "podium")
    assert decision.reason.startswith(why)
    assert judge(ledger, request_, answer, champion=1) == decision
    assert kinds(ledger, request_)[-2:] == ["approval_given", "voided"]
    assert ledger.history(request_.model)[-2].actor == "ben"


@pytest.mark.parametrize("happens", [nothing, gates_run_again_alike, gates_of_another_version])
def test_what_is_the_same_still_is_not_void(
    ledger: Ledger, request_: Request, happens: Callable[[Ledger, Request], None]
) -> None:
    happens(ledger, request_)
    assert judge(ledger, request_, says()).event == "approved"


def test_a_rejection_holds_whatever_has_changed(ledger: Ledger, request_: Request) -> None:
    gates_run_again(ledger, request_)
    assert judge(ledger, request_, says("Reject"), champion=9).event == "rejected"


def test_a_rollback_before_the_request_does_not_matter(ledger: Ledger, model: str) -> None:
    record(ledger, model, EventKind.PROMOTED, 2, from_version=1)
    record(ledger, model, EventKind.ROLLED_BACK, 1, from_version=2)
    request = approval.open_request(services_with(ledger), POLICY, model, nominated(ledger, model))
    assert judge(ledger, request, says()).event == "approved"


@pytest.mark.parametrize("option", ["Approve", "Reject", "Maybe"])
def test_what_was_answered_with_signs_that_nobody_sees_is_on_record_and_does_not_count(
    ledger: Ledger, request_: Request, option: str
) -> None:
    event = judge(ledger, request_, says(option, reason="NUL \0 and a lone \ud800 surrogate"))
    assert event == ledger.history(request_.model)[-1]
    assert event.event == EventKind.ANSWER_INVALID
    assert event.details["reason"] == "NUL \\x00 and a lone \\ud800 surrogate"


def test_a_newer_candidate_closes_the_requests_of_other_runs_only(ledger: Ledger, model: str) -> None:
    old, answered, new = (
        approval.open_request(services_with(ledger), POLICY, model, nominated(ledger, model, version))
        for version in (1, 2, 3)
    )
    elsewhere = approval.open_request(
        services_with(ledger), POLICY, f"{model}-b", nominated(ledger, f"{model}-b")
    )
    approved = judge(ledger, answered, says())
    for _ in range(2):
        newer = ledger.find(f"nominated:{new.run}")
        assert newer is not None
        assert [event.run for event in approval.supersede(services_with(ledger), newer)] == [old.run]
    decision = approval.find_decision(services_with(ledger), old.run)
    assert decision is not None
    assert (decision.event, decision.actor, decision.version) == ("superseded", "podium", 1)
    assert decision.reason == f"v3 of run {new.run} is a newer candidate"
    assert approval.find_decision(services_with(ledger), answered.run) == approved
    assert approval.open_requests(ledger.history(model)) == [new]
    assert approval.open_requests(ledger.history(elsewhere.model)) == [elsewhere]


def test_open_requests_are_those_without_a_decision(ledger: Ledger, request_: Request) -> None:
    assert approval.open_requests(ledger.history(request_.model)) == [request_]
    judge(ledger, request_, says(who="eve"))
    approval.record_asked_again(services_with(ledger), request_, 2)
    assert approval.open_requests(ledger.history(request_.model)) == [request_]
    approval.record_expiry(services_with(ledger), request_)
    assert approval.open_requests(ledger.history(request_.model)) == []


def test_asking_again_is_on_record_once_per_try(ledger: Ledger, request_: Request) -> None:
    for try_number in (2, 2, 3):
        approval.record_asked_again(services_with(ledger), request_, try_number)
    assert kinds(ledger, request_) == ["asked_again", "asked_again"]
