"""From the model file's source to labelled examples: read, filter to what was known, split."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, time
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd

from podium.errors import DataError, TrainerError
from podium.model_file.data import DataSpec
from podium.model_file.metric_names import TaskKind
from podium.model_file.spec import ModelSpec
from podium.model_file.user_code import import_object, trainer_errors
from podium.names import moment_problem
from podium.training.examples import DataReport, DataWindow, TrainingExamples
from podium.training.split import held_out, subset


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
    if problem := moment_problem(as_of):
        raise DataError(f"{spec.name}: as_of {problem}")
    moment = as_of.astimezone(UTC).replace(tzinfo=None)
    if spec.data.time_resolution == "day":
        moment = datetime.combine(moment, time.min)
    raw = _read(home / spec.data.source)
    tables = _tables(spec.data, home)
    rows, undated = _dated(raw, spec.data)
    known = rows if spec.data.time_column is None else rows[rows[spec.data.time_column] < moment]
    unique = known.drop_duplicates() if spec.data.duplicates == "drop" else known
    typed = _with_types(unique, spec.data, home)
    examples, unlabelled, unknown, counted = _examples(spec, typed, tables)
    in_holdout = held_out(spec.holdout, examples, moment)
    window = DataWindow(
        version=_content_digest(typed, tables),
        train=subset(examples, ~in_holdout),
        holdout=subset(examples, in_holdout),
        as_of=moment,
        report=DataReport(
            read=len(raw),
            later=len(rows) - len(known),
            undated=undated,
            duplicated=len(known) - len(unique),
            unlabelled=unlabelled,
            unknown_labels=unknown,
            examples=len(examples),
            counted=counted,
        ),
    )
    for name, part in (("training", window.train), ("holdout", window.holdout)):
        if not len(part):
            raise DataError(
                f"{spec.name}: no {name} rows as of {moment.date()} (holdout: {spec.holdout.describe()}; "
                f"{spec.data.source}: {window.report.describe()})"
            )
    return window


def _tables(data: DataSpec, home: Path) -> dict[str, pd.DataFrame]:
    """Read the files that stand beside the source, whole."""
    folder = (home / data.source).parent
    tables = {name: _read(folder / file, f"data.tables.{name}") for name, file in data.tables.items()}
    return {
        name: _inferred(table) if _kind(folder / data.tables[name]) == ".csv" else table
        for name, table in tables.items()
    }


def _read(path: Path, key: str = "data.source") -> pd.DataFrame:
    """Read all rows; those of a csv as text, so that later rows cannot change the types of known ones."""
    if not path.is_file():
        raise DataError(f"{key}: there is no file {path}")
    if _kind(path) not in (".csv", ".parquet"):
        raise DataError(f"{key}: {path.name}: allowed are .csv, .csv.gz and .parquet")
    try:
        # Spreadsheet programs begin a csv with a byte order mark.
        csv = _kind(path) == ".csv"
        return pd.read_csv(path, dtype=str, encoding="utf-8-sig") if csv else pd.read_parquet(path)
    except (ValueError, EOFError, gzip.BadGzipFile) as error:
        raise DataError(f"{key}: {path} cannot be read: {error}") from error


def _kind(path: Path) -> str:
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix


def _dated(raw: pd.DataFrame, data: DataSpec) -> tuple[pd.DataFrame, int]:
    """Return the rows with their times parsed, and how many had none."""
    if data.time_column is None:
        return raw, 0
    if data.time_column not in raw:
        raise _missing_column(data.source, data.time_column, raw)
    moments = _parse_time(raw[data.time_column], data.time_formats)
    undated = moments.isna()
    if undated.any() and data.undated == "fail":
        row = int(undated.to_numpy().argmax())
        value = raw[data.time_column].iloc[row]
        said = "is empty" if pd.isna(value) else f"{value!r} is no moment in {' or '.join(data.time_formats)}"
        raise DataError(
            f"{data.source}: column {data.time_column}: row {row} {said}; {int(undated.sum()):,} such rows. "
            "data.time_formats lists the formats, data.undated: drop leaves such rows out"
        )
    return raw.assign(**{data.time_column: moments})[~undated], int(undated.sum())


def _parse_time(column: pd.Series, formats: Iterable[str]) -> pd.Series:
    """Read each value by the first format that fits; UTC without a zone, NaT where none does."""
    moments = pd.Series(pd.NaT, index=column.index, dtype="datetime64[ns, UTC]")
    for pattern in formats:
        unread = moments.isna()
        if not unread.any():
            break
        read = pd.to_datetime(column[unread], utc=True, format=pattern, errors="coerce")
        moments[unread] = read.astype(moments.dtype)
    without_zone: pd.Series = moments.dt.tz_localize(None)
    return without_zone


def _with_types(known: pd.DataFrame, data: DataSpec, home: Path) -> pd.DataFrame:
    """Infer the types of a csv from the known rows alone."""
    known = known.reset_index(drop=True)
    if _kind(home / data.source) != ".csv":
        return known
    typed = _inferred(known)
    return typed if data.time_column is None else typed.assign(**{data.time_column: known[data.time_column]})


def _inferred(text: pd.DataFrame) -> pd.DataFrame:
    # In pieces, which is how pandas saves memory, a column could come out half numbers and half text.
    return pd.read_csv(StringIO(text.to_csv(index=False)), low_memory=False)


def _examples(
    spec: ModelSpec, known: pd.DataFrame, tables: Mapping[str, pd.DataFrame]
) -> tuple[TrainingExamples, int, int, dict[str, int]]:
    """Return the labelled examples, how many had no label or an unknown one, and what else was counted."""
    data, examples = spec.data, known
    if data.examples is not None:
        with trainer_errors(data.examples):
            examples = import_object(data.examples)(known, **tables)
        if not isinstance(examples, pd.DataFrame):
            raise TrainerError(f"{data.examples} must return a DataFrame, not {type(examples).__name__}")
    counted = {str(name): int(count) for name, count in examples.attrs.get("counted", {}).items()}
    where = data.examples or data.source
    named = [name for name in (data.time_column, data.label, data.group) if name is not None]
    for column in filter(None, (*named, *data.inputs, data.tests, data.entry_point)):
        if column not in examples:
            raise _missing_column(where, column, examples)
    unlabelled = examples[data.label].isna()
    _refuse_unless_dropped(unlabelled, examples[data.label], f"{where}: column {data.label}", data.unlabelled)
    examples = examples[~unlabelled].reset_index(drop=True)
    if data.group is not None and examples[data.group].isna().any():
        row = int(examples[data.group].isna().to_numpy().argmax())
        raise DataError(f"{where}: column {data.group}: row {row} belongs to no list")
    label, unknown = _label(spec, examples[data.label], where)
    examples, label = examples[~unknown].reset_index(drop=True), label[~unknown].reset_index(drop=True)
    timeless = pd.Series(pd.NaT, index=examples.index, dtype="datetime64[ns]")
    made = TrainingExamples(
        inputs=examples[list(data.inputs)],
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
    text = normalised_labels(label, spec.data.label_map)
    unknown = ~text.isin(spec.labels)
    problem = f"{where}: column {label.name} (allowed: {', '.join(spec.labels)})"
    _refuse_unless_dropped(unknown, label, problem, spec.data.unknown_labels)
    return text, unknown


def _refuse_unless_dropped(wrong: pd.Series, values: pd.Series, where: str, rule: str) -> None:
    if wrong.any() and rule == "fail":
        row = int(wrong.to_numpy().argmax())
        value = values.iloc[row]
        said = "has no label" if pd.isna(value) else f"has the label {value!r}"
        key = "unlabelled" if pd.isna(value) else "unknown_labels"
        raise DataError(
            f"{where}: row {row} {said}; {int(wrong.sum()):,} such rows. data.{key}: drop leaves them out"
        )


def normalised_labels(label: pd.Series, label_map: Mapping[str, str]) -> pd.Series:
    """Return labels as text, under the names that the model file means; case does not matter in its map."""
    text = label.astype(str)
    if not label_map:
        return text
    meant = {name.strip().casefold(): label for name, label in label_map.items()}
    return text.str.strip().str.casefold().map(meant).fillna(text)


def _numbers(label: pd.Series, where: str) -> pd.Series:
    numbers = pd.to_numeric(label, errors="coerce").astype(float)
    if not np.isfinite(numbers.to_numpy()).all():
        row = int(np.argmin(np.isfinite(numbers.to_numpy())))
        raise DataError(f"{where}: column {label.name}: row {row} is no finite number: {label.iloc[row]!r}")
    return numbers


def _content_digest(rows: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> str:
    digest = hashlib.sha256()
    for name, table in [("", rows), *sorted(tables.items())]:
        digest.update(f"{name}{[*table.dtypes.items()]!r}".encode())
        digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _missing_column(where: str, column: str, rows: pd.DataFrame) -> DataError:
    return DataError(f"{where}: no column '{column}'; there are: {', '.join(map(str, rows.columns))}")
