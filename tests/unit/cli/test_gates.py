"""``podium gates`` and ``podium validate-spec``."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from podium.cli.main import app
from podium.lifecycle import validate
from podium.model_file.baseline_file import baseline_paths
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.services import Services
from podium.settings import PROJECT_ROOT
from support.model_files import line_of
from support.steps import FIRST, kinds, new_run, register

run = CliRunner().invoke
ToyFile = Callable[..., Path]


def text(done: Result) -> str:
    return " ".join(done.stdout.split())


@pytest.fixture
def judged(services: Services, toy_spec: ModelSpec) -> ModelSpec:
    """A model whose first version was validated, and passed."""
    run_of = new_run()
    validate.validate_version(services, toy_spec, register(services, toy_spec, FIRST, run_of), run_of)
    return toy_spec


def test_the_report_is_shown_as_it_was_recorded(judged: ModelSpec) -> None:
    done = run(app, ["gates", judged.name, "1"])
    assert done.exit_code == 0, done.stderr
    assert "log_loss at most 0.69" in text(done)
    assert "✅ passed" in text(done)
    assert f"So: {judged.name} v1: passed 3 gates, 1 had nothing to compare with yet." in text(done)
    report = json.loads(run(app, ["gates", judged.name, "1", "--json"]).stdout)
    assert (report["passed"], len(report["results"])) == (True, 5)


def test_a_changed_gate_is_tried_on_the_kept_answers_and_nothing_is_recorded(
    services: Services, judged: ModelSpec, toy_file: ToyFile
) -> None:
    before = kinds(services, judged)
    stricter = [{"metric": "log_loss", "threshold": 0.1}, {"metric": "f1_macro", "threshold": 0.5}]
    toy_file(name=judged.name, gates=stricter)
    done = run(app, ["gates", judged.name, "1", "--replay"])
    assert done.exit_code == 0, done.stderr
    assert f"At validation: {judged.name} v1: passed 3 gates" in text(done)
    assert "With these gates, on the same answers:" in text(done)
    assert "refused by 1 of 2 gates: log_loss at most 0.1 (is 0.4" in text(done)
    assert kinds(services, judged) == before
    recorded = run(app, ["gates", judged.name, "1"])
    assert "passed 3 gates" in text(recorded)


def test_the_same_gates_replayed_say_the_same(judged: ModelSpec) -> None:
    recorded = json.loads(run(app, ["gates", judged.name, "1", "--json"]).stdout)
    again = json.loads(run(app, ["gates", judged.name, "1", "--replay", "--json"]).stdout)
    assert again == recorded


def test_a_replay_takes_another_file_of_the_same_model_only(
    services: Services, judged: ModelSpec, toy_file: ToyFile, tmp_path: Path
) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    path = toy_file(name=judged.name, gates=[{"min_holdout_rows": 500}])
    path = path.rename(other / "toy.yaml")
    toy_file(name=judged.name)
    done = run(app, ["gates", judged.name, "1", "--replay", "--file", str(path)])
    assert "refused by 1 of 1 gates: at least 500 holdout rows (is 100 rows, limit 500 rows)" in text(done)
    wrong = run(app, ["gates", judged.name, "1", "--replay", "--file", str(toy_file(name="another"))])
    assert wrong.exit_code == 1
    assert "is the model file of another, not of" in " ".join(wrong.stderr.split())
    alone = run(app, ["gates", judged.name, "1", "--file", str(path)])
    assert "--file needs --replay" in alone.stderr


def test_what_cannot_be_shown_or_replayed_is_explained(
    services: Services, judged: ModelSpec, toy_file: ToyFile
) -> None:
    never = run(app, ["gates", judged.name, "7"])
    assert never.exit_code == 1
    assert "the ledger holds no gate report of v7" in never.stderr
    toy_file(name=judged.name, labels=["no", "yes", "maybe"])
    relabelled = run(app, ["gates", judged.name, "1", "--replay"])
    assert relabelled.exit_code == 1
    assert "are not of the labels that the model file lists: no, yes, maybe" in " ".join(
        relabelled.stderr.split()
    )


def test_good_files_are_counted(toy_file: ToyFile, tmp_path: Path) -> None:
    toy_file()
    done = run(app, ["validate-spec", str(tmp_path)])
    assert (done.exit_code, text(done)) == (0, "1 model files checked, 0 problems.")


def test_wrong_files_are_named_with_the_nearest_name(toy_file: ToyFile, tmp_path: Path) -> None:
    toy_file(name="good")
    path = toy_file(name="bad", gates=[{"metric": "logloss", "treshold": 1}])
    twin = toy_file(name="good").rename(tmp_path / "twin.yaml")
    toy_file(name="good")
    done = run(app, ["validate-spec", str(tmp_path)])
    assert done.exit_code == 1
    no_metric = "gates[0].metric: 'logloss': no such metric; did you mean 'log_loss'?"
    assert f"{path}: line {line_of(path, 'metric:')}: {no_metric}" in done.stdout
    unknown = "gates[0].treshold: unknown key; did you mean 'threshold'?"
    assert f"{path}: line {line_of(path, 'treshold:')}: {unknown}" in done.stdout
    good = tmp_path / "good.yaml"
    for one, other in ((twin, good), (good, twin)):
        taken = f"name: 'good': is also the name in {other}; neither is loaded until one is left"
        assert f"{one}: line {line_of(one, 'name:')}: {taken}" in done.stdout
    assert "3 model files checked, 4 problems." in done.stdout
    content = json.loads(run(app, ["validate-spec", str(path), "--json"]).stdout)
    assert content["files"] == [str(path)]
    assert len(content["problems"]) == 2


def test_a_baseline_file_that_is_not_there_is_a_problem(
    services: Services, toy_file: ToyFile, tmp_path: Path
) -> None:
    path = toy_file(gates=[{"metric": "accuracy", "baseline": "qa/base.json", "max_regression_abs": 0.1}])
    assert load_spec(path).gates
    missing = run(app, ["validate-spec", str(path)])
    assert missing.exit_code == 1
    assert f"baseline file {tmp_path}/qa/base.json cannot be read: No such file" in missing.stdout
    (tmp_path / "qa").mkdir()
    (tmp_path / "qa" / "base.json").write_text('{"accuracy": 0.5}')
    assert run(app, ["validate-spec", str(path)]).exit_code == 0
    nothing = run(app, ["validate-spec", str(tmp_path / "qa")])
    assert nothing.exit_code == 1
    assert "no model file in" in nothing.stdout


QUICK = """
import sys
from podium.cli.main import app
app(["validate-spec", sys.argv[1]], standalone_mode=False)
print(*sorted({"mlflow", "numpy", "pandas", "sqlalchemy"} & set(sys.modules)))
"""


def test_a_commit_hook_waits_for_no_heavy_import() -> None:
    models = PROJECT_ROOT / "include" / "models"
    assert any(baseline_paths(load_spec(path)) for path in models.glob("*.yaml"))
    done = subprocess.run(
        [sys.executable, "-c", QUICK, str(models)],
        capture_output=True,
        text=True,
        check=True,
        cwd=PROJECT_ROOT,
    )
    assert done.stdout.splitlines()[1:] == [""]
