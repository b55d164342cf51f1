"""The building blocks of the model file: closed objects, import paths, durations."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

IMPORT_PATH = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
ImportPath = Annotated[str, Field(pattern=IMPORT_PATH)]
Name = Annotated[str, Field(min_length=1)]

LONGEST_DURATION = timedelta(days=365)
_DURATION = re.compile(r"^(\d+)\s*(s|m|h|d)$")
_DURATION_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Closed(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _parse_duration(value: object) -> object:
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is not None and len(match[1]) < 9:
        duration = timedelta(**{_DURATION_UNITS[match[2]]: int(match[1])})
        if timedelta(0) < duration <= LONGEST_DURATION:
            return duration
    raise ValueError("a duration such as 30m, 12h or 3d (s, m, h, d; more than zero, at most 365d)")


Duration = Annotated[timedelta, BeforeValidator(_parse_duration)]
