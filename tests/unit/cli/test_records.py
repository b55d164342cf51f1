from __future__ import annotations

import json
import uuid
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import make_url
from typer.testing import CliRunner

from podium.cli.main import app
from podium.ledger.chain import read_export
from podium.ledger.events import Event, EventKind, NewEvent
from podium.lifecycle.witness import record
from podium.model_file.spec import ModelSpec
from podium.names import Alias
from podium.reporting.terminal import Terminal
from podium.services import Services
from podium.stack.layout import Layout
from support.database import execute
from support.steps import FIRST, SECOND, promote_as_of
from support.watched import ramp_step

run = CliRunner().invoke


def text(done: Result) -> str:
    """What was printed, without the terminal's line breaks."""
    return " ".join(done.stdout.split())


@pytest.fixture
def model() -> str:
    return f"toy-{uuid.uuid4().hex[:8]}"


def test_an_outage_is_told_with_what_to_do(
    services: Services, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = make_url(ledger_url).set(port=1).render_as_string(hide_password=False)
    monkeypatch.setenv("PODIUM_LEDGER_URL", away)
    done = run(app, ["status"])
    assert done.exit_code == 1
    told = " ".join(done.stderr.split())
    assert "the ledger database did not answer" in told
    assert "`make up` starts it" in told


def test_a_date_that_is_none_is_explained(services: Services, model: str) -> None:
    services.ledger.append(NewEvent(EventKind.REGISTERED, model, 1))
    done = run(app, ["history", model, "--at", "last week"])
    assert done.exit_code == 1
    assert "--at: 'last week' is not a date; write 2025-03-01" in " ".join(done.stderr.split())


def at(event: Event) -> str:
    return f"{event.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def test_history_at_a_moment_says_who_was_champion_since_when_by_whom_and_why(
    services: Services, model: str
) -> None:
    before = services.ledger.append(NewEvent(EventKind.REGISTERED, model, 3))
    moved = services.ledger.append(NewEvent(EventKind.PROMOTED, model, 3, 2, actor="amy", reason="better"))
    back = services.ledger.append(
        NewEvent(EventKind.ROLLED_BACK, model, 2, 3, actor="olga", reason="too slow")
    )

    def told(event: Event) -> str:
        return text(run(app, ["history", model, "--at", event.at.isoformat()]))

    assert told(before).endswith(f"At {at(before)} {model} had no champion.")
    assert told(moved).endswith(
        f"At {at(moved)} the champion of {model} was v3, since {at(moved)}, promoted by amy: better"
    )
    assert told(back).endswith(
        f"At {at(back)} the champion of {model} was v2, since {at(back)}, rolled back by olga: too slow"
    )


def test_history_at_a_day_is_at_its_end(services: Services, model: str) -> None:
    event = services.ledger.append(NewEvent(EventKind.PROMOTED, model, 3, 2, actor="amy", reason="better"))
    day = event.at.astimezone(UTC).date().isoformat()
    assert json.loads(run(app, ["history", model, "--at", day, "--json"]).stdout) == [event.as_json()]
    assert f"the champion of {model} was v3" in text(run(app, ["history", model, "--at", day]))


def test_history_shows_what_people_wrote_as_it_is(services: Services, model: str) -> None:
    event = services.ledger.append(
        NewEvent(EventKind.PROMOTED, model, 1, actor="[b]", reason="see [/red] and [link=x]y[/link]")
    )
    told = text(run(app, ["history", model, "--at", event.at.isoformat()]))
    assert told.endswith("promoted by [b]: see [/red] and [link=x]y[/link]")
    assert told.count("[/red]") == 2


def test_status_of_a_model_that_only_the_ledger_knows(services: Services, model: str) -> None:
    services.ledger.append(NewEvent(EventKind.REGISTERED, model, 1))
    status = {item["model"]: item for item in json.loads(run(app, ["status", "--json"]).stdout)}
    assert status[model] == {
        "model": model,
        "champion": None,
        "recorded_champion": None,
        "candidate": None,
        "previous_champion": None,
        "profiles": {},
        "damaged": "",
        "retired": "",
        "unsettled": "",
        "ramp": None,
        "newest_version": 1,
        "waiting": [],
    }


