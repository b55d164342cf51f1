"""Made-up drug stores in the schema of Kaggle's "Rossmann Store Sales", which may not be shipped.

Sales are a store's level times its trend, a weekly and a yearly pattern, its own season, promotions,
paydays, holidays, competitors and a slow drift, with 6% of noise that nobody can know. Nothing here was taken
from the real files but their schema:
https://www.kaggle.com/c/rossmann-store-sales/data

    python -m synthetic.rossmann include/data/rossmann --stores 24 --days 942 --seed 1
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

LAST_DAY = pd.Timestamp("2015-07-31")
SALES_FILE = "train.csv.gz"
STORES_FILE = "store.csv"

NOISE = 0.06
# Standard deviations over the stores: of a year's growth, and of their own season.
GROWTH = 0.12
SEASON = 0.12
_WEEKDAY = np.array([0.18, 0.04, 0.0, 0.01, 0.06, -0.10, -0.25])
_PROMO = {"a": 0.30, "b": 0.12, "c": 0.26, "d": 0.34}
# How strong a promotion is on each of its days.
_PROMO_DAY = np.array([1.4, 1.1, 0.95, 0.8, 0.75, 0.0, 0.0])
_HALF_YEAR_CLOSED = ("2014-07-01", "2014-12-31")
_INTERVALS = {
    "Jan,Apr,Jul,Oct": (1, 4, 7, 10),
    "Feb,May,Aug,Nov": (2, 5, 8, 11),
    "Mar,Jun,Sept,Dec": (3, 6, 9, 12),
}
_EASTER = pd.to_datetime(["2010-04-04", "2011-04-24", "2012-04-08", "2013-03-31", "2014-04-20", "2015-04-05"])

Numbers = npt.NDArray[np.float64]


def write_rossmann(folder: Path, stores: int, days: int, seed: int) -> None:
    """Write ``train.csv.gz`` and ``store.csv``; the same arguments write the same rows.

    Args:
        folder: Where to; made if it is not there.
        stores: How many.
        days: How many up to ``LAST_DAY``, the last day of the real file.
        seed: Of all draws.
    """
    draws = np.random.default_rng(seed)
    table = _stores(draws, stores)
    sales = _sales(draws, table, pd.date_range(end=LAST_DAY, periods=days))
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / STORES_FILE, index=False)
    csv = sales.to_csv(index=False).encode()
    (folder / SALES_FILE).write_bytes(gzip.compress(csv, mtime=0))


def _stores(draws: np.random.Generator, stores: int) -> pd.DataFrame:
    rare = draws.random(stores) < 0.04
    kind = np.where(rare, "b", draws.choice(["a", "c", "d"], stores, p=[0.56, 0.14, 0.30]))
    dated = draws.random(stores) < 0.68
    promo2 = (draws.random(stores) < 0.5).astype(int)
    metres = pd.Series(np.round(np.exp(draws.normal(7.7, 1.2, stores)) / 10 + 2) * 10).astype("Int64")
    table = pd.DataFrame(
        {
            "Store": np.arange(1, stores + 1),
            "StoreType": kind,
            "Assortment": np.where(rare, "b", draws.choice(["a", "c"], stores)),
            "CompetitionDistance": metres.mask(draws.random(stores) < 0.01),
            "CompetitionOpenSinceMonth": draws.integers(1, 13, stores),
            "CompetitionOpenSinceYear": draws.integers(2001, 2016, stores),
            "Promo2": promo2,
            "Promo2SinceWeek": draws.integers(1, 51, stores),
            "Promo2SinceYear": draws.integers(2009, 2016, stores),
            "PromoInterval": draws.choice(list(_INTERVALS), stores),
        }
    )
    for columns, there in (
        (["CompetitionOpenSinceMonth", "CompetitionOpenSinceYear"], dated),
        (["Promo2SinceWeek", "Promo2SinceYear"], promo2 == 1),
    ):
        for column in columns:
            table[column] = table[column].astype("Int64").where(pd.Series(there))
    table["PromoInterval"] = table["PromoInterval"].where(promo2 == 1)
    return table


def _sales(draws: np.random.Generator, stores: pd.DataFrame, dates: pd.DatetimeIndex) -> pd.DataFrame:
    """Return the newest day first and its stores in order, as the real file does."""
    shape = (len(dates), len(stores))
    holiday = _state_holidays(dates)
    weekday = dates.day_of_week.to_numpy()
    on_sundays = stores["StoreType"].to_numpy() == "b"
    is_open = ((weekday != 6) & (holiday == "0"))[:, None] | on_sundays[None, :]
    promo = (weekday < 5) & (dates.isocalendar().week.to_numpy(int) % 2 == 1)
    school = _school_holidays(draws, dates, len(stores))
    log_sales = _log_sales(draws, stores, dates, promo) + 0.03 * school
    log_sales += 0.12 * _before_a_holiday(holiday)[:, None]
    sales = np.where(is_open & (draws.random(shape) > 1e-4), np.round(np.exp(log_sales)), 0).astype(int)
    customers = np.round(sales / np.exp(draws.normal(2.2, 0.1, shape))).astype(int)
    table = pd.DataFrame(
        {
            "Store": np.tile(stores["Store"], len(dates)),
            "DayOfWeek": np.repeat(weekday + 1, len(stores)),
            "Date": np.repeat(dates.strftime("%Y-%m-%d"), len(stores)),
            "Sales": sales.ravel(),
            "Customers": customers.ravel(),
            "Open": is_open.astype(int).ravel(),
            "Promo": np.repeat(promo.astype(int), len(stores)),
            "StateHoliday": np.repeat(holiday, len(stores)),
            "SchoolHoliday": school.ravel(),
        }
    )
    rebuilt = table["Store"].isin(stores["Store"][draws.random(len(stores)) < 0.16])
    table = table[~(rebuilt & table["Date"].between(*_HALF_YEAR_CLOSED))]
    return table.sort_values(["Date", "Store"], ascending=[False, True])


def _log_sales(
    draws: np.random.Generator, stores: pd.DataFrame, dates: pd.DatetimeIndex, promo: npt.NDArray[np.bool_]
) -> Numbers:
    """What open stores would sell, (days, stores), on the log scale."""
    count, shape = len(stores), (len(dates), len(stores))
    level = draws.normal(8.7, 0.35, count) + np.where(stores["StoreType"] == "b", 0.3, 0.0)
    per_weekday = _WEEKDAY[:, None] * draws.uniform(0.6, 1.4, count)
    per_promo = stores["StoreType"].map(_PROMO).to_numpy(float) + draws.normal(0, 0.05, count)
    of_promo = (promo * _PROMO_DAY[dates.day_of_week])[:, None] * per_promo
    years = (np.arange(len(dates)) / 365)[:, None]
    trend = years * draws.normal(0.03, GROWTH, count)
    drift = np.cumsum(draws.normal(0, 0.003, shape), axis=0)
    yearly = _yearly(dates)[:, None] * draws.uniform(0.7, 1.3, count)
    season = np.cos(2 * np.pi * (years + draws.uniform(0, 1, count))) * draws.normal(0, SEASON, count)
    known = level + per_weekday[dates.day_of_week] + of_promo + trend + drift + yearly + season
    known += _payday(dates)[:, None]
    later = _promo2_months(stores, dates) * 0.04 - _competition(stores, dates) * 0.07
    return np.asarray(known + later + draws.normal(0, NOISE, shape))


def _yearly(dates: pd.DatetimeIndex) -> Numbers:
    """Christmas trade, a quiet January, a small summer peak."""
    day = dates.day_of_year.to_numpy(float)
    christmas = np.exp(-(((day - 353) / 12) ** 2))
    return np.asarray(
        0.30 * christmas - 0.08 * np.exp(-((day / 25) ** 2)) - 0.10 * np.cos(2 * np.pi * (day - 20) / 365)
    )


def _payday(dates: pd.DatetimeIndex) -> Numbers:
    """More money around the first of a month, less before it."""
    left, day = (dates.days_in_month - dates.day).to_numpy(float), dates.day.to_numpy(float)
    return np.asarray(0.06 * np.exp(-np.minimum(left, day - 1) / 2.5) - 0.03 * ((day > 18) & (left > 4)))


def _promo2_months(stores: pd.DataFrame, dates: pd.DatetimeIndex) -> npt.NDArray[np.bool_]:
    since = stores["Promo2SinceYear"].astype(float) + stores["Promo2SinceWeek"].astype(float) / 53
    begun = (dates.year.to_numpy(float) + dates.day_of_year.to_numpy() / 366)[:, None] >= since.to_numpy()
    months = [_INTERVALS.get(str(interval), ()) for interval in stores["PromoInterval"]]
    active = np.array([[month in these for these in months] for month in range(1, 13)])
    return np.asarray(begun & active[dates.month - 1])


def _competition(stores: pd.DataFrame, dates: pd.DatetimeIndex) -> npt.NDArray[np.bool_]:
    """Where a competitor within two kilometres has opened."""
    years = stores["CompetitionOpenSinceYear"].astype(float)
    since = (years + stores["CompetitionOpenSinceMonth"].astype(float) / 12).to_numpy()
    near = (stores["CompetitionDistance"].astype(float) < 2000).to_numpy()
    opened: npt.NDArray[np.bool_] = (dates.year.to_numpy(float) + dates.month.to_numpy() / 12)[
        :, None
    ] >= since
    return near & opened


def _state_holidays(dates: pd.DatetimeIndex) -> npt.NDArray[np.object_]:
    """``a`` a public holiday, ``b`` Easter, ``c`` Christmas, ``0`` none."""
    month_day = pd.Series(dates.strftime("%m-%d"))
    kind = month_day.map({"01-01": "a", "05-01": "a", "10-03": "a", "12-25": "c", "12-26": "c"}).fillna("0")
    for after, name in ((-2, "b"), (1, "b"), (39, "a"), (50, "a")):
        kind = kind.mask(pd.Series(dates.isin(_EASTER + pd.Timedelta(days=after))), name)
    return kind.to_numpy(object)


def _before_a_holiday(holiday: npt.NDArray[np.object_]) -> npt.NDArray[np.bool_]:
    return np.asarray(np.append(holiday[1:] != "0", False) & (holiday == "0"))


def _school_holidays(
    draws: np.random.Generator, dates: pd.DatetimeIndex, stores: int
) -> npt.NDArray[np.int_]:
    """Weeks around Easter and Christmas for all stores; six weeks of summer that each store begins anew."""
    month, day = dates.month.to_numpy(), dates.day.to_numpy()
    winter = ((month == 12) & (day >= 22)) | ((month == 1) & (day <= 5)) | ((month == 4) & (day <= 12))
    begins = draws.integers(170, 205, stores)
    of_year = dates.day_of_year.to_numpy()[:, None]
    summer = (of_year >= begins) & (of_year < begins + 42)
    return np.asarray(winter[:, None] | summer, dtype=np.int_)


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(prog="python -m synthetic.rossmann", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    for name, default in (("stores", 24), ("days", 942), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    asked = parser.parse_args()
    write_rossmann(asked.folder, asked.stores, asked.days, asked.seed)


if __name__ == "__main__":
    main()
