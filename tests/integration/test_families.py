"""The other shipped models go through the same chain: trained, judged, approved, promoted, rolled back."""

from __future__ import annotations

from collections.abc import Callable

from podium.airflow_client import AirflowClient
from podium.parts import Parts
from support.airflow import LifecycleRun, events_of

PROMOTED = ["registered", "gates_passed", "nominated", "approval_requested", "approved"]
PROMOTED += ["promotion_started", "promoted"]
# Two days each: the made-up sales end on 2015-07-31; bug reports and code tasks are known at any time.
AS_OF = {
    "rossmann-ensemble": ("2015-07-20", "2015-08-01"),
    "bug-severity-clf": ("2026-01-01", "2026-02-01"),
    "code-generation": ("2026-01-01", "2026-02-01"),
}


def test_each_family_is_promoted_twice_and_rolled_back(
    start: Callable[..., LifecycleRun],
    operator: AirflowClient,
    approver: AirflowClient,
    stack_parts: Parts,
) -> None:
    for place in (0, 1):
        runs = {model: start(model, as_of=days[place]) for model, days in AS_OF.items()}
        for model, run in runs.items():
            run.approve(approver)
            assert run.wait_for_end() == "success"
            assert run.came_out() == "promote", model
    operator.set_paused("rollback_champion", paused=False)
    back = {
        model: operator.trigger("rollback_champion", {"model": model, "reason": "complaints"})
        for model in AS_OF
    }
    for model, run_id in back.items():
        assert operator.wait_for_end("rollback_champion", run_id) == "success"
        told = [event for event, _, _ in events_of(stack_parts, model)]
        assert [event for event in told if event != "asked_again"] == [
            *PROMOTED,
            *PROMOTED,
            "rollback_started",
            "rolled_back",
        ]
        assert stack_parts.registry.aliases(model) == {"champion": 1}
