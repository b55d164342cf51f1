"""``podium new-model`` and ``podium validate-spec``: they need no service to run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from podium.cli.app import Json, app, console, log_to_stderr, print_json
from podium.errors import PodiumError


@app.command()
def new_model(
    name: Annotated[str, typer.Argument(help="Lower-case words joined by '-', such as house-prices.")],
    source: Annotated[Path, typer.Option(help="A csv or parquet file, or a folder of them, in the project.")],
    label: Annotated[str, typer.Option(help="The column to predict.")],
    time_column: Annotated[str, typer.Option("--time", help="The column that says when a row became known.")],
    owner: Annotated[str, typer.Option(help="The person or team that answers for the model.")] = "me",
) -> None:
    """Write model file, trainer and test of a new model, ready to run, from a table of examples.

    Trains the model once on the rows, so that the gates fit. Warns of columns that give the label away.
    """
    from podium.settings import project_home
    from podium.training.new_model import NewModel, write_model

    log_to_stderr()
    home = project_home()
    for path in write_model(NewModel(name, owner, source, label, time_column), home):
        console.print(f"wrote {path.relative_to(home)}", highlight=False)
    console.print("Next: docs/add-a-model.md walks through them.")


@app.command()
def validate_spec(
    paths: Annotated[list[Path] | None, typer.Argument(help="Model files, and folders of them.")] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON schema of model files instead, for editors.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Check model files and the baseline files that they name, without Airflow; for commit hooks and CI."""
    if schema == bool(paths):
        raise PodiumError("validate-spec: give either model files, such as include/models, or --schema")
    if not paths:
        from podium.model_file.reference import json_schema

        print_json(json_schema())
        return
    from podium.operations.check_model_files import check_files

    problems, checked = check_files(paths)
    if as_json:
        print_json({"files": [str(path) for path in checked], "problems": problems})
    else:
        for problem in problems:
            console.print(problem, style="red", highlight=False, soft_wrap=True)
        console.print(f"{len(checked)} model files checked, {len(problems)} problems.")
    if problems:
        raise typer.Exit(1)
