"""Score rows in batches: one version for the whole run, partition by partition, in bounded memory.

Three threads share the work of a partition: one reads and readies rows, one asks the model, one writes. So
the model waits for neither disk nor database, and only a few chunks are in memory at a time.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import pyarrow as pa

from podium.errors import DataError, PodiumError
from podium.model_file.scoring import ScoringSpec, key_problem
from podium.model_file.spec import ModelSpec
from podium.names import version_name
from podium.scoring.columns import answer_columns, carried, rejects_table, repeated, repeated_text
from podium.scoring.counting import Counting, counting
from podium.scoring.inputs import Reasons
from podium.scoring.outputs import Output, Writer, output_of, writing
from podium.scoring.pinned_version import Pinned, loaded, pin, refuse_rolled_away
from podium.scoring.prefetch import ahead
from podium.scoring.scorer import Readied, Scored, Scorer
from podium.scoring.watch import Beside, beside
from podium.services import Services
from podium.sources.read import Chunk, Partition, Reader, Source, list_partitions, open_partition

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 10.0
_KINDS_SHOWN = 5
_MOST_KINDS = 1_000


@dataclass(frozen=True)
class Progress:
    """How far a partition is.

    Attributes:
        rows: Rows that were scored or rejected.
        rejected: Of these rejected.
        done: The share of the partition that is read, 0 to 1; None where nobody knows.
        seconds: Since the first row.
    """

    rows: int
    rejected: int
    done: float | None
    seconds: float

    def describe(self) -> str:
        """Say it in one line."""
        share = "" if self.done is None else f" ({self.done:.0%})"
        rate = self.rows / max(self.seconds, 1e-9)
        return f"{self.rows:,} rows{share}, {rate:,.0f} rows/s, {self.rejected:,} rejected"


@dataclass(frozen=True)
class PartitionScores:
    """What became of a partition.

    Attributes:
        model: The registered model.
        version: The version that scored.
        digest: Of its manifest.
        partition: The partition's name.
        output: Where the scores are.
        rejects: Where the rejected rows are; "" if there are none.
        rows: Rows of the source.
        rejected: Rows that could not be scored.
        reasons: The most frequent reasons, with how many rows have each.
        noted: What was scored, but may not be meant so, with how many rows of each.
        scored_at: ISO 8601, UTC; the same on each row.
        seconds: How long it took.
    """

    model: str
    version: int
    digest: str
    partition: str
    output: str
    rejects: str
    rows: int
    rejected: int
    reasons: dict[str, int] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)
    scored_at: str = ""
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def describe(self) -> str:
        """Say it in one sentence."""
        rejected = f"; {self.rejected:,} rejected to {self.rejects}: {_listed(self.reasons)}"
        noted = f"; noted: {_listed(self.noted)}"
        return (
            f"{self.model} {version_name(self.version)}, {self.partition}: {self.rows - self.rejected:,} of "
            f"{self.rows:,} rows scored to {self.output} in {self.seconds:.1f} s"
            f"{rejected if self.rejected else ''}{noted if self.noted else ''}"
        )


@dataclass(frozen=True)
class Job:
    """Which rows are scored, and where their scores go.

    Attributes:
        source: What is scored.
        partition: One of its partitions.
        output: Where the scores go.
        keys: Columns of the source that are carried along.
    """

    source: Source
    partition: Partition
    output: Output
    keys: Sequence[str] = ()


def scoring_of(spec: ModelSpec) -> ScoringSpec:
    """Return the section ``scoring`` of a model file.

    Raises:
        PodiumError: There is none.
    """
    if spec.scoring is None:
        raise PodiumError(f"the model file of {spec.name} has no section scoring")
    return spec.scoring


def source_of(spec: ModelSpec, home: Path) -> Source:
    """Return what a model file scores."""
    scoring = scoring_of(spec)
    return Source(scoring.source, home, scoring.database, scoring.partitions, scoring.chunk_rows)


def plan(
    services: Services, spec: ModelSpec, version: str | None, only: str, *, allow_rolled_back: bool
) -> list[dict[str, Any]]:
    """Pin the version of a run, and list its partitions.

    Args:
        services: The registry and the ledger.
        spec: The model file.
        version: An alias or a number; None for the model file's alias.
        only: A pattern that names of partitions must fit.
        allow_rolled_back: Allow a version that a rollback replaced.

    Returns:
        For each partition what ``score_planned`` needs, as plain JSON values.

    Raises:
        NotFound: The model has no such alias or version.
        DataError: The source has no such partition.
        PodiumError: The version may not score, see ``pin``.
        Outage: A part, store or database did not answer.
    """
    scoring = scoring_of(spec)
    pinned = pin(services, spec.name, version or scoring.alias, allow_rolled_back=allow_rolled_back)
    partitions = list_partitions(source_of(spec, services.settings.home), only)
    log.info(
        "%s: %s (%s) scores %s partitions.", spec.name, pinned.name, pinned.asked, f"{len(partitions):,}"
    )
    same = {"pinned": asdict(pinned), "allow_rolled_back": allow_rolled_back}
    return [{**same, "partition": asdict(partition)} for partition in partitions]


def score_planned(
    services: Services, spec: ModelSpec, planned: Mapping[str, Any], *, cleared: bool
) -> PartitionScores:
    """Score one partition as the model file says, in the place of what an earlier run wrote.

    Args:
        services: The registry and the ledger.
        spec: The model file.
        planned: One of what ``plan`` returned.
        cleared: The run was cleared: its version may have been rolled away from long ago.

    Raises:
        PodiumError: The run was cleared, and its version was rolled away from.
        DataError: A column is missing, no row can be scored, or a place cannot be read or written.
        BytesChanged: The version is not what was registered.
        Outage: A part, store or database did not answer.
    """
    home, scoring = services.settings.home, scoring_of(spec)
    pinned, partition = Pinned(**planned["pinned"]), Partition(**planned["partition"])
    if cleared and not planned.get("allow_rolled_back"):
        refuse_rolled_away(services.ledger.present(spec.name, pinned.version), spec.name, pinned.version)
    output = output_of(scoring.output, partition.name, home, scoring.database)
    job = Job(source_of(spec, home), partition, output, scoring.keys)
    progress = LogProgress(f"{pinned.model} {pinned.name}, {partition.name}")
    with loaded(services, spec, pinned) as scorer:
        counts = counting(services, spec, pinned, scorer, job.source, partition)
        with beside(services, spec, pinned, scorer, partition.name) as both:
            done = score_to(scorer, pinned, job, progress, both, counts)
    if counts is not None:
        counts.keep(services)
    log.info("%s.", done.describe())
    return done


def total(scored: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Sum up the partitions of a run, of which each is as ``PartitionScores.as_json`` has it."""
    all_scored = list(scored)
    same = {name: all_scored[0][name] for name in ("model", "version", "digest")}
    sums = {name: sum(one[name] for one in all_scored) for name in ("rows", "rejected")}
    return {**same, **sums, "partitions": [one["partition"] for one in all_scored]}


