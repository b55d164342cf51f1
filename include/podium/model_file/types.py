"""The building blocks of the model file: closed objects, import paths, durations."""

from __future__ import annotations

import difflib
import functools
import re
import sys
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, TypeVar

from croniter import CroniterError, croniter
from packaging.utils import InvalidName, canonicalize_name
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from podium.settings import PROJECT_ROOT, project_home

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic_core import CoreSchema


def looks_like(pattern: str, *examples: str) -> WithJsonSchema:
    """Return what the JSON schema says of a text; it may accept more than the code does, never less.

    Args:
        pattern: Of the whole text. Editors run JavaScript, where a word character or digit is ASCII.
        examples: Shown by editors, and in the table of keys.
    """
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$", "examples": list(examples)})


IMPORT_PATH = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"


def check_import_path(path: str) -> str:
    """Refuse a function of Python's own, such as os:system; no other module is looked for here."""
    if path.partition(":")[0].partition(".")[0] in sys.stdlib_module_names:
        raise ValueError("is Python's own; must be a function of yours, such as trainers.my_model:train")
    return path


ImportPath = Annotated[
    str,
    Field(pattern=IMPORT_PATH),
    AfterValidator(check_import_path),
    looks_like("[^:]+:[^:]+", "trainers.my_model:train"),
]
MODEL_NAME = r"^[a-z0-9]+(-[a-z0-9]+)*$"
Name = Annotated[str, Field(min_length=1)]

LONGEST_DURATION = timedelta(days=365)
_DURATION = re.compile(r"([0-9]+)\s*([smhd])", re.ASCII)
_DURATION_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

_Names = TypeVar("_Names", bound=Collection[str])


class Closed(BaseModel):
    """Frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Filled(Closed):
    """Closed, and a key with nothing behind it is an error: it would drop a rule without a word."""

    @field_validator("*", mode="before")
    @classmethod
    def _has_a_value(cls, value: Any) -> Any:
        if value is None:
            raise ValueError("needs a value")
        return value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Leave null, which no key takes, out of the JSON schema."""
        schema = handler(core_schema)
        for key in handler.resolve_ref_schema(schema)["properties"].values():
            kinds = [kind for kind in key.pop("anyOf", ()) if kind != {"type": "null"}]
            key.update(kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {})
            if key.get("default", ...) is None:
                del key["default"]
        return schema


class WrongKey(ValueError):
    """A key is wrong for what other keys of the same mapping say.

    Attributes:
        keys: The way from the mapping to the key.
    """

    def __init__(self, message: str, *keys: str | int) -> None:
        super().__init__(message)
        self.keys = keys


def once(rule: str) -> Callable[[_Names], _Names]:
    """Return a check that refuses a name that is there twice, with the words of the rule."""

    def check(names: _Names) -> _Names:
        seen = set()
        for name in names:
            if name in seen:
                raise ValueError(f"{rule}; '{name}' appears twice")
            seen.add(name)
        return names

    return check


Columns = Annotated[tuple[Name, ...], AfterValidator(once("each column once"))]


def is_number(value: object) -> bool:
    """True for a finite number, which true and false are not."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def _check_scalar(value: Any) -> Any:
    if isinstance(value, str | bool) or is_number(value):
        return value
    raise ValueError("must be text (a date in quotes), a finite number, true or false")


# Checked before pydantic tries each type, which would tell one mistake four times.
Scalar = Annotated[StrictBool | StrictInt | StrictFloat | str, BeforeValidator(_check_scalar)]


def check_param(value: Any) -> Any:
    """Refuse what no param can be.

    Raises:
        ValueError: Says what a param can be.
    """
    for item in value if isinstance(value, list | tuple) else (value,):
        if not (item is None or isinstance(item, str | bool) or is_number(item)):
            raise ValueError(
                "must be text (a date in quotes), a finite number, true, false, null, or a list of these"
            )
    return value


_Plain = StrictBool | StrictInt | StrictFloat | str | None
Param = Annotated[_Plain | list[_Plain], BeforeValidator(check_param)]


def _parse_duration(value: object) -> object:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is not None and len(match[1]) < 9:
        duration = timedelta(**{_DURATION_UNITS[match[2]]: int(match[1])})
        if timedelta(0) < duration <= LONGEST_DURATION:
            return duration
    raise ValueError("must be a duration such as 30m, 12h or 3d (s, m, h, d; more than zero, at most 365d)")


Duration = Annotated[
    timedelta, BeforeValidator(_parse_duration), looks_like(_DURATION.pattern, "30m", "12h", "3d")
]


class HoldoutSpec(Closed):
    """The rows that are kept from the trainer: to be scored by the gates, or by the trials of a search."""

    days: StrictInt | None = Field(
        default=None,
        gt=0,
        description="The newest days (for `holdout` those before `as_of`). Give this or `share`.",
    )
    share: StrictFloat | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="A share of the rows, 0 to 1, chosen by their content: a row always stays on its side.",
    )
    by: Name | None = Field(
        default=None,
        description="With `share`: rows with an equal value of this column stay together. Without it rows "
        "of equal inputs.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.days is None) == (self.share is None):
            raise ValueError("give either days or share")
        if self.by is not None and self.share is None:
            raise WrongKey("goes with share", "by")
        return self

    def describe(self) -> str:
        """Say which rows they are."""
        return f"{self.days} days" if self.days is not None else f"{self.share:.0%} of the rows"


_LONGEST_CRON = 100
_PLACES_OF_CRON = 5
# Another time each time that the file is read.
_BY_CHANCE = re.compile(r"(?:^|[\s,])[hr]", re.IGNORECASE)


@functools.lru_cache
def _check_cron(value: str) -> str:
    if len(value) > _LONGEST_CRON or not croniter.is_valid(value):
        raise ValueError("must be a cron expression such as '0 6 * * 1' (UTC), or null for no schedule")
    if not value.startswith("@") and len(value.split()) != _PLACES_OF_CRON:
        raise ValueError("must have 5 fields (minute, hour, day, month, weekday), such as '0 6 * * 1'")
    if _BY_CHANCE.search(value):
        raise ValueError("must say when, such as '0 6 * * 1'; H and R mean a time by chance")
    try:
        croniter(value).get_next(float)
    except CroniterError as error:
        raise ValueError("never occurs; give a day that its month has, such as '0 6 1 * *'") from error
    return value


Cron = Annotated[str, AfterValidator(_check_cron), Field(examples=["0 6 * * 1"])]


def _check_package(name: str) -> str:
    try:
        canonicalize_name(name, validate=True)
    except InvalidName as error:
        raise ValueError(
            "must be the name of an installed package such as scikit-learn: no version, option, path or URL"
        ) from error
    return name


Package = Annotated[Name, AfterValidator(_check_package)]


def _check_project_file(path: str) -> str:
    """Refuse a path out of the project, or to what is hidden in it, such as the passwords of a stack."""
    tops = (PROJECT_ROOT, project_home()) if Path(path).is_absolute() else ()
    top = next((top for top in tops if Path(path).is_relative_to(top)), None)
    within = Path(path).relative_to(top) if top else Path(path)
    if within.is_absolute() or any(part.startswith(".") for part in within.parts):
        raise ValueError(
            "must be a file of the project, relative to its top folder, without '..' and hidden folders"
        )
    return path


ProjectFile = Annotated[Name, AfterValidator(_check_project_file)]


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return "did you mean 'x'? " where a name is close to an allowed one."""
    close = difflib.get_close_matches(name, sorted(allowed), n=1)
    return f"did you mean '{close[0]}'? " if close else ""
