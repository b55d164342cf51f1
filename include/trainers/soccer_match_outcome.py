"""The model ``soccer-match-outcome``: home win, draw or away win, from what was known before kick-off.

``match_examples`` replays the matches day by day. Each row describes the two teams as they stood on the
morning of the match: a match teaches the ratings only after every match of its day has been described.

Sources of the formulas:
    Elo: World Football Elo Ratings, https://www.eloratings.net/about
    Goals: attack and defence strengths, M. J. Maher, "Modelling association football scores" (1982),
        https://doi.org/10.1111/j.1467-9574.1982.tb00782.x, learned by one gradient step per match.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

import pandas as pd
from pydantic import Field, StrictFloat, StrictInt
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import SplineTransformer, StandardScaler
from threadpoolctl import threadpool_limits

from podium.training import Params, TrainedModel, TrainingExamples

MATCH_COLUMNS = ("date", "home_team", "away_team", "home_score", "away_score", "tournament", "neutral")
OUTCOMES = ("away", "draw", "home")
_PER_TEAM = (
    "form_points",
    "form_goals_for",
    "form_goals_against",
    "form_surprise",
    "rest_days",
    "experience",
)
INPUTS = (
    "elo_difference",
    "elo_expected_score",
    "home_expected_goals",
    "away_expected_goals",
    "goal_strength_difference",
    *(f"home_{name}" for name in _PER_TEAM),
    *(f"away_{name}" for name in _PER_TEAM),
    "tournament_weight",
    "neutral_ground",
)

START_RATING = 1500.0
HOME_ADVANTAGE = 100.0
FORM_MATCHES = 10
REST_DAYS_CAP = 60
EXPERIENCE_CAP = 100

# A team's form starts as three average matches: the means of 2000-2003, the years of the default burn-in.
_FORM_PRIOR_MATCHES = 3
_FORM_PRIOR = (1.38, 1.43, 1.43, 0.0)

# Goals are on the log scale; the rate of learning was chosen on holdouts of 2012-2021.
_LOG_GOALS = 0.1
_LOG_HOME_GOALS = 0.25
_LOG_GOALS_LIMIT = 3.0
_GOALS_RATE = 0.03
_GOALS_RATE_WEIGHT = 30.0
_GOALS_ERROR_CAP = 3.0

_CONTINENTAL = (
    "AFC Asian Cup",
    "African Cup of Nations",
    "Copa América",
    "Gold Cup",
    "Oceania Nations Cup",
    "UEFA Euro",
)
_WEIGHTS: Mapping[str, float] = (
    {"Friendly": 20.0, "FIFA World Cup": 60.0, "Confederations Cup": 50.0}
    | {name: 50.0 for name in _CONTINENTAL}
    | {f"{name} qualification": 40.0 for name in (*_CONTINENTAL, "FIFA World Cup")}
    | {"UEFA Nations League": 40.0, "CONCACAF Nations League": 40.0}
)
_OTHER_WEIGHT = 30.0
_COMPETITIONS = {
    20.0: "friendly",
    40.0: "qualification or nations league",
    50.0: "continental finals",
    60.0: "World Cup finals",
}


def tournament_weight(tournament: str) -> float:
    """Give Elo's K, in rating points: 20 for a friendly up to 60 for a World Cup final tournament.

    Source: https://www.eloratings.net/about, where "all other tournaments", unknown ones too, weigh 30.
    """
    return _WEIGHTS.get(tournament, _OTHER_WEIGHT)


def competition(tournament: str) -> str:
    """Name the kind of a tournament, by which people look at results."""
    return _COMPETITIONS.get(tournament_weight(tournament), "other tournament")


def expected_score(rating_difference: float) -> float:
    """Give the expected score (win 1, draw 0.5, loss 0) of a team this many rating points ahead.

    Source: https://www.eloratings.net/about, ``We = 1 / (10^(-dr/400) + 1)``; as tanh, the
    same number, it cannot overflow.
    """
    return 0.5 + 0.5 * math.tanh(rating_difference * math.log(10.0) / 800.0)


def rating_change(rating_difference: float, goal_difference: int, weight: float) -> float:
    """Give the rating points that a team wins by a result, which its opponent loses.

    Source: https://www.eloratings.net/about, ``K * G * (W - We)``.

    Args:
        rating_difference: The team's rating less its opponent's, home advantage included, in points.
        goal_difference: The team's goals less its opponent's.
        weight: K, see ``tournament_weight``.
    """
    margin = abs(goal_difference)
    factor = 1.0 if margin < 2 else 1.5 if margin == 2 else 1.75 + (margin - 3) / 8.0
    return weight * factor * (_score(goal_difference) - expected_score(rating_difference))


def _score(goal_difference: int) -> float:
    return 1.0 if goal_difference > 0 else 0.0 if goal_difference < 0 else 0.5


class Match(NamedTuple):
    """A played match. Goals count after extra time and without penalty shoot-outs, as in the source."""

    day: int
    home_team: str
    away_team: str
    home_goals: int
    away_goals: int
    weight: float
    neutral: bool


class _Forecast(NamedTuple):
    elo_difference: float
    elo_expected_score: float
    home_goals: float
    away_goals: float


@dataclass(slots=True)
class Team:
    """What is known of one team: its ratings, its newest results and how long it has rested."""

    rating: float = START_RATING
    attack: float = 0.0
    defence: float = 0.0
    played: int = 0
    last_day: int | None = None
    recent: deque[tuple[float, ...]] = field(default_factory=lambda: deque(maxlen=FORM_MATCHES))

    def inputs(self, day: int) -> list[float]:
        """Describe the team on the morning of ``day``: form, rest (days) and experience (matches)."""
        count = len(self.recent) + _FORM_PRIOR_MATCHES
        totals = [sum(column) for column in zip(*self.recent, strict=True)] or [0.0] * len(_FORM_PRIOR)
        form = [
            (total + _FORM_PRIOR_MATCHES * prior) / count
            for total, prior in zip(totals, _FORM_PRIOR, strict=True)
        ]
        rest = REST_DAYS_CAP if self.last_day is None else min(day - self.last_day, REST_DAYS_CAP)
        return [*form, float(rest), float(min(self.played, EXPERIENCE_CAP))]

    def goals_rate(self, weight: float) -> float:
        """Give the step size of the team's goal strengths: larger while the team is little known."""
        return _GOALS_RATE * math.sqrt(weight / _GOALS_RATE_WEIGHT) * (1.0 + 25.0 / (5.0 + self.played))

    def remember(self, day: int, goals: int, conceded: int, surprise: float) -> None:
        """Add a result to the form; ``surprise`` is the score less Elo's expected score."""
        points = 3.0 if goals > conceded else 1.0 if goals == conceded else 0.0
        self.recent.append((points, float(goals), float(conceded), surprise))
        self.played += 1
        self.last_day = day


