"""What the inputs of ``rossmann-ensemble`` know, and what they survive."""

from __future__ import annotations

import logging
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podium.model_file.loading import load_spec
from podium.settings import PROJECT_ROOT
from podium.training.data import load_window
from support.rossmann import AS_OF, MODEL_FILE
from synthetic.rossmann import LAST_DAY, SALES_FILE, STORES_FILE, write_rossmann
from trainers.rossmann_sales import HORIZON_DAYS, INPUTS, sales_examples

FIRST_DAY = pd.Timestamp("2015-01-05")
ALL_INPUTS = list(INPUTS)
KEY = ["Date", "Store"]


@cache
def sample() -> tuple[pd.DataFrame, pd.DataFrame]:
    folder = PROJECT_ROOT / "include" / "data" / "rossmann"
    text = {"StateHoliday": str}
    return (
        pd.read_csv(folder / SALES_FILE, parse_dates=["Date"], dtype=text),
        pd.read_csv(folder / STORES_FILE),
    )


@cache
def sample_examples() -> pd.DataFrame:
    return sales_examples(*sample())


def some_days(days: int = 120, stores: int = 3, **columns: Any) -> pd.DataFrame:
    """Open days of a few stores, each with sales of 1,000 and no promotion, with columns replaced."""
    dates = pd.date_range(FIRST_DAY, periods=days)
    table = pd.DataFrame(
        {
            "Store": np.tile(np.arange(1, stores + 1), days),
            "DayOfWeek": np.repeat(dates.day_of_week + 1, stores),
            "Date": np.repeat(dates, stores),
            "Sales": 1000,
            "Customers": 100,
            "Open": 1,
            "Promo": 0,
            "StateHoliday": "0",
            "SchoolHoliday": 0,
        }
    )
    return table.assign(**columns)


def some_stores(stores: int = 3, **columns: Any) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "Store": np.arange(1, stores + 1),
            "StoreType": "a",
            "Assortment": "c",
            "CompetitionDistance": 500.0,
            "CompetitionOpenSinceMonth": 3.0,
            "CompetitionOpenSinceYear": 2014.0,
            "Promo2": 0,
            "Promo2SinceWeek": np.nan,
            "Promo2SinceYear": np.nan,
            "PromoInterval": None,
        }
    )
    return table.assign(**columns)


def on(examples: pd.DataFrame, day: int, store: int = 1) -> pd.Series:
    """The example of a store's day, counted from the first."""
    there = examples["Date"].eq(FIRST_DAY + pd.Timedelta(days=day)) & examples["Store"].eq(store)
    assert there.sum() == 1
    return examples[there].iloc[0]


