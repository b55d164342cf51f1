"""The section ``compute``: what a model's heavy tasks (train, validate, score) need of a machine."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, model_validator

from podium.model_file.types import Filled, WrongKey, is_number

HEAVY_QUEUE = "train"

_MEMORY = re.compile(r"[1-9][0-9]{0,8}(Mi|Gi)")
_QUEUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
# A name with an optional registry before it, and a tag or a digest after it.
_IMAGE = re.compile(
    r"[a-z0-9]([a-z0-9._/:-]*[a-z0-9])?(:[A-Za-z0-9_][A-Za-z0-9._-]*)?(@sha256:[0-9a-f]{64})?"
)


def _check_cores(value: object) -> object:
    if not is_number(value) or not 0 < float(value) <= 1024:  # type: ignore[arg-type]
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


class ComputeSpec(Filled):
    """What the heavy tasks need; the light ones run wherever there is room.

    ``queue`` counts on CeleryExecutor, the others on KubernetesExecutor; a LocalExecutor knows neither.

    Attributes:
        cpu: Cores, requested and at most used.
        memory: Bytes as ``512Mi`` or ``8Gi``, requested and at most used.
        gpu: Graphics cards.
        queue: The queue whose workers run the heavy tasks.
        image: The image of the heavy tasks' pods.
    """

    cpu: Annotated[float, BeforeValidator(_check_cores)] | None = None
    memory: Annotated[str, AfterValidator(_check_memory)] | None = None
    gpu: StrictInt | None = Field(default=None, ge=1, le=64)
    queue: Annotated[str, AfterValidator(_check_queue)] = HEAVY_QUEUE
    image: Annotated[str, AfterValidator(_check_image)] | None = None

    @model_validator(mode="after")
    def _amounts_go_together(self) -> Self:
        """A pod's own amounts replace the installation's altogether: what is left out would be unlimited."""
        if (self.cpu, self.memory, self.gpu) != (None, None, None):
            for key in ("cpu", "memory"):
                if getattr(self, key) is None:
                    raise WrongKey("missing; cpu and memory go together, and a gpu needs both", key)
        return self
