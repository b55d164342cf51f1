"""The card that asks whether to roll back: the evidence of a watch window, as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podium.gates.report import cell
from podium.ledger.evidence import EvidenceStore
from podium.lifecycle import approval
from podium.lifecycle.approval_policy import Request, who_may_decide
from podium.model_file.spec import ModelSpec
from podium.names import in_utc, version_name
from podium.reporting.approval_card import Pages
from podium.reporting.watched import bar, evidence_of
from podium.services import Services


def body(services: Services, spec: ModelSpec, request: Request, pages: Pages) -> str:
    """Return the card: what would change, what was seen and how sure it is, and the rules.

    All of it comes from the ledger.

    Raises:
        PodiumError: The evidence is not there, or was changed.
        Outage: The ledger did not answer.
    """
    new, old = version_name(request.champion), version_name(request.version)
    events = services.ledger.present(request.model, request.version, run=request.run)
    given = len(approval.approvals(events, request.run))
    state = f"Approved by {given} of {spec.approval.required} when this card was created"
    content = EvidenceStore(services.ledger).one(request.gates).read()
    return "\n".join(
        [
            f"**The watch window of {new} said {cell(request.why)}.**",
            "",
            f"{new} is champion and serves. If you approve, {old} is champion again, once its files are "
            f"proved and it predicts its stored example. If you reject, {new} stays champion.",
            "",
            f"Who may decide: {who_may_decide(spec.approval)}. A reason of at least "
            f"{spec.approval.reason_min_length} letters and digits is required, also to reject.",
            *(["To approve, tick every statement of the checklist."] if spec.approval.checklist else []),
            f"Without a valid decision the request expires on {request.expires_at:%Y-%m-%d at %H:%M} UTC, "
            f"and {new} stays. If anybody moves the champion, the request closes.",
            "",
            f"[![{state}; open until {in_utc(request.expires_at)}]({pages.answers})]({pages.answers})",
            "",
            f"[Current state]({pages.answers}), [the page of this decision]({pages.decision})",
            "",
            *_evidence(content),
        ]
    )


def _evidence(content: Mapping[str, Any]) -> list[str]:
    """Show what was asked and how near the answer yes each question is, with the digests of both versions."""
    rows = [
        f"| {one.name} | {bar(one.share)} {one.share:.0%} | {one.rows:,} | {cell(one.reason)} |"
        for one in evidence_of(content)
    ]
    sides = ", ".join(
        f"{version_name(content[side]['version'])} `{content[side]['digest'][:12]}`"
        for side in ("new", "old")
    )
    return [
        "| question | evidence | on | seen |",
        "|---|---|---|---|",
        *rows,
        "",
        f"At 100% the answer is yes. Files (sha256 of the manifests): {sides}.",
    ]
