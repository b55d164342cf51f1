"""Call the model's trainer and log the run: params, metrics, pictures, signature, lineage.

The trainer protocol, all that a user writes besides the model file::

    def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel: ...

It gets the examples before the holdout and the params of the model file (with a run's overrides), and returns
a fitted scikit-learn estimator or a model from code, with baselines to be shown beside it. It must be
deterministic: the same examples and params make the same model, because a re-run with equal inputs returns
the first run's model.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import logging
import math
import subprocess
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np

from podium.errors import PodiumError, TrainerError
from podium.lifecycle.profile_rules import Profile
from podium.metrics.generated_code import score_generation
from podium.metrics.measures import Answers, Numbers, measured, reported_metrics, true_values
from podium.metrics.predictions import in_label_order
from podium.model_file.gates import CANDIDATE, VERSIONS
from podium.model_file.metric_names import TRAINER_METRIC, Task
from podium.model_file.spec import ModelSpec, training_digest
from podium.model_file.user_code import import_object, trainer_errors
from podium.names import Tag
from podium.params import Params
from podium.registry.client import Registry, mlflow_errors
from podium.settings import Settings
from podium.training.data import DataWindow, TrainingExamples, load_window, where
from podium.training.holdout import FOLDER as HOLDOUT
from podium.training.holdout import overlap_columns, rows, store_holdout
from podium.training.saving import FromCode, Usable, log_model, usable
from podium.training.search import Attempt, Search, check_split, search_params, validation_rows
from podium.training.split import thinned
from podium.training.tracking import active_run, as_nested_run, log_search

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


@dataclass(frozen=True)
class TrainedModel:
    """What a trainer returns.

    Attributes:
        model: A fitted scikit-learn estimator (a classifier has ``predict_proba`` and ``classes_``), or a
            model ``FromCode``.
        baselines: The same, by name, on the same inputs; scored beside the model on the holdout.
        metrics: Numbers that only the trainer knows, such as a loss while fitting; gates call them
            ``trainer.NAME``.
    """

    model: Any
    baselines: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainedRun:
    """A finished training run.

    Attributes:
        run_id: The MLflow run.
        model_id: The MLflow logged model, to be registered.
        tags: Lineage for the version: digest of the inputs, as_of, windows, data version, git commit.
        profile: What it was trained in, if not in full.
    """

    run_id: str
    model_id: str
    tags: Mapping[str, str]
    profile: Profile | None = None


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
        DataError: The data cannot be used.
        TrainerError: The trainer broke its protocol.
        Outage: MLflow or the store did not answer.
    """
    less = spec.profiles[profile].rows if profile is not None else None
    spec = _as_asked(spec.in_profile(profile), overrides)
    window = read_window(spec, as_of, settings.home, less)
    digest = _inputs_digest(spec, window, settings.home, f"{profile} {less}" if profile else "")
    registry = Registry(settings.mlflow_tracking_uri)
    experiment_id = registry.ensure_experiment(spec.name)
    registry.end_open_runs(experiment_id, Tag.AIRFLOW_RUN, run)
    finished = registry.finished_run(experiment_id, digest)
    if finished is not None:
        log.info("Equal inputs were trained before: run %s is used again.", finished.info.run_id)
        return _trained_run(finished)
    tags: dict[str, str] = {
        Tag.AIRFLOW_RUN: run,
        Tag.AS_OF: window.as_of.isoformat(),
        Tag.TRAINED_ON: _in_dates(window.train),
        Tag.JUDGED_ON: _in_dates(window.holdout),
        Tag.DATA_VERSION: window.version,
        Tag.GIT_COMMIT: settings.git_commit or _git_commit(settings.home),
    }
    name = f"as of {window.as_of.date()}" + (f", {profile}" if profile else "")
    metric = spec.search.metric if spec.search else ""
    with active_run(experiment_id, name, tags) as run_id:
        fitted = fit(spec, window, settings.home, partial(as_nested_run, experiment_id, run, metric))
        with (
            usable_models(spec, fitted.trained, settings.home) as models,
            mlflow_errors(f"logging the training of {spec.name}"),
        ):
            mlflow.log_params(fitted.params | ({Tag.PROFILE: profile} if profile else {}))
            mlflow.log_dict(asdict(window.report), "data_report.json")
            if fitted.search is not None:
                log_search(fitted.search)
            _log_holdout(spec, fitted.trained, models, window)
            log_model(models[CANDIDATE], window.train.inputs, pinned(spec), spec.skops_trusted_types)
            # Last: by this tag a run is found and used again, so a half-written one must not have it.
            mlflow.set_tag(Tag.INPUTS_DIGEST, digest)
    return read_trained_run(registry, run_id)


