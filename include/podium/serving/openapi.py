"""The server's OpenAPI document: each model's columns, from the signature of the version that serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from podium.serving.feedback import MAX_ID
from podium.serving.requests import CSV, JSON, Column, Shape
from podium.serving.served_model import ServedModel

_TYPES = {
    "double": "number",
    "float": "number",
    "long": "integer",
    "integer": "integer",
    "boolean": "boolean",
    "string": "string",
}
_LIMITS = {"long": 2**63, "integer": 2**31}
_ERRORS = {
    "400": "The request does not fit; the message names the row and column.",
    "401": "The token is missing or wrong.",
    "408": "The body did not come in time.",
    "413": "Too many bytes or rows; the message states the limit.",
    "415": "A content type that is not read.",
    "503": "No version serves yet, or too many rows wait.",
}


def describe(models: Mapping[str, ServedModel]) -> dict[str, Any]:
    """Return the document; it changes when another version takes over."""
    paths: dict[str, Any] = {
        "/health": _get("The process is alive.", "text/plain"),
        "/ready": _get("Every model has a verified version.", also={"503": "One has none; says why."}),
        "/models": _get("What serves, of all models."),
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
    record = _record(shape)
    records = {"type": "array", "items": record, "minItems": 1, "maxItems": shape.max_rows}
    invocation = _post(
        f"{model.name}: MLflow's protocol.", {JSON: _invocation(records), CSV: {"type": "string"}}
    )
    return {
        f"{prefix}/predict": _post(f"{model.name}: a list of records.", {JSON: records}),
        f"{prefix}/invocations": invocation,
        f"{prefix}/predict-mlflow": invocation,
        f"{prefix}/feedback": _feedback(model.name),
        f"{prefix}/version": _get(f"What serves of {model.name}."),
    }


def _record(shape: Shape) -> dict[str, Any]:
    if shape.columns is None:
        return {}
    return {
        "type": "object",
        "properties": {column.name: _column(column) for column in shape.columns},
        "required": [column.name for column in shape.columns if column.required],
        "additionalProperties": False,
    }


def _column(column: Column) -> dict[str, Any]:
    kind = _TYPES[column.kind]
    described: dict[str, Any] = {"type": [kind, "null"] if column.nullable else kind}
    if column.kind in _LIMITS:
        described |= {"minimum": -_LIMITS[column.kind], "maximum": _LIMITS[column.kind] - 1}
    return described


def _invocation(records: Mapping[str, Any]) -> dict[str, Any]:
    one_of = [
        {"type": "object", "properties": {name: records}, "required": [name]}
        for name in ("dataframe_records", "instances", "inputs")
    ]
    split = {
        "type": "object",
        "properties": {
            "columns": {"type": "array", "items": {"type": "string"}},
            "data": {"type": "array", "items": {"type": "array"}},
        },
        "required": ["columns", "data"],
    }
    return {
        "oneOf": [
            *one_of,
            {"type": "object", "properties": {"dataframe_split": split}, "required": ["dataframe_split"]},
        ]
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
    described = _post(f"{model}: the labels of a request, when they are known.", {JSON: {"oneOf": forms}})
    responses = described["post"]["responses"]
    responses["202"] = responses.pop("200") | {"description": "Kept, or there already."}
    responses["404"] = _response("No answer to such a request is stored.", JSON)
    responses["409"] = _response("It has other labels, or the server stores no answers.", JSON)
    return described


def _post(summary: str, content: Mapping[str, Any]) -> dict[str, Any]:
    responses = {
        "200": _response("The answer.", JSON),
        **{at: _response(why, JSON) for at, why in _ERRORS.items()},
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


def _get(summary: str, kind: str = JSON, also: Mapping[str, str] | None = None) -> dict[str, Any]:
    responses = {at: _response(why, JSON) for at, why in (also or {}).items()}
    return {"get": {"summary": summary, "responses": {"200": _response(summary, kind), **responses}}}


def _response(description: str, kind: str) -> dict[str, Any]:
    return {"description": description, "content": {kind: {}}}
