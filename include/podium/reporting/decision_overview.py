"""One decision in full: what would change, how it was judged, who may decide, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from podium.gates.report import (
    CONTRACT,
    GateReport,
    GateResult,
    GateStatus,
    number,
)
from podium.gates.stored_report import kept_in
from podium.ledger import history
from podium.ledger.events import CHAMPION_MOVES, Event, EventKind
from podium.ledger.evidence import EvidenceStore
from podium.ledger.history import DECISIONS
from podium.lifecycle import canary
from podium.lifecycle.approval import answers, describe_form, find_request, report_asked_about
from podium.lifecycle.approval_policy import Act, Person, Request, removal_name
from podium.lifecycle.removal import Listed, versions_asked_about
from podium.model_file.metric_gate import Level
from podium.model_file.metric_names import KNOWN_METRICS
from podium.model_file.spec import ModelSpec
from podium.monitoring.watching import Question
from podium.names import CHAMPION, Tag, in_utc, short_commit, version_name
from podium.reporting.comparison import in_one_sentence
from podium.reporting.overview import Waiting, describe, waiting
from podium.reporting.watched import evidence_of
from podium.services import Services

_UNKNOWN = "unknown"
_FACTS = {
    "trained on": Tag.TRAINED_ON,
    "judged on (its own holdout)": Tag.JUDGED_ON,
    "as of": Tag.AS_OF,
    "data version": Tag.DATA_VERSION,
    "git commit": Tag.GIT_COMMIT,
    "checksum of all files": "manifest_digest",
    "copied from": Tag.COPIED_FROM,
}
_ENDS = {
    EventKind.PROMOTED: "is promoted: it became champion on {at}.",
    EventKind.PROMOTION_REFUSED: "was approved and could not be promoted: {why}",
    EventKind.ROLLED_BACK: "is done: it became champion again on {at}.",
    EventKind.ROLLBACK_REFUSED: "was approved and could not be done: {why}",
    EventKind.REMOVAL_DONE: "was done on {at}: {why}.",
}


@dataclass(frozen=True)
class Compared:
    """One metric of candidate and champion on the same rows.

    Attributes:
        name: The metric.
        candidate: Its number.
        champion: The champion's; "" without one.
        verdict: ``better``, ``worse``, ``equal``, or "" where nobody can tell.
    """

    name: str
    candidate: str
    champion: str
    verdict: str


@dataclass(frozen=True)
class DecisionPage:
    """All that the page of one decision shows.

    Attributes:
        request: What is asked.
        spec: The model file; None if there is none any more.
        report: The gate report that the request is bound to; None for what is no promotion.
        evidence: Of a rollback what the watch window asked and saw.
        listed: Of a removal the versions that would go.
        waits: Who may decide, and what keeps the reader from it.
        answers: What was answered so far.
        closing: The decision; None while it is open.
        end: What the promotion came to, or None.
        champion_since: What made the champion champion, or None.
        problems: Why it is too early to approve.
        facts: Of candidate and champion: name, candidate's, champion's.
        mlflow_run: The candidate's training run; "" if nobody knows it.
        mine: The reader's newest answer, or None.
        newest: The number of the newest event that the page shows.
    """

    request: Request
    spec: ModelSpec | None
    report: GateReport | None
    evidence: Sequence[Question]
    listed: Sequence[Listed]
    waits: Waiting
    answers: Sequence[Event]
    closing: Event | None
    end: Event | None
    champion_since: Event | None
    problems: Sequence[str]
    facts: Sequence[tuple[str, str, str]]
    mlflow_run: str
    mine: Event | None
    newest: int

    @property
    def open(self) -> bool:
        """Whether an answer can still count."""
        return self.closing is None and self.request.expires_at > datetime.now(UTC)

    @property
    def moving(self) -> bool:
        """Whether more happens by itself: a promotion after an approval, or a decision after an answer."""
        approved = self.closing is not None and self.closing.event is EventKind.APPROVED
        return (approved and self.end is None) or (self.closing is None and self.waits.given > 0)

    @property
    def gates(self) -> list[GateResult]:
        """The gates, those that failed first."""
        return [] if self.report is None else sorted(self.report.results, key=_gate_order)

    @property
    def pictures(self) -> tuple[str, ...]:
        """The folders of the training run that hold pictures: its own, and that of the gate report."""
        version = self.request.version
        return () if version is None else ("", kept_in(version, self.request.champion))

    @property
    def state(self) -> str:
        """Where the request stands, in one sentence."""
        name = self._name
        if self.end is not None:
            at, why = in_utc(self.end.at), self.end.reason
            return f"{name} {_ENDS[self.end.event].format(at=at, why=why)}"
        if self.closing is not None and self.closing.event is EventKind.APPROVED:
            return f"{name} was approved by {self.closing.actor}; the {self.request.act} is in progress."
        if self.closing is not None:
            return f"Closed on {in_utc(self.closing.at)}: {describe(self.closing)}. Answers no longer count."
        if not self.open:
            return f"Expired on {in_utc(self.request.expires_at)}: nobody decided. Answers no longer count."
        return f"Waits for {self.waits.may_decide}; {self.waits.given} of {self.waits.needed} have approved."

    @property
    def _name(self) -> str:
        """What is asked, as the subject of a sentence."""
        match self.request.act:
            case Act.PROMOTION:
                return version_name(self.request.version)
            case Act.ROLLBACK:
                return f"The rollback to {version_name(self.request.version)}"
            case Act.REMOVAL:
                return removal_name(self.request.removes).capitalize()

    def metrics(self) -> list[Compared]:
        """Compare all metrics of candidate and champion."""
        if self.report is None:
            return []
        reference = self.report.scores.references.get(CHAMPION, {})
        return [
            _compared(name, value, reference.get(name))
            for name, value in self.report.scores.candidate.items()
        ]

    def sentence(self) -> str:
        """Say in one sentence what an approval changes."""
        if self.request.act is Act.REMOVAL:
            return self.request.why
        if self.report is None:
            return f"The watch window of {version_name(self.request.champion)} said {self.request.why}"
        return in_one_sentence(self.report, self.spec)


def decision_page(services: Services, spec: ModelSpec | None, asked: Event, person: Person) -> DecisionPage:
    """Read what the page of a decision shows, by as many queries for an old model as for a new one.

    Args:
        services: Only the ledger is asked.
        spec: The model file, if there is one.
        asked: The event ``approval_requested``.
        person: Who looks.

    Raises:
        NotFound: The ledger holds no gate report of what is asked.
        Outage: The ledger did not answer.
    """
    request = find_request(services, str(asked.run))
    events = services.ledger.present(request.model, request.version, request.champion, run=request.run)
    of_run = [event for event in events if event.run == request.run]
    given = answers(of_run, request.run)
    closing = next((event for event in of_run if event.event in DECISIONS), None)
    mine = [event for event in of_run if event.actor.lower() == person.name.lower() and _is_answer(event)]
    act, version = request.act, request.version
    too_early = (
        canary.problems(services, events, request.candidate, datetime.now(UTC))
        if act is Act.PROMOTION and closing is None
        else []
    )
    return DecisionPage(
        request=request,
        spec=spec,
        report=report_asked_about(events, request) if act is Act.PROMOTION else None,
        evidence=(
            evidence_of(EvidenceStore(services.ledger).one(request.gates).read())
            if act is Act.ROLLBACK
            else ()
        ),
        listed=versions_asked_about(services.ledger, request.gates) if act is Act.REMOVAL else (),
        waits=waiting(spec, request, of_run, person),
        answers=given,
        closing=closing,
        end=next((event for event in reversed(of_run) if event.event in _ENDS), None),
        champion_since=_since(events, request.champion),
        problems=too_early,
        facts=_facts(events, request),
        mlflow_run="" if version is None else _mlflow_run(events, version),
        mine=mine[-1] if mine else None,
        newest=max(event.seq for event in of_run),
    )


def asked_for(request: Request) -> str:
    """Say who asked for the version, and with which form."""
    if request.act is Act.ROLLBACK:
        return f"the watch window of {version_name(request.champion)}"
    if request.act is Act.REMOVAL:
        return f"retention, which {request.requester or 'a schedule'} started"
    who = request.requester or "a schedule or another Dag"
    form = describe_form(request.form) if request.form else "all from the model file"
    return f"{who}: {form}"


def describe_mine(page: DecisionPage) -> tuple[bool, str]:
    """Say what became of the reader's newest answer, and whether it counts."""
    mine = page.mine
    if mine is None:
        return True, ""
    when = in_utc(mine.at)
    if mine.event is EventKind.ANSWER_INVALID:
        return False, f"Your answer of {when} did not count: {mine.reason}. Nothing was decided."
    if mine.event is EventKind.REJECTED:
        act = page.request.act
        what = version_name(page.request.version) if act is Act.PROMOTION else f"the {act}"
        return True, f"Recorded on {when}: you rejected {what}. The request is closed."
    counts = f"{page.waits.given} of {page.waits.needed} approvals"
    return True, f"Recorded on {when}: your approval counts ({counts})."


