"""A trainer whose model carries a file of 1.2 GB, made anew each time, always the same."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from podium.training import FromCode, TrainedModel, TrainingExamples
from support.toy_line import SCRIPT
from support.toy_line import train as train_line

BLOCK = 4_000_000
BLOCKS = 300


def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    small = train_line(examples, params)
    weights = Path(tempfile.mkdtemp(prefix="podium-big-")) / "weights.bin"
    block = np.random.default_rng(5).bytes(BLOCK - 8)
    with weights.open("wb") as stream:
        for number in range(BLOCKS):
            stream.write(number.to_bytes(8, "big"))
            stream.write(block)
    assert isinstance(small.model, FromCode)
    model = FromCode(SCRIPT, {**small.model.artifacts, "weights": weights})
    return TrainedModel(model, baselines=small.baselines)
