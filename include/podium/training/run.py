"""Call the model's trainer and log the run: params, metrics, pictures, signature, lineage.

The trainer protocol, all that a user writes besides the model file::

    def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel: ...

It gets the examples before the holdout and the params of the model file (with a run's overrides), and returns
the fitted model itself or a model from code, with baselines to be shown beside it. It must be
deterministic: the same examples and params make the same model, because a re-run with equal inputs returns
the first run's model.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from importlib.metadata import version as installed_version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import yaml

from podium.errors import NotFound, PodiumError, TrainerError
from podium.metrics.measures import reported_metrics
from podium.metrics.reference import Reference
from podium.model_file.metric_names import TRAINER_METRIC
from podium.model_file.monitoring import MonitoringSpec
from podium.model_file.problems import shown_value
from podium.model_file.profiles import Profile
from podium.model_file.spec import ModelSpec
from podium.model_file.types import check_param
from podium.model_file.user_code import code_file, import_object
from podium.names import CANDIDATE, Tag
from podium.registry.client import Registry, TrainingRun
from podium.registry.errors import mlflow_errors
from podium.registry.pages import run_page
from podium.settings import Settings
from podium.sources.facts import describe
from podium.training.data import load_window
from podium.training.examples import DataWindow, TrainingExamples
from podium.training.fit import Fitted, answers_of, fit
from podium.training.freshness import refuse_a_stale_holdout, say_how_fresh
from podium.training.holdout import FOLDER as HOLDOUT
from podium.training.holdout import overlap_columns, store_holdout
from podium.training.reference import version_reference
from podium.training.saving import FromCode, Usable, log_model
from podium.training.split import thinned
from podium.training.tracking import (
    active_run,
    as_nested_run,
    log_metrics,
    log_params,
    log_search,
    without_links,
)
from podium.training.trainer import Params, TrainedModel, pinned, usable_models

__all__ = ["FromCode", "Params", "TrainedModel", "TrainedRun", "TrainingExamples", "train_model"]

log = logging.getLogger(__name__)

# Tags that go from a training run to its version, and into the ledger.
LINEAGE = (
    Tag.INPUTS_DIGEST,
    Tag.AS_OF,
    Tag.TRAINED_ON,
    Tag.JUDGED_ON,
    Tag.DATA_VERSION,
    Tag.GIT_COMMIT,
)
# An artifact of the run: all that the source told of itself.
DATA_SOURCE = "data_source.json"
# Where the rows are, and how they are written there: their values are in the data version.
_STORAGE = {"source", "database", "all_rows", "columns", "time_formats", "tables"}


@dataclass(frozen=True)
class TrainedRun:
    """A finished training run.

    Attributes:
        run_id: The MLflow run.
        model_id: The MLflow logged model, to be registered.
        tags: Lineage for the version: digest of the inputs, as_of, windows, data version, git commit.
        profile: What it was trained in, if not in full.
        proved: Podium saved the model, and saw it answer its example in a process of its own; or it is a
            copy, which is proved when it is registered.
    """

    run_id: str
    model_id: str
    tags: Mapping[str, str]
    profile: Profile | None = None
    proved: bool = True


def train_model(  # noqa: PLR0913 - what a lifecycle run is asked for
    spec: ModelSpec,
    settings: Settings,
    as_of: datetime,
    overrides: Mapping[str, Any],
    run: str,
    profile: Profile | None = None,
) -> TrainedRun:
    """Train a model as of a moment, or return the finished run that had the same inputs.

    With ``search`` in the model file, params are searched first: each trial is a nested run.

    Args:
        spec: The model file.
        settings: Where the parts are.
        as_of: With a zone; rows at or after it are not seen.
        overrides: Params that replace those of the model file in this run; they are not searched.
        run: The Airflow run, for lineage.
        profile: Train on less, as the model file says under this name.

    Raises:
        DataError: The data cannot be used, or ends so long before ``as_of`` that the gates would refuse.
        TrainerError: The trainer broke its protocol.
        Outage: MLflow or the store did not answer.
    """
    less = spec.profiles[profile].rows if profile is not None else None
    spec = _as_asked(spec.in_profile(profile), overrides)
    window = read_window(spec, as_of, settings.home, less)
    refuse_a_stale_holdout(spec, window)
    digest = _inputs_digest(spec, window, settings.home, f"{profile} {less}" if profile else "")
    registry = Registry(settings.mlflow_tracking_uri)
    experiment_id = registry.ensure_experiment(spec.name)
    registry.end_open_runs(experiment_id, Tag.AIRFLOW_RUN, run)
    finished = registry.finished_run(experiment_id, digest)
    if finished is not None:
        log.info("Equal inputs were trained before: run %s is used again.", finished.run_id)
        log.info("Its rows: %s. Now: %s.", finished.tags.get(Tag.DATA_SOURCE), describe(window.facts))
        return _trained_run(finished)
    name = f"as of {window.as_of.date()}" + (f", {profile}" if profile else "")
    metric = spec.search.metric if spec.search else ""
    with without_links(), active_run(experiment_id, name, _lineage(settings, window, run)) as run_id:
        fitted = fit(spec, window, settings.home, partial(as_nested_run, experiment_id, run, metric))
        with mlflow_errors(f"logging the training of {spec.name}"):
            _log_training(spec, settings.home, window, fitted, profile)
            # Last: by this tag a run is found and used again, so a half-written one must not have it.
            mlflow.set_tag(Tag.INPUTS_DIGEST, digest)
    log.info("In MLflow: %s", run_page(settings.mlflow_pages, experiment_id, run_id))
    return read_trained_run(registry, run_id)


def _lineage(settings: Settings, window: DataWindow, run: str) -> dict[str, str]:
    return {
        Tag.AIRFLOW_RUN: run,
        Tag.AS_OF: window.as_of.isoformat(),
        Tag.TRAINED_ON: _in_dates(window.train),
        Tag.JUDGED_ON: _in_dates(window.holdout),
        Tag.DATA_VERSION: window.version,
        Tag.DATA_SOURCE: describe(window.facts),
        Tag.GIT_COMMIT: settings.git_commit or _git_commit(settings.home),
    }


def _log_training(
    spec: ModelSpec, home: Path, window: DataWindow, fitted: Fitted, profile: Profile | None
) -> None:
    """Log params, data, search, holdout and model to the active run."""
    with usable_models(spec, fitted.trained, home) as models:
        log_params(fitted.params | ({Tag.PROFILE: profile} if profile else {}))
        mlflow.log_dict(asdict(window.report), "data_report.json")
        mlflow.log_dict(dict(window.facts), DATA_SOURCE)
        if fitted.search is not None:
            log_search(fitted.search)
        _log_holdout(spec, fitted.trained, models, window)
        watched = spec.monitoring if profile is None else None
        proved = log_model(
            models[CANDIDATE],
            window.train.inputs,
            pinned(spec),
            spec.skops_trusted_types,
            None if watched is None else _reference(spec, watched, window, models[CANDIDATE]),
        )
        mlflow.set_tag(Tag.PROVED, proved)


def read_window(spec: ModelSpec, as_of: datetime, home: Path, less: float | None = None) -> DataWindow:
    """Read the rows known at ``as_of``, as ``load_window`` does, and say in the log what they are.

    Args:
        spec: The model file.
        as_of: With a zone.
        home: The project's top folder.
        less: Of a profile the share of the examples that is kept of each side.
    """
    window = load_window(spec, as_of, home)
    say_how_fresh(spec, window)
    if less is not None:
        window = thinned(spec, window, less)
    log.info(
        "%s as of %s: %s; %s to train on, %s held out, data version %s",
        *(spec.name, window.as_of.date(), window.report.describe()),
        *(f"{len(window.train):,}", f"{len(window.holdout):,}", window.version[:12]),
    )
    return window


def lineage_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Return those tags that are lineage; runs of before 1.1 have none on their source."""
    told = {str(tag): tags[tag] for tag in (Tag.DATA_SOURCE,) if tag in tags}
    return {**{str(tag): tags[tag] for tag in LINEAGE}, **told}


