"""Train: a new training run, or the finished one that a form names instead."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from podium.disk import full_disk_named
from podium.errors import PodiumError, RequesterUnknown
from podium.lifecycle.custody_rules import refuse_retired
from podium.lifecycle.elsewhere import take_announced
from podium.lifecycle.nominate import refuse_decided_run
from podium.lifecycle.register import run_to_take
from podium.model_file.profiles import named_profile
from podium.model_file.spec import ModelSpec
from podium.services import Services
from podium.training.run import train_model


def train(  # noqa: PLR0913 - what a lifecycle run is asked for
    services: Services,
    spec: ModelSpec,
    as_of: datetime,
    form: Mapping[str, Any],
    run: str,
    *,
    started_again: bool,
) -> str:
    """Return the training run whose model a lifecycle run takes.

    Args:
        services: The registry and the ledger.
        spec: The model file.
        as_of: The moment that counts: only what was known then is trained on.
        form: ``mlflow_run``, ``version`` and ``profile`` as ``run_to_take`` has them; ``params`` replace
            those of the model file.
        run: The Airflow run.
        started_again: A backfill may have started the run again.

    Raises:
        Refused: The run was turned down; another one may ask again. Or the model is trained elsewhere, and no
            training waits.
        Retired: The model was ended.
        RequesterUnknown: A backfill may have started the run again.
        CannotAdopt: A run that was trained elsewhere lacks what ``podium.training.announce`` gives it.
        NotFound: The form names a version or a run that there is not.
        DataError: The data cannot be used as the model file says.
        TrainerError: The trainer broke its protocol.
        DiskFull: There was no room for what training writes.
        Outage: A service did not answer.
    """
    refuse_decided_run(services, run)
    refuse_retired(services.ledger.present(spec.name))
    if started_again:
        raise RequesterUnknown(run)
    if spec.training is not None:
        _refuse_to_train(spec, form)
        return take_announced(services, spec, run_to_take(services, spec.name, form))
    if taken := run_to_take(services, spec.name, form):
        return taken
    profile = named_profile(form["profile"], spec.profiles, spec.name)
    with full_disk_named(f"training {spec.name}"):
        return train_model(spec, services.settings, as_of, form["params"] or {}, run, profile).run_id


def _refuse_to_train(spec: ModelSpec, form: Mapping[str, Any]) -> None:
    if asked := [key for key in ("as_of", "params", "profile") if form.get(key)]:
        raise PodiumError(
            f"{spec.name} is trained by another Dag, which has its own {' and '.join(asked)}: leave "
            f"{'it' if len(asked) == 1 else 'them'} empty here, and run that Dag"
        )
