"""Whatever was stored, and whatever a file is called, a terminal is told nothing by it."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from sqlalchemy import text as sql
from typer.testing import CliRunner

from podium.cli.app import console
from podium.cli.main import app
from podium.errors import TrainerError
from podium.gates.report import GateReport, GateResult, GateStatus, Scores, SliceResult
from podium.ledger.events import EventKind, NewEvent
from podium.model_file.spec import ModelSpec
from podium.operations.backup.index import progress
from podium.operations.doctor.findings import Finding, State
from podium.operations.program import exit_with_message
from podium.reporting.compare import ComparedVersion, Comparison
from podium.reporting.terminal import Terminal
from podium.services import Services
from podium.stack.layout import Layout
from podium.text import is_unseen
from support.database import execute

LINK = "\x1b]8;;http://e.example\x07here\x1b]8;;\x07"
ODD = f"\x1b[2J\x1b[1mRED {LINK}\rpainted \u202eover\u200b \x9b2J \U000e0041 [link=http://e.example]x[/link]"
SEEN = r"\x1b[2J"
MODEL = "plain"


def shown(*words: str) -> str:
    """Run a command, and return all that it wrote, which must be safe."""
    done = CliRunner().invoke(app, list(words))
    written = done.stdout + done.stderr
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    unseen = sorted({hex(ord(letter)) for letter in written if is_unseen(letter)})
    assert not unseen, f"podium {' '.join(words)} wrote {unseen}"
    return written


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_width", 1000)


@pytest.fixture
def odd(own_services: Services, layout: Layout, empty_database: str) -> Services:
    """A record with odd names, people and reasons, as a ledger from before its rows were checked may hold."""
    execute(
        layout.database_url("ledger_owner", empty_database), "ALTER TABLE ledger_events DISABLE TRIGGER USER"
    )
    result = GateResult(ODD, GateStatus.PASSED, 1.0, note=ODD)
    part = SliceResult(ODD, 7, GateStatus.PASSED, 1.0, note=ODD)
    scores = Scores(7, {"log_loss": 1.0}, {ODD: {"log_loss": 1.0}})
    report = GateReport(MODEL, 1, None, scores, (result, GateResult("x", part.status, 1.0, slices=(part,))))
    for event in (
        NewEvent(EventKind.REGISTERED, MODEL, 1),
        NewEvent(EventKind.GATES_PASSED, MODEL, 1, details=report.as_json()),
        NewEvent(EventKind.REJECTED, MODEL, 1, actor=f"eve {ODD}", reason=ODD, run=f"r/{ODD}"),
        NewEvent(EventKind.PROMOTED, f"odd{ODD}", 1, actor="amy", reason=ODD),
    ):
        own_services.ledger.append(event)
    return own_services


def test_history_and_status_show_escapes(odd: Services) -> None:
    told = shown("history", MODEL)
    assert f"eve {SEEN}" in told
    assert r"\rpainted \u202eover\u200b \x9b2J \U000e0041 [link=http://e.example]x[/link]" in told
    assert rf"promoted by amy: {SEEN}" in shown("history", f"odd{ODD}", "--at", "2199-01-01")
    assert f"odd{SEEN}" in shown("status")
    done = CliRunner().invoke(app, ["history", MODEL, "--json"])
    assert json.loads(done.stdout)[-1]["reason"] == ODD


def test_no_end_of_a_long_text_is_cut_off(odd: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_width", 80)
    odd.ledger.append(NewEvent(EventKind.REJECTED, MODEL, 1, reason="\x1b" * 99 + "end"))
    assert "end" in shown("history", MODEL).replace("\n", "").replace(" ", "")


def test_verify_doctor_and_gates_show_escapes(odd: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    assert f"odd{SEEN}" in shown("verify")
    told = shown("gates", MODEL, "1")
    assert told.count(SEEN) >= 4

    def examine(*_: object) -> list[Finding]:
        return [Finding(f"champion of {ODD}", State.PROBLEM, f"saw {ODD}", f"remedy of {ODD}")]

    monkeypatch.setattr("podium.operations.doctor.examination.examine", examine)
    told = shown("doctor")
    assert all(f"{part} {SEEN}" in told for part in ("champion of", "saw", "remedy of"))


def test_a_comparison_shows_escapes(
    odd: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    sides = tuple(
        ComparedVersion(f"v{n}", "r", ODD, ODD, ODD, ODD, {ODD: f"{n} {ODD}"}, {ODD: 1.0}) for n in (1, 2)
    )
    compared = Comparison(toy_spec.name, sides, "log_loss", greater_is_better=False)
    monkeypatch.setattr("podium.reporting.compare.compare_versions", lambda *_: compared)
    assert shown("compare", toy_spec.name).count(SEEN) >= 10
    assert shown("compare", toy_spec.name, "--csv").count(SEEN) >= 8


def test_messages_and_warnings_show_escapes(odd: Services, tmp_path: Path) -> None:
    assert f"unknown {SEEN}" in shown("history", f"unknown {ODD}")
    odd_file = tmp_path / f"{ODD.replace('/', '')}.yaml"
    odd_file.write_text('name: "\\e[2J"\n"a\\eb": 1\n')
    assert SEEN in shown("validate-spec", str(tmp_path))
    columns = "at, model, version, from_version, actor, reason, run, details"
    with odd.ledger.engine.begin() as connection:
        connection.execute(
            sql(
                f"INSERT INTO ledger_events (seq, event, previous_hash, hash, {columns}) "  # noqa: S608
                f"SELECT seq + 100, 'brand new', hash, 'x', {columns} FROM ledger_events WHERE seq = 4"
            )
        )
    assert f"odd{SEEN}" in shown("status")


CODES = "trainers.rank:train: [bold]no[/bold] :tram:"


def test_codes_of_emoji_and_markup_stay_text_in_messages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), exit_with_message("podium"):
        raise TrainerError(CODES)
    assert capsys.readouterr().err == (
        f"podium: {CODES} [PODIUM-TRAINER]\n`podium explain PODIUM-TRAINER` says what to do.\n"
    )


def test_codes_stay_text_in_what_moves() -> None:
    written = StringIO()
    terminal = Terminal(file=written, width=200, force_terminal=True, highlight=False)
    with terminal.status(CODES):
        pass
    with progress(terminal) as bars:
        bars.add_task(CODES, total=1)
    assert written.getvalue().count(CODES) >= 2
