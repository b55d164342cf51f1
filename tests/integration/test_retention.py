"""Old versions on the embedded stack, with real S3: to quarantine, back, and gone for good."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests

from podium.errors import OutOfUse
from podium.ledger import custody, history
from podium.ledger.events import EventKind
from podium.lifecycle import removal
from podium.lifecycle.orphans import sweep
from podium.lifecycle.retention import run_retention
from podium.lifecycle.retention_look import look
from podium.lifecycle.retention_rules import Approved
from podium.lifecycle.verify import all_differences
from podium.model_file.loading import find_spec
from podium.names import RETENTION, Tag
from podium.operations.airflow_client import HOLD_DAG, RETENTION_DAG, AirflowClient
from podium.operations.backup.objects import Store, list_objects
from podium.operations.mlflow_server import PROMOTER
from podium.registry.disposal import Disposal, Login
from podium.scoring.pinned_version import pin
from podium.services import Services
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.running_stack import Stack
from support.airflow import LifecycleRun, get, wait_for_run
from support.copies import parts_of
from support.patience import PATIENCE_SECONDS
from support.places import MODELS
from support.retained import RULES, add_version, crown, later, loads

MODEL = "toy-old"


@pytest.fixture
def layout(stack: Stack) -> Layout:
    found = load_layout(Paths(stack.state_dir))
    assert found is not None
    return found


@pytest.fixture
def parts(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Services:
    return parts_of(stack, monkeypatch)


def objects_of(layout: Layout, place: str) -> list[str]:
    store = Store(layout.s3_url, layout.secrets.s3_key, layout.secrets.s3_secret, "mlflow")
    return [item.key for item in list_objects(store) if f"/{place}/" in item.key]


def note_of(client: AirflowClient, dag: str, run: str) -> str:
    return str(get(client, f"/api/v2/dags/{dag}/dagRuns/{run}")["note"])


def custody_of(parts: Services, number: int) -> EventKind | None:
    kept = history.custody(parts.ledger.present(MODEL, number), number)
    return kept.event if kept else None


def fail_to_delete(
    parts: Services, layout: Layout, url: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let a version be so long in quarantine that it is deleted, by a store that deletes nothing."""
    rules = find_spec(MODELS, MODEL).retention
    assert rules is not None
    disposal = Disposal(url, Login(RETENTION, layout.secrets.mlflow_retention))
    with monkeypatch.context() as patch:
        for days in (0, 15):
            patch.setattr(custody, "now", later(days))
            verdict = look(parts, MODEL, rules).of(number)
            assert verdict is not None
            only = Approved({number: (verdict.action, verdict.facts.record.digest)})
            patch.setattr(Disposal, "delete_files", lambda *_: None)
            run_retention(parts, disposal, MODEL, rules, f"retention/of-a-test-{days}", approved=only)
    assert custody_of(parts, number) is EventKind.DELETION_FAILED


