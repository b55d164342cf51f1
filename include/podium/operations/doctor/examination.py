"""All checks, one after the other; each fails on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from podium.operations.doctor.airflow_checks import check_airflow
from podium.operations.doctor.approver_checks import check_approvers
from podium.operations.doctor.findings import Check, Finding, State, without_secrets
from podium.operations.doctor.ledger_checks import LEDGER, SCHEMA, check_ledger, check_server_role
from podium.operations.doctor.machine_checks import check_clocks, check_libraries, check_space
from podium.operations.doctor.mlflow_checks import MLFLOW, check_mlflow
from podium.operations.doctor.model_checks import CHAMPIONS, check_champions, check_model_files
from podium.operations.doctor.notify_checks import check_notifications
from podium.operations.doctor.store_checks import check_store
from podium.settings import Settings

_CHECKS: tuple[Check, ...] = (
    check_ledger,
    check_server_role,
    check_mlflow,
    check_store,
    check_airflow,
    check_clocks,
    check_libraries,
    check_space,
    check_model_files,
    check_approvers,
    check_notifications,
)
_CHAMPIONS_NEED = (LEDGER, SCHEMA, MLFLOW)


def examine(settings: Settings, working: Callable[[str], None]) -> Iterator[Finding]:
    """Yield all findings, as soon as each is known; none holds a secret.

    Args:
        settings: Where the parts are.
        working: Told what is looked at now.
    """
    away = []
    for check in _CHECKS:
        working(check.__name__.replace("_", " ").replace("check", "checking"))
        for finding in check(settings):
            if finding.part in _CHAMPIONS_NEED and finding.state is State.PROBLEM:
                away.append(finding.part)
            yield without_secrets(finding, settings)
    missing = [
        *(["PODIUM_LEDGER_URL"] if not settings.ledger_url.get_secret_value() else []),
        *(["MLFLOW_TRACKING_URI"] if not settings.mlflow_tracking_uri else []),
    ]
    if missing:
        yield Finding(CHAMPIONS, State.NOT_CHECKED, f"{' and '.join(missing)} not set")
    elif away:
        yield Finding(CHAMPIONS, State.NOT_CHECKED, f"they need {' and '.join(away)}, see above")
    else:
        for finding in check_champions(working):
            yield without_secrets(finding, settings)
