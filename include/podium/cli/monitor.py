"""``podium monitor``: judge windows of a model's rows."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Annotated

import typer

from podium.cli.app import Json, Model, app, console, log_to_stderr, parse_moment, print_json


@app.command()
def monitor(
    model: Model,
    since: Annotated[str, typer.Option(help="Judge windows from this date or moment on (UTC).")],
    as_of: Annotated[
        str | None, typer.Option(help="See only rows before this date or moment (UTC); without it: now.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="List windows without an alarm, too.")] = False,
    as_json: Json = False,
) -> None:
    """Check the rows in data.source, window by window: did inputs move, and are the rows whole?

    The rows before --since are the reference. It works offline and changes nothing.
    """
    from podium.model_file.loading import find_spec
    from podium.monitoring.known_rows import judge_known_rows
    from podium.monitoring.verdicts import Said
    from podium.reporting.monitored import monitored_json, monitored_sentence, monitored_table
    from podium.settings import models_dir, project_home

    log_to_stderr("podium", "trainers")
    spec = find_spec(models_dir(), model)
    moment = datetime.now(UTC) if as_of is None else parse_moment(as_of, "--as-of", time.min)
    judged = judge_known_rows(spec, parse_moment(since, "--since", time.min), moment, project_home())
    if as_json:
        print_json({"model": spec.name, "windows": monitored_json(judged)})
        return
    shown = [one for one in judged if every or one.worst.said not in (Said.NOTHING_SEEN, Said.NOT_JUDGED)]
    console.print(monitored_sentence(spec.name, judged), soft_wrap=True, highlight=False)
    if shown:
        console.print(monitored_table(shown, console.width))