def score_to(  # noqa: PLR0913 - what is scored and told, and who looks on
    scorer: Scorer,
    pinned: Pinned,
    job: Job,
    tell: Callable[[Progress], None],
    both: Beside | None = None,
    counts: Counting | None = None,
) -> PartitionScores:
    """Score rows with a loaded version and write them.

    Args:
        scorer: The version.
        pinned: The same, as it is written beside each row.
        job: Which rows, and where to.
        tell: Called with how far it is.
        both: The versions of a watch window; they are compared on a share of the rows.
        counts: Counts the rows for monitoring.

    Raises:
        DataError: A column is missing, no row can be scored, or a place cannot be read or written.
        Outage: A store or database did not answer.
    """
    beside_keys = [] if counts is None else [counts.time_column]
    wanted = columns_read([scorer], [*job.keys, *beside_keys])
    with open_partition(job.source, job.partition, wanted) as reader:
        assert_keys(job, reader)
        run = _Run(pinned, job, tell)
        with (
            writing(job.output) as writer,
            closing(_scored(scorer, reader, job.partition.at, both)) as chunks,
        ):
            for scored in chunks:
                run.write(scored, writer, scorer.labels)
                if counts is not None:
                    counts.add(scored)
            run.counts.assert_some_scored(f"{pinned.model} {pinned.name}", job.partition)
    return run.result()


def columns_read(scorers: Sequence[Scorer], keys: Sequence[str]) -> list[str] | None:
    """Return the columns that are read; None for all."""
    wanted = [scorer.wanted for scorer in scorers]
    if any(names is None for names in wanted):
        return None
    return [*dict.fromkeys([*keys, *(name for names in wanted for name in names or ())])]


def assert_keys(job: Job, reader: Reader) -> None:
    """Make sure that the columns are there that are carried to the output.

    Raises:
        DataError: One is not, or has a name that Podium writes itself.
    """
    for key in job.keys:
        if key not in reader.columns:
            there = ", ".join(reader.columns)
            raise DataError(f"{job.partition.at}: no column '{key}' (keys); available: {there}")
        if wrong := key_problem(key):
            raise DataError(wrong)


