"""Copy a version to another registry: its bytes and its training run, without what was decided about it here.

What arrives is what the lifecycle there would have made itself: a finished training run with params, metrics,
holdout rows and the model's files, and a version that nothing was decided about. The lifecycle there takes it
in place of a training (its form's field ``version``): its own gates and its own approval decide.

MLflow's client knows one registry and one login per process. So all that is read here is read first, and the
target is talked to in a block of its own (``CopyTarget.registry``).
"""

from __future__ import annotations

import getpass
import logging
import os
import shutil
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.utils.credentials import read_mlflow_creds
from pydantic import SecretStr

from podium.errors import NotFound, PodiumError, ProfileOnly
from podium.gates import stored_report
from podium.ledger import history
from podium.ledger.events import EventKind, NewEvent
from podium.lifecycle import model_card
from podium.lifecycle.custody_rules import refuse_out_of_use
from podium.lifecycle.witness import record
from podium.names import Tag, version_name
from podium.operations.addresses import without_login
from podium.registry.client import Registry, TrainingRun, Version
from podium.registry.errors import mlflow_errors
from podium.registry.manifest import Manifest, check_same, read_manifest
from podium.registry.model_files import download_files
from podium.services import Services
from podium.training.run import lineage_of
from podium.training.tracking import without_links

log = logging.getLogger(__name__)

USERNAME, PASSWORD = "PODIUM_COPY_TO_USERNAME", "PODIUM_COPY_TO_PASSWORD"
# What a validation left on the training run: it was decided here, and is decided anew there.
_DECIDED_HERE = ("gates", "manifests", stored_report.PROMOTION_RESULT, model_card.ARTIFACT)
_MODEL, _RUN = "model", "run"
# All by which MLflow's client finds and enters the registry here.
_OF_THIS_REGISTRY = (
    "MLFLOW_TRACKING_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_WORKSPACE",
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_AUTH",
    "MLFLOW_TRACKING_AWS_SIGV4",
    "MLFLOW_TRACKING_INSECURE_TLS",
)


@dataclass(frozen=True)
class CopyTarget:
    """Another registry, and the login there.

    Attributes:
        uri: MLflow's tracking URI; holds no login.
        username: None where it takes none.
        password: None where it takes none.
    """

    uri: str
    username: str | None = None
    password: SecretStr | None = None

    @contextmanager
    def registry(self) -> Iterator[Registry]:
        """Talk to this registry, and to no other, until the end of the block.

        Raises:
            PodiumError: Without a login of its own it would be sent that of another registry.
        """
        before = mlflow.get_tracking_uri()
        saved = {name: os.environ.pop(name) for name in _OF_THIS_REGISTRY if name in os.environ}
        try:
            if self.username and self.password:
                os.environ["MLFLOW_TRACKING_USERNAME"] = self.username
                os.environ["MLFLOW_TRACKING_PASSWORD"] = self.password.get_secret_value()
            # Private to MLflow: https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/utils/credentials.py
            elif any(read_mlflow_creds()):
                raise PodiumError(
                    f"{USERNAME} and {PASSWORD} are not set, and the login of ~/.mlflow/credentials is not "
                    f"sent to {self.uri}: set them, or move that file away if {self.uri} takes no login"
                )
            yield Registry(self.uri)
        finally:
            mlflow.set_tracking_uri(before)
            for name in _OF_THIS_REGISTRY:
                os.environ.pop(name, None)
            os.environ.update(saved)


@dataclass(frozen=True)
class Copied:
    """A version, and what it is at the target.

    Attributes:
        model: The registered model, of the same name in both.
        version: Its version here.
        target: The address of the other registry.
        target_version: Its version there.
        manifest_digest: Of its files, the same in both.
        was_there: It existed there already, and nothing was written.
    """

    model: str
    version: int
    target: str
    target_version: int
    manifest_digest: str
    was_there: bool


@dataclass(frozen=True)
class _Source:
    """A version here, as its registration in the ledger has it."""

    model: str
    number: int
    run_id: str
    lineage: Mapping[str, str]
    manifest: Manifest

    @property
    def inputs_digest(self) -> str:
        return self.lineage[Tag.INPUTS_DIGEST]

    def __str__(self) -> str:
        return f"{self.model} {version_name(self.number)}"


