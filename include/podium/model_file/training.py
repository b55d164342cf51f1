"""The section `training`: a Dag of the user's trains the model, and Podium starts with its run."""

from __future__ import annotations

from pydantic import Field

from podium.model_file.types import Closed, Name


class TrainingSpec(Closed):
    """Where a model is trained that has no trainer here."""

    asset: Name = Field(
        description="Name of the asset that your Dag updates with the id of its MLflow run; the lifecycle "
        "starts by it."
    )
