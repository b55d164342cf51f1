"""The approval card: what an approver needs to decide, as Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from xml.sax.saxutils import escape, quoteattr

from podium.gates.report import cell, count_rows
from podium.ledger import history
from podium.ledger.events import Event, EventKind
from podium.lifecycle import approval, canary
from podium.lifecycle.approval_policy import Act, Request, who_may_decide
from podium.lifecycle.data_age import describe_as_of, older_than_champion
from podium.lifecycle.ramped import GOOD, ramp_of
from podium.model_file.approval import ApprovalSpec
from podium.model_file.profiles import Profile
from podium.model_file.spec import ModelSpec
from podium.names import Tag, in_utc, short_commit, version_name
from podium.registry.pages import run_page, version_page
from podium.reporting.comparison import in_one_sentence
from podium.services import Services
from podium.text import visible

_UNKNOWN = "unknown"
_DONE = {Act.PROMOTION: "promoted", Act.ROLLBACK: "rolled back", Act.REMOVAL: "removed"}
# Airflow shows pictures on a card 300 pixels wide.
_PICTURE_COLUMNS = 40
_PICTURE_WIDTH = 300
_PICTURE_ROW = 16


def subject(request: Request) -> str:
    """Return the card's headline."""
    model, version, champion = request.model, version_name(request.version), version_name(request.champion)
    match request.act:
        case Act.PROMOTION:
            over = "the first champion" if request.champion is None else f"over {champion}"
            return f"Promote {model} {version} to champion, {over}?"
        case Act.ROLLBACK:
            return f"Roll back {model} {champion} to {version}?"
        case Act.REMOVAL:
            return f"Remove {request.removes:,} old version{'s' * (request.removes != 1)} of {model}?"


class Pages(NamedTuple):
    """Where a card's links lead.

    Attributes:
        answers: Where ``answers_picture`` is served. Airflow never changes the text of a card that is up, not
            even for a new try of the task; so the state of the request is a picture that is always new.
        decision: Podium's page of the decision.
    """

    answers: str
    decision: str


def asks_of_itself(
    services: Services, spec: ModelSpec, request: Request, pages: Pages, otherwise: str
) -> list[str]:
    """Return the lines of a card for what Podium proposes: who may decide, until when, the state.

    Args:
        services: Only the ledger is asked.
        spec: The model file.
        request: What is asked.
        pages: Where the links lead.
        otherwise: What becomes of it without a decision.
    """
    of_run = services.ledger.of_run(request.model, request.run)
    return [
        *_who_decides(spec.approval, request, "asked for it"),
        f"Without a valid decision the request expires on {request.expires_at:%Y-%m-%d at %H:%M} UTC, "
        f"and {otherwise}",
        "",
        *_state(spec.approval, of_run, request, pages),
    ]


def _who_decides(policy: ApprovalSpec, request: Request, did: str) -> list[str]:
    """Say who may decide, and what a decision needs; ``did`` says what the requester did."""
    by_a_person = policy.prevent_self_approval and request.requester is not None
    return [
        f"Who may decide: {who_may_decide(policy)}. A reason of at least {policy.reason_min_length} letters "
        "and digits is required, also to reject.",
        *([f"{_plain(str(request.requester))} {did} and may not approve it."] if by_a_person else []),
        *(["To approve, tick every statement of the checklist."] if policy.checklist else []),
    ]


def _state(policy: ApprovalSpec, events: Sequence[Event], request: Request, pages: Pages) -> list[str]:
    """Show the state of a request by a picture that is always new, and link it."""
    given = len(approval.approvals(events, request.run))
    state = f"Approved by {given} of {policy.required} when this card was created"
    return [
        f"[![{state}; open until {in_utc(request.expires_at)}]({pages.answers})]({pages.answers})",
        "",
        f"[Current state]({pages.answers}), [the page of this decision]({pages.decision})",
        "",
    ]


