from __future__ import annotations

import hashlib
import math
import re
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from podium.errors import TrainerError
from podium.model_file.loading import load_spec
from podium.settings import PROJECT_ROOT
from podium.training.run import TrainingExamples
from podium.training.trainer import TrainedModel
from trainers.soccer_match_outcome import (
    INPUTS,
    MATCH_COLUMNS,
    OUTCOMES,
    START_RATING,
    League,
    Match,
    TrainerParams,
    expected_score,
    match_examples,
    rating_change,
    tournament_weight,
    train,
)

DATA = PROJECT_ROOT / "include" / "data"
SOURCE = DATA / "international_football_since_2000.csv.gz"
HOLDOUT = pd.Timedelta(days=365)
MATCH_KEY = ["date", "home_team", "away_team"]
FIRST_DAY = pd.Timestamp("2020-01-01")

Row = tuple[int, str, str, int, int, str, bool]


@cache
def real_matches() -> pd.DataFrame:
    return pd.read_csv(SOURCE, parse_dates=["date"])


@cache
def real_examples() -> pd.DataFrame:
    return match_examples(real_matches())


@cache
def holdout_and_model(as_of: str) -> tuple[pd.DataFrame, TrainedModel]:
    """All examples, cut at as_of, are those of the matches before as_of: the leakage tests show it."""
    examples = real_examples()[real_examples()["date"] < as_of]
    in_holdout = examples["date"] >= pd.Timestamp(as_of) - HOLDOUT
    return examples[in_holdout], train(as_training(examples[~in_holdout]), {})


def as_training(examples: pd.DataFrame) -> TrainingExamples:
    return TrainingExamples(inputs=examples[list(INPUTS)], label=examples["outcome"], time=examples["date"])


def as_matches(rows: list[Row]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(MATCH_COLUMNS))
    frame["date"] = FIRST_DAY + pd.to_timedelta(frame["date"], unit="D")
    return frame


def pairs_of(matches: pd.DataFrame) -> pd.DataFrame:
    """The example rows by their match."""
    return match_examples(matches).set_index(MATCH_KEY)[list(INPUTS)]


TEAMS = ["Alba", "Brega", "Corva", "Dorna", "Elva"]


@st.composite
def rows(draw: st.DrawFn, first_day: int = 0, last_day: int = 6) -> Row:
    home, away = draw(st.permutations(TEAMS))[:2]
    return (
        draw(st.integers(first_day, last_day)),
        home,
        away,
        draw(st.integers(0, 5)),
        draw(st.integers(0, 5)),
        draw(st.sampled_from(["Friendly", "FIFA World Cup", "A cup that no table knows"])),
        draw(st.booleans()),
    )


def leagues(first_day: int = 0, last_day: int = 6, min_size: int = 1) -> st.SearchStrategy[list[Row]]:
    return st.lists(rows(first_day, last_day), min_size=min_size, max_size=14, unique_by=lambda row: row[:3])


@given(data=st.data())
@settings(max_examples=60)
def test_no_match_knows_its_own_day_or_later(data: st.DataObject) -> None:
    before = data.draw(leagues(0, 2), label="before the day")
    subject = data.draw(rows(3, 3), label="the match")
    key = subject[:3]
    scores = st.tuples(st.integers(0, 5), st.integers(0, 5))
    described = []
    for label in ("one world", "another world"):
        after = data.draw(leagues(3, 5, min_size=0), label=label)
        goals = data.draw(scores, label=f"the match in {label}")
        others = [row for row in after if row[:3] != key]
        matches = as_matches([*others, (*key, *goals, *subject[5:]), *before])
        known = pairs_of(matches)
        day = FIRST_DAY + pd.Timedelta(days=3)
        described.append(
            (known[known.index.get_level_values("date") < day], known.loc[[(day, key[1], key[2])]])
        )
    (past, match), (past_elsewhere, match_elsewhere) = described
    pd.testing.assert_frame_equal(past, past_elsewhere, check_exact=True)
    pd.testing.assert_frame_equal(match, match_elsewhere, check_exact=True)


