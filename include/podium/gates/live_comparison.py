"""The version that serves and the one beside it, on live requests (``podium compare MODEL --live``).

Whoever looks often sees a difference by chance some day. So the bounds here hold at every moment together:
they are of all labelled rows of the trial, which only become more, and do not depend on the rows' order
(``podium.metrics.sequential``).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from podium.errors import NotFound, PodiumError
from podium.gates.report import between
from podium.ledger.live_answers import LiveAnswer, LiveStore, VersionOnTrial, read_predictions
from podium.metrics.answers import Answers, Numbers, true_values
from podium.metrics.measures import measured
from podium.metrics.predictions import in_label_order
from podium.metrics.row_scores import RowScores, highest_difference, row_scores
from podium.metrics.sequential import lower_bound, upper_bound
from podium.model_file.gates import LiveBound
from podium.model_file.metric_names import KNOWN_METRICS, REPORTED, TaskKind
from podium.names import in_utc, version_name

CONFIDENCE = 0.95
# With fewer labelled rows the largest loss seen says little of those to come.
FEWEST_ROWS = 30
# So many are read within seconds. Of labelled ones the first: the newest would be other rows at each look.
MOST_ROWS = 100_000


class Interval(NamedTuple):
    """Where a number lies with ``CONFIDENCE``, at every moment together."""

    low: float
    high: float


@dataclass(frozen=True)
class MetricPair:
    """One metric of both versions.

    Attributes:
        metric: Its name.
        greater_is_better: Its direction.
        champion: Of the version that serves; NaN where it has no value.
        candidate: Of the one beside it.
        difference: The candidate's less the champion's; None where it is not known how sure that is.
        champion_interval: Of a canary: where the champion's number lies; of pairs None.
        candidate_interval: The same of the candidate's.
        note: Why one of them has no value.
    """

    metric: str
    greater_is_better: bool
    champion: float
    candidate: float
    difference: Interval | None
    champion_interval: Interval | None = None
    candidate_interval: Interval | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """What the difference says of the candidate: better, worse, or nothing yet ("")."""
        if self.difference is None or self.difference.low <= 0 <= self.difference.high:
            return ""
        return "better" if (self.difference.low > 0) is self.greater_is_better else "worse"

    def describe(self) -> str:
        """Say where the difference lies as better or worse, whichever way the metric goes."""
        if self.difference is None:
            return ""
        low, high = self.difference
        return between(-high, -low) if self.greater_is_better else between(low, high)


@dataclass(frozen=True)
class Agreement:
    """How alike the answers to the same rows are.

    Attributes:
        rows: Rows that both answered with finite numbers.
        unanswered: Rows that one of them did not.
        same: Share of rows with the same answer; of a classification with the same likeliest label.
        mean_absolute_difference: Of the numbers, or of the probabilities.
        difference_quantiles: Of numbers: 5%, 50% and 95% quantiles of the candidate's less the champion's.
    """

    rows: int
    unanswered: int
    same: float
    mean_absolute_difference: float
    difference_quantiles: tuple[float, float, float] | None


@dataclass(frozen=True)
class LiveComparison:
    """What is known of two versions from live requests.

    Attributes:
        model: The registered model.
        trial: The two versions.
        paired: Both answered the same rows (shadow); else each answered rows of its own (canary).
        champion_rows: Rows that the version that serves answered.
        candidate_rows: Rows that the other one answered; of pairs the same ones.
        champion_labelled: Those of them whose label is known.
        candidate_labelled: The same of the other one.
        capped: There are more rows; these are the newest, and the labelled ones the first.
        agreement: Of pairs.
        metrics: On the labelled rows; the first one tells which is better. None without labels.
    """

    model: str
    trial: VersionOnTrial
    paired: bool
    champion_rows: int
    candidate_rows: int
    champion_labelled: int
    candidate_labelled: int
    capped: bool
    agreement: Agreement | None
    metrics: tuple[MetricPair, ...]

    def sentence(self) -> str:
        """Say in plain words which version is better, as far as that is known."""
        new, old = version_name(self.trial.candidate), version_name(self.trial.champion)
        if not self.metrics:
            return f"No labels for answers of both {new} and {old} yet: send them with POST /feedback"
        first = self.metrics[0]
        rows = f"{self.candidate_labelled:,}"
        if not self.paired:
            rows += f" against {self.champion_labelled:,}"
        numbers = (
            f"{first.metric.replace('_', ' ')} {_short(first.candidate)} against {_short(first.champion)}"
        )
        if first.note:
            numbers = first.note
        elif first.difference is not None:
            numbers += f", {first.describe()} with {CONFIDENCE:.0%} confidence"
        on = f"on {rows} labelled rows: {numbers}"
        fewest = min(self.champion_labelled, self.candidate_labelled)
        if fewest < FEWEST_ROWS:
            return f"Too few to tell {new} from {old} (at least {FEWEST_ROWS} labelled rows), {on}"
        if not KNOWN_METRICS[first.metric].resampled:
            return f"No verdict on {new} and {old}: no interval of this metric holds at every look, {on}"
        if not first.verdict:
            return f"{new} and {old} cannot be told apart {on}"
        return f"{new} is {first.verdict} than {old} {on}"

    def as_json(self) -> dict[str, Any]:
        """Return the comparison with plain JSON values; what is no number is null."""
        verdicts = [{**asdict(pair), "verdict": pair.verdict or None} for pair in self.metrics]
        content = {**asdict(self), "metrics": verdicts, "confidence": CONFIDENCE, "sentence": self.sentence()}
        return dict(_plain(content))


class Subject(NamedTuple):
    """What must be known of a model to judge its answers.

    Attributes:
        name: The registered model.
        task: What it predicts.
        labels: The model file's labels; none but for a classification.
    """

    name: str
    task: TaskKind
    labels: tuple[str, ...]


def compare_live(
    store: LiveStore, subject: Subject, metric: str, *, since: datetime | None = None
) -> LiveComparison:
    """Compare the two versions that answered last beside each other.

    Args:
        store: Holds the answers.
        subject: The model.
        metric: By which the better one is found.
        since: Only what was answered from then on.

    Raises:
        NotFound: Nothing is stored.
        PodiumError: The metric is none of the task, or an answer or label is not what the model file says.
        Outage: The database did not answer.
    """
    _check_metric(subject, metric)
    trial = store.newest_trial(subject.name)
    if trial is None:
        raise NotFound(f"no live answers of {subject.name} are stored: serve it with --shadow or --canary")
    stored, capped = _up_to_most(store.read(subject.name, trial, since))
    if not stored:
        raise NotFound(f"no live answers of {subject.name} by {trial} are stored{_since(since)}")
    paired = any(answer.paired for answer, _ in stored)
    by_champion, by_candidate = (
        _together(subject, part, side)
        for part, side in zip(_parts(stored, paired=paired), _SIDES, strict=True)
    )
    labelled = labelled_answers(store, subject, trial, since, paired=paired)
    return LiveComparison(
        model=subject.name,
        trial=trial,
        paired=paired,
        champion_rows=len(by_champion),
        candidate_rows=len(by_candidate),
        champion_labelled=len(labelled[0]),
        candidate_labelled=len(labelled[1]),
        capped=capped,
        agreement=_agreement(subject, by_champion, by_candidate) if paired else None,
        metrics=_metrics(subject.task, metric, *labelled, paired=paired) if all(map(len, labelled)) else (),
    )


def live_problem(
    store: LiveStore, subject: Subject, trial: VersionOnTrial, bound: LiveBound, since: datetime
) -> str:
    """Say why a candidate has not proved to be no worse than the champion on live rows; "" if it has.

    Raises:
        PodiumError: An answer or label is not what the gate report says.
        Outage: The database did not answer.
    """
    new = version_name(trial.candidate)
    pairs = labelled_answers(store, subject, trial, since, paired=True)
    paired = len(pairs[0]) > 0
    champion, candidate = pairs if paired else labelled_answers(store, subject, trial, since, paired=False)
    rows = min(len(champion), len(candidate))
    if rows < bound.labelled_rows:
        return (
            f"{new} has {rows:,} of {bound.labelled_rows:,} labelled live rows beside "
            f"{version_name(trial.champion)} since {in_utc(since)}; approve it when they are complete"
        )
    for answers in (champion, candidate):
        _, note = measured(bound.metric, answers)
        if note:
            return f"{new} cannot be judged on its labelled live rows: {note}"
    rule = bound.not_worse
    most = _worse_by(bound, champion, candidate, paired=paired)
    if most <= rule.margin:
        return ""
    return (
        f"{bound.metric} of {new} may be worse than that of {version_name(trial.champion)} by {_short(most)} "
        f"on {rows:,} labelled live rows, with {100 * rule.confidence:g}% confidence; at most "
        f"{rule.margin:g} is allowed"
    )


def _worse_by(bound: LiveBound, champion: Answers, candidate: Answers, *, paired: bool) -> float:
    """Return by how much the candidate may be worse: the end of the interval that ``compare`` shows."""
    new, old = (row_scores(bound.metric, answers) for answers in (candidate, champion))
    greater, less = (old, new) if KNOWN_METRICS[bound.metric].greater_is_better else (new, old)
    return highest_difference(greater, less, (1 - bound.not_worse.confidence) / 2, paired=paired)


def _since(since: datetime | None) -> str:
    return "" if since is None else f" since {in_utc(since)}"


_Stored = tuple[LiveAnswer, list[Any] | None]
_SIDES = ("champion_answers", "candidate_answers")


def _check_metric(subject: Subject, metric: str) -> None:
    known = KNOWN_METRICS.get(metric)
    if known is None or known.task is not subject.task:
        allowed = sorted(name for name, other in KNOWN_METRICS.items() if other.task is subject.task)
        raise PodiumError(f"no metric '{metric}' of a {subject.task}; available: {', '.join(allowed)}")


def _up_to_most(stored: Iterator[_Stored]) -> tuple[list[_Stored], bool]:
    """Return the first of the requests, and whether there are more."""
    found: list[_Stored] = []
    rows = 0
    for one in stored:
        rows += one[0].rows
        if found and rows > MOST_ROWS:
            return found, True
        found.append(one)
    return found, False


def _parts(stored: Sequence[_Stored], *, paired: bool) -> tuple[list[_Stored], list[_Stored]]:
    """Return the requests of each side: the same pairs, or the champion's since the candidate's first."""
    if paired:
        pairs = [one for one in stored if one[0].paired]
        return pairs, pairs
    by_candidate = [one for one in stored if one[0].champion_answers is None]
    begun = min((answer.at for answer, _ in by_candidate), default=None)
    by_champion = [one for one in stored if one[0].champion_answers is not None]
    return [one for one in by_champion if begun is not None and one[0].at >= begun], by_candidate


def labelled_answers(
    store: LiveStore, subject: Subject, trial: VersionOnTrial, since: datetime | None, *, paired: bool
) -> tuple[Answers, Answers]:
    """Return the rows of each side whose labels are known.

    Raises:
        DataError: The model file does not list a label.
    """
    stored, _ = _up_to_most(store.read(subject.name, trial, since, labelled=True))
    champion, candidate = (
        _answers(subject, part, side)
        for part, side in zip(_parts(stored, paired=paired), _SIDES, strict=True)
    )
    return champion, candidate


def _answers(subject: Subject, stored: Sequence[_Stored], side: str) -> Answers:
    """Put together what one version answered; of a ranking each request is a list."""
    labels = [label for _, known in stored for label in known or ()]
    return Answers(
        task=subject.task,
        labels=subject.labels,
        truth=true_values(subject.task, pd.Series(labels, dtype=object), subject.labels),
        predictions=_together(subject, stored, side),
        groups=np.repeat(np.arange(len(stored)), [answer.rows for answer, _ in stored])
        if subject.task is TaskKind.RANKING
        else None,
    )


def _together(subject: Subject, stored: Sequence[_Stored], side: str) -> Numbers:
    """Return the predictions of one side; shape (n, labels) or (n,)."""
    empty = np.empty((0, len(subject.labels)) if subject.labels else 0)
    return np.concatenate([empty, *(_numbers(subject, answer, side) for answer, _ in stored)])


def _numbers(subject: Subject, answer: LiveAnswer, side: str) -> Numbers:
    said = read_predictions(getattr(answer, side))
    try:
        values = np.asarray(said.values, dtype=np.float64)
        if subject.labels:
            return in_label_order(values, said.classes, subject.labels, answer.rows)
        return values.reshape(answer.rows)
    except (TypeError, ValueError) as error:
        raise PodiumError(f"the answers to request {answer.request_id} are not numbers: {error}") from error


def _agreement(subject: Subject, champion: Numbers, candidate: Numbers) -> Agreement:
    both = np.isfinite(champion) & np.isfinite(candidate)
    answered = both.all(axis=1) if both.ndim == 2 else both
    one, other = champion[answered], candidate[answered]
    rows = len(one)
    if not rows:
        return Agreement(0, len(champion), math.nan, math.nan, None)
    same = one.argmax(axis=1) == other.argmax(axis=1) if subject.labels else one == other
    quantiles = None if subject.labels else tuple(np.quantile(other - one, (0.05, 0.5, 0.95)).tolist())
    return Agreement(
        rows=rows,
        unanswered=len(champion) - rows,
        same=float(same.mean()),
        mean_absolute_difference=float(np.abs(other - one).mean()),
        difference_quantiles=quantiles,
    )


def _metrics(
    task: TaskKind, metric: str, champion: Answers, candidate: Answers, *, paired: bool
) -> tuple[MetricPair, ...]:
    return tuple(
        _metric(name, champion, candidate, paired=paired) for name in dict.fromkeys((metric, *REPORTED[task]))
    )


def _metric(metric: str, champion: Answers, candidate: Answers, *, paired: bool) -> MetricPair:
    known = KNOWN_METRICS[metric]
    (old, old_note), (new, new_note) = measured(metric, champion), measured(metric, candidate)
    pair = MetricPair(metric, known.greater_is_better, old, new, None, note=old_note or new_note)
    if pair.note or not known.resampled or min(len(champion), len(candidate)) < FEWEST_ROWS:
        return pair
    of_candidate, of_champion = row_scores(metric, candidate), row_scores(metric, champion)
    pair = replace(pair, difference=_difference(of_candidate, of_champion, paired=paired))
    if paired:
        return pair
    return replace(pair, champion_interval=_interval(of_champion), candidate_interval=_interval(of_candidate))


_EACH_SIDE = (1 - CONFIDENCE) / 2


def _difference(candidate: RowScores, champion: RowScores, *, paired: bool) -> Interval:
    return Interval(
        -highest_difference(champion, candidate, _EACH_SIDE, paired=paired),
        highest_difference(candidate, champion, _EACH_SIDE, paired=paired),
    )


def _interval(scores: RowScores) -> Interval:
    return Interval(
        lower_bound(scores.values, scores.lowest, _EACH_SIDE),
        upper_bound(scores.values, scores.highest, _EACH_SIDE),
    )


def _short(value: float) -> str:
    return f"{value:.4g}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
