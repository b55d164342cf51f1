"""Delete the files of a version in MLflow, and its entry; only retention does, by an account of its own.

What may be deleted is the folder of one logged model, and nothing else; a version whose files are elsewhere
is refused. MLflow's S3 store takes a refused deletion of an object for a success, so what is left is listed.
https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/store/artifact/s3_artifact_repo.py
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import mlflow
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from podium.errors import NotFound, PodiumError
from podium.names import Tag, version_name
from podium.registry.errors import mlflow_errors

# What deletes artifacts is private to MLflow:
# https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/store/artifact/artifact_repository_registry.py
_LOGGED_MODEL = re.compile(r"m-[0-9a-zA-Z]+")
_LOGIN = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


@dataclass(frozen=True)
class Login:
    """An account of MLflow."""

    username: str
    password: str


class Disposal:
    """What may delete in MLflow.

    Args:
        tracking_uri: MLflow's address.
        login: The account that may; None where MLflow has no logins.
    """

    def __init__(self, tracking_uri: str, login: Login | None) -> None:
        self._client = mlflow.MlflowClient(tracking_uri)
        self._tracking_uri = tracking_uri
        self._login = login

    def files(self, place: str) -> dict[str, int]:
        """Return the size of each file that is left of a logged model, by its path.

        Raises:
            PodiumError: The place is none of a logged model.
            Outage: MLflow or the store did not answer.
        """
        with self._logged_in(), mlflow_errors(f"listing the files of {place}"):
            return dict(self._files(self._location(place), ""))

    def delete_files(self, place: str) -> None:
        """Delete all files of a logged model; does nothing where there are none.

        Raises:
            PodiumError: The place is none of a logged model, or MLflow refused.
            Outage: MLflow or the store did not answer.
        """
        with self._logged_in(), mlflow_errors(f"deleting the files of {place}"):
            get_artifact_repository(self._location(place), tracking_uri=self._tracking_uri).delete_artifacts()

    def delete_version(self, model: str, number: int) -> None:
        """Delete the entry of a version; does nothing where there is none.

        Raises:
            Outage: MLflow did not answer.
        """
        with suppress(NotFound), self._logged_in(), mlflow_errors(f"deleting {model} {version_name(number)}"):
            self._client.delete_model_version(model, str(number))

    def delete_logged_model(self, place: str) -> None:
        """Delete the entry of a logged model that no version names; does nothing where there is none.

        Raises:
            Outage: MLflow did not answer.
        """
        with suppress(NotFound), self._logged_in(), mlflow_errors(f"deleting the model {place}"):
            self._client.delete_logged_model(place)

    def delete_run(self, run_id: str) -> None:
        """Delete a run, which MLflow keeps until ``mlflow gc``; does nothing where there is none.

        Raises:
            Outage: MLflow did not answer.
        """
        with suppress(NotFound), self._logged_in(), mlflow_errors(f"deleting run {run_id}"):
            self._client.delete_run(run_id)

    def forget_inputs(self, run_id: str) -> None:
        """Let no training find a run whose model is deleted: equal inputs are trained again then.

        Raises:
            Outage: MLflow did not answer.
        """
        with (
            suppress(NotFound),
            self._logged_in(),
            mlflow_errors(f"noting that the model of run {run_id} is deleted"),
        ):
            run = self._client.get_run(run_id)
            digest = run.data.tags.get(Tag.INPUTS_DIGEST)
            if digest is not None:
                with self._active(run):
                    self._client.set_tag(run_id, Tag.DELETED_INPUTS, digest)
                    self._client.delete_tag(run_id, Tag.INPUTS_DIGEST)

    @contextmanager
    def _active(self, run: mlflow.entities.Run) -> Iterator[None]:
        """Let MLflow take tags of a run that somebody deleted: restored later, it would be found again."""
        deleted = run.info.lifecycle_stage == "deleted"
        if deleted:
            self._client.restore_run(run.info.run_id)
        try:
            yield
        finally:
            if deleted:
                self._client.delete_run(run.info.run_id)

    def _location(self, place: str) -> str:
        """Return where a logged model's files are.

        Raises:
            PodiumError: They are in no folder of their own.
        """
        if not _LOGGED_MODEL.fullmatch(place):
            raise PodiumError(f"'{place}' is not the id of a logged model: Podium deletes no other files")
        location = str(self._client.get_logged_model(place).artifact_location).rstrip("/")
        if not location.endswith(f"/models/{place}/artifacts"):
            raise PodiumError(f"{place} has its files at {location}, which is not a folder of its own")
        return location

    def _files(self, location: str, path: str) -> Iterator[tuple[str, int]]:
        found = get_artifact_repository(location, tracking_uri=self._tracking_uri)
        for one in found.list_artifacts(path or None):
            if one.is_dir:
                yield from self._files(location, one.path)
            else:
                yield one.path, int(one.file_size or 0)

    @contextmanager
    def _logged_in(self) -> Iterator[None]:
        """Be the account that may delete, for one call: MLflow's client takes its login from here alone."""
        if self._login is None:
            yield
            return
        before = {name: os.environ.get(name) for name in _LOGIN}
        os.environ.update(zip(_LOGIN, (self._login.username, self._login.password), strict=True))
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def delete_bytes(disposal: Disposal, place: str, run_id: str) -> None:
    """Delete all files of a logged model, so that no training finds its run any more.

    Args:
        disposal: What may delete.
        place: The logged model's id.
        run_id: The run that made it; "" if nobody knows.

    Raises:
        PodiumError: The place is none of a logged model, MLflow refused, or the store left files.
        Outage: MLflow or the store did not answer.
    """
    if run_id:
        disposal.forget_inputs(run_id)
    disposal.delete_files(place)
    if left := disposal.files(place):
        some = ", ".join(sorted(left)[:3])
        raise PodiumError(f"the store did not delete {len(left)} of its files: {some}")
