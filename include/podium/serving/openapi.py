"""The server's OpenAPI document: each model's columns, from the signature of the version that serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from podium.serving.feedback import MAX_ID
from podium.serving.requests import CSV, JSON, Shape
from podium.serving.served_model import ServedModel
from podium.sources.columns import NESTED, InputColumn, Kind, items_of, kind_of

# By the letter that numpy has for a type.
_JSON_TYPES = {"f": "number", "i": "integer", "b": "boolean", "O": "string", "M": "string"}
_MORE: Mapping[Kind, Mapping[str, Any]] = {
    Kind.DATETIME: {"description": "A moment in ISO 8601; one with a time zone is converted to UTC."},
    Kind.BINARY: {"contentEncoding": "base64"},
}
_ERRORS = {
    "400": "The request does not fit; the message names the row and column.",
    "401": "The token is missing or wrong.",
    "408": "The body did not arrive in time.",
    "413": "Too many bytes or rows; the message states the limit.",
    "415": "A content type that is not read.",
    "500": "JSON cannot represent the model's answer, or the server failed.",
    "503": "No version serves yet, or too many rows wait.",
}


def describe(models: Mapping[str, ServedModel]) -> dict[str, Any]:
    """Return the document; it changes when another version takes over."""
    paths: dict[str, Any] = {
        "/health": _get("The process is alive.", "text/plain"),
        "/ready": _get(
            "Every model has a verified version.", also={"503": "A model has none; the body has the reason."}
        ),
        "/models": _get("The serving version of each model."),
        "/metrics": _get("For Prometheus.", "text/plain"),
    }
    for model in models.values():
        paths |= _paths(model, f"/models/{model.name}")
    if len(models) == 1:
        paths |= _paths(next(iter(models.values())), "")
    return {
        "openapi": "3.1.0",
        "info": {"title": "Podium model server", "version": _versions(models)},
        "paths": paths,
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    }


def _versions(models: Mapping[str, ServedModel]) -> str:
    numbers = {name: model.follower.current for name, model in models.items()}
    return ", ".join(f"{name} v{version.number}" for name, version in numbers.items() if version) or "none"


def _paths(model: ServedModel, prefix: str) -> dict[str, Any]:
    version = model.follower.current
    shape = Shape(None) if version is None else version.shape
    invocation = _post(
        f"{model.name}: MLflow's protocol.",
        {JSON: _invocation(shape), CSV: {"type": "string"}},
        {"type": "object", "properties": {"predictions": {}}, "required": ["predictions"]},
    )
    return {
        f"{prefix}/predict": _post(
            f"{model.name}: a list of records, or a CSV.",
            {JSON: _records(shape, strict=True), CSV: {"type": "string"}},
            _ANSWER,
        ),
        f"{prefix}/invocations": invocation,
        f"{prefix}/predict-mlflow": invocation,
        f"{prefix}/feedback": _feedback(model.name),
        f"{prefix}/version": _get(f"The serving version of {model.name}."),
    }


_ANSWER = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "version": {"type": "integer"},
        "predictions": {"description": "One per row; for a classification the share of each class."},
        "classes": {"type": "array", "items": {"type": "string"}},
        "labels": {"type": "array", "items": {"type": "string"}, "description": "The likeliest class."},
    },
    "required": ["model", "version", "predictions"],
}


def _records(shape: Shape, *, strict: bool) -> dict[str, Any]:
    return {"type": "array", "items": _record(shape, strict), "minItems": 1, "maxItems": shape.max_rows}


def _record(shape: Shape, strict: bool) -> dict[str, Any]:
    if shape.columns is None or shape.by_place:
        return {}
    return {
        "type": "object",
        "properties": {column.name: _column(column) for column in shape.columns},
        "required": [column.name for column in shape.columns if column.required],
        "additionalProperties": not strict,
    }


def _column(column: InputColumn) -> dict[str, Any]:
    if column.kind in NESTED:
        return _nested(column.inside, nullable=column.nullable)
    return _plain(column.kind, nullable=column.nullable)


def _plain(kind: Kind, *, nullable: bool) -> dict[str, Any]:
    json_type = _JSON_TYPES[kind.dtype.kind]
    described: dict[str, Any] = {"type": [json_type, "null"] if nullable else json_type}
    if kind.dtype.kind == "i":
        described |= {"minimum": int(np.iinfo(kind.dtype).min), "maximum": int(np.iinfo(kind.dtype).max)}
    return {**described, **_MORE.get(kind, {})}


def _nested(inside: Mapping[str, Any], *, nullable: bool) -> dict[str, Any]:
    """Describe what a signature says of a list, an object or what is in one."""
    kind = kind_of(inside)
    if kind is Kind.ANY:
        return {}
    if kind not in NESTED:
        return _plain(kind, nullable=nullable)
    described = _INSIDE[kind](inside, nullable)
    return {"anyOf": [described, {"type": "null"}]} if nullable else described


def _array(inside: Mapping[str, Any], nullable: bool) -> dict[str, Any]:
    items = items_of(inside)
    # A list of numbers or texts may have gaps, as a column of them.
    gaps = nullable if kind_of(items) in NESTED else kind_of(items).nullable
    return {"type": "array", "items": _nested(items, nullable=gaps)}


def _object(inside: Mapping[str, Any], _: bool) -> dict[str, Any]:
    properties = inside["properties"]
    required = [name for name, one in properties.items() if one.get("required", True)]
    parts = {name: _nested(one, nullable=name not in required) for name, one in properties.items()}
    return {"type": "object", "properties": parts, "required": required, "additionalProperties": False}


def _map(inside: Mapping[str, Any], nullable: bool) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": _nested(inside["values"], nullable=nullable)}


_INSIDE: Mapping[Kind, Callable[[Mapping[str, Any], bool], dict[str, Any]]] = {
    Kind.ARRAY: _array,
    Kind.OBJECT: _object,
    Kind.MAP: _map,
}


def _invocation(shape: Shape) -> dict[str, Any]:
    records, named = _records(shape, strict=False), bool(shape.columns) and not shape.by_place
    formats = {
        "dataframe_records": records,
        "dataframe_split": _SPLIT,
        "inputs": {"anyOf": [records, _lists(shape)]} if named else {},
        "instances": {"anyOf": [records, _lists(shape)]} if named else {},
    }
    params = {"params": {"type": ["object", "null"], "description": "Parameters of the prediction."}}
    return {
        "oneOf": [
            {"type": "object", "properties": {name: described, **params}, "required": [name]}
            for name, described in formats.items()
        ]
    }


_SPLIT = {
    "type": "object",
    "properties": {
        "columns": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
        "data": {"type": "array", "items": {"type": "array"}, "minItems": 1},
        "index": {"type": "array"},
    },
    "required": ["columns", "data"],
    "additionalProperties": False,
}


def _lists(shape: Shape) -> dict[str, Any]:
    """Describe an object of columns, each a list of as many values."""
    columns = shape.columns or ()
    return {
        "type": "object",
        "properties": {
            column.name: {"type": "array", "items": _column(column), "minItems": 1} for column in columns
        },
        "required": [column.name for column in columns if column.required],
    }


def _feedback(model: str) -> dict[str, Any]:
    request_id = {"type": "string", "description": "The X-Request-Id of the answer.", "maxLength": MAX_ID}
    label = {"type": ["string", "number", "boolean"]}
    forms = [
        {
            "type": "object",
            "properties": {"request_id": request_id, name: schema},
            "required": ["request_id", name],
            "additionalProperties": False,
        }
        for name, schema in (("labels", {"type": "array", "items": label, "minItems": 1}), ("label", label))
    ]
    described = _post(
        f"{model}: the labels of a request, when they are known.",
        {JSON: {"oneOf": forms}},
        {"type": "object"},
    )
    responses = described["post"]["responses"]
    responses["202"] = responses.pop("200") | {"description": "Stored, now or before."}
    responses["404"] = _response("No answer to such a request is stored.", JSON)
    responses["409"] = _response("It has other labels, or the server stores no answers.", JSON)
    return described


def _post(summary: str, content: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    responses = {
        "200": _response("The answer.", JSON, answer, _HEADERS),
        **{at: _response(why, JSON, _ERROR) for at, why in _ERRORS.items()},
    }
    body = {"required": True, "content": {kind: {"schema": schema} for kind, schema in content.items()}}
    return {
        "post": {
            "summary": summary,
            "requestBody": body,
            "responses": responses,
            "security": [{}, {"token": []}],
        }
    }


_ERROR = {
    "type": "object",
    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
    "required": ["error_code", "message"],
}
_HEADERS = {
    "X-Model-Version": "The version that answered.",
    "X-Model-Digest": "The digest of its manifest: which bytes it is.",
    "X-Request-Id": "The request's id, as it was sent or new.",
    "X-Ignored-Columns": "Columns that were sent and that the version does not take.",
}


def _get(summary: str, kind: str = JSON, also: Mapping[str, str] | None = None) -> dict[str, Any]:
    responses = {at: _response(why, JSON) for at, why in (also or {}).items()}
    responses["401"] = _response(_ERRORS["401"], JSON, _ERROR)
    return {"get": {"summary": summary, "responses": {"200": _response(summary, kind), **responses}}}


def _response(
    description: str,
    kind: str,
    schema: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "description": description,
        "content": {kind: {} if schema is None else {"schema": schema}},
    }
    if headers:
        described["headers"] = {
            name: {"description": what, "schema": {"type": "string"}} for name, what in headers.items()
        }
    return described
