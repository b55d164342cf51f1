"""What a team brings along, on real Airflow: its tables and frameworks, its trainings, its registry."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from podium.ledger.events import EventKind
from podium.model_file.loading import find_spec
from podium.names import Tag
from podium.operations.airflow_client import AirflowClient
from podium.services import Services
from podium.settings import PROJECT_ROOT
from podium.stack.running_stack import Stack
from support.airflow import LifecycleRun, get, wait_for, wait_for_event, wait_for_run
from support.command_line import commands_of, podium
from support.places import MODELS

EXAMPLES = PROJECT_ROOT / "examples"
ADOPT = PROJECT_ROOT / "docs" / "adopt.md"


BROUGHT = {
    "late-payment": "a query of SHOP_DB_URL (sha256 ",
    "churn-lightgbm": "3 files, sha256 of their names and bytes ",
    "churn-made": "3 files, sha256 of their names and bytes ",
}


def test_a_query_a_booster_and_a_proposed_model_become_champions(
    operator: AirflowClient, approver: AirflowClient, stack_services: Services, tmp_path: Path
) -> None:
    started = []
    for name in BROUGHT:
        spec = find_spec(MODELS, name)
        operator.wait_for_dag(spec.lifecycle_dag_id)
        operator.set_paused(spec.lifecycle_dag_id, paused=False)
        started.append(LifecycleRun(operator, spec, operator.trigger(spec.lifecycle_dag_id, {})))
    for run in started:
        run.wait_for_card()
        run.approve(approver)
    for run in started:
        assert run.wait_for_end() == "success"
        assert wait_for_event(stack_services, run.spec.name, EventKind.PROMOTED).version == 1
        registered = wait_for_event(stack_services, run.spec.name, EventKind.REGISTERED)
        assert registered.details[Tag.DATA_SOURCE].startswith(BROUGHT[run.spec.name])
    stack_services.registry.download("churn-lightgbm", 1, tmp_path)
    assert list(tmp_path.rglob("model.lgb"))


def test_a_dag_of_somebody_elses_trains_and_the_lifecycle_starts_with_its_run(
    operator: AirflowClient, approver: AirflowClient, stack_services: Services
) -> None:
    spec = find_spec(MODELS, "churn")
    for dag_id in ("train_churn", spec.lifecycle_dag_id):
        operator.wait_for_dag(dag_id)
        operator.set_paused(dag_id, paused=False)
    source = operator.trigger("train_churn", {})
    assert wait_for_run(operator, "train_churn", source) == "success"
    found = wait_for(
        lambda: get(operator, f"/api/v2/dags/{spec.lifecycle_dag_id}/dagRuns")["dag_runs"],
        "the asset starts the lifecycle",
    )
    run = LifecycleRun(operator, spec, found[0]["dag_run_id"])
    assert found[0]["run_type"] == "asset_triggered"
    card = run.wait_for_card()
    assert "training run" in card
    asked = wait_for_event(stack_services, "churn", EventKind.APPROVAL_REQUESTED)
    assert asked.details["requester"] == "operator"
    run.approve(approver)
    assert run.wait_for_end() == "success"
    promoted = wait_for_event(stack_services, "churn", EventKind.PROMOTED)
    registered = wait_for_event(stack_services, "churn", EventKind.REGISTERED)
    assert (promoted.version, registered.version) == (1, 1)
    assert registered.details["podium.as_of"] == "2025-08-29T00:00:00"
    assert registered.details["podium.trained_on"].startswith("2025-01-01 to 2025-06-29")
    assert registered.details["podium.judged_on"].startswith("2025-06-30 to 2025-08-28")


@pytest.fixture
def filled(stack: Stack, stack_services: Services) -> None:
    """The registry of the example, as its script fills it."""
    script = EXAMPLES / "adopted" / "fill_registry.py"
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, env=stack.client_env()
    )
    assert done.returncode == 0, done.stderr


def test_a_registry_is_adopted_by_the_documented_commands_and_its_champion_is_gone_back_to(
    filled: None, stack: Stack, approver: AirflowClient, stack_services: Services
) -> None:
    approver.wait_for_dag("adopt_model")
    dry, real, look, back = commands_of(ADOPT)
    tried = podium(stack, *_words(dry))
    assert tried.returncode == 0, tried.stderr
    assert "credit: 3 versions would be adopted, champion v3, and v2 as the one before" in tried.stdout
    assert stack_services.ledger.history("credit") == []
    as_approver, as_operator = (
        {"PODIUM_AIRFLOW_USER": name, "PODIUM_AIRFLOW_PASSWORD": stack.passwords[name]}
        for name in ("approver", "operator")
    )
    refused = podium(stack, *_words(real), **as_operator)
    assert refused.returncode == 1
    assert stack_services.ledger.history("credit") == []
    adopted = podium(stack, *_words(real), **as_approver)
    assert adopted.returncode == 0, adopted.stderr
    assert "credit: 3 versions adopted" in adopted.stdout
    assert "champion v3, by approver" in adopted.stdout
    assert stack_services.registry.aliases("credit") == {
        "production": 3,
        "previous_champion": 2,
        "champion": 3,
    }
    checked = podium(stack, *_words(look))
    assert "credit" in checked.stdout
    gone_back = podium(stack, *_words(back), **as_operator)
    assert gone_back.returncode == 0, gone_back.stderr
    assert "champion v3 -> v2" in gone_back.stdout
    assert wait_for_event(stack_services, "credit", EventKind.ROLLED_BACK).version == 2


def _words(command: str) -> list[str]:
    return shlex.split(command, comments=True)
