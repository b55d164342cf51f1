"""The approval card: what an approver needs to decide, as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from xml.sax.saxutils import escape

from podium.gates.report import GateReport, cell
from podium.ledger import history
from podium.ledger.events import Event, EventKind
from podium.lifecycle import approval, canary
from podium.lifecycle.approval_policy import Request, who_may_decide
from podium.model_file.approval import ApprovalSpec
from podium.model_file.profiles import Profile
from podium.model_file.spec import ModelSpec
from podium.names import Tag, in_utc, version_name
from podium.services import Services
from podium.text import visible

_UNKNOWN = "unknown"
# Airflow shows pictures on a card 300 pixels wide.
_PICTURE_COLUMNS = 40
_PICTURE_WIDTH = 300
_PICTURE_ROW = 16


def subject(request: Request) -> str:
    """Return the card's headline."""
    champion = "the first champion" if request.champion is None else f"over {version_name(request.champion)}"
    return f"Promote {request.model} {version_name(request.version)} to champion, {champion}?"


def body(services: Services, spec: ModelSpec, request: Request, answers_url: str) -> str:
    """Return the card: what was answered so far, candidate beside champion, every gate, lineage and links.

    All of it comes from the ledger and the registry, nothing from what tasks hand to each other.

    Args:
        services: The registry and the ledger.
        spec: The model file.
        request: What is asked.
        answers_url: Where ``answers_picture`` is served. Airflow never changes the text of a card that is up,
            not even for a new try of the task; so what was answered so far is a picture that is always new.

    Raises:
        Outage: A part did not answer.
    """
    events = services.ledger.history(request.model)
    report = GateReport.from_json(approval.gate_report(events, request.version).details)
    return "\n".join(
        [
            f"[![Answers so far]({answers_url})]({answers_url})",
            "",
            spec.description,
            "",
            *_asked_for(request),
            *_profile(spec, events, request.version),
            f"**{cell(report.sentence())}.**",
            "",
            report.markdown(),
            "",
            *_lineage(services, events, request),
            "",
            *_rules(spec, request),
            *(
                f"Too early to approve: {problem}."
                for problem in canary.problems(services, events, request.version, datetime.now(UTC))
            ),
        ]
    )


def describe_answers(policy: ApprovalSpec, answers: Iterable[Event]) -> list[str]:
    """Say who has approved, and what was wrong with answers that did not count, a line each."""
    answers = list(answers)
    approved = sum(event.event is EventKind.APPROVAL_GIVEN for event in answers)
    lines = [f"Approved by {approved} of {policy.required}."]
    for event in answers:
        when = in_utc(event.at)
        if event.event is EventKind.APPROVAL_GIVEN:
            lines.append(f"{when}: {event.actor} approved: {event.reason}")
        elif event.event is EventKind.ANSWER_INVALID:
            lines.append(f"{when}: the answer of {event.actor} did not count: {event.reason}")
        else:
            lines.append(f"{when}: asked again: {event.reason}")
    return lines


def answers_picture(lines: Iterable[str]) -> str:
    """Draw lines of text as an SVG picture; whatever people typed stays text."""
    wrap = textwrap.TextWrapper(_PICTURE_COLUMNS, subsequent_indent="  ", break_on_hyphens=False)
    rows = [row for line in lines for row in wrap.wrap(visible(line))]
    height = _PICTURE_ROW * (len(rows) + 1)
    text = "".join(
        f'<text x="6" y="{_PICTURE_ROW * (place + 1)}" xml:space="preserve">{escape(row)}</text>'
        for place, row in enumerate(rows)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_PICTURE_WIDTH}" height="{height}" '
        f'font-family="monospace" font-size="12">'
        f'<rect width="100%" height="100%" fill="#fff8e1"/>{text}</svg>'
    )


def _asked_for(request: Request) -> list[str]:
    """Say who asked for what in the run's form; a request of an older Podium does not know."""
    if request.form is None:
        return []
    who = "a schedule or another Dag" if request.requester is None else _plain(request.requester)
    form = _plain(approval.describe_form(request.form)) if request.form else "all as the model file says"
    return [f"Asked for by {who}: {form}.", ""]


