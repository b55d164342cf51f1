"""Write the files of a new model from templates: model file, trainer, test. They run as they are.

The model is tried once on the rows, so that the gates fit; what looks odd in the columns is said in the log.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from podium.errors import DataError, PodiumError
from podium.model_file.document import NO_TEXT_CHARACTER
from podium.model_file.loading import load_spec
from podium.model_file.metric_names import TaskKind
from podium.sources.chunks import Source
from podium.sources.whole import inferred, read_whole
from podium.training.first_run import measure_first_run
from podium.training.giveaways import Giveaway, giveaways
from podium.training.input_types import for_the_trainer
from podium.training.proposed_gates import Proposal, positive_label, proposed, without_a_first_run

log = logging.getLogger(__name__)

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

    Whether it is a classification or a regression, the labels, the inputs, the length of the holdout and the
    gates are read off the data. The log warns of inputs that give the label away or only number the rows.

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
        raise PodiumError(f"{there[0]} exists already; nothing was written")
    table = _rows(new, home)
    words, templates = _words(new, table), _templates()
    suspicious, proposal = _suspicious(new, table, words), _proposal(templates, words, home)
    words |= {"remarks": _remarks(suspicious), "gates": proposal.gates, "left_out": proposal.left_out}
    texts = {path: templates.get_template(template).render(words) for path, template in files.items()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    _warn(new, suspicious, proposal)
    return list(files)


def _suspicious(new: NewModel, table: pd.DataFrame, words: Mapping[str, Any]) -> list[Giveaway]:
    classes = words["task"] is TaskKind.CLASSIFICATION
    times = _times(new, table[new.time]).dt.tz_localize(None)
    return giveaways(_usable(table[words["inputs"]]), table[new.label], times, classes=classes)


def _usable(inputs: pd.DataFrame) -> pd.DataFrame:
    """Return the columns as a trainer gets them, without those that it cannot get."""
    columns = {}
    for name in inputs:
        try:
            columns[name] = for_the_trainer(inputs[[name]], "")[0][name]
        except DataError:
            log.debug("%s is no column that a trainer gets", name)
    return pd.DataFrame(columns, index=inputs.index)


def _proposal(templates: Environment, words: Mapping[str, Any], home: Path) -> Proposal:
    """Try the model that is to be written, and propose gates that fit."""
    task, metric, baseline = words["task"], str(words["metric"]), str(words["baseline"])
    first = dict(words) | {"gates": without_a_first_run(metric, baseline, "").gates}
    with TemporaryDirectory(prefix="podium-") as folder:
        files = {"model.yaml": Path(folder) / "model.yaml", "trainer.py": Path(folder) / "trainer.py"}
        for name, path in files.items():
            text = templates.get_template(f"{name}.jinja").render(first)
            path.write_text(text, encoding="utf-8")
        spec, as_of = load_spec(files["model.yaml"]), words["newest"].to_pydatetime().astimezone(UTC)
        try:
            run = measure_first_run(spec, files["trainer.py"], as_of, home)
        except PodiumError as error:
            return without_a_first_run(metric, baseline, str(error))
    return proposed(run, task, metric, baseline)


def _remarks(suspicious: list[Giveaway]) -> dict[str, str]:
    """Return what is said beside each input; of several the first, which is about it alone."""
    remarks: dict[str, str] = {}
    for one in suspicious:
        for name in one.columns:
            remarks.setdefault(name, one.what if len(one.columns) == 1 else one.describe())
    return remarks


def _warn(new: NewModel, suspicious: list[Giveaway], proposal: Proposal) -> None:
    for one in suspicious:
        log.warning("%s: %s.", new.name, one.describe())
    if suspicious:
        log.warning(
            "%s: Take out of data.inputs what is known only together with the label, and what only numbers "
            "rows; what is known before may stay.",
            new.name,
        )
    for sentence in proposal.warnings:
        log.warning("%s: %s", new.name, sentence)


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


def _rows(new: NewModel, home: Path) -> pd.DataFrame:
    table = read_whole(Source(str(new.source), home))
    return inferred(table.rows, table.text)


def _words(new: NewModel, rows: pd.DataFrame) -> dict[str, Any]:
    for column in (new.label, new.time):
        if column not in rows:
            there = ", ".join(map(str, rows.columns))
            raise DataError(f"{new.source}: no column '{column}'; there are: {there}")
    if rows.shape[1] <= len({new.label, new.time}):
        raise DataError(f"{new.source}: has no column beside {new.label} and {new.time} to predict from")
    if rows[new.label].nunique() < 2:
        said = rows[new.label].dropna().unique().tolist() or "no value at all"
        raise DataError(f"{new.source}: column {new.label} holds {said}: there is nothing to predict")
    task, times = _task(rows[new.label]), _times(new, rows[new.time])
    newest = times.max().normalize() + pd.Timedelta(days=1)
    labels, positive = _labels(rows[new.label]) if task is TaskKind.CLASSIFICATION else ([], "")
    return {
        **_OF_TASK[task],
        "name": new.name,
        "module": new.module,
        "owner": new.owner,
        "description": f"Predicts {new.label} from {new.source.name}.",
        "task": task,
        "labels": labels,
        "positive": positive,
        "unlabelled": int(rows[new.label].isna().sum()),
        "rows": len(rows),
        "remarks": {},
        "left_out": [],
        "source": new.source.as_posix(),
        "time": new.time,
        "label": new.label,
        "inputs": [str(column) for column in rows if column not in (new.label, new.time)],
        "days": str(max(1, (times.max() - times.min()).days // _HELD_OUT)),
        "newest": newest,
        "as_of": f"{newest.year}, {newest.month}, {newest.day}",
    }


def _task(label: pd.Series) -> TaskKind:
    few = label.nunique() <= _MOST_LABELS
    return TaskKind.CLASSIFICATION if few or not pd.api.types.is_numeric_dtype(label) else TaskKind.REGRESSION


def _labels(label: pd.Series) -> tuple[list[str], str]:
    """Return the labels, and of two which is the positive one; of numbers with gaps the whole ones."""
    known = label.dropna()
    if pd.api.types.is_float_dtype(known) and (known % 1 == 0).all():
        known = known.astype("int64")
    labels, counts = [str(value) for value in sorted(known.unique())], known.astype(str).value_counts()
    if len(labels) != 2:
        return labels, ""
    both, positive = positive_label({name: int(counts[name]) for name in labels})
    return list(both), positive


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
    },
    TaskKind.REGRESSION: {
        "metric": "mean_absolute_error",
        "baseline": "median",
        "dummy": "DummyRegressor",
        "strategy": "median",
        "estimator": "Ridge",
        "fitted": 'Ridge(random_state=int(params["seed"]))',
    },
}
