"""Photograph Podium's pages for README and docs/operators-page.md: `make screenshots`.

What the pictures show was lived through the lifecycle's own functions, without Airflow's tasks: a minute
less for each version, and the pages read nothing but the record.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from podium.ledger.events import Event
from podium.lifecycle import approval
from podium.lifecycle.approval_policy import Answer, Person, Request
from podium.lifecycle.nominate import nominate_version
from podium.lifecycle.promote import promote
from podium.lifecycle.reconcile import reconcile_all
from podium.lifecycle.register import register_version
from podium.lifecycle.rollback import rollback, rollback_request
from podium.lifecycle.validate import validate_version
from podium.model_file.loading import load_spec, model_files
from podium.model_file.spec import ModelSpec
from podium.reporting.links import decision_page, model_page
from podium.services import Services
from podium.settings import PROJECT_ROOT
from podium.stack.running_stack import Stack
from podium.training.run import train_model
from support.mlflow_client import raw
from support.steps import asked_now

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURES = PROJECT_ROOT / "docs" / "pictures"
WIDE: dict[str, Any] = {"viewport": {"width": 1180, "height": 860}}
NARROW: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "color_scheme": "dark",
    "device_scale_factor": 2,
}
COLOURS = 256
MOST_BYTES = 200_000


class Life:
    """One model's life so far."""

    def __init__(self, services: Services, spec: ModelSpec) -> None:
        self.services, self.spec, self.runs = services, spec, 0

    def judged(self, days: int, **params: Any) -> tuple[int, str]:
        """Train, register and judge a version on what was known so many days ago."""
        self.runs += 1
        run = f"{self.spec.lifecycle_dag_id}/manual__{self.runs}"
        as_of = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days)
        trained = train_model(self.spec, self.services.settings, as_of, params, run)
        version = register_version(self.services, self.spec, trained.run_id, run)
        validate_version(self.services, self.spec, version, run)
        return version, run

    def asked(self, days: int, **params: Any) -> Request:
        """The same, and let it wait for its approver."""
        _, run = self.judged(days, **params)
        nominate_version(self.services, self.spec.name, run)
        return approval.open_request(self.services, self.spec.approval, self.spec.name, run, "operator", {})

    def decided(self, request: Request, option: str, reason: str) -> Event:
        answer = Answer(option, reason, Person("approver"), datetime.now(UTC))
        champion = self.services.registry.champion(self.spec.name)
        return approval.judge(self.services, self.spec.approval, request, answer, champion)

    def promoted(self, days: int, reason: str, **params: Any) -> None:
        request = self.asked(days, **params)
        self.decided(request, "Approve", reason)
        promote(self.services, self.spec.name, request.run)

    def rolled_back(self, reason: str) -> None:
        asks = Person("operator")
        request = rollback_request(self.spec.name, None, asks=asks, reason=reason, run="rollback_champion/1")
        rollback(self.services, request, asked_now())


@pytest.fixture
def lived(stack: Stack, services: Services, monkeypatch: pytest.MonkeyPatch) -> int:
    """A few models in the states that people meet; returns the decision that waits over a champion."""
    monkeypatch.syspath_prepend(services.settings.models_dir.parent)
    return live_through(services)


def live_through(services: Services) -> int:
    """Promote, reject, refuse, roll back and freeze; each version takes seconds, so there are few."""
    lives = {file.stem: Life(services, load_spec(file)) for file in model_files(services.settings.models_dir)}
    parcels = lives["parcel-delay"]
    parcels.promoted(250, "better than the rule of thumb in every region", strength=0.001)
    parcels.promoted(190, "more weeks of data, no region worse", strength=0.003)
    parcels.rolled_back("Complaints about parcels in the north")
    parcels.decided(parcels.asked(120, strength=0.01), "Reject", "the strike of last month is in its data")
    waits = parcels.asked(7)
    lives["churn-next-month"].asked(10)
    lives["invoice-fraud"].judged(20, strength=0.000_001)
    stops = lives["machine-stop"]
    stops.promoted(30, "the plant's engineers agree with it")
    raw(services.registry).delete_registered_model_alias("machine-stop", "champion")
    reconcile_all(services, [stops.spec])
    lives["late-payment"].promoted(30, "late payers are found a week earlier")
    return waits.seq


def photograph(page: Page, name: str) -> None:
    """Keep a picture of a page, small enough for a repository."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    file = PICTURES / name
    page.screenshot(path=file, animations="disabled")
    with Image.open(file) as picture:
        few = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(file, optimize=True)
    assert file.stat().st_size < MOST_BYTES


def test_photograph_the_pages(lived: int, visit: Callable[..., Page], stack: Stack) -> None:
    decision = urlsplit(decision_page(stack.airflow_url, lived)).path
    page = visit("approver", "/", **WIDE)
    page.get_by_role("link", name="Models", exact=True).click()
    page.frame_locator("iframe").first.get_by_role("link", name="Decide parcel-delay").wait_for()
    photograph(page, "models.png")
    page.goto(model_page(stack.airflow_url, "parcel-delay"))
    photograph(page, "model.png")
    page.goto(stack.airflow_url + decision)
    page.get_by_role("img", name="calibration").first.wait_for()
    photograph(page, "decision.png")
    narrow = visit("approver", decision, **NARROW)
    photograph(narrow, "decision-narrow-dark.png")
