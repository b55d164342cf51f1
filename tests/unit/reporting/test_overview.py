"""What the operators' page says of many models, of one, and of one decision, from a real ledger."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from podium.errors import NotFound
from podium.ledger import servers
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.history import VERDICT
from podium.lifecycle import approval
from podium.lifecycle.approval_policy import Person, Request
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.names import CANDIDATE, CHAMPION
from podium.reporting import decision_overview, model_overview
from podium.reporting.overview import ModelRow, State, describe, freeze, overview
from podium.services import Services
from support.monitored import record_windows
from support.services import services_with
from support.steps import FIRST, answer, new_run, nominate

AMY, OLGA = Person("amy"), Person("olga")
NUMBER = itertools.count(1)


@pytest.fixture
def ledger_only(services: Services) -> Services:
    """The same ledger beside a registry that nobody may ask."""
    return services_with(services.ledger)


@contextmanager
def statements(services: Services) -> Iterator[list[str]]:
    told: list[str] = []

    def note(_c: Any, _cursor: Any, text: str, *_: Any) -> None:
        told.append(text)

    sa.event.listen(services.ledger.engine, "before_cursor_execute", note)
    yield told
    sa.event.remove(services.ledger.engine, "before_cursor_execute", note)


def report(version: int, champion: int | None, metric: float, *, passed: bool) -> dict[str, Any]:
    """A gate report as the ledger holds it, with two slices against the champion."""
    status = "passed" if passed else "failed"
    gate = {"gate": "log_loss at most 0.69", "status": status, "value": metric, "limit": 0.69}
    slices = [
        {"name": name, "rows": 50, "status": "passed", "value": value, "reference": 0.5, "limit": 0.6}
        for name, value in (("region = north", metric - 0.1), ("region = south", 0.5))
    ]
    words = "log_loss no worse than champion by more than 0.1 in each slice of region"
    against = {"gate": words, "status": "passed", "value": 0.5, "reference": 0.5, "limit": 0.6}
    references = {} if champion is None else {CHAMPION: {"log_loss": 0.5}}
    return {
        "model": "any", "version": version, "champion": champion, "digest": "d",
        "scores": {"rows": 100, CANDIDATE: {"log_loss": metric}, "references": references},
        "results": [gate, *([{**against, "slices": slices}] if champion else [])],
    }  # fmt: skip


def live(services: Services, spec: ModelSpec, upto: str, metric: float = 0.4) -> str:
    """Let one more version live up to a point of the lifecycle, as its steps record it."""
    number, run, model = next(NUMBER), new_run(), spec.name
    events = services.ledger.present(model)
    moves = [event.version for event in events if event.event is EventKind.PROMOTED]
    champion = moves[-1] if moves else None
    passed = upto != "refused"
    details = {"manifest": {}, "manifest_digest": "m", "signature": None, "podium.as_of": "2025-06-01"}
    kind = EventKind.GATES_PASSED if passed else EventKind.GATES_REFUSED
    judged = report(number, champion, metric, passed=passed)
    reason = "passed 2 gates" if passed else "refused by 1 of 2 gates: log_loss"
    for new in (
        NewEvent(EventKind.REGISTERED, model, number, run=run, details=details),
        NewEvent(kind, model, number, champion, reason=reason, run=run, details=judged),
    ):
        services.ledger.append(new)
    if passed:
        key = f"nominated:{run}"
        services.ledger.append(NewEvent(EventKind.NOMINATED, model, number, champion, run=run, key=key))
        approval.open_request(services, spec.approval, model, run, "olga")
    if upto == "promoted":
        approval.judge(services, spec.approval, approval.find_request(services, run), answer(), champion)
        services.ledger.append(NewEvent(EventKind.PROMOTED, model, number, champion, "amy", run=run))
    return run


def row_of(
    services: Services, spec: ModelSpec, person: Person, live: dict[str, int | None] | None
) -> ModelRow:
    seen = overview(services, {spec.name: spec}, person, lambda name: name == spec.name, live)
    assert [row.model for row in seen.rows] == [spec.name]
    return seen.rows[0]


def test_a_model_tells_what_it_needs_and_from_whom(ledger_only: Services, toy_spec: ModelSpec) -> None:
    quiet: dict[str, int | None] = {}
    assert row_of(ledger_only, toy_spec, AMY, quiet).state is State.EMPTY
    live(ledger_only, toy_spec, "promoted")
    champion = row_of(ledger_only, toy_spec, AMY, None)
    assert (champion.state, champion.champion) == (State.SERVES, champion.move and champion.move.version)
    serves = {toy_spec.name: champion.champion}
    live(ledger_only, toy_spec, "refused")
    refused = row_of(ledger_only, toy_spec, AMY, serves)
    assert refused.state is State.REFUSED
    assert "refused by 1 of 2 gates" in refused.sentence
    live(ledger_only, toy_spec, "asked")
    mine = row_of(ledger_only, toy_spec, AMY, serves)
    assert (mine.state, mine.waiting and mine.waiting.hindrance) == (State.YOURS, "")
    assert mine.sentence.endswith(
        f"replaces v{champion.champion}: log loss 0.5000 -> 0.4000, one slice better, none worse."
    )
    theirs = row_of(ledger_only, toy_spec, OLGA, serves)
    assert theirs.state is State.WAITS
    assert theirs.waiting is not None
    assert "olga is not an approver (approvers: amy); olga triggered this run" in theirs.waiting.hindrance
    assert "log_loss: v" in theirs.metric


def test_the_newest_judged_windows_are_told_and_take_no_place_of_a_decision(
    ledger_only: Services, toy_spec: ModelSpec
) -> None:
    live(ledger_only, toy_spec, "promoted")
    before = row_of(ledger_only, toy_spec, AMY, None)
    assert before.monitored == ""
    record_windows(ledger_only, toy_spec.name, 1, [0.0, 0.0, 4.0, 4.0, 4.0])
    after = row_of(ledger_only, toy_spec, AMY, None)
    assert after.monitored.startswith("v1, 2026-03-06 to 2026-03-07: ")
    assert (after.decided, after.state, after.sentence) == (before.decided, before.state, before.sentence)


def test_a_champion_that_mlflow_tells_otherwise_freezes_and_silence_does_not(
    ledger_only: Services, toy_spec: ModelSpec
) -> None:
    live(ledger_only, toy_spec, "promoted")
    live(ledger_only, toy_spec, "asked")
    moved = row_of(ledger_only, toy_spec, AMY, {toy_spec.name: 99_999})
    assert moved.state is State.FROZEN
    assert "MLflow's champion is v99999" in moved.sentence
    assert row_of(ledger_only, toy_spec, AMY, {}).state is State.FROZEN
    assert row_of(ledger_only, toy_spec, AMY, None).state is State.YOURS
    outside = NewEvent(EventKind.MOVED_OUTSIDE, toy_spec.name, 99_999, 1, "unknown")
    ledger_only.ledger.append(outside)
    assert row_of(ledger_only, toy_spec, AMY, None).state is State.FROZEN


def test_the_most_urgent_come_first_and_a_spoilt_record_hides_no_other(
    ledger_only: Services, toy_file: Callable[..., Path], toy_spec: ModelSpec
) -> None:
    names = [f"{toy_spec.name}-{what}" for what in ("spoilt", "waits", "refused", "hasty", "quiet")]
    specs = {}
    for name in names:
        after = "30m" if name.endswith("hasty") else "2h"
        specs[name] = load_spec(toy_file(name=name, approval__expires_after=after))
    spoilt, waits, refused, hasty, quiet = specs.values()
    live(ledger_only, waits, "asked")
    live(ledger_only, refused, "refused")
    live(ledger_only, hasty, "asked")
    live(ledger_only, quiet, "promoted")
    ledger_only.ledger.append(NewEvent(EventKind.APPROVAL_REQUESTED, spoilt.name, 1, run=new_run()))
    ledger_only.ledger.append(
        NewEvent(EventKind.REGISTERED, spoilt.name, 1, run=new_run(), details={"profile": "none such"})
    )
    seen = overview(ledger_only, specs, AMY, lambda name: name in names, None)
    assert [row.model.rpartition("-")[2] for row in seen.rows[:2]] == ["hasty", "waits"]
    assert {row.model.rpartition("-")[2] for row in seen.rows} == {name.rpartition("-")[2] for name in names}
    assert seen.refused_lately() == 1
    assert seen.count(State.YOURS) == 2
    at = seen.at + timedelta(days=8)
    assert type(seen)(seen.rows, at).refused_lately() == 0


def test_what_somebody_may_not_read_is_not_among_the_models(
    ledger_only: Services, toy_spec: ModelSpec
) -> None:
    live(ledger_only, toy_spec, "asked")
    assert not overview(ledger_only, {toy_spec.name: toy_spec}, AMY, lambda _: False, None).rows


def test_many_models_and_versions_take_as_many_queries_as_few(
    ledger_only: Services, toy_file: Callable[..., Path], toy_spec: ModelSpec
) -> None:
    specs = {toy_spec.name: toy_spec}
    live(ledger_only, toy_spec, "promoted")
    live(ledger_only, toy_spec, "asked")

    def asked() -> tuple[int, int]:
        with statements(ledger_only) as all_models:
            overview(ledger_only, specs, AMY, lambda name: name in specs, None)
        with statements(ledger_only) as one:
            model_overview.model_page(ledger_only, toy_spec, toy_spec.name, AMY, None)
        return len(all_models), len(one)

    few = asked()
    for place in range(3):
        other = load_spec(toy_file(name=f"{toy_spec.name}-{place}"))
        specs[other.name] = other
        live(ledger_only, other, "asked")
    for _ in range(12):
        live(ledger_only, toy_spec, "promoted")
    live(ledger_only, toy_spec, "asked")
    assert asked() == few
    assert few[0] <= 6


def test_a_model_tells_which_servers_follow_its_champion(ledger_only: Services, toy_spec: ModelSpec) -> None:
    live(ledger_only, toy_spec, "promoted")
    assert row_of(ledger_only, toy_spec, AMY, None).follows == ""
    champion = row_of(ledger_only, toy_spec, AMY, None).champion
    for server in ("a:1", "b:1"):
        servers.tell(ledger_only.ledger, server, 1, [servers.Served(toy_spec.name, champion, "")])
    assert row_of(ledger_only, toy_spec, AMY, None).follows == f"2 of 2 serve v{champion}"
    live(ledger_only, toy_spec, "promoted")
    newer = row_of(ledger_only, toy_spec, AMY, None)
    servers.tell(ledger_only.ledger, "a:1", 1, [servers.Served(toy_spec.name, newer.champion, "")])
    assert row_of(ledger_only, toy_spec, AMY, None).follows == "1 of 2 behind"


def test_a_page_of_a_model_shows_its_newest_versions_ways_back_and_decisions(
    ledger_only: Services, toy_spec: ModelSpec
) -> None:
    for metric in (0.5, 0.45):
        live(ledger_only, toy_spec, "promoted", metric)
    live(ledger_only, toy_spec, "refused", 0.9)
    page = model_overview.model_page(ledger_only, toy_spec, toy_spec.name, AMY, None)
    first, second, third = sorted(line.version for line in page.versions)
    assert [line.version for line in page.versions] == [third, second, first]
    assert [line.passed for line in page.versions] == [False, True, True]
    assert page.versions[1].numbers() == ("0.4500", "0.5000")
    assert [way.version for way in page.ways_back] == [first]
    assert page.row.champion == second
    assert page.timeline[0].event is EventKind.PROMOTED
    assert page.picture.count("<circle") == 3
    assert page.picture.count('class="up"') == 2
    judged, happened = model_overview.version_report(ledger_only, toy_spec.name, third)
    assert judged is not None
    assert judged.champion == second
    assert {event.version for event in happened} == {third}


def decision(services: Services, spec: ModelSpec, run: str, who: Person) -> decision_overview.DecisionPage:
    request = approval.find_request(services, run)
    asked = services.ledger.event(request.seq)
    assert asked is not None
    return decision_overview.decision_page(services, spec, asked, who)


def test_a_decision_says_in_words_what_it_changes(ledger_only: Services, toy_spec: ModelSpec) -> None:
    first = decision(ledger_only, toy_spec, live(ledger_only, toy_spec, "promoted", 0.5), AMY)
    name = f"v{first.request.version}"
    assert first.sentence() == f"{name} becomes the first champion: log loss 0.5000"
    run = live(ledger_only, toy_spec, "asked", 0.45)
    page = decision(ledger_only, toy_spec, run, AMY)
    changes = f"v{page.request.version} replaces {name}"
    assert page.sentence() == f"{changes}: log loss 0.5000 -> 0.4500, one slice better, none worse"
    assert [(one.name, one.verdict) for one in page.metrics()] == [("log_loss", "better")]
    assert page.open
    assert page.state == "Waits for amy; 0 of 1 have approved."
    assert dict((fact, candidate) for fact, candidate, _ in page.facts)["as of"] == "2025-06-01"


def test_a_decision_says_what_became_of_an_answer_also_when_it_did_not_count(
    ledger_only: Services, toy_spec: ModelSpec
) -> None:
    run = live(ledger_only, toy_spec, "asked")
    request: Request = approval.find_request(ledger_only, run)
    approval.judge(ledger_only, toy_spec.approval, request, answer(reason="ok"), None)
    counts, words = decision_overview.describe_mine(decision(ledger_only, toy_spec, run, AMY))
    assert not counts
    assert "did not count: the reason has 2 letters and digits, at least 10 are required" in words
    assert decision_overview.describe_mine(decision(ledger_only, toy_spec, run, OLGA)) == (True, "")
    approval.judge(ledger_only, toy_spec.approval, request, answer("Reject"), None)
    page = decision(ledger_only, toy_spec, run, AMY)
    assert not page.open
    assert "rejected by amy: it is good enough. Answers no longer count." in page.state
    counts, words = decision_overview.describe_mine(page)
    assert counts
    assert "you rejected" in words


def test_a_decision_shows_the_report_that_people_are_asked_about_and_no_newer_one(
    ledger_only: Services, toy_spec: ModelSpec
) -> None:
    run = live(ledger_only, toy_spec, "asked", 0.4)
    version = approval.find_request(ledger_only, run).version
    newer = {**report(version, None, 0.9, passed=True), "digest": "another"}
    again = NewEvent(EventKind.GATES_PASSED, toy_spec.name, version, reason="passed", run=run, details=newer)
    ledger_only.ledger.append(again)
    page = decision(ledger_only, toy_spec, run, AMY)
    assert page.report.scores.candidate == {"log_loss": 0.4}


def test_a_decision_without_its_gate_report_is_no_decision(
    ledger_only: Services, toy_spec: ModelSpec
) -> None:
    run = new_run()
    details = {"requester": None, "manifest": "", "gates": "none", "expires_after_seconds": 60.0}
    key = f"approval_requested:{run}"
    asked = NewEvent(EventKind.APPROVAL_REQUESTED, toy_spec.name, 7, run=run, key=key, details=details)
    event = ledger_only.ledger.append(asked)
    with pytest.raises(NotFound, match="holds no gate report of .* v7"):
        decision_overview.decision_page(ledger_only, toy_spec, event, AMY)


def test_a_real_report_of_a_trained_version_is_shown(services: Services, toy_spec: ModelSpec) -> None:
    run = new_run()
    nominate(services, toy_spec, FIRST, run)
    approval.open_request(services, toy_spec.approval, toy_spec.name, run, "olga")
    page = decision(services, toy_spec, run, AMY)
    assert "v1 becomes the first champion: log loss 0." in page.sentence()
    assert page.mlflow_run == services.registry.version(toy_spec.name, 1).run_id
    assert page.gates[-1].status.value == "no_champion"


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (1, 3, "The champion was moved from v1 to v3 outside Podium, found on 2026-05-01 00:00 UTC."),
        (1, None, "The champion, v1, was removed outside Podium, found on 2026-05-01 00:00 UTC."),
        (None, 3, "v3 was made champion outside Podium, found on 2026-05-01 00:00 UTC."),
    ],
)
def test_a_move_outside_is_told_from_where_to_where(before: int | None, now: int | None, said: str) -> None:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    moved = Event(6, at, EventKind.MOVED_OUTSIDE, "m", now, before, "unknown", "", None, None, {}, "", "")
    assert freeze("m", [moved], None) == said
    assert describe(moved) == said.partition(", found on")[0]
    why = "m: its champion alias, at v1, was deleted, outside Podium; promotions and rollbacks are frozen"
    assert describe(replace(moved, reason=why)).startswith("Its champion alias, at v1, was deleted, outside")


def test_a_request_is_history_later_and_tells_nobody_to_wait() -> None:
    at, reason = datetime(2026, 5, 1, tzinfo=UTC), "waits for amy"
    asked = Event(6, at, EventKind.APPROVAL_REQUESTED, "m", 2, 1, "podium", reason, "d/1", None, {}, "", "")
    assert describe(asked) == "v2 was submitted for approval"
    proposed = replace(asked, reason="v2 alone failed 12", details={VERDICT: 5})
    assert describe(proposed) == "the rollback of v1 to v2 was submitted for approval: v2 alone failed 12"
