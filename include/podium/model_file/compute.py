"""The section ``compute``: what a model's heavy tasks (train, validate, score) need of a machine."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, WithJsonSchema, model_validator

from podium.model_file.types import Filled, WrongKey, is_number, looks_like

HEAVY_QUEUE = "train"

_MOST_CORES = 1024
_MEMORY = re.compile(r"[1-9][0-9]{0,8}(Mi|Gi)")
_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# A name with an optional registry before it, and a tag or a digest after it.
_IMAGE = re.compile(
    r"[a-z0-9]([a-z0-9._/:-]*[a-z0-9])?(:[A-Za-z0-9_][A-Za-z0-9._-]*)?(@sha256:[0-9a-f]{64})?"
)


def _check_cores(value: object) -> object:
    if not is_number(value) or not 0 < float(value) <= _MOST_CORES:  # type: ignore[arg-type]
        raise ValueError("must be a number of cores such as 4 or 0.5 (more than zero, at most 1024)")
    return value


def _check_memory(value: str) -> str:
    if not _MEMORY.fullmatch(value):
        raise ValueError("must be an amount such as 512Mi or 8Gi (Mi, Gi; a whole number)")
    return value


def _check_queue(value: str) -> str:
    if not _QUEUE.fullmatch(value):
        raise ValueError("must be the name of one queue: letters, digits, '.', '_' and '-', at most 100")
    return value


def _check_image(value: str) -> str:
    if not _IMAGE.fullmatch(value):
        raise ValueError("must be an image such as registry.example.com/podium:1.2 or podium@sha256:...")
    return value


_Cores = Annotated[
    float,
    BeforeValidator(_check_cores),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": _MOST_CORES}),
]
_Memory = Annotated[str, AfterValidator(_check_memory), looks_like(_MEMORY.pattern, "512Mi", "8Gi")]
_Queue = Annotated[str, AfterValidator(_check_queue), looks_like(_QUEUE.pattern, HEAVY_QUEUE)]
_Image = Annotated[
    str, AfterValidator(_check_image), looks_like(_IMAGE.pattern, "registry.example.com/podium:1.2")
]


class ComputeSpec(Filled):
    """What the heavy tasks need; the light ones run wherever there is room.

    `queue` counts on CeleryExecutor, the others on KubernetesExecutor; a LocalExecutor knows neither.
    """

    cpu: _Cores | None = Field(
        default=None,
        description="Cores of a heavy task's pod, as request and limit; needs `memory`.",
    )
    memory: _Memory | None = Field(
        default=None,
        description="Memory of a heavy task's pod, as request and limit; needs `cpu`.",
    )
    gpu: StrictInt | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Graphics cards (`nvidia.com/gpu`) of a heavy task's pod; needs `cpu` and `memory`.",
    )
    queue: _Queue = Field(
        default=HEAVY_QUEUE,
        description="Celery queue of the heavy tasks; at least one worker must listen to it.",
    )
    image: _Image | None = Field(
        default=None, description="Image of the heavy tasks' pods, instead of the installation's."
    )

    @model_validator(mode="after")
    def _amounts_go_together(self) -> Self:
        """A pod's own amounts replace the installation's altogether: what is left out would be unlimited."""
        if (self.cpu, self.memory, self.gpu) != (None, None, None):
            for key in ("cpu", "memory"):
                if getattr(self, key) is None:
                    raise WrongKey("missing; cpu and memory go together, and a gpu needs both", key)
        return self
