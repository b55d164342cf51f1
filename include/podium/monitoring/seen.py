"""A window as it is observed: its rows part by part, or what scoring and model servers counted of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from podium.errors import ColumnGone, DataError
from podium.gates.counted_rows import CountedRows, category_problems
from podium.ledger.served_counts import KEPT_DAYS, OnBins, Span, served_in
from podium.ledger.store import Ledger
from podium.metrics.answers import Answers, Numbers
from podium.metrics.bins import Counts
from podium.metrics.reference import Detector, Reference
from podium.metrics.reference_file import bins_digest
from podium.metrics.row_scores import row_losses
from podium.metrics.windows import Window
from podium.model_file.spec import ModelSpec
from podium.monitoring.counted import CountedWindow, counted_window
from podium.monitoring.evidence import counts_content
from podium.monitoring.harm import Losses, Sums, losses
from podium.monitoring.journal import Observation, observe
from podium.monitoring.known_rows import with_own
from podium.monitoring.proxies import Proxy
from podium.monitoring.rows import Part, PartitionRows, arrived_labels, known_part
from podium.names import version_name
from podium.scoring.run import source_of
from podium.scoring.scorer import Scorer
from podium.sources.read import list_partitions

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
        scorer: Loads the version, if anything is asked of it.
        reference: What its windows are held against.
        proxy: What a row is expected to cost before its label is here; None where no label comes later.
        detectors: Own detectors by name.
        pool: The rows of the reference, for own detectors; none without any.
    """

    spec: ModelSpec
    version: int
    scorer: Callable[[], Scorer]
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
        counted: What was counted of its rows, now or before.
        cost: What they cost; None: nobody asked.
        kept: The rows, for own detectors alone.
    """

    counted: CountedRows
    cost: Losses | None = None
    kept: list[pd.DataFrame] = field(default_factory=list)

    def add(self, watched: Watched, part: Part) -> None:
        """Take what some rows cost, and keep them for own detectors."""
        if self.cost is not None and part.answers is not None:
            self.cost += _cost(watched, part.answers, part.rest)
        self.kept += [part.inputs] if watched.detectors else []


def observed(ledger: Ledger, watched: Watched, window: Window, home: Path) -> Seen:
    """Count the rows of a window, or add up what model servers or batch scoring counted."""
    reference = watched.reference
    try:
        read = _read(ledger, watched, window, home)
    except ColumnGone as error:
        return Seen(Observation(window, 0, problems=(str(error),)), {})
    rows, counts, problems = read.counted.rows, read.counted.counts, read.counted.problems()
    if watched.served:
        rows, counts = _served(ledger, watched, window)
        problems = category_problems(reference.columns, counts)
    if reference.unknown:
        problems = ()
    found = replace(
        observe(reference.columns, window, counts), losses=read.cost, problems=problems, rows=rows
    )
    if read.kept:
        found = with_own(found, watched.detectors, watched.pool, pd.concat(read.kept, ignore_index=True))
    return Seen(found, counts_content(counts))


def _read(ledger: Ledger, watched: Watched, window: Window, home: Path) -> _Read:
    """Read what of a window was not counted before; for labels and own detectors, all of it.

    Raises:
        ColumnGone: Rows have no such column.
    """
    spec = watched.spec
    asks = spec.monitoring is not None and spec.monitoring.tolerance is not None
    read = _Read(CountedRows(spec, watched.reference.columns), _cost_of_no_row(spec))
    if watched.served and not asks:
        return read
    if spec.scoring is not None:
        _read_partitions(ledger, watched, window, home, read)
        return read
    part = known_part(spec, window, home, watched.scorer)
    read.add(watched, part)
    if not watched.served:
        read.counted.add(part.counted)
    return read


def _read_partitions(ledger: Ledger, watched: Watched, window: Window, home: Path, read: _Read) -> None:
    """Add up the partitions that batch scoring scores, in their order, and read those that nobody counted."""
    spec, source, labels = watched.spec, source_of(watched.spec, home), arrived_labels(watched.spec, home)
    partitions, undated, opened = list_partitions(source), 0, 0
    counts = counted_window(ledger, spec, watched.version, watched.reference, source, partitions, window)
    for partition in partitions:
        known = counts.known(partition)
        if known is not None and labels is None and not watched.detectors:
            read.counted.take(known.rows)
            undated += known.undated
            continue
        rows = PartitionRows(spec, source, partition, labels)
        now = CountedRows(spec, watched.reference.columns)
        for part in rows.parts(window, watched.scorer()):
            read.add(watched, part)
            if known is None and not watched.served:
                now.add(part.counted)
        opened, undated = opened + 1, undated + rows.times.undated
        if known is None:
            counts.add(partition, rows.times, now)
        read.counted.take(now if known is None else known.rows)
    counts.keep()
    _tell(watched, counts, len(partitions), opened, undated)
    if labels is not None:
        labels.tell()


def _tell(watched: Watched, counts: CountedWindow, partitions: int, opened: int, undated: int) -> None:
    spec = watched.spec
    if not watched.served:
        log.info(
            "%s %s: window %s, counted by batch scoring: %s of %s partitions; by an earlier run of "
            "monitoring: %s; read now: %s",
            *(spec.name, version_name(watched.version), counts.window, f"{counts.by_scoring:,}"),
            *(f"{partitions:,}", f"{counts.before:,}", f"{opened:,}"),
        )
    if undated:
        log.warning(
            "%s: %s rows of %s are in no window: %s holds no time of data.time_formats",
            *(spec.name, f"{undated:,}", counts.source.source, spec.data.time_column),
        )


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
