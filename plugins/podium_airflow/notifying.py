"""Channels that are connections of Airflow: `podium_notify_<channel>`, of Apprise's kind."""

from __future__ import annotations

from collections.abc import Iterable

from airflow.sdk.exceptions import AirflowNotFoundException

from podium.errors import PodiumError

PREFIX = "podium_notify_"


def connected_channels(names: Iterable[str]) -> dict[str, str]:
    """Return the addresses of the channels that are connections of Airflow, or of its secrets backend.

    Raises:
        PodiumError: A connection has another number of addresses than one.
    """
    return {name: url for name in sorted({*names}) if (url := _address(PREFIX + name.replace("-", "_")))}


def _address(connection: str) -> str | None:
    from airflow.providers.apprise.hooks.apprise import AppriseHook

    hook = AppriseHook(connection)
    try:
        config = hook.get_config_from_conn(hook.get_connection(connection))
    except AirflowNotFoundException:
        return None  # There is no such connection: the environment names the channel, or nobody does.
    entries = config if isinstance(config, list) else [config]
    if len(entries) != 1:
        raise PodiumError(
            f"the connection {connection} has {len(entries)} addresses; give each its own channel"
        )
    return str(entries[0]["path"])
