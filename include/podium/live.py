"""The version that serves and the one beside it, on live requests (``podium compare MODEL --live``)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from podium.bootstrap import metric_differences, metric_resamples
from podium.errors import NotFound, PodiumError, version_name
from podium.gate_spec import NotWorse
from podium.live_store import LiveAnswer, LiveStore, Trial, read_predictions
from podium.metric_names import KNOWN_METRICS, REPORTED, Task
from podium.metrics import Answers, Numbers, measured, true_values
from podium.scoring import in_label_order
from podium.spec import ModelSpec

CONFIDENCE = 0.95
# With fewer labelled rows the bootstrap is too sure of itself.
FEWEST_ROWS = 30
# The newest ones: so many are drawn again 2,000 times within seconds.
MOST_ROWS = 100_000
# Of two sides that answered different requests, each is drawn by itself.
_CHAMPION_DRAWS, _CANDIDATE_DRAWS = NotWorse(confidence=CONFIDENCE), NotWorse(confidence=CONFIDENCE, seed=1)


class Interval(NamedTuple):
    """Where a number lies with ``CONFIDENCE``."""

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
        capped: There are more rows; these are the newest.
        agreement: Of pairs.
        metrics: On the labelled rows; the first one tells which is better. None without labels.
    """

    model: str
    trial: Trial
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
            return f"There are no labels of both {new} and {old} yet: POST /feedback takes them"
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
            low, high = (f"{end:+.4g}" for end in first.difference)
            numbers += f", difference between {low} and {high} with {CONFIDENCE:.0%} confidence"
        on = f"on {rows} labelled rows: {numbers}"
        fewest = min(self.champion_labelled, self.candidate_labelled)
        if fewest < FEWEST_ROWS:
            return f"Too few to tell {new} from {old} (at least {FEWEST_ROWS} labelled rows), {on}"
        if not first.verdict:
            return f"{new} and {old} cannot be told apart {on}"
        return f"{new} is {first.verdict} than {old} {on}"

    def as_json(self) -> dict[str, Any]:
        """Return the comparison with plain JSON values; what is no number is null."""
        verdicts = [{**asdict(pair), "verdict": pair.verdict or None} for pair in self.metrics]
        content = {**asdict(self), "metrics": verdicts, "confidence": CONFIDENCE, "sentence": self.sentence()}
        return dict(_plain(content))


class _Side(NamedTuple):
    """What one version answered: (n, labels) or (n,), and the labels that are known (None: not yet)."""

    predictions: Numbers
    labels: list[Any]
    requests: list[int]


def compare_live(
    store: LiveStore,
    spec: ModelSpec,
    metric: str,
    *,
    trial: Trial | None = None,
    since: datetime | None = None,
) -> LiveComparison:
    """Compare two versions on the stored answers.

    Args:
        store: Holds them.
        spec: The model file.
        metric: By which the better one is found.
        trial: The versions; without it those that answered last beside each other.
        since: Only what was answered from then on.

    Raises:
        NotFound: Nothing is stored.
        PodiumError: The metric is none of the task, or an answer or label is not what the model file says.
        Outage: The database did not answer.
    """
    _check_metric(spec, metric)
    trial = trial or store.newest_trial(spec.name)
    if trial is None:
        raise NotFound(f"no live answers of {spec.name} are stored: serve it with --shadow or --canary")
    stored, capped = _newest(store.read(spec.name, trial, since))
    pairs = [one for one in stored if one[0].paired]
    paired = bool(pairs)
    by_champion, by_candidate = (pairs, pairs) if paired else _canary(stored)
    champion = _side(spec, by_champion, "champion_answers")
    candidate = _side(spec, by_candidate, "candidate_answers")
    sides = (_labelled(spec, champion), _labelled(spec, candidate))
    return LiveComparison(
        model=spec.name,
        trial=trial,
        paired=paired,
        champion_rows=len(champion.predictions),
        candidate_rows=len(candidate.predictions),
        champion_labelled=len(sides[0]),
        candidate_labelled=len(sides[1]),
        capped=capped,
        agreement=_agreement(spec, champion.predictions, candidate.predictions) if paired else None,
        metrics=_metrics(spec.task, metric, *sides, paired=paired) if all(map(len, sides)) else (),
    )


_Stored = tuple[LiveAnswer, list[Any] | None]


