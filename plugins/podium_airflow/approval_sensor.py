"""The approval sensor: parks a run until people have decided, and judges each answer itself.

Airflow's API checks the options and the assigned users of an answer, but not the form. So every answer is
judged here by the model's policy; one that is not valid is recorded, and the question stays open. The
decision is written to the ledger, which alone counts for the promotion.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Context, Param
from airflow.sdk.exceptions import TaskAwaitingInput
from airflow.sdk.execution_time.hitl import upsert_hitl_detail
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from podium.errors import Outage
from podium.model_file.approval import ROLE
from podium.names import in_utc
from podium_airflow.failures import task_outcomes
from podium_airflow.people import person
from podium_airflow.runs import answers_url, asked_for, run_reference, started_again, triggered_by

if TYPE_CHECKING:
    from podium.ledger.events import Event
    from podium.lifecycle.approval_policy import Answer, Request
    from podium.model_file.spec import ModelSpec
    from podium.services import Services

# An answer within a second of parking can make the scheduler fail the task although the answer was accepted
# (the executor's event comes late and meets the state 'queued'). A retry asks again.
RETRIES_AFTER_LOST_ANSWERS = 100


_while_out = Retrying(
    retry=retry_if_exception_type(Outage),
    wait=wait_exponential(max=30),
    stop=stop_after_delay(timedelta(minutes=10)),
    reraise=True,
)


class ApprovalSensor(HITLOperator):
    """Asks the model's approvers whether a candidate shall be champion, and waits without holding a slot.

    Ends in success when a decision is on record. Whether that promotes is for the ledger to say, not for this
    task's state: marking it as success approves nothing. What it asks about comes from the ledger as well.

    Args:
        spec: The model file.
    """

    # How an operator asks, parks and is resumed is private to Airflow:
    # https://github.com/apache/airflow/blob/providers-standard/1.21.0/providers/standard/src/airflow/providers/standard/operators/hitl.py
    # https://github.com/apache/airflow/tree/3.3.2/task-sdk/src/airflow/sdk
    template_fields: ClassVar[Collection[str]] = ("subject", "body")

    def __init__(self, *, spec: ModelSpec, **kwargs: Any) -> None:
        kwargs.setdefault("retries", RETRIES_AFTER_LOST_ANSWERS)
        kwargs.setdefault("retry_delay", timedelta(seconds=3))
        kwargs["retry_exponential_backoff"] = False
        # Airflow hands over the Dag's params here, which are not this form's.
        kwargs["params"] = {
            "reason": Param("", type="string", title="Reason", description="Why; goes on record."),
            **{
                name: Param(False, type="boolean", title=statement)
                for name, statement in spec.approval.ticks.items()
            },
        }
        policy = spec.approval
        only_users = not any(name.startswith(ROLE) for name in policy.approvers)
        super().__init__(
            subject=f"Promote a version of {spec.name} to champion?",
            options=["Approve", "Reject"],
            assigned_users=[{"id": name, "name": name} for name in policy.approvers] if only_users else None,
            response_timeout=policy.expires_after,
            **kwargs,
        )
        self.spec = spec

    @task_outcomes()
    def execute(self, context: Context) -> dict[str, Any]:
        """Open the request, put up the card and park; return at once if the run has its decision."""
        from podium.lifecycle import approval
        from podium.reporting import approval_card
        from podium.services import connect

        services, run = connect(), run_reference(context)
        if decision := approval.find_decision(services, run):
            return self._close(services, decision)
        policy, model, form = self.spec.approval, self.spec.name, asked_for(context)
        who, again = triggered_by(context), started_again(context)
        request = approval.open_request(services, policy, model, run, who, form, started_again=again)
        if voided := approval.void_changed_form(services, request, form):
            return self._close(services, voided)
        earlier_tries = context["task_instance"].try_number - 1
        if earlier_tries > len(approval.answers(services.ledger.history(self.spec.name), run)):
            approval.record_asked_again(services, request, earlier_tries)
        self.subject = approval_card.subject(request)
        self.body = approval_card.body(services, self.spec, request, answers_url(run))
        raise self._ask(context, request)

    @task_outcomes()
    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Judge an answer: end with the decision, or ask again."""
        from podium.services import connect

        services = connect()
        # Without a retry in place, a person's answer would be lost with the task's try.
        return _while_out(self._judge, services, context, event)

    def _judge(self, services: Services, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        from podium.ledger.history import DECISIONS
        from podium.lifecycle import approval

        request = approval.find_request(services, run_reference(context))
        if event.get("error_type") == "timeout":
            return self._close(services, approval.record_expiry(services, request))
        if voided := approval.void_changed_form(services, request, asked_for(context)):
            return self._close(services, voided)
        champion = services.registry.champion(request.model)
        answer = self._read_answer(event)
        judged = approval.judge(services, self.spec.approval, request, answer, champion)
        if judged.event in DECISIONS:
            return self._close(services, judged)
        words = "approved" if judged.event == "approval_given" else "gave an answer that does not count"
        self.log.warning("%s %s: %s. Asking again.", judged.actor, words, judged.reason)
        raise self._ask(context, request)

    def _read_answer(self, event: Mapping[str, Any]) -> Answer:
        from podium.lifecycle.approval_policy import Answer

        form = event["params_input"] or {}
        return Answer(
            option=next(iter(event["chosen_options"]), ""),
            reason=reason if isinstance(reason := form.get("reason"), str) else "",
            who=person((event["responded_by_user"] or {}).get("name"), self.spec.approval),
            at=event["responded_at"],
            ticked=frozenset(
                statement for name, statement in self.spec.approval.ticks.items() if form.get(name) is True
            ),
        )

    def _ask(self, context: Context, request: Request) -> TaskAwaitingInput:
        """Ask (an earlier answer is cleared); the result, raised, waits until the request expires."""
        upsert_hitl_detail(
            ti_id=context["task_instance"].id,
            options=self.options,
            subject=self.subject,
            body=self.body,
            defaults=None,
            multiple=False,
            params=self.serialized_params,
            assigned_users=self.assigned_users,
        )
        self.log.info(
            "%s Answer under required actions of this task until %s.",
            self.subject,
            in_utc(request.expires_at),
        )
        left = max(request.expires_at - datetime.now(UTC), timedelta(seconds=1))
        return TaskAwaitingInput(method_name="execute_complete", timeout=left)

    def _close(self, services: Services, decision: Event) -> dict[str, Any]:
        from podium.lifecycle.approval import describe_decision
        from podium.lifecycle.registry_sync import mirror

        mirror(services, decision.model)
        self.log.info("%s", describe_decision(decision))
        return decision.as_json()
