"""``podium score``: score a file with one version, or with two side by side."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli.app import Json, Model, app, console, print_json
from podium.errors import PodiumError
from podium.reporting.terminal import Terminal

if TYPE_CHECKING:
    from podium.scoring.run import Progress


@app.command()
def score(  # noqa: PLR0913 - one for each option of the command
    model: Model,
    source: Annotated[
        str,
        typer.Option("--input", help="A csv or parquet file, s3://..., or 'sql:SELECT ...' with --database."),
    ],
    output: Annotated[
        str,
        typer.Option(
            help="A parquet file, s3://..., or sql:TABLE with --database. An existing file is overwritten."
        ),
    ],
    alias: Annotated[
        str, typer.Option(help="champion, candidate, previous_champion, or a version such as 3.")
    ] = "champion",
    diff: Annotated[
        str | None,
        typer.Option(help="Another alias or version: score with both and show where they disagree."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            help="A column to copy to the output; may be repeated. Default: those of the model file."
        ),
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="For sql: the environment variable with the database's SQLAlchemy URL.")
    ] = None,
    allow_rolled_back: Annotated[
        bool, typer.Option("--allow-rolled-back", help="Allow a version that a rollback replaced.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score a file with a version of a model; with --diff show where two versions disagree.

    Each row gets the version, its digest and the moment. A row that cannot be scored goes to _rejects/ beside
    the output, with its reason.
    """
    from podium.model_file.loading import find_spec
    from podium.model_file.scoring import CHUNK_ROWS
    from podium.reporting.tables import diff_tables
    from podium.scoring.diff import ScoredVersion, score_both
    from podium.scoring.outputs import Output
    from podium.scoring.pinned_version import loaded, pin
    from podium.scoring.run import Job, score_to
    from podium.services import connect
    from podium.sources.read import Source, the_only_partition

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    _assert_output(output, source)
    services, here = connect(), Path.cwd()
    spec = find_spec(services.settings.models_dir, model)
    chunk_rows = CHUNK_ROWS if spec.scoring is None else spec.scoring.chunk_rows
    wanted = Source(source, here, database, chunk_rows=chunk_rows)
    partition = the_only_partition(wanted)
    keys = tuple(key) if key else () if spec.scoring is None else spec.scoring.keys
    job = Job(wanted, partition, Output(output, partition.name, here, database), keys)
    pinned = pin(services, model, alias, allow_rolled_back=allow_rolled_back)
    with loaded(services, spec, pinned) as scorer:
        if diff is None:
            with _shown(quiet=as_json) as tell:
                done = score_to(scorer, pinned, job, tell)
            if as_json:
                print_json(done.as_json())
            else:
                console.print(f"{done.describe()}.", soft_wrap=True)
            return
        other = pin(services, model, diff, allow_rolled_back=allow_rolled_back)
        with loaded(services, spec, other) as its_scorer, _shown(quiet=as_json) as tell:
            found = score_both(ScoredVersion(pinned, scorer), ScoredVersion(other, its_scorer), job, tell)
    if as_json:
        print_json(found.as_json())
        return
    for shown in diff_tables(found):
        console.print(shown)


def _assert_output(output: str, source: str) -> None:
    from podium.model_file.source import SQL

    if not output.startswith(SQL) and not output.endswith(".parquet"):
        raise PodiumError(f"--output: {output}: allowed are .parquet files, on disk or s3://, and {SQL}TABLE")
    if Path(output).resolve() == Path(source).resolve():
        raise PodiumError(f"--output: {output} is also the input, and would be overwritten")


@contextmanager
def _shown(*, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Show the progress at a terminal, on standard error."""
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    err = Terminal(stderr=True)
    with Bar(
        BarColumn(),
        TextColumn("{task.description}", markup=False),
        console=err,
        transient=True,
        disable=quiet or not err.is_terminal,
    ) as bar:
        task = bar.add_task("reading", total=None)

        def tell(progress: Progress) -> None:
            total = None if progress.done is None else 1.0
            bar.update(task, total=total, completed=progress.done or 0, description=progress.describe())

        yield tell
