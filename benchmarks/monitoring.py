"""How rarely monitoring raises a false alarm, and how soon it sees a change.

On made-up windows and our own matches, by the product's own functions; what is asked of them stands beside
each figure. ``make bench-monitoring``.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from podium.metrics.reference import add_counts, count_rows, make_reference
from podium.metrics.windows import Window
from podium.monitoring.journal import observe
from podium.reporting.drift_picture import draw
from podium.settings import PROJECT_ROOT
from support.monitored_streams import (
    FIRST,
    STABLE,
    Stream,
    few_labels,
    football,
    recorded,
    watch,
    watch_answers,
    watch_bikes,
)
from support.watched_streams import RAMP_STEPS, Promotion, ramp
from support.watched_streams import watch as watch_promotion

SEEDS = 20
FEW_LABELS_STREAMS, ANSWERS_SEEDS = 200, 4
# With this argument it draws the history of the matches for the documents, too.
PICTURE = "--picture"
EQUAL_PROMOTIONS, WORSE_PROMOTIONS = 3000, 300
FEATURES, ROWS, CHUNK = 100, 1_000_000, 100_000

STREAMS = {
    "independent": Stream(),
    "independent, 12 past windows": Stream(past=12),
    "each window's mean wobbles by 0.1 sd": Stream(wobble=0.1),
    "weekly season of 0.3 sd": Stream(wobble=0.05, weekend=0.3),
    "the same, match: weekday": Stream(wobble=0.05, weekend=0.3, past=70, match="weekday"),
    "AR 0.5": Stream(wobble=0.1, memory=0.5),
    "AR 0.9": Stream(wobble=0.1, memory=0.9),
}


def main() -> None:
    """Print all tables."""
    console = Console(file=sys.stdout, width=140)
    console.print(promotions_table())
    console.print(ramps_table())
    console.print(counting_table())
    console.print(inputs_table())
    console.print(labels_table())
    console.print(answers_table())
    console.print(real_table())


PROMOTIONS = {
    "equal versions": (Promotion(), EQUAL_PROMOTIONS, "at most 1%"),
    "errors 1% -> 5%": (Promotion(new_fails=0.05), WORSE_PROMOTIONS, "420"),
    "errors 1% -> 50%": (Promotion(new_fails=0.5), WORSE_PROMOTIONS, "25"),
    "log loss +0.05": (Promotion(worse=0.05), WORSE_PROMOTIONS, "220"),
    "nine of ten requests too slow": (Promotion(slower=0.9), WORSE_PROMOTIONS, "-"),
}
# Looks at each request that one version alone fails, and at every fifth.
LOOKS = 5


def promotions_table() -> Table:
    """Return how often a watch window goes back from an equal version, and how soon from a worse one."""
    table = Table(title="Promotions in a watch window of 5,000 requests, all three questions together")
    for title in ("new version", "promotions", "rolled back", "after requests (median, 90%)", "asked"):
        table.add_column(title)
    for name, (promotion, number, asked) in PROMOTIONS.items():
        found = np.asarray([watch_promotion(promotion, seed, LOOKS).requests for seed in range(number)])
        back = np.isfinite(found)
        middle, late = np.quantile(found[back], [0.5, 0.9]) if back.any() else (np.nan, np.nan)
        table.add_row(name, f"{number:,}", f"{back.mean():.2%}", f"{middle:.0f}, {late:.0f}", asked)
    return table


def ramps_table() -> Table:
    """Return how often the share of an equal version goes back to 0, and how soon that of a worse one."""
    table = Table(title="Ramps of 5%, 25% and 50% of the clients, 1,000 requests each, all three questions")
    for title in ("new version", "ramps", "back to 0", "at 5%", "after its requests (median, 90%)", "asked"):
        table.add_column(title)
    for name, (promotion, number, asked) in PROMOTIONS.items():
        back = [one for seed in range(number) if (one := ramp(promotion, seed, LOOKS)).said != "good"]
        after = [one.requests for one in back] or [np.nan]
        middle, late = np.quantile(after, [0.5, 0.9])
        first = np.mean([one.share == RAMP_STEPS[0] for one in back]) if back else np.nan
        table.add_row(
            name,
            f"{number:,}",
            f"{len(back) / number:.2%}",
            f"{first:.1%}",
            f"{middle:.0f}, {late:.0f}",
            asked if promotion == Promotion() else "-",
        )
    return table


def inputs_table() -> Table:
    """Return false alarms over time and delays of +0.5 sd in one of 13 features."""
    table = Table(
        title=f"13 features, {STABLE} stable windows, {SEEDS} seeds; asked: 2 in 1,000; 4 and 5 windows"
    )
    for title in ("stream", "alarms in 1,000 windows", "not judged", "seen after windows (median, 90%)"):
        table.add_column(title)
    for name, stream in STREAMS.items():
        found = [watch(stream, seed) for seed in range(SEEDS)]
        middle, late = np.quantile([one.delay for one in found], [0.5, 0.9], method="lower")
        table.add_row(
            name,
            f"{sum(one.alarms for one in found) / (SEEDS * STABLE) * 1000:.2f}",
            f"{sum(one.not_judged for one in found) / (SEEDS * STABLE):.1%}",
            f"{middle:.0f}, {late:.0f}",
        )
    return table


def answers_table() -> Table:
    """Return how often stable windows of answers alarm, by what they are held against."""
    table = Table(title=f"Answers of a forest, 50 stable windows, {ANSWERS_SEEDS} seeds; asked: 2 in 1,000")
    table.add_column("held against its answers to")
    table.add_column("alarms in 1,000 windows")
    for name, in_sample in (("the rows that it was trained on", True), ("other rows", False)):
        alarms = [watch_answers(seed, in_sample=in_sample) for seed in range(ANSWERS_SEEDS)]
        table.add_row(name, f"{np.mean(alarms) * 20:.1f}")
    return table


def labels_table() -> Table:
    """Return how soon a greater risk is known."""
    table = Table(
        title="50 labels of 500 rows a window, risk 0.32, 0.35 tolerated; asked: 5 windows for +0.1"
    )
    for title in ("risk", "alarms in 60 windows", "known after windows (median, 90%)"):
        table.add_column(title)
    for risk, rise in ((0.32, 0.0), (0.35, 0.0), (0.32, 0.1), (0.32, 0.2)):
        found = [few_labels(rise, seed, risk) for seed in range(FEW_LABELS_STREAMS)]
        middle, late = np.quantile(found, [0.5, 0.9], method="lower")
        table.add_row(f"{risk} +{rise}", f"{np.isfinite(found).mean():.1%}", f"{middle:.0f}, {late:.0f}")
    return table


def real_table() -> Table:
    """Return what is said of the matches since 2014, and of rentals that grow."""
    table = Table(
        title="Matches by month 2014-2026 (asked: 1 alarm of 67, no retrain), rentals by day (asked: 4)"
    )
    table.add_column("stream")
    table.add_column("found")
    rules, judged = football()
    if PICTURE in sys.argv:
        draw(recorded(rules, judged), PROJECT_ROOT / "docs" / "pictures" / "football-monitoring.png")
    table.add_row("matches: inputs", str(dict(Counter(str(one.moved.said) for one in judged))))
    table.add_row("matches: harm", str(dict(Counter(str(one.hurts.said) for one in judged))))
    for name, gradually in (("at the new year", False), ("a little each hour", True)):
        found = [watch_bikes(seed, gradually=gradually) for seed in range(SEEDS)]
        table.add_row(
            f"rentals grow 60% {name}", f"seen after {np.median(found):.0f}, {max(found):.0f} at most"
        )
    return table


def counting_table() -> Table:
    """Return time and memory to count and judge a large window, in chunks as batch scoring reads it."""
    draws = np.random.default_rng(0)
    names = [f"x{place}" for place in range(FEATURES)]
    chunk = pd.DataFrame(draws.normal(size=(CHUNK, FEATURES)), columns=names)
    times = pd.Series(FIRST + pd.to_timedelta(np.arange(CHUNK) % 24, unit="D"))
    reference = make_reference(chunk, times, "0 0 * * *")
    began = time.perf_counter()
    counts = count_rows(reference.columns, chunk)
    for _ in range(ROWS // CHUNK - 1):
        counts = add_counts(counts, count_rows(reference.columns, chunk))
    observe(reference.columns, Window(FIRST, FIRST + timedelta(days=1)), counts)
    seconds = time.perf_counter() - began
    table = Table(title=f"{FEATURES} features x {ROWS:,} rows a window; asked: 10 s, 1,000 MB")
    table.add_column("seconds")
    table.add_column("most memory of the process, MB")
    table.add_row(f"{seconds:.1f}", f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f}")
    return table


if __name__ == "__main__":
    main()
