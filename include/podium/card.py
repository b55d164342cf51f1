"""The approval card: what an approver needs to decide, as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

from podium import approval
from podium.approval import Request
from podium.errors import version_name
from podium.gates import GateReport
from podium.ledger import Event, EventKind
from podium.parts import Parts
from podium.registry import Version
from podium.spec import ModelSpec
from podium.tags import Tag


def subject(request: Request) -> str:
    """Return the card's headline."""
    champion = "the first champion" if request.champion is None else f"over {version_name(request.champion)}"
    return f"Promote {request.model} {version_name(request.version)} to champion, {champion}?"


def body(parts: Parts, spec: ModelSpec, request: Request) -> str:
    """Return the card: what was answered so far, candidate beside champion, every gate, lineage and links.

    All of it comes from the ledger and the registry, nothing from what tasks hand to each other.

    Raises:
        Outage: A part did not answer.
    """
    events = parts.ledger.history(request.model)
    report = GateReport.from_json(approval.gate_report(events, request.version).details)
    numbers = [request.version] if request.champion is None else [request.version, request.champion]
    sides = [parts.registry.version(request.model, number) for number in numbers]
    return "\n".join(
        [
            *_answers(spec, approval.answers(events, request.run)),
            spec.description,
            "",
            f"**{report.sentence()}.**",
            "",
            report.markdown(),
            "",
            *_lineage(parts, sides),
            "",
            *_rules(spec, request),
        ]
    )


def _answers(spec: ModelSpec, answers: Sequence[Event]) -> list[str]:
    """Say who has approved, and what was wrong with answers that did not count."""
    if not answers:
        return []
    approved = sum(event.event is EventKind.APPROVAL_GIVEN for event in answers)
    lines = [f"**Approved by {approved} of {spec.approval.required}.** So far:", ""]
    for event in answers:
        when = f"{event.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
        if event.event is EventKind.APPROVAL_GIVEN:
            lines.append(f"- {when}: **{_plain(event.actor)} approved**: {_plain(event.reason)}")
        elif event.event is EventKind.ANSWER_INVALID:
            lines.append(
                f"- {when}: the answer of {_plain(event.actor)} did not count: {_plain(event.reason)}"
            )
        else:
            lines.append(f"- {when}: asked again: {_plain(event.reason)}")
    return [*lines, "", "---", ""]


def _rules(spec: ModelSpec, request: Request) -> list[str]:
    policy = spec.approval
    asked = "" if request.requester is None else f"{_plain(request.requester)} triggered this run"
    lines = [
        f"Who may decide: {approval.who_may_decide(policy)}. A reason of at least {policy.reason_min_length} "
        "characters is required, also to reject."
    ]
    if asked and policy.prevent_self_approval:
        lines.append(f"{asked} and may not approve it.")
    if policy.checklist:
        lines.append("To approve, tick every statement of the checklist.")
    lines.append(
        f"Without a valid decision the request expires on {request.expires_at:%Y-%m-%d at %H:%M} UTC. The "
        "answer is about exactly these files, this gate report and this champion; if one of them changes, it "
        "is void."
    )
    return lines


def _lineage(parts: Parts, sides: Sequence[Version]) -> list[str]:
    names = [
        f"{role} {version_name(side.number)}"
        for role, side in zip(("candidate", "champion"), sides, strict=False)
    ]
    rows = {
        "trained on": [_tag(side, Tag.TRAINED_ON) for side in sides],
        "judged on (its own holdout)": [_tag(side, Tag.JUDGED_ON) for side in sides],
        "as of": [_tag(side, Tag.AS_OF)[:10] for side in sides],
        "data version": [f"`{_tag(side, Tag.DATA_VERSION)[:12]}`" for side in sides],
        "git commit": [f"`{_tag(side, Tag.GIT_COMMIT)[:12]}`" for side in sides],
        "files (sha256 of the manifest)": [f"`{_tag(side, Tag.MANIFEST_DIGEST)[:12]}`" for side in sides],
        "in MLflow": [_links(parts, side) for side in sides],
    }
    return [
        "| | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
        *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()),
    ]


def _links(parts: Parts, version: Version) -> str:
    base = (parts.settings.mlflow_public_url or parts.settings.mlflow_tracking_uri).rstrip("/")
    run = f"{base}/#/experiments/{parts.registry.experiment_id(version.run_id)}/runs/{version.run_id}"
    return f"[run]({run}), [version]({base}/#/models/{version.model}/versions/{version.number})"


def _tag(version: Version, tag: Tag) -> str:
    return version.tags.get(tag, "unknown")


def _plain(text: str) -> str:
    """Show what somebody typed as text: it must not draw links, pictures or tables on the card."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"