def test_status_names_a_ramp_that_stopped_and_a_freeze_by_a_watch_window(
    services: Services, model: str
) -> None:
    services.ledger.append(NewEvent(EventKind.PROMOTED, model, 1))
    first = ramp_step(services, model, 2, 5, champion=1)

    def told() -> tuple[str, Any]:
        (status,) = (
            one for one in json.loads(run(app, ["status", "--json"]).stdout) if one["model"] == model
        )
        return run(app, ["status"]).stdout, status

    shown, status = told()
    assert f"{model}: v2 answers 5% of the clients until " in shown
    assert (status["ramp"]["share"], status["ramp"]["stopped"]) == (5, False)
    ramp_step(services, model, 2, 5, first, champion=1, stopped=True, reason="not judged: no server reported")
    shown, status = told()
    said = "the ramp of v2 stopped at 5% of the clients: not judged: no server reported"
    assert f"{model}: {said}." in shown
    assert "ramp stopped" in shown
    assert (status["ramp"]["sentence"], status["ramp"]["stopped"]) == (said, True)
    frozen = {"promotion": 1, "said": "both bad", "freezes": True}
    services.ledger.append(NewEvent(EventKind.WATCH_JUDGED, model, 1, reason="both bad", details=frozen))
    shown, status = told()
    assert f"{model}: no version has been promoted since its watch window ended on " in shown
    assert ", both bad; settle_champion settles it" in status["unsettled"]


def test_a_request_that_cannot_be_read_is_named_and_hides_no_other_model(
    services: Services, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt = services.ledger.append(NewEvent(EventKind.APPROVAL_REQUESTED, model, 1, run=f"r/{model}"))
    for command in ("status", "pending"):
        caplog.clear()
        done = run(app, [command, "--json"])
        assert done.exit_code == 0, done.output
        json.loads(done.stdout)
        assert f"{model} v1: approval request {spoilt.seq} of the ledger cannot be read" in caplog.text


@pytest.fixture
def lived(own_services: Services, toy_spec: ModelSpec) -> Services:
    promote_as_of(own_services, toy_spec, FIRST)
    promote_as_of(own_services, toy_spec, SECOND)
    return own_services


def verdict(*options: str) -> tuple[int, dict[str, Any]]:
    done = run(app, ["verify", "--json", *options])
    return done.exit_code, json.loads(done.stdout)


def test_a_record_that_is_whole_is_said_to_be(lived: Services) -> None:
    newest = list(lived.ledger.record())[-1]
    done = run(app, ["verify"])
    assert done.exit_code == 0
    assert text(done) == (
        "Intact: 16 events, each chained to the one before; live aliases match the ledger. "
        f"Head: {newest.hash}"
    )
    assert verdict() == (0, {"whole": True, "events": 16, "head": newest.hash, "differences": []})


def test_aliases_that_were_moved_by_hand_are_told(lived: Services, toy_spec: ModelSpec) -> None:
    name = toy_spec.name
    lived.registry.set_alias(name, Alias.CHAMPION, 1)
    lived.registry.set_alias(name, Alias.PREVIOUS_CHAMPION, 2)
    done = run(app, ["verify"])
    assert done.exit_code == 1
    first = f"{name}: alias champion is v1, the ledger says v2"
    assert text(done) == f"Verification failed: {first} and 1 more; --json lists all."
    code, told = verdict()
    assert code == 1
    assert not told["whole"]
    assert told["differences"] == [first, f"{name}: alias previous_champion is v2, the ledger says v1"]


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE ledger_events SET actor = 'eve' WHERE seq = 7", "event 7 was changed"),
        (
            "DELETE FROM ledger_events WHERE seq = 16",
            "event 16 is not in the ledger, although MLflow has it on record",
        ),
        # Then the ledger does not know the model any more, but the registry does.
        ("TRUNCATE ledger_events", "event 16 is not in the ledger, although MLflow has it on record"),
    ],
)
def test_a_record_that_was_changed_is_told(
    lived: Services, layout: Layout, empty_database: str, statement: str, found: str
) -> None:
    execute(layout.database_url("ledger_owner", empty_database), statement)
    done = run(app, ["verify"])
    assert done.exit_code == 1
    assert text(done).startswith(f"Verification failed: {found}")
    code, told = verdict()
    assert (code, told["whole"]) == (1, False)
    assert told["differences"][0].startswith(found)


