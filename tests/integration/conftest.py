"""One embedded stack for all integration tests, with a folder of toy models beside the football model."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from podium.settings import PROJECT_ROOT
from podium.stack import control
from podium.stack.layout import Paths
from podium.stack.running_stack import Stack, running_stack
from support.copies import Copied, copy
from support.places import HOME, MODELS, PROJECT, TRAINERS
from support.proved_here import fresh_process, models_are_proved_here
from support.shipped_models import write_shipped_models
from support.toy import SCHEDULED_HOUR, TOY, write_toy_rows

# Of what Airflow's tasks train each model is proved as ever.
__all__ = ["fresh_process", "models_are_proved_here"]


def approval(**changes: Any) -> dict[str, Any]:
    return {"approval": {**TOY["approval"], "approvers": ["approver"], **changes}}


EXAMPLES = PROJECT_ROOT / "examples"
SHOP_DB_URL = f"sqlite:///{PROJECT}/shop.db"
TOYS: dict[str, dict[str, Any]] = {
    "toy": {"schedule": f"0 {SCHEDULED_HOUR} * * *"},
    "toy-hasty": {},
    "toy-reject": {},
    "toy-expire": approval(expires_after="15s"),
    "toy-refused": {"gates": [{"metric": "log_loss", "threshold": 0.0001}]},
    "toy-outage": {},
    "toy-killed": {},
    "toy-minutely": {"schedule": "* * * * *"},
    "toy-marked": {},
    "toy-self": approval(approvers=["admin", "role:Approver"]),
    "toy-quorum": approval(
        approvers=["approver", "admin"], required=2, checklist=["I looked at the calibration"]
    ),
    "toy-late": approval(expires_after="15s"),
    "toy-tampered": {},
    "toy-moved": {},
    "toy-voided": {"champion_moved_outside": "revert"},
    "toy-replayed": {},
    "toy-newer": {},
    "toy-held": {
        "trainer": "trainers.toy:train_when_let",
        "params": {"strength": 1.0, "hold": str(PROJECT / "hold")},
    },
    "toy-told": {"notify": {"approval_wanted": ["hook"], "decided": ["hook"]}},
    "toy-monitored": {
        "gates": [{"metric": "log_loss", "threshold": 5}],
        "monitoring": {
            "windows": "0 0 * * 1",
            "alarms": {"at_most_one_in": 10},
            "tolerance": 0.2,
            "retraining": {"cool_down": "14d"},
        },
    },
    "toy-old": {
        "retention": {
            **{"former_champions": 1, "versions": 1, "days": 0, "quarantine_days": 14},
            "ask_above": {"versions": 1},
        }
    },
    "toy-watched": {"watch": {"rows": 1000, "labelled_rows": 0, "auto_rollback": "on"}},
    "toy-ramped": {
        "trainer": "trainers.toy:train_with_squares",
        "params": {"strength": 1.0, "squares": False},
        "ramp": {"steps": [50, 90], "each": {"rows": 5}, "at_most": "1h"},
    },
    "toy-scored": {
        "scoring": {
            "source": str(PROJECT / "new"),
            "output": str(PROJECT / "scores" / "toy"),
            "keys": ["id"],
        },
        "monitoring": {"windows": "0 0 * * *", "min_rows": 5},
    },
}


def write_models() -> None:
    """Add models as a user does: a model file and a trainer each, here in folders of the tests' own."""
    shutil.rmtree(PROJECT, ignore_errors=True)
    write_shipped_models(PROJECT)
    TRAINERS.mkdir()
    write_toys()
    write_examples()


def write_toys() -> None:
    """Add the toy models, on rows of 600 days until tomorrow."""
    shutil.copy(PROJECT_ROOT / "tests" / "support" / "toy_trainer.py", TRAINERS / "toy.py")
    first_day = datetime.now(UTC).date() - timedelta(days=598)
    write_toy_rows(MODELS / "toy.csv", first_day=first_day.isoformat())
    for name, changes in TOYS.items():
        content = {**TOY, **approval(), "name": name, "trainer": "trainers.toy:train", **changes}
        rows = "monitored.csv" if name == "toy-monitored" else "toy.csv"
        content["data"] = {**TOY["data"], "source": str(MODELS / rows)}
        (MODELS / f"{name}.yaml").write_text(yaml.safe_dump(content))


def write_examples() -> None:
    """Add the models of `examples/` as their pages say; the Dag of one is in a bundle of its own."""
    for name in ("training-elsewhere/churn.yaml", "adopted/credit.yaml"):
        shutil.copy(EXAMPLES / name, MODELS)
    shutil.copy(EXAMPLES / "adopted" / "credit_trainer.py", TRAINERS / "credit.py")
    _run(EXAMPLES / "churn_rows.py")
    shutil.copytree(EXAMPLES / "lightgbm", PROJECT / "include", dirs_exist_ok=True)
    lightgbm = MODELS / "churn_lightgbm.yaml"
    lightgbm.write_text(lightgbm.read_text().replace("source: include", f"source: {PROJECT}/include"))
    _run(EXAMPLES / "sql" / "make_rows.py")
    shutil.copy(EXAMPLES / "sql" / "late_payment.yaml", MODELS)
    shutil.copy(EXAMPLES / "sql" / "late_payment.py", TRAINERS)
    _run(
        "-m",
        "podium",
        "new-model",
        "churn-made",
        "--from",
        PROJECT / "include/data/churn",
        "--label",
        "churned",
        "--yes",
    )


def _run(*words: str | Path) -> None:
    """Run a program of the examples, or Podium's, in the toy project."""
    paths = os.pathsep.join(map(str, (PROJECT_ROOT / "include", TRAINERS.parent)))
    home = {"PODIUM_HOME": str(PROJECT), "PODIUM_MODELS_DIR": str(MODELS)}
    subprocess.run(
        [sys.executable, *map(str, words)],
        check=True,
        cwd=PROJECT,
        env={**os.environ, **home, "SHOP_DB_URL": SHOP_DB_URL, "PYTHONPATH": paths},
    )


def bundles() -> str:
    """Return where the stack's Dags are: those of the project, and that of the example."""
    local = "airflow.dag_processing.bundles.local.LocalDagBundle"
    folders = {"dags-folder": {}, "example": {"path": str(EXAMPLES / "training-elsewhere")}}
    return json.dumps(
        [{"name": name, "classpath": local, "kwargs": kwargs} for name, kwargs in folders.items()]
    )


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The whole embedded stack, from an empty state."""
    control.clean(Paths(HOME))
    write_models()
    path = os.pathsep.join(map(str, (PROJECT_ROOT / "include", PROJECT_ROOT / "plugins", TRAINERS.parent)))
    environment = {"PODIUM_MODELS_DIR": str(MODELS), "PYTHONPATH": path, "PODIUM_EPHEMERAL": "false"}
    environment["SHOP_DB_URL"] = SHOP_DB_URL
    environment["AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST"] = bundles()
    # So many models are a tenth of a core every 30 seconds, and what is there at the start is seen at once.
    environment["AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL"] = "300"
    # Each look of the scheduler costs tens of milliseconds, more with each run that is parked.
    environment["AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME"] = "1"
    with running_stack(HOME, extra_airflow_env=environment) as running:
        yield running


@pytest.fixture(scope="session")
def models() -> Path:
    return MODELS


@pytest.fixture(scope="session")
def copied(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copied]:
    """A second stack without Airflow, restored from a backup of the first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PODIUM_MODELS_DIR", str(MODELS))
        yield from copy(stack, tmp_path_factory.mktemp("backups") / "backup", patch)