def _rules(spec: ModelSpec, request: Request) -> list[str]:
    policy = spec.approval
    asked = "" if request.requester is None else f"{_plain(request.requester)} triggered this run"
    lines = [
        f"Who may decide: {who_may_decide(policy)}. A reason of at least {policy.reason_min_length} "
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


def _profile(spec: ModelSpec, events: Sequence[Event], version: int) -> list[str]:
    """Say that a version was trained on less; it is asked about only where the registry is thrown away."""
    profile = history.profile_of(events, version)
    if profile is None:
        return []
    less = spec.profiles[profile].describe() if profile in spec.profiles else "the model file has it no more"
    return [
        f"**A {profile} version: {profile.purpose}** ({less}). It can be promoted only because this registry "
        "is thrown away afterwards (PODIUM_EPHEMERAL=true).",
        "",
    ]


def _lineage(services: Services, events: Sequence[Event], request: Request) -> list[str]:
    """Put candidate and champion side by side, as they were registered; tags in MLflow can be edited."""
    numbers = [request.version] if request.champion is None else [request.version, request.champion]
    sides = [history.registration(events, number) for number in numbers]
    names = [
        f"{role} {version_name(number)}"
        for role, number in zip(("candidate", "champion"), numbers, strict=False)
    ]
    rows = {
        "trained on": [_fact(side, Tag.TRAINED_ON) for side in sides],
        "judged on (its own holdout)": [_fact(side, Tag.JUDGED_ON) for side in sides],
        "as of": [_fact(side, Tag.AS_OF)[:10] for side in sides],
        **_profiles_row([history.profile_of(events, number) for number in numbers]),
        **_copied_row(sides),
        "data version": [_plain(_fact(side, Tag.DATA_VERSION)[:12]) for side in sides],
        "git commit": [_plain(_fact(side, Tag.GIT_COMMIT)[:12]) for side in sides],
        "files (sha256 of the manifest)": [_plain(_fact(side, "manifest_digest")[:12]) for side in sides],
        "in MLflow": [
            _links(services, request.model, number, side) for number, side in zip(numbers, sides, strict=True)
        ],
    }
    return [
        "| | " + " | ".join(names) + " |",
        "|---|" + "---|" * len(names),
        *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in rows.items()),
    ]


def _profiles_row(profiles: Sequence[Profile | None]) -> dict[str, list[str]]:
    return {"profile": [profile or "in full" for profile in profiles]} if any(profiles) else {}


def _copied_row(sides: Sequence[Event | None]) -> dict[str, list[str]]:
    told = [_origin(side) for side in sides]
    return {"copied from": [origin or "trained here" for origin in told]} if any(told) else {}


def _origin(registered: Event | None) -> str:
    if registered is None or Tag.COPIED_FROM not in registered.details:
        return ""
    where, version, who = (
        _fact(registered, tag) for tag in (Tag.COPIED_FROM, Tag.COPIED_VERSION, Tag.COPIED_BY)
    )
    return _plain(f"{where}, {version}, by {who}")


def _links(services: Services, model: str, number: int, registered: Event | None) -> str:
    # Pages of MLflow's UI, which promises no address: https://github.com/mlflow/mlflow/tree/v3.17.2/mlflow/server/js
    base = (services.settings.mlflow_public_url or services.settings.mlflow_tracking_uri).rstrip("/")
    version = f"[version]({base}/#/models/{model}/versions/{number})"
    mlflow_run = _fact(registered, "mlflow_run")
    if mlflow_run == _UNKNOWN:
        return version
    experiment = services.registry.experiment_id(mlflow_run)
    return f"[run]({base}/#/experiments/{experiment}/runs/{mlflow_run}), {version}"


def _fact(registered: Event | None, name: str) -> str:
    """Return what the ledger holds of a version; one that Podium did not register has less."""
    return _UNKNOWN if registered is None else str(registered.details.get(name, _UNKNOWN))


def _plain(text: str) -> str:
    """Show what somebody typed as text: it must not draw links, pictures or tables on the card."""
    return "`" + " ".join(visible(text).replace("`", "'").split()) + "`"
