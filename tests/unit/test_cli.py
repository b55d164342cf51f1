from __future__ import annotations

import json
import uuid
from datetime import UTC

import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner

from podium.cli import app
from podium.ledger import EventKind, NewEvent
from podium.parts import Parts

run = CliRunner().invoke


def test_an_outage_is_told_with_what_to_do(
    parts: Parts, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = make_url(ledger_url).set(port=1).render_as_string(hide_password=False)
    monkeypatch.setenv("PODIUM_LEDGER_URL", away)
    done = run(app, ["status"])
    assert done.exit_code == 1
    told = " ".join(done.stderr.split())
    assert "the ledger database did not answer" in told
    assert "`make up` starts it" in told


def test_a_date_that_is_none_is_explained(parts: Parts) -> None:
    model = f"toy-{uuid.uuid4().hex[:8]}"
    parts.ledger.append(NewEvent(EventKind.REGISTERED, model, 1))
    done = run(app, ["history", model, "--at", "last week"])
    assert done.exit_code == 1
    assert "--at: 'last week' is no date; write 2025-03-01" in " ".join(done.stderr.split())


def test_history_at_a_day_is_at_its_end(parts: Parts) -> None:
    model = f"toy-{uuid.uuid4().hex[:8]}"
    event = parts.ledger.append(NewEvent(EventKind.PROMOTED, model, 3, 2, actor="amy", reason="better"))
    day = event.at.astimezone(UTC).date().isoformat()
    assert json.loads(run(app, ["history", model, "--at", day, "--json"]).stdout)[0]["version"] == 3
    told = " ".join(run(app, ["history", model, "--at", day]).stdout.split())
    assert f"the champion of {model} was v3" in told
    assert "promoted by amy: better" in told


def test_status_of_a_model_that_only_the_ledger_knows(parts: Parts) -> None:
    model = f"toy-{uuid.uuid4().hex[:8]}"
    parts.ledger.append(NewEvent(EventKind.REGISTERED, model, 1))
    status = {item["model"]: item for item in json.loads(run(app, ["status", "--json"]).stdout)}
    assert status[model] == {
        "model": model,
        "champion": None,
        "candidate": None,
        "previous_champion": None,
        "versions": [],
        "waiting": [],
    }
