"""The rows of a window: what batch scoring scores, or else what training reads, part by part."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from podium.errors import DataError
from podium.metrics.answers import Answers, Numbers, true_values
from podium.metrics.predictions import answer_streams, predict
from podium.metrics.windows import Window, inside
from podium.model_file.metric_names import TaskKind
from podium.model_file.spec import ModelSpec
from podium.scoring.inputs import scorable, text_columns
from podium.scoring.run import columns_read, source_of
from podium.scoring.scorer import Readied, Scored, Scorer
from podium.sources.read import Chunk, Source, list_partitions, open_partition
from podium.training.data import normalised_labels, parse_times, rows_as_of
from podium.training.examples import DataWindow, TrainingExamples
from podium.training.input_types import as_clients_send
from podium.training.split import subset

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """Some rows of a window.

    Attributes:
        inputs: As the model takes them, (n, any).
        counted: The same, and what the model answered to them.
        answers: Of the rows whose labels are here; None: no label is read.
        rest: What the model answered to the others.
    """

    inputs: pd.DataFrame
    counted: pd.DataFrame
    answers: Answers | None = None
    rest: Numbers | None = None


def parts_of(spec: ModelSpec, window: Window, home: Path, scorer: Scorer) -> Iterator[Part]:
    """Yield the rows of a window in bounded memory, if batch scoring reads them; else at once.

    Args:
        spec: The model file, with a section ``monitoring``.
        window: The window.
        home: The project's top folder.
        scorer: The version that is monitored.

    Raises:
        DataError: The rows cannot be read, or a column is missing.
        Outage: The store or the database did not answer.
    """
    if spec.scoring is None:
        return iter([_known(spec, window, home, scorer)])
    return _scored(spec, window, home, scorer)


def examples_of(known: DataWindow) -> TrainingExamples:
    """Return the rows that were read, those of the holdout too, by their index anew."""
    sides = (known.train, known.holdout)
    return TrainingExamples(
        pd.concat([side.inputs for side in sides], ignore_index=True),
        pd.concat([side.label for side in sides], ignore_index=True),
        pd.concat([side.time for side in sides], ignore_index=True),
        pd.concat([side.others for side in sides], ignore_index=True),
    )


def answered(spec: ModelSpec, examples: TrainingExamples, scorer: Scorer) -> Answers:
    """Ask the version about labelled rows."""
    truth = true_values(spec.task, examples.label, spec.labels)
    if not len(truth):
        none = np.empty((0, len(spec.labels)) if spec.labels else 0)
        return Answers(spec.task, spec.labels, truth, none)
    predictions = predict(scorer.model, as_clients_send(examples.inputs), spec.labels)
    return Answers(spec.task, spec.labels, truth, predictions)


def _known(spec: ModelSpec, window: Window, home: Path, scorer: Scorer) -> Part:
    examples = examples_of(rows_as_of(spec, _read_until(spec, window.end), home))
    which = inside(examples.time, window)
    rows = subset(examples, pd.Series(which))
    asks = spec.monitoring is not None and spec.monitoring.tolerance is not None
    inputs = as_clients_send(rows.inputs)
    if not asks and spec.task is TaskKind.GENERATION:
        return Part(inputs, inputs)
    answers = answered(spec, rows, scorer)
    counted = _with_answers(spec, inputs, answers.predictions, np.ones(len(inputs), dtype=bool))
    return Part(inputs, counted, answers if asks else None)


def _read_until(spec: ModelSpec, end: datetime) -> datetime:
    """Return until when rows are read for a window: where days are read whole, to the end of its last one."""
    midnight = end.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if spec.data.time_resolution == "moment" or end == midnight:
        return end
    return midnight + timedelta(days=1)


def _scored(spec: ModelSpec, window: Window, home: Path, scorer: Scorer) -> Iterator[Part]:
    source, time, labels = source_of(spec, home), str(spec.data.time_column), arrived_labels(spec, home)
    keys = [] if labels is None else list(source_keys(spec))
    joined, undated = np.zeros(0 if labels is None else len(labels), dtype=bool), 0
    for partition in list_partitions(source):
        with open_partition(source, partition, columns_read([scorer], [time, *keys])) as reader:
            for name, why in {**dict.fromkeys(keys, "scoring.keys"), time: "data.time_column"}.items():
                _assert_there(name, why, reader.columns, partition.at)
            for chunk in reader.chunks:
                times = _times(spec, chunk)
                undated += int(times.isna().sum())
                which = inside(times, window)
                here = None
                if labels is not None:
                    texts = _key_texts(chunk.rows, keys)
                    found = labels.index.get_indexer(texts)
                    joined[found[found >= 0]] = True
                    here = labels.reindex(texts[which])
                # A file that lacks a column breaks the windows of its rows, and no other.
                if which.any():
                    readied = scorer.ready(_only(chunk, which), partition.at)
                    yield _scored_part(spec, readied, scorer, here)
    if undated:
        log.warning(
            "%s: %s rows of %s are in no window: %s holds no time of data.time_formats",
            *(spec.name, f"{undated:,}", source.source, time),
        )
    if labels is not None and not joined.all():
        log.warning(
            "%s: %s of %s labels are of no row of %s, the first one of %s; they count for nothing. Do the "
            "keys %s mean the same in monitoring.labels and in scoring.source?",
            *(
                spec.name,
                f"{int((~joined).sum()):,}",
                f"{len(labels):,}",
                source.source,
                labels.index[~joined][0],
                ", ".join(keys),
            ),
        )


def _scored_part(spec: ModelSpec, readied: Readied, scorer: Scorer, labels: pd.Series | None) -> Part:
    """Ask the version about some rows, and say which of its answers have a label."""
    if labels is None and spec.task is TaskKind.GENERATION:
        return Part(readied.inputs, readied.inputs)
    scored = scorer.score(readied)
    counted = _scored_rows(spec, readied, scored)
    if labels is None:
        return Part(readied.inputs, counted)
    found = pd.Series(labels.to_numpy()[scored.good])
    here = found.notna().to_numpy()
    truth = true_values(spec.task, found[here], spec.labels)
    answers = Answers(spec.task, spec.labels, truth, scored.answers[here])
    return Part(readied.inputs, counted, answers, scored.answers[~here])


def _scored_rows(spec: ModelSpec, readied: Readied, scored: Scored) -> pd.DataFrame:
    """Return the rows that could be asked, with the answers to those that the model could answer."""
    asked = scorable(readied.reasons, len(readied.chunk.numbers))
    return _with_answers(spec, readied.inputs, scored.answers, scored.good[asked])


def _with_answers(
    spec: ModelSpec, inputs: pd.DataFrame, answers: Numbers, good: npt.NDArray[np.bool_]
) -> pd.DataFrame:
    if spec.task is TaskKind.GENERATION:
        return inputs
    streams = answer_streams(spec.labels, answers).set_axis(np.flatnonzero(good))
    return pd.concat([inputs.reset_index(drop=True), streams.reindex(range(len(inputs)))], axis=1)


def source_keys(spec: ModelSpec) -> tuple[str, ...]:
    """Return the columns by which labels are joined to the rows that are scored."""
    return () if spec.scoring is None else spec.scoring.keys


def arrived_labels(spec: ModelSpec, home: Path) -> pd.Series | None:
    """Return the labels that are here, by the text of their keys; None where the model file names none.

    Of two labels of one row the first counts; how many others contradict it is logged.

    Raises:
        DataError: A column is missing, or a label is none of the model file's.
        Outage: The store or the database did not answer.
    """
    section = None if spec.monitoring is None or spec.monitoring.tolerance is None else spec.monitoring.labels
    if section is None:
        return None
    source, keys = Source(section.source, home, section.database), source_keys(spec)
    parts = []
    for partition in list_partitions(source):
        with open_partition(source, partition, [*keys, spec.data.label]) as reader:
            for name in (*keys, spec.data.label):
                _assert_there(name, "of the labels", reader.columns, partition.at)
            for chunk in reader.chunks:
                values = text_columns(chunk.rows.select([spec.data.label]))[0].iloc[:, 0]
                parts.append(pd.Series(values.to_numpy(), _key_texts(chunk.rows, keys)).dropna())
    found = normalised(spec, pd.concat(parts) if parts else pd.Series(dtype=object))
    first = found[~found.index.duplicated()]
    contradicting = found[(found != first.reindex(found.index)).to_numpy()]
    if len(contradicting):
        log.warning(
            "%s: %s labels in %s contradict earlier ones of the same rows, the first one of %s; the first "
            "label of a row counts",
            *(spec.name, f"{len(contradicting):,}", section.source, contradicting.index[0]),
        )
    return first


def normalised(spec: ModelSpec, labels: pd.Series) -> pd.Series:
    """Return labels as the model file spells them, or as numbers."""
    if spec.task is TaskKind.CLASSIFICATION:
        return normalised_labels(labels, spec.data.label_map, spec.labels)
    return pd.to_numeric(labels).astype(float)


def _key_texts(rows: pa.Table, keys: Sequence[str]) -> pd.Index:
    """Return a text of the keys of each row; a whole number is written alike as text, float or integer."""
    frame = text_columns(rows.select(list(keys)))[0]
    texts = [frame[name].map(_key_text) for name in keys]
    return pd.Index([json.dumps(row) for row in zip(*texts, strict=True)], dtype=object)


def _key_text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _assert_there(name: str, why: str, columns: Sequence[str], where: str) -> None:
    if name not in columns:
        raise DataError(f"{where}: no column '{name}' ({why}); available: {', '.join(columns)}")


def _times(spec: ModelSpec, chunk: Chunk) -> pd.Series:
    column = text_columns(chunk.rows.select([str(spec.data.time_column)]))[0].iloc[:, 0]
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    return parse_times(column, spec.data.time_formats)


def _only(chunk: Chunk, which: npt.NDArray[np.bool_]) -> Chunk:
    return replace(chunk, rows=chunk.rows.filter(which), numbers=chunk.numbers[which], odd=())
