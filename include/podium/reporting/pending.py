"""What waits for people: each open request with what an approver wants to know first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from podium.errors import NotFound, PodiumError
from podium.ledger.present import FEW_MOVES
from podium.lifecycle import approval
from podium.lifecycle.approval_policy import Act, Request, who_may_decide
from podium.model_file.loading import load_specs
from podium.model_file.spec import ModelSpec
from podium.names import in_utc, version_name
from podium.reporting.links import decision_page
from podium.reporting.notices import comparison_of
from podium.services import Services


@dataclass(frozen=True)
class Pending:
    """A request that waits for a decision.

    Attributes:
        request: What is asked.
        spec: The model file; None where there is none any more.
        comparison: One sentence: how the candidate compares with the champion.
        given: Who has approved so far.
        link: The page of the decision; "" if nobody said where Airflow is.
    """

    request: Request
    spec: ModelSpec | None
    comparison: str
    given: tuple[str, ...]
    link: str

    @property
    def headline(self) -> str:
        """Name what is asked, and until when."""
        asked = self.request
        left = _describe(asked.expires_at - datetime.now(UTC))
        until = f"waits until {in_utc(asked.expires_at)} ({left} left)"
        if asked.act is not Act.PROMOTION:
            return f"{asked.name}: {until}"
        over = "the first champion" if asked.champion is None else f"over {version_name(asked.champion)}"
        return f"{asked.name}, {over}: {until}"

    def people(self) -> str:
        """Say who may decide, who has, and who asked."""
        by_itself = "the watch window" if self.request.act is Act.ROLLBACK else "a schedule"
        asked = f"asked by {self.request.requester or by_itself}"
        if self.spec is None:
            return f"{asked}; the model no longer has a model file, so nobody may decide"
        policy = self.spec.approval
        by = f" ({', '.join(self.given)})" if self.given else ""
        return (
            f"approved by {len(self.given)} of {policy.required}{by}; may decide: "
            f"{who_may_decide(policy)}; {asked}"
        )

    def as_json(self) -> dict[str, Any]:
        """Return it with plain JSON values."""
        asked, policy = self.request, self.spec and self.spec.approval
        return {
            "model": asked.model,
            "version": asked.version,
            "champion": asked.champion,
            "request": asked.seq,
            "rolls_back": asked.act is Act.ROLLBACK,
            "removes": asked.removes,
            "run": asked.run,
            "requester": asked.requester,
            "expires_at": asked.expires_at.astimezone(UTC).isoformat(),
            "comparison": self.comparison,
            "approved_by": list(self.given),
            "required": policy and policy.required,
            "approvers": list(policy.approvers) if policy else [],
            "link": self.link,
        }


def all_pending(services: Services, airflow: str) -> list[Pending]:
    """Return what waits for people, the most urgent first.

    Args:
        services: The ledger alone is asked.
        airflow: The address of Airflow's web server for people's browsers; "" for no links.

    Raises:
        Outage: The ledger did not answer.
    """
    specs, now = load_specs(services.settings.models_dir)[0], datetime.now(UTC)
    presents = services.ledger.presents(services.ledger.models(), moves=FEW_MOVES)
    found = [
        _pending(services, request, specs.get(model), airflow)
        for model, events in presents.items()
        for request in approval.readable_requests(events)
        if request.expires_at > now
    ]
    return sorted(found, key=lambda item: item.request.expires_at)


def pending_of(services: Services, model: str, airflow: str, number: int | None = None) -> Pending:
    """Return what waits for people of one model.

    Args:
        services: The ledger alone is asked.
        model: The registered model.
        airflow: As for ``all_pending``.
        number: Of the request; None where only one waits.

    Raises:
        NotFound: Nothing does, or not this one.
        PodiumError: Decisions about several things wait, and nobody says which is meant.
        Outage: The ledger did not answer.
    """
    found = [item for item in all_pending(services, airflow) if item.request.model == model]
    chosen = [item for item in found if number in (None, item.request.seq)]
    if not chosen:
        raise NotFound(f"{model}: no version waits for approval; `podium pending` shows what does")
    if len({item.request.act for item in chosen}) > 1:
        there = "; ".join(f"--request {item.request.seq}: {item.request.name}" for item in chosen)
        raise PodiumError(f"{model}: more than one decision waits, say which: {there}")
    return max(chosen, key=lambda item: item.request.seq)


def _pending(services: Services, request: Request, spec: ModelSpec | None, airflow: str) -> Pending:
    events = services.ledger.present(request.model, request.version)
    comparison = comparison_of(events, request, spec)
    given = tuple(dict.fromkeys(event.actor for event in approval.approvals(events, request.run)))
    link = decision_page(airflow, request.seq) if airflow else ""
    return Pending(request, spec, comparison, given, link)


def _describe(left: timedelta) -> str:
    """Return ``2 d 23 h``, ``5 h 12 min`` or ``7 min``."""
    minutes = int(left.total_seconds() // 60)
    days, hours, rest = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {rest} min" if hours else f"{rest} min"
