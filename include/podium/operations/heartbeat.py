"""``python -m podium.operations.heartbeat scheduler``: does Airflow's API server hear of that part?

For health checks of containers, which run it again and again: it imports nothing but Python's own.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request

PARTS = ("metadatabase", "scheduler", "dag_processor", "triggerer")
_TIMEOUT_SECONDS = 8


def main(arguments: list[str]) -> str | int:
    """Return 0, or what is wrong."""
    if len(arguments) != 1 or arguments[0] not in PARTS:
        return f"name one part: {', '.join(PARTS)}"
    (part,) = arguments
    url = f"{os.environ['PODIUM_AIRFLOW_URL']}/api/v2/monitor/health"
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - from our own settings
            state = json.load(answer)[part]["status"]
    except OSError as error:
        return f"{url}: {error}"
    return 0 if state == "healthy" else f"{part} is {state}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
