"""The approval policy, pure: is this answer valid?"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from podium.errors import PodiumError
from podium.ledger.events import Event, canonical_json
from podium.ledger.history import REMOVAL, VERDICT
from podium.model_file.approval import ROLE, ApprovalSpec, login_key
from podium.names import version_name
from podium.text import is_unseen

APPROVE = "Approve"
REJECT = "Reject"

REASON_MAX_LENGTH = 2_000
# Who asked for a training elsewhere of which nobody knows who started it; no login has such a name.
NOBODY_KNOWN = "nobody known"


class Act(StrEnum):
    """What an approval leads to."""

    PROMOTION = "promotion"
    ROLLBACK = "rollback"
    REMOVAL = "removal"


@dataclass(frozen=True)
class Request:
    """A candidate, a rollback that a watch window proposes, or a removal of versions: it waits for people.

    Attributes:
        seq: Its number in the ledger.
        model: The registered model.
        version: The candidate; of a rollback the version to go back to; None for a removal, of many.
        champion: The champion at the time of asking: promotion compares it before it swaps.
        run: The Airflow run that asks, as ``dag_id/run_id``.
        requester: Who triggered that run, as Airflow's login says; None for a scheduled run; ``NOBODY_KNOWN``
            where somebody may have, and nobody knows who.
        manifest: Digest of the candidate's files; "" for a removal.
        gates: Digest of the gate report that the approver is shown; of a rollback that of the evidence, of a
            removal that of the list of versions.
        expires_at: When the request is void.
        waits: How long it waits in all.
        form: What the run's form asked for, without what was left empty; None where an older Podium asked.
        form_digest: ``form_digest`` of it.
        verdict: The number of the verdict on a watch window that proposes a rollback; None for a promotion.
        why: That verdict in words; of a removal what would go.
        removes: How many old versions would go; 0 for what is no removal.
    """

    seq: int
    model: str
    version: int | None
    champion: int | None
    run: str
    requester: str | None
    manifest: str
    gates: str
    expires_at: datetime
    waits: timedelta
    form: Mapping[str, Any] | None = None
    form_digest: str | None = None
    verdict: int | None = None
    why: str = ""
    removes: int = 0

    @property
    def act(self) -> Act:
        """What an approval leads to."""
        if self.removes:
            return Act.REMOVAL
        return Act.PROMOTION if self.verdict is None else Act.ROLLBACK

    @property
    def candidate(self) -> int:
        """The version that is to be champion, for what is no removal."""
        if self.version is None:
            raise LookupError(f"{self.name} is about no single version")
        return self.version

    @property
    def name(self) -> str:
        """What it is about, as part of a sentence."""
        match self.act:
            case Act.PROMOTION:
                return f"{self.model} {version_name(self.version)}"
            case Act.ROLLBACK:
                return f"{self.model}: {rollback_name(self.champion, self.version)}"
            case Act.REMOVAL:
                return f"{self.model}: {removal_name(self.removes)}"


@dataclass(frozen=True)
class Person:
    """Somebody as Airflow's login names them.

    Attributes:
        name: The login name.
        roles: The Airflow roles.
        active: Whether Airflow has the account and lets it log in; one that was removed decides nothing.
    """

    name: str
    roles: frozenset[str] = frozenset()
    active: bool = True


@dataclass(frozen=True)
class Answer:
    """What somebody answered, as Airflow reports it.

    Attributes:
        option: ``Approve`` or ``Reject``.
        reason: The form's reason; empty where it is missing or no text, since Airflow's API checks no forms.
        who: Who gave it, or None.
        at: When it was given.
        ticked: The statements of the checklist that were ticked.
    """

    option: str
    reason: str
    who: Person | None
    at: datetime
    ticked: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The login name, for the record."""
        return self.who.name if self.who else "unknown"


def act_of(event: Event) -> Act:
    """Tell what an event of a run that asks people is about."""
    if REMOVAL in event.details:
        return Act.REMOVAL
    return Act.ROLLBACK if VERDICT in event.details else Act.PROMOTION


def rollback_name(champion: int | None, version: int | None) -> str:
    """Name a rollback of a champion to a version, as part of a sentence."""
    return f"the rollback of {version_name(champion)} to {version_name(version)}"


def removal_name(versions: int) -> str:
    """Name a removal of so many versions, as part of a sentence."""
    return f"the removal of {versions:,} old version{'s' * (versions != 1)}"


