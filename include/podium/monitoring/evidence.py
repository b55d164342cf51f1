"""References, rules and judged windows as what the ledger's database keeps of them, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple
from typing import Any

import numpy as np
import numpy.typing as npt

from podium.metrics.answers import Numbers
from podium.metrics.bins import Counts
from podium.metrics.detectors import START
from podium.metrics.reference_file import Content, finite, measured_content, read_measured
from podium.monitoring.harm import HarmJudged, Losses, Sums
from podium.monitoring.inputs import InputsJudged
from podium.monitoring.journal import Judged, Observation, Rules
from podium.monitoring.verdicts import Said, Verdict

# What is computed again may differ in the last digits: processors round logarithms differently.
_SAME = 1e-9


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


def read_judged(content: Mapping[str, Any], streams: Sequence[str]) -> Judged:
    """Return the judged window that was kept, to the last digit.

    Args:
        content: What was kept.
        streams: The names of the streams, in the order of all arrays.
    """
    verdicts = {
        name: Verdict(Said(verdict["said"]), verdict["reason"])
        for name, verdict in content["verdicts"].items()
    }
    inputs, harm = content["inputs"], content["harm"]
    return Judged(
        read_observation(content),
        streams,
        **verdicts,
        inputs=None if inputs is None else _read_inputs(inputs, streams),
        harm=None if harm is None else _read_harm(harm),
    )


def read_observation(content: Mapping[str, Any]) -> Observation:
    """Return what was seen of a window that was kept."""
    losses = content["losses"]
    return Observation(
        **vars(read_measured(content)),
        losses=None if losses is None else Losses(Sums(*losses[0]), *losses[1:]),
        problems=tuple(content["problems"]),
    )


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
        **measured_content(seen),
        "problems": list(seen.problems),
        "losses": None if seen.losses is None else list(astuple(seen.losses)),
    }


def _inputs_content(judged: InputsJudged, streams: Sequence[str]) -> Content:
    arrays = {"p": judged.p, "log_wealth": judged.log_wealth, "dependence": judged.dependence}
    return {
        **{name: dict(finite(dict(zip(streams, array, strict=True)))) for name, array in arrays.items()},
        "alarmed": _names(streams, judged.alarmed),
        "not_judged": judged.not_judged,
        "dependence_known": judged.dependence_known,
    }


def _read_inputs(content: Mapping[str, Any], streams: Sequence[str]) -> InputsJudged:
    def array(name: str, missing: float) -> Numbers:
        return np.asarray([content[name].get(stream, missing) for stream in streams], dtype=float)

    return InputsJudged(
        array("p", math.nan),
        array("log_wealth", START),
        np.asarray([stream in content["alarmed"] for stream in streams]),
        array("dependence", math.nan),
        content["not_judged"],
        content["dependence_known"],
    )


def _read_harm(content: Mapping[str, Any]) -> HarmJudged:
    numbers = {name: _number(content[name]) for name in ("risk", "error", "weight")}
    wealth = [START if value is None else value for value in content["log_wealth"]]
    return HarmJudged(
        **numbers,
        log_wealth=np.asarray(wealth, dtype=float),
        alarmed=content["alarmed"],
        not_judged=content["not_judged"],
    )


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _harm_content(judged: HarmJudged) -> Content:
    numbers = {"risk": judged.risk, "error": judged.error, "weight": judged.weight}
    return {
        **{name: float(number) if math.isfinite(number) else None for name, number in numbers.items()},
        "log_wealth": _or_none(judged.log_wealth),
        "alarmed": judged.alarmed,
        "not_judged": judged.not_judged,
    }


def _or_none(values: Numbers) -> list[float | None]:
    return [float(value) if math.isfinite(value) else None for value in values]


def _names(streams: Sequence[str], which: npt.NDArray[np.bool_]) -> list[str]:
    return [name for name, is_so in zip(streams, which, strict=True) if is_so]
