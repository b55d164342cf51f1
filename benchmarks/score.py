"""How fast batch scoring is beside a bare ``predict``, and how much memory it takes: ``make bench-score``.

Each model scores the same rows three times in each way, in turns: from memory with nothing else, as
``podium score`` does, from a parquet file to another, and with each row counted for monitoring, too. The best
of each counts: what else the machine does only makes it slower. The ratio of processor time is what is left
of the speed on one core that does all. The peaks are of processes of their own, which count rows. Nothing
passes or fails here.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from results import QUICK, Figure, keep, most_memory
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from podium.ledger.scored_counts import OnBasis
from podium.metrics.predictions import answer_streams, predict
from podium.metrics.reference import Reference, make_reference, with_answers
from podium.metrics.windows import Spread
from podium.model_file.scoring import CHUNK_ROWS
from podium.model_file.spec import ModelSpec
from podium.names import Tag
from podium.registry.client import Registry
from podium.registry.manifest import downloaded
from podium.registry.model_files import load_model
from podium.scoring.counting import Counting
from podium.scoring.outputs import output_of
from podium.scoring.pinned_version import Pinned
from podium.scoring.run import Job, score_to
from podium.scoring.scorer import Scorer
from podium.settings import PROJECT_ROOT
from podium.sources.read import Partition, Source
from podium.training.saving import log_model, usable

sys.path.insert(0, str(PROJECT_ROOT / "tests"))
from support.toy import TOY

COLUMNS = [f"x{place:02}" for place in range(13)]
LABELS = ("no", "yes")
# Each chunk is of six days, and the windows are days.
BEGAN, DAILY = datetime(2026, 1, 1, tzinfo=UTC), "0 0 * * *"
SPEC = ModelSpec.model_validate(
    {
        **TOY,
        "data": {**TOY["data"], "time_column": "at", "inputs": COLUMNS},
        "monitoring": {"windows": DAILY},
        "scoring": {"source": "rows", "output": "scores"},
    }
)
SIZES = (100_000, 200_000) if QUICK else (1_000_000, 5_000_000)
TURNS = 1 if QUICK else 3
MODELS: dict[str, Any] = {
    "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
    "gradient boosting, 100 trees": HistGradientBoostingClassifier(max_iter=100, early_stopping=False),
    "forest, 50 trees": RandomForestClassifier(50, max_depth=10, random_state=0),
}
TRUSTED = [
    "sklearn.tree._tree.Tree",
    "sklearn._loss._loss.CyHalfBinomialLoss",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "functools.partial",
    "numpy.dtype",
]


def chunk(seed: int) -> pd.DataFrame:
    """Make one chunk of rows."""
    draws = np.random.default_rng(seed)
    return pd.DataFrame(draws.normal(size=(CHUNK_ROWS, len(COLUMNS))), columns=COLUMNS)


def write_rows(path: Path, rows: int) -> None:
    """Write a parquet file of so many rows, chunk by chunk, with a moment of each."""
    with pq.ParquetWriter(path, pa.Schema.from_pandas(dated(0), preserve_index=False)) as writer:
        for seed in range(rows // CHUNK_ROWS):
            writer.write_table(pa.Table.from_pandas(dated(seed), preserve_index=False))


def dated(seed: int) -> pd.DataFrame:
    """Return a chunk with moments in their order."""
    begin = BEGAN + timedelta(days=6 * seed)
    return chunk(seed).assign(at=pd.date_range(begin, periods=CHUNK_ROWS, freq="5s"))


def reference(scorer: Scorer) -> Reference:
    """Return what rows are counted on."""
    rows = chunk(98)[:20_000]
    answers = answer_streams(LABELS, predict(scorer.model, rows, LABELS))
    times = pd.Series(pd.date_range(BEGAN - timedelta(days=90), periods=len(rows), freq="5min"))
    features = make_reference(rows, times, DAILY)
    return with_answers(features, make_reference(answers, times, DAILY))


def register(registry: Registry, name: str, estimator: Any) -> None:
    """Train on made-up rows, log as a trainer's model is logged, register."""
    inputs = chunk(99)[:20_000]
    noise = np.random.default_rng(1).normal(size=len(inputs))
    label = np.where(inputs.to_numpy()[:, :4].sum(axis=1) + noise > 0, "yes", "no")
    mlflow.set_experiment(experiment_id=registry.ensure_experiment(name))
    with (
        usable(estimator.fit(inputs, label), classifies=True, requirements=[]) as ready,
        mlflow.start_run() as run,
    ):
        log_model(ready, inputs, ["scikit-learn"], TRUSTED)
    model_id = registry.run(run.info.run_id).model_id
    registry.register(name, run.info.run_id, model_id, {Tag.INPUTS_DIGEST: name.replace(" ", "-")})


