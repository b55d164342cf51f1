"""What Podium relies on of Airflow without its promise: each test says what changed, and where we use it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from podium.settings import PROJECT_ROOT
from support.private_apis import AIRFLOW, PrivateApi, uses_of


@pytest.fixture(scope="module")
def seen(run_script: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What ``private_apis.py`` saw."""
    folders = (PROJECT_ROOT / name for name in ("include", "plugins", "tests"))
    return run_script("private_apis.py", PYTHONPATH=":".join(map(str, folders)))


@pytest.mark.parametrize("api", AIRFLOW, ids=lambda api: api.path)
def test_a_private_name_is_as_we_use_it(api: PrivateApi, seen: dict[str, Any]) -> None:
    difference = seen["differences"][api.path]
    assert not difference, f"{api.path}, used in {api.uses()}: {difference}"


def test_airflow_knows_every_setting_that_we_set(seen: dict[str, Any]) -> None:
    assert seen["unknown_settings"] == []


def test_fab_knows_everything_that_our_roles_may(seen: dict[str, Any]) -> None:
    assert seen["unknown_permissions"] == [], "plugins/podium_airflow/roles.py"


def test_a_boolean_is_read_up_to_a_hash(seen: dict[str, Any]) -> None:
    assert seen["boolean_up_to_a_hash"] is True, "docker-compose.yaml switches metrics on by it"


def test_a_lazy_module_warns_in_the_words_that_we_silence(seen: dict[str, Any]) -> None:
    assert re.match(r"The `airflow\.", seen["lazy_module"]), (
        f"{seen['lazy_module']}, {uses_of(r'The `airflow')}"
    )


def test_an_answer_comes_with_the_keys_that_the_approval_sensor_reads(seen: dict[str, Any]) -> None:
    assert {
        "chosen_options": "['Approve']",
        "params_input": "{'reason': 'why'}",
        "responded_at": "2026-01-01 00:00:00+00:00",
        "responded_by_user": "{'id': '1', 'name': 'amy'}",
    }.items() <= seen["answer"].items(), "plugins/podium_airflow/approval_sensor.py"


def test_an_expiry_comes_as_the_error_that_the_approval_sensor_reads(seen: dict[str, Any]) -> None:
    assert seen["expires_as_timeout"], "plugins/podium_airflow/approval_sensor.py"


def test_the_executor_says_whether_it_forks(seen: dict[str, Any]) -> None:
    assert seen["executor"] == ["is_mp_using_fork"], "plugins/podium_airflow/executor.py"


def test_airflows_tables_are_as_a_backup_reads_them(seen: dict[str, Any]) -> None:
    assert seen["tables"] == ["dag_run", "variable", "ab_user"], "operations/backup/databases.py"
    assert {"username", "created_by_fk", "changed_by_fk"} <= set(seen["columns_of_users"])
