"""The rows of a window: what batch scoring scores, partition by partition, or else what training reads."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from podium.errors import DataError
from podium.metrics.answers import Answers, Numbers, true_values
from podium.metrics.predictions import predict
from podium.metrics.windows import Window, inside
from podium.model_file.metric_names import TaskKind
from podium.model_file.spec import ModelSpec
from podium.scoring.counting import Times, counted_frame, row_times, with_answers
from podium.scoring.inputs import text_columns
from podium.scoring.run import columns_read
from podium.scoring.scorer import Readied, Scorer
from podium.sources.read import Chunk, Partition, Source, list_partitions, open_partition
from podium.training.data import normalised_labels, rows_as_of
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


def known_part(spec: ModelSpec, window: Window, home: Path, scorer: Callable[[], Scorer]) -> Part:
    """Return the rows of a window as training reads them.

    Args:
        spec: The model file, with a section ``monitoring``.
        window: The window.
        home: The project's top folder.
        scorer: Loads the version that is monitored.

    Raises:
        DataError: The rows cannot be read, or a column is missing.
        Outage: The store or the database did not answer.
    """
    examples = examples_of(rows_as_of(spec, _read_until(spec, window.end), home))
    which = inside(examples.time, window)
    rows = subset(examples, pd.Series(which))
    asks = spec.monitoring is not None and spec.monitoring.tolerance is not None
    inputs = as_clients_send(rows.inputs)
    if not asks and spec.task is TaskKind.GENERATION:
        return Part(inputs, inputs)
    answers = answered(spec, rows, scorer())
    counted = with_answers(spec, inputs, answers.predictions, np.ones(len(inputs), dtype=bool))
    return Part(inputs, counted, answers if asks else None)


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


def _read_until(spec: ModelSpec, end: datetime) -> datetime:
    """Return until when rows are read for a window: where days are read whole, to the end of its last one."""
    midnight = end.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if spec.data.time_resolution == "moment" or end == midnight:
        return end
    return midnight + timedelta(days=1)


class ArrivedLabels:
    """The labels that are here, by the text of their keys, and which of them some row has.

    Args:
        spec: The model file, with ``monitoring.labels``.
        by_key: The labels.
    """

    def __init__(self, spec: ModelSpec, by_key: pd.Series) -> None:
        self.keys = source_keys(spec)
        self._spec, self._by_key = spec, by_key
        self._joined = np.zeros(len(by_key), dtype=bool)

    def of(self, rows: pa.Table, which: npt.NDArray[np.bool_]) -> pd.Series:
        """Return the label of each of some rows, missing where it is not here yet."""
        texts = _key_texts(rows, self.keys)
        found = self._by_key.index.get_indexer(texts)
        self._joined[found[found >= 0]] = True
        return self._by_key.reindex(texts[which])

    def tell(self) -> None:
        """Say in the log how many labels are of no row, once all rows were looked at."""
        if self._joined.all():
            return
        scoring = self._spec.scoring
        log.warning(
            "%s: %s of %s labels are of no row of %s, the first one of %s; they count for nothing. Do the "
            "keys %s mean the same in monitoring.labels and in scoring.source?",
            *(
                self._spec.name,
                f"{int((~self._joined).sum()):,}",
                f"{len(self._by_key):,}",
                "" if scoring is None else scoring.source,
                self._by_key.index[~self._joined][0],
                ", ".join(self.keys),
            ),
        )


@dataclass
class PartitionRows:
    """The rows of a window in one partition of what batch scoring scores, read in bounded memory.

    Attributes:
        spec: The model file.
        source: What is scored.
        partition: The partition.
        labels: The labels that are here; None: no label is read.
        times: When its rows are, as far as they are read.
    """

    spec: ModelSpec
    source: Source
    partition: Partition
    labels: ArrivedLabels | None
    times: Times = field(default_factory=Times)

    def parts(self, window: Window, scorer: Scorer) -> Iterator[Part]:
        """Yield the rows of a window.

        Raises:
            DataError: The rows cannot be read, or a column is missing.
            Outage: The store or the database did not answer.
        """
        time, where = str(self.spec.data.time_column), self.partition.at
        keys = [] if self.labels is None else list(self.labels.keys)
        with open_partition(self.source, self.partition, columns_read([scorer], [time, *keys])) as reader:
            for name, why in {**dict.fromkeys(keys, "scoring.keys"), time: "data.time_column"}.items():
                _assert_there(name, why, reader.columns, where)
            for chunk in reader.chunks:
                times = row_times(self.spec, chunk)
                self.times.add(times)
                which = inside(times, window)
                here = None if self.labels is None else self.labels.of(chunk.rows, which)
                # A file that lacks a column breaks the windows of its rows, and no other.
                if which.any():
                    readied = scorer.ready(_only(chunk, which), where)
                    yield _scored_part(self.spec, readied, scorer, here)


def _scored_part(spec: ModelSpec, readied: Readied, scorer: Scorer, labels: pd.Series | None) -> Part:
    """Ask the version about some rows, and say which of its answers have a label."""
    if labels is None and spec.task is TaskKind.GENERATION:
        return Part(readied.inputs, readied.inputs)
    scored = scorer.score(readied)
    counted = counted_frame(spec, scored)
    if labels is None:
        return Part(readied.inputs, counted)
    found = pd.Series(labels.to_numpy()[scored.good])
    here = found.notna().to_numpy()
    truth = true_values(spec.task, found[here], spec.labels)
    answers = Answers(spec.task, spec.labels, truth, scored.answers[here])
    return Part(readied.inputs, counted, answers, scored.answers[~here])


def source_keys(spec: ModelSpec) -> tuple[str, ...]:
    """Return the columns by which labels are joined to the rows that are scored."""
    return () if spec.scoring is None else spec.scoring.keys


def arrived_labels(spec: ModelSpec, home: Path) -> ArrivedLabels | None:
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
    return ArrivedLabels(spec, first)


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


def _only(chunk: Chunk, which: npt.NDArray[np.bool_]) -> Chunk:
    return replace(chunk, rows=chunk.rows.filter(which), numbers=chunk.numbers[which], odd=())
