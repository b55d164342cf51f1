"""A run that was trained elsewhere gets what a lifecycle needs of it: its moment, and prints of its rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import pandas as pd

from podium.errors import CannotAdopt, DataError
from podium.model_file.loading import find_spec
from podium.model_file.spec import ModelSpec
from podium.names import Tag, moment_problem
from podium.registry.client import Registry
from podium.settings import models_dir
from podium.training.data import parse_times
from podium.training.holdout import FOLDER, overlap_columns, store_prints, training_prints
from podium.training.input_types import as_clients_send

# The types of the columns of which the prints are: equal values of other types have other prints.
KINDS = "training_kinds.json"


def announce(
    model: str,
    *,
    as_of: datetime,
    trained_on: pd.DataFrame | Iterable[pd.DataFrame],
    run_id: str | None = None,
) -> str:
    """Make an MLflow run of yours a training run of a model file, and return its id.

    Call it when the model is logged (``log_model(name=...)``), where your training runs: it needs MLflow's
    address and the model file. The run must be of the experiment that is called as the model is.

    Args:
        model: The model file's name.
        as_of: With a zone; the moment before which all rows were known that it was trained on.
        trained_on: The rows that it was trained on, whole or in parts, with the model file's inputs and, if
            there is one, its time column. They leave no trace but fingerprints.
        run_id: The MLflow run; None: the active one.

    Raises:
        CannotAdopt: The run is of another experiment, or logged no model or several; says what to do.
        DataError: A column is missing, or rows are of ``as_of`` or later.
        Outage: MLflow did not answer.
    """
    spec = find_spec(models_dir(), model)
    registry = Registry(mlflow.get_tracking_uri())
    run_id = run_id or _active(model)
    _refuse_unusable(registry, spec, run_id)
    moment = _moment(model, as_of)
    parts = [trained_on] if isinstance(trained_on, pd.DataFrame) else trained_on
    prints, kinds, told = _read(spec, parts, moment)
    with TemporaryDirectory(prefix="podium-") as folder:
        store_prints(Path(folder), prints)
        (Path(folder) / KINDS).write_text(json.dumps(kinds), encoding="utf-8")
        registry.log_folder(run_id, Path(folder), FOLDER, doing=f"keeping what run {run_id} was trained on")
    commit = registry.run(run_id).tags.get("mlflow.source.git.commit", "unknown")
    tags = {
        Tag.AS_OF: moment.isoformat(),
        Tag.TRAINED_ON: told,
        Tag.GIT_COMMIT: commit,
        # Last: a half-written one must not have it.
        Tag.INPUTS_DIGEST: hashlib.sha256(f"{model} elsewhere {run_id}".encode()).hexdigest(),
    }
    for tag, value in tags.items():
        registry.set_run_tag(run_id, tag, value)
    return run_id


def _active(model: str) -> str:
    run = mlflow.active_run()
    if run is None:
        raise CannotAdopt(
            f"{model}: there is no active MLflow run; call announce inside of it, or give run_id"
        )
    return str(run.info.run_id)


def _refuse_unusable(registry: Registry, spec: ModelSpec, run_id: str) -> None:
    if spec.training is None:
        raise CannotAdopt(
            f"{spec.name}: its model file has no section training; without it nobody waits for this run"
        )
    if registry.experiment_id(run_id) != registry.ensure_experiment(spec.name):
        raise CannotAdopt(
            f"run {run_id} is of another experiment: call mlflow.set_experiment({spec.name!r}) before it"
        )
    if (made := registry.run(run_id).models) != 1:
        raise CannotAdopt(
            f"run {run_id} logged {made} models, and one is wanted: log it once, before announce, with "
            "log_model(name=...) of MLflow 3"
        )


def _moment(model: str, as_of: datetime) -> datetime:
    if as_of.tzinfo is None:
        raise DataError(f"{model}: as_of {as_of.isoformat()} has no zone; write datetime(..., tzinfo=UTC)")
    if problem := moment_problem(as_of):
        raise DataError(f"{model}: as_of {problem}")
    return as_of.astimezone(UTC).replace(tzinfo=None)


def _read(
    spec: ModelSpec, parts: Iterable[pd.DataFrame], moment: datetime
) -> tuple[pd.DataFrame, dict[str, str], str]:
    """Return the prints of all rows, the types of their columns, and in words which rows they are."""
    prints: list[pd.DataFrame] = []
    kinds: dict[str, str] = {}
    days: list[tuple[pd.Timestamp, pd.Timestamp]] = []
    for part in parts:
        rows = _as_stored(spec, part)
        found = kinds_of(spec, rows)
        if kinds and found != kinds:
            raise DataError(f"{spec.name}: the parts of trained_on have other types: {_differ(kinds, found)}")
        kinds = found
        prints.append(training_prints(spec, rows))
        if spec.data.time_column is not None and len(rows):
            days.append(_span(spec, rows, moment))
    count = sum(map(len, prints))
    if not count:
        raise DataError(f"{spec.name}: trained_on has no rows")
    told = f"{count:,} rows"
    if days:
        first, last = min(first for first, _ in days), max(last for _, last in days)
        told = f"{first:%Y-%m-%d} to {last:%Y-%m-%d} ({count:,} rows)"
    return pd.concat(prints, ignore_index=True), kinds, told


def kinds_of(spec: ModelSpec, rows: pd.DataFrame) -> dict[str, str]:
    """Return the type of each column by which training rows are found again in the holdout."""
    wanted = [*spec.data.inputs, *(name for columns in overlap_columns(spec) for name in columns)]
    return {name: str(rows[name].dtype) for name in wanted if name in rows}


def _as_stored(spec: ModelSpec, part: pd.DataFrame) -> pd.DataFrame:
    time = spec.data.time_column
    if missing := [name for name in (*spec.data.inputs, *([time] if time else [])) if name not in part]:
        there = ", ".join(map(str, part.columns))
        raise DataError(f"{spec.name}: trained_on has no column {', '.join(missing)}; available: {there}")
    inputs = list(spec.data.inputs)
    return pd.concat([as_clients_send(part[inputs]), part.drop(columns=inputs)], axis=1)


def _span(spec: ModelSpec, rows: pd.DataFrame, moment: datetime) -> tuple[pd.Timestamp, pd.Timestamp]:
    column = rows[str(spec.data.time_column)]
    if not pd.api.types.is_datetime64_any_dtype(column):
        column = parse_times(column, spec.data.time_formats)
    elif column.dt.tz is not None:
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    late = int((column >= moment).sum())
    if late or column.isna().any():
        wrong = f"{late:,} rows of as_of ({moment.isoformat()}) or later" if late else "rows without a time"
        raise DataError(f"{spec.name}: trained_on: column {spec.data.time_column} has {wrong}")
    return column.min(), column.max()


def _differ(kinds: dict[str, str], found: dict[str, str]) -> str:
    return ", ".join(
        f"{name} is {found.get(name)} and {kind}" for name, kind in kinds.items() if found.get(name) != kind
    )
