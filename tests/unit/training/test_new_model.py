"""A new model from its table, by the command and by the document."""

from __future__ import annotations

import ast
import re
import runpy
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from podium.errors import DataError, PodiumError
from podium.gates.report import GateReport
from podium.lifecycle import register, validate
from podium.model_file.gates import Gate, kind_of
from podium.model_file.loading import load_spec
from podium.model_file.metric_names import TaskKind
from podium.services import Services
from podium.settings import PROJECT_ROOT
from podium.training import new_model
from podium.training.new_model import NewModel, write_model
from support.steps import new_run
from support.steps import train as train_model

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
    return NewModel(name, "football", "rows.csv", label, time)


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


def test_labels_of_numbers_with_gaps_are_whole_ones(home: Path) -> None:
    ROWS.assign(won=[0.0, None] + [0.0, 1.0] * 49).to_parquet(home / "rows.parquet")
    path, *_ = write_model(NewModel("gaps", "me", "rows.parquet", "won", "day"), home)
    assert load_spec(path).labels == ("0", "1")


# No text of a model file has another control character.
CHARACTERS = st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.sampled_from("\t\n")
TEXTS = st.text(CHARACTERS, min_size=1) | st.sampled_from(
    ["it's: [no]", '"""', "\\", "a\nb", "{{ name }}", "{% x", "#", "null", "- ", "é\U0001f600"]
)


@given(columns=st.lists(TEXTS, min_size=3, max_size=6, unique=True), owner=TEXTS, named=TEXTS)
def test_whatever_the_columns_are_called_the_files_mean_them(
    tmp_path_factory: pytest.TempPathFactory, columns: list[str], owner: str, named: str
) -> None:
    home = tmp_path_factory.mktemp("home")
    (label, time, *inputs), other = columns, f"not {named}"
    table = {label: [named, other], time: ["2025-01-01", "2025-01-02"], **{name: [1, 2] for name in inputs}}
    pd.DataFrame(table).to_parquet(home / "rows.parquet")
    path, trainer, test = write_model(NewModel("odd", owner, "rows.parquet", label, time), home)
    spec = load_spec(path)
    assert (spec.owner, spec.data.label, spec.data.time_column) == (owner, label, time)
    assert (spec.data.inputs, spec.labels) == (tuple(inputs), tuple(sorted([named, other])))
    assert spec.description == f"Predicts {label} from rows.parquet."
    said = ast.get_docstring(ast.parse(trainer.read_text()), clean=False)
    assert said == f"The model ``odd``: {spec.description}"
    ast.parse(test.read_text())


def test_a_text_that_no_model_file_holds_is_told_and_nothing_is_written(home: Path) -> None:
    with pytest.raises(DataError, match=r"'me\\x00' has the character '\\x00', which no model file holds"):
        write_model(NewModel("odd", "me\0", "rows.csv", "won", "day"), home)
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
    with pytest.raises(PodiumError, match=r"home_wins\.yaml exists already; nothing was written"):
        write_model(new(), home)
    assert written[0].read_text() == "mine"
    with pytest.raises(PodiumError, match="'Home Wins': must be lower-case words joined by '-'"):
        write_model(new(name="Home Wins"), home)
    with pytest.raises(DataError, match="no column 'lost'; available: day, it's odd"):
        write_model(new("lost", "other"), home)
    with pytest.raises(DataError, match="column won: '?1'? is not an ISO 8601 date|column won"):
        write_model(new("price", "other", time="won"), home)
    with pytest.raises(DataError, match=r"there is no file or folder .*nowhere\.csv"):
        write_model(NewModel("other", "me", "nowhere.csv", "x", "y"), home)
    assert not list(home.rglob("other.*"))


def test_nothing_to_predict_or_to_predict_from_is_told(home: Path) -> None:
    for table, said in (
        (
            {"day": ["2025-01-01"] * 3, "won": [1] * 3, "x": [1, 2, 3]},
            r"column won holds \[1\]: there is nothing",
        ),
        ({"day": ["2025-01-01"] * 3, "won": [None] * 3, "x": [1, 2, 3]}, "column won holds no value at all"),
        ({"day": ["2025-01-01"] * 3, "won": [1, 0, 1]}, "no column beside won and day to predict from"),
    ):
        pd.DataFrame(table).to_csv(home / "rows.csv", index=False)
        with pytest.raises(DataError, match=said):
            write_model(new(), home)
    assert not list(home.rglob("home_wins*"))


