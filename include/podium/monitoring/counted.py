"""What was counted of a window before: by batch scoring, in the pass in which it scored the rows.

A partition counts as it is now. Its counts are taken if the source says that it is the same as then. A query
says nothing of its rows: its counts are taken if it was scored after the end of the window.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from podium.errors import PodiumError
from podium.gates.counted_rows import CountedRows, adds_up
from podium.ledger.scored_counts import Kept, OnBasis, keep_scored, scored_in
from podium.ledger.served_counts import Span
from podium.ledger.store import Ledger
from podium.metrics.reference import Column, Reference
from podium.metrics.windows import Window, is_one_of
from podium.model_file.spec import ModelSpec
from podium.names import version_name
from podium.scoring.counting import Times, basis, counted_partition
from podium.sources.facts import identities
from podium.sources.read import Partition, Source

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """What is known of a window in one partition.

    Attributes:
        rows: What was counted.
        undated: How many rows of the partition are in no window.
    """

    rows: CountedRows
    undated: int


@dataclass
class CountedWindow:
    """One window of a source, partition by partition.

    Attributes:
        ledger: In whose database counts are.
        spec: The model file.
        columns: The reference.
        of: The version, and what is counted on; None: no counts are kept of it.
        source: What is scored.
        window: The window.
        identities: What is in each partition now, by its name.
        kept: What is kept of each, by its name.
        begun: The moment before anything is read.
        by_scoring: How many partitions batch scoring counted.
        before: How many an earlier run of monitoring counted.
    """

    ledger: Ledger
    spec: ModelSpec
    columns: Mapping[str, Column]
    of: OnBasis | None
    source: Source
    window: Window
    identities: Mapping[str, str] = field(default_factory=dict)
    kept: Mapping[str, Kept] = field(default_factory=dict)
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    by_scoring: int = 0
    before: int = 0
    _new: list[tuple[Partition, Times, CountedRows]] = field(default_factory=list)

    def known(self, partition: Partition) -> Found | None:
        """Return what was counted of a partition before; None if nobody counted it, or it has changed."""
        kept = self.kept.get(partition.name)
        if kept is None or not self._is_same(kept):
            return None
        rows = self._counted(kept)
        if rows is None:
            return None
        self.by_scoring += kept.partition.whole
        self.before += not kept.partition.whole
        return Found(rows, kept.partition.undated)

    def add(self, partition: Partition, times: Times, rows: CountedRows) -> None:
        """Note what was read of a partition; ``keep`` keeps it."""
        if self.of is not None and self.identities.get(partition.name):
            self._new.append((partition, times, rows))

    def keep(self) -> None:
        """Keep what was read, so that it need not be read again; raises nothing."""
        if self.of is None or not self._new:
            return
        try:
            now = identities(self.source, [partition for partition, _, _ in self._new])
            for partition, times, rows in self._new:
                identity = self.identities[partition.name]
                if now[partition.name] != identity:
                    continue
                span = [(Span(self.window.start, self.window.end), rows.content())] if rows.rows else []
                kept = counted_partition(partition, identity, self.begun, times, whole=False)
                keep_scored(self.ledger, self.of, kept, span)
        except PodiumError as error:
            log.warning(
                "%s %s, window %s: what was counted is not kept, so the next run reads it again: %s",
                *(self.spec.name, version_name(self.of.version), self.window, error),
            )

    def _is_same(self, kept: Kept) -> bool:
        identity = self.identities.get(kept.partition.name, "")
        late_enough = bool(identity) or kept.partition.counted_at >= self.window.end
        return kept.partition.identity == identity and late_enough

    def _counted(self, kept: Kept) -> CountedRows | None:
        if kept.content is None:
            return CountedRows(self.spec, self.columns) if self._has_no_row(kept) else None
        try:
            return CountedRows.read(self.spec, self.columns, kept.content)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            log.warning(
                "%s %s: the counts of the partition %s in the window %s are not those of its columns, so it "
                "is read again: %r",
                *(self.spec.name, version_name(self.of.version if self.of else 0), kept.partition.name),
                *(self.window, error),
            )
            return None

    def _has_no_row(self, kept: Kept) -> bool:
        first, last = kept.partition.first, kept.partition.last
        if kept.partition.whole or first is None or last is None:
            return True
        return first >= self.window.end or last < self.window.start


def counted_window(  # noqa: PLR0913 - a window of a version's rows, and where they are
    ledger: Ledger,
    spec: ModelSpec,
    version: int,
    reference: Reference,
    source: Source,
    partitions: Sequence[Partition],
    window: Window,
) -> CountedWindow:
    """Ask what was counted of a window before.

    Args:
        ledger: The record.
        spec: The model file, with a section ``monitoring``.
        version: The version that is monitored.
        reference: What its windows are held against.
        source: What is scored.
        partitions: All of its partitions.
        window: The window.

    Raises:
        DataError: A partition is gone.
        Outage: The ledger's database or the store did not answer.
    """
    section, columns = spec.monitoring, reference.columns
    none = CountedWindow(ledger, spec, columns, None, source, window)
    if section is None or section.rows == "server" or not columns or not adds_up(spec):
        return none
    if not is_one_of(section.windows, window):
        return none
    of = OnBasis(spec.name, version, basis(spec, section, reference.bins))
    kept = scored_in(ledger, of, Span(window.start, window.end))
    return CountedWindow(ledger, spec, columns, of, source, window, identities(source, partitions), kept)