class League:
    """All teams as they stand after the days replayed so far."""

    def __init__(self) -> None:
        self.teams: defaultdict[str, Team] = defaultdict(Team)

    def play_day(self, matches: Sequence[Match]) -> list[list[float]]:
        """Describe the matches of one day, then learn from them.

        Args:
            matches: All matches of one day, which is later than every day played before.

        Returns:
            The ``INPUTS`` of each match. None of them knows a result of this day.
        """
        forecasts = [self._forecast(match) for match in matches]
        described = [
            self._inputs(match, forecast) for match, forecast in zip(matches, forecasts, strict=True)
        ]
        for match, forecast in zip(matches, forecasts, strict=True):
            self._learn(match, forecast)
        return described

    def _forecast(self, match: Match) -> _Forecast:
        home, away = self.teams[match.home_team], self.teams[match.away_team]
        difference = home.rating - away.rating + (0.0 if match.neutral else HOME_ADVANTAGE)
        home_goals = _LOG_GOALS + home.attack - away.defence + (0.0 if match.neutral else _LOG_HOME_GOALS)
        away_goals = _LOG_GOALS + away.attack - home.defence
        goals = (math.exp(_clip(log_goals, _LOG_GOALS_LIMIT)) for log_goals in (home_goals, away_goals))
        return _Forecast(difference, expected_score(difference), *goals)

    def _inputs(self, match: Match, forecast: _Forecast) -> list[float]:
        return [
            *forecast,
            math.log(forecast.home_goals / forecast.away_goals),
            *self.teams[match.home_team].inputs(match.day),
            *self.teams[match.away_team].inputs(match.day),
            match.weight,
            float(match.neutral),
        ]

    def _learn(self, match: Match, forecast: _Forecast) -> None:
        home, away = self.teams[match.home_team], self.teams[match.away_team]
        margin = match.home_goals - match.away_goals
        change = rating_change(forecast.elo_difference, margin, match.weight)
        home.rating += change
        away.rating -= change

        home_error = _clip(match.home_goals - forecast.home_goals, _GOALS_ERROR_CAP)
        away_error = _clip(match.away_goals - forecast.away_goals, _GOALS_ERROR_CAP)
        home_rate, away_rate = home.goals_rate(match.weight), away.goals_rate(match.weight)
        home.attack += home_rate * home_error
        home.defence -= home_rate * away_error
        away.attack += away_rate * away_error
        away.defence -= away_rate * home_error

        surprise = _score(margin) - forecast.elo_expected_score
        home.remember(match.day, match.home_goals, match.away_goals, surprise)
        away.remember(match.day, match.away_goals, match.home_goals, -surprise)


