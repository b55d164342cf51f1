"""The windows of one version, judged one after the other.

The same record gives the same verdicts and the same wealth, to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from podium.metrics.answers import Numbers
from podium.metrics.bins import Counts
from podium.metrics.detectors import alarm_at, coins, mean_wealth
from podium.metrics.reference import Column, Measured, measure
from podium.metrics.windows import Match, Window, season
from podium.monitoring import harm as harms
from podium.monitoring import inputs as moves
from podium.monitoring.harm import Harm, HarmJudged, Losses
from podium.monitoring.inputs import Distances, Inputs, InputsJudged
from podium.monitoring.verdicts import Said, Verdict, worst_of

SeenT = TypeVar("SeenT", bound=Measured)

# Fewer rows than a tenth of the fewest of the windows before, or more than ten times the most.
_ROWS_APART = 10
# Where windows had fewer, one without any is nothing unusual.
_MANY_ROWS = 30


@dataclass(frozen=True)
class Observation(Measured):
    """What is kept of one window; holds no row.

    Attributes:
        losses: What its rows cost; None: nobody asked.
        problems: What is broken in its data.
    """

    losses: Losses | None = None
    problems: Sequence[str] = ()


@dataclass(frozen=True)
class Rules:
    """How windows are judged.

    Attributes:
        at_most_one_in: Windows in which there may be one false alarm on average, of both questions together.
        shares: By stream, the share of the alarms of the question about inputs; they add up to 1.
        match: Which windows are compared.
        metric: The metric of the question whether it hurts.
        at_promotion: Its mean loss at promotion.
        tolerance: By how much the metric may be worse; None: the question is not asked.
        retrain_on_inputs: Whether moved inputs are a reason to train.
        min_rows: A window of fewer rows is not judged by its inputs.
        past_rows: The training data is of the same source as the windows, so their numbers of rows compare.
    """

    at_most_one_in: int
    shares: Mapping[str, float]
    match: Match | None = None
    metric: str = "log_loss"
    at_promotion: float = 0.0
    tolerance: float | None = None
    retrain_on_inputs: bool = False
    min_rows: int = 30
    past_rows: bool = True

    @property
    def run_length(self) -> float:
        """Of each of the two questions: each may raise half of the false alarms."""
        return 2.0 * self.at_most_one_in

    @property
    def streams(self) -> tuple[str, ...]:
        """The names of the streams, in the order of all arrays."""
        return tuple(self.shares)

    @property
    def weights(self) -> Numbers:
        """The shares of the streams, shape (d,)."""
        return np.fromiter(self.shares.values(), float)

    @property
    def alarm_at(self) -> Numbers:
        """The log wealth at which each stream raises an alarm, shape (d,)."""
        return alarm_at(self.weights, self.run_length)


@dataclass(frozen=True)
class Judged:
    """One window and its verdicts.

    Attributes:
        observation: The window.
        streams: The names of what is judged, in the order of the arrays in ``inputs``.
        hurts: Does it hurt?
        moved: Did inputs or answers move?
        whole: Is the data whole?
        inputs: The numbers behind ``moved``; None where the data is broken or the rows are too few.
        harm: The numbers behind ``hurts``; None where the data is broken, or the question is not asked.
    """

    observation: Observation
    streams: Sequence[str]
    hurts: Verdict
    moved: Verdict
    whole: Verdict
    inputs: InputsJudged | None = None
    harm: HarmJudged | None = None

    @property
    def retrain(self) -> str:
        """The reason to train again; "" if there is none."""
        return next((said.reason for said in (self.hurts, self.moved) if said.said is Said.RETRAIN), "")

    @property
    def worst(self) -> Verdict:
        """The verdict that asks for most."""
        return worst_of(self.whole, self.moved, self.hurts)


_NONE: Mapping[Window, Judged] = {}


def judge_all(
    subject: str,
    rules: Rules,
    past: Iterable[Measured],
    windows: Iterable[Observation],
    known: Mapping[Window, Judged] = _NONE,
) -> Iterator[Judged]:
    """Yield the verdicts on the windows of one version, by time.

    Args:
        subject: Names model and version, for the numbers that break ties.
        rules: How they are judged.
        past: The windows of the training data; they raise no alarm.
        windows: The windows since, in any order. Of two of the same window the later one counts.
        known: How windows were judged before, by the same rules. As long as no window differs, they are taken
            as they are: to judge each one anew takes longer the more there are.
    """
    of_training = by_time(past)
    inputs, harm, since = _after_past(rules, of_training), harms.first_harm(), ""
    numbers = _Numbers(rules.match, _rows_of(rules, of_training))
    same = True
    for seen in by_time(windows):
        before, wrong_rows = known.get(seen.window), numbers.problem(seen)
        same = same and before is not None and before.observation == seen
        if same and before is not None:
            judged, since = before, _suspected_since(before, since)
        else:
            judged = _judge(subject, rules, inputs, harm, seen, wrong_rows)
            since = _suspected_since(judged, since)
            if judged.hurts.said is Said.RETRAIN:
                judged = replace(judged, hurts=Verdict(Said.RETRAIN, f"{judged.hurts.reason} since {since}"))
        if judged.hurts.said is Said.RETRAIN:
            since = ""
        if judged.inputs is not None:
            distances = _distances(rules, seen)
            inputs = moves.after(inputs, distances, judged.inputs, rules.weights, rules.run_length)
        if judged.harm is not None and seen.losses is not None:
            harm = harms.after(harm, seen.losses, judged.harm)
        yield judged


def judge_none(reason: str, windows: Iterable[Observation]) -> Iterator[Judged]:
    """Yield windows, by time, of which none is judged, for one reason."""
    unjudged = Verdict(Said.NOT_JUDGED, reason)
    for seen in by_time(windows):
        yield Judged(seen, (), unjudged, unjudged, unjudged)


def observe(columns: Mapping[str, Column], window: Window, counts: Mapping[str, Counts]) -> Observation:
    """Return what is seen of a window by its counts alone, see ``measure``."""
    return Observation(**vars(measure(columns, window, counts)))


def by_time(windows: Iterable[SeenT]) -> list[SeenT]:
    """Return windows by time, each once: as it was seen last."""
    latest = {seen.window: seen for seen in windows}
    return [latest[window] for window in sorted(latest)]


def _rows_of(rules: Rules, past: Sequence[Measured]) -> list[tuple[int, int, bool]]:
    """Return what is known of numbers of rows before the first window."""
    if not rules.past_rows:
        return []
    return [(season(seen.window, rules.match), seen.rows, False) for seen in past]


def _after_past(rules: Rules, past: Iterable[Measured]) -> Inputs:
    inputs = moves.first_inputs(len(rules.shares))
    for seen in by_time(past):
        if seen.rows >= rules.min_rows:
            inputs = moves.with_past(inputs, _distances(rules, seen))
    return inputs


@dataclass
class _Numbers:
    """The numbers of rows of windows, by time.

    Attributes:
        match: Which windows are compared.
        known: Of each window so far: its season, its rows, and whether these were far from all others.
    """

    match: Match | None
    known: list[tuple[int, int, bool]]

    def problem(self, seen: Observation) -> str:
        """Say that a window has far fewer or more rows than those before; "" if it has not.

        Far ones count once there are as many windows after them as make a past: what lasts is no defect.
        """
        its_season, settled = season(seen.window, self.match), len(self.known) - moves.LEAST_WINDOWS
        before = [
            rows
            for place, (kind, rows, far) in enumerate(self.known)
            if kind == its_season and (place < settled or not far)
        ]
        problem = row_problem(seen.rows, before)
        self.known.append((its_season, seen.rows, bool(problem)))
        return problem


def row_problem(rows: int, before: Sequence[int]) -> str:
    """Say that a window has far fewer or more rows than the windows before; "" if it has not."""
    if len(before) < moves.LEAST_WINDOWS:
        return ""
    least, most = min(before), max(before)
    far_fewer = least >= _MANY_ROWS and rows * _ROWS_APART < least
    if far_fewer or rows > most * _ROWS_APART:
        return f"{rows:,} rows; the {len(before)} windows before had {least:,} to {most:,}"
    return ""


def _judge(  # noqa: PLR0913 - what is known before a window, and the window
    subject: str, rules: Rules, inputs: Inputs, harm: Harm, seen: Observation, wrong_rows: str
) -> Judged:
    if problems := [*filter(None, [wrong_rows]), *seen.problems]:
        unjudged = Verdict(Said.NOT_JUDGED, "the data is broken")
        return Judged(seen, rules.streams, unjudged, unjudged, Verdict(Said.BROKEN, "; ".join(problems)))
    whole = Verdict(Said.NOTHING_SEEN)
    hurts, harm_judged = _judge_harm(rules, harm, seen)
    if seen.rows < rules.min_rows:
        few = f"{seen.rows} rows, {rules.min_rows} are needed" if seen.rows else "no rows"
        return Judged(seen, rules.streams, hurts, Verdict(Said.NOT_JUDGED, few), whole, harm=harm_judged)
    coin = coins(subject, seen.window.start.isoformat(), size=len(rules.shares))
    numbers = moves.judge_inputs(inputs, _distances(rules, seen), coin, rules.weights, rules.run_length)
    return Judged(seen, rules.streams, hurts, _moved(rules, numbers), whole, numbers, harm_judged)


def _judge_harm(rules: Rules, harm: Harm, seen: Observation) -> tuple[Verdict, HarmJudged | None]:
    if rules.tolerance is None or seen.losses is None:
        return Verdict(Said.NOT_JUDGED, "no labels are read for it"), None
    tolerated = harms.tolerated_loss(rules.metric, rules.at_promotion, rules.tolerance)
    judged = harms.judge_harm(harm, seen.losses, tolerated, rules.run_length)
    if judged.not_judged:
        return Verdict(Said.NOT_JUDGED, judged.not_judged), judged
    return (
        Verdict(Said.RETRAIN, _hurts(rules, judged)) if judged.alarmed else Verdict(Said.NOTHING_SEEN)
    ), judged


def _suspected_since(judged: Judged, since: str) -> str:
    """Return the day from which on the detector has held more than it began with; "" if it does not."""
    if judged.harm is None or judged.harm.not_judged:
        return since
    suspects = mean_wealth(judged.harm.log_wealth) > 0
    return (since or f"{judged.observation.window.start:%Y-%m-%d}") if suspects else ""


def _hurts(rules: Rules, judged: HarmJudged) -> str:
    now, then = (harms.shown_risk(rules.metric, loss) for loss in (judged.risk, rules.at_promotion))
    bound = f"under {then:.3g} -" if now < then else f"over {then:.3g} +"
    return f"{rules.metric.replace('_', ' ')} {now:.3g} {bound} {rules.tolerance:g}"


def _moved(rules: Rules, judged: InputsJudged) -> Verdict:
    if judged.not_judged:
        return Verdict(Said.NOT_JUDGED, judged.not_judged)
    if not judged.alarmed.any():
        return Verdict(Said.NOTHING_SEEN)
    order = np.argsort(-judged.log_wealth, kind="stable")
    reason = f"{', '.join(rules.streams[place] for place in order if judged.alarmed[place])} moved"
    if not judged.dependence_known:
        return Verdict(Said.MOVED, f"{reason}; dependence of the windows not yet known")
    return Verdict(Said.RETRAIN if rules.retrain_on_inputs else Said.MOVED, reason)


def _distances(rules: Rules, seen: Measured) -> Distances:
    return Distances(
        _in_order(rules, seen.distances),
        _in_order(rules, seen.shifts),
        season(seen.window, rules.match),
        seen.rows,
    )


def _in_order(rules: Rules, by_stream: Mapping[str, float]) -> Numbers:
    return np.asarray([by_stream.get(name, np.nan) for name in rules.streams])
