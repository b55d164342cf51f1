"""Made-up promotions and ramps, judged by the product's own functions after each telling request."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.watch_counts import Counts
from podium.lifecycle.ramped import Ramp, ramp_of
from podium.lifecycle.watched import Terms, WatchWindow
from podium.metrics.paired import Sums
from podium.monitoring.ramp import judge_step
from podium.monitoring.watch_record import Standing
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
RAMP_STEPS = (5, 25, 50)
RAMP_TERMS = replace(TERMS, rows=1000, labelled_rows=0)
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


class Stream:
    """The requests of one promotion or ramp, as what is counted up to each of them.

    Args:
        promotion: How the two versions answer.
        seed: Of all that is drawn.
        every: It is looked at after each request that one version alone fails, and after every so many.
    """

    def __init__(self, promotion: Promotion, seed: int, every: int) -> None:
        draws, size = np.random.default_rng(seed), promotion.requests
        new, old = (draws.uniform(size=size) < share for share in (promotion.new_fails, promotion.old_fails))
        slower = draws.uniform(size=size) < promotion.slower
        losses = draws.standard_t(5, size=size) * _SPREAD / np.sqrt(5 / 3) + promotion.worse
        losses[promotion.labelled :] = 0.0
        parts = (new & ~old, old & ~new, new & old, ~new & ~old, slower & ~new & ~old)
        self.looks = np.flatnonzero((new ^ old) | ((np.arange(size) + 1) % every == 0))
        self._counted = np.cumsum(parts, axis=1)
        self._sums = np.cumsum((losses, losses**2), axis=1)
        self._labelled = promotion.labelled

    def seen(self, at: int) -> tuple[Counts, Sums]:
        """Return what is known after a request, which all have one row."""
        asked = at + 1
        counts = Counts(asked, asked, *map(int, self._counted[:, at]))
        return counts, Sums(min(asked, self._labelled), *map(float, self._sums[:, at]))


def watch(promotion: Promotion, seed: int, every: int = 25) -> Watched:
    """Play one promotion until it is found worse, or all requests have come."""
    stream = Stream(promotion, seed, every)
    for at in map(int, stream.looks):
        counts, sums = stream.seen(at)
        # One row is missing to the end: a window that is good is not looked at any more.
        found = verdict(counts._replace(rows=min(counts.rows, TERMS.rows - 1)), sums)
        if found.ending is Ending.BAD:
            return Watched(found.ending, counts.requests)
    return Watched(None, np.inf)


@dataclass(frozen=True)
class Ramped:
    """How a ramp came out: the share at which it ended, how, and after how many of the version's requests."""

    said: str
    share: int
    requests: float


def ramp(promotion: Promotion, seed: int, every: int = 25) -> Ramped:
    """Play one ramp, by steps of 1,000 rows, until it ends or stops."""
    stream = Stream(promotion, seed, every)
    window = WatchWindow("simulated", 1, 8, 7, OPENED, RAMP_TERMS)
    now = Ramp(window, "run", RAMP_STEPS, RAMP_STEPS[0], 0, OPENED, stopped=False, reason="")
    for at in map(int, stream.looks):
        counts, sums = stream.seen(at)
        seen = Seen(OPENED + timedelta(seconds=at), counts, sums, processes=1)
        judged = now.judged
        looked = Standing(judged, (), seen, judge(judged.terms, NAMES, OPENED, seen))
        new = judge_step(now, looked)
        if new is None:
            continue
        if new.event is EventKind.RAMP_ENDED:
            return Ramped(str(new.details["said"]), now.share, counts.requests)
        now = ramp_of(_recorded(new, seen.at))
    return Ramped("", now.share, np.inf)


def _recorded(new: NewEvent, at: datetime) -> Event:
    return Event(**vars(new), seq=2, at=at, previous_hash="", hash="")