def test_old_versions_go_as_an_approver_approved_and_one_by_itself_with_their_files_for_good(
    stack: Stack, layout: Layout, parts: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(6):
        add_version(parts, MODEL)
    crown(parts, MODEL, 1)
    crown(parts, MODEL, 2, 1)
    places = {one.number: one.source.removeprefix("models:/") for one in parts.registry.versions(MODEL)}
    fail_to_delete(parts, layout, stack.mlflow_url, 3, monkeypatch)
    admin, approver, operator = (
        AirflowClient(stack.airflow_url, name, stack.passwords[name])
        for name in ("admin", "approver", "operator")
    )
    for dag in (RETENTION_DAG, HOLD_DAG, removal.DAG):
        admin.wait_for_dag(dag)
    admin.set_paused(RETENTION_DAG, paused=False)

    # Three would go, which is more than one: people are asked.
    run = operator.trigger(RETENTION_DAG, {"model": MODEL})
    assert wait_for_run(admin, RETENTION_DAG, run) == "success"
    assert f"{MODEL}: 6 versions" in note_of(admin, RETENTION_DAG, run)
    assert "no version goes until an approver has decided" in note_of(admin, RETENTION_DAG, run)
    assert custody_of(parts, 4) is None
    (proposal,) = parts.ledger.history(MODEL, kinds=[EventKind.REMOVAL_PROPOSED])
    asking = LifecycleRun(
        admin,
        cast(Any, SimpleNamespace(lifecycle_dag_id=removal.DAG, name=MODEL)),
        removal.run_of(proposal).partition("/")[2],
    )
    card = asking.wait_for_card("Open until")
    assert "2 go to quarantine, 1 is deleted for good.**" in card
    assert "| v3 | is deleted for good | " in card
    asking.approve(approver, "nobody needs these")
    assert asking.wait_for_end() == "success"
    assert "quarantined: v4, v5; deleted: v3; the files of 3 versions that stay" in asking.note()
    assert objects_of(layout, places[3]) == []
    assert parts.registry.find_version(MODEL, 3) is None
    assert all(objects_of(layout, place) for number, place in places.items() if number != 3)

    # Who registers versions and moves aliases deletes no file.
    where = f"{stack.mlflow_url}/api/2.0/mlflow-artifacts/artifacts/1/models/{places[1]}/artifacts"
    login = (PROMOTER, layout.secrets.mlflow_podium)
    assert requests.delete(where, auth=login, timeout=PATIENCE_SECONDS).status_code == 403

    form = {"model": MODEL, "version": 4, "what": "restore", "reason": "an audit needs it"}
    run = operator.trigger(HOLD_DAG, form)
    assert wait_for_run(admin, HOLD_DAG, run) == "failed"
    assert "operator is not an approver" in note_of(admin, HOLD_DAG, run)
    for what in ("restore", "hold"):
        run = approver.trigger(HOLD_DAG, {**form, "what": what})
        assert wait_for_run(admin, HOLD_DAG, run) == "success"
    assert (custody_of(parts, 4), custody_of(parts, 5)) == (EventKind.RESTORED, EventKind.QUARANTINED)
    assert Tag.RETENTION in parts.registry.version(MODEL, 5).tags

    # One goes unasked.
    fail_to_delete(parts, layout, stack.mlflow_url, 5, monkeypatch)
    run = operator.trigger(RETENTION_DAG, {"model": MODEL})
    assert wait_for_run(admin, RETENTION_DAG, run) == "success"
    assert "deleted: v5; the files of 4 versions that stay" in note_of(admin, RETENTION_DAG, run)
    assert objects_of(layout, places[5]) == []
    assert [loads(parts, MODEL, number) for number in (1, 2, 4, 6)] == [True] * 4
    with pytest.raises(OutOfUse, match="v5 was deleted on .* by podium retention"):
        pin(parts, MODEL, "5")
    assert all_differences(parts, [MODEL]) == []


def test_an_upload_that_never_ended_is_known_to_the_store_alone(
    stack: Stack, layout: Layout, parts: Services, tmp_path: Path
) -> None:
    experiment = parts.registry.ensure_experiment("toy-uploads")
    run = parts.registry.create_run(experiment, "never registered", {})
    (tmp_path / "model.skops").write_text("weights")
    place = parts.registry.upload_model(experiment, run, "model", tmp_path)
    folder = f"{experiment}/models/{place}/artifacts"

    def asked(what: str, who: str, password: str, **form: object) -> requests.Response:
        url = f"{stack.mlflow_url}/api/2.0/mlflow-artifacts/mpu/{what}/{folder}"
        form = {"path": "big.bin", **form}
        return requests.post(url, json=form, auth=(who, password), timeout=PATIENCE_SECONDS)

    begun = asked("create", PROMOTER, layout.secrets.mlflow_podium, num_parts=1)
    upload = begun.json()["upload_id"]
    part = requests.put(begun.json()["credentials"][0]["url"], b"x" * 1000, timeout=PATIENCE_SECONDS)
    assert part.status_code == 200
    store = Store(layout.s3_url, layout.secrets.s3_key, layout.secrets.s3_secret, "mlflow").client()

    def open_uploads() -> list[str]:
        found = store.list_multipart_uploads(Bucket="mlflow").get("Uploads", [])
        return [one["Key"] for one in found if place in one["Key"]]

    assert open_uploads() == [f"{folder}/big.bin"]
    disposal = Disposal(stack.mlflow_url, Login(RETENTION, layout.secrets.mlflow_retention))
    assert "big.bin" not in disposal.files(place)
    disposal.delete_files(place)
    assert open_uploads() == [f"{folder}/big.bin"], "deleting the folder ends no upload"
    ended = asked("abort", RETENTION, layout.secrets.mlflow_retention, upload_id=upload)
    assert (ended.status_code, open_uploads()) == (200, [])


def test_a_model_that_no_version_names_goes_from_real_s3_by_the_account_that_may(
    stack: Stack, layout: Layout, parts: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, registry = "toy-orphans", parts.registry
    number = add_version(parts, model)
    experiment = registry.ensure_experiment(model)
    (tmp_path / "model.skops").write_text("weights")
    run = registry.create_run(experiment, "never registered", {Tag.INPUTS_DIGEST: "of nothing else"})
    place = registry.upload_model(experiment, run, "model", tmp_path)
    registry.end_run(run, "FINISHED")
    disposal = Disposal(stack.mlflow_url, Login(RETENTION, layout.secrets.mlflow_retention))
    for days, (waiting, deleted) in {0: ([], []), 31: ([place], []), 62: ([], [place])}.items():
        with monkeypatch.context() as ahead:
            ahead.setattr(custody, "now", later(days))
            swept = sweep(parts, disposal, model, RULES, f"retention/{days}")
        assert [one.place for one in swept.waiting] == waiting
        assert [one.place for one in swept.deleted] == deleted
        assert bool(objects_of(layout, place)) == (deleted == [])
    assert loads(parts, model, number)
    disposal.delete_run(run)
    assert registry.is_deleted(run)
