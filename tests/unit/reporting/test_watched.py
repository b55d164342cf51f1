"""What people see of a watch window: in the terminal, on the page, and in notices."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from podium.cli.main import app
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.history import VERDICT
from podium.ledger.watch_counts import Counts, tell_watched
from podium.lifecycle.approval_policy import Request
from podium.lifecycle.watched import WATCH
from podium.model_file.spec import ModelSpec
from podium.names import in_utc
from podium.reporting.approval_card import describe_state
from podium.reporting.notices import approval_wanted, comparison_of, decided, of_event
from podium.reporting.overview import describe, freeze
from podium.reporting.terminal import Terminal
from podium.services import Services
from support.serving import as_server
from support.watched import terms


def judged(said: str, auto_rollback: str = "propose", *, freezes: bool = False) -> Event:
    details = {"promotion": 5, "said": said, "auto_rollback": auto_rollback, "freezes": freezes}
    actor, reason = "watch window of v8", f"{said}: v8 alone failed 12"
    at = datetime(2026, 5, 1, tzinfo=UTC)
    return Event(6, at, EventKind.WATCH_JUDGED, "m", 8, 7, actor, reason, None, None, details, "", "")


@pytest.mark.parametrize(
    ("event", "then"),
    [
        (judged("good"), "The champion keeps serving."),
        (judged("bad"), "The champion keeps serving until a person decides; a card asks the approvers."),
        (judged("bad", "off"), "The champion keeps serving."),
        (judged("bad", "on", freezes=True), "Podium rolls it back, and promotes no version until"),
        (judged("both bad", freezes=True), "Nothing was moved. No version is promoted until an approver"),
    ],
)
def test_each_ending_is_told_with_what_follows(event: Event, then: str) -> None:
    notice = of_event(event, "")
    assert notice is not None
    assert notice.topic == "watch"
    assert notice.subject == f"m v8 ended its watch window: {event.reason}"
    assert then in notice.text


def test_a_frozen_model_is_told_with_who_settles_it() -> None:
    frozen = judged("both bad", freezes=True)
    assert freeze("m", [frozen], None).startswith(
        "Promotions are stopped: a watch window ended on 2026-05-01"
    )
    assert freeze("m", [judged("good")], None) == ""
    assert describe(frozen) == "v8 ended its watch window: both bad: v8 alone failed 12"


ASKED = Request(
    seq=9,
    model="m",
    version=7,
    champion=8,
    run="propose_rollback/verdict-6",
    requester=None,
    manifest="d",
    gates="e",
    expires_at=datetime(2026, 5, 4, tzinfo=UTC),
    waits=timedelta(days=3),
    verdict=6,
    why="bad: v8 alone failed 12",
)


def of_request(kind: EventKind, actor: str = "amy", reason: str = "it is true") -> Event:
    at, details = datetime(2026, 5, 2, tzinfo=UTC), {VERDICT: 6}
    return Event(10, at, kind, "m", 7, 8, actor, reason, ASKED.run, None, details, "", "")


def test_a_proposed_rollback_is_told_to_the_approvers_as_one(toy_spec: ModelSpec) -> None:
    said = comparison_of([], ASKED, toy_spec)
    assert said == "The watch window of v8 said bad: v8 alone failed 12."
    notice = approval_wanted(ASKED, toy_spec, said, "https://a")
    assert notice.subject == "m: the rollback of v8 to v7 waits for approval until 2026-05-04 00:00 UTC"
    assert notice.text == f"{said}\nWho may decide: amy."
    assert (notice.people, notice.link) == (("amy",), "https://a/podium/decisions/9")


@pytest.mark.parametrize(
    ("kind", "said", "then"),
    [
        (EventKind.APPROVED, "was approved by amy", "Podium rolls back now."),
        (EventKind.REJECTED, "was rejected by amy", "The champion stays v8."),
        (
            EventKind.EXPIRED,
            "expired: nobody decided in time",
            "The champion stays v8. `podium rollback` still",
        ),
        (EventKind.VOIDED, "no longer needs a decision", "Answers no longer count."),
    ],
)
def test_what_was_decided_about_a_rollback_is_told_as_that(
    toy_spec: ModelSpec, kind: EventKind, said: str, then: str
) -> None:
    notice = decided(of_request(kind), ASKED, toy_spec, "")
    assert notice.subject.startswith(f"m: the rollback of v8 to v7 {said}")
    assert then in notice.text
    assert describe(of_request(kind)) == f"the rollback of v8 to v7 was {kind} by amy: it is true"


def test_the_picture_of_a_card_says_how_the_rollback_came_out(toy_spec: ModelSpec) -> None:
    def state(*kinds: EventKind) -> str:
        events = [of_request(kind) for kind in kinds]
        return describe_state(
            toy_spec.approval, replace(ASKED, expires_at=datetime.max.replace(tzinfo=UTC)), events
        )[0]

    assert state().startswith("Open until ")
    assert state(EventKind.APPROVED) == "Approved on 2026-05-02 00:00 UTC by amy. The rollback follows."
    refused = state(EventKind.APPROVED, EventKind.ROLLBACK_REFUSED)
    assert refused == "Approved on 2026-05-02 00:00 UTC by amy. Not rolled back: it is true."
    assert state(EventKind.APPROVED, EventKind.ROLLED_BACK).endswith("v7 is champion again.")


def test_a_way_back_that_failed_is_told_with_both_versions() -> None:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    reason = "v8 is bad; it is not rolled back to v7: its files were changed"
    froze = Event(7, at, EventKind.WATCH_FROZE, "m", 8, 7, "w", reason, None, None, {"promotion": 5}, "", "")
    notice = of_event(froze, "")
    assert notice is not None
    assert notice.subject == f"m v8 is frozen: {reason}"
    assert "No version is promoted until an approver settles it" in notice.text
    assert freeze("m", [froze], None).endswith("settle_champion, accept.")


def watch(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["watch", *arguments], env={"COLUMNS": "160"})


def told_of(services: Services, event: Event, counts: Counts, problem: str = "") -> None:
    tell_watched(as_server(services).ledger, event.model, event.seq, "a", counts, problem)


@pytest.fixture
def promoted(services: Services) -> Event:
    """The promotion of v8 over v7, with a watch window of 100 rows."""
    model = f"watched-{uuid.uuid4().hex[:8]}"
    details: dict[str, Any] = {WATCH: terms(rows=100).as_json()}
    return services.ledger.append(NewEvent(EventKind.PROMOTED, model, 8, 7, details=details))


def ramp_step(services: Services, model: str, share: int, **details: Any) -> Event:
    """A step of the ramp of v9 over v8, of 100 rows each."""
    given = {"ramp": None, "opened": None, "share": share, "steps": [5, 25, 50], "counted": 0}
    given |= {"stopped": False, "terms": terms(rows=100).as_json(), **details}
    reason = "inconclusive: the window is over"
    step = NewEvent(EventKind.RAMP_STEP, model, 9, 8, run="r", reason=reason, details=given)
    return services.ledger.append(step)


def test_the_terminal_shows_rows_evidence_and_what_is_missing(services: Services, promoted: Event) -> None:
    model = promoted.model
    told_of(services, promoted, Counts(30, 60, new_failed=4, both_failed=1), "v7 is too large")
    done = watch(model)
    assert done.exit_code == 0, done.output
    assert f"{model}: v8 beside v7 since " in done.stdout
    assert "60 rows by 1 server processes" in done.stdout
    assert "open, missing: 40 rows." in done.stdout
    assert re.search(r"v8 +all clients +30 +60 +5", done.stdout)
    assert re.search(r"v7 +nobody +30 +60 +1", done.stdout)
    assert "█" in done.stdout
    assert "v8 alone failed 4 and v7 alone 0 of 30 requests" in done.stdout
    assert "A server cannot compare: v7 is too large" in done.stdout
    found = json.loads(watch(model, "--json").stdout)
    assert found["open"]["counts"]["new_failed"] == 4
    assert found["open"]["sides"][0] == dict(version=8, answers="all clients", requests=30, rows=60, failed=5)
    assert (found["open"]["said"], found["last"], found["ramp"]) == (None, None, None)

    ended = {"promotion": promoted.seq, "said": "good"}
    reason = "good: v8 is not seen to be worse"
    services.ledger.append(NewEvent(EventKind.WATCH_JUDGED, model, 8, 7, reason=reason, details=ended))
    done = watch(model)
    assert f"{model}: no watch window is open, and no version is on its ramp. The last watch" in done.stdout
    assert f"window, of v8, ended on {in_utc(promoted.at)[:10]}" in done.stdout
    assert json.loads(watch(model, "--json").stdout)["open"] is None


def test_the_terminal_shows_the_step_of_a_ramp_and_where_it_stopped_or_how_it_ended(
    services: Services, promoted: Event
) -> None:
    model, ledger = promoted.model, services.ledger
    ledger.append(NewEvent(EventKind.WATCH_JUDGED, model, 8, 7, details={"promotion": promoted.seq}))
    first = ramp_step(services, model, 5)
    began = {"ramp": first.seq, "opened": first.at.isoformat(), "counted": 100}
    ramp_step(services, model, 25, **began)
    told_of(services, first, Counts(70, 140, new_failed=4))
    done = watch(model)
    assert done.exit_code == 0, done.output
    assert f"{model}: v9 on its ramp beside v8 since " in done.stdout
    assert "step 2 of 3, 25% of the clients since " in done.stdout
    assert "140 rows by 1 server processes, 40 of them at this step. open, missing: 60 rows." in done.stdout
    assert re.search(r"v9 +25% of the clients +70 +140 +4", done.stdout)
    assert re.search(r"v8 +the other clients +70 +140 +0", done.stdout)
    assert "█" in done.stdout
    found = json.loads(watch(model, "--json").stdout)
    assert found["open"] is None
    ramp = found["ramp"]
    assert (ramp["step"], ramp["share"], ramp["steps"]) == (2, 25, [5, 25, 50])
    assert (ramp["rows_at_this_step"], ramp["reason"], ramp["stopped"]) == (40, "missing: 60 rows", None)
    assert 0 < ramp["questions"][0]["log_wealth"] < ramp["threshold"]

    stopped = ramp_step(services, model, 25, **began, stopped=True)
    assert "It stopped: inconclusive: the window is over." in watch(model).stdout
    assert json.loads(watch(model, "--json").stdout)["ramp"]["stopped"] == stopped.reason

    ended = {"ramp": first.seq, "share": 0, "said": "bad"}
    reason = "back to 0%, bad: v9 alone failed 30"
    ledger.append(NewEvent(EventKind.RAMP_ENDED, model, 9, 8, reason=reason, run="r", details=ended))
    done = watch(model)
    assert "The last ramp, of v9, ended on " in done.stdout
    assert reason in done.stdout
    found = json.loads(watch(model, "--json").stdout)
    assert (found["ramp"], found["last_ramp"]["reason"]) == (None, reason)


def test_a_ramp_beside_an_open_window_waits_and_says_so(services: Services, promoted: Event) -> None:
    ramp_step(services, promoted.model, 5)
    done = watch(promoted.model)
    assert "auto_rollback: propose. open, missing: 100 rows." in done.stdout
    assert "It waits: a watch window has the memory first, and v9 answers nobody." in done.stdout
    assert json.loads(watch(promoted.model, "--json").stdout)["ramp"]["waits"] is True


def test_in_a_terminal_it_is_shown_live_until_it_ends(
    services: Services, promoted: Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = [Counts(10, 10), Counts(90, 90)]

    def meanwhile(_: float) -> None:
        """Servers count on, and then the window is judged."""
        if told:
            told_of(services, promoted, told.pop(0))
            return
        ended = {"promotion": promoted.seq, "said": "good"}
        services.ledger.append(NewEvent(EventKind.WATCH_JUDGED, promoted.model, 8, 7, details=ended))

    screen = StringIO()
    terminal = Terminal(file=screen, force_terminal=True, width=160)
    monkeypatch.setattr("podium.cli.watch.console", terminal)
    monkeypatch.setattr("podium.cli.watch.time.sleep", meanwhile)
    assert watch(promoted.model, "--once").exit_code == 0
    assert len(told) == 2, "shown once, it waits for nothing"
    screen.truncate(0)
    assert watch(promoted.model).exit_code == 0
    shown = screen.getvalue()
    places = [shown.index(text) for text in ("missing: 100 rows", "missing: 90 rows", "missing: 10 rows")]
    assert places == sorted(places)
    assert "The last watch window, of v8, ended on " in shown[places[-1] :]