def read_window(spec: ModelSpec, as_of: datetime, home: Path, less: float | None = None) -> DataWindow:
    """Read the rows known at ``as_of``, as ``load_window`` does, and say in the log what they are.

    Args:
        spec: The model file.
        as_of: With a zone.
        home: The project's top folder.
        less: Of a profile the share of the examples that is kept of each side.
    """
    window = load_window(spec, as_of, home)
    if less is not None:
        window = thinned(spec, window, less)
    log.info(
        "%s as of %s: %s; %s to train on, %s held out, data version %s",
        *(spec.name, window.as_of.date(), window.report.in_words()),
        *(f"{len(window.train):,}", f"{len(window.holdout):,}", window.version[:12]),
    )
    return window


def read_trained_run(registry: Registry, run_id: str) -> TrainedRun:
    """Return a finished training run as MLflow has it.

    Raises:
        NotFound: There is no such run.
        Outage: MLflow did not answer.
    """
    with mlflow_errors(f"reading run {run_id}"):
        return _trained_run(registry.client.get_run(run_id))


def _as_asked(spec: ModelSpec, overrides: Mapping[str, Any]) -> ModelSpec:
    """Return the model file with the params of a run's form, which are not searched."""
    if unknown := sorted(set(overrides) - set(spec.params)):
        allowed = ", ".join(sorted(spec.params)) or "none"
        raise PodiumError(f"{spec.name}: params: unknown {', '.join(unknown)}; allowed: {allowed}")
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
        return [hashlib.sha256((home / path).read_bytes()).hexdigest() for path in spec.code]
    except OSError as error:
        raise TrainerError(f"{spec.name}: code: {error.filename} cannot be read: {error.strerror}") from error


@dataclass(frozen=True)
class Fitted:
    """What fitting came to.

    Attributes:
        params: What the model was fitted with; those of the best trial, if there was a search.
        trained: What the trainer returned.
        search: The search before it, or None.
    """

    params: dict[str, Any]
    trained: TrainedModel
    search: Search | None


def fit(
    spec: ModelSpec,
    window: DataWindow,
    home: Path,
    recorded: Callable[[Attempt], Attempt] = lambda tried: tried,
) -> Fitted:
    """Search the params, if the model file says so, and fit the model on all training examples.

    Args:
        spec: The model file.
        window: The holdout is not touched.
        home: The project's top folder.
        recorded: Makes of a trial one that is kept somewhere.

    Raises:
        DataError: The search has no rows to fit or to score on.
        TrainerError: The trainer broke its protocol; in a search: in all trials.
    """
    trainer = import_object(spec.trainer)
    if spec.search is None:
        return Fitted(spec.params, call_trainer(spec, trainer, window.train, spec.params), None)
    validation = validation_rows(spec, window)
    check_split(spec, validation)
    rest, scored = where(window.train, ~validation), where(window.train, validation)
    metric = spec.search.metric

    def attempt(_: int, params: Mapping[str, Any]) -> float:
        model = TrainedModel(call_trainer(spec, trainer, rest, params).model)
        with usable_models(spec, model, home) as models, trainer_errors(spec.trainer):
            value, why = measured(metric, answers_of(spec, models[CANDIDATE], scored))
        if not math.isfinite(value):
            raise TrainerError(f"{spec.trainer}: {why or f'{metric} is {value}'}")
        return value

    search = search_params(spec.search, spec.params, recorded(attempt))
    log.info("search: %s", search.in_words())
    params = {**spec.params, **search.best.params}
    return Fitted(params, call_trainer(spec, trainer, window.train, params), search)


def call_trainer(
    spec: ModelSpec, trainer: Any, examples: TrainingExamples, params: Mapping[str, Any]
) -> TrainedModel:
    """Call the user's training function.

    Raises:
        TrainerError: It raised, or returned something that a trainer must not.
    """
    with trainer_errors(spec.trainer):
        trained = trainer(examples, dict(params))
    if not isinstance(trained, TrainedModel):
        raise TrainerError(f"{spec.trainer} must return a TrainedModel, not {type(trained).__name__}")
    if taken := {*VERSIONS, "model"} & set(trained.baselines):
        raise TrainerError(f"{spec.trainer}: a baseline must not be called {' or '.join(sorted(taken))}")
    return trained


