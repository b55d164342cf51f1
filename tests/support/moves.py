"""Promote and roll back in processes of their own, with a fault at a chosen step.

A step is a call of the ledger or the registry: between two of them nothing outside the process changes.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import configure_mappers

from podium.errors import PodiumError
from podium.ledger.events import Event
from podium.ledger.store import Ledger, Lock
from podium.lifecycle import promote, rollback
from podium.lifecycle.approval_policy import Person
from podium.registry.client import Registry
from support.services import services_with
from support.steps import asked_now

# What a move imports late: imported once, in the process that the others are forked from. Private to MLflow:
# https://github.com/mlflow/mlflow/tree/v3.17.2/mlflow/store
for late in (
    "mlflow.store.db_migrations",
    "mlflow.store.model_registry.sqlalchemy_store",
    "mlflow.store.tracking.sqlalchemy_store",
    "alembic.command",
    "skops.io",
    "sklearn.linear_model",
):
    importlib.import_module(late)
configure_mappers()

LEDGER_CALLS = ("append", "append_move", "find", "history", "lock", "of_run", "present")
REGISTRY_CALLS = (
    "labels",
    "delete_alias",
    "delete_tags",
    "download",
    "set_alias",
    "set_model_tag",
    "set_tags",
    "version",
)


@dataclass(frozen=True)
class Move:
    """A promotion or rollback of one run."""

    kind: str
    model: str
    run: str
    tracking_uri: str
    ledger_url: str

    def go(self, registry: Registry | None = None, ledger: Ledger | None = None) -> Event:
        registry = registry or Registry(self.tracking_uri)
        services = services_with(ledger or Ledger(self.ledger_url), registry)
        if self.kind == "promote":
            return promote.promote(services, self.model, self.run)
        request = rollback.rollback_request(
            self.model, None, asks=Person("olga"), reason="complaints", run=self.run
        )
        return rollback.rollback(services, request, asked_now())


@dataclass
class Steps:
    """Counts the steps of a move, and does something before one of them."""

    at: int
    act: Callable[[str], None]
    names: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        self.names.append(name)
        if len(self.names) == self.at:
            self.act(name)

    def watch(self, patch: Callable[[type, str, Any], None]) -> None:
        """Count from now on; ``patch`` is ``setattr`` or what undoes it."""
        for part, calls in ((Ledger, LEDGER_CALLS), (Registry, REGISTRY_CALLS), (Lock, ("assert_held",))):
            for call in calls:
                patch(part, call, self._counted(part, call))

    def _counted(self, part: type, call: str) -> Callable[..., Any]:
        real = getattr(part, call)

        @functools.wraps(real)
        def counted(*args: Any, **kwargs: Any) -> Any:
            what = f" {args[2]}" if call in ("set_alias", "delete_alias") else ""
            event = f" {args[1].event}" if call in ("append", "append_move") else ""
            self.step(f"{part.__name__.lower()}.{call}{what}{event}")
            return real(*args, **kwargs)

        return counted


def killed_at(move: Move, step: int, told: Any) -> None:
    """Run a move in this process and kill it before a step; says which, and if it never came to it."""

    def kill(name: str) -> None:
        told.send(name)
        os.kill(os.getpid(), signal.SIGKILL)

    Steps(step, kill).watch(setattr)
    move.go()
    told.send("")


def race(move: Move, start: Any, told: Any) -> None:
    """Run a move as soon as all are ready, and tell how it came out."""
    start.wait()
    try:
        told.put(("moved", move.go().version, ""))
    except PodiumError as error:
        told.put((type(error).__name__, None, str(error)))
