"""``podium train``: train a model into a folder."""

from __future__ import annotations

from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated

import typer

from podium.cli.app import Json, Model, app, console, log_to_stderr, parse_moment, print_json


@app.command()
def train(
    model: Model,
    local: Annotated[Path, typer.Option(help="A new or empty folder.")],
    as_of: Annotated[
        str | None,
        typer.Option(help="Train on what was known before this date or moment (UTC). Default: now."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(help="Trial run on a sample of the data: a profile of the model file, such as smoke."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a model into a folder; works offline, without MLflow and the ledger.

    Writes model/, metrics.json, data_report.json and pictures; with a search also search/.
    model/ is an MLflow model folder: mlflow.pyfunc.load_model("FOLDER/model") loads it.
    Only the model's Dag registers and promotes.
    """
    from podium.model_file.loading import find_spec
    from podium.model_file.profiles import named_profile
    from podium.reporting.tables import labels_table, metrics_table
    from podium.settings import models_dir, project_home
    from podium.training.local import train_locally

    log_to_stderr("podium", "trainers")
    moment = datetime.now(UTC) if as_of is None else parse_moment(as_of, "--as-of", time.min)
    spec = find_spec(models_dir(), model)
    chosen = named_profile(profile, spec.profiles, spec.name)
    metrics = train_locally(spec, moment, project_home(), local, chosen)
    if as_json:
        print_json(metrics.as_json())
        return
    console.print(metrics_table(metrics.rows, metrics.by_model))
    if (labels := labels_table({"the model": metrics.by_label})) is not None:
        console.print(labels)
    console.print(f"The model is in {local / 'model'}.", soft_wrap=True)
