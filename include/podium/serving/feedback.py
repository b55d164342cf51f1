"""The labels of requests that were answered: they come later, and are kept beside the stored answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from podium.errors import RequestRefused
from podium.ledger.live_answers import LiveAnswer, LiveStore, read_predictions
from podium.serving.requests import JSON, check_content_type

MAX_ID = 200
SWITCH_ON = "answers are not stored, so there is nothing to label: start the server with --shadow or --canary"
_EXAMPLE = '{"request_id": "the X-Request-Id of the answer", "labels": [one per row]}'


@dataclass(frozen=True)
class Feedback:
    """What came true of the rows of one request.

    Attributes:
        request_id: The ``X-Request-Id`` of its answer.
        labels: One per row.
    """

    request_id: str
    labels: Sequence[Any]


def parse_feedback(body: bytes, content_type: str) -> Feedback:
    """Read the body of ``/feedback``.

    Raises:
        RequestRefused: It is no such body.
    """
    check_content_type(content_type, (JSON,))
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestRefused(f"the body is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise RequestRefused(f"send an object: {_EXAMPLE}")
    keys = content.keys()
    if keys not in ({"request_id", "labels"}, {"request_id", "label"}):
        raise RequestRefused(
            f"send request_id and either labels or, for one row, label: {_EXAMPLE}; found: "
            f"{', '.join(sorted(keys))[:200] or 'nothing'}"
        )
    request_id = content["request_id"]
    if not isinstance(request_id, str) or not 0 < len(request_id) <= MAX_ID or "\0" in request_id:
        raise RequestRefused(f"request_id: send the X-Request-Id of the answer, a text of at most {MAX_ID}")
    labels = content.get("labels", [content.get("label")])
    if not isinstance(labels, list) or not labels:
        raise RequestRefused("labels: send a list, one label per row of the request")
    return Feedback(request_id, labels)


def store_feedback(store: LiveStore, model: str, feedback: Feedback) -> None:
    """Store labels; the same ones again change nothing.

    Raises:
        RequestRefused: No such request is stored, it has another number of rows or other labels already, or a
            label is not one that there can be; says which.
        Outage: The database did not answer.
    """
    stored = store.find(model, feedback.request_id)
    if stored is None:
        raise RequestRefused(
            f"no answer to request {feedback.request_id} of {model} is stored. It was not compared (see "
            "--shadow-share), or is too new: answers are stored about a second later",
            404,
        )
    if len(feedback.labels) != stored.rows:
        raise RequestRefused(
            f"{len(feedback.labels):,} labels; request {feedback.request_id} has {stored.rows:,} rows, "
            "send one label for each"
        )
    _check_labels(stored, feedback.labels)
    if store.add_labels(model, feedback.request_id, feedback.labels) != feedback.labels:
        raise RequestRefused(
            f"request {feedback.request_id} has other labels already; the first ones stay", 409
        )


def _check_labels(stored: LiveAnswer, labels: Sequence[Any]) -> None:
    """Make sure that labels are what the two versions could have answered.

    Raises:
        RequestRefused: One is not; names the row.
    """
    texts = filter(None, (stored.champion_answers, stored.candidate_answers))
    answers = [read_predictions(text) for text in texts]
    classes = list(dict.fromkeys(label for answer in answers for label in answer.classes))
    numbers = not classes and _all_numbers(answers[0].values)
    for row, label in enumerate(labels):
        if classes and label not in classes:
            raise RequestRefused(f"row {row}: unknown label {_shown(label)}; known: {_names(classes)}")
        if numbers and not _is_number(label):
            raise RequestRefused(f"row {row}: {_shown(label)} is not a number, as the answers are")
        if not isinstance(label, str | int | float | bool):
            raise RequestRefused(f"row {row}: {_shown(label)}; send a text, a number, true or false")


def _all_numbers(values: Sequence[Any]) -> bool:
    return all(value is None or _is_number(value) for value in values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(label: Any) -> str:
    return orjson.dumps(label).decode()[:60]


def _names(classes: Sequence[str]) -> str:
    return ", ".join(_shown(name) for name in classes)
