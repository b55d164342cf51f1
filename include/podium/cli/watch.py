"""``podium watch``: how the watch window of a model stands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli.app import Json, Model, app, console, print_json

if TYPE_CHECKING:
    from podium.monitoring.watch_record import Standing

_EVERY_SECONDS = 2.0


@app.command()
def watch(
    model: Model,
    follow: Annotated[bool, typer.Option(help="Go on until the window ends.")] = False,
    as_json: Json = False,
) -> None:
    """Compare a new champion with the previous one: rows, evidence, and what is still missing.

    It asks the ledger alone, and changes nothing. Without an open window it says how the last one ended.
    """
    from podium.monitoring.watch_record import standing_of
    from podium.reporting.status import known_model
    from podium.reporting.watched import last_verdict, last_watch_sentence, watch_json
    from podium.services import connect

    services = connect()
    ledger, known = services.ledger, known_model(services, model)
    looked = standing_of(ledger, known)
    while follow and not as_json and looked is not None:
        _show(looked)
        time.sleep(_EVERY_SECONDS)
        looked = standing_of(ledger, known)
    last = last_verdict(ledger, known)
    if as_json:
        print_json(
            {
                "model": known,
                "open": None if looked is None else watch_json(looked),
                "last": None if last is None else last.as_json(),
            }
        )
    elif looked is not None:
        _show(looked)
    else:
        console.print(last_watch_sentence(known, last), soft_wrap=True, highlight=False, markup=False)


def _show(looked: Standing) -> None:
    from podium.reporting.watched import problems, watch_sentence, watch_table

    console.print(watch_sentence(looked), soft_wrap=True, highlight=False)
    console.print(watch_table(looked, console.width))
    for problem in problems(looked):
        console.print(f"A server cannot compare: {problem}", soft_wrap=True, highlight=False, markup=False)
