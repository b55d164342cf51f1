"""``podium copy``: a version to another registry, such as from development to production."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from podium.cli.app import Json, app, console, log_to_stderr, print_json
from podium.names import version_name


@app.command()
def copy(
    model: Annotated[str, typer.Argument(help="The model's name, the same in both registries.")],
    version: Annotated[int, typer.Argument(help="The version to copy, such as 3.")],
    to: Annotated[str, typer.Option(help="The other MLflow's address, such as https://mlflow.prod:5000.")],
    as_json: Json = False,
) -> None:
    """Copy a version to another registry; the gates and approvers there still decide.

    The login there is in PODIUM_COPY_TO_USERNAME and PODIUM_COPY_TO_PASSWORD. The copy is read back and
    compared. The lifecycle there takes the version (its form's field version): its gates and approval decide.
    """
    from podium.operations.copy_version import copy_version, target_from_environment
    from podium.services import connect

    log_to_stderr("podium")
    if sys.stderr.isatty():
        os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "true"
    target = target_from_environment(to)
    copied = copy_version(connect(), model, version, target)
    if as_json:
        print_json(asdict(copied))
        return
    how = "existed there already" if copied.was_there else "was copied"
    console.print(
        f"{model} {version_name(version)} {how}: it is {version_name(copied.target_version)} at "
        f"{copied.target}, with the same bytes (sha256 of the manifest {copied.manifest_digest[:12]}). "
        "It is not promoted there yet: trigger its lifecycle in the Airflow there with version "
        f"{copied.target_version} in the form. The gates and approvers there decide.",
        highlight=False,
        soft_wrap=True,
    )
