"""Count rows for monitoring in the pass in which they are scored, so that nobody reads and asks again.

The counts of a partition are kept after its scores are written. Whatever goes wrong beside, the scores count:
a partition that is not counted is read by monitoring itself.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pandas as pd

from podium.errors import PodiumError
from podium.gates.counted_rows import CountedRows, adds_up, rules_of_inputs
from podium.ledger.scored_counts import CountedPartition, OnBasis, keep_scored
from podium.ledger.served_counts import Span
from podium.lifecycle.data_age import as_of
from podium.lifecycle.recorded_reference import reference_on_record
from podium.metrics.answers import Numbers
from podium.metrics.bins import Bins
from podium.metrics.predictions import answer_streams
from podium.metrics.reference import Column, Reference
from podium.metrics.reference_file import bins_digest, reference_of
from podium.metrics.windows import Spread
from podium.model_file.metric_names import TaskKind
from podium.model_file.monitoring import MonitoringSpec
from podium.model_file.spec import ModelSpec
from podium.scoring.inputs import scorable, text_columns
from podium.scoring.pinned_version import Pinned
from podium.scoring.scorer import Scored, Scorer
from podium.services import Services
from podium.sources.columns import Kind
from podium.sources.facts import identities
from podium.sources.read import Chunk, Partition, Source
from podium.training.data import parse_times

log = logging.getLogger(__name__)

# Of all windows of a partition together, so that their counts take 8 MB at most.
_MOST_CELLS = 1_000_000
# What a changed way to count would make another: older counts are then no longer added to newer ones.
_FORM = 1


@dataclass
class Times:
    """When the rows of a partition are.

    Attributes:
        first: The first moment, in UTC; None without any.
        last: The last one.
        undated: How many rows have none.
    """

    first: datetime | None = None
    last: datetime | None = None
    undated: int = 0

    def add(self, times: pd.Series) -> None:
        """Look at some rows, as ``row_times`` returns them."""
        missing = int(times.isna().sum())
        self.undated += missing
        if missing == len(times):
            return
        low, high = (
            pd.to_datetime(at, utc=True).to_pydatetime(warn=False) for at in (times.min(), times.max())
        )
        self.first = low if self.first is None else min(self.first, low)
        self.last = high if self.last is None else max(self.last, high)


@dataclass
class Counting:
    """Counts the rows of one partition on the bins of the version that scores them.

    Attributes:
        spec: The model file.
        columns: The reference.
        of: The version, and what is counted on.
        spread: The windows.
        source: What is scored.
        partition: The partition.
        identity: What is in it before it is read.
        flags: Inputs that are true, false or missing.
        counted_at: The moment before it is read.
        problem: Why it is not counted after all.
    """

    spec: ModelSpec
    columns: Mapping[str, Column]
    of: OnBasis
    spread: Spread
    source: Source
    partition: Partition
    identity: str
    flags: tuple[str, ...] = ()
    counted_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    problem: str = ""
    _times: Times = field(default_factory=Times)
    _counted: list[CountedRows] = field(default_factory=list)

    @property
    def time_column(self) -> str:
        """The column of the source by which a row is in a window."""
        return str(self.spec.data.time_column)

    def add(self, scored: Scored) -> None:
        """Count a chunk; raises nothing."""
        if self.problem:
            return
        if self.time_column not in scored.chunk.rows.column_names:
            self._stop(f"there is no column '{self.time_column}' (data.time_column)")
            return
        try:
            self._add(scored)
        except Exception as error:  # noqa: BLE001 - whatever it raises beside, the run is for the scores
            self._stop(str(error))

    def keep(self, services: Services) -> None:
        """Keep the counts in the place of those of an earlier run; raises nothing."""
        if self.problem:
            return
        windows = (
            (Span(window.start, window.end), counted.content())
            for window, counted in zip(self.spread.windows, self._counted, strict=True)
        )
        at = self.counted_at
        kept = counted_partition(self.partition, self.identity, at, self._times, whole=True)
        try:
            if identities(self.source, [self.partition]).get(self.partition.name, "") != self.identity:
                self._stop("it has changed since it was read")
                return
            keep_scored(services.ledger, self.of, kept, windows)
        except PodiumError as error:
            self._stop(f"the counts are not written: {error}")
            return
        rows = sum(counted.rows for counted in self._counted)
        said = f"{rows:,} rows are counted for monitoring, in {len(self._counted):,} windows"
        log.info("%s: %s.", self._named, said)

    @property
    def _named(self) -> str:
        return f"{self.of.model} v{self.of.version}, {self.partition.name}"

    def _add(self, scored: Scored) -> None:
        times = row_times(self.spec, scored.chunk)
        self._times.add(times)
        asked = scorable(scored.readied.reasons, len(scored.chunk.numbers))
        numbers = self.spread.numbers(times[asked])
        new = len(self.spread.windows) - len(self._counted)
        self._counted += [CountedRows(self.spec, self.columns) for _ in range(new)]
        if not (numbers >= 0).any():
            return
        for number, rows in _by_window(counted_frame(self.spec, scored), numbers, self.flags):
            self._counted[number].add(rows)

    def _stop(self, problem: str) -> None:
        self.problem = problem
        self._counted.clear()
        log.warning(
            "%s is not counted, so monitoring reads it itself: %s. Scoring continues.", self._named, problem
        )


def counting(  # noqa: PLR0913 - a version, loaded, and what it scores
    services: Services, spec: ModelSpec, pinned: Pinned, scorer: Scorer, source: Source, partition: Partition
) -> Counting | None:
    """Return what counts a partition for monitoring; None if nothing is to be counted.

    Args:
        services: The registry and the ledger.
        spec: The model file.
        pinned: The version that scores.
        scorer: The same, loaded.
        source: What is scored.
        partition: One of its partitions.
    """
    section, name = spec.monitoring, f"{pinned.model} {pinned.name}"
    if section is None or section.rows == "server":
        return None
    try:
        since = as_of(services.ledger.present(pinned.model, pinned.version), pinned.version)
        reference = _reference(services, scorer, pinned)
        if reference is None or since is None:
            log.info("%s has no bins yet: nothing is counted for monitoring before its first window.", name)
            return None
        if not adds_up(spec):
            log.info("%s: a gate schema says unique of an input: monitoring reads the rows itself.", name)
            return None
        identity = identities(source, [partition]).get(partition.name, "")
    except Exception as error:  # noqa: BLE001 - whatever it raises beside, the run is for the scores
        log.warning("%s is not counted for monitoring: %s. Scoring continues.", name, error)
        return None
    cells = sum(len(column.counts) for column in reference.columns.values())
    return Counting(
        spec,
        reference.columns,
        OnBasis(pinned.model, pinned.version, basis(spec, section, reference.bins)),
        Spread(section.windows, since, max(1, _MOST_CELLS // cells)),
        source,
        partition,
        identity,
        _flags(scorer),
    )


def basis(spec: ModelSpec, section: MonitoringSpec, bins: Mapping[str, Bins]) -> str:
    """Return a name for all that the counts of a version depend on beside the rows."""
    scoring, data = spec.scoring, spec.data
    content = {
        "form": _FORM,
        "bins": bins_digest(bins),
        "windows": section.windows,
        "source": scoring and [scoring.source, scoring.database, scoring.partitions, scoring.inputs],
        "times": [data.time_column, list(data.time_formats)],
        "answers": [str(spec.task), list(spec.labels)],
        "rules": rules_of_inputs(spec),
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def counted_partition(
    partition: Partition, identity: str, counted_at: datetime, times: Times, *, whole: bool
) -> CountedPartition:
    """Return a partition as what was counted of it is kept."""
    return CountedPartition(
        partition.name, identity, counted_at, times.first, times.last, times.undated, whole
    )


def row_times(spec: ModelSpec, chunk: Chunk) -> pd.Series:
    """Return the moment of each row, NaT where none can be read; those without a zone are in UTC."""
    column = text_columns(chunk.rows.select([str(spec.data.time_column)]))[0].iloc[:, 0]
    if pd.api.types.is_datetime64_any_dtype(column):
        return column
    return parse_times(column, spec.data.time_formats)


def counted_frame(spec: ModelSpec, scored: Scored) -> pd.DataFrame:
    """Return the rows that could be asked, with the answers to those that the model could answer."""
    readied = scored.readied
    asked = scorable(readied.reasons, len(readied.chunk.numbers))
    return with_answers(spec, readied.inputs, scored.answers, scored.good[asked])


def with_answers(
    spec: ModelSpec, inputs: pd.DataFrame, answers: Numbers, good: npt.NDArray[np.bool_]
) -> pd.DataFrame:
    """Return inputs with the answers to those of them that are good; texts that a model wrote are none."""
    if spec.task is TaskKind.GENERATION:
        return inputs
    streams = answer_streams(spec.labels, answers)
    if not good.all():
        streams = streams.set_axis(np.flatnonzero(good)).reindex(range(len(inputs)))
    return pd.concat([inputs.reset_index(drop=True), streams], axis=1)


def _reference(services: Services, scorer: Scorer, pinned: Pinned) -> Reference | None:
    """Return what the version is counted on, if there is anything: as on record, else as in its files."""
    recorded = reference_on_record(services.ledger, pinned.model, pinned.version)
    in_file = None if scorer.folder is None else reference_of(scorer.folder)
    reference = in_file if recorded is None else recorded[1]
    return reference if reference is not None and reference.columns else None


def _flags(scorer: Scorer) -> tuple[str, ...]:
    columns = scorer.columns.columns
    return tuple(column.name for column in columns if column.kind is Kind.BOOLEAN and column.nullable)


def _by_window(
    frame: pd.DataFrame, numbers: npt.NDArray[np.intp], flags: tuple[str, ...]
) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield the rows of each window as if they had been read alone."""
    if (numbers == numbers[0]).all():
        yield int(numbers[0]), frame
        return
    order = np.argsort(numbers, kind="stable")
    order = order[np.searchsorted(numbers[order], 0) :]
    bounds = [*np.flatnonzero(np.diff(numbers[order], prepend=-1)), len(order)]
    ordered = frame if (np.diff(order) == 1).all() and len(order) == len(frame) else frame.iloc[order]
    for begin, end in pairwise(bounds):
        yield int(numbers[order[begin]]), _alone(ordered.iloc[begin:end], flags)


def _alone(rows: pd.DataFrame, flags: tuple[str, ...]) -> pd.DataFrame:
    """Return rows with the types that they have alone: beside missing flags, flags are objects."""
    whole = [
        name for name in flags if name in rows and rows[name].dtype == object and rows[name].notna().all()
    ]
    return rows.astype(dict.fromkeys(whole, bool)) if whole else rows
