"""References, rules and judged windows as what the ledger's database keeps of them, and back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, astuple
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from podium.metrics.answers import Numbers
from podium.metrics.bins import Bins, Counts
from podium.monitoring.harm import HarmJudged, Losses, Sums
from podium.monitoring.inputs import InputsJudged
from podium.monitoring.journal import Judged, Observation, Rules
from podium.monitoring.reference import Column, Reference
from podium.monitoring.verdicts import Verdict
from podium.monitoring.windows import Window

Content = dict[str, Any]
# What is computed again may differ in the last digits: processors round logarithms differently.
_SAME = 1e-9


def reference_content(reference: Reference) -> Content:
    """Return a reference as it is kept."""
    return {
        # A list, for their order is that of the streams.
        "columns": [
            {"name": name, **asdict(column.bins), "counts": column.counts.tolist()}
            for name, column in reference.columns.items()
        ],
        "past": [_observation_content(seen) for seen in reference.past],
        "at_promotion": reference.at_promotion,
        "unknown": reference.unknown,
    }


def read_reference(content: Mapping[str, Any]) -> Reference:
    """Return the reference that was kept."""
    return Reference(
        {column["name"]: _column(column) for column in content["columns"]},
        tuple(map(read_observation, content["past"])),
        content["at_promotion"],
        content["unknown"],
    )


def rules_content(rules: Rules) -> Content:
    """Return rules as they are kept."""
    return {**asdict(rules), "shares": [[name, share] for name, share in rules.shares.items()]}


def read_rules(content: Mapping[str, Any]) -> Rules:
    """Return the rules that were kept."""
    return Rules(**{**content, "shares": {name: share for name, share in content["shares"]}})


def counts_content(counts: Mapping[str, Counts]) -> Content:
    """Return the counts of a window as they are kept."""
    return {name: counted.tolist() for name, counted in counts.items()}


def read_counts(content: Mapping[str, Any]) -> dict[str, Counts]:
    """Return the counts that were kept."""
    return {name: np.asarray(counted, dtype=np.int64) for name, counted in content.items()}


def window_content(judged: Judged, judged_by: Mapping[str, str]) -> Content:
    """Return a judged window as it is kept.

    Args:
        judged: The window.
        judged_by: The digests of reference, rules and counts.
    """
    return {
        **judged_by,
        **_observation_content(judged.observation),
        "inputs": None if judged.inputs is None else _inputs_content(judged.inputs, judged.streams),
        "harm": None if judged.harm is None else _harm_content(judged.harm),
        "verdicts": {name: asdict(verdict) for name, verdict in _verdicts(judged).items()},
    }


def read_observation(content: Mapping[str, Any]) -> Observation:
    """Return what was seen of a window that was kept."""
    losses = content["losses"]
    return Observation(
        read_window(content["window"]),
        content["rows"],
        content["distances"],
        content["shifts"],
        None if losses is None else Losses(Sums(*losses[0]), *losses[1:]),
        tuple(content["problems"]),
    )


def read_window(span: Sequence[str]) -> Window:
    """Return the window that was kept."""
    return Window(*map(datetime.fromisoformat, span))


def difference(kept: object, again: object, *place: str) -> str:
    """Say the first thing that is not the same when it is computed again; "" if nothing is.

    Args:
        kept: JSON values.
        again: The same, computed again.
        place: Where they are.
    """
    if isinstance(kept, Mapping) and isinstance(again, Mapping) and kept.keys() == again.keys():
        pairs = ((kept[name], again[name], str(name)) for name in sorted(kept, key=_in_order))
    elif isinstance(kept, list) and isinstance(again, list) and len(kept) == len(again):
        pairs = (
            (one, other, str(number)) for number, (one, other) in enumerate(zip(kept, again, strict=True))
        )
    elif _is_same(kept, again):
        return ""
    else:
        return f"{' '.join(place)} is {kept}, recomputed {again}"
    return next(filter(None, (difference(one, other, *place, name) for one, other, name in pairs)), "")


# As one follows from the other, so that what differs first is named.
_ORDER = ("window", "rows", "problems", "distances", "shifts", "losses", "p", "log_wealth", "alarmed")


def _in_order(name: str) -> tuple[int, str]:
    if name == "verdicts":
        return len(_ORDER) + 1, name
    return _ORDER.index(name) if name in _ORDER else len(_ORDER), name


def _is_same(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float | int):
        return math.isclose(one, other, rel_tol=_SAME, abs_tol=_SAME)
    return one == other


def _verdicts(judged: Judged) -> dict[str, Verdict]:
    return {"whole": judged.whole, "hurts": judged.hurts, "moved": judged.moved}


def _observation_content(seen: Observation) -> Content:
    return {
        "window": [seen.window.start.isoformat(), seen.window.end.isoformat()],
        "rows": seen.rows,
        "problems": list(seen.problems),
        "losses": None if seen.losses is None else list(astuple(seen.losses)),
        "distances": dict(_finite(seen.distances)),
        "shifts": dict(_finite(seen.shifts)),
    }


def _inputs_content(judged: InputsJudged, streams: Sequence[str]) -> Content:
    arrays = {"p": judged.p, "log_wealth": judged.log_wealth, "dependence": judged.dependence}
    return {
        **{name: dict(_finite(dict(zip(streams, array, strict=True)))) for name, array in arrays.items()},
        "alarmed": _names(streams, judged.alarmed),
        "not_judged": judged.not_judged,
        "dependence_known": judged.dependence_known,
    }


def _harm_content(judged: HarmJudged) -> Content:
    numbers = {"risk": judged.risk, "error": judged.error, "weight": judged.weight}
    return {
        **{name: float(number) if math.isfinite(number) else None for name, number in numbers.items()},
        "log_wealth": _or_none(judged.log_wealth),
        "alarmed": judged.alarmed,
        "not_judged": judged.not_judged,
    }


def _finite(by_name: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    """Yield the finite numbers: JSON has no others."""
    for name, value in by_name.items():
        if math.isfinite(value):
            yield name, float(value)


def _or_none(values: Numbers) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _names(streams: Sequence[str], which: npt.NDArray[np.bool_]) -> list[str]:
    return [name for name, is_so in zip(streams, which, strict=True) if is_so]


def _column(content: Mapping[str, Any]) -> Column:
    bins = Bins(tuple(content["edges"]), tuple(content["categories"]), content["scale"])
    return Column(bins, np.asarray(content["counts"], dtype=np.int64))
