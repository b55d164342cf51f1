"""How fast training reads its rows beside bare pyarrow and a bare COPY, and in how much memory.

Parquet parts in the embedded S3 store and a table of the embedded Postgres hold the same rows: 10 million of
20 columns (SIZE: other counts). Each reading is a process of its own and ends with a data frame. Both sides
take turns, and the best of each counts. Memory is the peak over what a first small reading takes, by the
frame's own size.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import boto3
import numpy as np
import pandas as pd
import psutil
import psycopg2
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv, dataset, fs
from results import QUICK, Figure, at_least, at_most, keep, most_memory

from podium.settings import PROJECT_ROOT
from podium.sources.chunks import Source
from podium.sources.whole import read_whole
from podium.stack import control
from podium.stack.layout import Paths, load_layout
from podium.stack.running_stack import running_stack
from podium.training.data_version import content_digest

HOME = PROJECT_ROOT / ".podium" / "bench-sources"
ROWS = int(os.environ.get("SIZE") or (200_000 if QUICK else 10_000_000))
PART_ROWS = min(500_000, ROWS // 4)
TURNS = 1 if QUICK else 2 if ROWS > 5_000_000 else 3
NUMBERS, WHOLE = 13, 4
# Podium sets it as it is imported, here before a child imports Arrow.
ALLOCATOR = "ARROW_DEFAULT_MEMORY_POOL"
# The first half of the rows is known then.
HALF = datetime(2025, 1, 1)


def part(seed: int) -> pd.DataFrame:
    """Make a part: a moment, numbers, whole numbers, two texts."""
    draws, first = np.random.default_rng(seed), seed * PART_ROWS < ROWS // 2
    moments = pd.date_range("2024-01-01" if first else "2025-01-01", periods=PART_ROWS, freq="s")
    columns: dict[str, Any] = {"at": moments.as_unit("us")}
    columns |= {f"x{place:02}": draws.normal(size=PART_ROWS) for place in range(NUMBERS)}
    columns |= {f"n{place}": draws.integers(0, 1_000_000, PART_ROWS) for place in range(WHOLE)}
    columns["plan"] = draws.choice(["small", "medium", "large"], PART_ROWS)
    columns["place"] = draws.choice([f"place {place}" for place in range(1_000)], PART_ROWS)
    return pd.DataFrame(columns)


def parts() -> Iterator[pd.DataFrame]:
    """Make all parts, one after the other."""
    return (part(seed) for seed in range(ROWS // PART_ROWS))


def connected() -> Any:
    """Connect to the table's database; it closes at the end of a with."""
    return closing(psycopg2.connect(os.environ["BENCH_DB_URL"].replace("+psycopg2", "")))


def fill() -> None:
    """Write the rows to both places."""
    store, kinds = boto3.client("s3"), {"f": "double precision", "i": "bigint", "M": "timestamp"}
    store.create_bucket(Bucket="rows")
    columns = ", ".join(f"{name} {kinds.get(kind.kind, 'text')}" for name, kind in part(0).dtypes.items())
    with connected() as connection, connection, connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE IF EXISTS rows; CREATE UNLOGGED TABLE rows ({columns})")
        for place, rows in enumerate(parts()):
            table = pa.Table.from_pandas(rows, preserve_index=False)
            body, text = io.BytesIO(), io.BytesIO()
            pq.write_table(table, body)
            store.put_object(Bucket="rows", Key=f"parts/{place:03}.parquet", Body=body.getvalue())
            csv.write_csv(table, text, csv.WriteOptions(include_header=False))
            text.seek(0)
            cursor.copy_expert("COPY rows FROM STDIN (FORMAT csv)", text)


def podium_s3() -> pd.DataFrame:
    """Read the parts as training does."""
    return read_whole(Source("s3://rows/parts", PROJECT_ROOT)).rows


def podium_some() -> pd.DataFrame:
    """Read a fifth of the columns and half of the rows."""
    source = Source("s3://rows/parts", PROJECT_ROOT, as_of=HALF, time_column="at")
    return read_whole(source, ["at", "x00", "x01", "n0"]).rows


def podium_sql() -> pd.DataFrame:
    """Read the table as training does."""
    return read_whole(Source("sql:SELECT * FROM rows", PROJECT_ROOT, "BENCH_DB_URL")).rows


