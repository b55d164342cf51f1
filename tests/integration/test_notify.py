"""Who waits for an answer is told by the Dag `notify`, once, with a link that leads to the decision."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import pytest

from podium.operations.airflow_client import AirflowClient
from podium.services import Services
from support.airflow import LifecycleRun, get, send, wait_for_event, wait_for_run
from support.patience import PATIENCE_SECONDS
from support.receiving import Inbox, webhook

SECRET = "hunter3-secret"
CONNECTION = "podium_notify_hook"


@pytest.fixture
def hook(admin: AirflowClient) -> Iterator[Inbox]:
    """A webhook that Airflow knows as a connection, as a secrets backend would give it."""
    with webhook(SECRET) as inbox:
        extra = {"config": {"path": inbox.url, "tag": "podium"}}
        content = {"connection_id": CONNECTION, "conn_type": "apprise", "extra": json.dumps(extra)}
        send(admin, "POST", "/api/v2/connections", content).raise_for_status()
        yield inbox
        send(admin, "DELETE", f"/api/v2/connections/{CONNECTION}", {})


def look(operator: AirflowClient) -> str:
    """Run the Dag once; returns the log of its task."""
    run_id = operator.trigger("notify", {})
    assert wait_for_run(operator, "notify", run_id) == "success"
    log = get(operator, f"/api/v2/dags/notify/dagRuns/{run_id}/taskInstances/tell/logs/1")
    return json.dumps(log)


def test_approvers_are_told_what_waits_with_a_link_that_works_and_then_what_was_decided(
    start: Callable[..., LifecycleRun],
    operator: AirflowClient,
    approver: AirflowClient,
    stack_services: Services,
    hook: Inbox,
) -> None:
    run = start("toy-told")
    asked = wait_for_event(stack_services, "toy-told", "approval_requested")
    log = look(operator)
    (wanted,) = hook.got
    assert wanted["event"] == "approval_wanted"
    assert "toy-told v1" in wanted["title"]
    assert "Notified hook: " in log
    assert SECRET not in log
    assert wanted["link"] == f"{operator.url}/podium/decisions/{asked.seq}"
    page = approver._session.get(wanted["link"], timeout=PATIENCE_SECONDS)
    assert page.status_code == 200
    assert "v1 becomes the first champion" in page.text
    look(operator)
    assert len(hook.got) == 1, "told twice"
    run.approve(approver)
    wait_for_event(stack_services, "toy-told", "approved")
    look(operator)
    assert [posted["event"] for posted in hook.got] == ["approval_wanted", "decided"]
    assert run.wait_for_end() == "success"
