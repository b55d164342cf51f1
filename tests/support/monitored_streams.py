"""Made-up windows of models in use, our own matches by month, and what monitoring says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier

from podium.gates.counted_rows import CountedRows
from podium.metrics.answers import Numbers
from podium.metrics.predictions import answer_streams
from podium.metrics.reference import Column, Reference, count_rows, make_reference
from podium.metrics.row_scores import row_losses
from podium.metrics.windows import Window, inside, windows_between
from podium.model_file.loading import load_spec
from podium.monitoring.evidence import window_content
from podium.monitoring.harm import after, first_harm, judge_harm, losses
from podium.monitoring.inputs import stream_shares
from podium.monitoring.journal import Judged, Observation, Rules, judge_all, observe
from podium.monitoring.known_rows import rules_of
from podium.monitoring.on_record import RecordedWindow
from podium.monitoring.rows import examples_of
from podium.monitoring.verdicts import Said
from podium.settings import PROJECT_ROOT
from podium.training.data import load_window
from podium.training.fit import answers_of, fit
from podium.training.reference import version_reference
from podium.training.saving import usable
from podium.training.split import subset

FEATURES = 13
STABLE, AFTER = 200, 30
DAY = timedelta(days=1)
FIRST = datetime(2024, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Stream:
    """How windows vary.

    Attributes:
        past: How many windows of the past there are.
        wobble: Standard deviation of each window's mean, of rows of 1.
        memory: Correlation of a window's mean with the one before.
        weekend: By how much six features are greater at weekends.
        rows: Rows of a window.
        shift: By how much one feature rises after the stable windows.
        match: Which windows are compared.
    """

    past: int = 60
    wobble: float = 0.0
    memory: float = 0.0
    weekend: float = 0.0
    rows: int = 500
    shift: float = 0.5
    match: str | None = None


@dataclass(frozen=True)
class Found:
    """What was said of one stream.

    Attributes:
        alarms: How many of the stable windows raised one.
        not_judged: How many of the stable windows were not judged.
        delay: Windows from the change to its alarm, at least 1; infinite: none.
    """

    alarms: int
    not_judged: int
    delay: float


def watch(stream: Stream, seed: int, stable: int = STABLE) -> Found:
    """Judge one stream: windows of the past, stable ones, then those after the change."""
    draws = np.random.default_rng(seed)
    means = _means(stream, stream.past + stable + AFTER, draws)
    columns = _pool(stream, draws)
    seen = [
        _window(
            stream, columns, place, mean + (stream.shift * (place >= stream.past + stable) * _first()), draws
        )
        for place, mean in enumerate(means)
    ]
    importance = {name: 0.3 if name == "x0" else 0.7 / (FEATURES - 1) for name in columns}
    rules = Rules(1000, stream_shares(importance, ()), match=stream.match)  # type: ignore[arg-type]
    judged = list(judge_all(f"made-up/{seed}", rules, seen[: stream.past], seen[stream.past :]))
    return _found(judged, stable)


def _found(judged: list[Judged], stable: int) -> Found:
    raised = [said.inputs is not None and bool(said.inputs.alarmed.any()) for said in judged]
    unjudged = sum(said.inputs is None or bool(said.inputs.not_judged) for said in judged[:stable])
    late = next((place + 1.0 for place, alarm in enumerate(raised[stable:]) if alarm), float("inf"))
    return Found(sum(raised[:stable]), unjudged, late)


def _means(stream: Stream, windows: int, draws: np.random.Generator) -> Numbers:
    noise = draws.normal(size=(windows + 200, FEATURES))
    means = np.zeros_like(noise)
    for place in range(1, len(means)):
        means[place] = stream.memory * means[place - 1] + np.sqrt(1 - stream.memory**2) * noise[place]
    weekend = (np.arange(windows) % 7 >= 5)[:, None] * (np.arange(FEATURES) < 6)
    return means[200:] * stream.wobble + stream.weekend * weekend


def _pool(stream: Stream, draws: np.random.Generator) -> dict[str, Column]:
    """Return a reference of 49 windows before all others."""
    weekend = (np.arange(49) % 7 >= 5)[:, None] * (np.arange(FEATURES) < 6)
    means = draws.normal(size=(49, FEATURES)) * stream.wobble + stream.weekend * weekend
    frame = pd.concat([_frame(mean, 5000 // 49, draws) for mean in means], ignore_index=True)
    reference = make_reference(
        pd.concat([frame, frame.tail(1)], ignore_index=True),
        pd.Series([FIRST] * len(frame) + [FIRST + DAY]),
        "0 0 * * *",
    )
    return dict(reference.columns)


def _window(
    stream: Stream, columns: Mapping[str, Column], place: int, mean: Numbers, draws: np.random.Generator
) -> Observation:
    start = FIRST + place * DAY
    rows = _frame(mean, stream.rows, draws)
    return observe(columns, Window(start, start + DAY), count_rows(columns, rows))


def _frame(mean: Numbers, rows: int, draws: np.random.Generator) -> pd.DataFrame:
    values = draws.normal(size=(rows, FEATURES)) + mean
    return pd.DataFrame(values, columns=[f"x{place}" for place in range(FEATURES)])


def _first() -> Numbers:
    return np.eye(FEATURES)[0]


def few_labels(rise: float, seed: int, risk: float = 0.32, windows: int = 60, change: int = 10) -> float:
    """Return after how many windows, from the change on, a risk above 0.35 is known; 50 labels of 500 rows.

    A number of 0 or less: it was taken for known before the change. Infinite: never.
    """
    draws = np.random.default_rng(seed)
    harm = first_harm()
    for place in range(windows):
        loss, proxy = _hits(500, risk + rise * (place >= change), draws)
        window = losses(loss[:50], proxy[:50], proxy[50:])
        judged = judge_harm(harm, window, 0.35, 2000)
        if judged.alarmed:
            return place + 1 - change
        harm = after(harm, window, judged)
    return float("inf")


def _hits(rows: int, risk: float, draws: np.random.Generator) -> tuple[Numbers, Numbers]:
    """Return losses of 0 and 1, and proxies that are 0.05 too high on average, with a correlation of 0.85."""
    high = risk + 0.05
    both = min(risk, high, risk * high + 0.85 * np.sqrt(risk * (1 - risk) * high * (1 - high)))
    loss = draws.uniform(size=rows) < risk
    chance = np.where(loss, both / risk, max(0.0, high - both) / (1 - risk))
    return loss.astype(float), (draws.uniform(size=rows) < chance).astype(float)


def bike_rentals(seed: int, *, gradually: bool) -> pd.DataFrame:
    """Return hourly rentals by hour and weekday, whose mean grows by 60% in the third year.

    Args:
        seed: Of the draws.
        gradually: A little each hour of the third year, not at its beginning.

    Returns:
        Columns ``time`` and ``rentals``.
    """
    draws, days = np.random.default_rng(seed), 3 * 365
    times = pd.date_range("2010-01-01", periods=24 * days, freq="h", tz="UTC")
    hour, workday = times.hour.to_numpy(), times.day_of_week.to_numpy() < 5
    commute = np.exp(-((hour - 8) ** 2) / 3) + np.exp(-((hour - 17.5) ** 2) / 5)
    leisure = np.exp(-((hour - 14) ** 2) / 18)
    level = 20 + 200 * np.where(workday, commute, leisure)
    weather = np.repeat(draws.lognormal(0, 0.1, days), 24)
    third = np.clip((np.arange(len(times)) - 24 * 730) / (24 * 365), 0, 1)
    growth = 1 + 0.6 * (third if gradually else third > 0)
    return pd.DataFrame({"time": times, "rentals": draws.poisson(level * weather * growth)})


def watch_bikes(seed: int, *, gradually: bool = False) -> float:
    """Return after how many days of the third year an alarm is raised."""
    rentals = bike_rentals(seed, gradually=gradually)
    known = rentals[rentals["time"] < pd.Timestamp("2012-01-01", tz="UTC")]
    reference = make_reference(known[["rentals"]], known["time"], "0 0 * * *")
    windows = windows_between(
        "0 0 * * *", datetime(2012, 1, 1, tzinfo=UTC), rentals["time"].max().to_pydatetime()
    )
    seen = _observed(reference, rentals[["rentals"]], rentals["time"], windows[:-1])
    judged = judge_all(
        "bikes", Rules(1000, stream_shares({"rentals": 1.0}, ()), min_rows=24), reference.past, seen
    )
    return _found(list(judged), 0).delay


def _observed(
    reference: Reference, frame: pd.DataFrame, times: pd.Series, windows: tuple[Window, ...]
) -> list[Observation]:
    seen = []
    for window in windows:
        counts = count_rows(reference.columns, frame[inside(times, window)])
        seen.append(observe(reference.columns, window, counts))
    return seen


def watch_answers(seed: int, *, in_sample: bool, windows: int = 50, rows: int = 100) -> int:
    """Return how many of some stable windows raise an alarm by what a forest answers.

    Args:
        seed: Of the draws.
        in_sample: The answers are held against those to the rows that it was trained on, not to others.
        windows: How many stable windows.
        rows: Rows of a window.
    """
    draws = np.random.default_rng(seed)

    def drawn(number: int) -> tuple[Numbers, Numbers]:
        values = draws.normal(size=(number, FEATURES))
        return values, draws.uniform(size=number) < 1 / (1 + np.exp(-values[:, 0] - values[:, 1]))

    past = 120
    trained, label = drawn(past * rows)
    forest = RandomForestClassifier(50, min_samples_leaf=3, random_state=seed).fit(trained, label)
    known = trained if in_sample else drawn(past * rows)[0]

    def answers(values: Numbers) -> pd.DataFrame:
        return answer_streams(("no", "yes"), forest.predict_proba(values))

    times = pd.Series(np.repeat(pd.date_range(FIRST, periods=past), rows))
    reference = make_reference(answers(known), times, "0 0 * * *")
    seen = []
    for place in range(windows):
        start = FIRST + (past + place) * DAY
        counts = count_rows(reference.columns, answers(drawn(rows)[0]))
        seen.append(observe(reference.columns, Window(start, start + DAY), counts))
    rules = Rules(1000, stream_shares({}, tuple(reference.columns)))
    judged = judge_all(f"answers/{seed}", rules, reference.past, seen)
    return sum(one.moved.said is Said.MOVED for one in judged)


def football() -> tuple[Rules, list[Judged]]:
    """Judge the matches of each month since July 2014 by our model of those before, as its model file says.

    The reference, the shares of the alarms and the loss at promotion are those that the version would bring.
    """
    spec = load_spec(PROJECT_ROOT / "include" / "models" / "soccer_match_outcome.yaml")
    section = spec.monitoring
    assert section is not None
    cut = datetime(2014, 7, 1, tzinfo=UTC)
    known = load_window(spec, cut, PROJECT_ROOT)
    fitted = fit(spec.model_copy(update={"search": None}), known, PROJECT_ROOT, lambda attempt: attempt)
    with usable(fitted.trained.model, classifies=True, requirements=()) as model:
        reference = version_reference(spec, section, known, lambda rows: answers_of(spec, model, rows))
        examples = examples_of(load_window(spec, datetime(2026, 7, 20, tzinfo=UTC), PROJECT_ROOT))
        windows = windows_between(section.windows, cut, examples.time.max().replace(tzinfo=UTC))
        seen = []
        for window in windows:
            rows = subset(examples, pd.Series(inside(examples.time, window)))
            if not len(rows):
                seen.append(Observation(window, 0))
                continue
            answers = answers_of(spec, model, rows)
            frame = pd.concat([rows.inputs, answer_streams(spec.labels, answers.predictions)], axis=1)
            counted = CountedRows(spec, reference.columns)
            counted.add(frame)
            costs = row_losses(spec.row_metric, answers)
            seen.append(
                replace(
                    observe(reference.columns, window, counted.counts),
                    losses=losses(costs, np.zeros(len(costs)), np.empty(0)),
                    problems=counted.problems(),
                )
            )
    rules = rules_of(spec, section, reference)
    return rules, list(judge_all(f"{spec.name}/1", rules, reference.past, seen))


def recorded(rules: Rules, judged: Sequence[Judged]) -> list[RecordedWindow]:
    """Return judged windows as they would be on record, of version 1."""
    return [RecordedWindow(1, one.observation.window, window_content(one, {}), rules) for one in judged]
