"""From what a model answered to JSON: MLflow's, and the one of ``/predict``."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
from mlflow.utils.proto_json_utils import NumpyEncoder, _get_jsonable_obj

from podium.serving.loaded_version import LoadedVersion

_ENCODER = NumpyEncoder()


def invocation_json(answer: Any) -> bytes:
    """Return MLflow's JSON of an answer; what JSON cannot hold (nan, inf) is null."""
    return dumps({"predictions": jsonable(answer)})


def predict_json(version: LoadedVersion, answer: Any) -> bytes:
    """Return the JSON of ``/predict``: the same predictions, the version, and a classification's labels."""
    content = {"model": version.model, "version": version.number, "predictions": jsonable(answer)}
    if version.classes:
        likeliest = np.asarray(answer).argmax(axis=1)
        content |= {"classes": version.classes, "labels": [version.classes[at] for at in likeliest]}
    return dumps(content)


def jsonable(answer: Any) -> Any:
    """Return an answer as orjson can write it."""
    if isinstance(answer, np.ndarray):
        return np.ascontiguousarray(answer) if answer.dtype.kind in "fiub" else answer.tolist()
    return _get_jsonable_obj(answer, pandas_orient="records")


def dumps(content: Any) -> bytes:
    """Return JSON of what a model may answer with; what JSON cannot hold (nan, inf) is null."""
    return orjson.dumps(content, default=_ENCODER.default, option=orjson.OPT_SERIALIZE_NUMPY)
