"""A new model from its table, by the command and by the document."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from podium.errors import DataError, PodiumError
from podium.model_file.loading import load_spec
from podium.model_file.metric_names import TaskKind
from podium.settings import PROJECT_ROOT
from podium.training import new_model
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


# No text of a model file has another control character.
CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from("\t\n")
TEXTS = st.text(CHARACTERS, min_size=1) | st.sampled_from(
    ["it's: [no]", '"""', "\\", "a\nb", "{{ name }}", "{% x", "#", "null", "- ", "é\U0001f600"]
)


@settings(max_examples=50, deadline=None)
@given(columns=st.lists(TEXTS, min_size=3, max_size=6, unique=True), owner=TEXTS, named=TEXTS)
def test_whatever_the_columns_are_called_the_files_mean_them(
    tmp_path_factory: pytest.TempPathFactory, columns: list[str], owner: str, named: str
) -> None:
    home = tmp_path_factory.mktemp("home")
    (label, time, *inputs), other = columns, f"not {named}"
    table = {label: [named, other], time: ["2025-01-01", "2025-01-02"], **{name: [1, 2] for name in inputs}}
    pd.DataFrame(table).to_parquet(home / "rows.parquet")
    path, trainer, test = write_model(NewModel("odd", owner, Path("rows.parquet"), label, time), home)
    spec = load_spec(path)
    assert (spec.owner, spec.data.label, spec.data.time_column) == (owner, label, time)
    assert (spec.data.inputs, spec.labels) == (tuple(inputs), tuple(sorted([named, other])))
    assert spec.description == f"Predicts {label} from rows.parquet."
    said = ast.get_docstring(ast.parse(trainer.read_text()), clean=False)
    assert said == f"The model ``odd``: {spec.description}"
    ast.parse(test.read_text())


def test_a_text_that_no_model_file_holds_is_told_and_nothing_is_written(home: Path) -> None:
    with pytest.raises(DataError, match=r"'me\\x00' has the character '\\x00', which no model file holds"):
        write_model(NewModel("odd", "me\0", Path("rows.csv"), "won", "day"), home)
    assert not list(home.rglob("odd.*"))


def test_a_template_that_names_what_is_not_there_writes_nothing(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(new_model._TEMPLATES, tmp_path / "templates")
    (tmp_path / "templates" / "test.py.jinja").write_text("{{ metrics }}")
    monkeypatch.setattr(new_model, "_TEMPLATES", tmp_path / "templates")
    with pytest.raises(UndefinedError, match="'metrics' is undefined"):
        write_model(new(), home)
    assert not list(home.rglob("*home_wins*"))


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
