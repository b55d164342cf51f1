"""From what a model answered to JSON: MLflow's, and the one of ``/predict``."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pandas as pd
from mlflow.utils.proto_json_utils import NumpyEncoder

from podium.errors import CannotBeWritten
from podium.serving.loaded_version import LoadedVersion

# Private to MLflow: https://github.com/mlflow/mlflow/blob/v3.17.2/mlflow/utils/proto_json_utils.py
_ENCODER = NumpyEncoder()


def invocation_json(version: LoadedVersion, answer: Any) -> bytes:
    """Return MLflow's JSON of an answer; what JSON cannot hold (nan, inf) is null.

    Raises:
        CannotBeWritten: It has another value that JSON cannot hold.
    """
    return dumps(version, {"predictions": jsonable(answer)})


def predict_json(version: LoadedVersion, answer: Any) -> bytes:
    """Return the JSON of ``/predict``: the same predictions, the version, and a classification's labels.

    Raises:
        CannotBeWritten: As ``invocation_json``.
    """
    content = {"model": version.model, "version": version.number, "predictions": jsonable(answer)}
    if version.classes:
        shares = np.asarray(answer)
        if shares.ndim == 2 and shares.shape[1] == len(version.classes):
            labels = [version.classes[at] for at in shares.argmax(axis=1)]
            content |= {"classes": version.classes, "labels": labels}
    return dumps(version, content)


def jsonable(answer: Any) -> Any:
    """Return an answer as it can be written; a table as records, as MLflow does."""
    if isinstance(answer, np.ndarray) and answer.ndim and answer.dtype.kind in "fiub":
        # Smaller floats are written as the doubles that they are, as MLflow does.
        kind = np.float64 if answer.dtype.kind == "f" else answer.dtype.newbyteorder("=")
        return np.ascontiguousarray(answer, dtype=kind)
    if isinstance(answer, np.ndarray):
        return answer.tolist()
    table = pd.DataFrame(answer) if isinstance(answer, pd.Series) else answer
    return table.to_dict(orient="records") if isinstance(table, pd.DataFrame) else answer


def dumps(version: LoadedVersion, content: dict[str, Any]) -> bytes:
    """Return JSON with the ``predictions`` of a version; what JSON cannot hold (nan, inf) is null.

    Raises:
        CannotBeWritten: As ``invocation_json``.
    """
    # Without this option numpy's values in lists and tables are written by MLflow's own encoder.
    option = orjson.OPT_SERIALIZE_NUMPY if isinstance(content["predictions"], np.ndarray) else 0
    try:
        return orjson.dumps(content, default=_ENCODER.default, option=option | orjson.OPT_NON_STR_KEYS)
    except TypeError as error:
        raise CannotBeWritten(
            f"{version.model} v{version.number} gave an answer that JSON cannot represent: {error}"
        ) from error
