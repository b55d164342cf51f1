"""The section `approval`: who decides on a promotion, and how."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StrictBool, StrictInt, model_validator

from podium.model_file.types import Closed, Duration, Name, WrongKey, once

ROLE = "role:"


def login_key(name: str) -> str:
    """Return by what two names are of one account, as Airflow logs in: in whatever case they are written."""
    return name.strip().lower()


def _approver(name: str) -> str:
    """Return an entry as it is compared: without blanks around it, and ``Role: X`` as ``role:X``."""
    if not name.strip().lower().startswith(ROLE):
        return name.strip()
    return f"{ROLE}{name.strip()[len(ROLE) :].strip()}"


def _each_once(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse a login that is there twice, in whatever case."""
    once("each name once")(tuple(name if name.startswith(ROLE) else login_key(name) for name in names))
    return names


Approver = Annotated[Name, AfterValidator(_approver)]


class ApprovalSpec(Closed):
    """Who may decide, and how."""

    approvers: Annotated[tuple[Approver, ...], AfterValidator(_each_once)] = Field(
        min_length=1,
        description="People who may decide: Airflow users by login name, in any case, and Airflow roles as "
        "`role:Approver`.",
    )
    required: StrictInt = Field(
        default=1,
        ge=1,
        description="How many different people must approve; one rejection is enough to refuse.",
    )
    prevent_self_approval: StrictBool = Field(
        default=True, description="The person who triggered the run may not approve it, but may reject it."
    )
    reason_min_length: StrictInt = Field(
        default=10, ge=1, description="How many letters and digits a reason must have, at least."
    )
    checklist: Annotated[tuple[Name, ...], AfterValidator(once("each statement once"))] = Field(
        default=(), description="Statements that each approver must tick to approve."
    )
    expires_after: Duration = Field(
        default=timedelta(days=3),
        description="How long a request waits for a decision; after that it expires.",
    )
    valid_for: Duration = Field(
        default=timedelta(days=1), description="How long after the approval the promotion may still start."
    )

    @property
    def ticks(self) -> dict[str, str]:
        """Name the form's field of each statement of the checklist.

        By its words: a tick on a card that is up never stands for another statement of a changed checklist.
        """
        return {f"tick_{sha256(text.encode()).hexdigest()[:12]}": text for text in self.checklist}

    @property
    def logins(self) -> tuple[str, ...]:
        """The approvers that are accounts."""
        return tuple(name for name in self.approvers if not name.startswith(ROLE))

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles whose members are approvers."""
        return tuple(name.removeprefix(ROLE) for name in self.approvers if name.startswith(ROLE))

    @model_validator(mode="after")
    def _enough_approvers(self) -> Self:
        if "" in self.approvers:
            raise WrongKey("names nobody; write a login name", "approvers", self.approvers.index(""))
        if ROLE in self.approvers:
            place = self.approvers.index(ROLE)
            raise WrongKey(f"names no role; write {ROLE}NAME", "approvers", place)
        if not self.roles and len(self.approvers) < self.required:
            raise WrongKey(f"only {len(self.approvers)} may approve (approval.approvers)", "required")
        return self
