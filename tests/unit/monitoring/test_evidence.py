"""Windows of a champion's rows in a real ledger: judged, replaced, repeated, and computed again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from podium.cli.main import app
from podium.errors import NothingToDo, PodiumError
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.evidence import Evidence, EvidenceStore
from podium.ledger.receivers import RETRAINING_ASSET
from podium.lifecycle.announce import to_announce
from podium.lifecycle.wanted import retraining_on_record
from podium.metrics.windows import Window, windows_between
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.monitoring import journal
from podium.monitoring import run as monitoring_run
from podium.monitoring.evidence import read_observation
from podium.monitoring.journal import Judged
from podium.monitoring.on_record import KINDS, contents, on_record, read_basis
from podium.monitoring.recompute import evidence_differences
from podium.monitoring.run import monitor_window
from podium.monitoring.verdicts import Said
from podium.services import Services
from podium.stack.layout import Layout
from support.database import as_superuser
from support.steps import FIRST, SECOND, promote_as_of
from support.toy import write_toy_rows

WEEK = timedelta(days=7)
# The first Monday after the training ended.
MONDAY = datetime.fromisoformat("2025-06-02T00:00:00+00:00")
SECTION = {
    "windows": "0 0 * * 1",
    "min_rows": 5,
    "alarms": {"at_most_one_in": 10},
    "tolerance": 0.3,
    "retraining": {"cool_down": "28d"},
}


def week(number: int) -> Window:
    return Window(MONDAY + number * WEEK, MONDAY + (number + 1) * WEEK)


def add_rows(folder: Path, first: int, last: int, shift: float = 0.0, *, wrong: bool = False) -> None:
    """Thirty rows in each of these weeks; the labels of wrong ones are the other way round."""
    draws = np.random.default_rng(first)
    number = np.repeat(np.arange(first, last), 30)
    x = draws.normal(size=len(number)) + shift
    noise = draws.normal(scale=0.7, size=len(number))
    days = pd.Series(MONDAY.replace(tzinfo=None) + number * WEEK)
    rows = pd.DataFrame(
        {"day": days.dt.strftime("%Y-%m-%d"), "x": x, "y": np.where((x + noise > 0) ^ wrong, "yes", "no")}
    )
    rows.to_csv(folder / "toy.csv", mode="a", header=False, index=False)


@pytest.fixture
def spec(own_services: Services, toy_file: Callable[..., Path], tmp_path: Path) -> ModelSpec:
    """The toy, whose champion was trained on one row a day; then there are many."""
    write_toy_rows(tmp_path / "toy.csv", first_day="2024-01-01")
    known = pd.read_csv(tmp_path / "toy.csv")
    known[known.day < f"{MONDAY:%Y-%m-%d}"].to_csv(tmp_path / "toy.csv", index=False)
    spec = load_spec(toy_file(monitoring=SECTION))
    promote_as_of(own_services, spec, FIRST)
    return spec


def monitor(services: Services, spec: ModelSpec, *weeks: int) -> list[Judged]:
    judged: list[Judged] = []
    for number in weeks:
        judged = monitor_window(services, spec, week(number), f"monitor_toy/{number}")
    return judged


def recorded(services: Services, spec: ModelSpec, *kinds: EventKind) -> list[Event]:
    return services.ledger.history(spec.name, kinds=kinds or KINDS)


def kept(services: Services, spec: ModelSpec, version: int = 1) -> list[dict[str, Any]]:
    windows = on_record(recorded(services, spec), version).windows
    return list(contents(EvidenceStore(services.ledger), windows).values())


def verify() -> tuple[int, str]:
    done = CliRunner().invoke(app, ["verify"], env={"COLUMNS": "400"})
    return done.exit_code, done.stdout


def test_stable_windows_then_a_shift_are_on_record_and_follow_from_their_counts(
    own_services: Services, spec: ModelSpec, tmp_path: Path
) -> None:
    add_rows(tmp_path, 0, 4)
    add_rows(tmp_path, 4, 9, shift=3.0)
    judged = monitor(own_services, spec, *range(9))
    said = [one.moved.said for one in judged]
    assert said[:4] == [Said.NOTHING_SEEN] * 4
    assert Said.MOVED in said[4:]
    made, *events = recorded(own_services, spec)
    assert (made.event, made.version) == (EventKind.REFERENCE_MADE, 1)
    assert made.reason == "2 columns and 37 windows of the training data, made for the first window"
    assert len(events) == 9
    alarm = events[said.index(Said.MOVED)]
    assert alarm.reason.endswith(": moved, x moved; dependence of the windows not yet known")
    assert kept(own_services, spec)[0]["rows"] == 30
    assert evidence_differences(own_services.ledger, [spec.name]) == []
    assert verify()[0] == 0


def test_harm_is_said_where_labels_turn_and_asks_for_a_training(
    own_services: Services, spec: ModelSpec, tmp_path: Path
) -> None:
    add_rows(tmp_path, 0, 3)
    add_rows(tmp_path, 3, 6, wrong=True)
    judged = monitor(own_services, spec, *range(6))
    assert [one.hurts.said for one in judged[:3]] == [Said.NOTHING_SEEN] * 3
    assert judged[3].retrain.startswith("log loss ")
    assert "since 2025-06-23" in judged[3].retrain
    assert evidence_differences(own_services.ledger, [spec.name]) == []
    # Asked for once, however often the window is judged; the next ones lie in the cool-down.
    monitor(own_services, spec, 3)
    (wanted,) = recorded(own_services, spec, EventKind.RETRAIN_WANTED)
    assert (wanted.version, wanted.reason) == (1, judged[3].retrain)
    assert wanted.details["as_of"] == "2025-06-30T00:00:00+00:00"
    assert to_announce(own_services.ledger, RETRAINING_ASSET, model=spec.name) == [wanted]
    assert retraining_on_record(own_services.ledger, spec.name, [wanted.seq - 1, wanted.seq]) == wanted


def test_an_asset_event_that_nothing_on_record_asked_for_starts_no_training(
    own_services: Services, spec: ModelSpec
) -> None:
    some = own_services.ledger.history(spec.name)[-1]
    of_another = own_services.ledger.append(NewEvent(EventKind.RETRAIN_WANTED, "another", 1))
    for told in ([], [None, "7"], [some.seq], [of_another.seq], [10**9]):
        with pytest.raises(PodiumError, match="nothing on record asked for a training"):
            retraining_on_record(own_services.ledger, spec.name, told)


def test_no_training_starts_in_the_cool_down_after_what_the_champion_was_trained_on(
    own_services: Services, toy_file: Callable[..., Path], spec: ModelSpec, tmp_path: Path
) -> None:
    add_rows(tmp_path, 0, 2, wrong=True)
    cool = load_spec(toy_file(monitoring={**SECTION, "retraining": {"cool_down": "30d"}}))
    assert monitor(own_services, cool, 0)[0].retrain
    assert recorded(own_services, spec, EventKind.RETRAIN_WANTED) == []


@pytest.mark.parametrize("most", [0, 1])
def test_no_more_trainings_start_in_a_week_than_the_model_file_says(
    own_services: Services,
    toy_file: Callable[..., Path],
    spec: ModelSpec,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    most: int,
) -> None:
    schedule, draws = "0 0 * * 1,4", np.random.default_rng(4)
    windows = windows_between(schedule, MONDAY, MONDAY + 4 * WEEK)
    number = np.repeat(np.arange(len(windows)), 35)
    x = draws.normal(size=len(number))
    # From the third window on all labels are the other way round, so that alarm follows alarm.
    y = np.where((x + draws.normal(scale=0.7, size=len(number)) > 0) ^ (number >= 2), "yes", "no")
    days = [f"{windows[place].start:%Y-%m-%d}" for place in number]
    rows = pd.DataFrame({"day": days, "x": x, "y": y})
    rows.to_csv(tmp_path / "toy.csv", mode="a", header=False, index=False)
    limits = {"at_most_a_week": most, "cool_down": "1h"}
    limited = load_spec(toy_file(monitoring={**SECTION, "windows": schedule, "retraining": limits}))
    asked = []
    for window in windows:
        judged = monitor_window(own_services, limited, window, f"monitor_toy/{window}")
        asked += [window.end] if judged[-1].retrain else []
    assert any(end - start < WEEK for start, end in pairwise(asked))
    wanted = recorded(own_services, spec, EventKind.RETRAIN_WANTED)
    started = [datetime.fromisoformat(event.details["as_of"]) for event in wanted]
    assert started[:1] == asked[:most]
    assert len(started) >= 2 * most
    assert not any(end - start < WEEK for start, end in pairwise(started))
    # As soon as the week is over, the next window that asks for a training gets it.
    assert started[1:2] == [end for end in asked if most and end - asked[0] >= WEEK][:1]
    assert f"no training starts: {most} trainings in seven days already, {most} at most" in caplog.text


def test_a_window_judged_twice_is_recorded_once_and_replaced_where_its_rows_changed(
    own_services: Services, spec: ModelSpec, tmp_path: Path
) -> None:
    add_rows(tmp_path, 0, 3)
    monitor(own_services, spec, 0, 1, 2)
    before = recorded(own_services, spec)
    monitor(own_services, spec, 1, 2, 0)
    assert len(recorded(own_services, spec)) == len(before)
    add_rows(tmp_path, 1, 2, shift=9.0)
    judged = monitor(own_services, spec, 1)
    assert [one.observation.rows for one in judged] == [30, 60, 30]
    (event,) = recorded(own_services, spec)[len(before) :]
    # The window before it is as it was, the one after it follows from it.
    assert [one["start"][:10] for one in event.details["windows"]] == ["2025-06-09", "2025-06-16"]
    assert [window["rows"] for window in kept(own_services, spec)] == [30, 60, 30]
    assert evidence_differences(own_services.ledger, [spec.name]) == []


def test_windows_in_any_order_and_a_run_that_was_killed_leave_the_same_to_the_last_digit(
    own_services: Services, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_rows(tmp_path, 0, 4)
    monitor(own_services, spec, 2, 0)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(monitoring_run, "record", killed)
        with pytest.raises(KeyboardInterrupt):
            monitor(own_services, spec, 1)
    assert len(kept(own_services, spec)) == 2
    assert evidence_differences(own_services.ledger, [spec.name]) == []
    judged = monitor(own_services, spec, 1, 3)
    assert len(judged) == 4
    store, windows = EvidenceStore(own_services.ledger), kept(own_services, spec)
    basis = read_basis(store, windows[0], spec.name, 1)
    in_order = basis.judged([one.observation for one in judged])
    again = [basis.content(one, window["counts"]) for one, window in zip(in_order, windows, strict=True)]
    assert again == windows


def test_a_new_window_is_judged_alone_and_a_changed_one_with_those_after_it(
    own_services: Services, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_rows(tmp_path, 0, 2)
    add_rows(tmp_path, 2, 8, shift=2.0)
    judged: list[Window] = []
    judge = journal._judge

    def counted(*arguments: Any) -> Judged:
        judged.append(arguments[4].window)
        return judge(*arguments)

    monkeypatch.setattr(journal, "_judge", counted)
    for number in range(8):
        monitor(own_services, spec, number)
        assert judged == [week(number)]
        judged.clear()
    windows = kept(own_services, spec)
    assert any(one["verdicts"]["moved"]["said"] == Said.MOVED for one in windows)
    # All of them at once from what was observed: the same to the last digit.
    basis = read_basis(EvidenceStore(own_services.ledger), windows[0], spec.name, 1)
    at_once = basis.judged([read_observation(one) for one in windows])
    again = [basis.content(one, window["counts"]) for one, window in zip(at_once, windows, strict=True)]
    assert again == windows
    judged.clear()
    add_rows(tmp_path, 5, 6)
    monitor(own_services, spec, 5)
    assert judged == [week(5), week(6), week(7)]
    assert evidence_differences(own_services.ledger, [spec.name]) == []


def test_a_window_that_ends_within_a_day_has_its_rows_of_that_day_and_no_later_ones(
    own_services: Services, spec: ModelSpec, tmp_path: Path
) -> None:
    hours = pd.Series([MONDAY.replace(tzinfo=None) + timedelta(hours=hour) for hour in [5] * 30 + [7] * 20])
    rows = pd.DataFrame({"day": hours.dt.strftime("%Y-%m-%dT%H:%M"), "x": 0.5, "y": "yes"})
    rows.to_csv(tmp_path / "toy.csv", mode="a", header=False, index=False)
    window = Window(MONDAY, MONDAY + timedelta(hours=6))
    (judged,) = monitor_window(own_services, spec, window, "monitor_toy/morning")
    assert judged.observation.rows == 30


def test_a_window_long_after_the_newest_row_is_empty_and_no_error(
    own_services: Services, spec: ModelSpec, tmp_path: Path
) -> None:
    add_rows(tmp_path, 0, 1)
    (judged,) = monitor(own_services, spec, 20)
    assert (judged.observation.rows, judged.moved.reason, judged.hurts.reason) == (0, "no rows", "no rows")


def test_verify_names_evidence_that_was_changed_or_is_gone(
    own_services: Services, spec: ModelSpec, tmp_path: Path, layout: Layout, empty_database: str
) -> None:
    def as_owner(statement: str) -> None:
        as_superuser(layout, statement, empty_database)

    add_rows(tmp_path, 0, 2)
    monitor(own_services, spec, 0, 1)
    window = on_record(recorded(own_services, spec), 1).windows[week(1)]
    counts = kept(own_services, spec)[1]["counts"]
    as_owner("ALTER TABLE monitoring_evidence DROP CONSTRAINT its_digest")
    for digest, what in (
        (window, "the evidence of the window 2025-06-09"),
        (counts, "cannot be computed again"),
    ):
        of_it = f"WHERE digest = '{digest}'"
        as_owner(f"UPDATE monitoring_evidence SET content = replace(content, '}}', ' }}') {of_it}")  # noqa: S608
        code, said = verify()
        assert code == 1
        assert f"monitoring of {spec.name} v1: {what}" in said
        assert digest[:12] in said
        as_owner(f"UPDATE monitoring_evidence SET content = replace(content, ' }}', '}}') {of_it}")  # noqa: S608
        assert verify()[0] == 0
    as_owner(f"DELETE FROM monitoring_evidence WHERE digest = '{window}'")  # noqa: S608
    assert "the evidence of the window 2025-06-09 to 2025-06-16 is missing" in verify()[1]


@pytest.mark.parametrize(
    ("forge", "said"),
    [
        (lambda it: it["distances"].update(x=5.0), "distances x is 5.0, recomputed 0."),
        (lambda it: it["inputs"]["p"].update(x=0.5), "inputs p x is 0.5, recomputed 0."),
        (lambda it: it["inputs"]["log_wealth"].update(x=9.0), "inputs log_wealth x is 9.0, recomputed "),
        (lambda it: it["harm"].update(risk=0.1), "harm risk is 0.1, recomputed 0."),
        (
            lambda it: it["verdicts"]["hurts"].update(said="retrain", reason="I want it"),
            "verdicts hurts reason is I want it, recomputed ",
        ),
    ],
)
def test_what_does_not_follow_from_the_counts_is_found_also_where_the_chain_is_whole(
    own_services: Services,
    spec: ModelSpec,
    tmp_path: Path,
    forge: Callable[[dict[str, Any]], None],
    said: str,
) -> None:
    add_rows(tmp_path, 0, 2)
    monitor(own_services, spec, 0, 1)
    content = kept(own_services, spec)[1]
    forge(content)
    forged = Evidence.of(spec.name, 1, content, (week(1).start, week(1).end))
    EvidenceStore(own_services.ledger).keep([forged])
    event = recorded(own_services, spec)[-1]
    (named,) = event.details["windows"]
    own_services.ledger.append(
        NewEvent(event.event, spec.name, 1, details={"windows": [{**named, "digest": forged.digest}]})
    )
    (found,) = evidence_differences(own_services.ledger, [spec.name])
    assert found.startswith(f"monitoring of {spec.name} v1: window 2025-06-09 to 2025-06-16: {said}")


def test_a_new_champion_begins_anew_and_is_not_judged_on_what_it_was_trained_on(
    own_services: Services, spec: ModelSpec, tmp_path: Path
) -> None:
    add_rows(tmp_path, 0, 4)
    monitor(own_services, spec, 0, 1)
    with pytest.raises(NothingToDo, match="v1 was trained on what was known on 2025-06-01"):
        monitor_window(own_services, spec, week(-2), "monitor_toy/early")
    promote_as_of(own_services, spec, SECOND)
    with pytest.raises(NothingToDo, match="v2"):
        monitor(own_services, spec, 2)
    (unjudged,) = monitor(own_services, spec, 5)
    # Rows were added after it was trained.
    assert (unjudged.moved.said, unjudged.worst.said) == (Said.NOT_JUDGED, Said.NOT_JUDGED)
    assert unjudged.moved.reason == "toy.csv as of 2025-07-01 is not what the version was trained on"
    assert len(kept(own_services, spec, 1)) == 2
    assert evidence_differences(own_services.ledger, [spec.name]) == []
