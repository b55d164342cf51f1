"""A new model from its table, by the command and by the document."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from podium.errors import DataError, PodiumError
from podium.model_file.loading import load_spec
from podium.model_file.metric_names import TaskKind
from podium.settings import PROJECT_ROOT
from podium.training.new_model import NewModel, write_model

DOCUMENT = PROJECT_ROOT / "docs" / "add-a-model.md"
ROWS = pd.DataFrame(
    {
        "day": pd.date_range("2025-01-01", periods=100).strftime("%Y-%m-%d"),
        "it's odd: [yes]": range(100),
        "won": [0, 1] * 50,
        "price": [float(number) * 1.5 for number in range(100)],
    }
)


def new(label: str = "won", name: str = "home-wins", time: str = "day") -> NewModel:
    return NewModel(name, "football", Path("rows.csv"), label, time)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    ROWS.to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path


def test_the_task_the_labels_and_the_inputs_are_read_off_the_data(home: Path) -> None:
    path, *_ = write_model(new(), home)
    first, _ = path.read_text().split("\n", 1)
    assert first == "# yaml-language-server: $schema=../../docs/model-file.schema.json"
    spec = load_spec(path)
    assert (spec.task, spec.labels, spec.holdout.days) == (TaskKind.CLASSIFICATION, ("0", "1"), 19)
    assert spec.data.inputs == ("it's odd: [yes]", "price")
    path, trainer, test = write_model(new("price", "prices"), home)
    assert (load_spec(path).task, load_spec(path).labels) == (TaskKind.REGRESSION, ())
    assert "Ridge" in trainer.read_text()
    assert "datetime(2025, 4, 11, tzinfo=UTC)" in test.read_text()


def test_nothing_is_written_over_and_what_is_wrong_is_named(home: Path) -> None:
    written = write_model(new(), home)
    written[0].write_text("mine")
    with pytest.raises(PodiumError, match=r"home_wins\.yaml is there already; nothing was written"):
        write_model(new(), home)
    assert written[0].read_text() == "mine"
    with pytest.raises(PodiumError, match="'Home Wins': must be lower-case words joined by '-'"):
        write_model(new(name="Home Wins"), home)
    with pytest.raises(DataError, match="no column 'lost'; there are: day, it's odd"):
        write_model(new("lost", "other"), home)
    with pytest.raises(DataError, match="column won: '?1'? is no ISO 8601 date|column won"):
        write_model(new("price", "other", time="won"), home)
    with pytest.raises(DataError, match=r"nowhere\.csv cannot be read"):
        write_model(NewModel("other", "me", Path("nowhere.csv"), "x", "y"), home)
    assert not list(home.rglob("other.*"))


def test_the_document_is_followed_literally(tmp_path: Path) -> None:
    for folder in ("include", "qa"):
        shutil.copytree(PROJECT_ROOT / folder, tmp_path / folder)
    shutil.copy(PROJECT_ROOT / "pyproject.toml", tmp_path)
    (tmp_path / ".venv").symlink_to(Path(sys.executable).parent.parent)
    paths = [str(tmp_path / "include"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "160"}
    for name in ("PODIUM_HOME", "PODIUM_MODELS_DIR"):
        environment.pop(name, None)
    told = ""
    for block in re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL):
        done = subprocess.run(
            ["sh", "-e", "-c", block],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
        told += done.stdout
    assert "wrote include/models/house_prices.yaml" in told
    assert re.search(r"\d model files checked, 0 problems", told)
    assert "mean_absolute_error" in told
    assert "1 passed" in told
    assert (tmp_path / "models" / "house-prices" / "model" / "MLmodel").is_file()
