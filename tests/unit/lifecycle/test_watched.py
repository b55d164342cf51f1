"""Which watch window is open, by the record; its terms are those of the model file at the promotion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from podium.errors import PodiumError
from podium.ledger.events import Event, EventKind
from podium.ledger.history import watch_freeze
from podium.lifecycle.watched import WATCH, Terms, open_window
from podium.model_file.loading import load_spec
from support.watched import TERMS

ToyFile = Callable[..., Path]
AT = datetime(2026, 5, 1, tzinfo=UTC)


def event(seq: int, kind: EventKind, version: int, before: int | None, **details: Any) -> Event:
    return Event(seq, AT, kind, "m", version, before, "amy", "", None, None, details, "", "")


PROMOTED = event(5, EventKind.PROMOTED, 8, 7, watch=TERMS)


def test_a_promotion_opens_a_window_and_a_verdict_or_any_later_move_ends_it() -> None:
    window = open_window([PROMOTED])
    assert window is not None
    assert (window.promotion, window.new, window.old, window.actor) == (5, 8, 7, "watch window of v8")
    assert (window.closes - window.opened).days == 7
    judged = event(6, EventKind.WATCH_JUDGED, 8, 7, promotion=5)
    assert open_window([PROMOTED, judged]) is None
    assert open_window([PROMOTED, replace(judged, details={"promotion": 4})]) == window
    for kind in (EventKind.ROLLED_BACK, EventKind.OUTSIDE_MOVE_ACCEPTED):
        assert open_window([PROMOTED, event(7, kind, 7, 8)]) is None
    again = open_window([PROMOTED, replace(PROMOTED, seq=9, version=9, from_version=8)])
    assert again is not None
    assert again.promotion == 9


def test_the_first_champion_and_one_without_terms_are_not_watched() -> None:
    assert open_window([]) is None
    assert open_window([replace(PROMOTED, from_version=None)]) is None
    assert open_window([replace(PROMOTED, details={"decision": 4})]) is None
    with pytest.raises(PodiumError, match="'watch' of event 5 of the ledger is not what Podium records"):
        open_window([replace(PROMOTED, details={WATCH: {"rows": 5}})])


def test_terms_are_those_of_the_model_file_and_its_gates(toy_file: ToyFile) -> None:
    assert Terms.of(load_spec(toy_file())) is None
    gates = [
        {"metric": "log_loss", "against": "champion", "max_regression_abs": 0.02},
        {"metric": "log_loss", "against": "champion", "not_worse": {"margin": 0.01}},
        {"cost": "latency_p95", "max_ratio": 3.0},
    ]
    spec = load_spec(toy_file(watch={"at_most": "2d"}, gates=gates))
    terms = Terms.of(spec)
    assert terms is not None
    assert (terms.metric, terms.margin, terms.max_ratio) == ("log_loss", 0.01, 3.0)
    assert (terms.rows, terms.at_most_seconds, terms.labels) == (5000, 172_800.0, ("no", "yes"))
    assert Terms.read(terms.as_json()) == terms
    plain = Terms.of(load_spec(toy_file(watch={})))
    assert plain is not None
    assert (plain.margin, plain.max_ratio) == (0.01, None)
    without = Terms.of(load_spec(toy_file(watch={"labelled_rows": 0})))
    assert without is not None
    assert (without.metric, without.margin) == ("", 0.0)


def test_a_freeze_ends_when_a_person_settles_it_or_rolls_back() -> None:
    froze = event(6, EventKind.WATCH_JUDGED, 8, 7, promotion=5, freezes=True)
    by_itself = replace(event(7, EventKind.ROLLED_BACK, 7, 8), actor="watch window of v8")
    assert watch_freeze([PROMOTED, froze]) == froze
    assert watch_freeze([PROMOTED, froze, by_itself]) == froze
    assert watch_freeze([PROMOTED, froze, by_itself, event(8, EventKind.WATCH_SETTLED, 7, None)]) is None
    assert watch_freeze([PROMOTED, froze, event(7, EventKind.ROLLED_BACK, 7, 8)]) is None
    assert watch_freeze([PROMOTED, replace(froze, details={"freezes": False})]) is None
