"""Where heavy tasks run: the section ``compute`` of a model file in the words of Airflow's executors.

A LocalExecutor knows neither queues nor pods, so on one machine all of this says nothing.
KubernetesExecutor takes ``pod_override`` only as an object of the Kubernetes client, whose import takes half
a second: a Dag file imports it only where that executor is used, for a model that asks for something.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from airflow.sdk import conf

if TYPE_CHECKING:
    from kubernetes.client import V1Pod

    from podium.model_file.compute import ComputeSpec

_KUBERNETES = "KubernetesExecutor"
# The container of a worker's pod that runs the task.
_TASK_CONTAINER = "base"
_GPU = "nvidia.com/gpu"


def heavy(compute: ComputeSpec) -> dict[str, Any]:
    """Return what a task that trains, evaluates or scores is made with: its queue, on Kubernetes its pod."""
    pod = _pod(compute) if _runs_on_kubernetes() else None
    return {"queue": compute.queue, "executor_config": {"pod_override": pod} if pod else None}


@functools.cache
def _runs_on_kubernetes() -> bool:
    """True where an executor of the list, which may name a team and an alias besides, is Kubernetes'."""
    return _KUBERNETES in conf.get("core", "executor")


def _pod(compute: ComputeSpec) -> V1Pod | None:
    """Return what is different in a pod of the heavy tasks; None where nothing is asked for."""
    amounts = {"cpu": _cores(compute.cpu), "memory": compute.memory, _GPU: _text(compute.gpu)}
    asked = {name: amount for name, amount in amounts.items() if amount is not None}
    if not asked and compute.image is None:
        return None

    from kubernetes.client import models

    # Requested and at most used are the same: a training that takes more ends itself, not its neighbours.
    resources = models.V1ResourceRequirements(requests=asked, limits=asked) if asked else None
    container = models.V1Container(name=_TASK_CONTAINER, image=compute.image, resources=resources)
    return models.V1Pod(spec=models.V1PodSpec(containers=[container]))


def _cores(cpu: float | None) -> str | None:
    """Write cores as Kubernetes does where they are whole, and else in thousandths."""
    if cpu is None:
        return None
    return str(int(cpu)) if float(cpu).is_integer() else f"{max(1, round(cpu * 1000))}m"


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
