"""The approval sensors: they park a run until people have decided, and judge each answer themselves.

Airflow's API checks the options and the assigned users of an answer, but not the form. So every answer is
judged here by the model's policy; one that is not valid is recorded, and the question stays open. The
decision is written to the ledger, which alone counts for the promotion.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context
from airflow.sdk.exceptions import TaskAwaitingInput
from airflow.sdk.execution_time.hitl import upsert_hitl_detail
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from podium.errors import Outage
from podium.names import in_utc
from podium.text import one_line
from podium_airflow.answers import read_answer
from podium_airflow.elsewhere import announced_by
from podium_airflow.failures import task_outcomes
from podium_airflow.forms import approval_form
from podium_airflow.people import person
from podium_airflow.runs import (
    airflow_path,
    answers_url,
    asked_for,
    run_reference,
    started_again,
    triggered_by,
    wanted_by,
)

if TYPE_CHECKING:
    from podium.ledger.events import Event
    from podium.lifecycle.approval_policy import Request
    from podium.model_file.spec import ModelSpec
    from podium.reporting.approval_card import Pages
    from podium.services import Services

    _Card = Callable[[Services, ModelSpec, Request, Pages], str]

# An answer within a second of parking can make the scheduler fail the task although the answer was accepted
# (the executor's event comes late and meets the state 'queued'). A retry asks again.
RETRIES_AFTER_LOST_ANSWERS = 100


_while_out = Retrying(
    retry=retry_if_exception_type(Outage),
    wait=wait_exponential(max=30),
    stop=stop_after_delay(timedelta(minutes=10)),
    reraise=True,
)


class DecisionSensor(HITLOperator):
    """Asks the approvers of a model, and waits without holding a slot.

    Ends in success when a decision is on record. What follows from that is for the ledger to say, not for
    this task's state: marking it as success approves nothing. What it asks about comes from the ledger as
    well.
    """

    # How an operator asks, parks and is resumed is private to Airflow:
    # https://github.com/apache/airflow/blob/providers-standard/1.21.0/providers/standard/src/airflow/providers/standard/operators/hitl.py
    # https://github.com/apache/airflow/tree/3.3.2/task-sdk/src/airflow/sdk
    template_fields: ClassVar[Collection[str]] = ("subject", "body")
    spec: ModelSpec

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("retries", RETRIES_AFTER_LOST_ANSWERS)
        kwargs.setdefault("retry_delay", timedelta(seconds=3))
        kwargs["retry_exponential_backoff"] = False
        super().__init__(options=["Approve", "Reject"], **kwargs)

    def _put_up(self, services: Services, context: Context, request: Request, card: _Card) -> None:
        """Put up the card and park; return at once if the request is closed already."""
        from podium.lifecycle import approval
        from podium.reporting import approval_card
        from podium.reporting.links import decision_page

        # It may have been overtaken before anybody was asked.
        if decision := self._decide(services, request):
            return self._close(services, decision)
        earlier_tries = context["task_instance"].try_number - 1
        of_run = services.ledger.of_run(request.model, request.run)
        if earlier_tries > len(approval.answers(of_run, request.run)):
            approval.record_asked_again(services, request, earlier_tries)
        pages = approval_card.Pages(answers_url(request.run), decision_page(airflow_path(), request.seq))
        self.body = card(services, self.spec, request, pages)
        return self._ask(services, context, request)

    @task_outcomes()
    def execute_complete(self, context: Context, event: dict[str, Any]) -> None:
        """Judge an answer: end with the decision, or ask again."""
        from podium.services import connect

        services = connect()
        self._read_spec(services, context)
        # Without a retry in place, a person's answer would be lost with the task's try.
        return _while_out(self._judge, services, context, event)

    def _judge(self, services: Services, context: Context, event: Mapping[str, Any]) -> None:
        from podium.ledger.history import DECISIONS
        from podium.lifecycle import approval

        request = approval.find_request(services, run_reference(context))
        if voided := self._voided(services, context, request):
            return self._close(services, voided)
        if event.get("error_type") == "timeout":
            in_time = self._decide(services, request)
            return self._close(services, in_time or approval.record_expiry(services, request))
        who = person((event["responded_by_user"] or {}).get("name"))
        answer = read_answer(self.spec, event, who, event["responded_at"])
        champion = services.registry.champion(request.model)
        judged = approval.judge(services, self.spec.approval, request, answer, champion)
        if judged.event in DECISIONS:
            return self._close(services, judged)
        words = "approved" if judged.event == "approval_given" else "gave an answer that does not count"
        actor, why = one_line(judged.actor), one_line(judged.reason)
        self.log.warning("%s: %s %s: %s. Asking again.", request.name, actor, words, why)
        return self._ask(services, context, request)

    def _read_spec(self, services: Services, context: Context) -> None:
        """Know the model file."""

    def _voided(self, services: Services, context: Context, request: Request) -> Event | None:  # noqa: ARG002 - of those that have a form
        """Void a request whose run has another form by now."""
        return None

    def _decide(self, services: Services, request: Request) -> Event | None:
        from podium.lifecycle.approval import decide

        return decide(services, self.spec.approval, request, services.registry.champion(request.model))

    def _ask(self, services: Services, context: Context, request: Request) -> None:
        """Ask (an earlier answer is cleared) and park until the request expires.

        Raises:
            TaskAwaitingInput: Always, but where answers that came meanwhile have decided.
        """
        from podium.reporting import approval_card

        # Of a run that was resumed the operator knows only the Dag's placeholder.
        self.subject = approval_card.subject(request)
        upsert_hitl_detail(
            ti_id=context["task_instance"].id,
            options=self.options,
            subject=self.subject,
            body=self.body,
            defaults=None,
            multiple=False,
            # No param of the task: Airflow would check its schema at each parse.
            params={name: field.serialize() for name, field in approval_form(self.spec.approval).items()},
            assigned_users=self.assigned_users,
        )
        # What was answered until then found the earlier answer in its way, and waits in the ledger only.
        if decision := self._decide(services, request):
            return self._close(services, decision)
        self.log.info(
            "%s Answer under required actions of this task until %s.",
            self.subject,
            in_utc(request.expires_at),
        )
        left = max(request.expires_at - datetime.now(UTC), timedelta(seconds=1))
        raise TaskAwaitingInput(method_name="execute_complete", timeout=left)

    def _close(self, services: Services, decision: Event) -> None:
        from podium.lifecycle.approval import describe_decision
        from podium.lifecycle.registry_sync import mirror

        with services.ledger.lock(decision.model):
            mirror(services, decision.model)
        self.log.info("%s", one_line(describe_decision(decision)))


class ApprovalSensor(DecisionSensor):
    """Asks the model's approvers whether a candidate should become champion.

    Args:
        spec: The model file.
    """

    def __init__(self, *, spec: ModelSpec, **kwargs: Any) -> None:
        super().__init__(
            subject=f"Promote a version of {spec.name} to champion?",
            assigned_users=_assigned(spec),
            response_timeout=spec.approval.expires_after,
            **kwargs,
        )
        self.spec = spec

    @task_outcomes()
    def execute(self, context: Context) -> None:
        """Open the request, put up the card and park; return at once if the run has its decision."""
        from podium.lifecycle import approval
        from podium.reporting import approval_card
        from podium.services import connect

        services, run = connect(), run_reference(context)
        if decision := approval.find_decision(services, run):
            return self._close(services, decision)
        policy, model, form = self.spec.approval, self.spec.name, self._form(context)
        who = self._requester(context)
        again = started_again(context)
        request = approval.open_request(services, policy, model, run, who, form, started_again=again)
        if voided := self._voided(services, context, request):
            return self._close(services, voided)
        return self._put_up(services, context, request, approval_card.body)

    def _voided(self, services: Services, context: Context, request: Request) -> Event | None:
        from podium.lifecycle.approval import void_changed_form

        return void_changed_form(services, request, self._form(context))

    def _requester(self, context: Context) -> str | None:
        """Name who asked for what is to be approved; None for a schedule."""
        from podium.lifecycle.approval_policy import NOBODY_KNOWN

        if (announced := announced_by(context, self.spec)) is not None:
            return announced.asked_by or NOBODY_KNOWN
        if wanted_by(context, self.spec) is not None:
            return f"monitoring of {self.spec.name}"
        # A schedule takes what somebody has trained meanwhile.
        return triggered_by(context) or (NOBODY_KNOWN if self.spec.training is not None else None)

    def _form(self, context: Context) -> dict[str, Any]:
        """Return what the run's form asked for, and what started the run, if it was an asset."""
        form = asked_for(context)
        if (announced := announced_by(context, self.spec)) is not None:
            return form | {"started by": f"training run {announced.mlflow_run}"}
        wanted = wanted_by(context, self.spec)
        return form | ({} if wanted is None else {"started by": wanted.reason})


