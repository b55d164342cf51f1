"""The examples of the model ``rossmann-ensemble``: what is known of a store's day six weeks before it.

A day is scored if the store was open and sold something. Its inputs are what a calendar and a plan tell
(date, promotion, holidays), the store's own facts, and what its sales and those of all stores were up to
``HORIZON_DAYS`` before the day: on each day of a holdout of that length they are those that a forecast made
before it would have.
``Customers`` are counted on the day itself, so they are never read.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from dateutil.easter import easter  # type: ignore[import-untyped]

log = logging.getLogger(__name__)

HORIZON_DAYS = 42
SALES_COLUMNS = ("Store", "Date", "Sales", "Open", "Promo", "StateHoliday", "SchoolHoliday")
STORE_COLUMNS = (
    "Store",
    "StoreType",
    "Assortment",
    "CompetitionDistance",
    "CompetitionOpenSinceMonth",
    "CompetitionOpenSinceYear",
    "Promo2",
    "Promo2SinceWeek",
    "Promo2SinceYear",
    "PromoInterval",
)
# Spans of the store's own past, in days: whole fortnights, for many promotions are every other week.
_OWN_DAYS = (28, 84, 182)
_ALIKE_DAYS = (84, 182, 364)
# Inputs of the first kind of this model, from which ``make bench-rossmann`` still makes it.
EARLIER_INPUTS = (
    "day_of_week",
    "day_of_month",
    "day_of_year",
    "promo",
    "state_holiday",
    "school_holiday",
    "store_type",
    "assortment",
    "competition_metres",
    "competition_months",
    "promo2_weeks",
    "promo2_month",
    "known_days",
    "log_mean",
    "log_mean_recent",
    "log_mean_year_ago",
    "log_mean_weekday_promo",
)
_SURPRISES = (
    *(f"own_{days}" for days in _OWN_DAYS),
    *(f"own_weekday_promo_{days}" for days in _ALIKE_DAYS),
    "own_school_holiday",
    "own_year_ago",
    "own_forecast",
    "all_year",
    "all_season",
    "all_day_year_ago",
)
INPUTS = (
    *EARLIER_INPUTS,
    "days_left_in_month",
    "days_from_easter",
    "days_since_holiday",
    "days_to_holiday",
    "known_days_recent",
    *_SURPRISES,
)
# What is not there or not known: no competitor, no repeated promotion, a store that store.csv does not have.
NOTHING = -1.0
UNKNOWN = "unknown"

_LETTERS = {letter: float(place) for place, letter in enumerate("abcd")}
_HOLIDAYS = {"a": 1.0, "b": 2.0, "c": 3.0}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
# In days after Easter Sunday, and days of the year.
_AFTER_EASTER = (-2, 1, 39, 50)
_FIXED_HOLIDAYS = ("01-01", "05-01", "10-03", "12-25", "12-26")
_EASTER_CAP = 60
_HOLIDAY_CAP = 14
_MONTHS_CAP = 240.0
_WEEKS_CAP = 520.0
# Sums of whole numbers are exact, so that no row can change the mean of others by as much as rounding.
_LOG_UNITS = 1e6
# How many days speak against a store's own level, its trend, and both halves of its yearly wave.
_RIDGE = (0.5, 10.0, 20.0, 20.0)
_PAST = ("known_", "log_", "own_", "all_")

Numbers = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


def sales_examples(sales: pd.DataFrame, stores: pd.DataFrame) -> pd.DataFrame:
    """Turn rows of ``train.csv`` into labelled examples; says in the log which rows it left out, and why.

    Args:
        sales: One row per store and day with ``SALES_COLUMNS``; ``Date`` as datetime64 without time zone.
        stores: ``store.csv``: one row per store with ``STORE_COLUMNS``.

    Returns:
        One row per open day with sales, by date and store: ``Date``, ``Sales``, ``INPUTS`` as float64 without
        gaps, and for people ``Store`` and ``StoreType``; ``attrs["counted"]`` says what was left out.

    Raises:
        ValueError: A column is missing, or a store is twice in ``stores``; says which.
    """
    _check_columns("train.csv", sales, SALES_COLUMNS)
    _check_columns("store.csv", stores, STORE_COLUMNS)
    facts = _facts(stores)
    days = _scored_days(sales, facts.index)
    known = facts.reindex(days["Store"]).reset_index(drop=True)
    inputs = pd.concat([_plan(days), _place(days["Date"], known), _history(days)], axis=1)
    named = days[["Date", "Sales", "Store"]].assign(StoreType=known["letter"].fillna(UNKNOWN))
    examples = pd.concat([named, inputs[list(INPUTS)].astype("float64")], axis=1)
    examples.attrs["counted"] = days.attrs["counted"]
    return examples


def _check_columns(file: str, table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    if missing := [column for column in columns if column not in table]:
        raise ValueError(f"{file}: missing column {', '.join(missing)}; needed: {', '.join(columns)}")


def _scored_days(sales: pd.DataFrame, stores: pd.Index) -> pd.DataFrame:
    """Return the open days with sales, each once, by date and store."""
    rows = sales[list(SALES_COLUMNS)].reset_index(drop=True)
    for column in ("Store", "Sales", "Open", "Promo", "SchoolHoliday"):
        rows[column] = pd.to_numeric(rows[column], errors="coerce")
    nameless, closed = rows["Store"].isna(), rows["Open"].eq(0)
    unsold = ~(rows["Sales"] > 0) | np.isinf(rows["Sales"])
    scored = rows[~(nameless | closed | unsold)]
    # Of a day that is told twice the later row in the file is taken for the correction.
    days = scored.drop_duplicates(["Store", "Date"], keep="last")
    counts = {
        "of closed days left out": int(closed.sum()),
        "of open days without sales left out": int((unsold & ~closed).sum()),
        "without a store left out": int((nameless & ~closed & ~unsold).sum()),
        "of a store and day that a later row tells again left out": len(scored) - len(days),
        "with Open empty taken as open, for they have sales": int(days["Open"].isna().sum()),
        "of stores that store.csv does not have kept": int((~days["Store"].isin(stores)).sum()),
    }
    _tell(f"{len(sales):,} rows of sales, {len(days):,} of them scored", counts)
    in_order: pd.DataFrame = days.sort_values(["Date", "Store"], ignore_index=True).astype({"Store": "int64"})
    in_order.attrs["counted"] = {what: count for what, count in counts.items() if count}
    return in_order


def _tell(what: str, counts: dict[str, int]) -> None:
    log.info("%s.", "; ".join([what, *(f"{count:,} {words}" for words, count in counts.items() if count)]))


def _facts(stores: pd.DataFrame) -> pd.DataFrame:
    """Return what the stores are, by store, as numbers."""
    number = pd.to_numeric(stores["Store"], errors="coerce")
    table = stores[number.notna()].assign(Store=number).drop_duplicates()
    twice = table["Store"].duplicated()
    if twice.any():
        raise ValueError(f"store.csv: store {table.loc[twice, 'Store'].iloc[0]:g} twice, with other values")
    numbers = table[[name for name in STORE_COLUMNS if name.startswith(("Competition", "Promo2"))]]
    numbers = numbers.apply(pd.to_numeric, errors="coerce").astype("float64")
    letter = table["StoreType"].astype("str").str.strip()
    facts = pd.DataFrame(
        {
            "letter": letter.where(letter.isin(_LETTERS)),
            "store_type": letter.map(_LETTERS),
            "assortment": table["Assortment"].astype("str").str.strip().map(_LETTERS),
            "metres": numbers["CompetitionDistance"],
            "opened": numbers["CompetitionOpenSinceYear"] * 12 + numbers["CompetitionOpenSinceMonth"] - 1,
            "promo2_since": _mondays(numbers["Promo2SinceYear"], numbers["Promo2SinceWeek"]).where(
                numbers["Promo2"] == 1
            ),
            "promo2_interval": table["PromoInterval"],
        }
    )
    return facts.set_index(pd.Index(table["Store"], name="Store"))


def _mondays(year: pd.Series, week: pd.Series) -> pd.Series:
    """Return the first day of each ISO week, NaT where there is none."""
    there = year.notna() & week.notna()
    text = year[there].astype("int64").astype("str") + "-" + week[there].astype("int64").astype("str") + "-1"
    return pd.to_datetime(text, format="%G-%V-%u", errors="coerce").reindex(year.index)


def _plan(days: pd.DataFrame) -> pd.DataFrame:
    """What a calendar and the plan of promotions tell."""
    date = days["Date"].dt
    return pd.DataFrame(
        {
            "day_of_week": date.day_of_week + 1,
            "day_of_month": date.day,
            "day_of_year": date.day_of_year,
            "promo": days["Promo"].eq(1),
            # The column holds letters, and 0 as a number and as text.
            "state_holiday": days["StateHoliday"].astype("str").str.strip().map(_HOLIDAYS).fillna(0.0),
            "school_holiday": days["SchoolHoliday"].eq(1),
            "days_left_in_month": date.days_in_month - date.day,
            **_holidays_near(days["Date"]),
        }
    )


def _holidays_near(date: pd.Series) -> dict[str, pd.Series]:
    """How far Easter Sunday and the public holidays of all Germany are, in days, by the calendar alone."""
    years = range(date.min().year - 1, date.max().year + 2) if len(date) else range(2014, 2016)
    easters = {year: pd.Timestamp(easter(year)) for year in years}
    holidays = [sunday + pd.Timedelta(days=after) for sunday in easters.values() for after in _AFTER_EASTER]
    holidays += [pd.Timestamp(f"{year}-{day}") for year in years for day in _FIXED_HOLIDAYS]
    at, day = np.sort(np.array(holidays, "datetime64[D]")), date.to_numpy("datetime64[D]")
    since = day - at[np.searchsorted(at, day, side="right") - 1]
    until = at[np.searchsorted(at, day, side="left")] - day
    from_easter = (date - pd.to_datetime(date.dt.year.map(easters))).dt.days
    return {
        "days_from_easter": from_easter.clip(-_EASTER_CAP, _EASTER_CAP),
        "days_since_holiday": pd.Series(since.astype(np.int64)).clip(upper=_HOLIDAY_CAP),
        "days_to_holiday": pd.Series(until.astype(np.int64)).clip(upper=_HOLIDAY_CAP),
    }


def _place(date: pd.Series, facts: pd.DataFrame) -> pd.DataFrame:
    """What the store is on each day: a competitor or a promotion that has not begun is not there."""
    months = date.dt.year * 12 + date.dt.month - 1 - facts["opened"]
    rival = facts["metres"].notna() & ~(months < 0)
    weeks = (date - facts["promo2_since"]).dt.days // 7
    begun = weeks >= 0
    return pd.DataFrame(
        {
            "store_type": facts["store_type"].fillna(NOTHING),
            "assortment": facts["assortment"].fillna(NOTHING),
            "competition_metres": facts["metres"].where(rival, NOTHING),
            "competition_months": months.clip(upper=_MONTHS_CAP).where(rival).fillna(NOTHING),
            "promo2_weeks": weeks.clip(upper=_WEEKS_CAP).where(begun, NOTHING),
            "promo2_month": begun & _in_interval(date.dt.month, facts["promo2_interval"]),
        }
    )


def _in_interval(month: pd.Series, interval: pd.Series) -> pd.Series:
    """Return whether a month is in a list such as ``Mar,Jun,Sept,Dec``."""
    found = pd.Series(False, index=month.index)
    for text in interval.dropna().unique():
        months = [
            _MONTHS.index(name) + 1 for part in str(text).split(",") if (name := part.strip()[:3]) in _MONTHS
        ]
        found |= interval.eq(text).fillna(False).astype("bool") & month.isin(months)
    return found


class _Span(NamedTuple):
    """Days before the example's day, both ends included."""

    oldest: int
    newest: int = HORIZON_DAYS


