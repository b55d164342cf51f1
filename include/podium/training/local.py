"""Train into a folder, for people without a registry: no MLflow server, no ledger, nothing to promote."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from podium.disk import full_disk_named
from podium.errors import PodiumError
from podium.metrics import plots
from podium.metrics.answers import Answers
from podium.metrics.by_label import LabelScore, by_label
from podium.metrics.measures import measured, reported_metrics
from podium.model_file.metric_gate import MetricGate
from podium.model_file.metric_names import KNOWN_METRICS
from podium.model_file.profiles import Profile
from podium.model_file.spec import ModelSpec
from podium.names import CANDIDATE
from podium.registry.errors import mlflow_errors
from podium.training.examples import DataWindow
from podium.training.fit import Fitted, answers_of, fit
from podium.training.run import DATA_SOURCE, read_window
from podium.training.saving import Usable, save_model
from podium.training.search_files import write_search
from podium.training.search_result import FOLDER as SEARCH
from podium.training.trainer import pinned, usable_models

MODEL = "model"
METRICS = "metrics.json"
DATA_REPORT = "data_report.json"


@dataclass(frozen=True)
class LocalMetrics:
    """What ``metrics.json`` holds.

    Attributes:
        rows: Rows of the holdout.
        labels: The labels that the model knows; none unless it classifies.
        by_model: Metrics on the holdout of the model, as ``candidate``, then of each baseline.
        by_label: Of a classification: what became of each label, by the model.
        trainer: Numbers that the trainer returned.
        params: What the model was fitted with.
    """

    rows: int
    labels: tuple[str, ...]
    by_model: Mapping[str, Mapping[str, float]]
    by_label: Mapping[str, LabelScore]
    trainer: Mapping[str, float]
    params: Mapping[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Return it so that the file can be a gate's ``baseline``: numbers by name, and ``labels``."""
        baselines = {name: _finite(metrics) for name, metrics in self.by_model.items() if name != CANDIDATE}
        return {
            **_finite(self.by_model[CANDIDATE]),
            "labels": list(self.labels),
            "holdout_rows": self.rows,
            "by_label": {label: _finite(asdict(score)) for label, score in self.by_label.items()},
            "baselines": baselines,
            "trainer": _finite(self.trainer),
            "params": dict(self.params),
        }


def train_locally(
    spec: ModelSpec, as_of: datetime, home: Path, folder: Path, profile: Profile | None = None
) -> LocalMetrics:
    """Train a model and write it to a folder: ``model/``, ``metrics.json``, reports on the data, pictures.

    With ``search`` in the model file also ``search/``: all trials and pictures of them. The folder appears
    when all is written.

    Args:
        spec: The model file.
        as_of: With a zone; rows at or after it are not seen.
        home: The project's top folder.
        folder: Where to; it must not be there yet, or be empty.
        profile: Train on less, as the model file says under this name.

    Returns:
        The metrics on the holdout, those of every report and those that gates name (own functions aside).

    Raises:
        PodiumError: The folder holds something or cannot be written, or MLflow cannot save the model.
        DataError: The data cannot be used.
        TrainerError: The trainer broke its protocol.
        DiskFull: There is no room.
    """
    with full_disk_named(f"training {spec.name}", folder.parent), _new_folder(folder) as made:
        less = None if profile is None else spec.profiles[profile].rows
        spec = spec.in_profile(profile)
        window = read_window(spec, as_of, home, less)
        fitted = fit(spec, window, home)
        if fitted.search is not None:
            write_search(made / SEARCH, fitted.search)
        with usable_models(spec, fitted.trained, home) as models:
            metrics = _describe(made, spec, fitted, models, window)
            with mlflow_errors(f"saving the model of {spec.name}"):
                save_model(
                    made / MODEL,
                    models[CANDIDATE],
                    window.train.inputs,
                    pinned(spec),
                    spec.skops_trusted_types,
                )
    return metrics


def _describe(
    folder: Path, spec: ModelSpec, fitted: Fitted, models: Mapping[str, Usable], window: DataWindow
) -> LocalMetrics:
    scored = {name: answers_of(spec, model, window.holdout) for name, model in models.items()}
    metrics = LocalMetrics(
        rows=len(window.holdout),
        labels=models[CANDIDATE].classes,
        by_model={name: _metrics(spec, answers) for name, answers in scored.items()},
        by_label=by_label(scored[CANDIDATE]),
        trainer=fitted.trained.metrics,
        params=fitted.params,
    )
    written = {
        METRICS: metrics.as_json(),
        DATA_REPORT: asdict(window.report),
        DATA_SOURCE: dict(window.facts),
    }
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    for name, figure in plots.training_pictures(window.holdout.time, scored).items():
        figure.savefig(folder / f"{name}.png")
    return metrics


def _metrics(spec: ModelSpec, answers: Answers) -> dict[str, float]:
    asked = [gate.metric for gate in spec.gates if isinstance(gate, MetricGate)]
    further = {metric: measured(metric, answers)[0] for metric in asked if metric in KNOWN_METRICS}
    return {**reported_metrics(answers), **further}


def _finite(numbers: Mapping[str, float]) -> dict[str, float]:
    """JSON knows no NaN: a metric without a value is left out."""
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to fill, which takes its place when all went well."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise PodiumError(f"{folder} exists and is not an empty folder; name another folder")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".podium-", dir=folder.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            yield made
            made.replace(folder)
    except OSError as error:
        raise PodiumError(f"{error.filename or folder}: {error.strerror or error}") from error
