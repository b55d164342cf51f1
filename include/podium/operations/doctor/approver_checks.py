"""The approvers that model files name: does Airflow know them, and may they answer?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from podium.errors import PodiumError
from podium.lifecycle.approval_policy import Person, may_decide, who_may_decide
from podium.model_file.approval import ApprovalSpec, login_key
from podium.model_file.loading import load_specs
from podium.names import LOOKUP_ACCOUNT, LOOKUP_PASSWORD
from podium.operations.airflow_client import Account, AirflowClient
from podium.operations.doctor.findings import Finding, State
from podium.settings import Settings

APPROVERS = "approvers"
_ANSWER = ("can_edit", "HITL Detail")


def check_approvers(settings: Settings) -> Iterator[Finding]:
    """Ask Airflow for its accounts and roles, and compare the model files with them."""
    missing = [
        *(["PODIUM_AIRFLOW_URL"] if settings.airflow_url is None else []),
        *([LOOKUP_PASSWORD] if settings.lookup_password is None else []),
    ]
    if settings.airflow_url is None or settings.lookup_password is None:
        yield Finding(APPROVERS, State.NOT_CHECKED, f"{' and '.join(missing)} not set")
        return
    try:
        password = settings.lookup_password.get_secret_value()
        airflow = AirflowClient(settings.airflow_url, LOOKUP_ACCOUNT, password)
        accounts, permissions = airflow.accounts(), airflow.permissions()
    except PodiumError as error:
        remedy = (
            f"start Airflow; its account {LOOKUP_ACCOUNT} gets a known password by `podium stack rotate "
            "airflow_podium`, in containers by `make compose-up`"
        )
        yield Finding(APPROVERS, State.PROBLEM, str(error), remedy)
        return
    for name, spec in load_specs(settings.models_dir)[0].items():
        part, remedy = (
            f"{APPROVERS} of {name}",
            "correct the account in Airflow, or approvers in the model file",
        )
        problems = approver_problems(spec.approval, accounts, permissions)
        for problem in problems:
            yield Finding(part, State.PROBLEM, problem, remedy)
        if not problems:
            yield Finding(part, State.OK, f"{who_may_decide(spec.approval)}: Airflow lets them answer")


def approver_problems(
    policy: ApprovalSpec, accounts: Sequence[Account], permissions: Mapping[str, frozenset[tuple[str, str]]]
) -> list[str]:
    """Say which approvers cannot decide, and whether too few are left.

    Args:
        policy: The model file's approval section.
        accounts: All of Airflow's.
        permissions: What each of Airflow's roles may.
    """
    may_answer = {role for role, held in permissions.items() if _ANSWER in held}
    able = [account for account in accounts if account.active and account.roles & may_answer]
    said = [_login_problem(login, accounts, able) for login in policy.logins]
    said += [_role_problem(role, permissions, may_answer, able) for role in policy.roles]
    people = [account for account in able if may_decide(policy, Person(account.name, account.roles))]
    if len(people) < policy.required:
        said.append(f"{policy.required} must approve, but only {len(people)} can")
    return [problem for problem in said if problem]


def _login_problem(login: str, accounts: Sequence[Account], able: Sequence[Account]) -> str:
    found = [account for account in accounts if login_key(account.name) == login_key(login)]
    if not found:
        return f"{login} has no account in Airflow"
    if found[1:]:
        return f"{' and '.join(account.name for account in found)} are two accounts: neither counts"
    if not found[0].active:
        return f"the account {login} is not active"
    if found[0] not in able:
        return f"{login} has the roles {', '.join(sorted(found[0].roles)) or 'none'}, which may not answer"
    return ""


def _role_problem(
    role: str, permissions: Mapping[str, object], may_answer: set[str], able: Sequence[Account]
) -> str:
    if role not in permissions:
        return f"Airflow has no role {role}"
    if role not in may_answer:
        return f"the role {role} has no right to answer ({' '.join(_ANSWER)})"
    if not any(role in account.roles for account in able):
        return f"nobody with an active account has the role {role}"
    return ""
