"""Who may delete files in MLflow: the task of the Dag ``retention``, and no code of a trainer.

Where tasks are children of one process, all of them get its environment. So each task of Podium forgets this
password before it does anything; on Kubernetes only the pod of this one task has it.
"""

from __future__ import annotations

import os
from typing import Any

from airflow.sdk import conf

from podium.errors import PodiumError
from podium.names import RETENTION_PASSWORD

_SECRET, _KEY, _TASK_CONTAINER = "podium-retention", "password", "base"
_kept: list[str] = []


def forget_retention_password() -> None:
    """Take the password out of the environment, where what a task starts and loads would find it."""
    if password := os.environ.pop(RETENTION_PASSWORD, None):
        _kept[:] = [password]


def retention_password() -> str:
    """Return the password, for the one task that deletes.

    Raises:
        PodiumError: This process was given none.
    """
    if not _kept:
        raise PodiumError(
            f"{RETENTION_PASSWORD} is not set where this task runs: nothing can be deleted. "
            "docs/retention.md says who gets it"
        )
    return _kept[0]


def with_retention_password() -> dict[str, Any]:
    """Return what the task is made with: on Kubernetes a pod that has the password."""
    if "KubernetesExecutor" not in conf.get("core", "executor"):
        return {}
    from kubernetes.client import models

    source = models.V1EnvVarSource(secret_key_ref=models.V1SecretKeySelector(name=_SECRET, key=_KEY))
    variable = models.V1EnvVar(name=RETENTION_PASSWORD, value_from=source)
    container = models.V1Container(name=_TASK_CONTAINER, env=[variable])
    return {"executor_config": {"pod_override": models.V1Pod(spec=models.V1PodSpec(containers=[container]))}}