def read_trained_run(registry: Registry, run_id: str) -> TrainedRun:
    """Return a finished training run as MLflow has it.

    Raises:
        NotFound: There is no such run, or retention deleted its model.
        Outage: MLflow did not answer.
    """
    return _trained_run(registry.run(run_id))


def _as_asked(spec: ModelSpec, overrides: Mapping[str, Any]) -> ModelSpec:
    """Return the model file with the params of a run's form, which are not searched."""
    if unknown := sorted(set(overrides) - set(spec.params)):
        allowed = ", ".join(sorted(spec.params)) or "none"
        raise PodiumError(f"{spec.name}: params: unknown {', '.join(unknown)}; allowed: {allowed}")
    for name, value in overrides.items():
        try:
            check_param(value)
        except ValueError as error:
            raise PodiumError(f"{spec.name}: params.{name}: {shown_value(value)}: {error}") from error
    search = spec.search and spec.search.without(overrides)
    return spec.model_copy(update={"params": {**spec.params, **overrides}, "search": search})


def _inputs_digest(spec: ModelSpec, window: DataWindow, home: Path, less: str) -> str:
    source = Path(inspect.getfile(import_object(spec.trainer))).read_bytes()
    parts = [
        training_digest(spec, spec.params),
        window.version,
        window.as_of.isoformat(),
        hashlib.sha256(source).hexdigest(),
        json.dumps(overlap_columns(spec)),
        *_digests(spec, home),
        *pinned(spec),
        *([less] if less else []),
        *([f"optuna=={installed_version('optuna')}"] if spec.search else []),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _digests(spec: ModelSpec, home: Path) -> list[str]:
    try:
        return [hashlib.sha256(code_file(home, path).read_bytes()).hexdigest() for path in spec.code]
    except TrainerError as error:
        raise TrainerError(f"{spec.name}: {error}") from error
    except OSError as error:
        raise TrainerError(f"{spec.name}: code: {error.filename} cannot be read: {error.strerror}") from error


def _log_holdout(
    spec: ModelSpec, trained: TrainedModel, models: Mapping[str, Usable], window: DataWindow
) -> None:
    """Score model and baselines on the holdout; log metrics, pictures and the rows for the gates."""
    # Drawing takes a second to import, which the tasks after training do not need.
    from podium.metrics import plots

    scored = {name: answers_of(spec, model, window.holdout) for name, model in models.items()}
    for name, answers in scored.items():
        prefix = "holdout" if name == CANDIDATE else f"holdout.{name}"
        metrics = reported_metrics(answers)
        log_metrics({f"{prefix}.{metric}": value for metric, value in metrics.items()})
        log.info("%s on the holdout: %s", name, _describe_metrics(metrics))
    log_metrics({f"{TRAINER_METRIC}{name}": value for name, value in trained.metrics.items()})
    for name, figure in plots.training_pictures(window.holdout.time, scored).items():
        mlflow.log_figure(figure, f"{name}.png")
    with TemporaryDirectory() as folder:
        baselines = {name: scored[name].predictions for name in trained.baselines}
        store_holdout(Path(folder), spec, window, baselines)
        mlflow.log_artifacts(folder, HOLDOUT)


def _reference(spec: ModelSpec, section: MonitoringSpec, window: DataWindow, model: Usable) -> Reference:
    """Make what the windows of the version will be held against."""
    return version_reference(spec, section, window, lambda examples: answers_of(spec, model, examples))


def _in_dates(examples: TrainingExamples) -> str:
    if examples.time.isna().all():
        return f"{len(examples):,} rows"
    first, last = examples.time.min(), examples.time.max()
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d} ({len(examples):,} rows)"


