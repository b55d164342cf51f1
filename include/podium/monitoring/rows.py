"""The rows of a window: what batch scoring scores, or else what training reads, part by part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.errors import DataError
from podium.metrics.answers import Answers, Numbers, true_values
from podium.metrics.predictions import predict
from podium.model_file.spec import ModelSpec
from podium.monitoring.windows import Window
from podium.scoring.inputs import text_columns
from podium.scoring.run import columns_read, source_of
from podium.scoring.scorer import Scorer
from podium.sources.read import Chunk, list_partitions, open_partition
from podium.training.data import load_window, parse_times
from podium.training.examples import DataWindow, TrainingExamples
from podium.training.input_types import as_clients_send
from podium.training.split import subset


@dataclass(frozen=True)
class Part:
    """Some rows of a window.

    Attributes:
        inputs: As the model takes them, (n, any).
        answers: Of the rows whose labels are here; None: no label is read.
        rest: What the model answered to the others.
    """

    inputs: pd.DataFrame
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


def inside(times: pd.Series, window: Window) -> npt.NDArray[np.bool_]:
    """Return which moments are in a window; those without a zone are in UTC."""
    moments = pd.to_datetime(times, utc=True)
    return ((moments >= window.start) & (moments < window.end)).to_numpy(bool)


def _known(spec: ModelSpec, window: Window, home: Path, scorer: Scorer) -> Part:
    examples = examples_of(load_window(spec, window.end, home))
    which = inside(examples.time, window)
    rows = subset(examples, pd.Series(which))
    asks = spec.monitoring is not None and spec.monitoring.tolerance is not None
    return Part(as_clients_send(rows.inputs), answered(spec, rows, scorer) if asks else None)


def _scored(spec: ModelSpec, window: Window, home: Path, scorer: Scorer) -> Iterator[Part]:
    source, time = source_of(spec, home), str(spec.data.time_column)
    for partition in list_partitions(source):
        with open_partition(source, partition, columns_read([scorer], [time])) as reader:
            if time not in reader.columns:
                there = ", ".join(reader.columns)
                raise DataError(
                    f"{partition.at}: no column '{time}' (data.time_column), by which rows are in a window; "
                    f"there are: {there}"
                )
            for chunk in reader.chunks:
                which = inside(_times(spec, chunk), window)
                readied = scorer.ready(_only(chunk, which), partition.at)
                yield Part(readied.inputs)


def _times(spec: ModelSpec, chunk: Chunk) -> pd.Series:
    column = text_columns(chunk.rows.select([str(spec.data.time_column)]))[0].iloc[:, 0]
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    return parse_times(column, spec.data.time_formats)


def _only(chunk: Chunk, which: npt.NDArray[np.bool_]) -> Chunk:
    return replace(chunk, rows=chunk.rows.filter(which), numbers=chunk.numbers[which], odd=())
