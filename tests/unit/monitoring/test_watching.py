"""How a watch window ends, by what was counted."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from podium.ledger.watch_counts import Counts
from podium.metrics.paired import LOG_THRESHOLD, Sums
from podium.monitoring.watching import TIME_TO_LOAD, Ending
from support.watched_streams import TERMS, Promotion, Ramped, ramp, verdict, watch

WEEK = timedelta(days=7).total_seconds()
LABELLED = Sums(300, 0.0, 30.0)


def test_good_is_said_only_when_all_rows_and_labels_are_there() -> None:
    whole = Counts(2500, 5000, 3, 4, 0, 2490, 1200)
    assert verdict(whole, LABELLED).ending is Ending.GOOD
    assert verdict(whole, LABELLED).reason == (
        "v8 is not seen to be worse than v7 on 5,000 rows, 300 of them with labels"
    )
    for counts, sums, missing in (
        (whole._replace(rows=4000), LABELLED, "1,000 rows"),
        (whole, Sums(10, 0.0, 1.0), "290 labelled rows"),
        (Counts(1, 1), Sums(), "4,999 rows and 300 labelled rows and 30 timed requests"),
    ):
        assert verdict(counts, sums).ending is None
        assert verdict(counts, sums).reason == f"missing: {missing}"
        over = verdict(counts, sums, age=WEEK)
        assert (over.ending, over.reason) == (
            Ending.INCONCLUSIVE,
            f"the window is over; missing: {missing}",
        )


def test_a_question_without_its_numbers_is_never_good() -> None:
    whole = Counts(5000, 5000, timed=5000)
    untimed = verdict(whole._replace(timed=29), LABELLED)
    assert (untimed.ending, untimed.reason) == (None, "missing: 1 timed requests")
    unread = verdict(whole, LABELLED, unread="'perhaps' is no label")
    assert (unread.ending, unread.reason) == (None, "missing: labels that can be read: 'perhaps' is no label")
    over = verdict(whole, LABELLED, age=WEEK, unread="'perhaps' is no label")
    assert over.ending is Ending.INCONCLUSIVE


def test_each_question_alone_says_bad_and_why() -> None:
    errors = verdict(Counts(40, 40, 12, 0))
    assert (errors.ending, errors.reason) == (
        Ending.BAD,
        "v8 alone failed 12 and v7 alone 0 of 40 requests",
    )
    slow = verdict(Counts(40, 40, timed=40, slower=38))
    assert (slow.ending, slow.reason) == (
        Ending.BAD,
        "v8 took more than 1 times as long as v7 for 38 of 40 requests",
    )
    losses = verdict(Counts(200, 200), Sums(200, 40.0, 40.0))
    assert losses.ending is Ending.BAD
    assert losses.reason.startswith(
        "log loss of v8 is worse than that of v7 by 0.2 on 200 labelled rows, at "
    )


def test_both_bad_comes_before_bad_and_is_no_reason_to_go_back() -> None:
    found = verdict(Counts(100, 100, 15, 0, 60))
    assert (found.ending, found.reason) == (Ending.BOTH_BAD, "v8 and v7 both failed 60 of 100 requests")


def test_not_judged_says_why() -> None:
    none = verdict(age=WEEK, processes=0)
    assert (none.ending, none.reason) == (
        Ending.NOT_JUDGED,
        "no server reported that it compares v8 with v7",
    )
    assert verdict(age=WEEK).ending is Ending.NOT_JUDGED
    too_large = {"problems": ["v7 is too large"]}
    late = TIME_TO_LOAD.total_seconds()
    assert verdict(age=late - 1, **too_large).ending is None
    assert verdict(age=late, **too_large).reason == "no server can compare v8 with v7: v7 is too large"
    assert verdict(age=late, processes=2, **too_large).ending is None, "another server can"


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_more_failures_of_the_new_version_are_never_less_evidence(new: int, old: int, more: int) -> None:
    def evidence(failed: int) -> float:
        return verdict(Counts(1000, 1000, failed, old)).questions[0].log_wealth

    assert evidence(new + more) >= evidence(new)


def test_the_bar_is_full_at_the_threshold() -> None:
    (errors, *_) = verdict(Counts(40, 40, 12, 0)).questions
    assert errors.log_wealth >= LOG_THRESHOLD
    assert errors.share == 1.0
    assert verdict(Counts(40, 40, 0, 5)).questions[0].share == 0.0


@pytest.mark.parametrize(
    ("promotion", "asked"),
    [
        (Promotion(new_fails=0.05), (300, 550)),
        (Promotion(new_fails=0.5), (15, 40)),
        (Promotion(worse=0.05, requests=2000), (150, 320)),
    ],
)
def test_worse_versions_are_seen_as_soon_as_in_the_simulations(
    promotion: Promotion, asked: tuple[int, int]
) -> None:
    found = [watch(promotion, seed, every=50).requests for seed in range(15)]
    assert asked[0] < np.median(found) < asked[1]


@pytest.mark.parametrize(
    ("promotion", "asked"),
    [
        (Promotion(new_fails=0.05), (300, 550)),
        (Promotion(new_fails=0.5), (15, 40)),
        (Promotion(worse=0.05), (150, 320)),
    ],
)
def test_a_bad_version_goes_back_at_the_first_step_of_its_ramp(
    promotion: Promotion, asked: tuple[int, int]
) -> None:
    found = [ramp(promotion, seed, every=50) for seed in range(15)]
    assert {one.said for one in found} == {"bad"}
    assert asked[0] < np.median([one.requests for one in found]) < asked[1]
    assert np.median([one.share for one in found]) == 5


def test_an_equal_version_comes_to_the_end_of_its_ramp() -> None:
    assert {ramp(Promotion(), seed, every=200) for seed in range(15)} == {Ramped("good", 50, 3000)}


def test_equal_versions_stay() -> None:
    assert {watch(Promotion(), seed, every=200).ending for seed in range(15)} == {None}
    assert TERMS.auto_rollback == "on"