def test_scrambling_the_future_leaves_the_past_as_it_was() -> None:
    matches = real_matches()
    cut_off = matches.loc[matches["date"].between("2018-01-01", "2018-12-31"), "date"].mode()[0]
    assert (matches["date"] == cut_off).sum() > 30
    draws = np.random.default_rng(11)
    scrambled = matches.copy()
    from_then = np.flatnonzero(matches["date"] >= cut_off)
    goals = matches[["home_score", "away_score"]].to_numpy()[draws.permutation(from_then)][:, ::-1]
    scrambled.iloc[from_then, [3, 4]] = goals
    later = matches["date"] > cut_off
    swapped = matches.loc[later, "home_team"].to_numpy(), matches.loc[later, "away_team"].to_numpy()
    scrambled.loc[later, "away_team"], scrambled.loc[later, "home_team"] = swapped

    examples, elsewhere = real_examples(), match_examples(scrambled)
    until = examples["date"] <= cut_off
    pd.testing.assert_frame_equal(
        examples.loc[until, list(INPUTS)], elsewhere.loc[until, list(INPUTS)], check_exact=True
    )
    on_the_day = examples["date"] == cut_off
    assert (examples.loc[on_the_day, "outcome"] != elsewhere.loc[on_the_day, "outcome"]).any()
    next_days = examples["date"].between(cut_off, cut_off + pd.Timedelta(days=14), inclusive="right")
    assert not np.allclose(examples.loc[next_days, list(INPUTS)], elsewhere.loc[next_days, list(INPUTS)])


@given(league=leagues(), data=st.data())
@settings(max_examples=25)
def test_the_order_of_the_rows_does_not_matter(league: list[Row], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(league))
    pd.testing.assert_frame_equal(
        match_examples(as_matches(league)), match_examples(as_matches(shuffled)), check_exact=True
    )


def test_real_rows_in_any_order_and_twice_make_the_same_examples() -> None:
    matches = real_matches()
    shuffled = pd.concat([matches.sample(frac=1.0, random_state=5), matches.tail(50)])
    examples = match_examples(shuffled)
    pd.testing.assert_frame_equal(real_examples(), examples, check_exact=True)
    assert examples.attrs["counted"]["there twice"] == 50
    assert sum(examples.attrs["counted"].values()) == len(shuffled) - len(examples)


@given(league=leagues())
@settings(max_examples=60)
def test_ratings_are_won_from_the_opponent(league: list[Row]) -> None:
    played = League()
    for day in sorted({row[0] for row in league}):
        played.play_day(
            [Match(*row[:5], tournament_weight(row[5]), row[6]) for row in league if row[0] == day]
        )
    ratings = [team.rating for team in played.teams.values()]
    assert math.isclose(sum(ratings), START_RATING * len(ratings), rel_tol=1e-12)


@given(
    difference=st.floats(-2000, 2000), margin=st.integers(-20, 20), weight=st.sampled_from([20.0, 30.0, 60.0])
)
def test_what_one_side_wins_the_other_loses(difference: float, margin: int, weight: float) -> None:
    won = rating_change(difference, margin, weight)
    assert math.isclose(won, -rating_change(-difference, -margin, weight), abs_tol=1e-9)
    assert math.isclose(expected_score(difference) + expected_score(-difference), 1.0)
    assert won * margin >= 0


@pytest.mark.parametrize(
    ("difference", "margin", "weight", "change"),
    [(0, 1, 60, 30.0), (0, 2, 60, 45.0), (0, -3, 40, -35.0), (0, 5, 20, 20.0), (400, 0, 20, -90 / 11)],
)
def test_rating_change_is_the_published_formula(
    difference: float, margin: int, weight: float, change: float
) -> None:
    assert rating_change(difference, margin, weight) == pytest.approx(change)


@pytest.mark.parametrize("difference", [-700.0, -100.0, 0.0, 30.0, 1200.0])
def test_expected_score_is_the_published_formula(difference: float) -> None:
    assert expected_score(difference) == pytest.approx(1 / (10 ** (-difference / 400) + 1))


@pytest.mark.parametrize(
    ("tournament", "weight"),
    [
        ("FIFA World Cup", 60.0),
        ("Copa América", 50.0),
        ("FIFA World Cup qualification", 40.0),
        ("Oceania Nations Cup qualification", 40.0),
        ("UEFA Nations League", 40.0),
        ("Baltic Cup", 30.0),
        ("Friendly", 20.0),
    ],
)
def test_tournament_weight(tournament: str, weight: float) -> None:
    assert tournament_weight(tournament) == weight


