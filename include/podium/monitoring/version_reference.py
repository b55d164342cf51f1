"""What the windows of a version are held against: on record, among its files, or made of training data."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from podium.errors import DataError
from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.evidence import Evidence, EvidenceStore
from podium.lifecycle.recorded_reference import reference_on_record
from podium.lifecycle.witness import record
from podium.metrics.reference import Reference
from podium.metrics.reference_file import reference_content, reference_of
from podium.metrics.windows import backtest
from podium.model_file.monitoring import MonitoringSpec
from podium.model_file.spec import ModelSpec
from podium.monitoring.on_record import KINDS, on_record
from podium.monitoring.rows import answered
from podium.names import Tag
from podium.scoring.scorer import Scorer
from podium.services import Services
from podium.training.data import load_window
from podium.training.examples import DataWindow
from podium.training.reference import reference_rows, version_reference


def trained_as_of(trained: Event) -> datetime:
    """Return as of when a version was trained, by its registration."""
    return datetime.fromisoformat(str(trained.details[Tag.AS_OF])).replace(tzinfo=UTC)


def recorded_reference(  # noqa: PLR0913 - a version, loaded from its files, and who records
    services: Services,
    spec: ModelSpec,
    section: MonitoringSpec,
    trained: Event,
    scorer: Callable[[], Scorer],
    run: str,
) -> Reference:
    """Return what the windows of a version are held against, and record it if it is new.

    Args:
        services: The registry and the ledger.
        spec: The model file.
        section: Its section ``monitoring``.
        trained: The registration of the version.
        scorer: Loads the version, which only a new reference needs.
        run: The Airflow run.
    """
    version = int(trained.version or 0)
    known = reference_on_record(services.ledger, spec.name, version)
    if known is not None and _fits(spec, section, known[1]):
        return known[1]
    reference, how = _made(spec, section, trained, scorer(), services.settings.home)
    kept = Evidence.of(spec.name, version, reference_content(reference))
    if known is None or kept.digest != known[0]:
        EvidenceStore(services.ledger).keep([kept])
        said = reference.unknown or (
            f"{len(reference.columns)} columns and {len(reference.past)} windows of the training data, {how}"
        )
        event = NewEvent(
            EventKind.REFERENCE_MADE,
            spec.name,
            version,
            reason=said,
            run=run,
            details={"digest": kept.digest},
        )
        with services.ledger.lock(spec.name):
            # Another run may have made it meanwhile.
            now = on_record(services.ledger.history(spec.name, kinds=KINDS), version)
            if now.reference != kept.digest:
                record(services, event)
    return reference


def pool_rows(spec: ModelSpec, section: MonitoringSpec, trained: Event, home: Path) -> pd.DataFrame:
    """Return the rows of the reference, which own detectors are asked with.

    Raises:
        DataError: The training data is not what the version was trained on.
    """
    known = _training_data(spec, trained, home)
    inputs, times = reference_rows(section, known)
    return inputs[backtest(times, section.windows).pool]


def _fits(spec: ModelSpec, section: MonitoringSpec, reference: Reference) -> bool:
    """Whether a reference is one for the section as it is now."""
    same_metric = section.tolerance is None or reference.metric == spec.row_metric
    same_windows = reference.windows == section.windows
    same_detectors = set(reference.detectors) == set(section.detectors)
    return not reference.unknown and same_windows and same_detectors and same_metric


def _made(
    spec: ModelSpec, section: MonitoringSpec, trained: Event, scorer: Scorer, home: Path
) -> tuple[Reference, str]:
    """Return a reference, and where it is from."""
    of_version = None if scorer.folder is None else reference_of(scorer.folder)
    if of_version is not None and _fits(spec, section, of_version):
        return of_version, "made with the version"
    try:
        known = _training_data(spec, trained, home)
    except DataError as error:
        return Reference({}, (), unknown=str(error), windows=section.windows), ""
    made = version_reference(spec, section, known, lambda examples: answered(spec, examples, scorer))
    return made, "made for the first window"


def _training_data(spec: ModelSpec, trained: Event, home: Path) -> DataWindow:
    """Return what a version was trained on, if it is still there.

    Raises:
        DataError: It cannot be read, or is not what it was.
    """
    as_of = trained_as_of(trained)
    known = load_window(spec, as_of, home)
    if known.version != trained.details[Tag.DATA_VERSION]:
        raise DataError(f"{spec.data.source} as of {as_of:%Y-%m-%d} is not what the version was trained on")
    return known
