"""From the model file's source to labelled examples: read, filter to what was known, split."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, time
from pathlib import Path

import numpy as np
import pandas as pd

from podium.errors import ColumnGone, DataError, TrainerError
from podium.metrics.labels import spelling
from podium.model_file.data import DataSpec
from podium.model_file.gates import gate_columns
from podium.model_file.metric_names import TaskKind
from podium.model_file.source import S3
from podium.model_file.spec import ModelSpec
from podium.model_file.user_code import import_object, trainer_errors
from podium.names import moment_problem
from podium.sources.chunks import Source
from podium.sources.whole import WholeTable, inferred, read_whole
from podium.training.data_version import content_digest
from podium.training.examples import DataReport, DataWindow, TrainingExamples
from podium.training.freshness import stale_problem
from podium.training.input_types import for_the_trainer
from podium.training.split import held_out, subset

log = logging.getLogger(__name__)

# Among what was counted: columns of a csv at its end that have neither a name nor a value.
_DROPPED = "empty columns at the end"


def load_window(spec: ModelSpec, as_of: datetime, home: Path) -> DataWindow:
    """Read the rows known at ``as_of`` and split them.

    Args:
        spec: The model file.
        as_of: With a zone; only rows with an earlier time are seen.
        home: The project's top folder, to which ``data.source`` is relative.

    Raises:
        DataError: The source or a column is missing, a row cannot be used and the model file does not say
            that such rows are dropped, the training or holdout window is empty, or ``as_of`` is of a year
            outside 1900 to 2200.
    """
    window = rows_as_of(spec, as_of, home)
    for name, part in (("training", window.train), ("holdout", window.holdout)):
        if not len(part):
            stale = stale_problem(spec, window)
            raise DataError(
                f"{spec.name}: no {name} rows as of {window.as_of.date()} (holdout: "
                f"{spec.holdout.describe()}; {spec.data.source}: {window.report.describe()})"
                f"{f': {stale}' if stale else ''}"
            )
    return window


def rows_as_of(spec: ModelSpec, as_of: datetime, home: Path) -> DataWindow:
    """Read rows as ``load_window`` does, for whoever does not train on them: any part may be empty."""
    if problem := moment_problem(as_of):
        raise DataError(f"{spec.name}: as_of {problem}")
    moment = as_of.astimezone(UTC).replace(tzinfo=None)
    if spec.data.time_resolution == "day":
        moment = datetime.combine(moment, time.min)
    source = _read(_source(spec.data, home, moment), columns_read(spec))
    tables = _tables(spec.data, home)
    rows, undated = _dated(source, spec.data)
    known = rows if spec.data.time_column is None else rows[rows[spec.data.time_column] < moment]
    unique = known.drop_duplicates() if spec.data.duplicates == "drop" else known
    typed = _with_types(unique, spec.data, source.text)
    examples, unlabelled, unknown, counted = _examples(spec, typed, tables, source.columns)
    in_holdout = held_out(spec.holdout, examples, moment)
    return DataWindow(
        version=_version(typed, tables, None if spec.data.examples is None else examples),
        train=subset(examples, ~in_holdout),
        holdout=subset(examples, in_holdout),
        as_of=moment,
        facts=source.facts,
        report=DataReport(
            read=len(source.rows) + source.short + source.later,
            short=source.short,
            later=len(rows) - len(known) + source.later,
            undated=undated,
            duplicated=len(known) - len(unique),
            unlabelled=unlabelled,
            unknown_labels=unknown,
            examples=len(examples),
            counted={**({_DROPPED: source.dropped} if source.dropped else {}), **counted},
        ),
    )


def columns_read(spec: ModelSpec) -> list[str] | None:
    """Return the columns of the source that a training reads; None for all.

    All are read for ``data.examples``, which may use any, and to find rows that repeat others, unless
    ``data.columns`` names some.
    """
    data = spec.data
    if not data.columns and (data.examples is not None or data.duplicates == "drop"):
        return None
    one_by_one = (data.time_column, data.label, data.group, data.tests, data.entry_point, spec.holdout.by)
    named = [*data.columns, *filter(None, one_by_one)]
    if data.examples is None:
        named += data.inputs
    if spec.search is not None and spec.search.validation.by is not None:
        named.append(spec.search.validation.by)
    for gate in (*spec.gates, *(gate for profile in spec.profiles.values() for gate in profile.gates or ())):
        named += gate_columns(gate)
    return list(dict.fromkeys(named))


def _source(data: DataSpec, home: Path, moment: datetime) -> Source:
    # Rows that are read for all_rows, too, are compared with the moment as they come.
    return Source(data.source, home, data.database, as_of=moment, time_column=data.time_column)


def _tables(data: DataSpec, home: Path) -> dict[str, pd.DataFrame]:
    """Read the files that stand beside the source, whole."""
    bucket, _, _ = data.source.rpartition("/")
    folder = (home / data.source).parent
    tables = {}
    for name, file in data.tables.items():
        beside = Source(f"{bucket}/{file}" if data.source.startswith(S3) else file, folder)
        tables[name] = _read(beside, None, f"data.tables.{name}")
    return {name: inferred(table.rows, table.text) for name, table in tables.items()}


def _read(source: Source, wanted: Sequence[str] | None, key: str = "data.source") -> WholeTable:
    """Read the rows; those of a csv as text, so that later rows cannot change the types of known ones."""
    try:
        return read_whole(source, wanted)
    except DataError as error:
        raise DataError(f"{key}: {error}") from error


def _dated(source: WholeTable, data: DataSpec) -> tuple[pd.DataFrame, int]:
    """Return the rows with their times parsed, and how many had none."""
    raw = source.rows
    if data.time_column is None:
        return raw, 0
    if data.time_column not in raw:
        raise _missing_column(data.source, data.time_column, source.columns)
    moments = parse_times(raw[data.time_column], data.time_formats)
    undated = moments.isna()
    if undated.any() and data.undated == "fail":
        place = int(undated.to_numpy().argmax())
        row, value = int(raw.index[place]), raw[data.time_column].iloc[place]
        formats = " or ".join(data.time_formats)
        said = "is empty" if pd.isna(value) else f"{_shown(value)} is not a moment in {formats}"
        drop = "" if undated.all() else ", data.undated: drop leaves such rows out"
        raise DataError(
            f"{data.source}: column {data.time_column}: row {row} {said}; {int(undated.sum()):,} such rows. "
            f"data.time_formats lists the formats{drop}"
        )
    return raw.assign(**{data.time_column: moments})[~undated], int(undated.sum())


def parse_times(column: pd.Series, formats: Iterable[str]) -> pd.Series:
    """Read each value by the first format that fits; UTC without a zone, NaT where none does."""
    moments = pd.Series(pd.NaT, index=column.index, dtype="datetime64[ns, UTC]")
    if pd.api.types.is_numeric_dtype(column):
        # A number is read as it is written, such as 20250301: it is no count of anything since 1970.
        column = column.astype(str)
    for pattern in formats:
        unread = moments.isna()
        if not unread.any():
            break
        read = pd.to_datetime(column[unread], utc=True, format=pattern, errors="coerce")
        moments[unread] = read.astype(moments.dtype)
    without_zone: pd.Series = moments.dt.tz_localize(None)
    return without_zone


def _with_types(known: pd.DataFrame, data: DataSpec, text: Sequence[str]) -> pd.DataFrame:
    """Infer the types of columns of text from the known rows alone."""
    untyped = [name for name in text if name != data.time_column]
    return inferred(known.reset_index(drop=True), untyped)


def _examples(
    spec: ModelSpec, known: pd.DataFrame, tables: Mapping[str, pd.DataFrame], columns: Sequence[str]
) -> tuple[TrainingExamples, int, int, dict[str, int]]:
    """Return the labelled examples, how many had no label or an unknown one, and what else was counted."""
    data, examples = spec.data, known
    if data.examples is not None:
        with trainer_errors(data.examples):
            examples = import_object(data.examples)(known, **tables)
        if not isinstance(examples, pd.DataFrame):
            raise TrainerError(f"{data.examples} must return a DataFrame, not {type(examples).__name__}")
        if twice := examples.columns[examples.columns.duplicated()].tolist():
            raise TrainerError(f"{data.examples} returned the column '{twice[0]}' twice")
    counted = {str(name): int(count) for name, count in examples.attrs.get("counted", {}).items()}
    where = data.examples or data.source
    named = [name for name in (data.time_column, data.label, data.group) if name is not None]
    for column in filter(None, (*named, *data.inputs, data.tests, data.entry_point)):
        if column not in examples:
            raise _missing_column(where, column, columns if data.examples is None else examples.columns)
    unlabelled = examples[data.label].isna()
    _refuse_unless_dropped(unlabelled, examples[data.label], f"{where}: column {data.label}", data.unlabelled)
    examples = examples[~unlabelled].reset_index(drop=True)
    if data.group is not None and examples[data.group].isna().any():
        row = int(examples[data.group].isna().to_numpy().argmax())
        raise DataError(f"{where}: column {data.group}: row {row} belongs to no list")
    label, unknown = _label(spec, examples[data.label], where)
    examples, label = examples[~unknown].reset_index(drop=True), label[~unknown].reset_index(drop=True)
    inputs, said = for_the_trainer(examples[list(data.inputs)], where)
    for sentence in said:
        log.info("%s: %s.", spec.name, sentence)
    timeless = pd.Series(pd.NaT, index=examples.index, dtype="datetime64[ns]")
    made = TrainingExamples(
        inputs=inputs,
        label=label,
        time=timeless if data.time_column is None else examples[data.time_column],
        others=examples.drop(columns=list({*named, *data.inputs} - {data.group})),
    )
    return made, int(unlabelled.sum()), int(unknown.sum()), counted


def _label(spec: ModelSpec, label: pd.Series, where: str) -> tuple[pd.Series, pd.Series]:
    """Return the labels as the model file means them, and which of them it does not list."""
    if spec.task is TaskKind.GENERATION:
        return label.astype(str), pd.Series(False, index=label.index)
    if spec.task is not TaskKind.CLASSIFICATION:
        return _numbers(label, where), pd.Series(False, index=label.index)
    text = normalised_labels(label, spec.data.label_map, spec.labels)
    unknown = ~text.isin(spec.labels)
    problem = f"{where}: column {label.name} (allowed: {', '.join(spec.labels)})"
    _refuse_unless_dropped(unknown, label, problem, spec.data.unknown_labels)
    return text, unknown


def _refuse_unless_dropped(wrong: pd.Series, values: pd.Series, where: str, rule: str) -> None:
    if wrong.any() and rule == "fail":
        row = int(wrong.to_numpy().argmax())
        value = values.iloc[row]
        said = "has no label" if pd.isna(value) else f"has the label {_shown(value)}"
        key = "unlabelled" if pd.isna(value) else "unknown_labels"
        way_out = f"data.{key}: drop leaves them out"
        if wrong.all():
            way_out = "These are all rows: name the right column under data.label"
            way_out += "" if pd.isna(value) else ", or what it holds under labels or data.label_map"
        raise DataError(f"{where}: row {row} {said}; {int(wrong.sum()):,} such rows. {way_out}")


def normalised_labels(
    label: pd.Series, label_map: Mapping[str, str], labels: Sequence[str] = ()
) -> pd.Series:
    """Return labels as text, as the model file spells those that it means; see ``spelling``."""
    spelled = spelling(labels, label_map)
    values = label.astype(object)
    return values.map({value: spelled(value) for value in values.unique()}).astype("str")


def _numbers(label: pd.Series, where: str) -> pd.Series:
    numbers = pd.to_numeric(label, errors="coerce").astype(float)
    if not np.isfinite(numbers.to_numpy()).all():
        row = int(np.argmin(np.isfinite(numbers.to_numpy())))
        value = _shown(label.iloc[row])
        raise DataError(f"{where}: column {label.name}: row {row} is not a finite number: {value}")
    return numbers


def _version(
    rows: pd.DataFrame, tables: Mapping[str, pd.DataFrame], examples: TrainingExamples | None
) -> str:
    """Return the digest of what was read, and of what a function made of it: it may read elsewhere."""
    read = {"": rows, **{f"table {name}": table for name, table in tables.items()}}
    if examples is not None:
        # Side by side: an input belongs to its label, wherever the row is.
        parts = [table.add_prefix(f"{part}: ") for part, table in examples.by_part().items()]
        read["examples"] = pd.concat(parts, axis=1)
    return content_digest(read)


def _shown(value: object) -> str:
    return repr(value.item() if isinstance(value, np.generic) else value)


def _missing_column(where: str, column: str, there: Iterable[str]) -> ColumnGone:
    return ColumnGone(f"{where}: no column '{column}'; available: {', '.join(map(str, there))}")
