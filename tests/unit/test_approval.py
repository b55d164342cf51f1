from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest

from podium import approval
from podium.approval import Answer, Request
from podium.errors import NotFound
from podium.ledger import EventKind
from podium.parts import Parts
from podium.spec import ApprovalSpec

POLICY = ApprovalSpec(approvers=("amy", "ben"), reason_min_length=10)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer("Approve", "looks good to me", "amy", NOW), []),
        (Answer("Reject", "worse on friendlies", "ben", NOW), []),
        (Answer("Approve", "looks good to me", "eve", NOW), ["eve is not an approver (approvers: amy, ben)"]),
        (Answer("Approve", "looks good to me", None, NOW), ["the answer has no user"]),
        (Answer("Approve", "", "amy", NOW), ["the reason has 0 characters, at least 10 are required"]),
        (
            Answer("Approve", "  short      ", "amy", NOW),
            ["the reason has 5 characters, at least 10 are required"],
        ),
        (Answer("Reject", "", "amy", NOW), ["the reason has 0 characters, at least 10 are required"]),
        (Answer("Maybe", "looks good to me", "amy", NOW), ["'Maybe' is neither Approve nor Reject"]),
        (Answer("", "", None, NOW), 3),
    ],
)
def test_an_answer_is_judged(answer: Answer, expected: list[str] | int) -> None:
    found = approval.problems(POLICY, answer)
    assert found == expected or len(found) == expected


@pytest.fixture
def request_(parts: Parts) -> Request:
    nomination = {"model": "asked", "version": 2, "champion": 1}
    return approval.open_request(parts.ledger, POLICY, nomination, f"run/{uuid.uuid4()}")


def test_a_run_asks_once_and_its_clock_does_not_start_again(parts: Parts, request_: Request) -> None:
    later = ApprovalSpec(approvers=("amy",), expires_after="9d")
    again = approval.open_request(
        parts.ledger, later, {"model": "asked", "version": 2, "champion": 1}, request_.run
    )
    assert again == request_ == approval.find_request(parts.ledger, request_.run)
    assert timedelta(days=2) < request_.expires_at - datetime.now(UTC) < timedelta(days=3)


def test_the_first_decision_of_a_run_stays(parts: Parts, request_: Request) -> None:
    first = approval.record_decision(parts.ledger, request_, Answer("Reject", "too risky now", "amy", NOW))
    second = approval.record_decision(parts.ledger, request_, Answer("Approve", "well, go on", "ben", NOW))
    assert first == second == approval.record_expiry(parts.ledger, request_)
    assert approval.find_decision(parts.ledger, request_.run) == first
    assert (first.event, first.actor, first.reason) == (EventKind.REJECTED, "amy", "too risky now")
    assert (first.version, first.from_version) == (2, 1)


def test_an_invalid_answer_is_on_record_and_decides_nothing(parts: Parts, request_: Request) -> None:
    answer = Answer("Approve", "", "eve", NOW)
    event = approval.record_invalid(parts.ledger, request_, answer, approval.problems(POLICY, answer))
    assert (event.event, event.actor) == (EventKind.ANSWER_INVALID, "eve")
    assert "not an approver" in event.reason
    assert approval.find_decision(parts.ledger, request_.run) is None


def test_open_requests_are_those_without_a_decision(parts: Parts, request_: Request) -> None:
    events = parts.ledger.history("asked")
    assert request_ in approval.open_requests(events)
    approval.record_expiry(parts.ledger, request_)
    assert request_ not in approval.open_requests(parts.ledger.history("asked"))


def test_a_run_that_asked_nobody_has_no_request(parts: Parts) -> None:
    with pytest.raises(NotFound, match="holds no approval request of run x/y"):
        approval.find_request(parts.ledger, "x/y")
