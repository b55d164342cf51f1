"""The live gate on hundreds of streams, looked at after each label: what it promises, and what it costs."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest

from podium.gates.live_comparison import _worse_by
from podium.model_file.gates import LiveBound
from podium.model_file.metric_gate import Certainty
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

STREAMS, ROWS = 300, 3000
WORSE_MATCHES = partial(matches, noise=0.3)
RARE = partial(rare_mistakes, share=0.01)
WORSE_SALES = partial(sales, noise=0.13)


@pytest.mark.parametrize("first", [30, 500])
@pytest.mark.parametrize(
    ("metric", "make", "peeking"),
    [
        ("log_loss", WORSE_MATCHES, 0.15),
        ("brier_score", WORSE_MATCHES, 0.15),
        ("accuracy", RARE, 0.3),
        ("log_loss", RARE, 0.3),
        ("mean_absolute_error", WORSE_SALES, 0.15),
    ],
)
def test_a_candidate_worse_by_exactly_the_margin_hardly_ever_passes_however_often_one_looks(
    metric: str, make: partial[Sides], peeking: float, first: int
) -> None:
    margin = worse_by(metric, make(rows=400_000, seed=5))
    looks = np.arange(first, ROWS + 1, dtype=float)
    passed = fooled = 0
    for seed in range(STREAMS):
        sides = make(rows=ROWS, seed=1000 + seed)
        passed += math.isfinite(first_pass(metric, sides, margin, first=first))
        fooled += fixed_interval_passes(metric, sides, margin, looks).any()
    assert passed <= 0.03 * STREAMS
    # What a 95% interval for one look alone does.
    assert fooled >= peeking * STREAMS


@pytest.mark.parametrize(
    ("metric", "make", "paired"),
    [
        ("roc_auc", WORSE_MATCHES, True),
        ("root_mean_squared_error", WORSE_SALES, True),
        ("rmspe", WORSE_SALES, True),
        ("log_loss", WORSE_MATCHES, False),
    ],
)
def test_so_it_is_of_metrics_that_are_no_mean_and_of_a_canary(
    metric: str, make: partial[Sides], paired: bool
) -> None:
    margin = worse_by(metric, make(rows=400_000, seed=5))
    passed = 0
    for seed in range(100):
        sides = make(rows=2000, seed=1000 + seed)
        if not paired:
            sides = (sides[0], make(rows=2000, seed=5000 + seed)[1])
        passed += math.isfinite(some_looks(metric, sides, margin, range(100, 2001, 200), paired=paired))
    assert passed <= 4


def test_good_candidates_pass_with_less_than_four_times_the_labels_of_a_single_look() -> None:
    margin = worse_by("log_loss", WORSE_MATCHES(rows=400_000, seed=5))
    equal, better = (
        [first_pass("log_loss", matches(ROWS, noise, 9000 + seed), margin, first=100) for seed in range(100)]
        for noise in (0.15, 0.0)
    )
    looks = np.arange(100, ROWS + 1, 10, dtype=float)
    single = np.mean(
        [
            fixed_interval_passes("log_loss", matches(ROWS, 0.15, 9000 + seed), margin, looks)
            for seed in range(100)
        ],
        axis=0,
    )
    enough = looks[len(looks) - (single < 0.8)[::-1].argmax()]
    assert enough < np.median(equal) < 4 * enough
    assert np.median(better) < np.median(equal)
    assert np.isfinite(better).all()


def test_the_streams_ask_what_the_gate_asks() -> None:
    sides = matches(ROWS, 0.15, 1)
    at = first_pass("log_loss", sides, 0.02, first=100)
    bound = LiveBound(metric="log_loss", labelled_rows=100, not_worse=Certainty(margin=0.02))
    for rows, passes in ((at, True), (at - 1, False)):
        candidate, champion = (side.subset(np.arange(ROWS) < rows) for side in sides)
        assert (_worse_by(bound, champion, candidate, paired=True) <= 0.02) is passes
