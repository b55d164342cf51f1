"""``podium watch``: how the watch window or the ramp of a model stands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli.app import Json, Model, app, console, print_json

if TYPE_CHECKING:
    from rich.console import Group

    from podium.reporting.terminal import ShownTable
    from podium.reporting.watched import Beside

_EVERY_SECONDS = 2.0


@app.command()
def watch(
    model: Model,
    once: Annotated[bool, typer.Option("--once", help="Show it once, also in a terminal.")] = False,
    as_json: Json = False,
) -> None:
    """Show how a new version does beside the champion: rows, evidence, and what is missing.

    In a terminal it is shown live, until the watch window or the ramp ends. It asks the ledger alone,
    and changes nothing. Where nothing is compared, it says how the last window and the last ramp ended.
    """
    from rich.live import Live

    from podium.reporting.status import known_model
    from podium.reporting.watched import as_json as watched_json
    from podium.reporting.watched import beside_each_other
    from podium.services import connect

    services = connect()
    ledger, known = services.ledger, known_model(services, model)
    found = beside_each_other(ledger, known)
    if as_json:
        print_json(watched_json(found))
    elif once or not found.now or not console.is_terminal:
        for part in _shown(found):
            console.print(part, soft_wrap=isinstance(part, str), highlight=False)
    else:
        with Live(_together(found), console=console, auto_refresh=False, vertical_overflow="visible") as live:
            while found.now:
                time.sleep(_EVERY_SECONDS)
                found = beside_each_other(ledger, known)
                live.update(_together(found), refresh=True)


def _together(beside: Beside) -> Group:
    from rich.console import Group
    from rich.text import Text

    return Group(*(Text(part) if isinstance(part, str) else part for part in _shown(beside)))


def _shown(beside: Beside) -> list[str | ShownTable]:
    """Return sentences and tables in their order."""
    from podium.reporting.watched import evidence_table, last_sentence, problems, sentence, sides_table

    shown: list[str | ShownTable] = []
    for one in beside.now:
        shown += [sentence(one), sides_table(one, console.width), evidence_table(one, console.width)]
        shown += [f"A server cannot compare: {problem}" for problem in problems(one)]
    return shown or [last_sentence(beside)]
