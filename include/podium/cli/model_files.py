"""``podium new-model`` and ``podium validate-spec``: they need no service to run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli.app import Json, app, console, log_to_stderr, print_json
from podium.errors import PodiumError

if TYPE_CHECKING:
    from podium.training.look import Choice


NEW_TASKS = ("classification", "regression")


@app.command()
def new_model(  # noqa: PLR0913 - what a model needs
    name: Annotated[str, typer.Argument(help="Lower-case words joined by '-', such as house-prices.")],
    source: Annotated[
        str,
        typer.Option(
            "--from",
            help="The rows: a csv or parquet file, a folder or pattern of such, s3://..., 'sql:SELECT ...', "
            "delta:PATH.",
        ),
    ],
    label: Annotated[
        str, typer.Option(help="The column to predict; asked for if its name is not sure.")
    ] = "",
    time_column: Annotated[
        str,
        typer.Option("--time", help="The column that says when a row became known; - where no column does."),
    ] = "",
    time_format: Annotated[
        str, typer.Option(help="How times are written: ISO8601, or a format of strptime such as %d/%m/%Y.")
    ] = "",
    task: Annotated[
        str, typer.Option(help="classification or regression, where the label may be both.")
    ] = "",
    database: Annotated[
        str | None, typer.Option(help="With sql: the environment variable with the database's URL.")
    ] = None,
    owner: Annotated[str, typer.Option(help="The person or team that answers for the model.")] = "me",
    yes: Annotated[
        bool, typer.Option("--yes", help="Ask nothing: refuse where a proposal is not sure.")
    ] = False,
) -> None:
    """Look at a table, and write model file, trainer and test of a new model, ready to run.

    Proposes label, time column, task, inputs, holdout and gates, and says why; asks where it is not sure.
    The model is tried once on the rows, so that the gates fit. Warns of columns that give the label away.
    Looks at 200,000 rows of a larger table, and says which.
    """
    from podium.model_file.metric_names import TaskKind
    from podium.settings import project_home
    from podium.training.new_model import NewModel, asked, look_at, write_model

    log_to_stderr()
    home = project_home()
    sample = look_at(source, database, home)
    if sample.which:
        seen = f"looked at {sample.which}; others may have other labels, gaps and days"
        console.print(seen, highlight=False)
    if task and task not in NEW_TASKS:
        raise PodiumError(f"--task: '{task}'; allowed: {', '.join(NEW_TASKS)}")
    kind = TaskKind(task) if task else None
    said = NewModel(name, owner, source, label, time_column, database, time_format, kind)
    for path in write_model(asked(said, sample.rows, _refuse if yes else _ask), home, sample):
        console.print(f"wrote {path.relative_to(home)}", highlight=False)
    console.print("Next: docs/add-a-model.md walks through them.")


def _ask(what: str, choice: Choice) -> str:
    """Ask which of several it is; what is sure is only shown."""
    console.print(f"{what}: {choice.what} ({choice.why})", highlight=False)
    if choice.sure:
        return choice.what
    console.print(f"Possible: {', '.join(choice.others)}", highlight=False)
    answer: str = typer.prompt(f"Which {what}?", default=choice.what, show_default=True)
    return answer


def _refuse(what: str, choice: Choice) -> str:
    """Take what is sure."""
    if choice.sure:
        console.print(f"{what}: {choice.what} ({choice.why})", highlight=False)
        return choice.what
    raise PodiumError(
        f"--yes takes only what is sure, and the {what} is not sure: {choice.what} is {choice.why}; "
        f"possible: {', '.join(choice.others)}. Name it with --{what.split()[0]}"
    )


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
