"""The example Dag that trains elsewhere, and the lifecycle that starts with its run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from podium.ledger.store import Ledger
from podium.settings import PROJECT_ROOT

EXAMPLE = PROJECT_ROOT / "examples" / "training-elsewhere"


def test_the_run_of_the_example_dag_becomes_a_version_and_its_asker_is_known(
    run_script: Callable[..., dict[str, Any]], own_ledger: Ledger, tmp_path: Path
) -> None:
    shutil.copy(EXAMPLE / "churn.yaml", tmp_path)
    found = run_script(
        "train_elsewhere.py",
        EXAMPLE=str(EXAMPLE),
        PODIUM_MODELS_DIR=str(tmp_path),
        PODIUM_HOME=str(PROJECT_ROOT),
        PODIUM_LEDGER_URL=own_ledger.engine.url.render_as_string(hide_password=False),
        MLFLOW_TRACKING_URI=f"sqlite:///{tmp_path}/mlflow.db",
    )
    assert found["taken"] == found["run"]
    assert (found["version"], found["asked by"]) == (1, "olga")
    (registered,) = own_ledger.history("churn")
    assert registered.details["podium.as_of"] == "2025-08-29T00:00:00"
    assert registered.details["podium.trained_on"] == "2025-01-01 to 2025-06-29 (540 rows)"
    assert registered.details["podium.judged_on"] == "2025-06-30 to 2025-08-28 (180 rows)"
    assert registered.details["example"]["answer"]
