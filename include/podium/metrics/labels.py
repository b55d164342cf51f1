"""One label, however it is written: 0, 0.0, "0" and false are one, spelled as the model file has it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

_WHOLE = re.compile(r"[+-]?(0|[1-9]\d*)(\.0*)?")
_TRUTHS = {"true": True, "false": False}

Spelling = Callable[[Any], str]


def spelling(labels: Sequence[str], label_map: Mapping[str, str] | None = None) -> Spelling:
    """Return a function from a value to the label that it names, as the model file spells it.

    What names none is returned as text. An exact spelling counts first, then ``label_map``, whose case does
    not matter, then the value: of a number, of a text that is a whole one, of true and false (1 and 0).

    Args:
        labels: As the model file lists them.
        label_map: Other names, each with the label that it means.
    """
    meant = {name.strip().casefold(): label for name, label in (label_map or {}).items()}
    by_value = _by_value({**meant, **{name: name for name in labels}})

    def spelled(value: Any) -> str:
        text = str(value)
        named = text if text in labels else meant.get(text.strip().casefold())
        return named or by_value.get(_value(value)) or text

    return spelled


def _by_value(names: Mapping[str, str]) -> dict[Any, str]:
    """Return labels by the values of their names; a value that two labels share names neither."""
    found: dict[Any, set[str]] = {}
    for name, label in names.items():
        found.setdefault(_value(name), set()).add(label)
    return {value: min(those) for value, those in found.items() if value is not None and len(those) == 1}


def _value(label: Any) -> bool | int | float | Decimal | None:
    """Return the number that a label is; numbers that are equal are one key, true and 1 too."""
    plain = label.item() if hasattr(label, "item") else label
    if isinstance(plain, bool | int | float | Decimal):
        return plain
    text = str(plain).strip().casefold()
    if _WHOLE.fullmatch(text):
        return int(text.partition(".")[0])
    return _TRUTHS.get(text, _fraction(text))


def _fraction(text: str) -> float | None:
    """Return a number that is written shortest, such as 0.5: 0.50 may be another label."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if repr(number) == text else None
