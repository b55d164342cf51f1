"""The only module that talks to MLflow's registry; nothing above it sees an MLflow exception."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import mlflow
from mlflow.entities import LoggedModelOutput, Metric, Param, ViewType
from mlflow.entities.model_registry import ModelVersion, RegisteredModel
from mlflow.exceptions import MlflowException
from mlflow.tracking._model_registry.client import ModelRegistryClient

from podium.errors import NotFound, PodiumError
from podium.names import Alias, Tag, name_from_mlflow, name_in_mlflow, version_name
from podium.registry.errors import mlflow_errors
from podium.registry.labels import MODELS_A_PAGE, Labels
from podium.registry.model_files import download_files

_Value = TypeVar("_Value")
# They stand in an address.
_RUNS_AT_ONCE = 100
_WITHOUT_TAGS = (
    f"; it has no tag {Tag.INPUTS_DIGEST}: podium.training.announce gives a run of yours what it lacks "
    "(docs/training-elsewhere.md), and `podium adopt` takes versions over as they are (docs/adopt.md)"
)


@dataclass(frozen=True)
class Version:
    """One registered version.

    Attributes:
        model: The registered model's name.
        number: 1, 2, ...
        run_id: The MLflow run that trained it.
        ready: MLflow says that its files are all there.
        tags: Its tags.
        created_at: When it was registered.
        created_by: Who registered it; "" where MLflow does not know.
        stage: Its stage, such as ``Production``; "" without one.
        source: Where its files came from.
    """

    model: str
    number: int
    run_id: str
    ready: bool
    tags: Mapping[str, str]
    created_at: datetime
    created_by: str = ""
    stage: str = ""
    source: str = ""


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run that Podium did not start.

    Attributes:
        name: What it is called in MLflow.
        user: Who started it; "" where MLflow does not know.
        deleted: It was deleted, and ``mlflow gc`` removes its files.
    """

    name: str
    user: str
    deleted: bool


@dataclass(frozen=True)
class TrainingRun:
    """A run in which a model was trained, or is being copied.

    Attributes:
        run_id: Its name in MLflow.
        name: What it is called there.
        params: What the model was fitted with.
        metrics: On the holdout, and the trainer's, by the names that they were given.
        tags: Lineage among them.
        model_id: The logged model that it made, of several the first; "" while it has none.
        models: How many it made.
    """

    run_id: str
    name: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    model_id: str = ""
    models: int = 0


