"""``podium train MODEL --local FOLDER``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from typer.testing import CliRunner

from podium.cli.main import app
from podium.gates.baseline_file import read_baseline_files
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.registry.example import example_problem
from podium.registry.model_files import load_model
from podium.services import Services
from podium.training.data import load_window
from support.full_disk import no_file_larger_than
from support.mlflow_client import raw
from support.patience import PATIENCE_SECONDS
from support.steps import FIRST, train
from support.toy import write_toy_rows
from support.toy_line import SCRIPT

pytestmark = pytest.mark.trains
ToyFile = Callable[..., Path]
WRITTEN = {"model", "metrics.json", "data_report.json", "data_source.json"}
WRITTEN |= {"confusion_matrix.png", "calibration.png"}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without any part around it."""
    for name in ("MLFLOW_TRACKING_URI", "PODIUM_LEDGER_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PODIUM_HOME", str(tmp_path))
    monkeypatch.setenv("PODIUM_MODELS_DIR", str(tmp_path))
    return tmp_path


def train_into(folder: Path, model: str, *options: str, as_of: str = "2025-06-01") -> Result:
    return CliRunner().invoke(app, ["train", model, "--local", str(folder), "--as-of", as_of, *options])


def told(done: Result) -> str:
    """What was said of an error, without the terminal's line breaks."""
    return " ".join(done.stderr.split())


