"""Made-up promotions in a watch window, judged by the product's own functions after each request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from podium.ledger.watch_counts import Counts
from podium.lifecycle.watched import Terms
from podium.metrics.paired import Sums
from podium.monitoring.watching import Ending, Seen, Verdict, judge

OPENED = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("v8", "v7")
TERMS = Terms(
    rows=5000,
    at_most_seconds=timedelta(days=7).total_seconds(),
    labelled_rows=300,
    auto_rollback="on",
    metric="log_loss",
    labels=("no", "yes"),
    margin=0.0,
    max_ratio=1.0,
)
_SPREAD = 0.214


@dataclass(frozen=True)
class Promotion:
    """How a new version and the one before answer.

    Attributes:
        new_fails: Share of requests that the new version fails.
        old_fails: The same of the old one.
        slower: Share of requests for which the new one takes longer than it may.
        worse: By how much its loss is greater on average.
        requests: How many requests of one row come.
        labelled: To how many of them labels come, the first ones.
    """

    new_fails: float = 0.01
    old_fails: float = 0.01
    slower: float = 0.5
    worse: float = 0.0
    requests: int = 5000
    labelled: int = 5000


@dataclass(frozen=True)
class Watched:
    """How a promotion came out: its ending, and after how many requests."""

    ending: Ending | None
    requests: float


def verdict(counts: Counts = Counts(), sums: Sums = Sums(), age: float = 0.0, **seen: object) -> Verdict:  # noqa: B008
    """Judge the made-up terms after so many seconds."""
    at = OPENED + timedelta(seconds=age)
    return judge(TERMS, NAMES, OPENED, Seen(at, counts, sums, **{"processes": 1, **seen}))  # type: ignore[arg-type]


def watch(promotion: Promotion, seed: int, every: int = 25) -> Watched:
    """Play one promotion until it is found worse, or all requests have come.

    It is looked at after each request that one version alone fails, and after every so many requests.
    """
    draws, size = np.random.default_rng(seed), promotion.requests
    new, old = (draws.uniform(size=size) < share for share in (promotion.new_fails, promotion.old_fails))
    slower = draws.uniform(size=size) < promotion.slower
    losses = draws.standard_t(5, size=size) * _SPREAD / np.sqrt(5 / 3) + promotion.worse
    losses[promotion.labelled :] = 0.0
    added = {
        name: np.cumsum(part)
        for name, part in {
            "new": new & ~old,
            "old": old & ~new,
            "both": new & old,
            "timed": ~new & ~old,
            "slower": slower & ~new & ~old,
            "losses": losses,
            "squares": losses**2,
        }.items()
    }
    looks = np.flatnonzero((new ^ old) | ((np.arange(size) + 1) % every == 0))
    for at in looks:
        asked = int(at) + 1
        failed = [int(added[name][at]) for name in ("new", "old", "both", "timed", "slower")]
        sums = Sums(min(asked, promotion.labelled), float(added["losses"][at]), float(added["squares"][at]))
        found = verdict(Counts(asked, min(asked, TERMS.rows - 1), *failed), sums)
        if found.ending is Ending.BAD:
            return Watched(found.ending, asked)
    return Watched(None, np.inf)