class ProposalSensor(DecisionSensor):
    """Asks the approvers of a model about what Podium itself proposes.

    The run is named after an event on record, and so its model is known only when the task runs.
    """

    @task_outcomes()
    def execute(self, context: Context) -> None:
        """Open the request, put up the card and park; return at once if the run has its decision."""
        from podium.lifecycle import approval
        from podium.services import connect

        services, run = connect(), run_reference(context)
        self._read_spec(services, context)
        if decision := approval.find_decision(services, run):
            return self._close(services, decision)
        request = self._request(services, run)
        return self._put_up(services, context, request, self._card())

    def _read_spec(self, services: Services, context: Context) -> None:
        from podium.model_file.loading import find_spec
        from podium.settings import models_dir

        self.spec = find_spec(models_dir(), self._proposal(services, run_reference(context)).model)
        self.assigned_users = _assigned(self.spec)

    def _proposal(self, services: Services, run: str) -> Event:
        """Return the event that the run is named after."""
        raise NotImplementedError

    def _request(self, services: Services, run: str) -> Request:
        """Record what the run asks."""
        raise NotImplementedError

    def _card(self) -> _Card:
        """Return what writes the card."""
        raise NotImplementedError


class RollbackSensor(ProposalSensor):
    """Asks the approvers of a model whether to roll back, as a watch window proposes."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(subject="Roll back?", **kwargs)

    def _proposal(self, services: Services, run: str) -> Event:
        from podium.monitoring.watch_propose import verdict_of

        return verdict_of(services.ledger, run)

    def _request(self, services: Services, run: str) -> Request:
        from podium.monitoring.watch_propose import propose

        return propose(services, self.spec.approval, run)

    def _card(self) -> _Card:
        from podium.reporting import rollback_card

        return rollback_card.body


class RemovalSensor(ProposalSensor):
    """Asks the approvers of a model whether many old versions may go."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(subject="Remove old versions?", **kwargs)

    def _proposal(self, services: Services, run: str) -> Event:
        from podium.lifecycle.removal import proposal_of

        return proposal_of(services.ledger, run)

    def _request(self, services: Services, run: str) -> Request:
        from podium.lifecycle.removal import ask

        return ask(services, self.spec.approval, run)

    def _card(self) -> _Card:
        from podium.reporting import removal_card

        return removal_card.body


def _assigned(spec: ModelSpec) -> list[Any] | None:
    """Return whom Airflow lets answer; None where a role names people, whom the ledger judges then."""
    policy = spec.approval
    return None if policy.roles else [{"id": name, "name": name} for name in policy.approvers]
