"""``podium pending``, ``approve`` and ``reject``: what waits for people, and their answers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from podium.cli.app import Json, Model, app, console, logged_in_to_airflow, print_json
from podium.errors import PodiumError

if TYPE_CHECKING:
    from podium.ledger.events import Event
    from podium.reporting.pending import Pending
    from podium.services import Services

_TASK = "approve"
Number = Annotated[
    int | None, typer.Option("--request", help="Where more than one decision waits: the number of one.")
]
# Enough people have approved: so long it takes until the task has recorded the decision.
_DECIDES_WITHIN_SECONDS = 60
Reason = Annotated[str, typer.Option(help="The reason; it goes on record.")]
Yes = Annotated[bool, typer.Option("--yes", help="Tick all statements of the checklist without asking.")]
User = Annotated[str, typer.Option(envvar="PODIUM_AIRFLOW_USER", help="Your login in Airflow.")]
Password = Annotated[str, typer.Option(envvar="PODIUM_AIRFLOW_PASSWORD", show_default=False)]


@app.command()
def pending(as_json: Json = False) -> None:
    """Show what waits for approval, the most urgent first."""
    from podium.reporting.links import airflow_of
    from podium.reporting.pending import all_pending
    from podium.services import connect

    services = connect()
    found = all_pending(services, airflow_of(services.settings))
    if as_json:
        print_json([item.as_json() for item in found])
        return
    for item in found:
        _show(item)
    if not found:
        console.print("Nothing waits for approval.")


@app.command()
def approve(  # noqa: PLR0913 - what the command line says
    model: Model,
    reason: Reason,
    yes: Yes = False,
    number: Number = None,
    user: User = "",
    password: Password = "",
) -> None:
    """Approve the waiting version, rollback or removal in Airflow; prints whether the approval counts."""
    _answer(model, "Approve", reason, yes=yes, number=number, user=user, password=password)


@app.command()
def reject(  # noqa: PLR0913 - as above
    model: Model,
    reason: Reason,
    yes: Yes = False,
    number: Number = None,
    user: User = "",
    password: Password = "",
) -> None:
    """Reject the waiting version, rollback or removal in Airflow; prints whether the rejection counts."""
    _answer(model, "Reject", reason, yes=yes, number=number, user=user, password=password)


def _show(item: Pending) -> None:
    console.print(item.headline, style="bold", highlight=False)
    for line in filter(None, (item.comparison, item.people(), item.link)):
        console.print(f"  {line}", highlight=False, soft_wrap=line == item.link)


def _answer(  # noqa: PLR0913 - what the command line said
    model: str, option: str, reason: str, *, yes: bool, number: int | None, user: str, password: str
) -> None:
    from podium.reporting.links import airflow_of
    from podium.reporting.pending import pending_of
    from podium.services import connect

    services = connect()
    item = pending_of(services, model, airflow_of(services.settings), number)
    _refuse_reason(item, reason)
    _show(item)
    name = item.request.name
    ticks = _ticks(item, yes=yes) if option == "Approve" else {}
    if not yes and not typer.confirm(f"{option} {name}?"):
        raise PodiumError(f"no answer was sent; {name} still waits for approval")
    airflow = logged_in_to_airflow(services.settings.airflow_url, user, password)
    dag_id, _, run_id = item.request.run.partition("/")
    before = {event.seq for event in services.ledger.of_run(model, item.request.run)}
    refusal: PodiumError | None = None
    try:
        airflow.answer(dag_id, run_id, _TASK, option, {"reason": reason, **ticks})
    except PodiumError as error:
        # The answer may be on record all the same: Airflow keeps one of two, Podium both.
        refusal = error
    new = [event for event in services.ledger.of_run(model, item.request.run) if event.seq not in before]
    _say_what_became_of_it(services, item, airflow.user, new, refusal)


def _refuse_reason(item: Pending, reason: str) -> None:
    from podium.lifecycle.approval_policy import reason_problem

    at_least = 1 if item.spec is None else item.spec.approval.reason_min_length
    if wrong := reason_problem(reason, at_least):
        raise PodiumError(f"--reason: {wrong}; no answer was sent")


def _ticks(item: Pending, *, yes: bool) -> dict[str, bool]:
    statements = {} if item.spec is None else item.spec.approval.ticks
    return {field: yes or typer.confirm(f"Confirm: {text}") for field, text in statements.items()}


def _say_what_became_of_it(
    services: Services, item: Pending, user: str, new: list[Event], refusal: PodiumError | None
) -> None:
    """Print what the record says of an answer.

    Raises:
        PodiumError: It does not count, or is not on record.
    """
    from podium.lifecycle.approval import find_decision
    from podium.lifecycle.approval_policy import Act
    from podium.model_file.approval import login_key

    name, act = item.request.name, item.request.act
    own = [event for event in new if login_key(event.actor) == login_key(user)]
    invalid = [event for event in own if event.event == "answer_invalid"]
    if not own:
        raise refusal or PodiumError(f"{name}: the answer of {user} is not on record; look at {item.link}")
    if invalid:
        raise PodiumError(f"{name}: your answer does not count: {invalid[-1].reason}. It is on record")
    if any(event.event == "rejected" for event in own):
        stays = "no version goes" if act is Act.REMOVAL else "the champion stays"
        console.print(f"{name} is rejected. Your answer is on record, and {stays}.")
        return
    given = {login_key(who) for who in (*item.given, user)}
    required = 1 if item.spec is None else item.spec.approval.required
    if len(given) < required:
        console.print(f"Your approval of {name} counts: {len(given)} of {required}. Others must approve too.")
        return
    with console.status("your approval counts; waiting for the decision"):
        decision = None
        until = time.monotonic() + _DECIDES_WITHIN_SECONDS
        while decision is None and time.monotonic() < until:
            decision = find_decision(services, item.request.run)
            time.sleep(0 if decision else 0.5)
    if decision is None:
        console.print(
            f"Your approval of {name} counts. Airflow has not continued yet; "
            "`podium status` shows when it has."
        )
    elif decision.event == "approved":
        does, shows = {
            Act.PROMOTION: ("promotes it", "status"),
            Act.ROLLBACK: ("rolls back", "status"),
            Act.REMOVAL: ("removes these versions", "history"),
        }[act]
        console.print(f"{name} is approved. Podium {does} now; `podium {shows}` shows when it has.")
    else:
        raise PodiumError(f"{name} is {decision.event}, not approved: {decision.reason}")