def _trained_run(run: TrainingRun) -> TrainedRun:
    if Tag.DELETED_INPUTS in run.tags and Tag.INPUTS_DIGEST not in run.tags:
        raise NotFound(
            f"run {run.run_id}: retention deleted its model; start the Dag again, and it trains a new one"
        )
    return TrainedRun(
        run_id=run.run_id,
        model_id=run.model_id,
        tags=lineage_of(run.tags),
        # A param: unlike a tag it cannot be changed or removed.
        profile=Profile(run.params[Tag.PROFILE]) if Tag.PROFILE in run.params else None,
        # The files of a copy are first compared with those of its origin.
        proved=Tag.PROVED in run.tags or Tag.COPIED_FROM in run.tags,
    )


def _git_commit(home: Path) -> str:
    """Return the commit of the project, with ``-dirty`` if files differ from it; 'unknown' outside git."""
    try:
        described = subprocess.run(
            ["git", "-C", str(home), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return described.stdout.strip() or "unknown"


def _describe_metrics(metrics: Mapping[Any, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())


def training_digest(spec: ModelSpec, params: Mapping[str, Any]) -> str:
    """Digest of all in the model file that decides what training makes, with the run's params (sha256)."""
    decides = spec.model_dump(
        mode="json", include={"trainer", "task", "labels", "data", "holdout", "skops_trusted_types"}
    )
    decides["data"] = {key: value for key, value in decides["data"].items() if key not in _STORAGE}
    if spec.pickle:
        decides["pickle"] = spec.pickle
    if spec.search is not None:
        decides["search"] = spec.search.model_dump(mode="json")
    canonical = yaml.safe_dump([decides, dict(params)], sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
