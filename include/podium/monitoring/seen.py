"""A window as it is observed: its rows part by part, or what model servers counted of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from podium.errors import ColumnGone, DataError
from podium.ledger.served_counts import KEPT_DAYS, OnBins, Span, served_in
from podium.ledger.store import Ledger
from podium.metrics.answers import Answers, Numbers
from podium.metrics.bins import Counts
from podium.metrics.reference import Detector, Reference, add_counts, count_rows
from podium.metrics.reference_file import bins_digest
from podium.metrics.row_scores import row_losses
from podium.metrics.windows import Window
from podium.model_file.spec import ModelSpec
from podium.monitoring.evidence import counts_content
from podium.monitoring.harm import Losses, Sums, losses
from podium.monitoring.journal import Observation, observe
from podium.monitoring.known_rows import with_own
from podium.monitoring.proxies import Proxy
from podium.monitoring.rows import parts_of
from podium.monitoring.whole import Whole, category_problems
from podium.names import version_name
from podium.scoring.scorer import Scorer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seen:
    """A window as it was observed.

    Attributes:
        observation: What is judged.
        counts: What was counted, as it is kept.
    """

    observation: Observation
    counts: Mapping[str, Any]


@dataclass(frozen=True)
class Watched:
    """The version that is monitored.

    Attributes:
        spec: The model file.
        version: The version.
        scorer: The version, loaded.
        reference: What its windows are held against.
        proxy: What a row is expected to cost before its label is here; None where no label comes later.
        detectors: Own detectors by name.
        pool: The rows of the reference, for own detectors; none without any.
    """

    spec: ModelSpec
    version: int
    scorer: Scorer
    reference: Reference
    proxy: Proxy | None = None
    detectors: Mapping[str, Detector] = field(default_factory=dict)
    pool: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def served(self) -> bool:
        """Whether the windows are what model servers counted."""
        return self.spec.monitoring is not None and self.spec.monitoring.rows == "server"


@dataclass
class _Read:
    """What was read of a window.

    Attributes:
        rows: How many rows.
        counts: By column.
        cost: What they cost; None: nobody asked.
        problems: What is broken.
        kept: The rows, for own detectors alone.
    """

    rows: int = 0
    counts: dict[str, Counts] = field(default_factory=dict)
    cost: Losses | None = None
    problems: tuple[str, ...] = ()
    kept: list[pd.DataFrame] = field(default_factory=list)


def observed(ledger: Ledger, watched: Watched, window: Window, home: Path) -> Seen:
    """Count the rows of a window part by part, or add up what model servers counted."""
    reference = watched.reference
    try:
        read = _read(watched, window, home)
    except ColumnGone as error:
        return Seen(Observation(window, 0, problems=(str(error),)), {})
    rows, counts, cost, problems = read.rows, read.counts, read.cost, read.problems
    if watched.served:
        rows, counts = _served(ledger, watched, window)
        problems = category_problems(reference.columns, counts)
    if reference.unknown:
        problems = ()
    found = replace(observe(reference.columns, window, counts), losses=cost, problems=problems, rows=rows)
    if read.kept:
        found = with_own(found, watched.detectors, watched.pool, pd.concat(read.kept, ignore_index=True))
    return Seen(found, counts_content(counts))


def _read(watched: Watched, window: Window, home: Path) -> _Read:
    """Read the rows of a window part by part; where servers count, only those that have labels.

    Raises:
        ColumnGone: They have no such column.
    """
    spec, columns = watched.spec, watched.reference.columns
    asks = spec.monitoring is not None and spec.monitoring.tolerance is not None
    read, whole = _Read(cost=_cost_of_no_row(spec)), Whole(spec, columns)
    for part in parts_of(spec, window, home, watched.scorer) if asks or not watched.served else ():
        if read.cost is not None and part.answers is not None:
            read.cost += _cost(watched, part.answers, part.rest)
        if watched.served:
            continue
        counted = count_rows(columns, part.counted)
        read.counts = add_counts(read.counts, counted) if read.counts else counted
        whole.add(part.counted)
        read.rows += len(part.inputs)
        read.kept += [part.inputs] if watched.detectors else []
    read.problems = whole.problems(read.counts)
    return read


def still_counted(window: Window) -> bool:
    """Whether the database still keeps all that model servers counted in a window."""
    return window.start >= datetime.now(UTC) - timedelta(days=KEPT_DAYS)


def _served(ledger: Ledger, watched: Watched, window: Window) -> tuple[int, dict[str, Counts]]:
    """Return what model servers counted in a window: the rows, and the counts by column.

    Raises:
        DataError: The window is older than what is kept.
    """
    name = f"{watched.spec.name} {version_name(watched.version)}"
    if not still_counted(window):
        raise DataError(
            f"{name}: the window {window} begins more than {KEPT_DAYS} days ago, and what model servers "
            "count is kept that long"
        )
    reference = watched.reference
    sizes = {column: len(known.counts) for column, known in reference.columns.items()}
    of = OnBins(watched.spec.name, watched.version, bins_digest(reference.bins))
    served = served_in(ledger, of, Span(window.start, window.end), sizes)
    if served.lost:
        log.warning(
            "%s: in the window %s model servers had no time to count %s rows beside %s that they counted",
            *(name, window, f"{served.lost:,}", f"{served.rows:,}"),
        )
    return served.rows, dict(served.counts)


def _cost_of_no_row(spec: ModelSpec) -> Losses | None:
    """Return what no row costs; None where no labels are read."""
    section = spec.monitoring
    if section is None or section.tolerance is None:
        return None
    return Losses(Sums()) if spec.scoring is None or section.labels is not None else None


def _cost(watched: Watched, answers: Answers, rest: Numbers | None) -> Losses:
    """Return what labelled rows cost, and what is expected of the rest."""
    proxy, none = watched.proxy, np.empty(0)
    costs = row_losses(watched.spec.row_metric, answers) if len(answers) else none
    there = ~np.isnan(costs)
    if proxy is None or rest is None:
        return losses(costs[there], np.zeros(int(there.sum())), none)
    expected = proxy(answers.predictions[there]) if there.any() else none
    return losses(costs[there], expected, proxy(rest) if len(rest) else none)
