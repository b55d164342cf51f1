"""The section `approval`: who decides on a promotion, and how."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StrictBool, StrictInt, model_validator

from podium.model_file.types import Closed, Duration, Name, WrongKey, once

ROLE = "role:"


class ApprovalSpec(Closed):
    """Who may decide, and how.

    Attributes:
        approvers: Names of Airflow users, as they log in, and of Airflow roles with ``role:`` before them.
        required: How many distinct people must approve. One rejection is enough.
        prevent_self_approval: Whoever triggered the run may not approve it.
        reason_min_length: Characters that a reason must have at least.
        checklist: Statements that each approver must tick.
        expires_after: How long a request waits; then it is recorded as expired.
        valid_for: How long after the approval the promotion may still begin.
    """

    approvers: Annotated[tuple[Name, ...], AfterValidator(once("each name once"))] = Field(min_length=1)
    required: StrictInt = Field(default=1, ge=1)
    prevent_self_approval: StrictBool = True
    reason_min_length: StrictInt = Field(default=10, ge=1)
    checklist: Annotated[tuple[Name, ...], AfterValidator(once("each statement once"))] = ()
    expires_after: Duration = timedelta(days=3)
    valid_for: Duration = timedelta(days=1)

    @model_validator(mode="after")
    def _enough_approvers(self) -> Self:
        if ROLE in self.approvers:
            place = self.approvers.index(ROLE)
            raise WrongKey(f"names no role; write {ROLE}NAME", "approvers", place)
        only_users = not any(name.startswith(ROLE) for name in self.approvers)
        if only_users and len(self.approvers) < self.required:
            raise WrongKey(f"only {len(self.approvers)} may approve (approval.approvers)", "required")
        return self