def test_what_is_known_of_two_teams_before_their_first_and_second_match() -> None:
    league = as_matches(
        [
            (0, "Alba", "Brega", 3, 0, "Friendly", False),
            (4, "Brega", "Alba", 1, 1, "FIFA World Cup", True),
        ]
    )
    first, second = match_examples(league).to_dict("records")
    assert (first["outcome"], second["outcome"]) == ("home", "draw")
    assert first["elo_difference"] == 100.0
    assert (first["home_rest_days"], first["home_experience"], first["neutral_ground"]) == (60.0, 0.0, 0.0)
    assert (first["home_form_points"], first["away_form_points"]) == (1.38, 1.38)

    won = 20 * 1.75 * (1 - 1 / (10 ** (-100 / 400) + 1))
    assert second["elo_difference"] == pytest.approx(-2 * won)
    assert second["elo_expected_score"] < 0.5
    assert second["home_expected_goals"] < second["away_expected_goals"]
    assert second["goal_strength_difference"] == pytest.approx(
        math.log(second["home_expected_goals"] / second["away_expected_goals"])
    )
    assert second["away_form_points"] == pytest.approx((3 + 3 * 1.38) / 4)
    assert second["away_form_goals_for"] == pytest.approx((3 + 3 * 1.43) / 4)
    assert second["home_form_goals_against"] == second["away_form_goals_for"]
    assert second["home_form_surprise"] == -second["away_form_surprise"] < 0
    assert (second["home_rest_days"], second["away_experience"]) == (4.0, 1.0)
    assert (second["tournament_weight"], second["neutral_ground"]) == (60.0, 1.0)


def test_real_examples_are_complete() -> None:
    examples = real_examples()
    assert len(examples) == len(real_matches())
    assert list(examples.columns) == ["date", "outcome", *INPUTS, "home_team", "away_team", "competition"]
    assert set(examples["outcome"]) == set(OUTCOMES)
    assert (examples[list(INPUTS)].dtypes == "float64").all()
    assert np.isfinite(examples[list(INPUTS)].to_numpy()).all()


def test_an_absurd_league_stays_finite() -> None:
    same_day = [
        (day, "Alba", f"Victim {i}", 999, 0, "FIFA World Cup", True) for day in (0, 1) for i in range(40)
    ]
    examples = match_examples(
        as_matches([*same_day, (2, "Victim 0", "Alba", 999, 0, "FIFA World Cup", True)] * 2)
    )
    assert np.isfinite(examples[list(INPUTS)].to_numpy()).all()


def test_fixtures_without_a_score_are_left_out() -> None:
    league = as_matches(
        [(0, "Alba", "Brega", 1, 0, "Friendly", False), (1, "Brega", "Alba", 1, 0, "Cup", True)]
    )
    unplayed = league.astype({"home_score": "float64", "away_score": "float64"})
    unplayed.loc[1, ["home_score", "away_score"]] = np.nan
    pd.testing.assert_frame_equal(match_examples(unplayed), match_examples(league.head(1)))
    nothing = match_examples(unplayed.tail(1))
    assert nothing.empty
    assert (nothing[list(INPUTS)].dtypes == "float64").all()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("date", pd.NaT, "row 7, column date: NaT: no date"),
        ("home_team", None, "row 7, column home_team: None: not a name"),
        ("away_team", " ", "row 7, column away_team: ' ': not a name"),
        ("away_team", "Alba", "row 7, column away_team: 'Alba': a team against itself"),
        ("home_score", None, "row 7, column away_score: 0: one score without the other"),
        ("away_score", None, "row 7, column away_score: .*: one score without the other"),
        ("home_score", -1, "row 7, column home_score: -1: not a count of goals"),
        ("home_score", 1.5, "row 7, column home_score: 1.5: not a count of goals"),
        ("away_score", math.inf, "row 7, column away_score: inf: not a count of goals"),
        ("away_score", "two", "row 7, column away_score: 'two': not a count of goals"),
        ("tournament", None, "row 7, column tournament: None: not a name"),
        ("neutral", "no", "row 7, column neutral: 'no': not true or false"),
        ("neutral", None, "row 7, column neutral: None: not true or false"),
    ],
)
def test_a_malformed_row_is_named(column: str, value: object, message: str) -> None:
    league = as_matches(
        [(0, "Alba", "Brega", 1, 0, "Friendly", False), (1, "Alba", "Brega", 1, 0, "Cup", True)]
    )
    league.index = pd.Index([3, 7])
    if column != "date":
        league = league.astype({column: "object"})
    league.loc[7, column] = value  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=message):
        match_examples(league)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda league: league.drop(columns=["neutral", "date"]),
            "missing column date, neutral; needed: date,",
        ),
        (lambda league: league.astype({"date": "str"}), "column date is str, not datetime64"),
        (
            lambda league: league.assign(date=league["date"].dt.tz_localize("UTC")),
            "not datetime64 without time",
        ),
        (lambda league: pd.concat([league, league.assign(home_score=5)]), "the same match twice, with other"),
    ],
)
def test_malformed_matches_are_refused(change: Callable[[pd.DataFrame], pd.DataFrame], message: str) -> None:
    league = as_matches([(0, "Alba", "Brega", 1, 0, "Friendly", False)])
    with pytest.raises(ValueError, match=message):
        match_examples(change(league))


