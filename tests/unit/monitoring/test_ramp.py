"""The ramp of an approved version: up by evidence alone, back to 0 on bad, and safe to be killed anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from podium.errors import DecisionVoid, Outage, PodiumError
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.evidence import Evidence, EvidenceStore
from podium.ledger.store import Ledger
from podium.ledger.watch_counts import Counts, Told, tell_watched
from podium.lifecycle import promote as promote_module
from podium.lifecycle.approval import find_request
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.outcome import outcome_of
from podium.lifecycle.ramped import Ramp, open_ramp, ramp_of, ramp_terms
from podium.lifecycle.watched import Terms, WatchWindow
from podium.metrics.paired import Sums
from podium.model_file.notify import Topic
from podium.model_file.ramp import RampSpec
from podium.model_file.spec import ModelSpec
from podium.monitoring import ramp as ramp_module
from podium.monitoring.ramp import (
    begin_ramp,
    current_ramp,
    end_unfinished,
    judge_step,
    ramp_is_due,
    ramp_standing,
    step_ramp,
)
from podium.monitoring.watch_recompute import watch_differences
from podium.monitoring.watch_record import Standing, content_of, digests, names_of
from podium.monitoring.watching import TIME_TO_LOAD, Seen, judge
from podium.names import RunOutcome
from podium.reporting.approval_card import describe_state, ramp_before
from podium.reporting.notices import of_event
from podium.reporting.overview import describe, overview
from podium.services import Services
from support.serving import as_server
from support.steps import FIRST, SECOND, decide, kinds, new_run, nominate_unjudged, promote_as_of
from support.watched import terms

BAD = Counts(60, 60, new_failed=30)


def ramped(spec: ModelSpec, **section: Any) -> ModelSpec:
    given = {"steps": [5, 25, 50], "each": {"rows": 10}, **section}
    return spec.model_copy(update={"ramp": RampSpec.model_validate(given)})


def approved(services: Services, spec: ModelSpec) -> str:
    """A run with a version that is approved over the first champion."""
    promote_as_of(services, spec, FIRST)
    return approve_another(services, spec)


def approve_another(services: Services, spec: ModelSpec) -> str:
    run = new_run()
    nominate_unjudged(services, spec, SECOND, run)
    decide(services, spec, run)
    return run


def begin(services: Services, spec: ModelSpec, run: str) -> Event | None:
    terms, section = ramp_terms(spec), spec.ramp
    assert terms is not None
    assert section is not None
    return begin_ramp(services, spec.name, run, terms, section.steps)


def begun(services: Services, spec: ModelSpec) -> tuple[str, Event]:
    run = approved(services, spec)
    first = begin(services, spec, run)
    assert first is not None
    return run, first


def tell(services: Services, first: Event, counts: Counts, process: str = "a", problem: str = "") -> None:
    tell_watched(as_server(services).ledger, first.model, first.seq, process, counts, problem)


def promote(services: Services, spec: ModelSpec, run: str) -> Event:
    return promote_module.promote(services, spec.name, run, Terms.of(spec), ramped=spec.ramp is not None)


def shares(services: Services, spec: ModelSpec) -> list[int]:
    """What servers would have followed after each event of ramps."""
    events, found = services.ledger.history(spec.name), []
    for place, event in enumerate(events, 1):
        if event.event in (EventKind.RAMP_STEP, EventKind.RAMP_ENDED):
            now = open_ramp(events[:place])
            found.append(0 if now is None else now.share)
    return found


def test_the_share_is_raised_step_by_step_and_the_promotion_needs_no_second_approval(
    services: Services, toy_spec: ModelSpec
) -> None:
    spec = ramped(toy_spec)
    run, first = begun(services, spec)
    assert first.reason == "5% of the clients: approved by amy"
    assert not ramp_is_due(services, spec.name, run)
    with pytest.raises(DecisionVoid, match="its ramp has not ended, so it is not promoted: v2 answers 5% of"):
        promote(services, spec, run)
    tell(services, first, Counts(9, 9))
    assert step_ramp(services, spec.name, run) is None
    assert shares(services, spec) == [5]
    tell(services, first, Counts(1, 1), process="b")
    assert ramp_is_due(services, spec.name, run)
    assert step_ramp(services, spec.name, run) is None
    assert shares(services, spec) == [5, 25], "rows of the first step are none of the second's"
    tell(services, first, Counts(19, 19))
    assert step_ramp(services, spec.name, run) is None
    assert shares(services, spec) == [5, 25, 50]
    tell(services, first, Counts(29, 29))
    ended = step_ramp(services, spec.name, run)
    assert ended is not None
    assert (ended.details["said"], ended.actor) == ("good", "ramp of v2")
    assert ended.reason == "good: v2 is not seen to be worse than v1 on 30 rows"
    assert shares(services, spec)[-1] == 50, "its clients stay with it until it is champion"
    assert step_ramp(services, spec.name, run) == ended
    promoted = promote(services, spec, run)
    assert (promoted.version, promoted.from_version, promoted.actor) == (2, 1, "amy")
    assert current_ramp(services.ledger, spec.name) is None
    assert end_unfinished(services, spec.name, run) is None
    assert kinds(services, spec).count(EventKind.APPROVED) == 2, "one of each version"
    assert watch_differences(services.ledger, [spec.name]) == []


def test_bad_takes_the_share_to_0_and_nothing_promotes_it(services: Services, toy_spec: ModelSpec) -> None:
    spec = ramped(toy_spec)
    run, first = begun(services, spec)
    tell(services, first, Counts(10, 10))
    step_ramp(services, spec.name, run)
    tell(services, first, BAD)
    assert ramp_is_due(services, spec.name, run)
    ended = step_ramp(services, spec.name, run)
    assert ended is not None
    assert ended.reason == "back to 0%, bad: v2 alone failed 30 and v1 alone 0 of 60 requests"
    assert shares(services, spec) == [5, 25, 0]
    tell(services, first, Counts(9000, 9000, new_failed=30))
    assert step_ramp(services, spec.name, run) == ended, "later rows change nothing"
    with pytest.raises(
        DecisionVoid, match="its ramp did not end well, so it is not promoted: back to 0%, bad"
    ):
        promote(services, spec, run)
    assert services.registry.champion(spec.name) == 1
    assert watch_differences(services.ledger, [spec.name]) == []


@pytest.mark.parametrize(
    ("counts", "later", "problem", "why"),
    [
        (Counts(9, 9), timedelta(days=7), "", "inconclusive: the window is over; missing: 1 rows"),
        (Counts(30, 30), timedelta(days=7), "", "its time was over at"),
        (Counts(), TIME_TO_LOAD, "too large", "not judged: no server can compare v2 with v1: too large"),
        (
            Counts(90, 90, both_failed=80),
            timedelta(0),
            "",
            "both bad: v2 and v1 both failed 80 of 90 requests",
        ),
    ],
)
def test_it_stops_at_the_step_and_only_bad_moves_it_then(
    services: Services,
    toy_spec: ModelSpec,
    monkeypatch: pytest.MonkeyPatch,
    counts: Counts,
    later: timedelta,
    problem: str,
    why: str,
) -> None:
    spec = ramped(toy_spec)
    run, first = begun(services, spec)
    tell(services, first, counts, problem=problem)
    monkeypatch.setattr(Ledger, "now", lambda _: first.at + later)
    assert step_ramp(services, spec.name, run) is None
    stopped = current_ramp(services.ledger, spec.name)
    assert stopped is not None
    assert (stopped.share, stopped.stopped) == (5, True)
    assert str(stopped).startswith(f"the ramp of v2 stopped at 5% of the clients: {why}")
    tell(services, first, Counts(200, 200, both_failed=80))
    assert step_ramp(services, spec.name, run) is None
    assert shares(services, spec) == [5, 5]
    with pytest.raises(DecisionVoid, match="has not ended"):
        promote(services, spec, run)
    assert watch_differences(services.ledger, [spec.name]) == []
    tell(services, first, Counts(300, 300, new_failed=60, both_failed=80))
    assert step_ramp(services, spec.name, run) is not None
    assert shares(services, spec) == [5, 5, 0]
    assert watch_differences(services.ledger, [spec.name]) == []


def test_what_stopped_goes_back_when_nobody_decides(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ramped(toy_spec, at_most="1h")
    run, _ = begun(services, spec)
    now = datetime.now(UTC)
    monkeypatch.setattr(Ledger, "now", lambda _: now + timedelta(minutes=60))
    assert step_ramp(services, spec.name, run) is None
    monkeypatch.setattr(Ledger, "now", lambda _: now + timedelta(minutes=61))
    ended = step_ramp(services, spec.name, run)
    assert ended is not None
    assert ended.reason.startswith("back to 0%: it stopped at 5%, and nobody decided until")
    assert watch_differences(services.ledger, [spec.name]) == []


def test_an_approval_begins_a_ramp_only_as_long_as_it_is_valid(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ramped(toy_spec)
    run = approved(services, spec)
    with pytest.raises(DecisionVoid, match="has not begun"):
        promote(services, spec, run)
    with monkeypatch.context() as late:
        late.setattr(Ledger, "now", lambda _: datetime.now(UTC) + spec.approval.valid_for)
        with pytest.raises(DecisionVoid, match="bounds the first step of the ramp"):
            begin(services, spec, run)
    assert begin(services, spec, run) is not None


def test_the_promotion_at_the_end_may_come_later_than_the_approval_is_valid_and_not_than_at_most(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ramped(toy_spec, steps=[50])
    run, first = begun(services, spec)
    tell(services, first, Counts(10, 10))
    assert step_ramp(services, spec.name, run) is not None

    class Later(datetime):
        away = timedelta(0)

        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + cls.away

    monkeypatch.setattr(promote_module, "datetime", Later)
    Later.away = timedelta(days=8)
    with pytest.raises(DecisionVoid, match="was valid until"):
        promote(services, spec, run)
    Later.away = spec.approval.valid_for + timedelta(hours=1)
    assert Later.away < timedelta(days=7)
    assert promote(services, spec, run).version == 2


def test_the_first_champion_has_nothing_to_be_beside(services: Services, toy_spec: ModelSpec) -> None:
    spec, run = ramped(toy_spec), new_run()
    nominate_unjudged(services, spec, FIRST, run)
    decide(services, spec, run)
    assert begin(services, spec, run) is None
    assert promote(services, spec, run).version == 1


def test_a_move_of_the_champion_and_another_approval_end_it(services: Services, toy_spec: ModelSpec) -> None:
    spec = ramped(toy_spec)
    run, _ = begun(services, spec)
    other = approve_another(services, spec)
    assert begin(services, spec, other) is not None
    ended = step_ramp(services, spec.name, run)
    assert ended is not None
    assert ended.reason.endswith("was approved")
    now = current_ramp(services.ledger, spec.name)
    assert now is not None
    assert now.run == other, "the end of the first hides no other"
    assert end_unfinished(services, spec.name, run) is None
    services.ledger.append(NewEvent(EventKind.PROMOTED, spec.name, 1, from_version=1, run="by/hand"))
    assert current_ramp(services.ledger, spec.name) is None
    assert ramp_is_due(services, spec.name, other)
    last = step_ramp(services, spec.name, other)
    assert last is not None
    assert (last.details["said"], last.details["share"]) == ("over", 0)


@pytest.mark.parametrize(
    ("kind", "details", "why"),
    [
        (EventKind.QUARANTINED, {}, "v2 is in quarantine since "),
        (EventKind.WATCH_JUDGED, {"freezes": True, "said": "both bad"}, "promotions are stopped"),
        (EventKind.RETIRED, {}, "was retired on "),
        (EventKind.GATES_PASSED, {"digest": "another", "sentence": "passed"}, "the gates ran again since"),
    ],
)
def test_what_makes_the_approval_void_takes_the_share_to_0(
    services: Services, toy_spec: ModelSpec, kind: EventKind, details: dict[str, Any], why: str
) -> None:
    spec = ramped(toy_spec)
    run, first = begun(services, spec)
    tell(services, first, Counts(10, 10))
    assert step_ramp(services, spec.name, run) is None
    services.ledger.append(NewEvent(kind, spec.name, 2, 1, reason="of a test", details=details))
    assert ramp_is_due(services, spec.name, run)
    ended = step_ramp(services, spec.name, run)
    assert ended is not None
    assert why in ended.reason
    assert shares(services, spec) == [5, 25, 0]
    with pytest.raises(PodiumError):
        promote(services, spec, run)


def test_a_run_that_ends_without_a_promotion_leaves_no_share(services: Services, toy_spec: ModelSpec) -> None:
    spec = ramped(toy_spec, steps=[50])
    run, first = begun(services, spec)
    tell(services, first, Counts(10, 10))
    assert step_ramp(services, spec.name, run) is not None
    assert shares(services, spec) == [50, 50]
    ended = end_unfinished(services, spec.name, run)
    assert ended is not None
    assert ended.reason == "back to 0%: its run ended without a promotion"
    assert shares(services, spec)[-1] == 0
    assert end_unfinished(services, spec.name, run) is None
    assert watch_differences(services.ledger, [spec.name]) == []


def test_killed_at_any_write_it_goes_on_with_the_same_steps(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ramped(toy_spec)
    run = approved(services, spec)
    real: Callable[..., Any] = ramp_module.record
    dies = {"before": True}

    def killed(services: Services, new: NewEvent) -> Event:
        """Dies before the write, then after it, then not."""
        if dies["before"]:
            dies["before"] = False
            raise Outage("killed before")
        real(services, new)
        dies["before"] = True
        raise Outage("killed after")

    monkeypatch.setattr(ramp_module, "record", killed)
    for _ in range(2):
        with pytest.raises(Outage):
            begin(services, spec, run)
    first = begin(services, spec, run)
    assert first is not None
    for rows in (10, 20, 30):
        tell(services, first, Counts(rows, rows))
        for _ in range(2):
            with pytest.raises(Outage):
                step_ramp(services, spec.name, run)
        step_ramp(services, spec.name, run)
    assert shares(services, spec) == [5, 25, 50, 50]
    assert watch_differences(services.ledger, [spec.name]) == []


def test_what_does_not_follow_from_the_record_is_found(services: Services, toy_spec: ModelSpec) -> None:
    spec = ramped(toy_spec)
    run, first = begun(services, spec)
    tell(services, first, Counts(10, 10))
    step_ramp(services, spec.name, run)
    step = services.ledger.history(spec.name)[-1]
    of_step = dict(step.details)
    unproved = {name: value for name, value in of_step.items() if name != "digest"}
    good = {"ramp": first.seq, "share": 25, "said": "good"}
    forged: list[tuple[EventKind, str, dict[str, Any], str]] = [
        (EventKind.RAMP_STEP, run, unproved | {"share": 50}, "event {} has no evidence"),
        (EventKind.RAMP_STEP, run, unproved | {"counted": -90}, "event {} has no evidence"),
        (EventKind.RAMP_ENDED, run, good, "event {} has no evidence"),
        (EventKind.RAMP_ENDED, run, good | {"digest": step.details["digest"]}, "recomputed"),
        (
            EventKind.RAMP_STEP,
            new_run(),
            dict(first.details),
            "event {} follows from no approval and no step",
        ),
    ]
    other = approve_another(services, spec)
    not_first = "event {} is not the first step of what was approved"
    for changed in ({"share": 25}, {"counted": -90}, {"stopped": True}):
        forged.append((EventKind.RAMP_STEP, other, {**first.details, **changed}, not_first))
        other = approve_another(services, spec)
    for number, (kind, of_run, details, said) in enumerate(forged, 1):
        new = NewEvent(kind, spec.name, 2, from_version=1, run=of_run, details=details)
        seq = services.ledger.append(new).seq
        found = watch_differences(services.ledger, [spec.name])
        assert len(found) == number
        assert found[-1].startswith(f"ramp of {spec.name} v2: ")
        assert said.format(seq) in found[-1]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"share": 50}, "share is 50, recomputed 25"),
        ({"counted": 0}, "counted is 0, recomputed 10"),
        ({"stopped": True}, "stopped is True, recomputed False"),
        ({"terms": terms(rows=1).as_json()}, "terms "),
    ],
)
def test_a_step_with_evidence_of_another_one_is_found(
    services: Services, toy_spec: ModelSpec, changed: dict[str, Any], said: str
) -> None:
    spec = ramped(toy_spec)
    _, first = begun(services, spec)
    tell(services, first, Counts(10, 10))
    looked = ramp_standing(services.ledger, spec.name)
    assert looked is not None
    new = judge_step(looked[1], looked[0])
    assert new is not None
    content = content_of(looked[0], digests(services.ledger, looked[0].window))
    evidence = Evidence.of(spec.name, 2, content)
    EvidenceStore(services.ledger).keep([evidence])
    forged = replace(new, details={**new.details, "digest": evidence.digest, **changed})
    services.ledger.append(forged)
    (found,) = watch_differences(services.ledger, [spec.name])
    assert found.startswith(f"ramp of {spec.name} v2: {said}")


def test_the_share_never_rises_on_bad_or_missing_evidence() -> None:
    """Whatever is seen, in whatever order: a step up has all its rows, and nothing that says yes."""
    random, opened = Random(21), datetime(2025, 6, 1, tzinfo=UTC)  # noqa: S311 - no secret
    raised = ended = stopped = 0
    for _ in range(400):
        ramp = Ramp(
            WatchWindow("toy", 7, 2, 1, opened, terms(rows=random.randint(1, 40), max_ratio=2.0)),
            "run",
            (5, 25, 50),
            5,
            0,
            opened,
            stopped=False,
            reason="",
        )
        counts, at, rate = Counts(), opened, random.choice([0.0, 0.02, 0.3])
        for _ in range(30):
            at += timedelta(hours=random.choice([0, 1, 30]))
            rows = random.choice([0, 3, 20])
            failed = sum(random.random() < rate for _ in range(rows))
            both = random.choice([0, 0, 0, rows - failed])
            timed = rows - failed - both
            counts = counts.plus(Counts(rows, rows, failed, 0, both, timed, random.choice([0, 0, timed])))
            problems = random.choice([(), ("too large",)])
            seen = Seen(at, counts, Sums(), random.choice([0, len(problems)]), problems)
            window = ramp.judged
            verdict = judge(window.terms, names_of(window), window.opened, seen)
            told = [Told("a", counts, "", at)]
            new = judge_step(ramp, Standing(window, told, seen, verdict))
            if new is None:
                continue
            if new.event is EventKind.RAMP_ENDED:
                ended += 1
                good = new.details["said"] == "good"
                assert new.details["share"] == (50 if good else 0)
                assert not good or (ramp.share == 50 and not ramp.stopped)
                break
            after = ramp_of(_recorded(new, at))
            if after.share > ramp.share:
                raised += 1
                assert not ramp.stopped
                assert counts.rows - ramp.counted >= ramp.window.terms.rows
                assert not any(question.answered for question in verdict.questions)
                assert at < opened + timedelta(days=7)
                assert (ramp.share, after.share) in pairwise(ramp.steps)
            else:
                stopped += 1
                assert (after.share, after.stopped) == (ramp.share, True)
            ramp = after
    assert min(raised, ended, stopped) > 50


def _recorded(new: NewEvent, at: datetime) -> Event:
    return Event(**{**vars(new), "details": new.details}, seq=9, at=at, previous_hash="", hash="")


def test_people_are_told_where_it_stands_where_it_stopped_and_how_it_ended(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ramped(toy_spec)
    run, first = begun(services, spec)
    request = find_request(services, run)

    def told() -> tuple[str, str]:
        """What ``status`` says, and the picture on the card."""
        seen = overview(services, {spec.name: spec}, Person("amy"), lambda name: name == spec.name, None)
        events = services.ledger.present(spec.name, 2, 1, run=run)
        return seen.rows[0].sentence, describe_state(spec.approval, request, events)[0]

    status, card = told()
    assert "v2 answers 5% of the clients until" in status.replace("V2", "v2")
    assert card.endswith(" at the latest.")
    assert "by amy. V2 answers 5% of the clients" in card
    assert of_event(first, "") is None
    with monkeypatch.context() as later:
        later.setattr(Ledger, "now", lambda _: first.at + timedelta(days=7))
        step_ramp(services, spec.name, run)
    stopped = services.ledger.history(spec.name)[-1]
    why = (
        "The ramp of v2 stopped at 5% of the clients: not judged: no server reported that it compares v2 "
        "with v1"
    )
    for said in told():
        assert why in said
    notice = of_event(stopped, "")
    assert notice is not None
    assert notice.subject.startswith(f"{spec.name} v2: its ramp stopped at 5% of the clients: not judged")
    again = approve_another(services, spec)
    asked = find_request(services, again)
    events = services.ledger.present(spec.name, asked.version, asked.champion, run=again)
    assert asked.version == 2
    assert ramp_before(events, asked)[0] == f"**⚠️ v2 was approved before. {why}.**"
    tell(services, first, BAD)
    ended = step_ramp(services, spec.name, run)
    assert ended is not None
    went = "went back to 0%, bad: v2 alone failed 30 and v1 alone 0 of 60 requests"
    assert told()[1].endswith(f"Its ramp {went}.")
    notice = of_event(ended, "")
    assert notice is not None
    assert (notice.subject, notice.topic) == (f"{spec.name} v2: its ramp {went}", Topic.WATCH)
    assert describe(ended) == f"v2 came to the end of its ramp: {ended.reason}"
    came_out = outcome_of(services, spec.name, run, {"ramp": ended.reason})
    assert came_out.kind is RunOutcome.FAILED
    came_out = outcome_of(services, spec.name, run, {})
    assert came_out.kind is RunOutcome.RAMP_ENDED
    assert came_out.sentence.endswith(f"approved by amy, not promoted: its ramp {went}")
