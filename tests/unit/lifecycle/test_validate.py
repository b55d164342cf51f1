"""Validate on the real registry code and a real ledger."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import mlflow
import pytest

from podium.errors import Outage, Refused
from podium.gates.report import GateReport
from podium.ledger import store
from podium.ledger.store import Ledger
from podium.lifecycle import validate
from podium.lifecycle.nominate import nominate_version
from podium.lifecycle.register import register_version
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.names import Tag
from podium.services import Services
from support.steps import (
    FIRST,
    SECOND,
    decide,
    kinds,
    live_through,
    new_run,
    nominate,
    promote,
    promote_as_of,
    register,
    roll_back,
    train,
)


def test_the_whole_mission(services: Services, toy_spec: ModelSpec) -> None:
    name = toy_spec.name
    first = live_through(services, toy_spec, FIRST)
    assert (first.version, first.from_version, first.actor) == (1, None, "amy")
    assert services.registry.aliases(name) == {"champion": 1}

    second = live_through(services, toy_spec, SECOND)
    assert (second.version, second.from_version) == (2, 1)
    assert services.registry.aliases(name) == {"champion": 2, "previous_champion": 1}

    back = roll_back(services, toy_spec)
    assert (back.version, back.from_version, back.actor, back.reason) == (1, 2, "olga", "complaints")
    assert services.registry.aliases(name) == {"champion": 1}

    tags = {version.number: version.tags for version in services.registry.versions(name)}
    assert tags[1][Tag.LIFECYCLE_STAGE] == "Production"
    assert tags[2][Tag.LIFECYCLE_STAGE] == "Archived"
    assert tags[2][Tag.APPROVAL_STATUS] == "approved"
    assert tags[2][Tag.DECIDED_BY] == "amy"
    assert tags[2][Tag.DECISION_REASON] == "it is good enough"
    story = ["registered", "gates_passed", "nominated", "approval_requested", "approval_given", "approved"]
    story += ["promotion_started", "promoted"]
    assert kinds(services, toy_spec) == [*story, *story, "rollback_started", "rolled_back"]


def test_a_refused_version_keeps_its_report_and_goes_no_further(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    strict = load_spec(toy_file(name=toy_spec.name, gates=[{"metric": "log_loss", "threshold": 0.0001}]))
    with pytest.raises(Refused, match="v1: refused by 1 of 1 gates: log_loss at most 0.0001"):
        nominate(services, strict, FIRST, new_run())
    version = services.registry.version(strict.name, 1)
    assert version.tags[Tag.VALIDATION_STATUS] == "failed"
    assert "log_loss at most 0.0001" in version.tags[Tag.GATES]
    report = mlflow.artifacts.load_dict(f"runs:/{version.run_id}/gates/v1-against-none/report.json")
    assert report["passed"] is False
    assert services.registry.aliases(strict.name) == {}
    assert kinds(services, strict) == ["registered", "gates_refused"]


def test_a_verdict_waits_until_nobody_else_writes_about_the_model(
    services: Services, toy_spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that write the same tags at once stopped one another: MLflow's database takes one of them."""
    run = new_run()
    number = register(services, toy_spec, FIRST, run)
    before = services.registry.version(toy_spec.name, number).tags
    monkeypatch.setattr(store, "LOCK_TIMEOUT_SECONDS", 0.1)
    other = Ledger(services.ledger.engine.url.render_as_string(hide_password=False))
    with other.lock(toy_spec.name), pytest.raises(Outage, match="another process held the lock"):
        validate.validate_version(services, toy_spec, number, run)
    assert services.registry.version(toy_spec.name, number).tags == before
    assert kinds(services, toy_spec) == ["registered"]
    assert validate.validate_version(services, toy_spec, number, run).passed


def test_the_champion_is_scored_again_on_the_candidates_rows(services: Services, toy_spec: ModelSpec) -> None:
    promote_as_of(services, toy_spec, FIRST)
    run = new_run()
    version = register(services, toy_spec, SECOND, run)
    report = validate.validate_version(services, toy_spec, version, run)
    logged = services.registry.run_metrics(services.registry.version(toy_spec.name, 1).run_id, "holdout.")
    assert report.champion == 1
    assert report.scores.references["champion"] != logged


def test_a_holdout_by_content_shares_rows_with_the_champion_only_where_it_did(
    services: Services, toy_spec: ModelSpec, toy_file: Callable[..., Path]
) -> None:
    def trained(share: float, as_of: datetime) -> GateReport:
        spec = load_spec(toy_file(name=toy_spec.name, holdout={"share": share}))
        run = new_run()
        version = register_version(services, spec, train(services, spec, as_of).run_id, run)
        report = validate.validate_version(services, spec, version, run)
        nominate_version(services, spec.name, run)
        decide(services, spec, run)
        promote(services, spec, run)
        return report

    assert trained(0.2, FIRST).notes == ()
    # Later days, and rows that stay on their side.
    assert trained(0.2, SECOND).notes == ()
    (note,) = trained(0.6, SECOND).notes
    seen = re.fullmatch(r"champion v2 was trained on (\d+) of these (\d+) holdout rows: it may know .*", note)
    assert seen is not None, note
    assert 0 < int(seen[1]) < int(seen[2])
