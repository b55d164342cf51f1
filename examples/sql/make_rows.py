"""Write made-up customers and invoices into the database that SHOP_DB_URL names."""

import os

import numpy as np
import pandas as pd
import sqlalchemy

draws, count = np.random.default_rng(0), 3000
customers = pd.DataFrame({"id": range(400), "sector": draws.choice(["retail", "craft", "public"], 400)})
days = pd.date_range(end=pd.Timestamp.now().normalize(), periods=count, freq="8h", inclusive="left")
invoices = pd.DataFrame(
    {
        "day": days.strftime("%Y-%m-%d"),
        "customer": draws.integers(0, 400, len(days)),
        "amount": draws.gamma(2, 400, len(days)).round(2),
        "reminders": draws.poisson(0.6, len(days)),
    }
)
public = customers["sector"].to_numpy()[invoices["customer"]] == "public"
late = draws.random(len(days)) < 1 / (
    1 + np.exp(2 - invoices["reminders"] - invoices["amount"] / 900 + 2 * public)
)
invoices["late"] = np.where(late, "yes", "no")
with sqlalchemy.create_engine(os.environ["SHOP_DB_URL"]).begin() as connection:
    customers.to_sql("customers", connection, index=False, if_exists="replace")
    invoices.to_sql("invoices", connection, index=False, if_exists="replace")
