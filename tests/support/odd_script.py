"""A model from code that answers as long as no x is above 100; then it sleeps above 1,000, or else raises."""

import time

import mlflow
import numpy as np
import pandas as pd


class Odd(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]
    def predict(
        self, context: mlflow.pyfunc.PythonModelContext, model_input: pd.DataFrame, params: object = None
    ) -> np.ndarray:
        if (model_input["x"] > 1000).any():
            time.sleep(5)
        elif (model_input["x"] > 100).any():
            raise ValueError("too odd")
        return model_input["x"].to_numpy()


mlflow.models.set_model(Odd())
