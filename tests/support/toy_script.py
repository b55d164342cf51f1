"""A model from code: a line through the origin, whose slope is in a file."""

import json
from pathlib import Path

import mlflow
import pandas as pd


class Line(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    def load_context(self, context: mlflow.pyfunc.PythonModelContext) -> None:
        self.slope = float(json.loads(Path(context.artifacts["line"]).read_text())["slope"])

    def predict(
        self, context: mlflow.pyfunc.PythonModelContext, model_input: pd.DataFrame, params: object = None
    ) -> pd.Series:
        return model_input["x"] * self.slope


mlflow.models.set_model(Line())
