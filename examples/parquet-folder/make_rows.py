"""Write two years of made-up energy demand as parquet parts, one folder per year."""

from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path("include/data/energy")

draws = np.random.default_rng(0)
hours = pd.date_range(end=pd.Timestamp.now().normalize(), periods=2 * 365 * 8, freq="3h", inclusive="left")
warm = 12 - 10 * np.cos(2 * np.pi * hours.dayofyear / 365) + draws.normal(0, 3, len(hours))
working = hours.dayofweek < 5
demand = 40 + 0.08 * (warm - 16) ** 2 + 12 * (working & (hours.hour > 6)) + draws.normal(0, 2, len(hours))
rows = pd.DataFrame(
    {"at": hours, "warm": warm.round(1), "hour": hours.hour, "working": working, "demand": demand.round(2)}
)
for year, part in rows.groupby(hours.year):
    (FOLDER / f"year={year}").mkdir(parents=True, exist_ok=True)
    part.to_parquet(FOLDER / f"year={year}" / "part-0.parquet", index=False)
