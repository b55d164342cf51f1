"""``podium notify``: tell people what there is to tell, or try a channel."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from podium.cli.app import app, console
from podium.errors import PodiumError

group = typer.Typer(name="notify", invoke_without_command=True)
app.add_typer(group)


@group.callback()
def notify(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send and record nothing; print what would be sent.")
    ] = False,
) -> None:
    """Send all open notices once, as the Dag `notify` does each minute.

    Failed and missing runs are found only with PODIUM_LOOKUP_PASSWORD, the password of Podium's own account.
    """
    if ctx.invoked_subcommand is not None:
        return
    from functools import cache

    from podium.names import LOOKUP_ACCOUNT
    from podium.operations.airflow_client import AirflowClient
    from podium.operations.notify.sweep import sweep
    from podium.services import connect

    services = connect()
    url, password = services.settings.airflow_url, services.settings.lookup_password
    airflow = None
    if url and password:
        secret = password.get_secret_value()
        airflow = cache(lambda: AirflowClient(url, LOOKUP_ACCOUNT, secret))
    done = sweep(services, airflow, dry_run=dry_run)
    for notice, channel in done.told:
        console.print(f"{'would tell' if dry_run else 'told'} {channel}: {notice.subject}", highlight=False)
        if dry_run:
            console.print(f"{notice.text}\n{notice.link}\n", highlight=False)
    console.print(f"{len(done.told)} notices, {done.waiting} wait for the end of the quiet hours.")
    for problem in done.failed:
        console.print(f"Not sent: {problem}", style="red")
    if done.failed:
        raise typer.Exit(1)


@group.command()
def test(channel: Annotated[str, typer.Argument(help="A channel of PODIUM_NOTIFY_CHANNELS.")]) -> None:
    """Send a test message to a channel, and print whether the channel accepted it."""
    from podium.operations.notify.channels import EMAIL, read_channels, send
    from podium.reporting.links import airflow_of
    from podium.reporting.notices import trial
    from podium.settings import read_settings

    settings = read_settings()
    channels = read_channels(settings)
    if channel not in channels:
        there = ", ".join(channels) or "none; PODIUM_NOTIFY_CHANNELS names them"
        raise PodiumError(f"no channel '{channel}'; available: {there}")
    if EMAIL in channels[channel]:
        raise PodiumError(f"channel '{channel}' is personal: its address holds {EMAIL}. Try it without")
    if wrong := send(trial(channel, datetime.now(UTC), airflow_of(settings)), channels[channel]):
        raise PodiumError(f"channel '{channel}': {wrong}")
    console.print(f"Channel '{channel}' accepted the test message.")