def _last(days: int) -> _Span:
    return _Span(HORIZON_DAYS + days - 1)


def _year_ago(days: int) -> _Span:
    """The same weekday a year ago and days on both sides of it."""
    return _Span(364 + days, 364 - days)


_EVER = _Span(10**5)


class _Past(NamedTuple):
    """Means over earlier days of a group of rows, and how many days they are of; (n,)."""

    mean: pd.Series
    days: pd.Series


class _Diary:
    """Numbers of the days of each group of rows, (n,), to look back at from each row; NaN stands for none."""

    def __init__(self, date: pd.Series, group: pd.Series, numbers: pd.Series) -> None:
        self._day = (date - date.min()).dt.days.to_numpy(np.int64)
        # A group's days follow those of the group before it.
        length = int(self._day.max()) + 1
        self._first: Whole = pd.factorize(group)[0].astype(np.int64) * length
        order = np.argsort(self._first + self._day, kind="stable")
        self._place = (self._first + self._day)[order]
        there = numbers.notna().to_numpy()[order]
        units = np.round(numbers.fillna(0.0).to_numpy(float) * _LOG_UNITS).astype(np.int64)[order]
        self._totals: Whole = np.concatenate([[0], np.cumsum(units)])
        self._counts: Whole = np.concatenate([[0], np.cumsum(there)])

    def past(self, span: _Span) -> _Past:
        """Look back from each row over a span of days of its group."""
        oldest = self._first + np.maximum(self._day - span.oldest, 0)
        start = np.searchsorted(self._place, oldest, side="left")
        end = np.searchsorted(self._place, self._first + self._day - span.newest, side="right")
        end = np.maximum(start, end)
        count = (self._counts[end] - self._counts[start]).astype(np.float64)
        with np.errstate(invalid="ignore"):
            mean: Numbers = (self._totals[end] - self._totals[start]) / count / _LOG_UNITS
        return _Past(pd.Series(mean), pd.Series(count))

    def mean(self, span: _Span) -> pd.Series:
        """Return the mean over a span of days, 0 where there are none."""
        return self.past(span).mean.fillna(0.0)


