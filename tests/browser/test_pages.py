"""What people do on Podium's pages, in a real browser, on a real stack: most of it inside Airflow's frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from podium.ledger import history
from podium.ledger.events import EventKind
from podium.lifecycle import approval
from podium.lifecycle.reconcile import reconcile_all
from podium.model_file.loading import load_spec
from podium.reporting.links import decision_page, model_page, models_page
from podium.services import Services
from podium.stack.running_stack import Stack
from support.airflow import LifecycleRun
from support.mlflow_client import raw

if TYPE_CHECKING:
    from playwright.sync_api import FrameLocator, Page

REASON = "the calibration looks right in every region"
FRAME = "/plugin/models"
WAIT_MS = 150_000


@pytest.fixture
def waiting(start: Callable[..., LifecycleRun], services: Services) -> Callable[..., int]:
    """Let a version wait for the approver; returns the number of the request."""

    def run(model: str, **form: Any) -> int:
        lifecycle = start(model, **form)
        lifecycle.wait_for_card()
        return approval.find_request(services, lifecycle.reference).seq

    return run


def framed(page: Page) -> FrameLocator:
    """What Airflow shows in its frame."""
    return page.frame_locator("iframe").first


def champion(services: Services, model: str) -> int | None:
    return history.champion(services.ledger.present(model))


def test_an_approver_finds_reads_and_answers_in_airflows_frame(
    visit: Callable[..., Page], waiting: Callable[..., int], services: Services
) -> None:
    waiting("churn-next-month")
    page = visit("approver", "/")
    page.get_by_role("link", name="Models", exact=True).click()
    seen = framed(page)
    seen.get_by_label("Search (model, owner, words)").fill("retention")
    seen.get_by_text("1 of 6 shown").wait_for()
    seen.get_by_role("link", name="Decide churn-next-month").click()
    seen.get_by_text("v1 becomes the first champion: log loss 0.").wait_for()
    assert seen.get_by_text("Whether a customer leaves").count() == 0
    seen.get_by_role("img", name="calibration").first.wait_for()
    seen.get_by_label("Reason, at least 10").fill("ok")
    seen.get_by_role("button", name="Approve v1").click()
    seen.get_by_text("Not sent: the reason has 2 letters and digits, at least 10 are required.").wait_for()
    assert not services.ledger.newest(["churn-next-month"], [EventKind.ANSWER_INVALID])["churn-next-month"]
    seen.get_by_label("Reason, at least 10").fill(REASON)
    seen.get_by_role("button", name="Approve v1").click()
    seen.get_by_text("your approval counts (1 of 1 approvals)").wait_for()
    # The page follows by itself.
    seen.get_by_text("v1 is promoted: it became champion").wait_for(timeout=WAIT_MS)
    assert champion(services, "churn-next-month") == 1
    # Airflow's address names the page, so that it can be sent to somebody.
    assert urlsplit(page.url).path.startswith(f"{FRAME}/podium/decisions/")
    seen.get_by_role("link", name="All models").click()
    seen.get_by_label("Health").check()
    row = seen.get_by_role("row").filter(has_text="churn-next-month")
    assert "v1" in row.inner_text()


def test_an_operator_sees_all_and_decides_nothing(
    visit: Callable[..., Page], waiting: Callable[..., int], stack: Stack
) -> None:
    asked = waiting("basket-return")
    page = visit("operator", urlsplit(decision_page(stack.airflow_url, asked)).path)
    assert "operator is not an approver (approvers: approver)" in page.inner_text("main")
    assert page.get_by_role("button").count() == 0
    page.goto(models_page(stack.airflow_url))
    assert page.get_by_role("link", name="Look basket-return").is_visible()


def test_a_rollback_a_settlement_and_a_training_are_asked_for_by_the_page(
    visit: Callable[..., Page],
    promoted: Callable[..., LifecycleRun],
    days_ago: Callable[[int], str],
    services: Services,
    stack: Stack,
) -> None:
    model = "parcel-delay"
    promoted(model, as_of=days_ago(60))
    promoted(model, as_of=days_ago(30))
    address = urlsplit(model_page(stack.airflow_url, model)).path
    page = visit("operator", address)
    page.get_by_text("Roll back", exact=True).first.click()
    form = page.locator("form[action$='/rollback']")
    assert form.get_by_label("v1, champion from").is_checked()
    form.get_by_label("Reason, at least 10").fill("Complaints about parcels in the north")
    form.get_by_role("button", name="Roll back").click()
    page.get_by_text(
        "v1 became champion again by a rollback by operator: Complaints about parcels"
    ).first.wait_for(timeout=WAIT_MS)
    assert champion(services, model) == 1
    assert page.locator("svg .down").count() == 1

    raw(services.registry).set_registered_model_alias(model, "champion", "2")
    approver = visit("approver", address)
    approver.get_by_text("MLflow's champion is v2, the ledger's is v1").wait_for()
    # As its Dag does every five minutes.
    reconcile_all(services, [load_spec(services.settings.models_dir / f"{model}.yaml")])
    approver.reload()
    approver.get_by_label("Back to v1, the recorded champion").check()
    approver.get_by_label("Reason, at least 10").first.fill("nobody may move it by hand")
    approver.get_by_role("button", name="Settle").click()
    settled = "the move outside was reverted by approver: nobody may move it by hand"
    approver.get_by_text(settled).first.wait_for(timeout=WAIT_MS)

    page.goto(stack.airflow_url + address)
    page.get_by_text("Train", exact=True).first.click()
    page.get_by_label("Train on what was known").fill(days_ago(10)[:10])
    page.get_by_role("button", name="Start a run").click()
    page.get_by_text("Started. Airflow says:").wait_for()


def test_no_page_has_a_serious_fault_for_screen_readers(
    visit: Callable[..., Page],
    promoted: Callable[..., LifecycleRun],
    waiting: Callable[..., int],
    days_ago: Callable[[int], str],
    stack: Stack,
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    model = "invoice-fraud"
    promoted(model, as_of=days_ago(60))
    asked = waiting(model)
    page = visit("approver", "/podium/models")
    addresses = (
        "models",
        f"models/{model}?version=1",
        f"decisions/{asked}",
        "models/none",
        "dags/settle_champion",
    )
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for address in addresses:
            page.goto(f"{stack.airflow_url}/podium/{address}")
            for closed in page.locator("summary").all():
                closed.click()
            found = Axe().run(page).response["violations"]
            serious = {
                one["id"]: [node["html"] for node in one["nodes"]]
                for one in found
                if one["impact"] in ("serious", "critical")
            }
            assert not serious, f"{address}, {scheme}"


def test_the_tab_of_a_dag_shows_its_model(visit: Callable[..., Page], stack: Stack) -> None:
    page = visit("viewer", "/podium/models")
    page.goto(f"{stack.airflow_url}/dags/lifecycle_parcel_delay")
    page.get_by_role("tab", name="Model").or_(
        page.get_by_role("link", name="Model", exact=True)
    ).first.click()
    framed(page).get_by_role("heading", name="parcel-delay").wait_for()
    page.goto(f"{stack.airflow_url}/dags/settle_champion/plugin/model")
    framed(page).get_by_text("The Dag settle_champion is no model's").wait_for()