def _is_answer(event: Event) -> bool:
    return event.event in (EventKind.APPROVAL_GIVEN, EventKind.ANSWER_INVALID, EventKind.REJECTED)


def _since(events: Sequence[Event], version: int | None) -> Event | None:
    moves = [event for event in events if event.event in CHAMPION_MOVES and event.version == version]
    return moves[-1] if moves and version is not None else None


def _facts(events: Sequence[Event], request: Request) -> list[tuple[str, str, str]]:
    candidate, champion = (
        None if version is None else history.registration(events, version)
        for version in (request.version, request.champion)
    )
    rows = [(name, _fact(candidate, key), _fact(champion, key)) for name, key in _FACTS.items()]
    return [row for row in rows if any(value not in ("", _UNKNOWN) for value in row[1:])]


def _fact(registered: Event | None, key: str) -> str:
    if registered is None:
        return ""
    value = str(registered.details.get(key, _UNKNOWN))
    if key == Tag.GIT_COMMIT:
        return short_commit(value)
    short = {Tag.AS_OF: 10, Tag.DATA_VERSION: 12, "manifest_digest": 12}
    return value[: short.get(key, 200)]


def _mlflow_run(events: Sequence[Event], version: int) -> str:
    registered = history.registration(events, version)
    return "" if registered is None else str(registered.details.get("mlflow_run", ""))


def _compared(name: str, candidate: float, champion: float | None) -> Compared:
    known = KNOWN_METRICS.get(name)
    if champion is None:
        return Compared(name, number(candidate), "", "")
    # Nobody sees a difference that the digits do not show.
    if number(candidate) == number(champion):
        return Compared(name, number(candidate), number(champion), "equal")
    if known is None:
        return Compared(name, number(candidate), number(champion), "")
    is_better = (candidate > champion) == known.greater_is_better
    return Compared(name, number(candidate), number(champion), "better" if is_better else "worse")


def _gate_order(result: GateResult) -> tuple[int, int]:
    failed = result.status is GateStatus.FAILED
    order = 0 if failed and result.level is Level.REQUIRED else 1 if failed else 2
    if result.status in (GateStatus.NO_CHAMPION, GateStatus.WAIVED):
        order = 4
    return (3 if order == 2 and result.kind == CONTRACT else order), 0
