"""How often the live gate passes a worse candidate, and how many labels a good one needs.

Streams of made-up labelled rows go through the product's own functions, with a look after each label (of the
metrics that are no mean of rows, and of a canary, after each 100). Beside it a 95% interval that is meant for
one look alone. Nothing passes or fails here; ``make bench-live-gate``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from results import QUICK, Figure, at_most, keep
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.live_streams import (
    Sides,
    first_pass,
    fixed_interval_passes,
    matches,
    rare_mistakes,
    sales,
    some_looks,
    worse_by,
)

STREAMS, FEW_STREAMS = (50, 8) if QUICK else (4_000, 400)
ROWS, FIRST = 5_000, 500

Make = Callable[[int, int], Sides]


def of_noise(make: Callable[[int, float, int], Sides], noise: float) -> Make:
    """Return a maker of streams by rows and seed."""
    return lambda rows, seed: make(rows, noise, seed)


def rare(share: float, also_right: float) -> Make:
    """Return a maker of streams of rare mistakes."""
    return lambda rows, seed: rare_mistakes(rows, share, seed, also_right)


# Name, metric, streams at exactly the margin, equally good ones, better ones, and the first look.
CASES: tuple[tuple[str, str, Make, Make, Make, int], ...] = (
    (
        "matches",
        "log_loss",
        of_noise(matches, 0.3),
        of_noise(matches, 0.15),
        of_noise(matches, 0.0),
        FIRST,
    ),
    ("matches", "log_loss", of_noise(matches, 0.3), of_noise(matches, 0.15), of_noise(matches, 0.0), 30),
    (
        "matches",
        "brier_score",
        of_noise(matches, 0.3),
        of_noise(matches, 0.15),
        of_noise(matches, 0.0),
        FIRST,
    ),
    ("1% rare mistakes", "accuracy", rare(0.01, 0.0), rare(0.01, 0.01), rare(0.01, 0.03), FIRST),
    ("1% rare mistakes", "accuracy", rare(0.01, 0.0), rare(0.01, 0.01), rare(0.01, 0.03), 30),
    ("1% rare mistakes", "log_loss", rare(0.01, 0.0), rare(0.01, 0.01), rare(0.01, 0.03), FIRST),
    (
        "sales",
        "mean_absolute_error",
        of_noise(sales, 0.13),
        of_noise(sales, 0.1),
        of_noise(sales, 0.05),
        FIRST,
    ),
)
BY_LOOKS = (
    ("matches", "roc_auc", of_noise(matches, 0.3), True),
    ("sales", "root_mean_squared_error", of_noise(sales, 0.13), True),
    ("sales", "rmspe", of_noise(sales, 0.13), True),
    ("matches, canary", "log_loss", of_noise(matches, 0.6), False),
)


def main() -> None:
    """Print both tables."""
    console = Console(file=sys.stdout, width=140)
    figures: list[Figure] = []
    console.print(means_table(figures))
    console.print(looks_table(figures))
    keep("live-gate", figures)


def means_table(figures: list[Figure]) -> Table:
    """Return what the metrics that are a mean of rows give, and add their figures."""
    table = Table(title=f"{STREAMS:,} streams of {ROWS:,} labels, a look after each; passes at 95%")
    for title in ("stream", "metric", "first look", "margin", "at the margin", "interval for one look"):
        table.add_column(title)
    table.add_column("equal: passes, labels (median, 90%)")
    table.add_column("better: passes, labels")
    table.add_column("one look, equal: labels for 80%")
    for name, metric, at_margin, equal, better, first in CASES:
        margin = worse_by(metric, at_margin(1_000_000, 5))
        worse, peeking = [], []
        for seed in range(STREAMS):
            sides = at_margin(ROWS, 1000 + seed)
            worse.append(first_pass(metric, sides, margin, first=first))
            looks = np.arange(first, ROWS + 1, dtype=float)
            peeking.append(fixed_interval_passes(metric, sides, margin, looks).any())
        figures.append(passed_at_margin(f"{name}, {metric}, first look at {first}", worse))
        table.add_row(
            name,
            metric,
            f"{first}",
            f"{margin:.4f}",
            f"{np.isfinite(worse).mean():.1%}",
            f"{np.mean(peeking):.1%}",
            when(partial(first_pass, metric, margin=margin, first=first), equal),
            when(partial(first_pass, metric, margin=margin, first=first), better),
            labels_of_one_look(metric, equal, margin),
        )
    return table


def passed_at_margin(what: str, worse: Sequence[float]) -> Figure:
    """Return how many streams pass that are worse by exactly the margin."""
    return at_most(f"{what}: passes at the margin", 100 * float(np.isfinite(worse).mean()), "%", 5)


def looks_table(figures: list[Figure]) -> Table:
    """Return what the others give, and add their figures."""
    table = Table(title=f"{FEW_STREAMS:,} streams of {ROWS:,} labels, a look at {FIRST} and after each 100")
    for title in ("stream", "metric", "margin", "at the margin", "equal: passes, labels (median, 90%)"):
        table.add_column(title)
    for name, metric, at_margin, paired in BY_LOOKS:
        margin = worse_by(metric, at_margin(1_000_000, 5))
        equal = of_noise(sales, 0.1) if name == "sales" else of_noise(matches, 0.15)
        look = partial(some_looks, metric, margin=margin, looks=range(FIRST, ROWS + 1, 100), paired=paired)
        draw = (lambda make, seed: make(ROWS, seed)) if paired else two_sides
        worse = [look(sides=draw(at_margin, 1000 + seed)) for seed in range(FEW_STREAMS)]
        figures.append(passed_at_margin(f"{name}, {metric}, some looks", worse))
        good = [look(sides=draw(equal, 9000 + seed)) for seed in range(FEW_STREAMS // 4)]
        table.add_row(name, metric, f"{margin:.4f}", f"{np.isfinite(worse).mean():.1%}", summed_up(good))
    return table


def two_sides(make: Make, seed: int) -> Sides:
    """Return a canary: each side answers matches of its own."""
    return make(ROWS, 2 * seed)[0], make(ROWS, 2 * seed + 1)[1]


def when(look: Callable[..., float], make: Make) -> str:
    """Return how many of some streams pass, and when."""
    return summed_up([look(sides=make(ROWS, 9000 + seed)) for seed in range(FEW_STREAMS)])


def summed_up(passed: list[float]) -> str:
    """Return share, median and 90% quantile."""
    middle, late = np.quantile(passed, [0.5, 0.9], method="lower")
    return f"{np.isfinite(passed).mean():.0%}, {middle:.0f}, {late:.0f}"


def labels_of_one_look(metric: str, make: Make, margin: float) -> str:
    """Return at how many labels a single look passes 80% of equally good candidates."""
    looks = np.arange(30, ROWS + 1, 10, dtype=float)
    passes = np.mean(
        [
            fixed_interval_passes(metric, make(ROWS, 9000 + seed), margin, looks)
            for seed in range(FEW_STREAMS)
        ],
        axis=0,
    )
    enough = passes >= 0.8
    return f"{looks[enough.argmax()]:.0f}" if enough.any() else f"over {ROWS}"


if __name__ == "__main__":
    main()
