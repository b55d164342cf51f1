"""Training: data, split, trainer, fit, a run in MLflow.

Trainers import from here what they take and return; all else is in the modules of this package.
"""

from podium.training.announcement import announce
from podium.training.examples import TrainingExamples
from podium.training.saving import FromCode
from podium.training.trainer import Params, TrainedModel

__all__ = ["FromCode", "Params", "TrainedModel", "TrainingExamples", "announce"]
