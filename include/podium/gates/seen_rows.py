"""Did a version learn from rows that it is scored on? It would look better than it is."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from podium.errors import NotFound
from podium.ledger.events import Event
from podium.model_file.spec import ModelSpec
from podium.names import Tag, version_name
from podium.registry.client import Registry
from podium.registry.signature import columns_taken
from podium.training import holdout

_UNKNOWN = "it is unknown whether {} was trained on rows of this holdout"
_FLATTERED = "it may know their answers, and looks better here than it is"


def seen_rows(registry: Registry, spec: ModelSpec, role: str, version: Event, folder: Path) -> str:
    """Say how many holdout rows another version may have been trained on; "" if none.

    Where the holdout is of days, rows of that version's training days and earlier ones count; where it is by
    content, rows that equal one of its training rows in all inputs.

    Args:
        registry: Has that version's training run.
        spec: The model file.
        role: What the version is called in the sentence.
        version: Its registration.
        folder: The holdout, as a training run stored it.

    Raises:
        Outage: The store did not answer.
    """
    name = f"{role} {version_name(version.version)}".strip()
    if spec.holdout.days is not None:
        return _by_days(name, spec, version, folder)
    return _by_content(name, registry, spec, version, folder)


def _by_days(name: str, spec: ModelSpec, version: Event, folder: Path) -> str:
    last_day = str(version.details.get(Tag.TRAINED_ON, "")).partition(" to ")[2][:10]
    if not last_day:
        return _UNKNOWN.format(name)
    after = pd.Timestamp(last_day) + pd.Timedelta(days=1)
    times = [batch[str(spec.data.time_column)] for batch in holdout.batches(folder)]
    old, rows = sum(int((part < after).sum()) for part in times), sum(map(len, times))
    said = f"{name} was trained on rows up to {last_day}, and {old:,} of these {rows:,} holdout rows are no"
    return f"{said} newer: {_FLATTERED}" if old else ""


def _by_content(name: str, registry: Registry, spec: ModelSpec, version: Event, folder: Path) -> str:
    trained_on = _training_rows(registry, spec, version)
    if trained_on is None:
        return _UNKNOWN.format(name)
    prints = [holdout.fingerprints(batch, spec.data.inputs) for batch in holdout.batches(folder)]
    seen, rows = sum(holdout.shared(part, trained_on) for part in prints), sum(map(len, prints))
    return f"{name} was trained on {seen:,} of these {rows:,} holdout rows: {_FLATTERED}" if seen else ""


def _training_rows(registry: Registry, spec: ModelSpec, version: Event) -> holdout.Fingerprints | None:
    """Return the fingerprints of a version's training rows; None if they are of other inputs or gone."""
    if set(columns_taken(version.details.get("signature", {}))) != set(spec.data.inputs):
        return None
    with TemporaryDirectory(prefix="podium-") as name:
        try:
            run = str(version.details["mlflow_run"])
            found = registry.download_artifacts(run, holdout.TRAINING_ROWS, Path(name))
        except (KeyError, NotFound):
            return None
        return holdout.read_training_rows(found.parent).get(())
