"""The holdout as a training run stores it: the rows that the gates score, and prints of those trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from pyarrow import parquet

from podium.metrics.answers import Numbers
from podium.metrics.predictions import prediction_columns, predictions_by_name
from podium.model_file.gates import OverlapGate
from podium.model_file.spec import ModelSpec
from podium.training.examples import DataWindow, TrainingExamples
from podium.training.input_types import as_clients_send

FOLDER = "holdout"
# Rows in memory at once while the gates score them.
BATCH_ROWS = 50_000
_EXAMPLES = "examples.parquet"
_BASELINES = "baseline_predictions.parquet"
_TRAINING_ROWS = "training_rows.parquet"
# Where a training run has the fingerprints of its training rows, among its artifacts.
TRAINING_ROWS = f"{FOLDER}/{_TRAINING_ROWS}"

Fingerprints = npt.NDArray[np.uint64]


def store_holdout(
    folder: Path, spec: ModelSpec, window: DataWindow, baselines: Mapping[str, Numbers]
) -> None:
    """Write the holdout, the baselines' predictions on it, and fingerprints of the training rows.

    Args:
        folder: Where to.
        spec: The model file.
        window: Its training rows are kept as fingerprints only, to find them again in the holdout.
        baselines: Predictions by name.
    """
    store_rows(folder, spec, window, baselines)
    store_prints(folder, training_prints(spec, rows(spec, window.train)))


def store_rows(folder: Path, spec: ModelSpec, window: DataWindow, baselines: Mapping[str, Numbers]) -> None:
    """Write the holdout and the baselines' predictions on it; arguments as ``store_holdout``."""
    rows(spec, window.holdout).to_parquet(folder / _EXAMPLES, row_group_size=BATCH_ROWS)
    predictions: dict[str, Numbers] = {}
    for name, answered in baselines.items():
        predictions |= prediction_columns(name, answered, spec.answer_columns)
    pd.DataFrame(predictions, index=range(len(window.holdout))).to_parquet(folder / _BASELINES)


def training_prints(spec: ModelSpec, training: pd.DataFrame) -> pd.DataFrame:
    """Return the fingerprints of training rows, a column for each set of columns that the gates look at."""
    return pd.DataFrame(
        {
            json.dumps(columns): fingerprints(training, columns or spec.data.inputs)
            for columns in overlap_columns(spec)
            if set(columns) <= set(training)
        }
    )


def store_prints(folder: Path, prints: pd.DataFrame) -> None:
    """Write what ``training_prints`` returned."""
    prints.to_parquet(folder / _TRAINING_ROWS)


def overlap_columns(spec: ModelSpec) -> list[tuple[str, ...]]:
    """Return by which columns the gates look for training rows in the holdout; () are the model's inputs."""
    asked = {gate.columns for gate in spec.gates if isinstance(gate, OverlapGate)}
    return sorted({(), *asked})


def rows(spec: ModelSpec, examples: TrainingExamples) -> pd.DataFrame:
    """Return examples as one table: inputs as clients send them, label and time under their names."""
    named = {spec.data.label: examples.label}
    if spec.data.time_column is not None:
        named[spec.data.time_column] = examples.time
    return pd.concat([as_clients_send(examples.inputs), examples.others], axis=1).assign(**named)


def batches(folder: Path) -> Iterator[pd.DataFrame]:
    """Yield the stored rows, at most ``BATCH_ROWS`` at a time, in their order."""
    # Read ahead, the whole file would be in memory.
    with parquet.ParquetFile(folder / _EXAMPLES, pre_buffer=False) as file:
        for batch in file.iter_batches(batch_size=BATCH_ROWS):
            yield batch.to_pandas()


def read_baselines(folder: Path, labels: Sequence[str]) -> dict[str, Numbers]:
    """Return each baseline's predictions on the stored rows."""
    return predictions_by_name(pd.read_parquet(folder / _BASELINES), labels)


def read_training_rows(folder: Path) -> dict[tuple[str, ...], Fingerprints]:
    """Return the fingerprints of the training rows, each once, by the columns that they are of."""
    stored = pd.read_parquet(folder / _TRAINING_ROWS)
    return {tuple(json.loads(str(name))): np.unique(stored[name].to_numpy()) for name in stored}


def fingerprints(examples: pd.DataFrame, columns: Sequence[str]) -> Fingerprints:
    """Return a number for each row that is equal for equal values of these columns; shape (n,)."""
    hashes = pd.util.hash_pandas_object(examples[list(columns)], index=False)
    return np.asarray(hashes, dtype=np.uint64)


def shared(found: Fingerprints, trained_on: Fingerprints) -> int:
    """Return how many of the fingerprints are among others that are in ascending order."""
    if not len(trained_on):
        return 0
    places = np.minimum(np.searchsorted(trained_on, found), len(trained_on) - 1)
    return int((trained_on[places] == found).sum())
