"""Made-up windows of models in use, our own matches by month, and what monitoring says of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from podium.metrics.answers import Answers, Numbers
from podium.metrics.reference import Column, Reference, count_rows, make_reference
from podium.metrics.row_scores import row_losses
from podium.metrics.windows import Window, windows_between
from podium.model_file.loading import load_spec
from podium.model_file.metric_names import TaskKind
from podium.monitoring.harm import after, first_harm, judge_harm, losses
from podium.monitoring.inputs import stream_shares
from podium.monitoring.journal import Judged, Observation, Rules, judge_all, observe
from podium.monitoring.proxies import fit_proxy
from podium.settings import PROJECT_ROOT

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
        inside = (times >= window.start) & (times < window.end)
        counts = count_rows(reference.columns, frame[inside])
        seen.append(observe(reference.columns, window, counts))
    return seen


def football(min_rows: int = 60) -> list[Judged]:
    """Judge the matches of each month since July 2014 by a model of those before, with all labels there."""
    from trainers.soccer_match_outcome import match_examples

    spec = load_spec(PROJECT_ROOT / "include" / "models" / "soccer_match_outcome.yaml")
    matches = pd.read_csv(PROJECT_ROOT / spec.data.source, parse_dates=["date"])
    examples = match_examples(matches).reset_index(drop=True)
    times = pd.to_datetime(examples["date"], utc=True)
    cut, warm = pd.Timestamp("2014-07-01", tz="UTC"), pd.Timestamp("2004-01-01", tz="UTC")
    inputs = examples[list(spec.data.inputs)].astype(float)
    truth = pd.Index(spec.labels).get_indexer(pd.Index(examples["outcome"]))
    trained = ((times >= warm) & (times < cut)).to_numpy()
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.05, max_iter=500))
    model.fit(inputs[trained].fillna(0), truth[trained])
    predictions = model.predict_proba(inputs.fillna(0))

    def answers(rows: np.ndarray) -> Answers:
        return Answers(TaskKind.CLASSIFICATION, spec.labels, truth[rows], predictions[rows])

    named = [f"prediction {label}" for label in spec.labels]
    frame = pd.concat([inputs, pd.DataFrame(predictions, columns=named)], axis=1)
    reference = make_reference(frame[trained], times[trained], "0 0 1 * *")
    held_out = (trained & (times >= pd.Timestamp("2013-07-01", tz="UTC"))).to_numpy()
    proxy = fit_proxy("log_loss", answers(held_out))
    windows = windows_between("0 0 1 * *", cut.to_pydatetime(), times.max().to_pydatetime())
    seen = []
    for window in _observed(reference, frame, times, windows):
        rows = ((times >= window.window.start) & (times < window.window.end)).to_numpy()
        cost = (
            losses(row_losses("log_loss", answers(rows)), proxy(predictions[rows]), np.empty(0))
            if rows.any()
            else None
        )
        seen.append(replace(window, losses=cost))
    importance = dict(zip(spec.data.inputs, np.abs(model[-1].coef_).mean(axis=0), strict=True))
    rules = Rules(
        1000,
        stream_shares(importance, named),
        at_promotion=float(row_losses("log_loss", answers(held_out)).mean()),
        tolerance=0.05,
        min_rows=min_rows,
    )
    return list(judge_all("football/1", rules, reference.past, seen))
