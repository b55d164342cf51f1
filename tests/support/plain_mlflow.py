"""A registry as scripts of the last three years fill it: stages, aliases, pickles, lost runs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

from podium.model_file.spec import ModelSpec

TRUST = "all of them are of our own team, from the cluster that only we reach"


def fitted(folder: Path, strength: float = 1.0) -> tuple[LogisticRegression, pd.DataFrame]:
    """A classifier of the toy's rows, and its inputs."""
    rows = pd.read_csv(folder / "toy.csv")
    return LogisticRegression(C=strength).fit(rows[["x"]], rows["y"]), rows[["x"]]


def log_plainly(model: str, folder: Path, *, how: str, strength: float = 1.0, **options: Any) -> int:
    """Log a version as scripts do; returns its number.

    Args:
        model: The registered model.
        folder: Where the toy's rows are.
        how: ``artifact_path`` as until MLflow 2, or ``name``.
        strength: So that versions differ.
        options: Of ``log_model``.
    """
    estimator, inputs = fitted(folder, strength)
    named = {how: "model"}
    answer = getattr(estimator, options.setdefault("pyfunc_predict_fn", "predict_proba"))
    if options.pop("signed", True):
        options["signature"] = infer_signature(inputs, answer(inputs))
    mlflow.set_experiment("somebody-elses")
    with warnings.catch_warnings(), mlflow.start_run(run_name=f"by hand, {how}"):
        warnings.simplefilter("ignore")
        logged = mlflow.sklearn.log_model(
            estimator,
            registered_model_name=model,
            pip_requirements=["scikit-learn"],
            serialization_format=options.pop("serialization_format", "pickle"),
            **named,
            **options,
        )
    return int(logged.registered_model_version)


def fill(spec: ModelSpec, uri: str, folder: Path) -> dict[str, int]:
    """Fill the registry with what there is in the wild; returns the versions by what they are."""
    mlflow.set_tracking_uri(uri)
    client = MlflowClient(uri)
    _, inputs = fitted(folder)
    made = {
        "old": log_plainly(spec.name, folder, how="artifact_path", strength=0.1),
        "former": log_plainly(spec.name, folder, how="artifact_path", strength=0.5),
        "champion": log_plainly(spec.name, folder, how="name", input_example=inputs.head(3)),
        "unsigned": log_plainly(spec.name, folder, how="name", signed=False, strength=2.0),
        "of labels": log_plainly(spec.name, folder, how="name", pyfunc_predict_fn="predict"),
    }
    source = client.get_model_version(spec.name, str(made["old"])).source
    files = client.get_logged_model(source.removeprefix("models:/")).artifact_location
    without = client.create_model_version(spec.name, source=files, run_id=None)
    made["without a run"] = int(without.version)
    made["of a deleted run"] = log_plainly(spec.name, folder, how="name", strength=3.0)
    deleted = client.get_model_version(spec.name, str(made["of a deleted run"]))
    client.delete_run(deleted.run_id)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client.transition_model_version_stage(spec.name, str(made["champion"]), "Production")
        client.transition_model_version_stage(spec.name, str(made["former"]), "Archived")
    client.set_registered_model_alias(spec.name, "production", str(made["champion"]))
    client.set_registered_model_alias(spec.name, "previous_champion", str(made["former"]))
    client.set_registered_model_alias(spec.name, "challenger", str(made["unsigned"]))
    client.set_registered_model_alias(spec.name, "labels", str(made["of labels"]))
    return made
