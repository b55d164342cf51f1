"""The commands that need no part to run: check model files, write a new model, train into a folder."""

from __future__ import annotations

from datetime import UTC, datetime, time
from pathlib import Path
from typing import Annotated

import typer

from podium.cli.app import Json, app, console, explained, parse_moment, print_json


@app.command()
@explained
def train(
    model: Annotated[str, typer.Argument(help="The model's name, as in its model file.")],
    local: Annotated[Path, typer.Option(help="A folder that is not there yet, or is empty.")],
    as_of: Annotated[
        str | None,
        typer.Option(help="Train on what was known before this date or moment (UTC); without it: now."),
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="Train on less: a profile of the model file, such as smoke.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a model into a folder, without MLflow or the ledger running.

    Writes model/, metrics.json, data_report.json and pictures; search/ too, if the model file says search.
    model/ is an MLflow model folder, with no pickle in it: mlflow.pyfunc.load_model("FOLDER/model") loads it.
    Nothing is registered or promoted: that is for the model's Dag.
    """
    import logging

    from podium.lifecycle.profile_rules import named_profile
    from podium.model_file.spec import find_spec
    from podium.reporting.tables import metrics_table
    from podium.settings import models_dir, project_home
    from podium.training.local import train_locally

    logging.basicConfig(format="%(message)s")
    for name in ("podium", "trainers"):
        logging.getLogger(name).setLevel(logging.INFO)
    moment = datetime.now(UTC) if as_of is None else parse_moment(as_of, "--as-of", time.min)
    spec = find_spec(models_dir(), model)
    chosen = named_profile(profile, spec.profiles, spec.name)
    metrics = train_locally(spec, moment, project_home(), local, chosen)
    if as_json:
        print_json(metrics.as_json())
        return
    console.print(metrics_table(metrics.rows, metrics.by_model))
    console.print(f"The model is in {local / 'model'}.", markup=False, soft_wrap=True)


@app.command()
@explained
def new_model(
    name: Annotated[str, typer.Argument(help="Lower-case words joined by '-', such as house-prices.")],
    source: Annotated[Path, typer.Option(help="A csv or parquet file below the project's top folder.")],
    label: Annotated[str, typer.Option(help="The column to predict.")],
    time_column: Annotated[str, typer.Option("--time", help="The column that says when a row became known.")],
    owner: Annotated[str, typer.Option(help="Who answers for the model.")] = "me",
) -> None:
    """Write model file, trainer and test of a new model, ready to run, from a table of examples."""
    from podium.settings import project_home
    from podium.training.new_model import NewModel, write_model

    home = project_home()
    for path in write_model(NewModel(name, owner, source, label, time_column), home):
        console.print(f"wrote {path.relative_to(home)}", markup=False, highlight=False)
    console.print("Next: docs/add-a-model.md walks through them.")


@app.command()
@explained
def validate_spec(
    paths: Annotated[list[Path], typer.Argument(help="Model files, and folders of them.")],
    as_json: Json = False,
) -> None:
    """Check model files and the baseline files that they name, without Airflow; for commit hooks and CI."""
    from podium.operations.check_model_files import check_files

    problems, checked = check_files(paths)
    if as_json:
        print_json({"files": [str(path) for path in checked], "problems": problems})
    else:
        for problem in problems:
            console.print(problem, style="red", markup=False, highlight=False, soft_wrap=True)
        console.print(f"{len(checked)} model files checked, {len(problems)} problems.")
    if problems:
        raise typer.Exit(1)
