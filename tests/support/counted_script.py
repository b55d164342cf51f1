"""A model from code, row by row: x above 100 is an error, and x above 50 gets an answer that is no number."""

import mlflow
import numpy as np
import pandas as pd


class Counted(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    def predict(
        self, context: mlflow.pyfunc.PythonModelContext, model_input: pd.DataFrame, params: object = None
    ) -> np.ndarray:
        x = model_input["x"].to_numpy()
        if (x > 100).any():
            raise ValueError("too large")
        return np.where(x > 50, np.inf, x)


mlflow.models.set_model(Counted())