def target_from_environment(uri: str) -> CopyTarget:
    """Return the target at an address, with the login that the environment holds for it.

    Raises:
        PodiumError: The address holds a login, or only one of user name and password is set.
    """
    if without_login(uri) != uri:
        raise PodiumError(
            f"{without_login(uri)}: an address holds no login and no query: others see command lines and "
            f"URLs. Set {USERNAME} and {PASSWORD}"
        )
    username, password = (os.environ.get(name) or None for name in (USERNAME, PASSWORD))
    if (username is None) != (password is None):
        raise PodiumError(f"only one of {USERNAME} and {PASSWORD} is set; set both, or none")
    return CopyTarget(uri.rstrip("/"), username, SecretStr(password) if password else None)


def copy_version(services: Services, model: str, number: int, target: CopyTarget) -> Copied:
    """Copy a version's bytes and its training run, and read back what arrived.

    Equal inputs are one version there too: copied again, the version is found, and its bytes are compared.
    Killed anywhere, running it again finishes. Two copies of one version at once may make two versions there,
    of which the lower one is the one that is found ever after.

    Args:
        services: The registry and the ledger that the version is in.
        model: The registered model.
        number: Its version here.
        target: Where it goes to.

    Raises:
        NotFound: There is no such version, or its training run is gone.
        BytesChanged: Its files here, or those that arrived, are not those that were registered.
        OutOfUse: It is in quarantine, or retention deleted it.
        ProfileOnly: It was made on less: the gates there would judge it as if it were not.
        PodiumError: The target has another version of the same inputs, or refused.
        Outage: A part did not answer; run it again.
    """
    source = _source(services, model, number)
    with target.registry() as there:
        found = _version_there(there, source)
    if found is None:
        number_there = _bring(services, source, target)
    else:
        log.info("%s is %s there; comparing its bytes", source, version_name(found.number))
        number_there = found.number
        with target.registry() as there, TemporaryDirectory(prefix="podium-") as folder:
            there.download(model, number_there, Path(folder))
            check_same(source.manifest, Path(folder), f"{model} {version_name(number_there)} at {target.uri}")
    record(services, _copied_to(source, target, number_there))
    return Copied(model, number, target.uri, number_there, source.manifest.digest(), found is not None)


def _copied_to(source: _Source, target: CopyTarget, number: int) -> NewEvent:
    """Describe where the copy is: its source is kept for as long as the record."""
    return NewEvent(
        event=EventKind.COPIED_TO,
        model=source.model,
        version=source.number,
        actor=_who(target.username),
        reason=f"{target.uri}, where it is {version_name(number)}",
        key=f"copied_to:{source.model}:{source.number}:{target.uri}",
        details={"target": target.uri, "version": number},
    )


def _source(services: Services, model: str, number: int) -> _Source:
    name = f"{model} {version_name(number)}"
    events = services.ledger.present(model, number)
    registered = history.registration(events, number)
    if registered is None or "mlflow_run" not in registered.details:
        raise NotFound(
            f"{name}: the ledger holds no registration of it by a lifecycle, so its bytes and its training "
            "run cannot be verified"
        )
    refuse_out_of_use(events, number)
    if profile := history.profile_of(events, number):
        raise ProfileOnly(f"{name} is a {profile} version: {profile.purpose}. It is not copied")
    details = registered.details
    lineage = lineage_of(details)
    return _Source(model, number, details["mlflow_run"], lineage, Manifest.from_json(details["manifest"]))


def _version_there(there: Registry, source: _Source) -> Version | None:
    found = there.version_of_inputs(source.model, source.inputs_digest)
    if found is not None and found.tags.get(Tag.MANIFEST_DIGEST) != source.manifest.digest():
        raise _trained_there(there, source, f"{source.model} {version_name(found.number)}")
    return found


def _trained_there(there: Registry, source: _Source, what: str) -> PodiumError:
    return PodiumError(
        f"{there.tracking_uri} has {what} of the same inputs as {source}, but with other bytes: equal inputs "
        f"are one version. Nothing was copied; run the lifecycle there with {what}"
    )


def _bring(services: Services, source: _Source, target: CopyTarget) -> int:
    origin = _origin(services, source, target)
    with TemporaryDirectory(prefix="podium-") as name:
        try:
            folder = Path(name)
            run = _download(services.registry, source, folder)
            with target.registry() as there:
                run_id, model_id = _training_run(there, source, run, folder, origin)
                tags = {
                    **source.lineage,
                    **origin,
                    Tag.MANIFEST_DIGEST: source.manifest.digest(),
                    Tag.VALIDATION_STATUS: "pending",
                    Tag.APPROVAL_STATUS: "pending",
                    Tag.LIFECYCLE_STAGE: "None",
                }
                return there.register(source.model, run_id, model_id, tags).number
        except OSError as error:
            raise PodiumError(
                f"{source} could not be kept in {folder} on its way: {error.strerror or error}. "
                "Set TMPDIR to a folder with space for its files"
            ) from error