def body(services: Services, spec: ModelSpec, request: Request, pages: Pages) -> str:
    """Return the card: what would change, verdict, numbers and rules; then every gate, lineage and links.

    All of it comes from the ledger and the registry, nothing from what tasks hand to each other.

    Raises:
        Outage: A part did not answer.
    """
    events = services.ledger.present(request.model, request.candidate, request.champion, run=request.run)
    report = approval.report_asked_about(events, request)
    return "\n".join(
        [
            f"**{cell(in_one_sentence(report, spec))}.**",
            "",
            _ages(events, request),
            "",
            *_profile(spec, events, request.candidate),
            *report.warnings(),
            *ramp_before(events, request),
            f"**{cell(report.sentence())}**, on {count_rows(report.scores.rows)}.",
            "",
            *_rules(spec, request),
            *(
                f"Too early to approve: {problem}."
                for problem in canary.problems(services, events, request.candidate, datetime.now(UTC))
            ),
            "",
            *_state(spec.approval, events, request, pages),
            spec.description,
            "",
            *_asked_for(request),
            report.tables(),
            "",
            *_lineage(services, events, request),
        ]
    )


def _ages(events: Sequence[Event], request: Request) -> str:
    """Say on what was known when candidate and champion were trained, and since when the champion is one."""
    candidate = f"{version_name(request.candidate)}{describe_as_of(events, request.candidate)}"
    if request.champion is None:
        return f"{candidate}; there is no champion yet."
    champion = f"{version_name(request.champion)}{describe_as_of(events, request.champion)}"
    move = history.champion_move(events)
    since = f" ({move.event.replace('_', ' ')} on {in_utc(move.at)})" if move else ""
    older = older_than_champion(events, request.candidate, request.champion)
    warning = f" **⚠️ {version_name(request.candidate)} was trained {older}.**" if older else ""
    return f"{candidate}; champion {champion}{since}.{warning}"


def describe_state(policy: ApprovalSpec, request: Request, events: Iterable[Event]) -> list[str]:
    """Say how a request stands, a line each: how it was closed or until when it is open, and its answers.

    Args:
        policy: The model file's approval section.
        request: What was asked.
        events: The present of the model, with the request's version, champion and run.
    """
    events = list(events)
    of_run = [event for event in events if event.run == request.run]
    answered = describe_answers(policy, approval.answers(of_run, request.run))
    if closing := _closing(request, {event.event: event for event in of_run}):
        return [closing, *answered]
    moved = history.outside_move(events)
    frozen = (
        [
            f"Frozen since {in_utc(moved.at)}: the champion was moved outside Podium, from "
            f"{version_name(moved.from_version)} to {version_name(moved.version)}. Nothing is promoted until "
            "an approver settles it with settle_champion."
        ]
        if moved
        else []
    )
    return [*frozen, f"Open until {in_utc(request.expires_at)}.", *answered]


def _closing(request: Request, newest: Mapping[EventKind, Event]) -> str:
    """Say how a request was closed; "" while it is open."""
    if done := newest.get(EventKind.PROMOTED):
        return f"Promoted on {in_utc(done.at)}: {version_name(done.version)} became champion."
    if done := newest.get(EventKind.ROLLED_BACK):
        return f"Rolled back on {in_utc(done.at)}: {version_name(done.version)} is champion again."
    if done := newest.get(EventKind.REMOVAL_DONE):
        return f"Done on {in_utc(done.at)}: {done.reason}."
    decision = next((newest[kind] for kind in history.DECISIONS if kind in newest), None)
    if decision is None:
        expired = request.expires_at <= datetime.now(UTC)
        return f"Expired on {in_utc(request.expires_at)}. Answers no longer count." if expired else ""
    when = in_utc(decision.at)
    stopped = newest.get(EventKind.PROMOTION_REFUSED) or newest.get(EventKind.ROLLBACK_REFUSED)
    if decision.event is EventKind.APPROVED:
        follows = describe_ramp(newest) or f"The {request.act} follows"
        after = f"Not {_DONE[request.act]}: {stopped.reason}" if stopped else follows
        return f"Approved on {when} by {decision.actor}. {after}."
    if decision.event is EventKind.REJECTED:
        return f"Rejected on {when} by {decision.actor}: {decision.reason}. Answers no longer count."
    word = "Void" if decision.event is EventKind.VOIDED else decision.event.capitalize()
    return f"{word} since {when}: {decision.reason}. Answers no longer count."


