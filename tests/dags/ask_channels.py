"""Print which channels are connections of Airflow."""

import json

from podium_airflow.notifying import connected_channels

print(json.dumps(connected_channels(["ml-team", "gone"])))
