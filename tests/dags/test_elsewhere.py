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


def test_the_documented_pod_and_the_documented_queue_are_what_airflow_would_start(
    run_script: Callable[..., dict[str, Any]],
) -> None:
    found = run_script(
        "training_forms.py",
        DOCUMENT=str(PROJECT_ROOT / "docs" / "training-elsewhere.md"),
        EXAMPLE=str(EXAMPLE / "train_churn.py"),
        AIRFLOW__CORE__EXECUTOR="CeleryExecutor",
        PODIUM_MODELS_DIR=str(EXAMPLE),
    )
    for form in ("in_a_pod", "on_a_queue"):
        assert found[form]["after"] == {"train": [], "tell": ["train"]}
        assert found[form]["outlets"] == ["trained churn"]
    pod = found["in_a_pod"]["pod"]["spec"]
    job, sidecar = pod["containers"]
    assert (job["image"], job["command"]) == (
        "registry.example.com/podium-train:1",
        ["python", "/jobs/train_churn.py"],
    )
    assert job["resources"]["limits"] == {"nvidia.com/gpu": "8", "memory": "256Gi"}
    assert job["envFrom"] == [{"secretRef": {"name": "podium-registry-login"}}]
    # The sidecar hands the run's id over from here.
    assert "/airflow/xcom" in [mount["mountPath"] for mount in job["volumeMounts"]]
    assert "/airflow/xcom" in [mount["mountPath"] for mount in sidecar["volumeMounts"]]
    assert found["on_a_queue"]["queues"]["train"] == found["worker"] == "cards"