def test_an_event_of_a_newer_podium_is_named_and_the_rest_is_judged(
    lived: Services, layout: Layout, empty_database: str, toy_spec: ModelSpec, tmp_path: Path
) -> None:
    owner = layout.database_url("ledger_owner", empty_database)
    execute(owner, "INSERT INTO event_kinds VALUES ('invented_later')")
    newest = record(lived, NewEvent(EventKind("invented_later"), toy_spec.name, 1))
    named = (
        f"event {newest.seq} of {toy_spec.name} has the kind 'invented_later', which this version of Podium "
        "does not know: a newer version recorded it"
    )
    whole = {"whole": True, "events": newest.seq, "head": newest.hash, "differences": [], "unknown": [named]}
    done = run(app, ["verify"])
    assert (done.exit_code, text(done).endswith(f"Not checked: {named}.")) == (0, True)
    assert verdict() == (0, whole)
    path = tmp_path / "record.jsonl"
    assert run(app, ["export", "--output", str(path)]).exit_code == 0
    assert verdict("--file", str(path)) == (0, whole)
    assert run(app, ["status"]).exit_code == 0
    promote_as_of(lived, toy_spec, FIRST)

    execute(owner, "UPDATE ledger_events SET actor = 'eve' WHERE seq = 3")
    execute(owner, "UPDATE ledger_events SET canonical = canonical || ' ' WHERE seq = 4")
    code, told = verdict()
    assert (code, told["unknown"]) == (1, [named])
    assert told["differences"] == [
        "event 3 was changed: its hash does not match its content",
        "the text of event 4 does not match its hash",
    ]


def test_a_model_whose_record_nobody_can_fold_hides_no_other(lived: Services, toy_spec: ModelSpec) -> None:
    forged = NewEvent(EventKind.REGISTERED, "a-model", 1, details={"profile": "none", "manifest": 3})
    appended = lived.ledger.append(forged)
    lived.registry.set_alias(toy_spec.name, Alias.CHAMPION, 1)
    code, told = verdict()
    assert (code, len(told["differences"])) == (1, 2)
    assert told["differences"][0].startswith(
        f"a-model: 'profile' of event {appended.seq} of the ledger, registered, is not"
    )
    assert told["differences"][1].startswith(f"{toy_spec.name}: alias champion is v1")