def readied(scorer: Scorer, reader: Reader, where: str) -> Generator[Readied]:
    """Read and ready rows, in whichever thread asks for them."""
    for chunk in reader.chunks:
        yield scorer.ready(chunk, where)


def _scored(scorer: Scorer, reader: Reader, where: str, both: Beside | None) -> Generator[Scored]:
    def scored() -> Generator[Scored]:
        with closing(ahead(readied(scorer, reader, where))) as chunks:
            for chunk in chunks:
                # Before the rows are scored: a version that fails them all ends here, and that counts.
                if both is not None:
                    both.compare(chunk.chunk, where)
                yield scorer.score(chunk)

    return ahead(scored())


class LogProgress:
    """Says in the log every few seconds how far a partition is."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._last = monotonic()

    def __call__(self, progress: Progress) -> None:
        """Say it, unless it was said just now."""
        if monotonic() - self._last >= PROGRESS_SECONDS:
            self._last = monotonic()
            log.info("%s: %s", self._what, progress.describe())


class Counts:
    """Counts the rows of a partition, and why some were rejected."""

    def __init__(self) -> None:
        self.began = monotonic()
        self.rows = 0
        self.rejected = 0
        self.noted: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()

    def add(self, chunk: Chunk, reasons: Reasons, writer: Writer) -> None:
        """Count a chunk, and write its rejects."""
        self.rows += len(chunk.numbers) + len(chunk.unreadable)
        if not reasons and not chunk.unreadable:
            return
        writer.reject(rejects_table(chunk, reasons))
        self.rejected += len(reasons) + len(chunk.unreadable)
        self._reasons.update(reasons.values())
        self._reasons.update(reason.partition(":")[0] for _, reason in chunk.unreadable)
        if len(self._reasons) > _MOST_KINDS:
            self._reasons = Counter(dict(self._reasons.most_common(_MOST_KINDS // 2)))

    def reasons(self) -> dict[str, int]:
        """Return the most frequent reasons."""
        return dict(self._reasons.most_common(_KINDS_SHOWN))

    def progress(self, chunk: Chunk) -> Progress:
        """Say how far the partition is."""
        return Progress(self.rows, self.rejected, chunk.done, monotonic() - self.began)

    def assert_some_scored(self, who: str, partition: Partition) -> None:
        """Fail where not one row could be scored.

        Raises:
            DataError: Names the reasons.
        """
        if self.rows and self.rejected == self.rows:
            raise DataError(
                f"{partition.at}: none of {self.rows:,} rows can be scored by {who}: "
                f"{_listed(self.reasons())}. Nothing was written."
            )


class _Run:
    """What is written of one partition."""

    def __init__(self, pinned: Pinned, job: Job, tell: Callable[[Progress], None]) -> None:
        self._pinned = pinned
        self._job = job
        self._tell = tell
        self._scored_at = datetime.now(UTC)
        self.counts = Counts()

    def write(self, scored: Scored, writer: Writer, labels: Sequence[str]) -> None:
        good, rows = scored.good, len(scored.answers)
        own = {
            "model_version": repeated(pa.scalar(self._pinned.version, pa.int32()), rows),
            "model_digest": repeated_text(self._pinned.digest, rows),
            "scored_at": repeated(pa.scalar(self._scored_at, pa.timestamp("us", "UTC")), rows),
        }
        kept = carried(scored.chunk, self._job.keys, good)
        writer.add(pa.table({**kept, **answer_columns(scored.answers, labels), **own}))
        self.counts.add(scored.chunk, scored.reasons, writer)
        self.counts.noted.update(scored.readied.noted)
        self._tell(self.counts.progress(scored.chunk))

    def result(self) -> PartitionScores:
        return PartitionScores(
            model=self._pinned.model,
            version=self._pinned.version,
            digest=self._pinned.digest,
            partition=self._job.partition.name,
            output=self._job.output.at,
            rejects=self._job.output.rejects_at if self.counts.rejected else "",
            rows=self.counts.rows,
            rejected=self.counts.rejected,
            reasons=self.counts.reasons(),
            noted=dict(self.counts.noted),
            scored_at=self._scored_at.isoformat(),
            seconds=round(monotonic() - self.counts.began, 3),
        )


def _listed(reasons: Mapping[str, int]) -> str:
    return "; ".join(f"{reason} ({count:,})" for reason, count in reasons.items())