def read(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content


def test_it_needs_no_mlflow_and_no_ledger_and_leaves_nothing_else(
    project: Path, toy_spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    environment = {"PATH": "", "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(project / "home")}
    environment |= {name: os.environ[name] for name in ("PODIUM_HOME", "PODIUM_MODELS_DIR")}
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from podium.cli.main import app; app()"),
            *("train", toy_spec.name, "--local", "out", "--as-of", "2025-06-01"),
        ],
        cwd=elsewhere,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "on 100 holdout rows" in done.stdout
    assert "class_prior" in done.stdout
    assert f"{toy_spec.name} as of 2025-06-01: 600 rows read, 83 later left out" in done.stderr
    assert {path.name for path in elsewhere.iterdir()} == {"out"}
    assert {path.name for path in (elsewhere / "out").iterdir()} == {*WRITTEN, "loss_per_month.png"}


def test_the_folder_is_what_the_registry_would_have(
    services: Services, project: Path, toy_spec: ModelSpec, tmp_path: Path
) -> None:
    done = train_into(project / "deep" / "out", toy_spec.name, "--json")
    assert done.exit_code == 0, done.stderr
    folder = project / "deep" / "out"
    assert json.loads(done.stdout) == read(folder, "metrics.json")
    run = raw(services.registry).get_run(train(services, toy_spec, FIRST).run_id)
    logged = Path(mlflow.artifacts.download_artifacts(f"models:/{run.outputs.model_outputs[0].model_id}"))
    local, registered = load_model(folder / "model"), load_model(logged)
    assert example_problem(local) == example_problem(registered) == ""
    assert local.metadata.metadata == registered.metadata.metadata
    assert local.metadata.signature == registered.metadata.signature
    ours = {path.name for path in (folder / "model").iterdir()}
    # MLflow adds it to what is in a registry.
    assert ours == {path.name for path in logged.iterdir()} - {"registered_model_meta"}
    assert not [name for name in ours if name.endswith((".pkl", ".pickle"))]
    holdout = load_window(toy_spec, FIRST, project).holdout
    np.testing.assert_array_equal(local.predict(holdout.inputs), registered.predict(holdout.inputs))

    metrics = read(folder, "metrics.json")
    assert metrics["log_loss"] == pytest.approx(run.data.metrics["holdout.log_loss"])
    prior = run.data.metrics["holdout.class_prior.log_loss"]
    assert metrics["baselines"]["class_prior"]["log_loss"] == pytest.approx(prior)
    assert (metrics["labels"], metrics["holdout_rows"]) == (["no", "yes"], 100)
    kept = mlflow.artifacts.load_dict(f"runs:/{run.info.run_id}/data_report.json")
    assert read(folder, "data_report.json") == kept


def test_its_metrics_are_those_of_the_gates_too_and_can_be_a_baseline_file(
    project: Path, toy_spec: ModelSpec, toy_file: ToyFile
) -> None:
    gates = [
        {"metric": "f1_macro", "baseline": "out/metrics.json", "max_regression_abs": 0.01},
        {"label_coverage": "out/metrics.json"},
    ]
    spec = load_spec(toy_file(name=toy_spec.name, gates=gates))
    assert train_into(project / "out", spec.name).exit_code == 0
    (baseline,) = read_baseline_files(spec, project).values()
    assert baseline.metrics["f1_macro"] == read(project / "out", "metrics.json")["f1_macro"] > 0.5
    assert set(baseline.labels) == {"no", "yes"}


def test_a_model_from_code_is_saved_too(project: Path, toy_spec: ModelSpec, toy_file: ToyFile) -> None:
    rows = pd.read_csv(project / "toy.csv")
    rows.assign(y=2.5 * rows["x"]).to_csv(project / "toy.csv", index=False)
    gates = [{"metric": "root_mean_squared_error", "threshold": 0.2}]
    changes = {"trainer": "support.toy_line:train", "task": "regression", "labels": [], "params": {}}
    toy_file(name=toy_spec.name, code=[str(SCRIPT)], gates=gates, **changes)
    done = train_into(project / "out", toy_spec.name)
    assert done.exit_code == 0, done.stderr
    model = mlflow.pyfunc.load_model(str(project / "out" / "model"))
    assert model.predict(pd.DataFrame({"x": [2.0]})).tolist() == pytest.approx([5.0])


def test_without_as_of_it_trains_as_of_now(project: Path, toy_spec: ModelSpec) -> None:
    first_day = datetime.now(UTC).date() - timedelta(days=598)
    write_toy_rows(project / "toy.csv", first_day=first_day.isoformat())
    done = CliRunner().invoke(app, ["train", toy_spec.name, "--local", str(project / "out")])
    assert done.exit_code == 0, done.stderr
    assert read(project / "out", "data_report.json")["later"] == 2


def test_an_empty_folder_is_filled_and_a_full_one_left_as_it_is(project: Path, toy_spec: ModelSpec) -> None:
    (project / "out").mkdir()
    assert train_into(project / "out", toy_spec.name).exit_code == 0
    before = read(project / "out", "metrics.json")
    done = train_into(project / "out", toy_spec.name, as_of="2025-01-01")
    assert done.exit_code == 1
    assert "out exists and is not an empty folder; name another folder" in told(done)
    assert read(project / "out", "metrics.json") == before


@pytest.mark.parametrize(
    ("changes", "as_of", "message"),
    [
        ({}, "soon", "--as-of: 'soon' is not a date; write 2025-03-01"),
        ({}, "9999-12-31", "--as-of: 9999-12-31T00:00:00 is not between the years 1900 and 2200"),
        ({}, "2024-01-02", "no training rows as of 2024-01-02"),
        ({"trainer": "support.toy_trainer:crash"}, "2025-06-01", "crash: KeyError: 'no such param'"),
        ({"data__source": "none.csv"}, "2025-06-01", "data.source: there is no file"),
        (
            {"trainer": "support.toy_trainer:hold_a_function"},
            "2025-06-01",
            "refers to support.toy_trainer.double",
        ),
        ({"requirements": ["no-such-package"]}, "2025-06-01", "no-such-package is not installed here"),
    ],
)
def test_what_goes_wrong_is_explained_and_leaves_no_folder(
    project: Path,
    toy_spec: ModelSpec,
    toy_file: ToyFile,
    changes: dict[str, Any],
    as_of: str,
    message: str,
) -> None:
    toy_file(name=toy_spec.name, **changes)
    before = set(project.iterdir())
    done = train_into(project / "out", toy_spec.name, as_of=as_of)
    assert done.exit_code == 1
    assert message in told(done)
    assert set(project.iterdir()) == before


def test_a_wrong_model_or_place_is_explained(project: Path, toy_spec: ModelSpec) -> None:
    done = train_into(project / "out", "tyo")
    assert "no model 'tyo' in " in told(done)
    assert f"available: {toy_spec.name}" in told(done)
    done = train_into(project / "toy.csv" / "out", toy_spec.name)
    assert done.exit_code == 1
    assert "toy.csv: File exists" in told(done)
    assert CliRunner().invoke(app, ["train", toy_spec.name]).exit_code == 2


def test_a_full_disk_is_said_to_be_full_and_leaves_nothing(project: Path, toy_file: ToyFile) -> None:
    write_toy_rows(project / "toy.csv", first_day="2024-01-01")
    toy_file()
    with no_file_larger_than(1000):
        done = train_into(project / "out", "toy")
    assert done.exit_code == 1
    assert f"training toy: the disk is full at {project}: File too large" in told(done)
    assert "make status" not in told(done)
    assert {path.name for path in project.iterdir()} == {"toy.csv", "toy.yaml"}
