"""What monitoring says of the rows that a model is trained on: older ones are the past of newer ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pandas as pd

from podium.errors import DataError
from podium.model_file.monitoring import MonitoringSpec
from podium.model_file.spec import ModelSpec
from podium.monitoring.journal import Judged, Observation, Rules, judge_all
from podium.monitoring.reference import Column, Reference, count_rows, make_reference, observe, stream_shares
from podium.monitoring.whole import data_problems
from podium.monitoring.windows import Window, windows_between
from podium.training.data import load_window


def judge_known_rows(spec: ModelSpec, since: datetime, as_of: datetime, home: Path) -> list[Judged]:
    """Judge the windows from a moment on by those before it.

    Args:
        spec: The model file.
        since: The moment, with a zone.
        as_of: Only rows before it are seen; with a zone.
        home: The project's top folder.

    Raises:
        DataError: The model file has no section ``monitoring``, there are no rows on one of the two sides, or
            the rows cannot be read.
    """
    if spec.monitoring is None:
        raise DataError(f"{spec.name}: its model file has no section monitoring; see docs/monitoring.md")
    known = load_window(spec, as_of, home)
    inputs = pd.concat([known.train.inputs, known.holdout.inputs])
    times = pd.to_datetime(pd.concat([known.train.time, known.holdout.time]), utc=True)
    before = times < since
    if not before.any() or before.all():
        raise DataError(
            f"{spec.name}: rows are needed before {since:%Y-%m-%d} and after; they are of "
            f"{times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}"
        )
    reference = make_reference(inputs[before], times[before], spec.monitoring.windows)
    windows = windows_between(spec.monitoring.windows, since, times.max().to_pydatetime())
    seen = [_observed(reference, window, inputs[_inside(times, window) & ~before]) for window in windows]
    return list(judge_all(spec.name, rules(spec.monitoring, reference.columns), reference.past, seen))


def rules(section: MonitoringSpec, columns: Mapping[str, Column]) -> Rules:
    """Return the rules of a model file for these columns."""
    importance = {name: section.weights.get(name, 0.0) for name in columns}
    return Rules(
        section.alarms.at_most_one_in,
        stream_shares(importance, ()),
        match=section.match,
        retrain_on_inputs=section.retrain_on == "inputs",
        min_rows=section.min_rows,
    )


def rules_of(spec: ModelSpec, section: MonitoringSpec, reference: Reference) -> Rules:
    """Return the rules of a model file for a version whose reference this is."""
    known = rules(section, reference.columns)
    if reference.at_promotion is None:
        return known
    risk = {"metric": spec.row_metric, "at_promotion": reference.at_promotion}
    return replace(known, **risk, tolerance=section.tolerance)  # type: ignore[arg-type]  # two kinds of value


def _inside(times: pd.Series, window: Window) -> pd.Series:
    return (times >= window.start) & (times < window.end)


def _observed(reference: Reference, window: Window, rows: pd.DataFrame) -> Observation:
    counts = count_rows(reference.columns, rows)
    bins = {name: column.bins for name, column in reference.columns.items()}
    problems = data_problems(bins, rows, counts, [past.rows for past in reference.past])
    return replace(observe(reference.columns, window, counts), problems=problems)
