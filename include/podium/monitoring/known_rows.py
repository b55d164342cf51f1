"""What monitoring says of the rows that a model is trained on: older ones are the past of newer ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pandas as pd

from podium.errors import DataError
from podium.gates.counted_rows import CountedRows
from podium.metrics.reference import Detector, Reference, make_reference
from podium.metrics.windows import Window, backtest, inside, windows_between
from podium.model_file.monitoring import MonitoringSpec
from podium.model_file.spec import ModelSpec
from podium.monitoring.inputs import stream_shares
from podium.monitoring.journal import Judged, Observation, Rules, judge_all, observe
from podium.training.data import rows_as_of
from podium.training.detectors import own_detectors


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
        TrainerError: An own detector broke its protocol.
    """
    if spec.monitoring is None:
        raise DataError(f"{spec.name}: its model file has no section monitoring; see docs/monitoring.md")
    known = rows_as_of(spec, as_of, home)
    inputs = pd.concat([known.train.inputs, known.holdout.inputs])
    times = pd.to_datetime(pd.concat([known.train.time, known.holdout.time]), utc=True)
    before = times < since
    if not before.any() or before.all():
        raise DataError(
            f"{spec.name}: rows are needed before {since:%Y-%m-%d} and after; they are of "
            f"{times.min():%Y-%m-%d} to {times.max():%Y-%m-%d}"
        )
    schedule, detectors = spec.monitoring.windows, own_detectors(spec.monitoring.detectors)
    reference = make_reference(inputs[before], times[before], schedule, detectors)
    pool = inputs[before][backtest(times[before], schedule).pool]
    windows = windows_between(schedule, since, times.max().to_pydatetime())
    seen = [
        with_own(_observed(spec, reference, window, rows), detectors, pool, rows)
        for window in windows
        for rows in [inputs[inside(times, window) & ~before]]
    ]
    return list(judge_all(spec.name, rules(spec.monitoring, reference), reference.past, seen))


def rules(section: MonitoringSpec, reference: Reference) -> Rules:
    """Return the rules of a model file for this reference.

    The features' shares of the alarms are those of the model file, or else follow from how much they matter.
    """
    features = [name for name in reference.columns if name not in reference.answers]
    known = section.weights or reference.importance
    importance = {name: known.get(name, 0.0) for name in features}
    return Rules(
        section.alarms.at_most_one_in,
        stream_shares(importance, reference.answers, reference.detectors),
        match=section.match,
        retrain_on_inputs=section.retrain_on == "inputs",
        min_rows=section.min_rows,
    )


def rules_of(spec: ModelSpec, section: MonitoringSpec, reference: Reference) -> Rules:
    """Return the rules of a model file for a version whose reference this is."""
    same_source = section.rows is None and spec.scoring is None
    known = replace(rules(section, reference), past_rows=same_source)
    if reference.at_promotion is None or section.tolerance is None:
        return known
    return replace(
        known, metric=reference.metric, at_promotion=reference.at_promotion, tolerance=section.tolerance
    )


def with_own(
    seen: Observation, detectors: Mapping[str, Detector], pool: pd.DataFrame, rows: pd.DataFrame
) -> Observation:
    """Add what own detectors say of a window, unless it is empty.

    Args:
        seen: What is seen of the window.
        detectors: By name.
        pool: The rows of the reference.
        rows: Those of the window.
    """
    own = {name: detect(pool, rows) for name, detect in detectors.items()} if len(rows) else {}
    return replace(seen, distances={**seen.distances, **own}, shifts={**seen.shifts, **own})


def _observed(spec: ModelSpec, reference: Reference, window: Window, rows: pd.DataFrame) -> Observation:
    counted = CountedRows(spec, reference.columns)
    counted.add(rows)
    return replace(observe(reference.columns, window, counted.counts), problems=counted.problems())