def table(seed: int = 0, rows: int = 600) -> pd.DataFrame:
    """Customers, of whom a quarter leaves; how old they are says something about it."""
    draws = np.random.default_rng(seed)
    age, visits = draws.uniform(18, 80, rows), draws.integers(0, 30, rows)
    leaves = draws.random(rows) < 1 / (1 + np.exp(0.08 * (age - 30)))
    days = pd.date_range("2025-01-01", periods=rows // 4).repeat(4).strftime("%Y-%m-%d")
    columns = {"day": days, "age": age, "visits": visits, "plan": draws.choice(["s", "m"], rows)}
    return pd.DataFrame({**columns, "state": np.where(leaves, "churned", "stayed")})


# The first day of the newest fifth.
SPLIT = "2025-05-02"


def proposed(home: Path, rows: pd.DataFrame, label: str = "state") -> tuple[str, dict[str, Gate]]:
    """The model file that is written, and its gates by kind; of metrics by what they are against."""
    rows.to_csv(home / "rows.csv", index=False)
    shutil.rmtree(home / "include", ignore_errors=True)
    shutil.rmtree(home / "tests", ignore_errors=True)
    path, *_ = write_model(NewModel("made", "me", "rows.csv", label, "day"), home)
    gates = load_spec(path).gates
    return path.read_text(), {getattr(gate, "against", None) or str(kind_of(gate)): gate for gate in gates}


def test_gates_are_made_of_what_was_measured(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = table()
    text, gates = proposed(home, rows)
    held_out = rows[rows["day"] >= SPLIT]
    assert gates["min_holdout_rows"].min_holdout_rows == len(held_out) // 2
    rarest = int((held_out["state"] == "churned").sum())
    assert gates["label_coverage"].min_rows == rarest // 2
    assert f'{rarest} rows of "churned", the rarest' in text
    assert gates["max_train_overlap"].max_train_overlap == 0.01
    numbers = re.search(r"better than guessing: log_loss ([\d.]+), class_prior ([\d.]+)", text)
    assert numbers is not None
    better = float(numbers[2]) - float(numbers[1])
    assert better > 0.02
    assert 0 < gates["class_prior"].min_improvement <= better / 2
    assert 0 < gates["champion"].not_worse.margin < better
    assert caplog.messages == []
    # Of two labels the rarer is the positive one, which stands last.
    assert 'labels: ["stayed", "churned"] # the second is the positive one: the rarer one' in text


def test_more_overlap_moves_the_gate_until_it_says_nothing(home: Path) -> None:
    rows = table().assign(age=lambda rows: rows["age"].round(1), visits=0)
    text, gates = proposed(home, rows)
    older, newer = (
        rows[mask].set_index(["age", "plan"]) for mask in (rows["day"] < SPLIT, rows["day"] >= SPLIT)
    )
    share = newer.index.isin(older.index).mean()
    assert 0.2 < share < gates["max_train_overlap"].max_train_overlap < share + 0.2
    assert f"{share:.1%} of the rows held out have the inputs of a training row" in text
    text, gates = proposed(home, rows.assign(age=lambda rows: rows["age"] // 10))
    assert "max_train_overlap" not in gates
    assert "left out: max_train_overlap: 99.1% of the rows held out have the inputs of a training row" in text


def test_unlabelled_rows_are_counted_and_left_out(home: Path) -> None:
    text, _ = proposed(home, table().assign(state=lambda rows: rows["state"].where(rows.index % 50 != 3)))
    assert "unlabelled: drop # 12 of 600 rows have no label" in text
    assert "unlabelled" not in proposed(home, table())[0]


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        ({"churned": "no", "stayed": "yes"}, ["no", "yes"]),
        ({"churned": "TRUE", "stayed": "FALSE"}, ["False", "True"]),
        ({"churned": "0", "stayed": "1"}, ["0", "1"]),
        ({"churned": "1", "stayed": "2"}, ["2", "1"]),
        ({"churned": "bad", "stayed": "good"}, ["good", "bad"]),
    ],
)
def test_the_positive_label_is_the_last(home: Path, names: dict[str, str], labels: list[str]) -> None:
    text, _ = proposed(home, table().assign(state=lambda rows: rows["state"].map(names)))
    first, second = labels
    assert f'labels: ["{first}", "{second}"] # the second is the positive one' in text


def test_shares_that_move_few_rows_and_noise_are_told(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = table()
    later = rows["day"] >= SPLIT
    proposed(home, rows.assign(state=rows["state"].where(~later | (rows.index % 2 == 0), "churned")))
    assert re.search(r'"churned" is 2\d% of the training rows and \d\d% of those held out', caplog.text)
    caplog.clear()
    text, gates = proposed(home, rows.assign(state=rows["state"].sample(frac=1, random_state=1).to_numpy()))
    assert "The first model is not clearly better than guessing: log_loss 0." in caplog.text
    assert gates["class_prior"].min_improvement == 0
    caplog.clear()
    proposed(home, rows[:40])
    assert "Only 4 rows are held out" in caplog.text
    caplog.clear()
    text, gates = proposed(home, rows.assign(state=np.where(later, "late", rows["state"])))
    assert 'No training row has the label "late"' in caplog.text
    assert "label_coverage" not in gates
    assert 'left out: label_coverage: no row of "churned", "late", "stayed" on one of the sides' in text


def test_what_gives_the_label_away_is_told_and_stands_beside_the_input(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = table().assign(left=lambda rows: (rows["state"] == "churned") * 1, nr=lambda rows: rows.index)
    text, _ = proposed(home, rows)
    assert (
        '- "left" # tells the label alone: each of its 2 values goes with one label (600 of 600 rows)' in text
    )
    assert (
        '- "nr" # is a row number: its whole numbers are all different and count in the order of the file'
        in text
    )
    assert '- "age"\n' in text
    assert 'made: The input "left" tells the label alone: each of its 2 values' in caplog.text
    assert "Take out of data.inputs what is known only together with the label" in caplog.text
    parts = table().assign(net=lambda rows: rows["age"] * 3 + 7, tax=lambda rows: rows["visits"])
    text, _ = proposed(
        home, parts.assign(gross=parts["net"] + parts["tax"]).drop(columns=["age", "visits"]), "gross"
    )
    assert '- "net" # The inputs "net" and "tax" give the label together: 1 * "net" + 1 * "tax"' in text


def test_a_model_that_cannot_be_tried_is_written_and_said(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text, gates = proposed(home, table().assign(day="2025-01-01"))
    assert set(gates) == {"signature", "class_prior"} or set(gates) == {"champion", "class_prior"}
    assert (
        "The first model could not be tried on these rows: made: no training rows as of 2025-01-02"
        in caplog.text
    )
    assert "left out: all others" in text


def judged(services: Services, path: Path, as_of: datetime) -> GateReport:
    spec, run = load_spec(path), new_run()
    trained = train_model(services, spec, as_of)
    number = register.register_version(services, spec, trained.run_id, run)
    return validate.validate_version(services, spec, number, run)


@pytest.mark.trains
@pytest.mark.parametrize("seed", [0, 1])
def test_the_houses_of_the_guide_pass_their_gates_under_other_names(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    (made,) = re.findall(r"<<'END'\n(.*?)END\n", DOCUMENT.read_text(), re.DOTALL)
    (tmp_path / "include" / "data").mkdir(parents=True)
    (tmp_path / "make.py").write_text(made.replace("default_rng(0)", f"default_rng({seed})"))
    runpy.run_path("make.py")
    names = {"sold_on": "let on", "size": "m2", "place": "Viertel", "price": "rent/month"}
    houses = pd.read_csv("include/data/houses.csv").rename(columns=names)
    houses.to_parquet("include/data/flats.parquet")
    monkeypatch.syspath_prepend(str(tmp_path / "include"))
    name = f"flats-{seed}"
    path, *_ = write_model(
        NewModel(name, "me", "include/data/flats.parquet", "rent/month", "let on"), tmp_path
    )
    text = path.read_text()
    assert (
        len(re.findall(r"^  - ", text[text.index("\ngates:") : text.index("\napproval:")], re.MULTILINE)) == 5
    )
    report = judged(services, path, datetime.now(UTC))
    assert report.passed, report.sentence()