def _history(days: pd.DataFrame) -> pd.DataFrame:
    """What is known of the sales ``HORIZON_DAYS`` before, on the log scale."""
    if days.empty:
        return pd.DataFrame(columns=[name for name in INPUTS if name.startswith(_PAST)])
    logs = pd.Series(np.log(days["Sales"].to_numpy(float)))
    alike = days["Store"] * 14 + days["Date"].dt.day_of_week * 2 + days["Promo"].eq(1)
    usual = _Diary(days["Date"], alike, logs).past(_EVER).mean
    return _levels(days, logs, usual).join(_surprises(days, logs - usual, alike))


def _levels(days: pd.DataFrame, logs: pd.Series, usual: pd.Series) -> pd.DataFrame:
    """Means of the store's log sales; of all stores where it has none."""
    of_all = _Diary(days["Date"], days["Store"] * 0, logs).mean(_EVER)
    diary = _Diary(days["Date"], days["Store"], logs)
    ever, recent = diary.past(_EVER), diary.past(_last(84))
    mean = ever.mean.fillna(of_all)
    return pd.DataFrame(
        {
            "known_days": ever.days,
            "known_days_recent": recent.days,
            "log_mean": mean,
            "log_mean_recent": recent.mean.fillna(mean),
            "log_mean_year_ago": diary.past(_year_ago(14)).mean.fillna(mean),
            "log_mean_weekday_promo": usual.fillna(mean),
        }
    )