@pytest.mark.parametrize("as_of", ["2024-07-01", "2025-07-01", "2026-07-01"])
def test_the_model_beats_its_baselines_on_the_holdout(as_of: str) -> None:
    holdout, trained = holdout_and_model(as_of)
    losses = {}
    for name, model in {"model": trained.model, **trained.baselines}.items():
        probabilities = model.predict_proba(holdout[list(INPUTS)])
        assert tuple(model.classes_) == OUTCOMES
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
        losses[name] = log_loss(holdout["outcome"], probabilities, labels=list(OUTCOMES))
    assert losses["model"] < losses["elo_only"] < losses["class_prior"] - 0.1


def test_the_same_examples_make_the_same_model_without_a_warning() -> None:
    examples = real_examples()[real_examples()["date"] < "2010-01-01"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = (train(as_training(examples), {"seed": 3}) for _ in range(2))
    inputs = examples[list(INPUTS)]
    for one, other in [
        (first.model, second.model),
        *((first.baselines[name], second.baselines[name]) for name in first.baselines),
    ]:
        np.testing.assert_array_equal(one.predict_proba(inputs), other.predict_proba(inputs))


def test_the_burn_in_is_not_learned_from() -> None:
    examples = real_examples().head(6000)
    start = examples["date"].min() + pd.DateOffset(years=2)
    relabelled = examples.assign(outcome=examples["outcome"].where(examples["date"] >= start, "draw"))
    inputs = examples[list(INPUTS)]
    one, other = (train(as_training(part), {"burn_in_years": 2}).model for part in (examples, relabelled))
    np.testing.assert_array_equal(one.predict_proba(inputs), other.predict_proba(inputs))
    with pytest.raises(
        ValueError, match="in the 0 examples after 90 burn-in years; needed: all of away, draw, home"
    ):
        train(as_training(examples), {"burn_in_years": 90})


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"sede": 1},
            "params.sede: unknown key; did you mean 'seed'? allowed: burn_in_years, l2",
        ),
        ({"seed": -1}, "params.seed: -1: must be at least 0"),
        ({"burn_in_years": True}, "params.burn_in_years: true: must be a whole number"),
        ({"burn_in_years": 2.5}, "params.burn_in_years: 2.5: must be a whole number"),
        ({"l2_strength": 0}, "params.l2_strength: 0: must be greater than 0"),
        ({"l2_strength": math.nan}, "params.l2_strength: nan: must be a finite number"),
        ({"l2_strength": "strong"}, "params.l2_strength: 'strong': must be a number"),
    ],
)
def test_wrong_params_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainerError, match=re.escape(message)):
        TrainerParams.parse(params)


def test_the_elo_difference_must_be_an_input() -> None:
    examples = as_training(real_examples().head(10))
    without = TrainingExamples(
        inputs=examples.inputs.drop(columns="elo_difference"), label=examples.label, time=examples.time
    )
    with pytest.raises(ValueError, match="elo_difference is missing"):
        train(without, {})


def test_skops_saves_the_model_with_no_type_to_trust_by_hand() -> None:
    holdout, trained = holdout_and_model("2025-07-01")
    saved = skops.io.dumps(trained.model)
    assert skops.io.get_untrusted_types(data=saved) == []
    inputs = holdout[list(INPUTS)]
    loaded = skops.io.loads(saved, trusted=[])
    np.testing.assert_array_equal(loaded.predict_proba(inputs), trained.model.predict_proba(inputs))


def test_the_model_file_names_the_inputs_and_params_of_the_trainer() -> None:
    spec = load_spec(PROJECT_ROOT / "include" / "models" / "soccer_match_outcome.yaml")
    assert spec.data.inputs == INPUTS
    assert set(spec.labels) == set(OUTCOMES)
    assert TrainerParams.parse(spec.params) == TrainerParams()


def test_the_data_page_tells_the_truth() -> None:
    page = (DATA / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(SOURCE.read_bytes()).hexdigest() in page
    stated = re.search(r"\| Rows \| ([\d,]+)", page)
    assert stated is not None
    assert int(stated[1].replace(",", "")) == len(real_matches())
    first, last = (f"{real_matches()['date'].agg(end):%Y-%m-%d}" for end in ("min", "max"))
    assert f"{first} to {last}" in page
