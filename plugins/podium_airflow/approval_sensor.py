"""The approval sensor: parks a run until a person has decided, and judges the answer itself.

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
from podium_airflow.outcomes import task_outcomes
from podium_airflow.runs import run_reference

if TYPE_CHECKING:
    from podium.approval import Request
    from podium.ledger import Event
    from podium.parts import Parts
    from podium.spec import ModelSpec

# An answer within a second of parking can make the scheduler fail the task although the answer was accepted
# (the executor's event comes late and meets the state 'queued'). A retry asks again.
RETRIES_AFTER_LOST_ANSWERS = 20


_while_out = Retrying(
    retry=retry_if_exception_type(Outage),
    wait=wait_exponential(max=30),
    stop=stop_after_delay(timedelta(minutes=10)),
    reraise=True,
)


class ApprovalSensor(HITLOperator):
    """Asks the model's approvers whether a candidate shall be champion, and waits without holding a slot.

    Ends in success when a decision is on record: approved, rejected or expired. Whether that promotes is for
    the ledger to say, not for this task's state: marking it as success approves nothing.

    Args:
        spec: The model file.
        nomination: What ``nominate`` returned: model, version and the champion it was compared with.
        report: The gate report as JSON, for the card.
    """

    template_fields: ClassVar[Collection[str]] = ("subject", "body", "nomination", "report")

    def __init__(
        self, *, spec: ModelSpec, nomination: Mapping[str, Any], report: Mapping[str, Any], **kwargs: Any
    ) -> None:
        kwargs.setdefault("retries", RETRIES_AFTER_LOST_ANSWERS)
        kwargs.setdefault("retry_delay", timedelta(seconds=3))
        kwargs.setdefault("max_retry_delay", timedelta(minutes=1))
        # Airflow hands over the Dag's params here, which are not this form's.
        kwargs["params"] = {
            "reason": Param("", type="string", title="Reason", description="Why; goes on record.")
        }
        super().__init__(
            subject=f"Promote a version of {spec.name} to champion?",
            options=["Approve", "Reject"],
            assigned_users=[{"id": name, "name": name} for name in spec.approval.approvers],
            response_timeout=spec.approval.expires_after,
            **kwargs,
        )
        self.spec = spec
        self.nomination = nomination
        self.report = report

    @task_outcomes()
    def execute(self, context: Context) -> dict[str, Any]:
        """Open the request, put up the card and park; return at once if the run has its decision."""
        from podium import approval, card
        from podium.parts import connect

        parts = connect()
        run = run_reference(context)
        if decision := approval.find_decision(parts.ledger, run):
            return self._close(parts, decision)
        request = approval.open_request(parts.ledger, self.spec.approval, self.nomination, run)
        self.subject = card.subject(request)
        self.body = card.body(parts, self.spec, request, self.report)
        raise self._ask(context, request)

    @task_outcomes()
    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Judge an answer: record the decision, or say what is wrong and ask again."""
        from podium.parts import connect

        parts = connect()
        # Without a retry in place, a person's answer would be lost with the task's try.
        return _while_out(self._judge, parts, context, event)

    def _judge(self, parts: Parts, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        from podium import approval

        request = approval.find_request(parts.ledger, run_reference(context))
        if event.get("error_type") == "timeout":
            return self._close(parts, approval.record_expiry(parts.ledger, request))
        answer = approval.Answer(
            option=next(iter(event["chosen_options"]), ""),
            reason=str((event["params_input"] or {}).get("reason") or ""),
            user=(event["responded_by_user"] or {}).get("id"),
            at=event["responded_at"],
        )
        if answer.at >= request.expires_at:
            return self._close(parts, approval.record_expiry(parts.ledger, request))
        if found := approval.problems(self.spec.approval, answer):
            approval.record_invalid(parts.ledger, request, answer, found)
            self.log.warning("This answer does not count: %s. Asking again.", "; ".join(found))
            raise self._ask(context, request)
        return self._close(parts, approval.record_decision(parts.ledger, request, answer))

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
            "%s Answer under required actions of this task until %s UTC.",
            self.subject,
            f"{request.expires_at:%Y-%m-%d %H:%M}",
        )
        left = max(request.expires_at - datetime.now(UTC), timedelta(seconds=1))
        return TaskAwaitingInput(method_name="execute_complete", timeout=left)

    def _close(self, parts: Parts, decision: Event) -> dict[str, Any]:
        from podium.approval import decision_in_words, mirror_decision

        mirror_decision(parts.registry, parts.ledger, decision)
        self.log.info("%s", decision_in_words(decision))
        return decision.as_json()