def describe_ramp(newest: Mapping[EventKind, Event]) -> str:
    """Say where the ramp of a version stands or how it ended; "" where it had none, or it ended well.

    Args:
        newest: Of each kind the newest event that counts.
    """
    step, ended = newest.get(EventKind.RAMP_STEP), newest.get(EventKind.RAMP_ENDED)
    if ended is not None and (step is None or ended.seq > step.seq):
        return "" if ended.details.get("said") == GOOD else f"Its ramp went {ended.reason}"
    if step is None:
        return ""
    said = str(ramp_of(step))
    return said[0].upper() + said[1:]


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
    lines = [visible(line) for line in lines]
    rows = [row for line in lines for row in wrap.wrap(line)]
    height = _PICTURE_ROW * (len(rows) + 1)
    text = "".join(
        f'<text x="6" y="{_PICTURE_ROW * (place + 1)}" xml:space="preserve">{escape(row)}</text>'
        for place, row in enumerate(rows)
    )
    said = quoteattr(" ".join(lines))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label={said} '
        f'width="{_PICTURE_WIDTH}" height="{height}" '
        f'font-family="monospace" font-size="12">'
        f'<rect width="100%" height="100%" fill="#fff8e1"/>{text}</svg>'
    )


def ramp_before(events: Sequence[Event], request: Request) -> list[str]:
    """Say that an earlier ramp of this version stopped or went back."""
    before = {
        event.event: event
        for event in events
        if event.version == request.version and event.run != request.run
    }
    step = before.get(EventKind.RAMP_STEP)
    said = describe_ramp(before)
    if not said or (step is not None and EventKind.RAMP_ENDED not in before and not ramp_of(step).stopped):
        return []
    return [f"**⚠️ {version_name(request.version)} was approved before. {cell(said)}.**", ""]


def _asked_for(request: Request) -> list[str]:
    """Say who asked for what in the run's form; a request of an older Podium does not know."""
    if request.form is None:
        return []
    who = "a schedule or another Dag" if request.requester is None else _plain(request.requester)
    form = _plain(approval.describe_form(request.form)) if request.form else "all from the model file"
    return [f"Requested by {who}: {form}.", ""]


def _rules(spec: ModelSpec, request: Request) -> list[str]:
    return [
        *_who_decides(spec.approval, request, "triggered this run"),
        f"Without a valid decision the request expires on {request.expires_at:%Y-%m-%d at %H:%M} UTC. The "
        "answer is about exactly these files, this gate report and this champion; if one of them changes, it "
        "is void.",
    ]


def _profile(spec: ModelSpec, events: Sequence[Event], version: int) -> list[str]:
    """Warn of a trial run's version; only a disposable registry asks for its approval."""
    profile = history.profile_of(events, version)
    if profile is None:
        return []
    less = spec.profiles[profile].describe() if profile in spec.profiles else "no longer in the model file"
    return [
        f"**A {profile} version: {profile.purpose}** ({less}). It can be promoted only because this registry "
        "is disposable (PODIUM_EPHEMERAL=true).",
        "",
    ]


def _lineage(services: Services, events: Sequence[Event], request: Request) -> list[str]:
    """Put candidate and champion side by side, as they were registered; tags in MLflow can be edited."""
    numbers = [request.candidate] if request.champion is None else [request.candidate, request.champion]
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
        "git commit": [_plain(short_commit(_fact(side, Tag.GIT_COMMIT))) for side in sides],
        "checksum of all files": [_plain(_fact(side, "manifest_digest")[:12]) for side in sides],
        **_pickle_row(sides),
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


def _pickle_row(sides: Sequence[Event | None]) -> dict[str, list[str]]:
    """Show why a model is trusted that runs code when it is loaded."""
    told = [None if side is None else side.details.get(Tag.PICKLE) for side in sides]
    return (
        {"a pickle, trusted because": [_plain(why) if why else "no pickle" for why in told]}
        if any(told)
        else {}
    )


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
    mlflow = services.settings.mlflow_pages
    version = f"[version]({version_page(mlflow, model, number)})"
    mlflow_run = _fact(registered, "mlflow_run")
    if mlflow_run == _UNKNOWN:
        return version
    experiment = services.registry.experiment_id(mlflow_run)
    return f"[run]({run_page(mlflow, experiment, mlflow_run)}), {version}"


def _fact(registered: Event | None, name: str) -> str:
    """Return what the ledger holds of a version; one that Podium did not register has less."""
    return _UNKNOWN if registered is None else str(registered.details.get(name, _UNKNOWN))


def _plain(text: str) -> str:
    """Show what somebody typed as text: it must not draw links, pictures or tables on the card."""
    return "`" + " ".join(visible(text).replace("`", "'").split()) + "`"
