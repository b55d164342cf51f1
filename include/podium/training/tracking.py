"""The MLflow runs of a training: the run itself, and one nested in it for each trial of a search."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
from mlflow.environment_variables import MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT

from podium.errors import Outage, TrainerError
from podium.names import Tag, name_in_mlflow
from podium.registry.errors import mlflow_errors
from podium.training.search import Attempt
from podium.training.search_files import write_search
from podium.training.search_result import FOLDER, Search

log = logging.getLogger(__name__)

VALIDATION = "validation."
# How a search went, on the training run; the trials themselves are in its folder.
SEARCH = "search."
# MLflow takes up to 8,000 characters; people read fewer.
_LONGEST_TAG = 1000


@contextmanager
def active_run(experiment_id: str, name: str, tags: Mapping[str, str]) -> Iterator[str]:
    """Hold an MLflow run open, nested in the one that is; it ends as failed if anything is raised.

    What was raised first is what counts, also where MLflow cannot be told: a retry ends such a run.
    """
    with mlflow_errors(f"starting the run '{name}'"):
        run = mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=dict(tags), nested=True)
    try:
        yield run.info.run_id
    except BaseException:
        try:
            _end(name, "FAILED")
        except Outage as error:
            log.warning("%s", error)
        raise
    _end(name, "FINISHED")


def _end(name: str, status: str) -> None:
    with mlflow_errors(f"ending the run '{name}'"):
        mlflow.end_run(status)


def as_nested_run(experiment_id: str, airflow_run: str, metric: str, attempt: Attempt) -> Attempt:
    """Make each trial of a search an MLflow run in the active one.

    Without the digest of its inputs it is no training run: it is never used again, compared or registered.
    """

    def recorded(number: int, params: Mapping[str, Any]) -> float:
        name = f"trial {number}"
        with active_run(experiment_id, name, {Tag.AIRFLOW_RUN: airflow_run}):
            with mlflow_errors(f"logging {name}"):
                log_params(params)
            try:
                value = attempt(number, params)
            except TrainerError as error:
                with mlflow_errors(f"logging {name}"):
                    mlflow.set_tag(Tag.PROBLEM, str(error)[:_LONGEST_TAG])
                raise
            with mlflow_errors(f"logging {name}"):
                mlflow.log_metric(f"{VALIDATION}{metric}", value)
        return value

    return recorded


def log_params(params: Mapping[str, Any]) -> None:
    """Log params to the active run; each name is written so that MLflow takes it."""
    mlflow.log_params({name_in_mlflow(name): value for name, value in params.items()})


def log_metrics(metrics: Mapping[str, float]) -> None:
    """Log metrics to the active run; each name is written so that MLflow takes it."""
    mlflow.log_metrics({name_in_mlflow(name): value for name, value in metrics.items()})


def log_search(search: Search) -> None:
    """Log to the active run how a search went, its trials and its pictures."""
    first, best = search.trials[0].value, search.best.value
    numbers = {f"first_{search.spec.metric}": first, f"best_{search.spec.metric}": best}
    counts = {"trials": len(search.trials), "failed_trials": search.failed}
    known = {name: value for name, value in numbers.items() if value is not None}
    log_metrics({f"{SEARCH}{name}": float(value) for name, value in (counts | known).items()})
    with TemporaryDirectory(prefix="podium-") as folder:
        write_search(Path(folder) / FOLDER, search)
        mlflow.log_artifacts(folder)


@contextmanager
def without_links() -> Iterator[None]:
    """Keep the task log readable: MLflow prints two links a run, which lead to no workspace."""
    variable = MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT
    before = variable.get()
    variable.set(True)
    try:
        yield
    finally:
        variable.set(before)
