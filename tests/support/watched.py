"""Promotions with a watch window, for the tests of what servers count and of what is made of it."""

from __future__ import annotations

from typing import Any

from prometheus_client import REGISTRY

from podium.ledger.events import Event, EventKind, NewEvent
from podium.ledger.watch_counts import Counts, told_of
from podium.lifecycle.watched import WATCH, Terms
from podium.names import Alias
from podium.services import Services
from podium.serving.watch import BESIDE
from support.serving import Server

TERMS: dict[str, Any] = {
    "rows": 40,
    "at_most_seconds": 604800.0,
    "labelled_rows": 0,
    "auto_rollback": "propose",
    "metric": "",
    "labels": [],
    "margin": 0.0,
    "max_ratio": None,
}


def terms(**changes: Any) -> Terms:
    return Terms.read({**TERMS, **changes})


def promote_watched(services: Services, model: str, number: int, **changes: Any) -> Event:
    """Make a version champion, on record, with a watch window."""
    before = services.registry.champion(model)
    promoted = services.ledger.append(
        NewEvent(
            EventKind.PROMOTED,
            model,
            number,
            from_version=before,
            run=f"test/{number}",
            details={WATCH: terms(**changes).as_json()},
        )
    )
    services.registry.set_alias(model, Alias.CHAMPION, number)
    return promoted


def watching(server: Server, old: int) -> Server:
    """Wait until a server compares with the version before."""
    server.wait_for(
        lambda: watch_of(server).get("loaded") and watch_of(server)["old"] == old, f"v{old} beside"
    )
    return server


def watch_of(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = server.client.get("/version").json().get("watch", {})
    return found


def beside(metric: str, model: str) -> float | None:
    """Return a metric of the version beside the one that serves."""
    return REGISTRY.get_sample_value(metric, {"model": model, "follows": BESIDE})


def counted(services: Services, promoted: Event) -> Counts:
    """Return what all processes told of a window together."""
    found = Counts()
    for told in told_of(services.ledger, promoted.model, promoted.seq):
        found = found.plus(told.counts)
    return found


def ramp_step(
    services: Services,
    model: str,
    number: int,
    share: int,
    first: Event | None = None,
    *,
    champion: int | None = None,
    stopped: bool = False,
    reason: str = "",
) -> Event:
    """Let a version answer a share of the clients, on record; the champion is that of the registry."""
    return services.ledger.append(
        NewEvent(
            EventKind.RAMP_STEP,
            model,
            number,
            from_version=champion or services.registry.champion(model),
            reason=reason,
            run=f"test/{number}",
            details={
                "ramp": None if first is None else first.seq,
                "opened": None if first is None else first.at.isoformat(),
                "share": share,
                "steps": [5, 25, 50],
                "counted": 0,
                "stopped": stopped,
                "terms": terms().as_json(),
            },
        )
    )


def ramp_end(services: Services, first: Event, share: int = 0) -> Event:
    """End a ramp, on record."""
    details = {"ramp": first.seq, "share": share, "said": "good" if share else "bad"}
    new = NewEvent(EventKind.RAMP_ENDED, first.model, first.version, run=first.run, details=details)
    return services.ledger.append(new)