def test_an_export_is_the_whole_record_and_is_verified_without_any_part(
    lived: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = list(lived.ledger.record())
    path = tmp_path / "record.jsonl"
    done = run(app, ["export", "--output", str(path)])
    assert (done.exit_code, done.stdout) == (0, "")
    assert list(read_export(path)) == events
    assert run(app, ["export"]).stdout == path.read_text()

    monkeypatch.setenv("PODIUM_LEDGER_URL", "postgresql+psycopg2://nobody@127.0.0.1:1/nothing")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    done = run(app, ["verify", "--file", str(path)])
    assert done.exit_code == 0
    assert text(done) == f"Intact: 16 events, each chained to the one before. Head: {events[-1].hash}"
    assert verdict("--file", str(path)) == (
        0,
        {"whole": True, "events": 16, "head": events[-1].hash, "differences": []},
    )

    path.write_text(path.read_text().replace('"amy"', '"eve"', 1))
    code, told = verdict("--file", str(path))
    assert (code, told["whole"], told["head"]) == (1, False, events[told["events"] - 1].hash)
    assert told["differences"] == [
        f"event {told['events'] + 1} was changed: its hash does not match its content"
    ]
    path.write_text("no JSON\n")
    done = run(app, ["verify", "--file", str(path)])
    assert done.exit_code == 1
    assert "record.jsonl, line 1: Expecting value" in " ".join(done.stderr.split())


def test_a_file_that_cannot_be_written_or_read_is_named(services: Services, tmp_path: Path) -> None:
    path = tmp_path / "no" / "such" / "folder.jsonl"
    for command in (["export", "--output", str(path)], ["verify", "--file", str(path)]):
        done = run(app, command)
        assert done.exit_code == 1
        told = done.stderr.replace("\n", "")
        assert "folder.jsonl" in told
        assert "No such file" in told


def test_an_export_without_a_ledger_leaves_an_older_one_as_it_was(
    services: Services, ledger_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.jsonl"
    path.write_text("an older export\n")
    away = make_url(ledger_url).set(port=1).render_as_string(hide_password=False)
    monkeypatch.setenv("PODIUM_LEDGER_URL", away)
    assert run(app, ["export", "--output", str(path)]).exit_code == 1
    assert path.read_text() == "an older export\n"
    assert list(tmp_path.glob("*.jsonl*")) == [path]


@pytest.fixture
def mlflow_is_away(own_services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "reader")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def test_status_without_mlflow_shows_what_the_ledger_knows(
    own_services: Services, model: str, mlflow_is_away: None
) -> None:
    own_services.ledger.append(NewEvent(EventKind.PROMOTED, model, 3))
    done = run(app, ["status"])
    assert done.exit_code == 1
    assert f"{model} v3" in text(done)
    assert "MLflow does not answer; the ledger alone gave this state" in " ".join(done.stderr.split())
    (item,) = json.loads(run(app, ["status", "--json"]).stdout)
    assert item["champion"] == item["recorded_champion"] == 3


def test_verify_without_mlflow_checks_the_chain_and_says_what_it_did_not(
    own_services: Services,
    model: str,
    mlflow_is_away: None,
    layout: Layout,
    empty_database: str,
) -> None:
    own_services.ledger.append(NewEvent(EventKind.PROMOTED, model, 3))
    done = run(app, ["verify"])
    assert done.exit_code == 1
    assert "Intact: 1 events, each chained to the one before. Head:" in text(done)
    assert "Not checked: live aliases" in text(done)
    code, told = verdict()
    assert (code, told["whole"], len(told["not_checked"])) == (1, True, 1)
    execute(layout.database_url("ledger_owner", empty_database), "UPDATE ledger_events SET actor = 'eve'")
    assert "Verification failed: event 1 was changed" in text(run(app, ["verify"]))


def test_names_versions_and_deadlines_are_whole_at_80_columns(
    own_services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "house-prices-of-berlin-and-brandenburg"
    details = {"requester": None, "manifest": "m", "gates": "d", "expires_after_seconds": 36_000.0}
    own_services.ledger.append(NewEvent(EventKind.REGISTERED, name, 123))
    asked = own_services.ledger.append(
        NewEvent(EventKind.APPROVAL_REQUESTED, name, 123, run="r", details=details)
    )
    monkeypatch.setattr("podium.cli.records.console", Terminal(width=80))
    shown = run(app, ["status"]).stdout
    until = asked.at.astimezone(UTC) + timedelta(hours=10)
    row = next(line for line in shown.splitlines() if name in line)
    assert f"v123 until {until:%m-%d %H:%M}" in row
    assert max(map(len, shown.splitlines())) <= 80


def test_a_long_reason_is_shortened_and_json_has_all_of_it(
    services: Services, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("podium.cli.records.console", Terminal(width=80))
    services.ledger.append(NewEvent(EventKind.REGISTERED, model, 1, reason="from a run"))
    services.ledger.append(NewEvent(EventKind.REJECTED, model, 1, actor="amy", reason="worse " * 800))
    shown = run(app, ["history", model]).stdout
    assert "v1 registered: from a run" in shown
    assert len(shown.strip().splitlines()) < 10
    told = json.loads(run(app, ["history", model, "--json"]).stdout)
    assert told[-1]["reason"] == "worse " * 800
