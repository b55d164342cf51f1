"""``podium retention``: which old versions go, which stay and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli.app import Json, app, console, logged_in_to_airflow, model_names, print_json
from podium.errors import PodiumError

if TYPE_CHECKING:
    from podium.lifecycle.retention_rules import Verdict
    from podium.model_file.retention import RetentionSpec

_Login = tuple[str, str]


@app.command()
def retention(
    model: Annotated[
        str | None, typer.Argument(help="Only this model; else all.", autocompletion=model_names)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go, and why the rest stays.")
    ] = False,
    as_json: Json = False,
    user: Annotated[str, typer.Option(envvar="PODIUM_AIRFLOW_USER")] = "",
    password: Annotated[str, typer.Option(envvar="PODIUM_AIRFLOW_PASSWORD", show_default=False)] = "",
) -> None:
    """Delete old versions by the rules of the model files; --dry-run changes nothing."""
    from podium.lifecycle.orphans import reported
    from podium.lifecycle.retention_look import look
    from podium.lifecycle.retention_rules import describe
    from podium.reporting.retention import orphan_json, orphan_lines, verdict_json, verdict_lines
    from podium.services import connect

    services, rules = connect(), _rules(model)
    if not dry_run:
        _trigger(services.settings.airflow_url, model, (user, password))
        return
    found: dict[str, list[Verdict]] = {
        name: look(services, name, section).verdicts for name, section in rules.items()
    }
    orphans = {name: reported(services, name) for name in rules}
    if as_json:
        print_json(
            {
                name: [
                    *map(verdict_json, verdicts),
                    *(orphan_json(one, rules[name].longest_run) for one in orphans[name].values()),
                ]
                for name, verdicts in found.items()
            }
        )
        return
    for name, verdicts in found.items():
        console.print(f"{name}: {describe(verdicts)}", soft_wrap=True, highlight=False, markup=False)
        lines = [*verdict_lines(verdicts), *orphan_lines(orphans[name], rules[name].longest_run)]
        for line in lines:
            console.print(f"  {line}", soft_wrap=True, highlight=False, markup=False)


def _rules(model: str | None) -> dict[str, RetentionSpec]:
    from podium.model_file.loading import find_spec, load_specs
    from podium.settings import models_dir

    specs = {model: find_spec(models_dir(), model)} if model else load_specs(models_dir())[0]
    found = {name: spec.retention for name, spec in specs.items() if spec.retention is not None}
    if not found:
        raise PodiumError(f"{model or 'no model file'}: no section retention, so nothing is ever deleted")
    return found


def _trigger(url: str | None, model: str | None, login: _Login) -> None:
    from podium.operations.airflow_client import RETENTION_DAG

    airflow = logged_in_to_airflow(url, *login)
    airflow.assert_not_paused(RETENTION_DAG)
    run = airflow.trigger(RETENTION_DAG, {"model": model})
    with console.status(f"{RETENTION_DAG}, run {run}"):
        ended = airflow.wait_for_end(RETENTION_DAG, run, lambda *_: None)
    if ended != "success":
        raise PodiumError(f"run {run} of {RETENTION_DAG} {ended}: its note in Airflow says why")
    console.print(f"run {run} of {RETENTION_DAG} is done; its note and `podium history` say what it did")
