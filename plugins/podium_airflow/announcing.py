"""How Dags announce what is on record.

Airflow updates a task's assets when the task succeeds; the task after it moves the cursors.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from podium_airflow.assets import (
    CHAMPIONS,
    CHAMPIONS_MOVED_OUTSIDE,
    champion_asset,
    moved_outside_asset,
    retraining_asset,
)
from podium_airflow.failures import podium_task
from podium_airflow.runs import run_reference

# Receiver, model and the number of an event that the receiver is told of when the task succeeds.
Announced = list[tuple[str, str, int]]


def announce_on_success(context: Context, *, model: str | None = None, run: str | None = None) -> Announced:
    """Let the task's success update the assets, once for each event that was not announced yet.

    Args:
        context: Of a task with the outlets ``CHAMPIONS`` and ``CHAMPIONS_MOVED_OUTSIDE``, as far as it
            moves them.
        model: Only of this model's.
        run: The run that announces what it recorded itself; None announces what is left over by others.

    Returns:
        What ``note_announced`` takes.
    """
    from podium.ledger.receivers import CHAMPION_ASSET, MOVED_OUTSIDE_ASSET
    from podium.lifecycle.announce import to_announce
    from podium.services import connect

    ledger, announced = connect().ledger, []
    for receiver, alias, asset_of in (
        (CHAMPION_ASSET, CHAMPIONS, champion_asset),
        (MOVED_OUTSIDE_ASSET, CHAMPIONS_MOVED_OUTSIDE, moved_outside_asset),
    ):
        for event in to_announce(ledger, receiver, model=model, run=run):
            context["outlet_events"][alias].add(asset_of(event.model), extra=event.without_details())
            announced.append((receiver.name, event.model, event.seq))
    return announced


def announce_promotion(context: Context, model: str) -> Announced:
    """Let the task's success update its outlet, the asset of a model's champion, for this run's promotion.

    Every success updates an outlet, so that a task with nothing to announce must not succeed.

    Raises:
        NothingToDo: The promotion was announced before, or is left to reconcile.
    """
    from podium.errors import NothingToDo
    from podium.ledger.receivers import CHAMPION_ASSET
    from podium.lifecycle.announce import to_announce
    from podium.services import connect

    promotions = to_announce(connect().ledger, CHAMPION_ASSET, model=model, run=run_reference(context))
    if not promotions:
        raise NothingToDo(f"{model}: the promotion was announced before, or reconcile announces it")
    newest = promotions[-1]
    context["outlet_events"][champion_asset(model)].extra = newest.without_details()
    return [(CHAMPION_ASSET.name, model, newest.seq)]


def announce_retraining(context: Context, model: str) -> Announced:
    """Let the task's success update its outlet, the asset that starts a model's lifecycle.

    Raises:
        AirflowSkipException: No training is wanted that was not announced before; that is no news for the
            run's note.
    """
    from podium.ledger.receivers import RETRAINING_ASSET
    from podium.lifecycle.announce import to_announce
    from podium.services import connect

    wanted = to_announce(connect().ledger, RETRAINING_ASSET, model=model)
    if not wanted:
        raise AirflowSkipException(f"{model}: no training is wanted")
    newest = wanted[-1]
    context["outlet_events"][retraining_asset(model)].extra = newest.without_details()
    return [(RETRAINING_ASSET.name, model, newest.seq)]


def move_cursors(announced: Announced) -> None:
    """Record that all of this was announced."""
    from podium.services import connect

    ledger = connect().ledger
    for receiver, model, seq in announced:
        ledger.move_cursor(receiver, model, seq)


@podium_task()
def note_announced(announced: Announced | None, **_: Any) -> None:
    """Move the cursors; nothing where somebody marked the task before it as a success."""
    move_cursors(announced or [])
