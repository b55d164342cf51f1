"""The task that judges watch windows waits through an outage, and leaves no open window unwatched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture(scope="module")
def seen(run_script: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What ``watch_waits.py`` saw."""
    away = {"PODIUM_LEDGER_URL": "postgresql+psycopg2://nobody@127.0.0.1:1/ledger"}
    return run_script("watch_waits.py", MLFLOW_TRACKING_URI="http://127.0.0.1:1", **away)


def test_while_the_ledger_is_away_the_trigger_waits(seen: dict[str, Any]) -> None:
    assert seen["looks left"] == 0


def test_it_waits_as_long_as_a_window_is_open_and_nothing_came_of_it(seen: dict[str, Any]) -> None:
    assert seen["open"] == {"waits": [], "next": []}
    assert seen["last"] == {"waits": None, "next": []}


def test_a_run_that_was_started_to_ask_people_is_started_once(seen: dict[str, Any]) -> None:
    assert seen["about to ask"] == {"waits": ["propose_rollback/verdict-7"], "next": []}


@pytest.mark.parametrize("what", ["proposed", "rolled back", "closed"])
def test_where_it_ends_for_one_window_a_run_is_started_for_the_others(
    seen: dict[str, Any], what: str
) -> None:
    assert seen[what] == {"waits": None, "next": [{"trigger_run_id": "after__2026-05-01T00:00:00+00:00"}]}