def _check_metric(spec: ModelSpec, metric: str) -> None:
    known = KNOWN_METRICS.get(metric)
    if known is None or known.task is not spec.task:
        allowed = sorted(name for name, other in KNOWN_METRICS.items() if other.task is spec.task)
        raise PodiumError(f"no metric '{metric}' of a {spec.task}; there are: {', '.join(allowed)}")


def _newest(stored: Iterator[_Stored]) -> tuple[list[_Stored], bool]:
    """Return the newest requests, and whether there are more."""
    found: list[_Stored] = []
    rows = 0
    for one in stored:
        rows += one[0].rows
        if found and rows > MOST_ROWS:
            return found, True
        found.append(one)
    return found, False


def _canary(stored: Sequence[_Stored]) -> tuple[list[_Stored], list[_Stored]]:
    """Return the requests of each side, those of the champion since the candidate answered its first one."""
    by_candidate = [one for one in stored if one[0].candidate_answers is not None]
    begun = min((answer.at for answer, _ in by_candidate), default=None)
    by_champion = [
        one for one in stored if one[0].champion_answers is not None and begun and one[0].at >= begun
    ]
    return by_champion, by_candidate


def _side(spec: ModelSpec, stored: Sequence[_Stored], which: str) -> _Side:
    predictions: list[Numbers] = []
    labels: list[Any] = []
    requests: list[int] = []
    for place, (answer, known) in enumerate(stored):
        predictions.append(_numbers(spec, answer, getattr(answer, which)))
        labels += [None] * answer.rows if known is None else known
        requests += [place] * answer.rows
    empty = np.empty((0, len(spec.labels)) if spec.labels else 0)
    return _Side(np.concatenate([empty, *predictions]), labels, requests)


def _numbers(spec: ModelSpec, answer: LiveAnswer, text: str) -> Numbers:
    said = read_predictions(text)
    try:
        values = np.asarray(said.values, dtype=np.float64)
        if spec.labels:
            return in_label_order(values, said.classes, spec.labels, answer.rows)
        return values.reshape(answer.rows)
    except (TypeError, ValueError) as error:
        raise PodiumError(f"the answers to request {answer.request_id} are no numbers: {error}") from error


def _labelled(spec: ModelSpec, side: _Side) -> Answers:
    """Return the rows whose labels are known; of a ranking each request is a list.

    Raises:
        DataError: The model file does not list a label.
    """
    known = np.asarray([label is not None for label in side.labels], dtype=bool)
    return Answers(
        task=spec.task,
        labels=spec.labels,
        truth=true_values(pd.Series([label for label in side.labels if label is not None]), spec.labels),
        predictions=side.predictions[known],
        groups=np.asarray(side.requests)[known] if spec.task is Task.RANKING else None,
    )


def _agreement(spec: ModelSpec, champion: Numbers, candidate: Numbers) -> Agreement:
    both = np.isfinite(champion) & np.isfinite(candidate)
    answered = both.all(axis=1) if both.ndim == 2 else both
    one, other = champion[answered], candidate[answered]
    rows = len(one)
    if not rows:
        return Agreement(0, len(champion), math.nan, math.nan, None)
    same = one.argmax(axis=1) == other.argmax(axis=1) if spec.labels else one == other
    quantiles = None if spec.labels else tuple(np.quantile(other - one, (0.05, 0.5, 0.95)).tolist())
    return Agreement(
        rows=rows,
        unanswered=len(champion) - rows,
        same=float(same.mean()),
        mean_absolute_difference=float(np.abs(other - one).mean()),
        difference_quantiles=quantiles,
    )


def _metrics(
    task: Task, metric: str, champion: Answers, candidate: Answers, *, paired: bool
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
    if paired:
        drawn = metric_differences(metric, (), _CHAMPION_DRAWS, candidate, champion)
        return replace(pair, difference=_interval(drawn))
    old_draws = metric_resamples(metric, _CHAMPION_DRAWS, champion)
    new_draws = metric_resamples(metric, _CANDIDATE_DRAWS, candidate)
    return replace(
        pair,
        difference=_interval(new_draws - old_draws),
        champion_interval=_interval(old_draws),
        candidate_interval=_interval(new_draws),
    )


def _interval(drawn: Numbers) -> Interval | None:
    """Return the middle of the draws; None where some of them have no value."""
    if not np.isfinite(drawn).all():
        return None
    low, high = np.quantile(drawn, ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Interval(float(low), float(high))


def _short(value: float) -> str:
    return f"{value:.4g}"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
