"""How long the bootstrap of the gates takes: ``make bench-gates``.

Machines differ, so each time is also given as a ratio to drawing the same row numbers with plain NumPy, in
the same run. Nothing passes or fails here.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from time import perf_counter

import numpy as np
from results import QUICK, Figure, keep

from podium.metrics.answers import Answers
from podium.metrics.bootstrap import metric_differences
from podium.model_file.metric_gate import NotWorse
from podium.model_file.metric_names import OWN_METRICS, TaskKind

ROWS, RESAMPLES = (10_000, 500) if QUICK else (100_000, 2_000)
RULE = NotWorse(resamples=RESAMPLES)
METRICS = ("log_loss", "rmspe", "roc_auc")


def draw() -> None:
    """Draw the row numbers of all resamples, and do nothing with them."""
    generator = np.random.default_rng(RULE.seed)
    for _ in range(RULE.resamples):
        generator.integers(0, ROWS, size=ROWS, dtype=np.int32)


def answers(task: TaskKind, model: int) -> Answers:
    """Return what a model answers to the same rows."""
    rows, draws = np.random.default_rng(0), np.random.default_rng(model)
    if task is TaskKind.CLASSIFICATION:
        truth = rows.integers(0, 2, ROWS)
        return Answers(task, ("no", "yes"), truth, draws.dirichlet(np.ones(2), ROWS))
    numbers = rows.uniform(1, 9, ROWS)
    return Answers(task, (), numbers, numbers + draws.normal(size=ROWS))


def seconds(work: Callable[[], object]) -> float:
    """Time the best of three calls: what else the machine does only makes a call slower."""
    taken = []
    for _ in range(3):
        start = perf_counter()
        work()
        taken.append(perf_counter() - start)
    return min(taken)


def megabytes(work: Callable[[], object]) -> float:
    """Return the most memory that one call holds; being watched it takes longer."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def main() -> None:
    """Measure all metrics, and keep the figures."""
    plain = seconds(draw)
    figures = [Figure(f"draw of {RULE.resamples:,} resamples of {ROWS:,} rows, alone", plain, "s")]
    for metric in METRICS:
        sides = [answers(OWN_METRICS[metric].task, model) for model in (1, 2)]
        taken = seconds(lambda: metric_differences(metric, (), RULE, *sides))  # noqa: B023 - called at once
        few = RULE.model_copy(update={"resamples": 100})
        peak = megabytes(lambda: metric_differences(metric, (), few, *sides))  # noqa: B023 - called at once
        figures += [
            Figure(f"{metric}: bootstrap of two models", taken, "s"),
            Figure(f"{metric}: bootstrap / draw", taken / plain, "x"),
            Figure(f"{metric}: most memory", peak, "MB"),
        ]
    keep("gates", figures)


if __name__ == "__main__":
    main()
