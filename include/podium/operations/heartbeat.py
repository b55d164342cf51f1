"""Does Airflow's API server hear of a part? For health checks of containers, which run again and again."""

from __future__ import annotations

import json
import os
import urllib.request

from podium.errors import Outage, PodiumError

PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")
_TIMEOUT_SECONDS = 8


def assert_healthy(part: str) -> None:
    """Ask the API server at ``PODIUM_AIRFLOW_URL`` for the state of one part of Airflow.

    Raises:
        PodiumError: There is no such part, or nobody said where Airflow is.
        Outage: The API server did not answer, or it does not hear of that part.
    """
    if part not in PARTS:
        raise PodiumError(f"Airflow has no part '{part}'; name one of {', '.join(PARTS)}")
    # Not by the settings: pydantic-settings takes longer to import than all the rest of this.
    address = os.environ.get("PODIUM_AIRFLOW_URL")
    if not address:
        raise PodiumError("PODIUM_AIRFLOW_URL not set: the address of Airflow")
    url = f"{address}/api/v2/monitor/health"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - from our own settings
            state = json.load(answer)[part]["status"]
    except (OSError, ValueError, KeyError) as error:
        raise Outage(f"{url} did not report the state of the {part}: {error}") from error
    if state != "healthy":
        raise Outage(f"Airflow's {part} is {state}")
