"""Equal rows in a csv, a folder of parquet parts, S3, SQL and a Delta table: one version, trained once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from deltalake import write_deltalake

from podium.errors import DataError
from podium.ledger.events import EventKind
from podium.lifecycle.register import register_version
from podium.model_file.loading import load_spec
from podium.names import Tag
from podium.services import Services
from podium.settings import PROJECT_ROOT
from podium.sources.chunks import Source
from podium.sources.whole import read_whole
from podium.stack import control
from podium.stack.layout import Layout, Paths, load_layout
from podium.stack.running_stack import running_stack
from podium.training.data_version import content_digest
from support.delta_tables import delete_by_vector
from support.documents import copy_project, follow
from support.mlflow_client import raw
from support.steps import FIRST, new_run, train

HOME = PROJECT_ROOT / ".podium" / "test-sources"
FEATURES = {"n": "int64", "flag": "bool", "plan": "str", "price": "float64"}


@pytest.fixture(scope="module")
def bucket() -> Iterator[Any]:
    """A bucket of a store of its own, which the environment names."""
    control.clean(Paths(HOME))
    with pytest.MonkeyPatch.context() as patch, running_stack(HOME, parts={"s3"}):
        layout = load_layout(Paths(HOME))
        assert layout is not None
        patch.setenv("AWS_ENDPOINT_URL", layout.s3_url)
        patch.setenv("AWS_ACCESS_KEY_ID", layout.secrets.s3_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", layout.secrets.s3_secret)
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        # boto3 keeps the keys that a test before has used.
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        client = boto3.client("s3")
        client.create_bucket(Bucket="rows")
        yield client
    control.clean(Paths(HOME))


def rows() -> pd.DataFrame:
    """As ``write_toy_rows``, with a column of each plain kind, gaps among them."""
    draws = np.random.default_rng(7)
    x = draws.normal(size=600)
    table = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=600), "x": x})
    table["n"] = pd.Series(draws.integers(0, 9, 600)).astype("Int64").mask(draws.random(600) < 0.1)
    table["flag"], table["plan"] = draws.random(600) < 0.5, draws.choice(["s", "m"], 600)
    table["price"] = (draws.random(600) * 100).round(2)
    return table.assign(y=np.where(x + draws.normal(scale=0.7, size=600) > 0, "yes", "no"))


def in_s3(table: pd.DataFrame, client: Any) -> dict[str, Any]:
    for place in range(3):
        body = table.iloc[place::3].to_parquet(index=False)
        client.put_object(Bucket="rows", Key=f"toy/part-{place}.parquet", Body=body)
    return {"data__source": "s3://rows/toy"}


def in_parts(table: pd.DataFrame, folder: Path) -> dict[str, Any]:
    for year, some in table.groupby(table["day"].dt.year):
        (folder / "parts" / f"year={year}").mkdir(parents=True)
        some.sample(frac=1, random_state=0).to_parquet(folder / f"parts/year={year}/a.parquet", index=False)
    return {"data__source": "parts"}


def in_sql(table: pd.DataFrame, url: str) -> dict[str, Any]:
    kinds: Any = {"price": sa.Numeric(10, 2), "day": sa.Date()}
    with sa.create_engine(url).begin() as connection:
        table.to_sql("toy", connection, index=False, dtype=kinds)
    return {"data__source": "sql:SELECT * FROM toy WHERE day < :as_of", "data__database": "SHOP_DB_URL"}


def test_equal_rows_are_trained_once_wherever_they_are(
    services: Services,
    toy_file: Callable[..., Path],
    tmp_path: Path,
    bucket: Any,
    layout: Layout,
    empty_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table, url = rows(), layout.database_url("ledger_owner", empty_database)
    monkeypatch.setenv("SHOP_DB_URL", url)
    table.to_csv(tmp_path / "toy.csv", index=False)
    later = table.iloc[-1:].assign(day=pd.Timestamp("2026-01-01"), x=0.5)
    write_deltalake(str(tmp_path / "delta"), pd.concat([table, later]))
    kinds: list[dict[str, Any]] = [
        {"data__source": "toy.csv"},
        in_parts(table, tmp_path),
        in_s3(table, bucket),
        in_sql(table, url),
        {"data__source": "delta:delta"},
    ]
    read = {"name": "everywhere", "data__columns": list(FEATURES)}
    trained = [train(services, load_spec(toy_file(**read, **kind))) for kind in kinds]
    assert {run.run_id for run in trained} == {trained[0].run_id}
    # A price that changes in the database is another version, whose lineage tells where it is from.
    with sa.create_engine(url).begin() as connection:
        connection.execute(sa.text("UPDATE toy SET price = price + 0.01 WHERE day = '2024-03-01'"))
    spec = load_spec(toy_file(**read, **kinds[3]))
    again = train(services, spec)
    assert again.tags[Tag.DATA_VERSION] != trained[0].tags[Tag.DATA_VERSION]
    said = again.tags[Tag.DATA_SOURCE]
    assert said.startswith("a query of SHOP_DB_URL (sha256 ")
    assert said.endswith(f"as of {FIRST:%Y-%m-%d}T00:00:00Z")
    number = register_version(services, spec, again.run_id, new_run())
    (registered,) = services.ledger.history(spec.name, kinds=[EventKind.REGISTERED])
    assert registered.details[Tag.DATA_SOURCE] == said
    manifest = raw(services.registry).download_artifacts(again.run_id, f"manifests/v{number}.json")
    assert said in Path(manifest).read_text()


def test_objects_are_told_by_their_etags_or_versions_and_broken_ones_are_named(bucket: Any) -> None:
    in_s3(rows(), bucket)
    source = Source("s3://rows/toy/*.parquet", PROJECT_ROOT)
    facts = read_whole(source, ["x"]).facts
    etags = [bucket.head_object(Bucket="rows", Key=f"toy/part-{place}.parquet")["ETag"] for place in range(3)]
    assert [f'"{one["etag"]}"' for one in facts["objects"]] == etags
    assert [one["version"] for one in facts["objects"]] == [None] * 3
    bucket.put_object(Bucket="rows", Key="toy/part-1.parquet", Body=b"PAR1 nothing PAR1")
    with pytest.raises(DataError, match=r"s3://rows/toy/part-1\.parquet cannot be read"):
        read_whole(source, ["x"])
    bucket.put_bucket_versioning(Bucket="rows", VersioningConfiguration={"Status": "Enabled"})
    in_s3(rows(), bucket)
    facts = read_whole(source, ["x"]).facts
    assert len({one["version"] for one in facts["objects"]} - {None}) == 3


def test_a_delta_table_in_s3_is_read_without_the_rows_that_a_vector_deletes(
    bucket: Any, tmp_path: Path
) -> None:
    table = rows().drop(columns=["n"])
    write_deltalake(str(tmp_path / "toy"), table)
    delete_by_vector(tmp_path / "toy", [0, 599])
    for file in (tmp_path / "toy").rglob("*"):
        if file.is_file():
            key = f"lake/{file.relative_to(tmp_path)}"
            bucket.put_object(Bucket="rows", Key=key, Body=file.read_bytes())
    source = Source("delta:s3://rows/lake/toy", PROJECT_ROOT)
    read = read_whole(source)
    assert read.facts == {"delta": "s3://rows/lake/toy", "version": 1}
    assert content_digest({"": read.rows}) == content_digest({"": table.iloc[1:-1]})
    known = replace(source, as_of=datetime(2024, 1, 4), time_column="day")
    assert read_whole(known, ["x"]).rows["x"].tolist() == table["x"].tolist()[1:3]
    with pytest.raises(DataError, match="delta:s3://rows/lake/away: there is no Delta table"):
        read_whole(Source("delta:s3://rows/lake/away", PROJECT_ROOT))
    bucket.delete_object(Bucket="rows", Key=f"lake/toy/{next((tmp_path / 'toy').glob('*.parquet')).name}")
    with pytest.raises(DataError, match=r"delta:s3://rows/lake/toy cannot be read: .*parquet"):
        read_whole(source)


def test_the_document_on_sources_is_followed_literally(bucket: Any, tmp_path: Path) -> None:
    told = follow(PROJECT_ROOT / "docs" / "training-data.md", tmp_path, copy_project(tmp_path))
    for place in ("parquet", "s3", "sql", "delta"):
        assert f"wrote include/models/trips_{place}.yaml" in told
        assert (tmp_path / "models" / f"trips-{place}" / "model" / "MLmodel").is_file()
    assert told.count("time: day (the only column with moments)") == 4
