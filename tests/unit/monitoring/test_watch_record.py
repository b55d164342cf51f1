"""The verdict on a watch window: on record with its evidence, computed again, and acted upon once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import orjson
import pytest

from podium.errors import CannotRollBack, ChampionChanged, FrozenByWatch
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.evidence import Evidence, EvidenceStore
from podium.ledger.live_answers import LiveAnswer, LiveStore
from podium.ledger.store import Ledger
from podium.ledger.watch_counts import Counts, tell_watched
from podium.lifecycle.approval_policy import Person
from podium.lifecycle.settle import Settlement, settle, settle_request
from podium.model_file.spec import ModelSpec
from podium.model_file.watch import WatchSpec
from podium.monitoring.watch_act import Acted, act, is_due, owed_rollbacks, roll_back
from podium.monitoring.watch_recompute import watch_differences
from podium.monitoring.watch_record import ended_windows, judge_window, standing_of
from podium.monitoring.watching import Ending
from podium.names import Tag
from podium.services import Services
from support.serving import as_server
from support.steps import (
    FIRST,
    SECOND,
    asked_now,
    decide,
    kinds,
    new_run,
    nominate_unjudged,
    promote,
    promote_as_of,
)
from support.steps import roll_back as roll_back_by_hand

BAD, BROKEN = Counts(200, 200, new_failed=30), Counts(200, 200, both_failed=150)


def watched(spec: ModelSpec, **section: Any) -> ModelSpec:
    given = {"rows": 100, "labelled_rows": 0, **section}
    return spec.model_copy(update={"watch": WatchSpec.model_validate(given)})


def promoted_over_the_first(services: Services, spec: ModelSpec) -> Event:
    promote_as_of(services, spec, FIRST)
    return promote_as_of(services, spec, SECOND)


def tell(services: Services, promoted: Event, counts: Counts, process: str = "a", problem: str = "") -> None:
    server = as_server(services).ledger
    tell_watched(server, promoted.model, promoted.seq, process, counts, problem)


def test_a_good_window_is_judged_once_and_its_evidence_follows_from_the_counts(
    services: Services, toy_spec: ModelSpec
) -> None:
    spec, ledger = watched(toy_spec), services.ledger
    promoted = promoted_over_the_first(services, spec)
    assert judge_window(services, spec.name) is None
    tell(services, promoted, Counts(30, 60))
    tell(services, promoted, Counts(10, 39), process="b")
    looked = standing_of(ledger, spec.name)
    assert looked is not None
    assert (looked.verdict.ending, looked.verdict.reason) == (None, "missing: 1 rows")
    assert ended_windows(ledger, [spec.name]) == []
    tell(services, promoted, Counts(11, 40), process="b")
    assert [window.new for window in ended_windows(ledger, [spec.name])] == [2]
    judged = judge_window(services, spec.name)
    assert judged is not None
    assert (judged.event, judged.version, judged.from_version) == (EventKind.WATCH_JUDGED, 2, 1)
    assert judged.reason == "good: v2 is not seen to be worse than v1 on 100 rows"
    assert (judged.details["said"], judged.details["freezes"]) == ("good", False)
    evidence = EvidenceStore(ledger).one(judged.details["digest"]).read()
    assert [one["counts"][:2] for one in evidence["told"]] == [[30, 60], [11, 40]]
    assert len(evidence["new"]["digest"]) == len(evidence["old"]["digest"]) == 64
    assert judge_window(services, spec.name) is None, "it is closed"
    assert owed_rollbacks(ledger, [spec.name]) == []
    assert watch_differences(ledger, [spec.name]) == []
    tell(services, promoted, Counts(500, 500, new_failed=400), process="c")
    assert watch_differences(ledger, [spec.name]) == [], "servers may count on"


def test_a_bad_one_goes_back_by_itself_once_and_the_model_is_frozen_until_a_person_settles_it(
    services: Services, toy_spec: ModelSpec
) -> None:
    spec = watched(toy_spec, auto_rollback="on")
    tell(services, promoted_over_the_first(services, spec), BAD)
    judged = judge_window(services, spec.name)
    assert judged is not None
    assert judged.reason == "bad: v2 alone failed 30 and v1 alone 0 of 200 requests"
    assert owed_rollbacks(services.ledger, [spec.name]) == [judged]
    back = roll_back(services, judged)
    assert (back.version, back.from_version, back.actor) == (1, 2, "watch window of v2")
    assert back.reason == judged.reason
    assert services.registry.champion(spec.name) == 1
    assert owed_rollbacks(services.ledger, [spec.name]) == []
    assert roll_back(services, judged) == back, "a task that was killed and runs again"
    assert kinds(services, spec).count(EventKind.ROLLED_BACK) == 1
    assert watch_differences(services.ledger, [spec.name]) == []

    run = new_run()
    nominate_unjudged(services, spec, SECOND, run)
    decide(services, spec, run)
    with pytest.raises(FrozenByWatch, match=r"its watch window ended on .*, bad: v2 alone failed 30"):
        promote(services, spec, run)
    asks = Person("amy")
    request = settle_request(spec, Settlement.ACCEPT, asks=asks, reason="it was the upstream", run=new_run())
    settled = settle(services, spec, request, asked_now())
    assert (settled.event, settled.version, settled.actor) == (EventKind.WATCH_SETTLED, 1, "amy")
    assert promote(services, spec, run).version == 2


def test_one_look_judges_and_goes_back_and_a_record_that_cannot_be_read_hides_no_other(
    own_services: Services, toy_spec: ModelSpec
) -> None:
    services, spec = own_services, watched(toy_spec, auto_rollback="on")
    services.ledger.append(
        NewEvent(EventKind.PROMOTED, "odd", 2, from_version=1, details={"watch": {"rows": 1}})
    )
    assert is_due(services), "no window is open"
    promoted = promoted_over_the_first(services, spec)
    assert not is_due(services)
    assert act(services) == Acted([], [], [], [], 1)
    tell(services, promoted, BAD)
    assert is_due(services)
    done = act(services)
    assert done.told == [
        f"{spec.name} v2: bad: v2 alone failed 30 and v1 alone 0 of 200 requests",
        f"{spec.name} v2 was rolled back to v1",
    ]
    assert done.rolled_back == [(spec.name, f"watch_champion/promotion-{promoted.seq}")]
    assert act(services) == Acted([], [], [], [], 0)


def test_what_is_wrong_with_one_model_holds_up_no_other(own_services: Services, toy_spec: ModelSpec) -> None:
    services = own_services
    first, second = (
        watched(toy_spec.model_copy(update={"name": f"{toy_spec.name}-{name}"})) for name in "ab"
    )
    for spec in (first, second):
        tell(services, promoted_over_the_first(services, spec), Counts(100, 100))
    services.registry.set_model_tag(first.name, Tag.LEDGER_HEAD, f"999999:{'0' * 64}")
    done = act(services)
    assert done.told[0].startswith(f"{first.name}: this is not the ledger that MLflow knows")
    assert done.told[1].startswith(f"{second.name} v2: good: ")
    assert done.still_open == 1


def test_both_bad_freezes_and_moves_nothing_and_a_persons_rollback_settles_it(
    services: Services, toy_spec: ModelSpec
) -> None:
    spec = watched(toy_spec, auto_rollback="on")
    tell(services, promoted_over_the_first(services, spec), BROKEN)
    judged = judge_window(services, spec.name)
    assert judged is not None
    assert judged.reason == "both bad: v2 and v1 both failed 150 of 200 requests"
    assert judged.details["freezes"]
    assert owed_rollbacks(services.ledger, [spec.name]) == []
    run = new_run()
    assert roll_back_by_hand(services, spec).version == 1
    nominate_unjudged(services, spec, SECOND, run)
    decide(services, spec, run)
    assert promote(services, spec, run).version == 2


@pytest.mark.parametrize("auto_rollback", ["off", "propose"])
def test_unless_told_so_nothing_goes_back_by_itself(
    services: Services, toy_spec: ModelSpec, auto_rollback: str
) -> None:
    spec = watched(toy_spec, auto_rollback=auto_rollback)
    tell(services, promoted_over_the_first(services, spec), BAD)
    judged = judge_window(services, spec.name)
    assert judged is not None
    assert (judged.details["said"], judged.details["freezes"]) == ("bad", False)
    assert owed_rollbacks(services.ledger, [spec.name]) == []


def bad_after_two_rollbacks(services: Services, spec: ModelSpec) -> Event:
    """The verdict that v2 is worse than v1, in a week in which two others went back by themselves."""
    promote_as_of(services, spec, FIRST)
    for before in (11, 12):
        actor = f"watch window of v{before}"
        back = NewEvent(EventKind.ROLLED_BACK, spec.name, 1, from_version=before, actor=actor)
        services.ledger.append(back)
    tell(services, promote_as_of(services, spec, SECOND), BAD)
    judged = judge_window(services, spec.name)
    assert judged is not None
    return judged


def test_two_a_week_go_back_by_themselves_and_the_third_is_refused_on_record(
    services: Services, toy_spec: ModelSpec
) -> None:
    spec, ledger = watched(toy_spec, auto_rollback="on"), services.ledger
    judged = bad_after_two_rollbacks(services, spec)
    with pytest.raises(CannotRollBack, match="the next rollback is a person's"):
        roll_back(services, judged)
    refused, frozen = ledger.history(spec.name)[-2:]
    assert refused.event is EventKind.ROLLBACK_REFUSED
    assert frozen.reason == f"v2 is {judged.reason}; it is not rolled back to v1: {refused.reason}"
    assert "v11 and v12 were rolled back by their watch windows within seven days" in refused.reason
    assert services.registry.champion(spec.name) == 2
    assert owed_rollbacks(ledger, [spec.name]) == []


def test_the_week_is_one_of_the_ledgers_clock(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = watched(toy_spec, auto_rollback="on")
    judged = bad_after_two_rollbacks(services, spec)
    monkeypatch.setattr(Ledger, "now", lambda _: judged.at + timedelta(days=8))
    back = roll_back(services, judged)
    assert (back.version, back.from_version) == (1, 2)


def test_a_move_after_the_verdict_comes_first(services: Services, toy_spec: ModelSpec) -> None:
    spec = watched(toy_spec, auto_rollback="on")
    tell(services, promoted_over_the_first(services, spec), BAD)
    judged = judge_window(services, spec.name)
    assert judged is not None
    roll_back_by_hand(services, spec)
    assert owed_rollbacks(services.ledger, [spec.name]) == []
    with pytest.raises(ChampionChanged):
        roll_back(services, judged)
    assert services.registry.champion(spec.name) == 1


def test_labels_of_rows_that_both_answered_are_evidence(services: Services, toy_spec: ModelSpec) -> None:
    spec = watched(toy_spec, labelled_rows=50)
    promoted = promoted_over_the_first(services, spec)
    store = LiveStore(services.ledger)

    def said(yes: float) -> str:
        return orjson.dumps({"predictions": [[1 - yes, yes]], "classes": ["no", "yes"]}).decode()

    at = promoted.at + timedelta(seconds=1)
    rows = [
        LiveAnswer(spec.name, f"r{number}", at, 1, 2, 1, said(0.1 + 0.001 * number), said(0.9))
        for number in range(60)
    ]
    store.write(rows)
    for row in rows:
        store.add_labels(spec.name, row.request_id, ["yes"])
    looked = standing_of(services.ledger, spec.name)
    assert looked is not None
    assert looked.seen.sums.rows == 60
    assert looked.verdict.ending is Ending.BAD
    assert looked.verdict.reason.startswith("log loss of v2 is worse than that of v1 by 1.")
    judge_window(services, spec.name)
    assert watch_differences(services.ledger, [spec.name]) == []


def test_labels_that_cannot_be_read_are_no_labels_and_told(services: Services, toy_spec: ModelSpec) -> None:
    spec = watched(toy_spec, labelled_rows=50)
    promoted = promoted_over_the_first(services, spec)
    store = LiveStore(services.ledger)
    said = orjson.dumps({"predictions": [[0.5, 0.5]], "classes": ["no", "yes"]}).decode()
    store.write([LiveAnswer(spec.name, "r", promoted.at + timedelta(seconds=1), 1, 2, 1, said, said)])
    store.add_labels(spec.name, "r", ["perhaps"])
    looked = standing_of(services.ledger, spec.name)
    assert looked is not None
    assert "50 labelled rows and labels that can be read: " in looked.verdict.reason


FORGED: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda it: it["questions"][0].update(log_wealth=9.0), "questions 0 log_wealth is 9.0, recomputed"),
    (lambda it: it["told"][0].update(counts=[200, 200, 3, 0, 0, 0, 0]), "recomputed"),
    (lambda it: it["new"].update(digest="0" * 64), "new digest is 000"),
    (lambda it: it["terms"].update(rows=3), "terms rows is 3, recomputed 100"),
    (lambda it: it.update(said="good"), "says bad, its evidence good"),
    (lambda it: it["told"][0].update(process="another"), "what process another counted is not what"),
]
OTHERWISE: list[tuple[dict[str, Any], str]] = [
    ({"freezes": True}, "freezes is True, recomputed False"),
    ({"auto_rollback": "on"}, "auto_rollback is on, recomputed propose"),
]


def test_verify_names_what_does_not_follow(services: Services, toy_spec: ModelSpec) -> None:
    spec, ledger = watched(toy_spec), services.ledger
    tell(services, promoted_over_the_first(services, spec), BAD)
    judged = judge_window(services, spec.name)
    assert judged is not None
    for number, (forge, said) in enumerate(FORGED):
        content = EvidenceStore(ledger).one(judged.details["digest"]).read()
        forge(content)
        forged = Evidence.of(spec.name, 2, content)
        EvidenceStore(ledger).keep([forged])
        details = {**judged.details, "digest": forged.digest}
        ledger.append(NewEvent(EventKind.WATCH_JUDGED, spec.name, 2, 1, details=details))
        found = watch_differences(ledger, [spec.name])
        assert len(found) == number + 1
        assert found[-1].startswith(f"watch window of {spec.name} v2: ")
        assert said in found[-1]
    for changed, said in OTHERWISE:
        details = {**judged.details, **changed}
        ledger.append(NewEvent(EventKind.WATCH_JUDGED, spec.name, 2, 1, details=details))
        assert watch_differences(ledger, [spec.name])[-1] == f"watch window of {spec.name} v2: {said}"


def test_a_record_that_cannot_be_read_is_named(services: Services, toy_spec: ModelSpec) -> None:
    services.ledger.append(NewEvent(EventKind.WATCH_JUDGED, toy_spec.name, 2, 1, details={"promotion": 1}))
    (found,) = watch_differences(services.ledger, [toy_spec.name])
    assert "names no promotion with a watch window" in found
