"""What people do on Podium's pages, in a real browser, on a real stack: most of it inside Airflow's frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest

from podium.ledger import history
from podium.ledger.events import EventKind, NewEvent
from podium.lifecycle import approval
from podium.lifecycle.reconcile import reconcile_all
from podium.model_file.loading import load_spec
from podium.operations.airflow_client import AirflowClient
from podium.reporting.links import decision_page, model_page, models_page
from podium.services import Services
from podium.stack.running_stack import Stack
from support.airflow import LifecycleRun, get, wait_for_run
from support.mlflow_client import raw
from support.retained import add_version

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FrameLocator, Locator, Page

REASON = "the calibration looks right in every region"
FRAME = "/plugin/models"
WAIT_MS = 150_000


@pytest.fixture(scope="session")
def waiting(start: Callable[..., LifecycleRun], services: Services) -> Callable[..., int]:
    """Let a version wait for the approver; returns the number of the request."""

    def run(model: str, **form: Any) -> int:
        lifecycle = start(model, **form)
        lifecycle.wait_for_card()
        return approval.find_request(services, lifecycle.reference).seq

    return run


@pytest.fixture(scope="session")
def invoices(
    promoted: Callable[..., LifecycleRun], waiting: Callable[..., int], days_ago: Callable[[int], str]
) -> int:
    """Let a version wait that would replace a champion; returns the number of the request."""
    promoted("invoice-fraud", as_of=days_ago(60))
    return waiting("invoice-fraud")


def framed(page: Page) -> FrameLocator:
    """What Airflow shows in its frame."""
    return page.frame_locator("iframe").first


def note_of_the_run(page: Page, client: AirflowClient) -> str:
    """Wait until the run that a page shows has ended, and return its note."""
    (run,) = parse_qs(urlsplit(page.url).query)["run"]
    dag_id, _, run_id = run.partition("/")
    assert wait_for_run(client, dag_id, run_id) == "success"
    return str(get(client, f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}")["note"])


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
    # The page updates itself.
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
    client: Callable[[str], AirflowClient],
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
        "v1 became champion again in a rollback by operator: Complaints about parcels"
    ).first.wait_for(timeout=WAIT_MS)
    assert champion(services, model) == 1
    assert page.locator("svg .down").count() == 1
    noted = note_of_the_run(page, client("viewer"))
    assert noted.startswith(f"{model}: v1 became champion again in a rollback by operator: Complaints")

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
    assert settled in note_of_the_run(approver, client("viewer"))

    page.goto(stack.airflow_url + address)
    page.get_by_text("Train", exact=True).first.click()
    page.get_by_label("Train on what was known").fill(days_ago(10)[:10])
    page.get_by_role("button", name="Start a run").click()
    page.get_by_text("Started. State in Airflow:").wait_for()


def test_an_approver_holds_an_old_version_and_sees_what_came_of_it(
    visit: Callable[..., Page], services: Services, stack: Stack
) -> None:
    model = "late-payment"
    number = add_version(services, model)
    name = f"v{number}"
    services.ledger.append(NewEvent(EventKind.QUARANTINED, model, number))
    page, stale = (visit("approver", f"/podium/models/{model}") for _ in range(2))
    page.get_by_text("in quarantine, and stays there").wait_for()
    page.get_by_role("button", name=f"Hold {name}").click()
    page.get_by_text("Not sent: the reason has 0 letters and digits").first.wait_for()
    for button, reason, said in (
        (f"Hold {name}", "a court asks for it", f"{name} is held by approver: a court asks for it"),
        (
            f"Restore {name}",
            "and it is used again",
            f"{name} was restored from quarantine by approver: and it",
        ),
    ):
        page.locator("#keep-reason").fill(reason)
        page.get_by_role("button", name=button).click()
        page.get_by_text(said).first.wait_for(timeout=WAIT_MS)
    page.get_by_role("button", name=f"Release {name}").wait_for()
    # What is refused records nothing; the note of the run says why.
    stale.locator("#keep-reason").fill("a court asks for it")
    stale.get_by_role("button", name=f"Hold {name}").click()
    stale.get_by_text(f"{model} {name} is held already, by approver: a court").wait_for(timeout=WAIT_MS)


def test_no_page_has_a_serious_fault_for_screen_readers(
    visit: Callable[..., Page], invoices: int, stack: Stack
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = visit("approver", "/podium/models")
    addresses = (
        "models",
        "models/invoice-fraud?version=1",
        f"decisions/{invoices}",
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


def tab_to(page: Page, wanted: Locator) -> None:
    """Press the tabulator until something has the focus, as who has no mouse does."""
    for _ in range(40):
        if wanted.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the tabulator does not lead to {wanted}")


def test_by_keyboard_on_a_phone_an_approver_follows_a_link_reads_and_decides(
    chromium: Browser, waiting: Callable[..., int], services: Services, stack: Stack
) -> None:
    model = "machine-stop"
    link = decision_page(stack.airflow_url, waiting(model))
    page = chromium.new_page(viewport={"width": 390, "height": 844})
    page.set_default_timeout(WAIT_MS / 5)
    page.goto(link)
    for field, text in (("username", "approver"), ("password", stack.passwords["approver"])):
        tab_to(page, page.locator(f"input[name={field}]"))
        page.keyboard.type(text)
    page.keyboard.press("Enter")
    page.wait_for_url(link)
    page.get_by_text("v1 becomes the first champion: log loss 0.").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    reason, approve = page.get_by_label("Reason, at least 10"), page.get_by_role("button", name="Approve v1")
    tab_to(page, reason)
    page.keyboard.type("ok")
    tab_to(page, approve)
    page.keyboard.press("Enter")
    page.get_by_text("Not sent: the reason has 2 letters and digits, at least 10 are required.").wait_for()
    # Where the mistake is, there one goes on.
    assert reason.evaluate("element => element === document.activeElement")
    page.keyboard.type(f": {REASON}")
    tab_to(page, approve)
    page.keyboard.press("Enter")
    page.get_by_text("your approval counts (1 of 1 approvals)").wait_for()
    (given,) = services.ledger.newest([model], [EventKind.APPROVAL_GIVEN])[model]
    assert (given.actor, given.reason) == ("approver", f"ok: {REASON}")
    page.context.close()


def test_a_link_leads_where_it_says_also_when_only_the_token_is_over(
    visit: Callable[..., Page], invoices: int, stack: Stack
) -> None:
    page = visit("approver", "/")
    page.context.clear_cookies(name="_token")
    link = decision_page(stack.airflow_url, invoices)
    page.goto(link)
    assert page.url == link
    assert page.get_by_role("heading", name="Promote invoice-fraud").is_visible()
    # Anybody else's aim is none.
    page.context.clear_cookies(name="_token")
    page.goto(f"{stack.airflow_url}/auth/login/?next=https://elsewhere.example/podium/models")
    assert page.url.startswith(stack.airflow_url)


def links_of(page: Page, address: str) -> list[tuple[str, str]]:
    """Show a page in Airflow's frame with all that folds open; return its links and how they leave it."""
    page.goto(address)
    seen = framed(page)
    seen.get_by_role("heading").first.wait_for()
    seen.locator("details").evaluate_all("all => all.forEach(one => (one.open = true))")
    found = seen.locator("a[href]").evaluate_all(
        "links => links.map(link => [link.getAttribute('href'), link.dataset.leaves || ''])"
    )
    return [(href, leaves) for href, leaves in found]


