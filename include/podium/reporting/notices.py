"""What people are told without looking: from an event, or from what is overdue, to a text.

The subject can be read alone. Notices of one incident have one key, so that a later one takes the place of
an earlier one, or follows it in one thread; each has an id of its own, by which it is told once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from podium.errors import PodiumError
from podium.gates.report import count_rows
from podium.ledger.events import Event, EventKind
from podium.ledger.history import DAMAGES
from podium.lifecycle.approval import report_asked_about
from podium.lifecycle.approval_policy import Act, Request, who_may_decide
from podium.lifecycle.ramped import GOOD
from podium.lifecycle.retention_rules import size_text
from podium.model_file.approval import ROLE, ApprovalSpec, login_key
from podium.model_file.notify import Topic
from podium.model_file.spec import ModelSpec
from podium.monitoring.verdicts import alarms_in
from podium.names import in_utc, version_name
from podium.reporting.comparison import in_one_sentence
from podium.reporting.links import decision_page, model_page, models_page

# Told in quiet hours too.
URGENT = (
    *(Topic.ESCALATION, Topic.MOVED_OUTSIDE, Topic.SERVERS_BEHIND, Topic.LEDGER_DAMAGED),
    Topic.DAMAGED,
)
_DECIDED = {
    EventKind.APPROVED: "was approved by {actor}",
    EventKind.REJECTED: "was rejected by {actor}",
    EventKind.EXPIRED: "expired: nobody decided in time",
    EventKind.SUPERSEDED: "no longer needs a decision: a newer candidate replaced it",
    EventKind.VOIDED: "no longer needs a decision: the version, its gates or the champion changed",
}
_FOLLOWS_A_PROMOTION = {
    EventKind.APPROVED: "Podium promotes it now.",
    EventKind.REJECTED: "{stays}",
    EventKind.EXPIRED: "{stays} To ask again, start the lifecycle again.",
    EventKind.SUPERSEDED: "Answers no longer count. {stays}",
    EventKind.VOIDED: "Nothing was promoted. Start the lifecycle again to ask about the present state.",
}
_FOLLOWS_A_ROLLBACK = {
    EventKind.APPROVED: "Podium rolls back now.",
    EventKind.REJECTED: "{stays}",
    EventKind.EXPIRED: "{stays} `podium rollback` still works.",
    EventKind.SUPERSEDED: "Answers no longer count.",
    EventKind.VOIDED: "Answers no longer count.",
}
_FOLLOWS_A_REMOVAL = {
    EventKind.APPROVED: "Podium removes exactly these versions now, as far as nothing keeps them by then.",
    EventKind.REJECTED: "No version goes. The next run of retention asks again: hold what has to stay.",
    EventKind.EXPIRED: "No version goes. The next run of retention asks again.",
    EventKind.SUPERSEDED: "No version goes.",
    EventKind.VOIDED: "No version goes.",
}
_FOLLOWS = {
    Act.PROMOTION: _FOLLOWS_A_PROMOTION,
    Act.ROLLBACK: _FOLLOWS_A_ROLLBACK,
    Act.REMOVAL: _FOLLOWS_A_REMOVAL,
}
_WHY = "By {actor}: {reason}"
_FOLLOW = "Model servers and batch scoring follow within seconds."
# Of each event the topic, the subject and the sentences.
_OF_CHAMPION: Mapping[EventKind, tuple[Topic, str, str, str]] = {
    EventKind.GATES_REFUSED: (
        Topic.REFUSED_BY_GATES,
        "{version} was refused by its gates",
        "{reason}",
        "Nobody is asked to approve it, and the champion stays.",
    ),
    EventKind.PROMOTED: (Topic.CHAMPION_CHANGED, "{version} is champion now, {over}", _WHY, _FOLLOW),
    EventKind.PROMOTION_REFUSED: (
        Topic.NOT_PROMOTED,
        "{version} was approved but could not be promoted",
        "{reason}",
        "The champion has not changed.",
    ),
    EventKind.ROLLED_BACK: (
        Topic.ROLLED_BACK,
        "the champion was rolled back, {before} to {version}",
        _WHY,
        _FOLLOW,
    ),
    EventKind.MOVED_OUTSIDE: (
        Topic.MOVED_OUTSIDE,
        "FROZEN: the champion was moved outside Podium, {before} to {version}",
        "{reason}",
        "An approver settles it with settle_champion, unless the model file reverts it at once.",
    ),
    EventKind.OUTSIDE_MOVE_ACCEPTED: (
        Topic.SETTLED,
        "no longer frozen: the move outside Podium to {version} was accepted",
        _WHY,
        _FOLLOW,
    ),
    EventKind.OUTSIDE_MOVE_REVERTED: (
        Topic.SETTLED,
        "no longer frozen: the champion is back at {version}",
        _WHY,
        _FOLLOW,
    ),
    EventKind.CHAMPION_ADOPTED: (
        Topic.CHAMPION_CHANGED,
        "{version} was adopted as champion",
        _WHY,
        "Nothing was moved: it was champion already.",
    ),
}
# Of these events one run records many: they are told of together.
OF_MANY_VERSIONS = (EventKind.QUARANTINED, EventKind.DELETED)


@dataclass(frozen=True)
class Notice:
    """What a channel is told.

    Attributes:
        topic: By it the channels are chosen.
        model: The registered model; "" for what is about all.
        subject: One line that can be read alone.
        text: All that is to be said, a sentence or two a line.
        key: The incident.
        id: Of this notice alone.
        link: The page where to look, or decide; "" if nobody said where Airflow is.
        people: Logins, and roles as ``role:Approver``, whom it concerns.
    """

    topic: Topic
    model: str
    subject: str
    text: str
    key: str
    id: str
    link: str = ""
    people: tuple[str, ...] = ()

    @property
    def urgent(self) -> bool:
        """Whether it is told in quiet hours too."""
        return self.topic in URGENT


def approval_wanted(request: Request, spec: ModelSpec, comparison: str, airflow: str) -> Notice:
    """Ask for a decision; ``comparison_of`` says how the candidate compares, or what else is asked."""
    topic = Topic.REMOVAL_WANTED if request.act is Act.REMOVAL else Topic.APPROVAL_WANTED
    over = "as the first champion" if request.champion is None else f"over {version_name(request.champion)}"
    who, until = request.requester or "A schedule", in_utc(request.expires_at)
    said = {
        Act.PROMOTION: (
            f"{who} asks to promote {request.model} {version_name(request.version)}, {over}.",
            comparison,
        ),
        Act.ROLLBACK: (comparison,),
        Act.REMOVAL: (
            comparison,
            "Without an approval no version goes. The page of the decision lists each with size and age.",
        ),
    }[request.act]
    return _to_deciders(request, spec.approval, airflow, topic, f"waits for approval until {until}", *said)


def reminder(request: Request, policy: ApprovalSpec, airflow: str) -> Notice:
    """Say that half of the time is over."""
    what = f"still waits for approval, until {in_utc(request.expires_at)}"
    said = "Half of the time is over, and nobody has decided."
    return _to_deciders(request, policy, airflow, Topic.REMINDER, what, said)


def escalation(request: Request, policy: ApprovalSpec, airflow: str) -> Notice:
    """Say that a request is about to expire."""
    what = f"expires at {in_utc(request.expires_at)} unless somebody decides"
    said = f"90% of the time is over. Without a decision the request is closed then. {_stays(request)}"
    return _to_deciders(request, policy, airflow, Topic.ESCALATION, what, said)


def answer_did_not_count(event: Event, request: Request, airflow: str) -> Notice:
    """Tell whoever answered that nothing follows from it."""
    notice = _of_request(
        request,
        airflow,
        Topic.ANSWER_DID_NOT_COUNT,
        f"the answer of {event.actor} did not count",
        f"Why: {event.reason}.",
        "Nothing was decided.",
    )
    return replace(notice, id=f"event:{event.seq}", people=(event.actor,))


def decided(event: Event, request: Request, spec: ModelSpec | None, airflow: str) -> Notice:
    """Say how a request ended."""
    said = _DECIDED[event.event].format(actor=event.actor)
    then = _FOLLOWS[request.act][event.event].format(stays=_stays(request))
    notice = _of_request(request, airflow, Topic.DECIDED, said, f"Why: {event.reason}.", then)
    asked = () if request.requester is None else (request.requester,)
    deciders = () if spec is None else spec.approval.approvers
    return replace(notice, id=f"event:{event.seq}", people=(*asked, *deciders))


def of_event(event: Event, airflow: str) -> Notice | None:
    """Tell of an event that is about no request; None if it is not to be told."""
    tell = _TELLS.get(event.event)
    return None if tell is None else tell(event, airflow)


def _of_champion(event: Event, airflow: str) -> Notice:
    """Tell that the champion was moved, or why a version does not become it."""
    before = version_name(event.from_version)
    words = {
        "version": version_name(event.version),
        "before": before,
        "over": "the first champion" if event.from_version is None else f"over {before}",
        "actor": event.actor,
        "reason": event.reason,
    }
    topic = _OF_CHAMPION[event.event][0]
    what, *sentences = (text.format(**words) for text in _OF_CHAMPION[event.event][1:])
    outside = topic in (Topic.MOVED_OUTSIDE, Topic.SETTLED)
    return Notice(
        topic,
        event.model,
        f"{event.model}: {what}" if ":" in what or what.startswith("the ") else f"{event.model} {what}",
        "\n".join(sentences),
        key=f"{event.model}:moved-outside" if outside else f"{event.model}:event:{event.seq}",
        id=f"event:{event.seq}",
        link=model_page(airflow, event.model) if airflow else "",
    )


def _of_monitoring(event: Event, airflow: str) -> Notice | None:
    """Tell of an alarm, or of a training that it starts; None where nobody need look."""
    version, wanted = version_name(event.version), event.event is EventKind.RETRAIN_WANTED
    if not wanted and not alarms_in(event.details):
        return None
    what = "asks for a training" if wanted else "raised an alarm"
    then = (
        "Its lifecycle starts automatically if that Dag is switched on; gates and approval still apply."
        if wanted
        else f"The champion keeps serving. `podium drift {event.model}` shows the windows; "
        "docs/monitoring.md explains each verdict."
    )
    return Notice(
        Topic.MONITORING,
        event.model,
        f"{event.model} {version}: monitoring {what}: {event.reason}",
        then,
        key=f"{event.model}:monitoring:{event.version}",
        id=f"event:{event.seq}",
        link=model_page(airflow, event.model) if airflow else "",
    )


def _of_watch(event: Event, airflow: str) -> Notice:
    """Tell how a watch window ended, or that the freeze after one did."""
    details = event.details
    said, goes_back = details.get("said"), details.get("auto_rollback")
    then = "The champion keeps serving."
    if event.event is EventKind.WATCH_SETTLED:
        then = "Versions of the model can be promoted again."
    elif said == "bad" and goes_back == "on":
        then = "Podium rolls it back, and promotes no version until an approver settles it."
    elif said == "bad" and goes_back == "propose":
        then = "The champion keeps serving until a person decides; a card asks the approvers."
    elif details.get("freezes") or event.event is EventKind.WATCH_FROZE:
        then = (
            "Nothing was moved. No version is promoted until an approver settles it: settle_champion, accept."
        )
    what = f"ended its watch window: {event.reason}"
    if event.event is EventKind.WATCH_SETTLED:
        what = f"is free again: {event.actor} settled its watch window: {event.reason}"
    elif event.event is EventKind.WATCH_FROZE:
        what = f"is frozen: {event.reason}"
    return Notice(
        Topic.WATCH,
        event.model,
        f"{event.model} {version_name(event.version)} {what}",
        then,
        key=f"{event.model}:watch:{details.get('promotion', event.seq)}",
        id=f"event:{event.seq}",
        link=model_page(airflow, event.model) if airflow else "",
    )


def of_versions(events: Sequence[Event], airflow: str) -> Notice:
    """Tell which versions a run of retention put into quarantine, or deleted.

    Args:
        events: Those of one run and of one of the kinds ``OF_MANY_VERSIONS``, oldest first.
        airflow: Where Airflow is.
    """
    last, names = events[-1], [version_name(event.version) for event in events]
    size = size_text(sum(int(event.details.get("bytes", 0)) for event in events))
    many = f"{len(names):,} old version{'s' * (len(names) != 1)}"
    were = "were" if names[1:] else "was"
    if last.event is EventKind.QUARANTINED:
        topic, what = Topic.QUARANTINED, f"{many} went to quarantine"
        them, one = ("them", "one") if names[1:] else ("it", "it")
        then = f"Nobody can use {them}. An approver restores {one}: `podium restore {last.model} VERSION`."
    else:
        topic, what = Topic.DELETED, f"{many} {were} deleted for good"
        then = f"{'Their' if names[1:] else 'Its'} record stays in the ledger."
    return Notice(
        topic,
        last.model,
        f"{last.model}: {what}, {size}",
        "\n".join([f"{', '.join(names)}: {last.reason}.", then]),
        key=f"{last.model}:{topic}:{last.run}",
        id=f"event:{last.seq}",
        link=model_page(airflow, last.model) if airflow else "",
    )


def _of_check(event: Event, airflow: str) -> Notice | None:
    """Tell of files that had to stay and are changed or gone; None where all is well."""
    if not event.details.get(DAMAGES):
        return None
    return Notice(
        Topic.DAMAGED,
        event.model,
        f"{event.model}: FROZEN: files of versions that had to stay are damaged",
        "\n".join(
            [
                *event.details[DAMAGES],
                "Nothing is promoted or deleted. Restore the files from a backup, then run retention again.",
            ]
        ),
        key=f"{event.model}:damaged",
        id=f"event:{event.seq}",
        link=model_page(airflow, event.model) if airflow else "",
    )


def _of_ramp(event: Event, airflow: str) -> Notice | None:
    """Tell that a ramp stopped or went back; None for a step up, and where a promotion follows."""
    version, share = version_name(event.version), event.details.get("share")
    if event.event is EventKind.RAMP_STEP:
        if not event.details.get("stopped"):
            return None
        what = f"{version}: its ramp stopped at {share}% of the clients: {event.reason}"
        then = "The share stays, and goes to 0 on bad evidence. To ask again, start a run with this version."
    else:
        if event.details.get("said") == GOOD:
            return None
        what = f"{version}: its ramp went {event.reason}"
        then = "The champion answers all clients."
    return Notice(
        Topic.WATCH,
        event.model,
        f"{event.model} {what}",
        then,
        key=f"{event.model}:ramp:{event.run}",
        id=f"event:{event.seq}",
        link=model_page(airflow, event.model) if airflow else "",
    )


_TELLS: Mapping[EventKind, Callable[[Event, str], Notice | None]] = {
    **dict.fromkeys(_OF_CHAMPION, _of_champion),
    **dict.fromkeys((EventKind.WATCH_JUDGED, EventKind.WATCH_FROZE, EventKind.WATCH_SETTLED), _of_watch),
    **dict.fromkeys((EventKind.RAMP_STEP, EventKind.RAMP_ENDED), _of_ramp),
    **dict.fromkeys((EventKind.WINDOWS_JUDGED, EventKind.RETRAIN_WANTED), _of_monitoring),
    **dict.fromkeys(OF_MANY_VERSIONS, lambda event, airflow: of_versions([event], airflow)),
    EventKind.RETENTION_CHECKED: _of_check,
}


def run_failed(model: str, run: str, why: str, address: str) -> Notice:
    """Say that a run of Airflow failed for good.

    Args:
        model: The registered model; "" if the run is of none.
        run: As ``dag_id/run_id``.
        why: What is known of it.
        address: Of the run's page.
    """
    dag = run.partition("/")[0]
    return Notice(
        Topic.RUN_FAILED,
        model,
        f"{model or dag}: the run {run} failed",
        f"{why}\nThere is no further retry. Fix the cause, then clear the failed task or start a new run.",
        key=f"run:{run}",
        id=f"run-failed:{run}",
        link=address,
    )


def run_missing(model: str, dag: str, due: datetime, paused: bool, airflow: str) -> Notice:
    """Say that a scheduled run did not start."""
    why = (
        f"The Dag {dag} is paused: an operator must switch it on in Airflow."
        if paused
        else f"The Dag {dag} is switched on: check that Airflow's scheduler runs (`podium doctor`)."
    )
    return Notice(
        Topic.RUN_MISSING,
        model,
        f"{model}: the run that was due at {in_utc(due)} has not started",
        why,
        key=f"{model}:run-missing",
        id=f"run-missing:{dag}:{due.isoformat()}",
        link=model_page(airflow, model) if airflow else "",
    )


def servers_behind(move: Event, behind: list[str], airflow: str) -> Notice:
    """Say which model servers do not answer with the champion."""
    return Notice(
        Topic.SERVERS_BEHIND,
        move.model,
        f"{move.model}: {len(behind)} model server{'s' if behind[1:] else ''} behind champion "
        f"{version_name(move.version)}, since {in_utc(move.at)}",
        "\n".join([*behind, "The servers' logs show the reason."]),
        key=f"{move.model}:servers-behind",
        id=f"servers-behind:{move.seq}",
        link=model_page(airflow, move.model) if airflow else "",
    )


def ledger_damaged(problems: list[str], day: datetime, airflow: str) -> Notice:
    """Say that the record is not whole."""
    more = [f"and {len(problems) - 1} more"] if problems[1:] else []
    return Notice(
        Topic.LEDGER_DAMAGED,
        "",
        "the ledger is damaged: its record was changed",
        "\n".join([problems[0], *more, "Run `podium verify`, and see docs/runbook.md before anything else."]),
        key="ledger-damaged",
        id=f"ledger-damaged:{day:%Y-%m-%d}",
        link=models_page(airflow) if airflow else "",
    )


def trial(channel: str, now: datetime, airflow: str) -> Notice:
    """A notice with nothing in it, to try a channel."""
    return Notice(
        Topic.ALL,
        "",
        f"a test of the channel {channel}",
        "Somebody ran `podium notify test`. Nothing happened to any model.",
        key="test",
        id=f"test:{now.isoformat()}",
        link=models_page(airflow) if airflow else "",
    )


def comparison_of(events: Iterable[Event], request: Request, spec: ModelSpec | None) -> str:
    """Say how what is asked about compares with the champion, or why nobody can say.

    Of a rollback that is what the watch window said, of a removal what would go.

    One report that cannot be read keeps no other request from being told.

    Args:
        events: The present of the model, with the request's version.
        request: What was asked.
        spec: The model file, if there is one.
    """
    if request.act is Act.ROLLBACK:
        return f"The watch window of {version_name(request.champion)} said {request.why}."
    if request.act is Act.REMOVAL:
        return f"{request.why}."
    try:
        report = report_asked_about(events, request)
    except PodiumError as error:
        return f"Its gate report cannot be shown: {error}."
    judged = f"On the holdout of {count_rows(report.scores.rows)} it {report.verdict()}."
    return f"{in_one_sentence(report, spec)}. {judged}"


def _stays(request: Request) -> str:
    if request.act is Act.REMOVAL:
        return "No version goes."
    if request.champion is None:
        return "There is still no champion."
    return f"The champion stays {version_name(request.champion)}."


def time_left(request: Request, share: float) -> datetime:
    """Return the moment when so much of a request's time is over."""
    return request.expires_at - request.waits * (1 - share)


def _of_request(request: Request, airflow: str, topic: Topic, what: str, *sentences: str) -> Notice:
    name = request.name
    return Notice(
        topic,
        request.model,
        f"{name}: {what}" if what.startswith("the ") else f"{name} {what}",
        "\n".join(sentences),
        key=f"{request.model}:approval:{request.seq}",
        id=f"{topic}:{request.seq}",
        link=decision_page(airflow, request.seq) if airflow else "",
    )


def _to_deciders(
    request: Request, policy: ApprovalSpec, airflow: str, topic: Topic, what: str, *sentences: str
) -> Notice:
    who = f"Who may decide: {who_may_decide(policy)}."
    notice = _of_request(request, airflow, topic, what, *sentences, who)
    return replace(notice, people=_deciders(policy, request))


def _deciders(policy: ApprovalSpec, request: Request) -> tuple[str, ...]:
    """Return the approvers, without whoever may not approve because they asked."""
    asked = login_key(request.requester or "")
    return tuple(
        name
        for name in policy.approvers
        if name.startswith(ROLE) or not (policy.prevent_self_approval and login_key(name) == asked)
    )
