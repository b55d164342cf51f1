"""MLflow of these tests: with the toy trained in it."""

from support.trained import mlflow_uri

__all__ = ["mlflow_uri"]
