"""The examples of the model ``rossmann-ensemble``: what is known of a store's day six weeks before it.

A day is scored if the store was open and sold something. Its inputs are what a calendar and a plan tell
(date, promotion, holidays), the store's own facts, and means of its sales up to ``HORIZON_DAYS`` before the
day: on each day of a holdout of that length they are those that a forecast made before it would have.
``Customers`` are counted on the day itself, so they are never read.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

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
INPUTS = (
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
# What is not there or not known: no competitor, no repeated promotion, a store that store.csv does not have.
NOTHING = -1.0
UNKNOWN = "unknown"

_LETTERS = {letter: float(place) for place, letter in enumerate("abcd")}
_HOLIDAYS = {"a": 1.0, "b": 2.0, "c": 3.0}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTHS_CAP = 240.0
_WEEKS_CAP = 520.0
# Sums of whole numbers are exact, so that no row can change the mean of others by as much as rounding.
_LOG_UNITS = 1e6

Numbers = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


def sales_examples(sales: pd.DataFrame, stores: pd.DataFrame) -> pd.DataFrame:
    """Turn rows of ``train.csv`` into labelled examples; says in the log which rows it left out, and why.

    Args:
        sales: One row per store and day with ``SALES_COLUMNS``; ``Date`` as datetime64 without time zone.
        stores: ``store.csv``: one row per store with ``STORE_COLUMNS``.

    Returns:
        One row per open day with sales, by date and store: ``Date``, ``Sales``, ``INPUTS`` as float64 without
        gaps, and for people ``Store`` and ``StoreType``.

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
    return pd.concat([named, inputs[list(INPUTS)].astype("float64")], axis=1)


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
    _tell(
        f"{len(sales):,} rows of sales, {len(days):,} of them scored",
        {
            "of closed days left out": int(closed.sum()),
            "of open days without sales left out": int((unsold & ~closed).sum()),
            "without a store left out": int((nameless & ~closed & ~unsold).sum()),
            "of a store and day that a later row tells again left out": len(scored) - len(days),
            "with Open empty taken as open, for they have sales": int(days["Open"].isna().sum()),
            "of stores that store.csv does not have kept": int((~days["Store"].isin(stores)).sum()),
        },
    )
    in_order: pd.DataFrame = days.sort_values(["Date", "Store"], ignore_index=True)
    return in_order.astype({"Store": "int64"})


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
        }
    )


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


_EVER = _Span(10**5)
_RECENT = _Span(HORIZON_DAYS + 83)
_YEAR_AGO = _Span(364 + 14, 364 - 14)


class _Past(NamedTuple):
    """Means of log sales over earlier days of a group of rows, and how many days they are of; (n,)."""

    mean: pd.Series
    days: pd.Series


def _history(days: pd.DataFrame) -> pd.DataFrame:
    """Means of log sales that are known ``HORIZON_DAYS`` before; of all stores where one has none."""
    everywhere = _past(days, days["Store"] * 0, _EVER).mean.fillna(0.0)
    store = _past(days, days["Store"], _EVER)
    mean = store.mean.fillna(everywhere)
    alike = days["Store"] * 14 + days["Date"].dt.day_of_week * 2 + days["Promo"].eq(1)
    return pd.DataFrame(
        {
            "known_days": store.days,
            "log_mean": mean,
            "log_mean_recent": _past(days, days["Store"], _RECENT).mean.fillna(mean),
            "log_mean_year_ago": _past(days, days["Store"], _YEAR_AGO).mean.fillna(mean),
            "log_mean_weekday_promo": _past(days, alike, _EVER).mean.fillna(mean),
        }
    )


def _past(days: pd.DataFrame, group: pd.Series, span: _Span) -> _Past:
    """Look back from each row over a span of days of its group."""
    if days.empty:
        return _Past(pd.Series(dtype="float64"), pd.Series(dtype="float64"))
    day = (days["Date"] - days["Date"].min()).dt.days.to_numpy(np.int64)
    logs = np.round(np.log(days["Sales"].to_numpy(float)) * _LOG_UNITS).astype(np.int64)
    first = pd.factorize(group)[0].astype(np.int64) * (int(day.max()) + 1)
    order = np.argsort(first + day, kind="stable")
    place = (first + day)[order]
    totals: Whole = np.concatenate([[0], np.cumsum(logs[order])])
    start = np.searchsorted(place, first + np.maximum(day - span.oldest, 0), side="left")
    end = np.maximum(start, np.searchsorted(place, first + day - span.newest, side="right"))
    count = (end - start).astype(np.float64)
    with np.errstate(invalid="ignore"):
        mean: Numbers = (totals[end] - totals[start]) / count / _LOG_UNITS
    return _Past(pd.Series(mean), pd.Series(count))
