"""Windows of one version, judged one after the other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from podium.gates.counted_rows import CountedRows
from podium.metrics.reference import count_rows, make_reference
from podium.metrics.windows import Window
from podium.model_file.spec import ModelSpec
from podium.monitoring.harm import losses
from podium.monitoring.inputs import stream_shares
from podium.monitoring.journal import Judged, Observation, Rules, judge_all, observe, row_problem
from podium.monitoring.verdicts import Said
from support.toy import TOY

DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
RULES = Rules(100, stream_shares({"a": 1.0, "b": 3.0}, ()), at_promotion=0.5, tolerance=0.05)


def rows(seed: int, number: int = 100, shift: float = 0.0) -> pd.DataFrame:
    draws = np.random.default_rng(seed)
    return pd.DataFrame({"a": draws.normal(size=number) + shift, "b": draws.choice(list("xyz"), number)})


def reference(days: int = 120):  # noqa: ANN201
    frame = pd.concat([rows(place) for place in range(days)], ignore_index=True)
    return make_reference(frame, pd.Series(np.repeat(pd.date_range(FIRST, periods=days), 100)), "0 0 * * *")


REFERENCE = reference()


def seen(place: int, shift: float = 0.0, **known: object) -> Observation:
    start = FIRST + (120 + place) * DAY
    counts = count_rows(REFERENCE.columns, rows(1000 + place, shift=shift))
    return replace(observe(REFERENCE.columns, Window(start, start + DAY), counts), **known)


def judge(windows: list[Observation], rules: Rules = RULES, past: object = None) -> list[Judged]:
    return list(judge_all("m/1", rules, REFERENCE.past if past is None else past, windows))  # type: ignore[arg-type]


STABLE = [seen(place) for place in range(8)]
SHIFTED = [seen(place, shift=2.0) for place in range(8, 16)]


def test_a_shift_is_said_to_have_moved_and_by_which_column() -> None:
    judged = judge(STABLE + SHIFTED)
    said = [one.moved.said for one in judged]
    assert said[:8] == [Said.NOTHING_SEEN] * 8
    place = said.index(Said.MOVED)
    assert 8 <= place < 12
    assert judged[place].moved.reason == "a moved"
    assert not judged[place].retrain
    # Anew: the next window begins with nothing.
    assert judged[place + 1].inputs.log_wealth.max() < judged[place].inputs.log_wealth.max()  # type: ignore[union-attr]


def test_a_change_is_not_taken_for_dependence_however_long_its_alarm_takes() -> None:
    rare = replace(RULES, at_most_one_in=30_000)
    said = [one.moved.said for one in judge(STABLE + SHIFTED, rare)]
    assert Said.NOT_JUDGED not in said
    assert said.index(Said.MOVED) > 11


def test_moved_inputs_are_a_reason_to_train_only_where_the_file_says_so_and_dependence_is_known() -> None:
    wanted = replace(RULES, retrain_on_inputs=True)
    assert next(filter(None, (one.retrain for one in judge(STABLE + SHIFTED, wanted)))) == "a moved"
    few = judge(STABLE + SHIFTED, wanted, REFERENCE.past[:30])
    assert not any(one.retrain for one in few)
    reasons = [one.moved.reason for one in few if one.moved.said is Said.MOVED]
    assert reasons[0] == "a moved; dependence of the windows not yet known"


def test_the_same_windows_in_any_order_and_seen_twice_give_the_same_wealth_to_the_last_digit() -> None:
    once = judge(STABLE + SHIFTED)
    wrong = seen(3, shift=9.0)
    again = judge([wrong, *reversed(SHIFTED), *STABLE[::-1], seen(3)])
    assert [one.inputs.log_wealth.tolist() for one in once] == [  # type: ignore[union-attr]
        one.inputs.log_wealth.tolist()  # type: ignore[union-attr]
        for one in again
    ]


def test_below_twelve_past_windows_nothing_is_judged_and_it_says_so() -> None:
    (first, *_, last) = judge(STABLE, past=REFERENCE.past[:5])
    assert first.moved.said is Said.NOT_JUDGED
    assert first.moved.reason == "5 past windows, 12 are needed"
    assert last.moved.said is Said.NOTHING_SEEN or "12 are needed" in last.moved.reason


@pytest.mark.parametrize(("number", "reason"), [(0, "no rows"), (7, "7 rows, 30 are needed")])
def test_a_window_of_too_few_rows_is_not_judged_and_changes_no_wealth(number: int, reason: str) -> None:
    window = STABLE[3].window
    counts = count_rows(REFERENCE.columns, rows(1, number))
    elsewhere = replace(RULES, past_rows=False)
    few = judge([*STABLE[:3], observe(REFERENCE.columns, window, counts), *STABLE[4:]], elsewhere)
    assert (few[3].moved.said, few[3].moved.reason) == (Said.NOT_JUDGED, reason)
    without = judge([*STABLE[:3], *STABLE[4:]])
    assert few[-1].inputs.log_wealth.tolist() == without[-1].inputs.log_wealth.tolist()  # type: ignore[union-attr]


def test_of_broken_data_nothing_else_is_judged() -> None:
    (said,) = judge([seen(0, problems=("column a is gone",))])
    assert (said.whole.said, said.whole.reason) == (Said.BROKEN, "column a is gone")
    assert said.hurts.said is said.moved.said is Said.NOT_JUDGED


def test_harm_is_a_reason_to_train_and_says_since_when() -> None:
    cost = losses(np.random.default_rng(0).normal(0.9, 0.3, 60), np.zeros(60), np.empty(0))
    fine = losses(np.random.default_rng(0).normal(0.5, 0.3, 60), np.zeros(60), np.empty(0))
    judged = judge([replace(one, losses=fine) for one in STABLE] + [replace(SHIFTED[0], losses=cost)])
    assert [one.hurts.said for one in judged[:8]] == [Said.NOTHING_SEEN] * 8
    assert judged[8].retrain == f"log loss {cost.labelled.loss / 60:.3g} over 0.5 + 0.05 since 2026-05-09"


def test_without_labels_harm_is_not_judged() -> None:
    assert judge(STABLE)[0].hurts.said is Said.NOT_JUDGED


SPEC = ModelSpec.model_validate(
    {
        **TOY,
        "data": {**TOY["data"], "inputs": ["a", "b"]},
        "gates": [
            *TOY["gates"],
            {"schema": {"a": {"type": "number", "min": -9}, "b": {}, "y": {"allowed": ["no", "yes"]}}},
        ],
    }
)


def problems(frame: pd.DataFrame) -> tuple[str, ...]:
    counted = CountedRows(SPEC, REFERENCE.columns)
    for part in (frame[:60], frame[60:]):
        counted.add(part)
    return counted.problems()


def test_what_is_broken_is_named_by_its_column() -> None:
    good = rows(5)
    assert problems(good) == ()
    assert problems(good[:0]) == ()
    assert problems(good.drop(columns="a"))[0] == "column a is gone"
    assert problems(good.assign(a="7"))[0] == "column a holds texts, its reference numbers"
    assert problems(good.assign(b=7)) == ("column b holds numbers, its reference texts",)
    new = problems(good.assign(b=["new"] * 5 + ["x"] * 95))
    assert new == ("column b: 5 of 100 rows have a category that its reference has not",)


def test_the_gate_schema_of_the_inputs_holds_for_windows_and_asks_for_no_label() -> None:
    good = rows(5)
    assert problems(good.assign(a=[-10.0] * 3 + [0.0] * 97)) == ("a is not at least -9 in 3 of 100 rows",)
    assert problems(good.assign(b=[None, *good.b[1:]])) == ("b is empty in 1 of 100 rows",)


@pytest.mark.parametrize(
    ("number", "before", "said"),
    [
        (5, [90, 110] * 6, "5 rows; the 12 windows before had 90 to 110"),
        (0, [90, 110] * 6, "0 rows; the 12 windows before had 90 to 110"),
        (1101, [90, 110] * 6, "1,101 rows; the 12 windows before had 90 to 110"),
        (1100, [90, 110] * 6, ""),
        # Where few rows are usual, none are no defect: such a window is not judged.
        (0, [5, 110] * 6, ""),
        # Of fewer windows nobody knows what is usual.
        (5, [90, 110] * 5, ""),
    ],
)
def test_far_fewer_or_more_rows_than_in_the_windows_before_are_broken_data(
    number: int, before: list[int], said: str
) -> None:
    assert row_problem(number, before) == said


def numbered(count: int, number: int, first: int = 0) -> list[Observation]:
    return [replace(seen(place), rows=number) for place in range(first, first + count)]


def test_rows_in_use_are_compared_with_rows_in_use_not_with_those_of_the_training() -> None:
    many = numbered(16, 5000)
    assert {one.whole.said for one in judge(many)[:12]} == {Said.BROKEN}, "of the same source it is odd"
    elsewhere = replace(RULES, past_rows=False)
    assert {one.whole.said for one in judge(many, elsewhere)} == {Said.NOTHING_SEEN}
    lost = judge([*many, *numbered(2, 50, first=16)], elsewhere)
    assert lost[-1].whole.reason == "50 rows; the 16 windows before had 5,000 to 5,000"


def test_what_lasts_for_a_dozen_windows_is_broken_no_more() -> None:
    said = [one.whole.said for one in judge(numbered(16, 5000))]
    assert said == [Said.BROKEN] * 13 + [Said.NOTHING_SEEN] * 3


def test_windows_of_one_season_are_compared_by_their_rows_too() -> None:
    monthly = replace(RULES, match="month", past_rows=False)
    in_may, in_june = 31, 14
    windows = [*numbered(in_may, 500), *numbered(in_june, 40, first=in_may)]
    assert Said.BROKEN not in {one.whole.said for one in judge(windows, monthly)}
    assert judge(windows, replace(monthly, match=None))[in_may].whole.said is Said.BROKEN


def test_windows_are_compared_with_those_of_about_as_many_rows() -> None:
    elsewhere = replace(RULES, past_rows=False)
    judged = judge(numbered(14, 5000), elsewhere)
    assert judged[0].moved.reason == "0 past windows of about 5,000 rows, 12 are needed"
    assert [one.moved.said for one in judged] == [Said.NOT_JUDGED] * 12 + [Said.NOTHING_SEEN] * 2
    # Nearer to the reference than any window of few rows, and further than the others of many.
    near = [
        replace(one, distances={"a": 1e-4 * (1 + (place == 12))})
        for place, one in enumerate(numbered(13, 5000))
    ]
    last = judge(near, elsewhere)[-1]
    assert last.inputs is not None
    assert last.inputs.p[last.streams.index("a")] <= 1 / 13


def test_a_stream_bets_only_when_it_has_a_dozen_past_windows_of_its_own() -> None:
    rules = replace(RULES, shares=stream_shares({"a": 1.0, "b": 3.0}, ["prediction"]))
    draws = np.random.default_rng(3)
    windows = [
        replace(one, distances={**one.distances, "prediction": float(draws.uniform())})
        for one in [seen(place) for place in range(16)]
    ]
    place = rules.streams.index("prediction")
    p = [one.inputs.p[place] for one in judge(windows, rules)]  # type: ignore[union-attr]
    assert np.isnan(p[:12]).all()
    assert np.isfinite(p[12:]).all()


def test_the_shares_of_the_alarms_add_up_and_none_is_below_a_tenth_of_an_equal_one() -> None:
    shares = stream_shares({"a": 0.0, "b": 5.0, "c": -1.0}, ["prediction"])
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["a"] + shares["missing a"] == pytest.approx(0.1 / 4)
    assert shares["prediction"] + shares["missing prediction"] == pytest.approx(1 / 4)
    assert sum(stream_shares({"a": 0.0, "b": 0.0}, []).values()) == pytest.approx(1)