def form_digest(form: Mapping[str, Any]) -> str:
    """Return the sha256 of what a run's form asked for."""
    return hashlib.sha256(canonical_json(form).encode()).hexdigest()


def may_decide(policy: ApprovalSpec, who: Person) -> bool:
    """Tell whether the policy names this person, or one of the person's roles, and the account is active.

    An entry that names a role never names a login, whatever somebody is called.
    """
    named = login_key(who.name) in map(login_key, policy.logins)
    return who.active and (named or not who.roles.isdisjoint(policy.roles))


def who_may_decide(policy: ApprovalSpec) -> str:
    """Name the approvers in words."""
    named = ", ".join(
        f"any {name.removeprefix(ROLE)}" if name.startswith(ROLE) else name for name in policy.approvers
    )
    return named if policy.required == 1 else f"{policy.required} of: {named}"


def reason_problem(reason: str, at_least: int) -> str | None:
    """Say what is wrong with a reason; None if it can go on record.

    Args:
        reason: What somebody wrote.
        at_least: How many letters and digits it must have.
    """
    # Measured first: what is said of it must not depend on megabytes of it.
    if len(reason.strip()) > REASON_MAX_LENGTH:
        return f"the reason has {len(reason.strip()):,} characters, at most {REASON_MAX_LENGTH:,} are allowed"
    if unseen := next(filter(is_unseen, reason.replace("\r\n", "\n")), None):
        name = unicodedata.name(unseen, "no name")
        return (
            f"the reason has the character U+{ord(unseen):04X} ({name}), which cannot be seen; "
            "only line breaks may be among the letters, digits, signs and spaces"
        )
    found = sum(character.isalnum() for character in reason)
    if found < at_least:
        return f"the reason has {found} letters and digits, at least {at_least} are required"
    return None


def approver_of(model: str, policy: ApprovalSpec, asks: Person | None, reason: str) -> str:
    """Return the login of the approver who asks for something that only approvers may ask.

    Args:
        model: The model, which messages name.
        policy: Of the model file.
        asks: Who is logged in; None if that is unknown.
        reason: What they say.

    Raises:
        PodiumError: Nobody is known to ask, the person is not an approver, or the reason is too short.
    """
    if asks is None:
        raise PodiumError(
            f"{model}: the person who asks is unknown; log in to Airflow and trigger this there"
        )
    if not may_decide(policy, asks):
        raise PodiumError(f"{model}: {asks.name} is not an approver (approvers: {who_may_decide(policy)})")
    if wrong := reason_problem(reason, policy.reason_min_length):
        raise PodiumError(f"{model}: {wrong}")
    return asks.name


def problems(
    policy: ApprovalSpec, request: Request, answer: Answer, given: Iterable[Event] = ()
) -> list[str]:
    """Say what is wrong with an answer; empty if it is valid.

    Args:
        policy: The model file's approval section.
        request: What was asked.
        answer: The answer.
        given: The approvals that count already.
    """
    found = []
    if answer.who is None:
        found.append("the answer has no user")
    elif not answer.who.active:
        found.append(f"{answer.who.name} no longer has an active account in Airflow")
    elif not may_decide(policy, answer.who):
        found.append(f"{answer.who.name} is not an approver (approvers: {who_may_decide(policy)})")
    if answer.option not in (APPROVE, REJECT):
        found.append(f"'{answer.option}' is neither {APPROVE} nor {REJECT}")
    if wrong := reason_problem(answer.reason, policy.reason_min_length):
        found.append(wrong)
    if answer.option == APPROVE:
        found += _problems_of_approval(policy, request, answer, given)
    return found


def _problems_of_approval(
    policy: ApprovalSpec, request: Request, answer: Answer, given: Iterable[Event]
) -> list[str]:
    found = []
    name = answer.name
    its_own = request.requester is not None and login_key(name) == login_key(request.requester)
    if policy.prevent_self_approval and request.requester == NOBODY_KNOWN:
        found.append(
            "nobody knows who started the training, so it may have been you: trigger the lifecycle yourself "
            "with its mlflow_run, and let somebody else approve, or set approval.prevent_self_approval: false"
        )
    if policy.prevent_self_approval and its_own:
        found.append(f"{name} triggered this run and may not approve it; somebody else must")
    if login_key(name) in {login_key(event.actor) for event in given}:
        found.append(f"{name} has approved already; another person must")
    return found + [
        f"not ticked: '{statement}'" for statement in policy.checklist if statement not in answer.ticked
    ]
