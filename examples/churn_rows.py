"""Write the rows that the examples of docs/frameworks.md train on: parquet parts, up to yesterday."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

FOLDER = Path("include/data/churn")
ROWS, PARTS = 3000, 3


def main() -> None:
    """Make up customers who leave sooner the more they pay and the more often they have to call."""
    draws = np.random.default_rng(22)
    rows = pd.DataFrame(
        {
            "seen_on": pd.date_range(
                end=pd.Timestamp.now().normalize() - pd.Timedelta(days=1), periods=ROWS, freq="6h"
            ),
            "months": draws.integers(1, 60, ROWS).astype(float),
            "monthly_price": draws.uniform(10, 90, ROWS).round(2),
            "support_calls": draws.poisson(1.5, ROWS).astype(float),
        }
    )
    pull = 0.04 * rows["monthly_price"] + 0.7 * rows["support_calls"] - 0.06 * rows["months"] - 1.5
    leaves = draws.uniform(size=ROWS) < 1 / (1 + np.exp(-pull))
    rows["churned"] = np.where(leaves, "yes", "no")
    FOLDER.mkdir(parents=True, exist_ok=True)
    for number, places in enumerate(np.array_split(np.arange(ROWS), PARTS)):
        rows.iloc[places].to_parquet(FOLDER / f"part-{number}.parquet", index=False)


if __name__ == "__main__":
    main()
