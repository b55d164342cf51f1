"""One embedded stack with a few toy models, and a real Chromium in which people log in to Airflow."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import yaml

from podium.model_file.loading import load_spec
from podium.operations.airflow_client import AirflowClient
from podium.services import Services
from podium.settings import PROJECT_ROOT, Settings
from podium.stack import control
from podium.stack.layout import Paths, load_layout
from podium.stack.running_stack import Stack, running_stack
from support.airflow import LifecycleRun
from support.toy import TOY, write_toy_rows

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path("/usr/bin/chromium")
HOME = PROJECT_ROOT / ".podium" / "test-browser"
PROJECT = PROJECT_ROOT / ".podium" / "test-browser-project"
MODELS, TRAINERS = PROJECT / "include" / "models", PROJECT / "include" / "trainers"
# Most tests have a model of their own; the owners and words are what the pictures in docs/ show.
ABOUT = {
    "parcel-delay": ("logistics", "Whether a parcel comes late."),
    "churn-next-month": ("retention", "Whether a customer leaves within a month."),
    "invoice-fraud": ("finance", "Whether an invoice is looked at twice."),
    "basket-return": ("shop", "Whether a basket is sent back."),
    "machine-stop": ("plant", "Whether a machine stops within a day."),
    "late-payment": ("finance", "Whether a bill is paid late."),
}
GATES = [
    *TOY["gates"],
    {
        "metric": "log_loss",
        "against": "champion",
        "max_regression_abs": 0.05,
        "slices": {"column": "region", "min_support": 10},
    },
]
# A machine may be busy; Airflow's tasks take a second each on a quiet one.
PATIENCE_MS = 180_000


def write_models() -> None:
    """Add models as a user does, on rows of 600 days until tomorrow."""
    shutil.rmtree(PROJECT, ignore_errors=True)
    for folder in (MODELS, TRAINERS):
        folder.mkdir(parents=True)
    shutil.copy(PROJECT_ROOT / "tests" / "support" / "toy_trainer.py", TRAINERS / "toy.py")
    first_day = datetime.now(UTC).date() - timedelta(days=598)
    rows = MODELS / "toy.csv"
    write_toy_rows(rows, first_day=first_day.isoformat())
    table = pd.read_csv(rows)
    table["region"] = np.random.default_rng(3).choice(["north", "south", "west"], len(table))
    table.to_csv(rows, index=False)
    for name, (owner, description) in ABOUT.items():
        content = {**TOY, "name": name, "owner": owner, "description": description, "gates": GATES}
        content["data"] = {**TOY["data"], "source": str(rows)}
        content["trainer"] = "trainers.toy:train"
        content["approval"] = {"approvers": ["approver"], "expires_after": "3d"}
        (MODELS / f"{name}.yaml").write_text(yaml.safe_dump(content))


@contextmanager
def stack_with_models() -> Iterator[Stack]:
    """The whole embedded stack, from an empty state."""
    control.clean(Paths(HOME))
    write_models()
    path = os.pathsep.join(map(str, (PROJECT_ROOT / "include", PROJECT_ROOT / "plugins", TRAINERS.parent)))
    environment = {"PODIUM_MODELS_DIR": str(MODELS), "PYTHONPATH": path, "PODIUM_EPHEMERAL": "false"}
    with running_stack(HOME, extra_airflow_env=environment) as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """The system's Chromium; without one there is nothing to test with, and that is said."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser: {CHROMIUM} does not exist")
    from playwright.sync_api import sync_playwright

    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*sandbox, *quiet])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def stack(chromium: Browser) -> Iterator[Stack]:
    with stack_with_models() as running:
        yield running


@pytest.fixture(scope="session")
def services(stack: Stack) -> Services:
    layout = load_layout(Paths(HOME))
    assert layout is not None
    os.environ.update(stack.client_env())
    return Services(Settings(PODIUM_MODELS_DIR=MODELS, PODIUM_HOME=PROJECT_ROOT))


@pytest.fixture(scope="session")
def client(stack: Stack) -> Callable[[str], AirflowClient]:
    """Log in to Airflow's REST API."""
    return lambda who: AirflowClient(stack.airflow_url, who, stack.passwords[who])


@pytest.fixture(scope="session")
def start(client: Callable[[str], AirflowClient]) -> Callable[..., LifecycleRun]:
    """Start a lifecycle run as the operator."""

    def run(model: str, **form: Any) -> LifecycleRun:
        spec, operator = load_spec(MODELS / f"{model}.yaml"), client("operator")
        operator.wait_for_dag(spec.lifecycle_dag_id)
        operator.set_paused(spec.lifecycle_dag_id, paused=False)
        return LifecycleRun(operator, spec, operator.trigger(spec.lifecycle_dag_id, form))

    return run


@pytest.fixture(scope="session")
def promoted(
    start: Callable[..., LifecycleRun], client: Callable[[str], AirflowClient]
) -> Callable[..., LifecycleRun]:
    """Take a version to champion, by Airflow's API."""

    def run(model: str, **form: Any) -> LifecycleRun:
        lifecycle = start(model, **form)
        lifecycle.approve(client("approver"))
        assert lifecycle.wait_for_end() == "success"
        return lifecycle

    return run


@pytest.fixture(scope="session")
def days_ago() -> Callable[[int], str]:
    """Name a day of the toy's rows, as ``as_of`` takes it."""
    return lambda days: f"{datetime.now(UTC) - timedelta(days=days):%Y-%m-%d}T00:00:00Z"


@pytest.fixture
def visit(chromium: Browser, stack: Stack) -> Iterator[Callable[..., Page]]:
    """Follow a link in a fresh browser: log in where Airflow asks, and be where the link led."""
    contexts = []

    def go(who: str, address: str, **options: Any) -> Page:
        context = chromium.new_context(**{"viewport": {"width": 1400, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS / 6)
        page.goto(stack.airflow_url + address)
        page.fill("input[name=username]", who)
        page.fill("input[name=password]", stack.passwords[who])
        page.press("input[name=password]", "Enter")
        page.wait_for_url(f"**{address}*")
        return page

    yield go
    for context in contexts:
        context.close()