def _check_labels(spec: ModelSpec, name: str, classes: Collection[str]) -> None:
    """A label that the rows no longer hold is for the gates; one that the file does not list is a fault."""
    if spec.labels and (not classes or set(classes) - set(spec.labels)):
        raise TrainerError(
            f"{spec.trainer}: {name} knows the labels {sorted(classes)}, "
            f"the model file lists {list(spec.labels)}"
        )


def _check_script(spec: ModelSpec, model: FromCode, home: Path) -> None:
    if model.script.resolve() not in [(home / path).resolve() for path in spec.code]:
        raise TrainerError(
            f"{spec.trainer}: the model's script {model.script} is not among the model file's code: "
            f"{', '.join(spec.code) or 'none'}; name it there, so that a change of it trains anew"
        )


@contextmanager
def usable_models(spec: ModelSpec, trained: TrainedModel, home: Path) -> Iterator[dict[str, Usable]]:
    """Hold the trained model, as the candidate, and its baselines ready to answer."""
    models: dict[str, Usable] = {}
    with ExitStack() as held:
        for name, model in {CANDIDATE: trained.model, **trained.baselines}.items():
            if isinstance(model, FromCode):
                _check_script(spec, model, home)
            with trainer_errors(spec.trainer):
                loaded = usable(model, classifies=bool(spec.labels), requirements=pinned(spec))
                models[name] = held.enter_context(loaded)
            _check_labels(spec, "the model" if name == CANDIDATE else name, models[name].classes)
        yield models


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
        mlflow.log_metrics({f"{prefix}.{metric}": value for metric, value in metrics.items()})
        log.info("%s on the holdout: %s", name, _in_words(metrics))
    mlflow.log_metrics({f"{TRAINER_METRIC}{name}": value for name, value in trained.metrics.items()})
    for name, figure in plots.training_pictures(window.holdout.time, scored).items():
        mlflow.log_figure(figure, f"{name}.png")
    with TemporaryDirectory() as folder:
        baselines = {name: scored[name].predictions for name in trained.baselines}
        store_holdout(Path(folder), spec, window, baselines)
        mlflow.log_artifacts(folder, HOLDOUT)


def answers_of(spec: ModelSpec, model: Usable, holdout: TrainingExamples) -> Answers:
    """Return what a model answers to the holdout, beside the truth."""
    return Answers(
        task=spec.task,
        labels=spec.labels,
        truth=true_values(spec.task, holdout.label, spec.labels),
        predictions=_predictions(spec, model, holdout),
        groups=None if spec.data.group is None else holdout.column(spec.data.group).to_numpy(),
    )


def _predictions(spec: ModelSpec, model: Usable, holdout: TrainingExamples) -> Numbers:
    if spec.task is Task.GENERATION:
        if model.loaded is None:
            raise TrainerError(
                f"{spec.trainer}: a generation needs models FromCode, not {type(model.model).__name__}"
            )
        return score_generation(model.loaded, rows(spec, holdout), spec.data)
    answer = np.asarray(model.answer(holdout.inputs), dtype=np.float64)
    if spec.labels:
        return in_label_order(answer, model.classes, spec.labels, len(holdout))
    return answer.reshape(len(holdout))


def _in_dates(examples: TrainingExamples) -> str:
    if examples.time.isna().all():
        return f"{len(examples):,} rows"
    first, last = examples.time.min(), examples.time.max()
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d} ({len(examples):,} rows)"


def _trained_run(run: mlflow.entities.Run) -> TrainedRun:
    return TrainedRun(
        run_id=run.info.run_id,
        model_id=run.outputs.model_outputs[0].model_id,
        tags={tag: run.data.tags[tag] for tag in LINEAGE},
        # A param: unlike a tag it cannot be changed or removed.
        profile=Profile(run.data.params[Tag.PROFILE]) if Tag.PROFILE in run.data.params else None,
    )


def pinned(spec: ModelSpec) -> list[str]:
    """Return the model file's requirements with the versions that are installed here.

    Raises:
        TrainerError: One is not installed.
    """
    try:
        # What stands after a + names the build of this machine, such as 2.13.0+cpu.
        return [f"{name}=={installed_version(name).partition('+')[0]}" for name in spec.requirements]
    except PackageNotFoundError as error:
        raise TrainerError(f"{spec.name}: requirements: {error.name} is not installed here") from error


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


def _in_words(metrics: Mapping[Any, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
