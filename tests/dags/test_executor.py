from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from podium.stack.environment import base_env
from support.compose import settings_of


@pytest.fixture(scope="module")
def seen(run_script: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What ``load_libraries.py`` saw where the stack's scheduler would be."""
    environment = base_env(os.environ) | settings_of("deploy/local-executor.env")
    return run_script("load_libraries.py", **environment)


def test_only_a_scheduler_that_forks_loads_the_libraries(seen: dict[str, Any]) -> None:
    assert seen["executor"] == "PreloadingLocalExecutor"
    assert seen["when_imported"] == []
    assert seen["when_started_without_fork"] == []
    assert {"mlflow", "pandas", "sklearn", "matplotlib", "skops"} <= set(seen["when_started"])


def test_what_people_edit_is_not_loaded(seen: dict[str, Any]) -> None:
    assert seen["ours"] == []


def test_loading_starts_no_python_thread_and_a_task_has_one_thread(seen: dict[str, Any]) -> None:
    assert seen["python_threads"] == ["MainThread"]
    assert [task["threads"] for task in seen["tasks"]] == [1, 1]
    assert [task["product"] for task in seen["tasks"]] == [300.0, 300.0]


def test_a_task_gives_the_memory_of_its_tables_back(seen: dict[str, Any]) -> None:
    assert [task["allocator"] for task in seen["tasks"]] == ["system", "system"]


def test_each_task_has_random_numbers_of_its_own(seen: dict[str, Any]) -> None:
    first, second = seen["tasks"]
    assert first["random"] != second["random"]
    # What a task forks starts where the task is, as without all this: a seeded training stays repeatable.
    assert first["forked"] == first["random"]


def test_workers_that_are_started_after_one_died_find_the_tasks_that_wait(seen: dict[str, Any]) -> None:
    assert seen["tasks_wait"] is True


def test_an_approval_that_is_answered_at_once_is_not_taken_for_killed(seen: dict[str, Any]) -> None:
    assert seen["told_of_an_approval_answered_at_once"] == [[], ["approve"]]


def test_loading_is_silent(seen: dict[str, Any]) -> None:
    assert seen["warnings_of_airflow"] == []


def test_the_workers_of_a_killed_scheduler_end(run_script: Callable[..., dict[str, Any]]) -> None:
    environment = base_env(os.environ) | settings_of("deploy/local-executor.env")
    assert run_script("kill_scheduler.py", **environment) == {"workers": 2, "ended_before": 0, "left": 0}