def follow(page: Page, href: str, leaves: str) -> None:
    """Follow one link of the page in the frame, and see it arrive."""
    link = framed(page).locator(f'a[href="{href}"]').first
    if leaves == "tab":
        with page.context.expect_page() as opened:
            link.press("Enter")
        opened.value.get_by_text("invoice-fraud").first.wait_for()
        assert opened.value.url.startswith(href.partition("?")[0])
        opened.value.close()
        return
    link.press("Enter")
    if leaves == "page":
        page.wait_for_url(lambda url: unquote(url).endswith(unquote(href)))
        page.get_by_role("main").or_(page.locator("#root")).first.wait_for()
        page.wait_for_load_state("networkidle")
        assert page.get_by_text("Not Found").count() == 0, href
        return
    inside = page.frames[1]
    inside.wait_for_url(lambda url: unquote(url).endswith(unquote(href)))
    inside.get_by_role("heading").first.wait_for()
    assert "Not found" not in inside.title(), href
    place = urlsplit(href).fragment
    assert not place or inside.locator(f"#{place}").count() == 1, href


def test_every_link_arrives_out_of_airflows_frame(
    visit: Callable[..., Page], invoices: int, stack: Stack
) -> None:
    account = stack.client_env()
    login = {
        "username": account["MLFLOW_TRACKING_USERNAME"],
        "password": account["MLFLOW_TRACKING_PASSWORD"],
        "origin": stack.mlflow_url,
    }
    page = visit("approver", "/", http_credentials=login)
    followed: set[str] = set()
    for view in ("models", "models/invoice-fraud?version=1", f"decisions/{invoices}"):
        address = f"{stack.airflow_url}{FRAME}/podium/{view}"
        for href, leaves in links_of(page, address):
            if href in followed and not href.startswith("#"):
                continue
            followed.add(href)
            links_of(page, address)
            follow(page, href, leaves)
    assert any("#/models/invoice-fraud/versions/" in href for href in followed)
    assert any("/runs/" in href for href in followed)
    assert f"/podium/decisions/{invoices}" in followed


def test_the_tab_of_a_dag_shows_its_model(visit: Callable[..., Page], stack: Stack) -> None:
    page = visit("viewer", "/podium/models")
    page.goto(f"{stack.airflow_url}/dags/lifecycle_parcel_delay")
    page.get_by_role("tab", name="Model").or_(
        page.get_by_role("link", name="Model", exact=True)
    ).first.click()
    framed(page).get_by_role("heading", name="parcel-delay").wait_for()
    page.goto(f"{stack.airflow_url}/dags/settle_champion/plugin/model")
    framed(page).get_by_text("The Dag settle_champion does not belong to a single model").wait_for()
