"""Rows scored in batches: what can be scored is, as a bare predict does it; each other row has its reason."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.pyfunc import PyFuncModel
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from podium.ahead import ahead
from podium.batch_scoring import Job, PartitionScores, Progress, score_to
from podium.errors import DataError, Outage, PodiumError, TrainerError
from podium.registry import load_model
from podium.saving import save_model, usable
from podium.score_outputs import output_of
from podium.score_rows import Preparation, Scorer
from podium.score_sources import Partition, Source, list_partitions
from podium.score_version import Pinned
from podium.scoring import predict
from podium.settings import PROJECT_ROOT
from podium.stack.layout import Layout

PINNED = Pinned("toy", 3, "d" * 64, "champion")
TREES = ["sklearn.tree._tree.Tree"]


def rows_of(count: int, seed: int = 0) -> pd.DataFrame:
    """Rows with a number, a whole number, and a name."""
    draws = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "name": [f"row {place}" for place in range(count)],
            "x": draws.normal(size=count),
            "n": draws.integers(0, 100, count),
        }
    )


def saved(folder: Path, estimator: Any, labels: Sequence[str]) -> PyFuncModel:
    inputs = rows_of(500)[["x", "n"]]
    truth = inputs["x"] * 10 + inputs["n"]
    label = np.array(labels)[(truth > 50).astype(int)] if labels else truth
    with usable(estimator.fit(inputs, label), classifies=bool(labels), requirements=[]) as ready:
        save_model(folder, ready, inputs, [], TREES)
    return load_model(folder)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """Trees answer the same whatever else is in a chunk; this one takes no missing number."""
    folder = tmp_path_factory.mktemp("classifier") / "model"
    return Scorer(saved(folder, DecisionTreeClassifier(max_depth=6), ["no", "yes"]), ("no", "yes"))


@pytest.fixture(scope="module")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return Scorer(saved(tmp_path_factory.mktemp("regressor") / "model", DecisionTreeRegressor(), []), ())


def score(
    scorer: Scorer, source: Source, folder: Path, partition: Partition | None = None, **options: Any
) -> PartitionScores:
    """Score one partition into a folder beside the source."""
    (found,) = [partition] if partition else list_partitions(source)
    output = output_of(options.pop("to", "scores"), found.name, folder, source.database)
    return score_to(scorer, PINNED, Job(source, found, output, **options), lambda _: None)


def read(folder: Path, at: str) -> pd.DataFrame:
    return pq.read_table(folder / at).to_pandas()


def write(path: Path, rows: pd.DataFrame) -> None:
    if path.suffix == ".parquet":
        rows.to_parquet(path, index=False)
    else:
        rows.to_csv(path, index=False)


@pytest.mark.parametrize("file", ["rows.csv", "rows.csv.gz", "rows.parquet"])
@pytest.mark.parametrize("chunk_rows", [7, 1000])
def test_scores_are_those_of_a_bare_predict_with_version_moment_and_digest(
    classifier: Scorer, tmp_path: Path, file: str, chunk_rows: int
) -> None:
    rows = rows_of(100, seed=1)
    write(tmp_path / file, rows)
    done = score(classifier, Source(file, tmp_path, chunk_rows=chunk_rows), tmp_path, keys=["name"])
    assert (done.rows, done.rejected, done.partition, done.output) == (100, 0, "rows", "scores/rows.parquet")
    found = read(tmp_path, done.output)
    expected = predict(classifier.model, rows[["x", "n"]], ("no", "yes"))
    np.testing.assert_array_equal(found[["probability_no", "probability_yes"]].to_numpy(), expected)
    assert found["prediction"].tolist() == [("no", "yes")[place] for place in expected.argmax(axis=1)]
    assert found["name"].tolist() == rows["name"].tolist()
    assert found["row"].tolist() == list(range(1, 101))
    assert set(found["model_version"]) == {3}
    assert set(found["model_digest"]) == {"d" * 64}
    assert [moment.isoformat() for moment in set(found["scored_at"])] == [done.scored_at]
    assert not (tmp_path / "scores" / "_rejects").exists() or not any(
        (tmp_path / "scores/_rejects").iterdir()
    )
