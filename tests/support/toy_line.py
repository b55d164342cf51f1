"""A trainer whose model is code and a file."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sklearn.dummy import DummyRegressor

from podium.training.run import FromCode, TrainingExamples
from podium.training.trainer import TrainedModel

SCRIPT = Path(__file__).with_name("toy_script.py")


def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    x, y = examples.inputs["x"], examples.label
    line = Path(tempfile.mkdtemp()) / "line.json"
    line.write_text(json.dumps({"slope": float((x * y).sum() / (x * x).sum())}))
    mean = DummyRegressor().fit(examples.inputs, examples.label)
    return TrainedModel(FromCode(SCRIPT, {"line": line}), baselines={"mean": mean})
