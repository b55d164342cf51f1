"""A run that another Dag trained: the model file's holdout is put beside it, for the gates."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from podium.errors import CannotAdopt, NotFound, PodiumError, Refused
from podium.model_file.spec import ModelSpec
from podium.names import Tag
from podium.registry.client import TrainingRun
from podium.services import Services
from podium.training.announcement import KINDS, kinds_of
from podium.training.freshness import refuse_a_stale_holdout
from podium.training.holdout import FOLDER, TRAINING_ROWS, rows, store_rows
from podium.training.run import read_window

log = logging.getLogger(__name__)


def take_announced(services: Services, spec: ModelSpec, mlflow_run: str | None) -> str:
    """Return a run that was trained elsewhere, with the model file's holdout beside it.

    Args:
        services: The registry.
        spec: The model file.
        mlflow_run: The run; None: the newest one that is no version yet.

    Raises:
        Refused: No run is named, and none waits.
        NotFound: There is no such finished run of this model.
        CannotAdopt: The run lacks what ``podium.training.announce`` gives it.
        DataError: The model file's data cannot be read, or their types are not those that it was trained on.
        Outage: A part did not answer.
    """
    run = (
        services.registry.training_run(spec.name, mlflow_run)
        if mlflow_run is not None
        else _newest_waiting(services, spec)
    )
    if services.registry.version_of_inputs(spec.name, run.tags[Tag.INPUTS_DIGEST]) is not None:
        log.info("Run %s is a version already.", run.run_id)
        return run.run_id
    moment = _as_of(run)
    window = read_window(spec, moment, services.settings.home)
    refuse_a_stale_holdout(spec, window)
    _compare_kinds(services, spec, run, kinds_of(spec, rows(spec, window.holdout)))
    with TemporaryDirectory(prefix="podium-") as folder:
        store_rows(Path(folder), spec, window, {})
        services.registry.log_folder(
            run.run_id, Path(folder), FOLDER, doing=f"keeping the holdout of run {run.run_id}"
        )
    times = window.holdout.time
    dated = "" if times.isna().all() else f"{times.min():%Y-%m-%d} to {times.max():%Y-%m-%d} "
    judged_on = f"{dated}({len(window.holdout):,} rows)" if dated else f"{len(window.holdout):,} rows"
    services.registry.set_run_tag(run.run_id, Tag.JUDGED_ON, judged_on)
    services.registry.set_run_tag(run.run_id, Tag.DATA_VERSION, window.version)
    log.info("Run %s was trained elsewhere on %s.", run.run_id, run.tags[Tag.TRAINED_ON])
    return run.run_id


def _newest_waiting(services: Services, spec: ModelSpec) -> TrainingRun:
    newest = services.registry.training_runs(spec.name, 1)
    asset = spec.training.asset if spec.training else ""
    if not newest:
        raise Refused(
            f"{spec.name}: no training has been announced yet; the asset {asset} starts this with one"
        )
    if services.registry.version_of_inputs(spec.name, newest[0].tags[Tag.INPUTS_DIGEST]) is not None:
        raise Refused(f"{spec.name}: the newest announced training, {newest[0].run_id}, is a version already")
    return newest[0]


def _as_of(run: TrainingRun) -> datetime:
    missing = [str(tag) for tag in (Tag.AS_OF, Tag.TRAINED_ON, Tag.GIT_COMMIT) if tag not in run.tags]
    if missing:
        raise CannotAdopt(
            f"run {run.run_id} has no tag {', '.join(missing)}: podium.training.announce gives a run what a "
            "lifecycle needs (docs/training-elsewhere.md)"
        )
    try:
        moment = datetime.fromisoformat(run.tags[Tag.AS_OF])
    except ValueError as error:
        raise PodiumError(f"run {run.run_id}: its tag {Tag.AS_OF} is not a moment: {error}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _compare_kinds(services: Services, spec: ModelSpec, run: TrainingRun, held: dict[str, str]) -> None:
    """Make sure that equal rows have equal fingerprints on both sides, or a leak would not be seen."""
    with TemporaryDirectory(prefix="podium-") as folder:
        try:
            services.registry.download_artifacts(run.run_id, TRAINING_ROWS, Path(folder))
            found = services.registry.download_artifacts(run.run_id, f"{FOLDER}/{KINDS}", Path(folder))
        except NotFound as error:
            raise CannotAdopt(
                f"run {run.run_id} does not tell what it was trained on: call podium.training.announce with "
                "its rows (docs/training-elsewhere.md)"
            ) from error
        trained = json.loads(found.read_text(encoding="utf-8"))
    wrong = [
        f"{name} is {trained.get(name, 'missing')} there and {kind} in {spec.data.source}"
        for name, kind in held.items()
        if trained.get(name) != kind
    ]
    if wrong:
        raise CannotAdopt(
            f"run {run.run_id} was trained on columns of other types: {', '.join(wrong)}. A row on both "
            "sides would not be found; cast the columns before announce"
        )
