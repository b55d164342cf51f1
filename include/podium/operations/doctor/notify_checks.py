"""Notifications: are the channels that models name there, and did the last message to each arrive?"""

from __future__ import annotations

from collections.abc import Iterator

import sqlalchemy as sa

from podium.errors import PodiumError
from podium.ledger.deliveries import Deliveries
from podium.ledger.store import Ledger
from podium.names import in_utc
from podium.operations.doctor.findings import Finding, State
from podium.operations.notify.channels import read_channels
from podium.operations.notify.sweep import chosen_channels
from podium.settings import Settings

NOTIFICATIONS = "notifications"
_SETTINGS = "correct PODIUM_NOTIFY_CHANNELS or PODIUM_NOTIFY: docs/notifications.md"


def check_notifications(settings: Settings) -> Iterator[Finding]:
    """Yield how the newest message to each channel came out; the Dag may know channels that are not here."""
    try:
        here, chosen = read_channels(settings), chosen_channels(settings)
    except PodiumError as error:
        yield Finding(NOTIFICATIONS, State.PROBLEM, str(error), _SETTINGS)
        return
    if not here and not chosen:
        yield Finding(
            NOTIFICATIONS, State.NOT_CHECKED, "PODIUM_NOTIFY_CHANNELS is not set: nobody is notified"
        )
        return
    try:
        ledger = Ledger(settings.ledger_url.get_secret_value())
        failures = {failure.channel: failure for failure in Deliveries(ledger).failures({*here, *chosen})}
    except (PodiumError, sa.exc.ArgumentError) as error:
        yield Finding(
            NOTIFICATIONS,
            State.NOT_CHECKED,
            f"the ledger, which records sent notices, could not be read: {error}",
        )
        return
    for channel in sorted({*here, *chosen}):
        part = f"channel {channel}"
        if channel in failures:
            failed = failures[channel]
            remedy = f"correct its address, then `podium notify test {channel}`"
            yield Finding(part, State.PROBLEM, f"failed since {in_utc(failed.at)}: {failed.error}", remedy)
        elif channel not in here:
            observed = "models name it, and PODIUM_NOTIFY_CHANNELS does not"
            yield Finding(part, State.WARNING, observed, "name it there, or as a connection of Airflow")
        else:
            yield Finding(part, State.OK, "no failure since the last message that it accepted")