def _clip(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))


def match_examples(matches: pd.DataFrame) -> pd.DataFrame:
    """Turn raw matches into labelled examples that know only the days before their own.

    Matches without a score (fixtures) are left out; a row that is there twice counts once.

    Args:
        matches: One row per match with ``MATCH_COLUMNS``; ``date`` as datetime64 without time zone. The
            order of the rows and other columns do not matter.

    Returns:
        One row per played match, by date, home team and away team: ``date`` (midnight), ``outcome`` (one of
        ``OUTCOMES``), ``INPUTS`` as float64 without gaps, and for people ``home_team``, ``away_team`` and
        ``competition``; ``attrs["counted"]`` says how many matches were left out.

    Raises:
        ValueError: A column is missing or a row is malformed; names the row's index and the column.
    """
    played = _played(matches)
    league = League()
    days = groupby(_iter_matches(played), lambda match: match.day)
    rows = [row for _, matches_of_day in days for row in league.play_day(list(matches_of_day))]
    scores = (played["home_score"] - played["away_score"]).map(_score)
    examples = pd.DataFrame(rows, columns=list(INPUTS), dtype="float64")
    examples.insert(0, "date", played["date"])
    examples.insert(1, "outcome", scores.map({0.0: "away", 0.5: "draw", 1.0: "home"}).astype("str"))
    named = played[["home_team", "away_team"]].assign(competition=played["tournament"].map(competition))
    described = pd.concat([examples, named], axis=1)
    fixtures = int(matches["home_score"].isna().sum())
    counts = {"without a score": fixtures, "there twice": len(matches) - fixtures - len(played)}
    described.attrs["counted"] = {what: count for what, count in counts.items() if count}
    return described


def _iter_matches(played: pd.DataFrame) -> Iterator[Match]:
    in_order = played.assign(
        date=(played["date"] - pd.Timestamp(0)).dt.days,
        tournament=played["tournament"].map(tournament_weight),
        neutral=played["neutral"].astype("bool"),
    )
    return map(Match._make, in_order.itertuples(index=False, name=None))


def _played(matches: pd.DataFrame) -> pd.DataFrame:
    """Check the rows and return the played matches in replay order, each once."""
    missing = [column for column in MATCH_COLUMNS if column not in matches.columns]
    if missing:
        raise ValueError(f"matches: missing column {', '.join(missing)}; needed: {', '.join(MATCH_COLUMNS)}")
    rows = matches.loc[:, list(MATCH_COLUMNS)]
    _check_values(rows)
    played = rows[rows["home_score"].notna()]
    played = played.assign(
        date=played["date"].dt.normalize(),
        home_score=pd.to_numeric(played["home_score"]).astype("int64"),
        away_score=pd.to_numeric(played["away_score"]).astype("int64"),
    ).drop_duplicates()
    key = ["date", "home_team", "away_team"]
    _refuse(played, "home_team", played.duplicated(key), "the same match twice, with other values")
    return played.sort_values(key, kind="stable", ignore_index=True)


