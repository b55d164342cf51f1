"""Two versions side by side on the same rows: where they disagree, how much, and where most."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from podium.metrics.answers import Numbers
from podium.scoring.columns import answer_columns, carried, likeliest_label, repeated, repeated_text
from podium.scoring.inputs import Reasons, scorable
from podium.scoring.outputs import writing
from podium.scoring.pinned_version import Pinned
from podium.scoring.prefetch import ahead
from podium.scoring.run import Counts, Job, Progress, assert_keys, columns_read
from podium.scoring.scorer import Scorer
from podium.sources.read import Chunk, Reader, open_partition

TOP_ROWS = 10
SAMPLE = 100_000
QUANTILES = {"min": 0.0, "5%": 0.05, "25%": 0.25, "median": 0.5, "75%": 0.75, "95%": 0.95, "max": 1.0}


@dataclass(frozen=True)
class ScoredVersion:
    """A version that is compared, loaded."""

    pinned: Pinned
    scorer: Scorer


@dataclass(frozen=True)
class TopRow:
    """A row on which two versions disagree.

    Attributes:
        row: Its number in the file, from 1.
        keys: The values of the columns that are carried along, as text.
        answers: What each of the two says: a label with its probability, or a number.
        difference: Between two numbers, or of two classifications half the sum over all labels of how far
            their probabilities are apart (total variation, 0 to 1).
    """

    row: int
    keys: tuple[str, ...]
    answers: tuple[str, str]
    difference: float


@dataclass(frozen=True)
class Diff:
    """How far two versions are apart on the same rows.

    Attributes:
        model: The registered model.
        versions: The two.
        output: Where both answers are, side by side.
        rejects: Where the rows are that one of them could not score; "" if there are none.
        rows: Rows of the file.
        rejected: Rows that one of them could not score.
        reasons: The most frequent reasons, with how many rows have each.
        disagree: Rows with another label, or another number.
        labels: Of a classification: how many rows go from which label of the first to which of the second.
        quantiles: Of the difference: the second's number less the first's, or the total variation.
        estimated: The quantiles are of a sample of ``SAMPLE`` rows (all but min and max).
        keys: The names of the columns that are carried along.
        top: The rows on which they disagree most.
    """

    model: str
    versions: tuple[int, int]
    output: str
    rejects: str
    rows: int
    rejected: int
    reasons: dict[str, int]
    disagree: int
    labels: dict[str, dict[str, int]]
    quantiles: dict[str, float]
    estimated: bool
    keys: tuple[str, ...] = ()
    top: list[TopRow] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def score_both(
    first: ScoredVersion, second: ScoredVersion, job: Job, tell: Callable[[Progress], None]
) -> Diff:
    """Score rows with two versions and write both answers side by side.

    A row that one of them cannot score is rejected, and its reason names which.

    Raises:
        DataError: A column is missing, no row can be scored, or a place cannot be read or written.
        Outage: A store or database did not answer.
    """
    sides, seen = (first, second), _Seen(first.scorer.labels, job.keys)
    moment = pa.scalar(datetime.now(UTC), pa.timestamp("us", "UTC"))
    with open_partition(
        job.source, job.partition, columns_read([first.scorer, second.scorer], job.keys)
    ) as reader:
        assert_keys(job, reader)
        with writing(job.output) as writer, closing(ahead(_both(sides, reader, job.partition.at))) as chunks:
            for chunk, reasons, answers in chunks:
                columns = carried(chunk, job.keys, scorable(reasons, len(chunk.numbers)))
                for side, answer in zip(sides, answers, strict=True):
                    columns |= _columns(side, answer)
                seen.add(columns, answers)
                writer.add(pa.table({**columns, "scored_at": repeated(moment, len(answers[0]))}))
                seen.counts.add(chunk, reasons, writer)
                tell(seen.counts.progress(chunk))
            who = f"{first.pinned.model} {first.pinned.name} and {second.pinned.name}"
            seen.counts.assert_some_scored(who, job.partition)
    return seen.diff(sides, job)


def _both(
    sides: Sequence[ScoredVersion], reader: Reader, where: str
) -> Generator[tuple[Chunk, Reasons, list[Numbers]]]:
    for chunk in reader.chunks:
        scored = [side.scorer.score(side.scorer.ready(chunk, where)) for side in sides]
        reasons: Reasons = {}
        for side, one in zip(sides, scored, strict=True):
            for place, reason in one.reasons.items():
                reasons.setdefault(place, f"{side.pinned.name}: {reason}")
        good = scorable(reasons, len(chunk.numbers))
        yield chunk, reasons, [one.answers[good[one.good]] for one in scored]


def _columns(side: ScoredVersion, answers: Numbers) -> dict[str, Any]:
    name = side.pinned.name
    digest = {f"{name}_digest": repeated_text(side.pinned.digest, len(answers))}
    return {**answer_columns(answers, side.scorer.labels, f"{name}_"), **digest}


class _Seen:
    """What is kept of two versions' answers while they go by: bounded, however many rows there are."""

    def __init__(self, labels: Sequence[str], keys: Sequence[str]) -> None:
        self.counts = Counts()
        self._labels = labels
        self._keys = keys
        self._disagree = 0
        self._changes: Counter[tuple[str, str]] = Counter()
        self._compared = 0
        self._sample: npt.NDArray[np.float64] = np.zeros(0)
        self._places: npt.NDArray[np.float64] = np.zeros(0)
        self._extremes: list[float] = []
        self._top: list[tuple[float, int, TopRow]] = []
        self._draws = np.random.default_rng(0)

    def add(self, columns: dict[str, Any], answers: Sequence[Numbers]) -> None:
        if not len(answers[0]):
            return
        said = [self._in_labels(one) for one in answers]
        apart = 0.5 * np.abs(answers[1] - answers[0]).sum(axis=1) if self._labels else answers[1] - answers[0]
        self._compared += len(apart)
        self._extremes = [
            min([*self._extremes, float(apart.min())]),
            max([*self._extremes, float(apart.max())]),
        ]
        if self._labels:
            self._disagree += int((said[0] != said[1]).sum())
            self._changes.update(zip(*(one.tolist() for one in said), strict=True))
        else:
            self._disagree += int((apart != 0).sum())
        self._keep_a_sample(apart)
        self._keep_the_top(columns, answers, np.abs(apart))

    def diff(self, sides: Sequence[ScoredVersion], job: Job) -> Diff:
        rejected = self.counts.rejected
        return Diff(
            model=sides[0].pinned.model,
            versions=(sides[0].pinned.version, sides[1].pinned.version),
            output=job.output.at,
            rejects=job.output.rejects_at if rejected else "",
            rows=self.counts.rows,
            rejected=rejected,
            reasons=self.counts.reasons(),
            disagree=self._disagree,
            labels={
                one: {other: self._changes[one, other] for other in self._labels} for one in self._labels
            },
            quantiles=self._quantiles(),
            estimated=self._compared > SAMPLE,
            keys=tuple(job.keys),
            top=[row for _, _, row in sorted(self._top, reverse=True, key=lambda item: item[:2])],
        )

    def _in_labels(self, answers: Numbers) -> npt.NDArray[Any]:
        return np.array(self._labels)[likeliest_label(answers)] if self._labels else answers

    def _quantiles(self) -> dict[str, float]:
        if not self._compared:
            return {}
        found = {name: float(np.quantile(self._sample, share)) for name, share in QUANTILES.items()}
        return {**found, "min": self._extremes[0], "max": self._extremes[1]}

    def _keep_a_sample(self, apart: npt.NDArray[np.float64]) -> None:
        """Keep the rows that drew the smallest numbers: each row is as likely as any other."""
        drawn = np.concatenate([self._places, self._draws.random(len(apart))])
        values = np.concatenate([self._sample, apart])
        if len(values) > SAMPLE:
            kept = np.argpartition(drawn, SAMPLE)[:SAMPLE]
            drawn, values = drawn[kept], values[kept]
        self._places, self._sample = drawn, values

    def _keep_the_top(
        self, columns: dict[str, Any], answers: Sequence[Numbers], apart: npt.NDArray[np.float64]
    ) -> None:
        count = min(TOP_ROWS, len(apart))
        for place in np.argpartition(-apart, count - 1)[:count].tolist():
            if not apart[place]:
                continue
            row = int(columns["row"][place].as_py())
            keys = tuple(str(columns[key][place].as_py()) for key in self._keys)
            shown = (self._shown(answers[0][place]), self._shown(answers[1][place]))
            found = (float(apart[place]), -row, TopRow(row, keys, shown, float(apart[place])))
            if len(self._top) < TOP_ROWS:
                heapq.heappush(self._top, found)
            else:
                heapq.heappushpop(self._top, found)

    def _shown(self, answer: Any) -> str:
        if not self._labels:
            return f"{float(answer):.6g}"
        best = int(np.argmax(answer))
        return f"{self._labels[best]} {float(answer[best]):.3f}"
