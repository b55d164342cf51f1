"""The section ``compute`` of a model file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podium.errors import SpecError
from podium.model_file.loading import load_spec
from support.model_files import problem_without_line

ToyFile = Callable[..., Path]
KEYS = "cpu, gpu, image, memory, queue"
CORES = "must be a number of cores such as 4 or 0.5 (more than zero, at most 1024)"
MEMORY = "must be an amount such as 512Mi or 8Gi (Mi, Gi; a whole number)"
QUEUE = "must be the name of one queue: letters, digits, '.', '_' and '-', at most 100"
IMAGE = "must be an image such as registry.example.com/podium:1.2 or podium@sha256:..."
TOGETHER = "missing; cpu and memory go together, and a gpu needs both"
DIGEST = "sha256:" + "0f" * 32


def test_without_the_section_heavy_tasks_have_a_queue_and_ask_for_nothing(toy_file: ToyFile) -> None:
    compute = load_spec(toy_file()).compute
    assert compute.queue == "train"
    assert (compute.cpu, compute.memory, compute.gpu, compute.image) == (None, None, None, None)


@pytest.mark.parametrize(
    "image",
    ["podium", "podium:local", f"podium@{DIGEST}", f"registry.example.com:5000/ml/podium:1.2_A@{DIGEST}"],
)
def test_what_may_be_asked_for(toy_file: ToyFile, image: str) -> None:
    asked = {"cpu": 0.5, "memory": "16Gi", "gpu": 1, "queue": "gpu.large-1", "image": image}
    assert load_spec(toy_file(compute=asked)).compute.model_dump() == asked


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (None, f"compute: null: must be a mapping; allowed keys: {KEYS}"),
        ({"gpus": 1}, f"compute.gpus: unknown key; did you mean 'gpu'? allowed: {KEYS}"),
        ({"cpu": None}, "compute.cpu: null: needs a value"),
        ({"cpu": 0}, f"compute.cpu: 0: {CORES}"),
        ({"cpu": "500m"}, f"compute.cpu: '500m': {CORES}"),
        ({"cpu": True}, f"compute.cpu: true: {CORES}"),
        ({"memory": "8GB"}, f"compute.memory: '8GB': {MEMORY}"),
        ({"memory": "8Gi\n"}, f"compute.memory: '8Gi\\n': {MEMORY}"),
        ({"memory": 8}, "compute.memory: 8: must be text: write it in quotes"),
        ({"cpu": 4}, f"compute.memory: {TOGETHER}"),
        ({"memory": "8Gi"}, f"compute.cpu: {TOGETHER}"),
        ({"gpu": 1, "memory": "8Gi"}, f"compute.cpu: {TOGETHER}"),
        ({"gpu": 0}, "compute.gpu: 0: must be at least 1"),
        ({"gpu": 0.5}, "compute.gpu: 0.5: must be a whole number"),
        ({"queue": "train,default"}, f"compute.queue: 'train,default': {QUEUE}"),
        ({"image": "Podium Image"}, f"compute.image: 'Podium Image': {IMAGE}"),
        ({"image": "podium:"}, f"compute.image: 'podium:': {IMAGE}"),
    ],
)
def test_a_wrong_section_is_explained(toy_file: ToyFile, section: Any, message: str) -> None:
    path = toy_file(compute=section)
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert problem_without_line(path, caught.value) == message