def load(registry: Registry, name: str) -> Scorer:
    """Load a version from a copy of its files."""
    with downloaded(registry, name, 1) as folder:
        return Scorer(load_model(folder), LABELS)


@dataclass(frozen=True)
class Seconds:
    """How long something took, on the clock and of the processor."""

    clock: float
    processor: float


def seconds(work: Callable[[], object]) -> Seconds:
    """Time one call."""
    clock, processor = perf_counter(), process_time()
    work()
    return Seconds(perf_counter() - clock, process_time() - processor)


def score(scorer: Scorer, folder: Path, file: str, known: Reference | None = None) -> None:
    """Score a file as ``podium score`` does; with a reference its rows are counted for monitoring."""
    source, partition = Source(file, folder), Partition("rows", file)
    job = Job(source, partition, output_of("scores", "rows", folder, None))
    counts = None if known is None else counted_on(known, source, partition)
    score_to(scorer, Pinned("bench", 1, "0" * 64, "champion"), job, lambda _: None, None, counts)
    if counts is not None and counts.problem:
        raise SystemExit(counts.problem)


def counted_on(known: Reference, source: Source, partition: Partition) -> Counting:
    """Return what counts a file."""
    spread, of = Spread(DAILY, BEGAN), OnBasis("bench", 1, "0" * 64)
    return Counting(SPEC, known.columns, of, spread, source, partition, "")


def bare(scorer: Scorer, chunks: list[pd.DataFrame]) -> None:
    """Predict chunks that are in memory."""
    for rows in chunks:
        predict(scorer.model, rows, LABELS)


def compare(scorer: Scorer, folder: Path, chunks: list[pd.DataFrame], model: str) -> list[Figure]:
    """Time both ways in turns, and return the figures of a model."""
    file = f"{SIZES[-1]}.parquet"
    known = reference(scorer)
    alone, whole, counted = [], [], []
    for _ in range(TURNS):
        alone.append(seconds(lambda: bare(scorer, chunks)))
        whole.append(seconds(lambda: score(scorer, folder, file)))
        counted.append(seconds(lambda: score(scorer, folder, file, known)))
    clocks = [min(one.clock for one in taken) for taken in (alone, whole, counted)]
    processors = [min(one.processor for one in taken) for taken in (alone, whole, counted)]
    rows, more = len(chunks) * CHUNK_ROWS, processors[2] - processors[1]
    return [
        Figure(f"{model}: bare predict", rows / clocks[0], "rows/s"),
        Figure(f"{model}: batch scoring", rows / clocks[1], "rows/s"),
        Figure(f"{model}: batch / bare", clocks[0] / clocks[1], "x"),
        Figure(f"{model}: batch / bare, by processor time", processors[0] / processors[1], "x"),
        Figure(f"{model}: rows counted / not counted", clocks[1] / clocks[2], "x"),
        Figure(f"{model}: processor time of counting a row", more / rows * 1e6, "µs"),
    ]


def peak_megabytes(folder: Path, name: str, file: str) -> float:
    """Return the most memory that a process holds that does nothing but score one file."""
    words = [sys.executable, __file__, str(folder), name, file]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def only_score(folder: Path, name: str, file: str) -> None:
    """Score one file and print the peak of the process, in megabytes."""
    scorer = load(Registry(f"sqlite:///{folder}/mlflow.db"), name)
    score(scorer, folder, file, reference(scorer))
    sys.stdout.write(f"{json.dumps(most_memory() / 1e6)}\n")


def main() -> None:
    """Measure all models, and keep the figures."""
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    figures = []
    with tempfile.TemporaryDirectory(prefix="podium-bench-") as name:
        folder = Path(name)
        os.chdir(folder)
        for size in SIZES:
            write_rows(folder / f"{size}.parquet", size)
        registry = Registry(f"sqlite:///{folder}/mlflow.db")
        chunks = [chunk(seed) for seed in range(SIZES[-1] // CHUNK_ROWS)]
        for model, estimator in list(MODELS.items())[: 1 if QUICK else None]:
            register(registry, model, estimator)
            figures += compare(load(registry, model), folder, chunks, model)
            for size in SIZES:
                peak = peak_megabytes(folder, model, f"{size}.parquet")
                figures.append(Figure(f"{model}: most memory at {size:,} rows", peak, "MB"))
    keep("score", figures)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        only_score(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
    else:
        main()
