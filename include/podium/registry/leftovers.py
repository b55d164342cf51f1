"""What training runs leave in MLflow besides versions: models that no version names, and trials of searches.

Parts of an S3 upload that never ended are not among them. MLflow ends an upload by its id, and lists none:
https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/server/handlers.py
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import mlflow
from mlflow.entities import ViewType

from podium.names import Tag
from podium.registry.errors import mlflow_errors

# The most that MLflow gives in one answer: https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/store/tracking/__init__.py
_MODELS_A_PAGE = 100
_RUNS_A_PAGE = 1000
_TRIAL = re.compile(r"trial (\d+)")


@dataclass(frozen=True)
class LoggedModel:
    """A model that a run logged.

    Attributes:
        place: Its id, which names its folder in the store.
        run_id: The run that made it.
        made_at: When its upload began.
        whole: Its upload ended.
    """

    place: str
    run_id: str
    made_at: datetime
    whole: bool


@dataclass(frozen=True)
class TrialRun:
    """A run of a search's trial.

    Attributes:
        run_id: The run.
        number: 1, 2, ...
        deleted: It was deleted, by whomever.
        ended: It does not run any more.
    """

    run_id: str
    number: int
    deleted: bool
    ended: bool


class Leftovers:
    """What the training runs of models left at one MLflow.

    Args:
        tracking_uri: MLflow's address.
    """

    def __init__(self, tracking_uri: str) -> None:
        self._client = mlflow.MlflowClient(tracking_uri)

    def models(self, model: str, before: datetime) -> list[LoggedModel]:
        """Return the models that runs of a model's experiment began to log before a moment.

        Raises:
            Outage: MLflow did not answer.
        """
        with mlflow_errors(f"listing the models that runs of {model} logged"):
            return [
                LoggedModel(
                    one.model_id,
                    one.source_run_id,
                    datetime.fromtimestamp(one.creation_timestamp / 1000, UTC),
                    str(one.status) == "READY",
                )
                for one in self._logged_models(model)
                # What no run made was not made by a training.
                if one.source_run_id and one.creation_timestamp / 1000 < before.timestamp()
            ]

    def marked(self, model: str) -> dict[str, str]:
        """Return since when the model of a run is reported, by run; deleted runs are left out.

        Raises:
            Outage: MLflow did not answer.
        """
        with mlflow_errors(f"looking for reported runs of {model}"):
            found = self._runs(model, f"tags.`{Tag.ORPHAN_SINCE}` IS NOT NULL", ViewType.ACTIVE_ONLY)
            return {run.info.run_id: run.data.tags[Tag.ORPHAN_SINCE] for run in found}

    def mark(self, run_id: str, since: str) -> None:
        """Say on a run that its model is reported: no training takes it again.

        Raises:
            Outage: MLflow did not answer.
        """
        with mlflow_errors(f"noting on run {run_id} that no version names its model"):
            self._client.set_tag(run_id, Tag.ORPHAN_SINCE, since)

    def unmark(self, run_id: str) -> None:
        """Take back what ``mark`` said.

        Raises:
            Outage: MLflow did not answer.
        """
        with mlflow_errors(f"noting on run {run_id} that a version names its model"):
            self._client.delete_tag(run_id, Tag.ORPHAN_SINCE)

    def searches(self, model: str) -> set[str]:
        """Return the finished training runs of a model that searched their params.

        Raises:
            Outage: MLflow did not answer.
        """
        with mlflow_errors(f"looking for searches of {model}"):
            words = "metrics.`search.trials` > 0 and attributes.status = 'FINISHED'"
            return {run.info.run_id for run in self._runs(model, words, ViewType.ACTIVE_ONLY)}

    def trials(self, model: str, run_id: str) -> list[TrialRun]:
        """Return the runs of the trials of a search, deleted ones too.

        Raises:
            Outage: MLflow did not answer.
        """
        with mlflow_errors(f"listing the trials of run {run_id}"):
            words = f"tags.`mlflow.parentRunId` = '{run_id}'"
            return [
                TrialRun(
                    run.info.run_id,
                    int(named[1]),
                    run.info.lifecycle_stage == "deleted",
                    run.info.status not in ("RUNNING", "SCHEDULED"),
                )
                for run in self._runs(model, words, ViewType.ALL)
                # A trainer may nest runs of its own.
                if (named := _TRIAL.fullmatch(run.info.run_name or ""))
            ]

    def _logged_models(self, model: str) -> Iterator[Any]:
        yield from self._pages(
            model,
            lambda experiment, token: self._client.search_logged_models(
                [experiment], max_results=_MODELS_A_PAGE, page_token=token
            ),
        )

    def _runs(self, model: str, words: str, view: int) -> Iterator[Any]:
        yield from self._pages(
            model,
            lambda experiment, token: self._client.search_runs(
                [experiment], words, run_view_type=view, max_results=_RUNS_A_PAGE, page_token=token
            ),
        )

    def _pages(self, model: str, search: Callable[[str, str | None], Any]) -> Iterator[Any]:
        experiment = self._client.get_experiment_by_name(model)
        token: str | None = None
        while experiment is not None:
            page = search(experiment.experiment_id, token)
            yield from page
            if not (token := page.token):
                return