def bare_s3() -> pd.DataFrame:
    """Read the parts by pyarrow alone."""
    store = fs.S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL"], region="us-east-1")
    table = dataset.dataset("rows/parts", filesystem=store, format="parquet").to_table()
    frame: pd.DataFrame = table.to_pandas()
    return frame


def bare_sql() -> pd.DataFrame:
    """Read the table by psycopg2's COPY, and parse it by pyarrow."""
    text = io.BytesIO()
    with connected() as connection, connection.cursor() as cursor:
        cursor.copy_expert("COPY rows TO STDOUT (FORMAT csv)", text)
    text.seek(0)
    names = list(pa.Table.from_pandas(part(0).iloc[:1], preserve_index=False).column_names)
    frame: pd.DataFrame = csv.read_csv(text, csv.ReadOptions(column_names=names)).to_pandas()
    return frame


WAYS: Mapping[str, Callable[[], pd.DataFrame]] = {
    way.__name__: way for way in (podium_s3, bare_s3, podium_sql, bare_sql, podium_some)
}


def measure(way: str) -> None:
    """Read once, and print what it took."""
    with TemporaryDirectory() as folder:
        # What readers import and start once is no part of any reading.
        part(0).iloc[:9].to_parquet(f"{folder}/rows.parquet")
        read_whole(Source("rows.parquet", Path(folder)))
    before, begin = psutil.Process().memory_info().rss, perf_counter()
    frame = WAYS[way]()
    seconds = perf_counter() - begin
    peak = most_memory() - before
    size = int(frame.memory_usage(deep=True).sum())
    took = {"seconds": seconds, "peak": peak / size, "rows": len(frame), "gb": size / 1e9}
    if way == "podium_s3":
        begin = perf_counter()
        content_digest({"": frame})
        took["digest"] = perf_counter() - begin
    sys.stdout.write(f"{json.dumps(took)}\n")


def in_a_process(way: str) -> dict[str, float]:
    """Measure in a process of its own; the bare sides have Arrow as it comes."""
    ours = way.startswith("podium")
    environment = {name: value for name, value in os.environ.items() if ours or name != ALLOCATOR}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, way],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def best(turns: list[dict[str, float]], what: str) -> float:
    """Return the smallest number of several turns."""
    return min(turn[what] for turn in turns)


def figures() -> list[Figure]:
    """Measure all ways in turns."""
    took: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(TURNS):
        for way, turns in took.items():
            turns.append(in_a_process(way))
    seconds = {way: best(turns, "seconds") for way, turns in took.items()}
    found = [Figure("rows", ROWS, "rows"), Figure("the frame", took["podium_s3"][0]["gb"], "GB")]
    for place, other in (("s3", "bare pyarrow"), ("sql", "bare COPY and pyarrow")):
        ours, bare = f"podium_{place}", f"bare_{place}"
        found += [
            Figure(f"{place}: read by training", seconds[ours], "s"),
            Figure(f"{place}: {other}", seconds[bare], "s"),
            at_least(f"{place}: speed beside {other}", seconds[bare] / seconds[ours], "x", 0.8),
            at_most(f"{place}: peak of memory / the frame", best(took[ours], "peak"), "x", 1.2),
            Figure(f"{place}: the same of {other}", best(took[bare], "peak"), "x"),
        ]
    found.append(Figure("s3: 4 of 20 columns, half of the rows", seconds["podium_some"], "s"))
    found.append(Figure("digest of the frame", best(took["podium_s3"], "digest"), "s"))
    return found


def main() -> None:
    """Start both places, fill them, and measure."""
    control.clean(Paths(HOME))
    with running_stack(HOME, parts={"s3", "postgres"}):
        layout = load_layout(Paths(HOME))
        if layout is None:
            raise SystemExit("the embedded stack has no layout")
        os.environ |= {
            "AWS_ENDPOINT_URL": layout.s3_url,
            "AWS_ACCESS_KEY_ID": layout.secrets.s3_key,
            "AWS_SECRET_ACCESS_KEY": layout.secrets.s3_secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "BENCH_DB_URL": layout.ledger_owner_url,
        }
        fill()
        keep("sources", figures())
    control.clean(Paths(HOME))


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
