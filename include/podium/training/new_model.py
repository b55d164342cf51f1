"""Write the files of a new model from templates: model file, trainer, test. They run as they are.

The model is tried once on the rows, so that the gates fit; what looks odd in the columns is said in the log.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
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
from podium.model_file.source import SQL, check_source, without_passwords
from podium.sources.chunks import Source
from podium.sources.sample import Sample, read_sample
from podium.text import one_line
from podium.training.data import parse_times
from podium.training.first_run import measure_first_run
from podium.training.giveaways import Giveaway, giveaways
from podium.training.input_types import for_the_trainer
from podium.training.look import (
    NONE,
    Choice,
    likely_label,
    likely_task,
    likely_time,
    look,
    unusable,
)
from podium.training.proposed_gates import Proposal, positive_label, proposed, without_a_first_run

log = logging.getLogger(__name__)

_TEMPLATES = Path(__file__).parent / "templates"
_NAME = re.compile(r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")
_MOST_LABELS = 20
_MOST_ROWS = 200_000
ISO = "ISO8601"
# A fifth of the days that there are is held out.
_HELD_OUT = 5


@dataclass(frozen=True)
class NewModel:
    """What is to be written.

    Attributes:
        name: Lower-case words joined by ``-``.
        owner: Who answers for it.
        source: What ``data.source`` of a model file takes.
        label: Its column to predict.
        time: Its column that says when a row became known; None where there is none.
        database: With a query the environment variable with the database's URL.
        time_format: How the times are written; "" for ISO 8601.
        task: Classification or regression; None for what the label's values look like.
        whys: Why ``label``, ``time`` and ``task`` are so, by these names: comments in the model file.
    """

    name: str
    owner: str
    source: str
    label: str
    time: str | None
    database: str | None = None
    time_format: str = ""
    task: TaskKind | None = None
    whys: Mapping[str, str] = field(default_factory=dict)

    @property
    def module(self) -> str:
        """The name of its files."""
        return self.name.replace("-", "_")


def look_at(source: str, database: str | None, home: Path) -> Sample:
    """Return the rows of a source, of a large one some, with the types that their values show.

    Raises:
        DataError: It cannot be read.
        Outage: The store or the database did not answer.
    """
    try:
        check_source(source, home)
    except ValueError as error:
        raise DataError(f"{without_passwords(source)}: {error}") from error
    # Of a query all that is known now.
    known = Source(source, home, database, as_of=datetime.now(UTC).replace(tzinfo=None))
    return read_sample(known, _MOST_ROWS)


def asked(new: NewModel, table: pd.DataFrame, ask: Callable[[str, Choice], str]) -> NewModel:
    """Fill in what is not said yet: the time column, the label and the task.

    Args:
        new: What is said; "" as time or label, and None as task, is not. ``-`` is no time column.
        table: The rows.
        ask: Gets what is asked for and the proposal; returns the answer.

    Raises:
        DataError: There is no such column, or nothing to predict.
        PodiumError: An answer is none of those that are possible.
    """
    columns, whys = look(table), {}
    by_name = {column.name: column for column in columns}

    def answer(what: str, said: str | None, choice: Choice) -> str:
        if said:
            return said
        chosen = ask(what, choice)
        if chosen not in choice.others:
            raise PodiumError(f"{what}: no '{chosen}'; possible: {', '.join(choice.others)}")
        whys[what] = (
            choice.why if choice.sure else f"chosen by the author of this file; proposed: {choice.what}"
        )
        return chosen

    time = answer("time", new.time, likely_time(columns))
    formats = by_name[time].formats if time in by_name else ()
    # Where day or month may come first, somebody has to say which.
    how = Choice(formats[0], False, "how its times may be written", formats) if len(formats) > 1 else None
    time_format = answer("time-format", new.time_format, how) if how else (*formats, ISO)[0]
    label = answer("label", new.label, likely_label(columns, time))
    task = TaskKind(answer("task", new.task, likely_task(by_name[label]))) if label in by_name else new.task
    return replace(
        new,
        time=None if time == NONE else time,
        time_format=time_format,
        label=label,
        task=task,
        whys=whys,
    )


def write_model(new: NewModel, home: Path, sample: Sample | None = None) -> list[Path]:
    """Write ``include/models/NAME.yaml``, ``include/trainers/NAME.py`` and ``tests/models/test_NAME.py``.

    Whether it is a classification or a regression, the labels, the inputs, the length of the holdout and the
    gates are read off the data. The log warns of inputs that give the label away or only number the rows.

    Args:
        new: What to write.
        home: The project's top folder.
        sample: Its rows, if they are read already.

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
    sample = look_at(new.source, new.database, home) if sample is None else sample
    words, templates = _words(new, sample), _templates()
    suspicious, proposal = _suspicious(new, sample.rows, words), _proposal(templates, words, sample.rows)
    words |= {"remarks": _remarks(suspicious), "gates": proposal.gates, "left_out": proposal.left_out}
    texts = {path: templates.get_template(template).render(words) for path, template in files.items()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    _warn(new, suspicious, proposal)
    return list(files)


def _suspicious(new: NewModel, table: pd.DataFrame, words: Mapping[str, Any]) -> list[Giveaway]:
    classes = words["task"] is TaskKind.CLASSIFICATION
    times = _times(new, table)
    return giveaways(_usable(table[words["inputs"]]), table[new.label], times, classes=classes)


def _usable(inputs: pd.DataFrame) -> pd.DataFrame:
    """Return the columns as a trainer gets them, without those that it cannot get."""
    columns = {}
    for name in inputs:
        try:
            columns[name] = for_the_trainer(inputs[[name]], "")[0][name]
        except DataError:
            log.debug("%s is not a column that a trainer gets", name)
    return pd.DataFrame(columns, index=inputs.index)


def _proposal(templates: Environment, words: Mapping[str, Any], rows: pd.DataFrame) -> Proposal:
    """Try the model that is to be written on these rows, and propose gates that fit."""
    task, metric, baseline = words["task"], str(words["metric"]), str(words["baseline"])
    gates = without_a_first_run(metric, baseline, "").gates
    first = {**words, "gates": gates}
    used = [*words["inputs"], *filter(None, (words["label"], words["time"]))]
    with TemporaryDirectory(prefix="podium-") as folder:
        home = Path(folder)
        files = {"model.yaml": home / "model.yaml", "trainer.py": home / "trainer.py"}
        for name, path in files.items():
            text = templates.get_template(f"{name}.jinja").render(first)
            path.write_text(text, encoding="utf-8")
        rows[used].to_parquet(home / "rows.parquet", index=False)
        spec, as_of = load_spec(files["model.yaml"]), words["newest"].to_pydatetime().astimezone(UTC)
        data = spec.data.model_copy(update={"source": "rows.parquet", "database": None})
        spec = spec.model_copy(update={"data": data})
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


def _words(new: NewModel, sample: Sample) -> dict[str, Any]:
    rows = sample.rows
    named = [column for column in (new.label, new.time) if column is not None]
    for column in named:
        if column not in rows:
            there = ", ".join(map(str, rows.columns))
            raise DataError(f"{new.source}: no column '{column}'; available: {there}")
    columns = [column for column in look(rows) if column.name not in named]
    unfit = unusable(rows, columns)
    inputs = [column.name for column in columns if column.name not in unfit]
    if not inputs:
        why = "".join(f"; {name} {said}" for name, said in unfit.items())
        raise DataError(f"{new.source}: has no column beside {' and '.join(named)} to predict from{why}")
    if rows[new.label].nunique() < 2:
        said = rows[new.label].dropna().unique().tolist() or "no value at all"
        raise DataError(f"{new.source}: column {new.label} holds {said}: there is nothing to predict")
    task, times = new.task or _task(rows[new.label]), _times(new, rows)
    newest = (pd.Timestamp.now() if new.time is None else times.max()).normalize() + pd.Timedelta(days=1)
    labels, positive = _labels(rows[new.label]) if task is TaskKind.CLASSIFICATION else ([], "")
    return {
        **_OF_TASK[task],
        "name": new.name,
        "module": new.module,
        "owner": new.owner,
        "description": f"Predicts {new.label} from {_short(new)}.",
        "task": task,
        "labels": labels,
        "positive": positive,
        "unlabelled": int(rows[new.label].isna().sum()),
        "rows": len(rows),
        "which": sample.which,
        "remarks": {},
        "left_out": [],
        "source": new.source,
        "database": new.database,
        "time": new.time,
        "time_format": "" if new.time_format == ISO else new.time_format,
        "undated": int(times.isna().sum()) if new.time is not None else 0,
        "label": new.label,
        "inputs": inputs,
        "unfit": {one_line(name): said for name, said in unfit.items()},
        "whys": {what: one_line(new.whys.get(what, "")) for what in ("task", "time", "label")},
        "all_days": 0 if new.time is None else (times.max() - times.min()).days,
        "days": 0 if new.time is None else max(1, (times.max() - times.min()).days // _HELD_OUT),
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


def _times(new: NewModel, rows: pd.DataFrame) -> pd.Series:
    """Return the times in UTC without a zone; no moment where there is no such column."""
    if new.time is None:
        return pd.Series(pd.NaT, index=rows.index, dtype="datetime64[ns]")
    column = rows[new.time]
    times = parse_times(column, [new.time_format or ISO])
    wrong = times.isna() & column.notna()
    if wrong.any() or times.isna().all():
        value = column[times.isna()].iloc[0]
        kind = "an ISO 8601 date" if new.time_format in ("", ISO) else f"a moment in {new.time_format}"
        raise DataError(f"{new.source}: column {new.time}: {value!r} is not {kind}")
    return times


def _short(new: NewModel) -> str:
    """Name the source in a sentence."""
    if new.source.startswith(SQL):
        return f"a query of {new.database}"
    return new.source.rstrip("/").rpartition("/")[2]


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