class Registry:
    """MLflow's model registry at one tracking URI."""

    def __init__(self, tracking_uri: str) -> None:
        # A task log is no terminal: where tqdm is installed (optuna needs it), bars would come as errors.
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        mlflow.set_tracking_uri(tracking_uri)
        self.tracking_uri = tracking_uri
        self._client = mlflow.MlflowClient(tracking_uri)

    @property
    def _writer(self) -> ModelRegistryClient:
        """MLflow's client without its look, before each write, whether the name is that of a prompt.

        ``register`` has made sure of that, and the look costs MLflow more than the write.
        """
        # Private to MLflow: https://github.com/mlflow/mlflow/tree/v3.17.2/mlflow/tracking
        return self._client._get_registry_client()

    @contextmanager
    def _about(self, model: str, doing: str) -> Iterator[None]:
        """Translate MLflow's errors; where it has logins, it says "denied" of a model that is not there."""
        with mlflow_errors(doing):
            try:
                yield
            except MlflowException as error:
                if error.error_code != "PERMISSION_DENIED":
                    raise
                if self._find(model) is not None:
                    raise
                raise NotFound(f"{doing}: MLflow shows this login no registered model {model}") from error

    def ensure_experiment(self, name: str) -> str:
        """Return the id of the experiment of this name; makes it if there is none."""
        with mlflow_errors(f"reading experiment {name}"):
            found = self._client.get_experiment_by_name(name)
            if found is None:
                try:
                    return str(self._client.create_experiment(name))
                except MlflowException as error:
                    if error.error_code != "RESOURCE_ALREADY_EXISTS":
                        raise
                    found = self._client.get_experiment_by_name(name)
            return str(found.experiment_id)

    def finished_run(self, experiment_id: str, inputs_digest: str) -> TrainingRun | None:
        """Return the first finished run with this digest of its inputs, or None."""
        with mlflow_errors(f"looking for a run of the inputs {inputs_digest[:12]}"):
            found = self._client.search_runs(
                [experiment_id],
                f"tags.`{Tag.INPUTS_DIGEST}` = '{inputs_digest}' and attributes.status = 'FINISHED'"
                # Retention is about to delete the model of such a run.
                f" and tags.`{Tag.ORPHAN_SINCE}` IS NULL",
                order_by=["attributes.start_time ASC"],
                max_results=1,
            )
        return _training_run(found[0]) if found else None

    def end_open_runs(self, experiment_id: str, tag: Tag, value: str) -> None:
        """End as killed what an earlier try left open: a training and trials in it, or a copy."""
        with mlflow_errors(f"ending what an earlier try of {value} left open"):
            found = self._client.search_runs(
                [experiment_id], f"tags.`{tag}` = '{value}' and attributes.status = 'RUNNING'"
            )
            for run in found:
                self._client.set_terminated(run.info.run_id, "KILLED")

    def training_runs(self, model: str, limit: int) -> list[TrainingRun]:
        """Return the newest finished training runs of a model, newest first; none if it never was trained."""
        with mlflow_errors(f"listing the training runs of {model}"):
            experiment = self._client.get_experiment_by_name(model)
            if experiment is None:
                return []
            found = self._client.search_runs(
                [experiment.experiment_id],
                f"tags.`{Tag.INPUTS_DIGEST}` != '' and attributes.status = 'FINISHED'",
                order_by=["attributes.start_time DESC"],
                max_results=limit,
            )
        return [_training_run(run) for run in found]

    def training_run(self, model: str, run_id: str) -> TrainingRun:
        """Return a finished training run of a model.

        Raises:
            NotFound: There is no such run, it is another model's, or it did not finish.
            Outage: MLflow did not answer.
        """
        with mlflow_errors(f"reading run {run_id}"):
            run = self._client.get_run(run_id)
            experiment = self._client.get_experiment(run.info.experiment_id)
        if (
            experiment.name != model
            or run.info.status != "FINISHED"
            or Tag.INPUTS_DIGEST not in run.data.tags
        ):
            what = f"run {run_id} ({experiment.name}, {run.info.status})"
            without = "" if Tag.INPUTS_DIGEST in run.data.tags else _WITHOUT_TAGS
            raise NotFound(f"{what} is not a finished training run of {model}{without}")
        return _training_run(run)

    def run(self, run_id: str) -> TrainingRun:
        """Return a run, finished or not, whichever experiment it is of.

        Raises:
            NotFound: There is no such run.
            Outage: MLflow did not answer.
        """
        with mlflow_errors(f"reading run {run_id}"):
            return _training_run(self._client.get_run(run_id))

    def create_run(self, experiment_id: str, name: str, tags: Mapping[str, str]) -> str:
        """Start a run that is not this process's active one, and return its id; ``end_run`` ends it."""
        with mlflow_errors(f"starting the run '{name}'"):
            run = self._client.create_run(experiment_id, tags=dict(tags), run_name=name)
        return str(run.info.run_id)

    def monitoring_run(self, model: str, version: int) -> str:
        """Return the run that shows how a version is monitored; makes it if there is none."""
        experiment_id = self.ensure_experiment(model)
        with mlflow_errors(f"looking for the run that monitors {model} {version_name(version)}"):
            found = self._client.search_runs(
                [experiment_id], f"tags.`{Tag.MONITORED}` = '{version}'", max_results=1
            )
        if found:
            return str(found[0].info.run_id)
        run_id = self.create_run(
            experiment_id, f"monitoring of {version_name(version)}", {Tag.MONITORED: str(version)}
        )
        self.end_run(run_id, "FINISHED")
        return run_id

    def end_run(self, run_id: str, status: str) -> None:
        """End a run as FINISHED or FAILED."""
        with mlflow_errors(f"ending the run {run_id}"):
            self._client.set_terminated(run_id, status)

    def set_run_tag(self, run_id: str, tag: Tag, value: str) -> None:
        """Write a tag of a run."""
        with mlflow_errors(f"tagging run {run_id}"):
            self._client.set_tag(run_id, tag, value)

    def log_numbers(self, run_id: str, params: Mapping[str, str], metrics: Mapping[str, float]) -> None:
        """Log params and metrics to a run, all with the present moment."""
        now = int(time.time() * 1000)
        logged = [Metric(name_in_mlflow(name), value, now, 0) for name, value in metrics.items()]
        given = [Param(name_in_mlflow(name), value) for name, value in params.items()]
        with mlflow_errors(f"logging params and metrics to run {run_id}"):
            self._client.log_batch(run_id, logged, given)

    def log_json(self, run_id: str, content: Any, path: str, *, doing: str) -> None:
        """Write JSON to an artifact of a run; ``doing`` says for what, should it fail."""
        with mlflow_errors(doing):
            self._client.log_dict(run_id, content, path)

    def log_text(self, run_id: str, text: str, path: str, *, doing: str) -> None:
        """Write text to an artifact of a run; ``doing`` says for what, should it fail."""
        with mlflow_errors(doing):
            self._client.log_text(run_id, text, path)

    def log_folder(self, run_id: str, folder: Path, path: str = "", *, doing: str) -> None:
        """Copy the files of a folder to the artifacts of a run, below a path; ``doing`` says for what."""
        with mlflow_errors(doing):
            self._client.log_artifacts(run_id, str(folder), path or None)

    def artifacts(self, run_id: str, path: str = "") -> list[str]:
        """Return the paths of the artifacts of a run that stand directly below a path, folders too."""
        with mlflow_errors(f"listing {path or 'the artifacts'} of run {run_id}"):
            return [file.path for file in self._client.list_artifacts(run_id, path or None)]

    def upload_model(self, experiment_id: str, run_id: str, name: str, folder: Path) -> str:
        """Make the files of a folder the model of a run, and return the id of that logged model."""
        with mlflow_errors(f"uploading the model of run {run_id}"):
            model = self._client.create_logged_model(experiment_id, name, source_run_id=run_id)
            self._client.log_model_artifacts(model.model_id, str(folder))
            self._client.finalize_logged_model(model.model_id, "READY")
            self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
        return str(model.model_id)

    def register(self, model: str, run_id: str, model_id: str, tags: Mapping[str, str]) -> Version:
        """Register a run's model as the next version, or return the version of these inputs if there is one.

        The caller holds the model's ledger lock, or two callers at once could both make one.

        Raises:
            Outage: The registry did not answer.
        """
        with mlflow_errors(f"registering a version of {model}"):
            self._ensure_model(model)
            if found := self.version_of_inputs(model, tags[Tag.INPUTS_DIGEST]):
                return found
            return _version(self._make_version(model, run_id, model_id, tags))

    def version_of_inputs(self, model: str, inputs_digest: str) -> Version | None:
        """Return the version that was made of these inputs, or None; of several the first."""
        with mlflow_errors(f"looking for a version of {model} of the inputs {inputs_digest[:12]}"):
            same_inputs = f"tags.`{Tag.INPUTS_DIGEST}` = '{inputs_digest}'"
            found = self._client.search_model_versions(f"{_named(model)} and {same_inputs}")
        return min(map(_version, found), key=lambda version: version.number, default=None)

    def labels(self, model: str) -> Labels:
        """Return the aliases and tags of the registered model; none for one that is not registered yet."""
        found = self._find(model)
        return Labels({}, {}) if found is None else _labels(found)

    def aliases(self, model: str) -> dict[str, int]:
        """Return the version of each alias; empty for a model that is not registered yet."""
        return self.labels(model).aliases

    def champion(self, model: str) -> int | None:
        """Return the version that serves, or None."""
        return self.aliases(model).get(Alias.CHAMPION)

    def set_alias(self, model: str, alias: Alias, number: int) -> None:
        """Move an alias, unconditionally. Only ``podium.lifecycle.champion`` moves ``champion``.

        Raises:
            NotFound: There is no such version.
            Outage: The registry did not answer; the alias may or may not have moved.
        """
        with self._about(model, f"moving {alias} of {model} to {version_name(number)}"):
            self._writer.set_registered_model_alias(model, alias, str(number))

    def delete_alias(self, model: str, alias: Alias) -> None:
        """Remove an alias; does nothing where there is none."""
        with self._about(model, f"removing {alias} of {model}"):
            self._writer.delete_registered_model_alias(model, alias)

    def models(self) -> list[str]:
        """Return the names of all registered models, also of those that Podium knows nothing of."""
        return list(self.all_labels())

    def all_labels(self) -> dict[str, Labels]:
        """Return the aliases and tags of all registered models, also of those that are none of ours."""
        with mlflow_errors("listing the registered models"):
            return {model.name: _labels(model) for model in _all(self._client.search_registered_models)}

    def labels_of(self, models: Collection[str]) -> dict[str, Labels]:
        """Return the labels of those of these models that are registered."""
        if len(models) == 1:
            found = {model: self._find(model) for model in models}
            return {model: _labels(one) for model, one in found.items() if one is not None}
        everything = self.all_labels()
        return {model: everything[model] for model in models if model in everything}

    def versions_of_runs(self, models: Collection[str], run_ids: Iterable[str]) -> dict[tuple[str, int], str]:
        """Return the run of each version of these models, by model and number, that one of the runs made."""
        found: dict[tuple[str, int], str] = {}
        # One run may have made versions of many models; a filter names one model, or none.
        named = f"{_named(*models)} and " if len(models) == 1 else ""
        with mlflow_errors("looking for the versions of runs"):
            for runs in _some(run_ids):
                made = f"{named}{_in('run_id', runs)}"
                versions = self._client.search_model_versions(made, max_results=MODELS_A_PAGE)
                found |= {(version.name, int(version.version)): version.run_id for version in versions}
        return found

    def versions_sharing(self, run_ids: Iterable[str], sources: Iterable[str] = ()) -> list[Version]:
        """Return the versions of any model that one of these runs made, or whose files are at such a source.

        Raises:
            Outage: MLflow did not answer.
        """
        asked = [_in("run_id", runs) for runs in _some(filter(None, run_ids))]
        asked += [f"source_path = '{source}'" for source in sources if "'" not in source]
        with mlflow_errors("looking for versions with the same files"):
            found = [
                _version(version)
                for words in asked
                for version in _all(self._client.search_model_versions, filter_string=words)
            ]
        return list({(version.model, version.number): version for version in found}.values())

    def deleted_runs(self, run_ids: Iterable[str]) -> set[str]:
        """Return the runs that were deleted, or whose experiment was, and wait for ``mlflow gc``."""
        with mlflow_errors("looking for deleted runs"):
            return {run.info.run_id for run in self._runs(run_ids, ViewType.DELETED_ONLY)}

    def run_facts(self, run_ids: Iterable[str]) -> dict[str, RunFacts]:
        """Return what is known of runs by id, of deleted ones too; one that is gone is not among them."""
        with mlflow_errors("looking for the runs of versions"):
            return {
                run.info.run_id: RunFacts(
                    run.info.run_name or "",
                    run.data.tags.get("mlflow.user") or run.info.user_id or "",
                    run.info.lifecycle_stage == "deleted",
                )
                for run in self._runs(run_ids, ViewType.ALL)
            }

    def _runs(self, run_ids: Iterable[str], view: str) -> Iterator[mlflow.entities.Run]:
        """Yield runs by id, in whatever experiment they are."""
        experiments = [
            one.experiment_id for one in _all(self._client.search_experiments, view_type=ViewType.ALL)
        ]
        for runs in _some(run_ids):
            chosen = _in("attributes.run_id", runs)
            yield from self._client.search_runs(experiments, chosen, run_view_type=view)

    def version(self, model: str, number: int) -> Version:
        """Return one version.

        Raises:
            NotFound: There is no such version.
        """
        with self._about(model, f"reading {model} {version_name(number)}"):
            return _version(self._client.get_model_version(model, str(number)))

    def find_version(self, model: str, number: int) -> Version | None:
        """Return one version, or None where there is none."""
        try:
            return self.version(model, number)
        except NotFound:
            return None

    def versions(self, model: str) -> list[Version]:
        """Return all versions, newest first."""
        with mlflow_errors(f"listing the versions of {model}"):
            found = list(_all(self._client.search_model_versions, filter_string=_named(model)))
        return sorted(map(_version, found), key=lambda version: version.number, reverse=True)

    def describe_version(self, model: str, number: int, text: str) -> None:
        """Write the description of a version, as Markdown."""
        with self._about(model, f"describing {model} {version_name(number)}"):
            self._client.update_model_version(model, str(number), text)

    def set_tags(self, model: str, number: int, tags: Mapping[str, str]) -> None:
        """Write tags of a version; those not named stay."""
        with self._about(model, f"tagging {model} {version_name(number)}"):
            for key, value in tags.items():
                self._writer.set_model_version_tag(model, str(number), key, value)

    def delete_tags(self, model: str, number: int, tags: Iterable[str]) -> None:
        """Remove tags of a version."""
        with self._about(model, f"removing tags of {model} {version_name(number)}"):
            for tag in tags:
                self._writer.delete_model_version_tag(model, str(number), tag)

    def run_metrics(self, run_id: str, prefix: str) -> dict[str, float]:
        """Return the metrics ``<prefix>NAME`` of a run, by NAME; none if that run is gone."""
        if not run_id:
            return {}
        try:
            with mlflow_errors(f"reading run {run_id}"):
                metrics = self._client.get_run(run_id).data.metrics
        except NotFound:
            return {}
        return {
            name.removeprefix(prefix): value
            for name, value in _own_names(metrics).items()
            if name.startswith(prefix)
        }

    def experiment_id(self, run_id: str) -> str:
        """Return the experiment of a run, for links."""
        with mlflow_errors(f"reading run {run_id}"):
            return str(self._client.get_run(run_id).info.experiment_id)

    def download(self, model: str, number: int, folder: Path) -> None:
        """Copy a version's files as the store has them into a folder.

        Raises:
            NotFound: There is no such version.
            Outage: The registry or the store did not answer.
        """
        with self._about(model, f"downloading {model} {version_name(number)}"):
            download_files(f"{model}/{number}", folder)

    def download_model(self, model_id: str, folder: Path) -> None:
        """Copy the files of a logged model, which need be no version yet, into a folder.

        Raises:
            NotFound: There is no such model.
            Outage: MLflow or the store did not answer.
        """
        with mlflow_errors(f"downloading the model {model_id}"):
            download_files(model_id, folder)

    def download_artifacts(self, run_id: str, path: str, folder: Path) -> Path:
        """Copy a folder of a run's artifacts into a folder and return where it is.

        Raises:
            NotFound: There is no such run or artifact.
            Outage: MLflow or the store did not answer.
        """
        with mlflow_errors(f"reading {path} of run {run_id}"):
            copied = mlflow.artifacts.download_artifacts(
                run_id=run_id, artifact_path=path, dst_path=str(folder), tracking_uri=self.tracking_uri
            )
        return Path(copied)

    def set_model_tag(self, model: str, tag: Tag, value: str) -> None:
        """Write a tag of the registered model itself."""
        with self._about(model, f"tagging {model}"):
            self._writer.set_registered_model_tag(model, tag, value)

    def describe_model(self, model: str, text: str) -> None:
        """Write the description of the registered model itself, as Markdown, unless it is the same."""
        found = self._find(model)
        if found is None or found.description != text:
            with self._about(model, f"describing {model}"):
                self._writer.update_registered_model(model, text)

    def exists(self, model: str) -> bool:
        """Whether there is a registered model of this name."""
        return self._find(model) is not None

    def _find(self, model: str) -> RegisteredModel | None:
        """Return a registered model, or None; asked for by name alone, MLflow loads all of its versions."""
        # https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/store/model_registry/dbmodels/models.py
        with mlflow_errors(f"reading aliases and tags of {model}"):
            found = self._client.search_registered_models(_named(model), max_results=1)
        return found[0] if found else None

    def rename(self, model: str, name: str) -> None:
        """Give a registered model, with its versions, aliases and tags, another name."""
        with self._about(model, f"renaming {model} to {name}"):
            self._client.rename_registered_model(model, name)

    def delete_model(self, model: str) -> None:
        """Remove a registered model; does nothing where there is none."""
        if self.exists(model):
            with self._about(model, f"removing {model}"):
                self._client.delete_registered_model(model)

    def delete_version(self, model: str, number: int) -> None:
        """Remove a version; MLflow gives its number to no other."""
        with self._about(model, f"removing {model} {version_name(number)}"):
            self._client.delete_model_version(model, str(number))

    def add_version(self, model: str, run_id: str, tags: Mapping[str, str]) -> int:
        """Make a run's model the next version, whatever versions there are, and return its number.

        Raises:
            NotFound: There is no such run, or it made no model.
        """
        made = self.made_model(run_id)
        if made is None:
            raise NotFound(f"{model}: run {run_id} is gone, or made no model")
        with mlflow_errors(f"making a version of {model} of run {run_id}"):
            self._ensure_model(model)
            return int(self._make_version(model, run_id, made, tags).version)

    def _make_version(self, model: str, run_id: str, model_id: str, tags: Mapping[str, str]) -> ModelVersion:
        return self._client.create_model_version(
            model,
            source=f"models:/{model_id}",
            run_id=run_id,
            tags=dict(tags),
            model_id=model_id,
            await_creation_for=None,
        )

    def made_model(self, run_id: str) -> str | None:
        """Return the logged model that a run made; None if there is no such run, or it made none."""
        try:
            return self.run(run_id).model_id or None
        except NotFound:
            return None

    def is_deleted(self, run_id: str) -> bool:
        """Whether a run, or its experiment, was deleted and waits for ``mlflow gc``; then it is gone."""
        try:
            with mlflow_errors(f"reading run {run_id}"):
                run = self._client.get_run(run_id)
                experiment = self._client.get_experiment(run.info.experiment_id)
        except NotFound:
            return False
        return "deleted" in (run.info.lifecycle_stage, experiment.lifecycle_stage)

    def restore(self, run_id: str) -> bool:
        """Restore a deleted run and its experiment; returns whether there was something to restore."""
        if not self.is_deleted(run_id):
            return False
        with mlflow_errors(f"restoring run {run_id}"):
            experiment = self._client.get_experiment(self._client.get_run(run_id).info.experiment_id)
            if experiment.lifecycle_stage == "deleted":
                self._client.restore_experiment(experiment.experiment_id)
            if self._client.get_run(run_id).info.lifecycle_stage == "deleted":
                self._client.restore_run(run_id)
        return True

    def _ensure_model(self, model: str) -> None:
        if self.exists(model):
            return
        try:
            self._client.create_registered_model(model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            # MLflow lists no prompts among its models.
            if not self.exists(model):
                raise PodiumError(
                    f"{model}: MLflow has a prompt of this name. Nothing is registered; rename one of them."
                ) from error


def _named(model: str) -> str:
    """Return the filter by a registered model's name; one that people gave may hold a quote."""
    quote = '"' if "'" in model else "'"
    return f"name={quote}{model}{quote}"


def _all(search: Callable[..., Any], **options: Any) -> Iterator[Any]:
    token: str | None = None
    while True:
        page = search(max_results=MODELS_A_PAGE, page_token=token, **options)
        yield from page
        if not (token := page.token):
            return


def _some(run_ids: Iterable[str]) -> Iterator[list[str]]:
    """Yield so many of the runs at once as one filter of MLflow takes."""
    runs = sorted(set(run_ids))
    yield from (runs[begin : begin + _RUNS_AT_ONCE] for begin in range(0, len(runs), _RUNS_AT_ONCE))


def _in(column: str, values: Iterable[str]) -> str:
    return f"{column} IN ({', '.join(map(repr, values))})"


def _labels(found: RegisteredModel) -> Labels:
    newest = [(int(version.version), version.run_id or "") for version in found.latest_versions]
    aliases = {name: int(number) for name, number in found.aliases.items()}
    return Labels(aliases, found.tags, max(newest, default=None))


def _training_run(run: mlflow.entities.Run) -> TrainingRun:
    made = run.outputs.model_outputs if run.outputs else []
    return TrainingRun(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        params=_own_names(run.data.params),
        metrics=_own_names(run.data.metrics),
        tags=dict(run.data.tags),
        model_id=made[0].model_id if made else "",
        models=len(made),
    )


def _own_names(stored: Mapping[str, _Value]) -> dict[str, _Value]:
    return {name_from_mlflow(name): value for name, value in stored.items()}


def _version(found: Any) -> Version:
    return Version(
        model=found.name,
        number=int(found.version),
        run_id=found.run_id or "",
        ready=found.status == "READY",
        tags=dict(found.tags),
        created_at=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
        created_by=found.user_id or "",
        # Stages are only read, of versions that come from a time that had them.
        stage="" if found.current_stage in (None, "None") else found.current_stage,
        source=found.source or "",
    )