def _check_values(rows: pd.DataFrame) -> None:
    if not pd.api.types.is_datetime64_dtype(rows["date"]):
        raise ValueError(f"matches: column date is {rows['date'].dtype}, not datetime64 without time zone")
    _refuse(rows, "date", rows["date"].isna(), "no date")
    for column in ("home_team", "away_team", "tournament"):
        named = rows[column].map(lambda value: isinstance(value, str) and value.strip() != "")
        _refuse(rows, column, ~named.astype("bool"), "not a name")
    _refuse(rows, "away_team", rows["home_team"] == rows["away_team"], "a team against itself")
    _refuse(rows, "neutral", ~rows["neutral"].isin([True, False]), "not true or false")
    unplayed = rows["home_score"].isna()
    _refuse(rows, "away_score", rows["away_score"].isna() != unplayed, "one score without the other")
    for column in ("home_score", "away_score"):
        goals = pd.to_numeric(rows[column], errors="coerce")
        whole = goals.ge(0) & goals.lt(1000) & goals.mod(1).eq(0)
        _refuse(rows, column, ~whole & ~unplayed, "not a count of goals")


def _refuse(rows: pd.DataFrame, column: str, wrong: pd.Series, why: str) -> None:
    if wrong.any():
        row, value = wrong.idxmax(), rows.loc[wrong, column].tolist()[0]
        raise ValueError(f"matches: row {row}, column {column}: {value!r}: {why} ({wrong.sum()} such rows)")


class TrainerParams(Params):
    """What a model file may set under ``params``.

    Attributes:
        seed: Random state of the estimators. The solver draws nothing; kept so that a run can name it.
        burn_in_years: Years at the start of the examples that are not learned from, because the ratings
            are still finding the teams' strengths.
        l2_strength: Weight of the squared coefficients in the loss (1 / scikit-learn's ``C``).
    """

    seed: StrictInt = Field(default=0, ge=0, lt=2**32)
    burn_in_years: StrictInt = Field(default=4, ge=0)
    l2_strength: StrictFloat = Field(default=20.0, gt=0)


def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    """Fit the model and the two baselines that it has to beat.

    The model is a multinomial logistic regression on the standardised inputs. Gradient boosting and splines
    were no better on holdouts of 2012-2021, and here every coefficient can be read.

    Args:
        examples: Rows of ``match_examples`` from before the holdout, with ``INPUTS`` as inputs.
        params: See ``TrainerParams``.

    Returns:
        The fitted model, with the baselines ``class_prior`` (how often each outcome happens) and ``elo_only``
        (the Elo difference alone, home advantage included).

    Raises:
        ValueError: Wrong params, no input ``elo_difference``, or too few examples after the burn-in.
    """
    settings = TrainerParams.parse(params)
    if "elo_difference" not in examples.inputs.columns:
        raise ValueError("inputs: elo_difference is missing; the baseline elo_only needs it")
    learned = examples.time >= examples.time.min() + pd.DateOffset(years=settings.burn_in_years)
    inputs, label = examples.inputs[learned], examples.label[learned]
    if set(label) != set(OUTCOMES):
        raise ValueError(
            f"label: {sorted(set(label))} in the {len(label)} examples after {settings.burn_in_years} "
            f"burn-in years; needed: all of {', '.join(OUTCOMES)} and nothing else"
        )
    model = Pipeline([("scale", StandardScaler()), ("classify", _logistic(settings))])
    # With 19 columns the threads of a matrix product mostly wait for each other.
    with threadpool_limits(limits=1):
        return TrainedModel(
            model=model.fit(inputs, label),
            baselines={
                "class_prior": DummyClassifier(strategy="prior").fit(inputs, label),
                "elo_only": _elo_only(settings).fit(inputs, label),
            },
        )


def _elo_only(settings: TrainerParams) -> Pipeline:
    curve = SplineTransformer(n_knots=5, knots="quantile", extrapolation="linear")
    select = ColumnTransformer([("elo_difference", curve, ["elo_difference"])])
    return Pipeline([("select", select), ("scale", StandardScaler()), ("classify", _logistic(settings))])


def _logistic(settings: TrainerParams) -> LogisticRegression:
    return LogisticRegression(C=1.0 / settings.l2_strength, max_iter=2000, random_state=settings.seed)
