"""The card that asks whether many old versions may go: each with its size and age, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from podium.gates.report import cell
from podium.lifecycle.approval_policy import Request
from podium.lifecycle.removal import Listed, versions_asked_about
from podium.lifecycle.retention_rules import Action, size_text
from podium.model_file.spec import ModelSpec
from podium.names import in_utc, version_name
from podium.reporting.approval_card import Pages, asks_of_itself
from podium.services import Services

# A card in Airflow cannot be turned over; the page of the decision shows all.
_SHOWN = 100
HAPPENS = {Action.QUARANTINE: "goes to quarantine", Action.DELETE: "is deleted for good"}


def body(services: Services, spec: ModelSpec, request: Request, pages: Pages) -> str:
    """Return the card: what would go, what becomes of it, the rules, and each version.

    All of it comes from the ledger.

    Raises:
        PodiumError: The list of versions is not there, or was changed.
        Outage: The ledger did not answer.
    """
    listed = versions_asked_about(services.ledger, request.gates)
    return "\n".join(
        [
            f"**{cell(request.why)}.**",
            "",
            "That is more than `retention.ask_above` in the model file lets go unasked. "
            + consequences(listed, spec),
            "",
            *asks_of_itself(services, spec, request, pages, "no version goes."),
            *_table(listed, request, pages),
        ]
    )


def consequences(listed: Sequence[Listed], spec: ModelSpec | None) -> str:
    """Say what an approval and a rejection lead to."""
    days = "" if spec is None or spec.retention is None else f" for {spec.retention.quarantine_days} days"
    can_be_restored = any(one.action is Action.QUARANTINE for one in listed)
    restored = f" A version in quarantine can be restored{days}." if can_be_restored else ""
    return (
        "If you approve, exactly these versions go. All rules are asked again right before each of them goes."
        f"{restored} If you reject, none goes. The next run of retention asks again: hold what has to stay."
    )


def age_text(one: Listed, now: datetime) -> str:
    """Say how old a version is, in days."""
    days = (now - one.registered_at).days
    return f"{days:,} day{'s' * (days != 1)}"


def _table(listed: Sequence[Listed], request: Request, pages: Pages) -> list[str]:
    asked_at = request.expires_at - request.waits
    rows = [
        f"| {version_name(one.version)} | {HAPPENS[one.action]} | {size_text(one.bytes)} | "
        f"{age_text(one, asked_at)} | {in_utc(one.registered_at)} | `{one.digest[:12]}` |"
        for one in listed[:_SHOWN]
    ]
    more = len(listed) - len(rows)
    return [
        "| version | what happens | size | age | registered | files (sha256) |",
        "|---|---|---|---|---|---|",
        *rows,
        "",
        *([f"And {more:,} more: [all of them]({pages.decision})."] if more > 0 else []),
    ]
