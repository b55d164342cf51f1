"""What people see of a version's windows in MLflow: a run of its own, with a picture and the record."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from podium.ledger.events import CHAMPION_MOVES
from podium.monitoring.on_record import recorded_windows
from podium.names import version_name
from podium.reporting.drift_picture import draw
from podium.services import Services

PICTURE, WINDOWS = "drift.png", "windows.json"
# So many windows are in the picture, and the others in the record.
MOST_DRAWN = 200


def keep_picture(services: Services, model: str) -> str:
    """Put the picture of the champion's windows into the run "monitoring of v3" of the model's experiment.

    Args:
        services: The registry and the ledger.
        model: The registered model.

    Returns:
        The MLflow run; "" where no window is on record.

    Raises:
        Outage: The registry or the ledger did not answer.
    """
    windows = sorted(recorded_windows(services.ledger, model), key=lambda one: (one.window, one.version))
    if not windows:
        return ""
    version, moves = windows[-1].version, services.ledger.history(model, kinds=CHAMPION_MOVES)
    run = services.registry.monitoring_run(model, version)
    with TemporaryDirectory(prefix="podium-") as folder:
        draw(windows[-MOST_DRAWN:], Path(folder) / PICTURE, moves)
        of_version = [window.as_json() for window in windows if window.version == version]
        (Path(folder) / WINDOWS).write_text(json.dumps(of_version), encoding="utf-8")
        doing = f"keeping the picture of the windows of {model} {version_name(version)}"
        services.registry.log_folder(run, Path(folder), doing=doing)
    return run
