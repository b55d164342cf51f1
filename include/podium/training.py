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
import subprocess
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np

from podium.data import DataWindow, TrainingExamples, load_window
from podium.errors import PodiumError, TrainerError
from podium.gate_spec import CANDIDATE, VERSIONS
from podium.generation import score_generation
from podium.holdout import FOLDER as HOLDOUT
from podium.holdout import overlap_columns, rows, store_holdout
from podium.metric_names import TRAINER_METRIC, Task
from podium.metrics import Answers, Numbers, reported_metrics, true_values
from podium.params import Params
from podium.registry import Registry, mlflow_errors
from podium.saving import FromCode, Usable, log_model, usable
from podium.scoring import in_label_order
from podium.settings import Settings
from podium.spec import ModelSpec, training_digest
from podium.tags import Tag
from podium.user_code import import_object, trainer_errors

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
    """

    run_id: str
    model_id: str
    tags: Mapping[str, str]


def train_model(
    spec: ModelSpec, settings: Settings, as_of: datetime, overrides: Mapping[str, Any], run: str
) -> TrainedRun:
    """Train a model as of a moment, or return the finished run that had the same inputs.

    Args:
        spec: The model file.
        settings: Where the parts are.
        as_of: With a zone; rows at or after it are not seen.
        overrides: Params that replace those of the model file in this run.
        run: The Airflow run, for lineage.

    Raises:
        DataError: The data cannot be used.
        TrainerError: The trainer broke its protocol.
        Outage: MLflow or the store did not answer.
    """
    params = _merge_params(spec, overrides)
    window = read_window(spec, as_of, settings.home)
    trainer = import_object(spec.trainer)
    digest = _inputs_digest(spec, params, window, trainer, settings.home)
    registry = Registry(settings.mlflow_tracking_uri)
    experiment_id = registry.ensure_experiment(spec.name)
    finished = registry.finished_run(experiment_id, digest)
    if finished is not None:
        log.info("Equal inputs were trained before: run %s is used again.", finished.info.run_id)
        return _trained_run(finished)
    trained = call_trainer(spec, trainer, window.train, params)
    tags = {
        Tag.INPUTS_DIGEST: digest,
        "podium.airflow_run": run,
        Tag.AS_OF: window.as_of.isoformat(),
        Tag.TRAINED_ON: _in_dates(window.train),
        Tag.JUDGED_ON: _in_dates(window.holdout),
        Tag.DATA_VERSION: window.version,
        Tag.GIT_COMMIT: settings.git_commit or _git_commit(settings.home),
    }
    name = f"as of {window.as_of.date()}"
    with (
        usable_models(spec, trained, settings.home) as models,
        mlflow_errors(f"logging the training of {spec.name}"),
    ):
        with mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=tags) as active:
            mlflow.log_params(params)
            mlflow.log_dict(asdict(window.report), "data_report.json")
            _log_holdout(spec, trained, models, window)
            log_model(models[CANDIDATE], window.train.inputs, pinned(spec), spec.skops_trusted_types)
        return read_trained_run(registry, active.info.run_id)


def read_window(spec: ModelSpec, as_of: datetime, home: Path) -> DataWindow:
    """Read the rows known at ``as_of``, as ``load_window`` does, and say in the log what they are."""
    window = load_window(spec, as_of, home)
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


def _merge_params(spec: ModelSpec, overrides: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := sorted(set(overrides) - set(spec.params)):
        allowed = ", ".join(sorted(spec.params)) or "none"
        raise PodiumError(f"{spec.name}: params: unknown {', '.join(unknown)}; allowed: {allowed}")
    return {**spec.params, **overrides}


def _inputs_digest(
    spec: ModelSpec, params: Mapping[str, Any], window: DataWindow, trainer: Any, home: Path
) -> str:
    source = Path(inspect.getfile(trainer)).read_bytes()
    parts = [
        training_digest(spec, params),
        window.version,
        window.as_of.isoformat(),
        hashlib.sha256(source).hexdigest(),
        json.dumps(overlap_columns(spec)),
        *_digests(spec, home),
        *pinned(spec),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _digests(spec: ModelSpec, home: Path) -> list[str]:
    try:
        return [hashlib.sha256((home / path).read_bytes()).hexdigest() for path in spec.code]
    except OSError as error:
        raise TrainerError(f"{spec.name}: code: {error.filename} cannot be read: {error.strerror}") from error


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
    from podium import plots

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