def _origin(services: Services, source: _Source, target: CopyTarget) -> dict[str, str]:
    return {
        Tag.COPIED_FROM: without_login(services.registry.tracking_uri),
        Tag.COPIED_VERSION: str(source),
        Tag.COPIED_RUN: source.run_id,
        Tag.COPIED_BY: _who(target.username),
        Tag.COPIED_AT: datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _who(username: str | None) -> str:
    """Name the person on this machine, and the login that the target has checked."""
    try:
        person = getpass.getuser()
    except (KeyError, OSError):
        person = f"uid {os.getuid()}"
    return f"{person} on {socket.gethostname()}" + (f", as {username}" if username else "")


def _download(here: Registry, source: _Source, folder: Path) -> TrainingRun:
    """Copy the files of version and training run into a folder, and return the run."""
    log.info("reading %s: %d files, %s", source, *_size(source.manifest))
    here.download(source.model, source.number, folder / _MODEL)
    check_same(source.manifest, folder / _MODEL, str(source))
    run = here.run(source.run_id)
    (folder / _RUN).mkdir()
    for path in here.artifacts(source.run_id):
        if path not in _DECIDED_HERE:
            here.download_artifacts(source.run_id, path, folder / _RUN)
    return run


def _training_run(
    there: Registry, source: _Source, run: TrainingRun, folder: Path, origin: Mapping[str, str]
) -> tuple[str, str]:
    """Make the training run there, or find the one that an earlier copy finished; its bytes are compared.

    Returns:
        The run and its logged model.
    """
    experiment_id = there.ensure_experiment(source.model)
    there.end_open_runs(experiment_id, Tag.COPIED_RUN, source.run_id)
    finished = there.finished_run(experiment_id, source.inputs_digest)
    if finished is not None:
        if finished.tags.get(Tag.COPIED_RUN) != source.run_id:
            raise _trained_there(there, source, f"the training run {finished.run_id}")
        _read_back(there, source, finished.model_id, folder)
        return finished.run_id, finished.model_id
    with _open_run(there, experiment_id, run.name, {**origin, **_without_inputs(source)}) as run_id:
        there.log_numbers(run_id, run.params, run.metrics)
        model_id = _upload(there, source, experiment_id, run_id, folder)
        # Last: by this tag a run is found, so one that is not whole must not have it.
        there.set_run_tag(run_id, Tag.INPUTS_DIGEST, source.inputs_digest)
    return run_id, model_id


def _without_inputs(source: _Source) -> dict[str, str]:
    return {tag: value for tag, value in source.lineage.items() if tag != Tag.INPUTS_DIGEST}


@contextmanager
def _open_run(there: Registry, experiment_id: str, name: str, tags: Mapping[str, str]) -> Iterator[str]:
    run_id = there.create_run(experiment_id, name, tags)
    status = "FAILED"
    try:
        yield run_id
        status = "FINISHED"
    finally:
        with without_links():
            there.end_run(run_id, status)


def _upload(there: Registry, source: _Source, experiment_id: str, run_id: str, folder: Path) -> str:
    """Upload the files, read back what arrived, and return the logged model that has them."""
    run_files = read_manifest(folder / _RUN)
    log.info("copying %s to %s", source, there.tracking_uri)
    there.log_folder(run_id, folder / _RUN, doing=f"copying {source} to {there.tracking_uri}")
    model_id = there.upload_model(experiment_id, run_id, _MODEL, folder / _MODEL)
    shutil.rmtree(folder / _RUN)
    _read_back(there, source, model_id, folder)
    there.download_artifacts(run_id, "", folder / _RUN)
    check_same(run_files, folder / _RUN, f"the training run of {source} at {there.tracking_uri}")
    return model_id


def _read_back(there: Registry, source: _Source, model_id: str, folder: Path) -> None:
    log.info("reading back what arrived at %s", there.tracking_uri)
    shutil.rmtree(folder / _MODEL)  # The disk holds one copy at a time.
    with mlflow_errors(f"reading back {source}"):
        download_files(model_id, folder / _MODEL)
    check_same(source.manifest, folder / _MODEL, f"{source} at {there.tracking_uri}")


def _size(manifest: Manifest) -> tuple[int, str]:
    return len(manifest.files), f"{sum(file.size for file in manifest.files) / 1e6:,.1f} MB"
