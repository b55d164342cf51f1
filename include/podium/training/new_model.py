"""Write the files of a new model from templates: model file, trainer, test. They run as they are."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from podium.errors import DataError, PodiumError
from podium.model_file.document import NO_TEXT_CHARACTER
from podium.model_file.metric_names import TaskKind

_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")
_MOST_LABELS = 20
# A fifth of the days that there are is held out.
_HELD_OUT = 5


@dataclass(frozen=True)
class NewModel:
    """What is to be written.

    Attributes:
        name: Lower-case words joined by ``-``.
        owner: Who answers for it.
        source: A csv or parquet file, relative to the project's top folder.
        label: Its column to predict.
        time: Its column that says when a row became known.
    """

    name: str
    owner: str
    source: Path
    label: str
    time: str

    @property
    def module(self) -> str:
        """The name of its files."""
        return self.name.replace("-", "_")


def write_model(new: NewModel, home: Path) -> list[Path]:
    """Write ``include/models/NAME.yaml``, ``include/trainers/NAME.py`` and ``tests/models/test_NAME.py``.

    Whether it is a classification or a regression, the labels, the inputs and the length of the holdout are
    read off the data.

    Args:
        new: What to write.
        home: The project's top folder.

    Returns:
        The files, in the order in which to read them.

    Raises:
        PodiumError: The name is not allowed, or a file is there already; nothing is written.
        DataError: The source cannot be read, or a column is not there.
    """
    if not _NAME.match(new.name):
        raise PodiumError(f"'{new.name}': must be lower-case words joined by '-', such as house-prices")
    files = {
        home / "include" / "models" / f"{new.module}.yaml": "model.yaml.jinja",
        home / "include" / "trainers" / f"{new.module}.py": "trainer.py.jinja",
        home / "tests" / "models" / f"test_{new.module}.py": "test.py.jinja",
    }
    if there := [path for path in files if path.exists()]:
        raise PodiumError(f"{there[0]} is there already; nothing was written")
    words, templates = _words(new, _read(home / new.source)), _templates()
    texts = {path: templates.get_template(template).render(words) for path, template in files.items()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(files)


def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 YAML and Python, each with its own filter
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters |= {"yaml": _in_yaml, "docstring": _in_docstring}
    return templates


def _in_yaml(text: str) -> str:
    """Write a text so that YAML reads it as one, on one line."""
    if wrong := NO_TEXT_CHARACTER.search(text):
        raise DataError(f"{text!r} has the character {wrong[0]!r}, which no model file holds; rename it")
    return str(yaml.safe_dump(text, default_style='"', allow_unicode=True, width=math.inf)).rstrip("\n")


def _in_docstring(text: str) -> str:
    """Write a text so that it ends no docstring and is no escape in it."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _words(new: NewModel, rows: pd.DataFrame) -> dict[str, Any]:
    for column in (new.label, new.time):
        if column not in rows:
            there = ", ".join(map(str, rows.columns))
            raise DataError(f"{new.source}: no column '{column}'; there are: {there}")
    task, times = _task(rows[new.label]), _times(new, rows[new.time])
    newest = times.max() + pd.Timedelta(days=1)
    return {
        **_OF_TASK[task],
        "name": new.name,
        "module": new.module,
        "owner": new.owner,
        "description": f"Predicts {new.label} from {new.source.name}.",
        "task": task,
        "labels": _labels(rows[new.label]) if task is TaskKind.CLASSIFICATION else [],
        "source": new.source.as_posix(),
        "time": new.time,
        "label": new.label,
        "inputs": [str(column) for column in rows if column not in (new.label, new.time)],
        "days": str(max(1, (times.max() - times.min()).days // _HELD_OUT)),
        "as_of": f"{newest.year}, {newest.month}, {newest.day}",
    }


def _task(label: pd.Series) -> TaskKind:
    few = label.nunique() <= _MOST_LABELS
    return TaskKind.CLASSIFICATION if few or not pd.api.types.is_numeric_dtype(label) else TaskKind.REGRESSION


def _labels(label: pd.Series) -> list[str]:
    return [str(value) for value in sorted(label.dropna().unique())]


def _times(new: NewModel, column: pd.Series) -> pd.Series:
    times = pd.to_datetime(column.astype(str), utc=True, format="ISO8601", errors="coerce")
    if times.isna().any():
        value = column[times.isna()].iloc[0]
        raise DataError(f"{new.source}: column {new.time}: {value!r} is no ISO 8601 date")
    return times


_OF_TASK = {
    TaskKind.CLASSIFICATION: {
        "metric": "log_loss",
        "baseline": "class_prior",
        "dummy": "DummyClassifier",
        "strategy": "prior",
        "estimator": "LogisticRegression",
        "fitted": 'LogisticRegression(max_iter=1000, random_state=int(params["seed"]))',
        "improvement": "0.01",
        "no_worse": "not_worse: { confidence: 0.95, margin: 0.02 }",
    },
    TaskKind.REGRESSION: {
        "metric": "mean_absolute_error",
        "baseline": "median",
        "dummy": "DummyRegressor",
        "strategy": "median",
        "estimator": "Ridge",
        "fitted": 'Ridge(random_state=int(params["seed"]))',
        "improvement": "0",
        "no_worse": "max_regression_rel: 0.02",
    },
}
