"""``podium retention``: what would go, and why the rest stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from podium.cli.main import app
from podium.ledger.events import EventKind, NewEvent
from podium.services import Services
from support.retained import add_version, crown

RULES = {"former_champions": 1, "versions": 1, "days": 0}


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return " ".join(done.stdout.split())


@pytest.fixture
def model(
    services: Services, toy_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    monkeypatch.setenv("PODIUM_MODELS_DIR", str(tmp_path))
    name = f"toy-{tmp_path.name.replace('_', '-')}".lower()
    toy_file(name=name, retention=RULES)
    for _ in range(4):
        add_version(services, name)
    crown(services, name, 1)
    services.ledger.append(NewEvent(EventKind.HELD, name, 3, actor="amy", reason="case 4711"))
    return name


def test_a_dry_run_says_what_would_go_and_each_reason_why_the_rest_stays(
    services: Services, model: str
) -> None:
    told = run("retention", model, "--dry-run")
    assert f"{model}: 4 versions, " in told
    assert "3 kept, 1 to quarantine; 1 kept by hold" in told
    assert "v1 stays: it is the champion; it has the alias champion" in told
    assert "v2 goes to quarantine (" in told
    assert "v3 stays: it is held by amy: case 4711" in told
    assert "v4 stays: it is the newest version" in told
    as_json = json.loads(CliRunner().invoke(app, ["retention", model, "--dry-run", "--json"]).stdout)
    assert [one["action"] for one in as_json[model]] == ["keep", "quarantine", "keep", "keep"]
    assert services.registry.version(model, 2).tags == {}


def test_a_dry_run_names_reported_models_that_no_version_names(services: Services, model: str) -> None:
    about = {
        "mlflow_run": "r1",
        "made_at": "2025-03-01T12:00:00+00:00",
        "bytes": 4_200_000,
        "whole": False,
        "since": "2025-05-01T12:00:00+00:00",
    }
    services.ledger.append(NewEvent(EventKind.ORPHANS_REPORTED, model, details={"orphans": {"m-1": about}}))
    told = run("retention", model, "--dry-run")
    orphan = "m-1 of run r1 (4.2 MB, of 2025-03-01 12:00 UTC, half written)"
    assert f"no version names {orphan}; it is deleted after 2025-05-31 12:00 UTC" in told
    as_json = json.loads(CliRunner().invoke(app, ["retention", model, "--dry-run", "--json"]).stdout)
    until = "2025-05-31T12:00:00+00:00"
    assert as_json[model][-1] == {
        "version": None,
        "action": "orphan",
        "until": until,
        "model_id": "m-1",
        **about,
    }


def test_a_retired_model_is_shown_as_such(services: Services, model: str) -> None:
    ended = NewEvent(EventKind.RETIRED, model, actor="amy", reason="nobody needs it")
    services.ledger.append(ended)
    told = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)
    (status,) = [one for one in told if one["model"] == model]
    assert status["retired"].endswith("by amy: nobody needs it")