@given(data=st.data())
@settings(max_examples=15)
def test_no_example_knows_sales_of_the_six_weeks_before_it_or_of_later(data: st.DataObject) -> None:
    draws = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1), label="seed"))
    sales = some_days(Sales=draws.integers(1, 9999, 360), Promo=draws.integers(0, 2, 360))
    cut_off = data.draw(st.integers(0, 119), label="the first day that another world tells otherwise")
    later = sales["Date"] >= FIRST_DAY + pd.Timedelta(days=cut_off)
    another = sales.assign(
        Sales=sales["Sales"].mask(later, draws.integers(0, 9999, 360)),
        Customers=draws.integers(0, 9999, 360),
    )
    another = another.drop(index=draws.permutation(np.flatnonzero(later))[: int(later.sum()) // 3])
    first, second = (sales_examples(rows, some_stores()).set_index(KEY) for rows in (sales, another))
    known = first.index.get_level_values("Date") < FIRST_DAY + pd.Timedelta(days=cut_off + HORIZON_DAYS)
    both = first.index[known].intersection(second.index)
    pd.testing.assert_frame_equal(first.loc[both, ALL_INPUTS], second.loc[both, ALL_INPUTS], check_exact=True)


def test_scrambling_the_future_of_the_sample_leaves_the_past_as_it_was() -> None:
    sales, stores = sample()
    draws = np.random.default_rng(11)
    cut_off = pd.Timestamp("2015-03-02")
    later = np.flatnonzero(sales["Date"] >= cut_off)
    scrambled = sales.copy()
    for column in ("Sales", "Customers", "Promo", "StateHoliday", "SchoolHoliday"):
        scrambled.loc[later, column] = sales.loc[draws.permutation(later), column].to_numpy()
    examples, elsewhere = sample_examples(), sales_examples(scrambled, stores)
    before = examples[examples["Date"] < cut_off]
    pd.testing.assert_frame_equal(before, elsewhere[elsewhere["Date"] < cut_off], check_exact=True)

    only_sales = sales.assign(Sales=sales["Sales"].mask(sales["Date"] >= cut_off, sales["Sales"] * 2))
    doubled = sales_examples(only_sales, stores)
    horizon = cut_off + pd.Timedelta(days=HORIZON_DAYS)
    until = examples["Date"] < horizon
    pd.testing.assert_frame_equal(examples.loc[until, ALL_INPUTS], doubled.loc[until, ALL_INPUTS])
    on_the_day = examples["Date"] == horizon
    assert (examples.loc[on_the_day, "log_mean"] < doubled.loc[on_the_day, "log_mean"]).all()


def test_customers_are_never_read() -> None:
    sales, stores = sample()
    assert not any("customer" in name.lower() for name in sample_examples())
    pd.testing.assert_frame_equal(
        sample_examples(), sales_examples(sales.drop(columns=["Customers", "DayOfWeek"]), stores)
    )


def test_the_order_of_the_rows_does_not_matter() -> None:
    sales, stores = sample()
    shuffled = sales.sample(frac=1.0, random_state=5), stores.sample(frac=1.0, random_state=5)
    pd.testing.assert_frame_equal(sample_examples(), sales_examples(*shuffled), check_exact=True)


def test_inputs_are_numbers_without_gaps() -> None:
    examples = sample_examples()
    assert list(examples) == ["Date", "Sales", "Store", "StoreType", *INPUTS]
    assert (examples[ALL_INPUTS].dtypes == "float64").all()
    assert np.isfinite(examples[ALL_INPUTS].to_numpy()).all()


def test_means_are_of_the_days_that_are_known_six_weeks_before() -> None:
    sales = some_days(stores=2)
    sales["Sales"] = np.where(sales["Store"] == 1, 100 * (1 + sales.index // 2), 1000)
    examples = sales_examples(sales, some_stores(2))
    nothing, first, later = (on(examples, day) for day in (HORIZON_DAYS - 1, HORIZON_DAYS, 100))
    assert (nothing["known_days"], nothing["log_mean"]) == (0, 0.0)
    assert (first["known_days"], first["log_mean"]) == (1, pytest.approx(math.log(100), abs=1e-6))
    logs = np.log(100 * np.arange(1, 121))
    assert later["known_days"] == 100 - HORIZON_DAYS + 1
    assert later["log_mean"] == pytest.approx(logs[:59].mean(), abs=1e-6)
    same_weekday = [day for day in range(59) if day % 7 == 100 % 7]
    assert later["log_mean_weekday_promo"] == pytest.approx(logs[same_weekday].mean(), abs=1e-6)
    assert on(examples, 100, store=2)["log_mean_recent"] == pytest.approx(math.log(1000), abs=1e-6)


def test_recent_and_last_years_days() -> None:
    sales = some_days(days=400, stores=1)
    sales["Sales"] = 100 * (1 + sales.index)
    last = on(sales_examples(sales, some_stores(1)), 399)
    logs = np.log(sales["Sales"].to_numpy(float))
    assert last["log_mean_recent"] == pytest.approx(logs[399 - 125 : 399 - 41].mean(), abs=1e-6)
    assert last["log_mean_year_ago"] == pytest.approx(logs[399 - 378 : 399 - 349].mean(), abs=1e-6)


def test_what_a_store_does_beside_all_others_is_its_own() -> None:
    sales = some_days(days=420, stores=4)
    day = (sales["Date"] - FIRST_DAY).dt.days
    of_all = np.random.default_rng(3).uniform(0.5, 2.0, 420)[day]
    sales["Sales"] = np.round(1e6 * np.exp(0.001 * day * (sales["Store"] == 1)) * of_all)
    examples = sales_examples(sales, some_stores(4))
    # The first store grows, the others stand still, and what is a day's of all is nobody's own.
    growing, still = on(examples, 400, store=1), on(examples, 400, store=2)
    assert growing["own_28"] > growing["own_182"] > 0.05 > still["own_28"]
    assert growing["own_28"] + 3 * still["own_28"] == pytest.approx(0, abs=1e-5)
    assert growing["own_forecast"] > 0.1 > 0 > still["own_forecast"]


def test_days_to_and_from_holidays_are_the_calendars() -> None:
    examples = sales_examples(some_days(days=120), some_stores())
    columns = ["days_from_easter", "days_since_holiday", "days_to_holiday", "days_left_in_month"]
    seen = {f"{row['Date']:%m-%d}": row[columns].tolist() for _, row in examples.iterrows()}
    assert seen["01-05"] == [-60, 4, 14, 26]
    assert seen["04-02"] == [-3, 14, 1, 28]
    assert seen["04-05"] == [0, 2, 1, 25]
    assert seen["04-30"] == [25, 14, 1, 0]
    assert seen["05-01"] == [26, 0, 0, 30]


def test_a_new_store_is_described_by_all_others() -> None:
    sales = some_days()
    sales = sales[(sales["Store"] != 3) | (sales["Date"] >= FIRST_DAY + pd.Timedelta(days=100))]
    new = on(sales_examples(sales, some_stores()), 100, store=3)
    assert (new["known_days"], new["log_mean"]) == (0, pytest.approx(math.log(1000), abs=1e-6))


def test_calendar_plan_and_facts_of_a_store() -> None:
    stores = some_stores(
        3,
        StoreType=["a", "d", " b"],
        CompetitionDistance=[500.0, np.nan, 70.0],
        CompetitionOpenSinceMonth=[3.0, 3.0, 2.0],
        CompetitionOpenSinceYear=[2014.0, 2014.0, 2015.0],
        Promo2=[1, 1, 0],
        Promo2SinceWeek=[3.0, 1.0, 1.0],
        Promo2SinceYear=[2015.0, 2014.0, 2014.0],
        PromoInterval=["Jan,Apr,Jul,Oct", "Mar,Jun,Sept,Dec", None],
    )
    sales = some_days(60)
    holiday = sales["Date"].eq("2015-01-06") & sales["Store"].eq(1)
    examples = sales_examples(sales.assign(StateHoliday=holiday.map({True: "a", False: 0})), stores)
    second = on(examples, 1)
    assert second[["day_of_week", "day_of_month", "day_of_year"]].tolist() == [2, 6, 6]
    assert (second["state_holiday"], on(examples, 2)["state_holiday"]) == (1, 0)
    assert (second["store_type"], on(examples, 1, 2)["store_type"], on(examples, 1, 3)["store_type"]) == (
        0,
        3,
        1,
    )
    assert on(examples, 1, 3)["StoreType"] == "b"
    # The competitor of store 1 is ten months old; store 2 has none; that of store 3 opens in February.
    columns = ["competition_metres", "competition_months"]
    assert second[columns].tolist() == [500, 10]
    assert on(examples, 1, 2)[columns].tolist() == [-1, -1]
    assert on(examples, 26, 3)[columns].tolist() == [-1, -1]
    assert on(examples, 27, 3)[columns].tolist() == [70, 0]
    # ISO week 3 of 2015 begins on the 12th of January, the eighth day.
    columns = ["promo2_weeks", "promo2_month"]
    assert on(examples, 6)[columns].tolist() == [-1, 0]
    assert on(examples, 7)[columns].tolist() == [0, 1]
    assert on(examples, 30)[columns].tolist() == [3, 0]
    assert on(examples, 59, 2)[columns].tolist() == [61, 1]
    assert on(examples, 59, 3)[columns].tolist() == [-1, 0]


def test_every_wart_is_survived_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_rossmann(tmp_path, stores=4, days=200, seed=3)
    sales = pd.read_csv(tmp_path / SALES_FILE, dtype=str)
    is_open = sales["Open"].eq("1") & sales["Sales"].ne("0")
    one, two, three, four = sales.index[is_open][:4]
    sales.loc[one, "Open"] = None
    sales.loc[two, "Sales"] = "n/a"
    sales.loc[three, "Date"] = "someday"
    sales.loc[four, "Store"] = None
    corrected = sales.loc[[sales.index[is_open][9]]].assign(Sales="4321")
    future = sales.loc[is_open].head(3).assign(Date="2031-01-01", Sales="nonsense")
    repeated = sales.loc[is_open].tail(2)
    pd.concat([sales, corrected, future, repeated]).to_csv(
        tmp_path / "train.csv", index=False, encoding="utf-8-sig"
    )
    stores = pd.read_csv(tmp_path / STORES_FILE, dtype=str)
    stores.loc[0, "CompetitionDistance"] = None
    stores[stores["Store"] != "4"].to_csv(tmp_path / STORES_FILE, index=False, encoding="utf-8-sig")

    shipped = load_spec(MODEL_FILE)
    data = shipped.data.model_copy(update={"source": "train.csv"})
    with caplog.at_level(logging.INFO, logger="trainers.rossmann_sales"):
        window = load_window(shipped.model_copy(update={"data": data}), AS_OF, tmp_path)
    assert (window.report.later, window.report.undated, window.report.duplicated) == (3, 1, 2)
    said = caplog.messages[-1]
    kept = int((is_open & sales["Store"].eq("4") & ~sales.index.isin([three])).sum())
    for words in (
        f"{len(sales):,} rows of sales, {int(is_open.sum()) - 3:,} of them scored",
        f"{int(sales['Open'].eq('0').sum()):,} of closed days left out",
        "1 without a store left out",
        "1 of a store and day that a later row tells again left out",
        "1 with Open empty taken as open, for they have sales",
        f"{kept:,} of stores that store.csv does not have kept",
    ):
        assert words in said
    assert window.report.counted["without a store left out"] == 1
    assert window.report.counted["of closed days left out"] == int(sales["Open"].eq("0").sum())
    examples = pd.concat([window.train.label, window.holdout.label])
    assert len(examples) == int(is_open.sum()) - 3
    assert (examples == 4321).sum() == 1
    others = pd.concat([window.train.others, window.holdout.others])
    assert set(others.loc[others["Store"] == 4, "StoreType"]) == {"unknown"}
    assert np.isfinite(pd.concat([window.train.inputs, window.holdout.inputs]).to_numpy()).all()


def test_closed_days_and_days_without_sales_are_not_scored() -> None:
    sales = some_days(10, 1)
    sales.loc[2, ["Open", "Sales"]] = 0
    sales.loc[4, "Sales"] = 0
    sales.loc[6, "Open"] = 0
    assert sorted(sales_examples(sales, some_stores(1))["Date"].dt.day - 5) == [0, 1, 3, 5, 7, 8, 9]
    assert sales_examples(sales.assign(Open=0), some_stores(1)).empty


@pytest.mark.parametrize(
    ("sales", "stores", "message"),
    [
        (some_days().drop(columns="Promo"), some_stores(), "train.csv: missing column Promo; needed: Store,"),
        (some_days(), some_stores().drop(columns="Promo2"), "store.csv: missing column Promo2; needed"),
        (
            some_days(),
            pd.concat([some_stores(), some_stores(StoreType="b").tail(1)]),
            "store.csv: store 3 twice, with other values",
        ),
    ],
)
def test_tables_that_cannot_be_used_are_refused(
    sales: pd.DataFrame, stores: pd.DataFrame, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        sales_examples(sales, stores)


def test_stores_are_made_with_trends_and_seasons_of_their_own(tmp_path: Path) -> None:
    write_rossmann(tmp_path, stores=40, days=942, seed=8)
    sales = pd.read_csv(tmp_path / SALES_FILE, parse_dates=["Date"], dtype={"StateHoliday": str})
    sold = sales[sales["Sales"] > 0]
    months = sold["Date"].dt.to_period("M")
    logs = np.log(sold["Sales"]).groupby([sold["Store"], months]).mean().unstack()
    growth = logs["2015-06"] - logs["2014-06"]
    assert 0.08 < growth.std() < 0.2
    summer = (logs["2013-07"] - logs["2013-02"] - growth / 2).dropna()
    assert 0.08 < summer.std() < 0.3


def test_the_same_seed_makes_the_same_stores_in_the_real_schema(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "again", "other")]
    for folder, seed in zip(folders, (4, 4, 5), strict=True):
        write_rossmann(folder, stores=5, days=60, seed=seed)
    one, again, other = (pd.read_csv(folder / SALES_FILE, dtype=str) for folder in folders)
    pd.testing.assert_frame_equal(one, again)
    assert not one["Sales"].equals(other["Sales"])
    assert list(one) == list(some_days())
    assert list(pd.read_csv(folders[0] / STORES_FILE)) == list(some_stores())
    assert one["Date"].iloc[0] == f"{LAST_DAY:%Y-%m-%d}"
    assert set(one.loc[one["Open"] == "0", "Sales"]) == {"0"}