def _surprises(days: pd.DataFrame, surprise: pd.Series, alike: pd.Series) -> pd.DataFrame:
    """By how much days were above the mean of their weekday and promotion.

    What a day brought to all stores is the season's. What is left is the store's own: a trend, a season, a
    level that has changed.
    """
    date, store = days["Date"], days["Store"]
    own = surprise - surprise.groupby(date).transform("mean")
    everyone, alone = _Diary(date, store * 0, surprise), _Diary(date, store, own)
    like_this = _Diary(date, alike, own)
    in_school = _Diary(date, store * 2 + days["SchoolHoliday"].eq(1), own)
    year = everyone.past(_year_ago(182)).mean
    return pd.DataFrame(
        {
            **{f"own_{span}": alone.mean(_last(span)) for span in _OWN_DAYS},
            **{f"own_weekday_promo_{span}": like_this.mean(_last(span)) for span in _ALIKE_DAYS},
            "own_school_holiday": in_school.mean(_EVER),
            "own_year_ago": (alone.past(_year_ago(14)).mean - alone.past(_year_ago(182)).mean).fillna(0.0),
            "own_forecast": _forecast(date, store, own),
            "all_year": everyone.mean(_last(364)),
            "all_season": (everyone.past(_year_ago(7)).mean - year).fillna(0.0),
            "all_day_year_ago": (everyone.past(_year_ago(0)).mean - year).fillna(0.0),
        }
    )


def _forecast(date: pd.Series, store: pd.Series, own: pd.Series) -> pd.Series:
    """Carry each store's own level, trend and yearly wave on to the day, by ridge regression on its past."""
    years = (date - date.min()).dt.days / 365.25
    turn = 2 * np.pi * years
    terms = np.stack([np.ones(len(years)), years, np.cos(turn), np.sin(turn)], axis=1)
    products = np.empty((len(own), len(_RIDGE), len(_RIDGE)))
    answers = np.empty((len(own), len(_RIDGE), 1))
    for row, one in enumerate(terms.T):
        answers[:, row, 0] = _sums(date, store, own * one)
        for column, other in enumerate(terms.T):
            if column <= row:
                products[:, row, column] = _sums(date, store, (one * other) + own * 0)
                products[:, column, row] = products[:, row, column]
    slopes = np.linalg.solve(products + np.diag(_RIDGE), answers)[:, :, 0]
    return pd.Series((slopes * terms).sum(axis=1))


def _sums(date: pd.Series, store: pd.Series, numbers: pd.Series) -> Numbers:
    past = _Diary(date, store, numbers).past(_EVER)
    return (past.mean * past.days).fillna(0.0).to_numpy()
