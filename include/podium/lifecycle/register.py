"""Register: a finished training run becomes a version, with the manifest of its files."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from podium.errors import BytesChanged, PodiumError, TrainerError
from podium.ledger.events import EventKind, NewEvent
from podium.ledger.history import EXAMPLE, PROFILE
from podium.lifecycle.custody_rules import refuse_out_of_use
from podium.lifecycle.edited import refuse_number, refuse_taken_numbers
from podium.lifecycle.registry_sync import mirror
from podium.lifecycle.witness import record, witnessed
from podium.model_file.spec import ModelSpec
from podium.names import ORIGIN, Tag, version_name
from podium.registry.client import Version
from podium.registry.manifest import downloaded, read_manifest
from podium.registry.model_files import pickled_parts, read_signature, trusted_pickle
from podium.registry.proof import prove
from podium.services import Services
from podium.training.run import TrainedRun, lineage_of, read_trained_run
from podium.training.taken_example import take_example

log = logging.getLogger(__name__)

# What a form can ask of a training, and not of a run that is finished.
_OF_A_TRAINING = ("as_of", "params")


def register_version(services: Services, spec: ModelSpec, mlflow_run: str, run: str) -> int:
    """Register a run's model with the manifest of its files; equal inputs always have the same version.

    Args:
        services: The registry and the ledger.
        spec: The model file.
        mlflow_run: The training run.
        run: The Airflow run.

    Raises:
        NotFound: There is no such training run, or retention deleted its model.
        TrainerError: Podium did not save the model, and it does not load in a process of its own or holds a
            pickle that the model file does not trust; nothing is registered.
        CannotAdopt: The same, where another Dag trained it.
        BytesChanged: The version was copied here, and its files are not those that were copied.
        EditedByHand: The registered model was renamed, deleted or made again; nothing is registered.
        Outage: A part did not answer.
    """
    trained = read_trained_run(services.registry, mlflow_run)
    example = {} if trained.proved else _seen_to_answer(services, spec, trained)
    tags = {
        **trained.tags,
        Tag.VALIDATION_STATUS: "pending",
        Tag.APPROVAL_STATUS: "pending",
        Tag.LIFECYCLE_STAGE: "None",
    }
    with services.ledger.lock(spec.name):
        witnessed(services, spec.name)
        refuse_taken_numbers(services, spec.name)
        # Retention deletes a model that no version names under this lock.
        read_trained_run(services.registry, mlflow_run)
        version = services.registry.register(spec.name, trained.run_id, trained.model_id, tags)
        key = f"registered:{spec.name}:{version.number}"
        if (found := services.ledger.find(key)) is None:
            record(services, _registration(services, spec, version, run, key, example))
        elif found.details.get("mlflow_run", version.run_id) != version.run_id:
            services.registry.delete_version(spec.name, version.number)
            refuse_number(found)
        mirror(services, spec.name)
    log.info("%s %s is run %s.", spec.name, version_name(version.number), version.run_id)
    return version.number


def _seen_to_answer(services: Services, spec: ModelSpec, trained: TrainedRun) -> dict[str, Any]:
    with TemporaryDirectory(prefix="podium-") as copied:
        folder = Path(copied)
        services.registry.download_model(trained.model_id, folder)
        return _answers(services, spec, trained.run_id, folder)


def _answers(services: Services, spec: ModelSpec, run_id: str, folder: Path) -> dict[str, Any]:
    """See that a model that was not saved here answers; return the example of one of another Dag."""
    if spec.training is not None:
        taken = take_example(spec, services.settings.home, folder, f"{spec.name}, run {run_id}")
        for note in taken.notes:
            log.warning("%s, run %s: %s.", spec.name, run_id, note)
        return {EXAMPLE: dict(taken.example)}
    name = f"{spec.name}: run {run_id} is not registered"
    if not spec.pickle and (parts := pickled_parts(folder)):
        raise TrainerError(
            f"{name}: its model is a pickle ({', '.join(parts)}), which runs code when it is loaded; "
            "write in the model file why it is trusted: `pickle: ...`"
        )
    try:
        prove(folder)
    except TrainerError as error:
        raise TrainerError(f"{name}: {error}") from error
    return {}


def _registration(  # noqa: PLR0913 - what is known of a version
    services: Services, spec: ModelSpec, version: Version, run: str, key: str, example: Mapping[str, Any]
) -> NewEvent:
    """Make the manifest of what the store holds, and leave it on the version and its training run as well."""
    with downloaded(services.registry, version.model, version.number) as folder:
        manifest, signature = read_manifest(folder), read_signature(folder)
        pickle = trusted_pickle(folder) or (pickled_parts(folder) and spec.pickle)
        if version.tags.get(Tag.MANIFEST_DIGEST, manifest.digest()) != manifest.digest():
            raise BytesChanged(
                f"{version.model} {version_name(version.number)}: its files in the store do not match "
                f"{Tag.MANIFEST_DIGEST}; copy it again from its source, or train a new version"
            )
        if copied := Tag.COPIED_FROM in version.tags:
            example = _answers(services, spec, version.run_id, folder)
    services.registry.log_json(
        version.run_id,
        {"files": manifest.as_json(), "rows": version.tags.get(Tag.DATA_SOURCE, "unknown")},
        f"manifests/v{version.number}.json",
        doing=f"keeping the manifest of {version.model} {version_name(version.number)}",
    )
    trust = {str(Tag.PICKLE): pickle} if pickle else {}
    tags = {Tag.MANIFEST_DIGEST: manifest.digest(), **trust}
    services.registry.set_tags(version.model, version.number, tags)
    lineage = lineage_of(version.tags)
    origin = {str(tag): version.tags.get(tag, "unknown") for tag in ORIGIN} if copied else {}
    profile = read_trained_run(services.registry, version.run_id).profile
    return NewEvent(
        event=EventKind.REGISTERED,
        model=version.model,
        version=version.number,
        reason=f"trained as of {version.tags[Tag.AS_OF][:10]}"
        + (f", profile {profile}" if profile else "")
        + (f", copied from {origin[Tag.COPIED_FROM]}, {origin[Tag.COPIED_VERSION]}" if origin else ""),
        run=run,
        key=key,
        details={
            "mlflow_run": version.run_id,
            **lineage,
            **origin,
            **({PROFILE: str(profile)} if profile else {}),
            **trust,
            "manifest": manifest.as_json(),
            "manifest_digest": manifest.digest(),
            "signature": signature,
            **example,
        },
    )


def run_to_take(services: Services, model: str, form: Mapping[str, Any]) -> str | None:
    """Return the finished training run that a form names instead of a training; None if it is to train.

    Args:
        services: The registry and the ledger.
        model: The registered model.
        form: ``mlflow_run`` is a training run, ``version`` one that is registered (as ``podium copy`` leaves
            it), ``profile`` one to train in; each may be None, and at most one is not. ``as_of`` and
            ``params`` go with a training only.

    Raises:
        NotFound: There is no such version, or it is no finished training run of this model.
        OutOfUse: The version is in quarantine, or retention deleted it.
        PodiumError: The form names more than one, or what a finished run cannot be given any more, or the
            version is another one's twin.
    """
    named = [
        f"{what} {form[key]}"
        for key, what in (("mlflow_run", "run"), ("version", "version"), ("profile", "profile"))
        if form[key]
    ]
    if len(named) > 1:
        raise PodiumError(f"{model}: the form names {' and '.join(named)}; give one of them")
    if (form["version"] or form["mlflow_run"]) and (late := [key for key in _OF_A_TRAINING if form.get(key)]):
        raise PodiumError(
            f"{model}: the form names {named[0]}, which was trained before: leave {' and '.join(late)} empty"
        )
    if form["version"]:
        return _run_of_version(services, model, form["version"])
    return _run_by_name(services, model, form["mlflow_run"]) if form["mlflow_run"] else None


def _run_by_name(services: Services, model: str, run_id: str) -> str:
    found = services.registry.training_run(model, run_id)
    if since := found.tags.get(Tag.ORPHAN_SINCE):
        raise PodiumError(
            f"{model}: run {run_id} has been reported since {since[:10]}: no version names its model, and "
            f"retention deletes it. To register it, remove its tag {Tag.ORPHAN_SINCE} in MLflow first"
        )
    return found.run_id


def _run_of_version(services: Services, model: str, number: int) -> str:
    refuse_out_of_use(services.ledger.present(model, number), number)
    trained = services.registry.training_run(model, services.registry.version(model, number).run_id)
    first = services.registry.version_of_inputs(model, trained.tags[Tag.INPUTS_DIGEST])
    if first is not None and first.number != number:
        raise PodiumError(
            f"{model} {version_name(number)} was made of the same inputs as {version_name(first.number)}: "
            f"equal inputs are one version; take {version_name(first.number)}"
        )
    return trained.run_id
