"""Rows scored in batches: what can be scored is, as a bare predict does it; each other row has its reason."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.pyfunc import PyFuncModel
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from podium.errors import DataError, DiskFull, Outage, PodiumError, TrainerError
from podium.metrics.predictions import predict
from podium.registry.model_files import load_model
from podium.scoring.diff import Diff, ScoredVersion, score_both
from podium.scoring.outputs import Output, output_of
from podium.scoring.pinned_version import Pinned
from podium.scoring.run import Job, PartitionScores, Progress, score_to
from podium.scoring.scorer import Preparation, Scorer
from podium.sources.read import Partition, Source, list_partitions
from podium.stack.layout import Layout
from podium.training.saving import save_model, usable
from support.database import execute
from support.full_disk import no_file_larger_than

PINNED = Pinned("toy", 3, "d" * 64, "champion")
TREES = ["sklearn.tree._tree.Tree"]


def rows_of(count: int, seed: int = 0) -> pd.DataFrame:
    """Rows with a number, a whole number, and a name."""
    draws = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "name": [f"row {place}" for place in range(count)],
            "x": draws.normal(size=count),
            "n": draws.integers(0, 100, count),
        }
    )


def saved(folder: Path, estimator: Any, labels: Sequence[str]) -> PyFuncModel:
    inputs = rows_of(500)[["x", "n"]]
    truth = inputs["x"] * 10 + inputs["n"]
    label = np.array(labels)[(truth > 50).astype(int)] if labels else truth
    with usable(estimator.fit(inputs, label), classifies=bool(labels), requirements=[]) as ready:
        save_model(folder, ready, inputs, [], TREES)
    return load_model(folder)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """Trees answer the same whatever else is in a chunk; this one takes no missing number."""
    folder = tmp_path_factory.mktemp("classifier") / "model"
    return Scorer(saved(folder, DecisionTreeClassifier(max_depth=6), ["no", "yes"]), ("no", "yes"))


@pytest.fixture(scope="module")
def regressor(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return Scorer(saved(tmp_path_factory.mktemp("regressor") / "model", DecisionTreeRegressor(), []), ())


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """A model that takes no missing number."""
    return Scorer(saved(tmp_path_factory.mktemp("line") / "model", LinearRegression(), []), ())


def score(
    scorer: Scorer, source: Source, folder: Path, partition: Partition | None = None, **options: Any
) -> PartitionScores:
    """Score one partition into a folder beside the source."""
    (found,) = [partition] if partition else list_partitions(source)
    output = output_of(options.pop("to", "scores"), found.name, folder, source.database)
    return score_to(scorer, PINNED, Job(source, found, output, **options), lambda _: None)


def read(folder: Path, at: str) -> pd.DataFrame:
    return pq.read_table(folder / at).to_pandas()


def write(path: Path, rows: pd.DataFrame) -> None:
    if path.suffix == ".parquet":
        rows.to_parquet(path, index=False)
    else:
        rows.to_csv(path, index=False)


@pytest.mark.parametrize("file", ["rows.csv", "rows.csv.gz", "rows.parquet"])
@pytest.mark.parametrize("chunk_rows", [7, 1000])
def test_scores_are_those_of_a_bare_predict_with_version_moment_and_digest(
    classifier: Scorer, tmp_path: Path, file: str, chunk_rows: int
) -> None:
    rows = rows_of(100, seed=1)
    write(tmp_path / file, rows)
    done = score(classifier, Source(file, tmp_path, chunk_rows=chunk_rows), tmp_path, keys=["name"])
    assert (done.rows, done.rejected, done.partition, done.output) == (100, 0, "rows", "scores/rows.parquet")
    found = read(tmp_path, done.output)
    expected = predict(classifier.model, rows[["x", "n"]], ("no", "yes"))
    np.testing.assert_array_equal(found[["probability_no", "probability_yes"]].to_numpy(), expected)
    assert found["prediction"].tolist() == [("no", "yes")[place] for place in expected.argmax(axis=1)]
    assert found["name"].tolist() == rows["name"].tolist()
    assert found["row"].tolist() == list(range(1, 101))
    assert set(found["model_version"]) == {3}
    assert set(found["model_digest"]) == {"d" * 64}
    assert [moment.isoformat() for moment in set(found["scored_at"])] == [done.scored_at]
    assert not (tmp_path / "scores" / "_rejects").exists() or not any(
        (tmp_path / "scores/_rejects").iterdir()
    )


def rejects(folder: Path, done: PartitionScores) -> list[tuple[int, str]]:
    found = read(folder, done.rejects)
    return list(zip(found["row"].tolist(), found["reason"].tolist(), strict=True))


def test_each_row_that_cannot_be_scored_is_rejected_with_its_reason_and_its_columns(
    line: Scorer, tmp_path: Path
) -> None:
    text = b"name,x,n\nfine,1.5,3\nno number,abc,3\nno whole number,1,3.5\nmissing,NA,3\nmissing too,1,\n"
    text += b"too few,1\n\xff\xfe,2,4\nwhole all the same, 2.5 ,4.0\n"
    text += b'"two\nlines",0,0\ntoo,many,1,2\ninfinite,inf,1\n'
    (tmp_path / "rows.csv").write_bytes(text)
    done = score(line, Source("rows.csv", tmp_path), tmp_path, keys=["name"])
    assert (done.rows, done.rejected) == (11, 7)
    found = read(tmp_path, done.output)
    assert found["row"].tolist() == [1, 7, 8, 9]
    assert found["name"].tolist() == ["fine", "\ufffd\ufffd", "whole all the same", "two\nlines"]
    inputs = pd.DataFrame({"x": [1.5, 2.0, 2.5, 0.0], "n": [3, 4, 4, 0]})
    np.testing.assert_allclose(found["prediction"], predict(line.model, inputs, ()), rtol=1e-12)
    reasons = rejects(tmp_path, done)
    assert [row for row, _ in sorted(reasons)] == [2, 3, 4, 5, 6, 10, 11]
    told = dict(reasons)
    assert told[2] == "x is not a number"
    assert told[3] == "n is not a whole number"
    assert told[4] == "x is missing"
    assert told[5] == "n is missing"
    assert told[6] == "the line has 2 columns, not 3: too few,1"
    assert told[10].startswith("the line has 4 columns, not 3")
    assert told[11].startswith("the model raises ValueError: Input X contains infinity")
    assert done.reasons["x is missing"] == 1
    raw = read(tmp_path, done.rejects).set_index("row")
    assert raw.loc[2, ["name", "x", "n"]].tolist() == ["no number", "abc", "3"]


def test_a_missing_number_is_scored_where_the_model_takes_it(regressor: Scorer, tmp_path: Path) -> None:
    rows = rows_of(50).assign(x=[float("nan"), *rows_of(49)["x"]])
    write(tmp_path / "rows.csv", rows)
    done = score(regressor, Source("rows.csv", tmp_path, chunk_rows=8), tmp_path)
    assert done.rejected == 0
    expected = predict(regressor.model, rows[["x", "n"]], ())
    np.testing.assert_array_equal(read(tmp_path, done.output)["prediction"], expected)


VALUES = st.one_of(
    st.tuples(st.floats(-1e6, 1e6, width=64), st.integers(-5, 200)),
    st.sampled_from([("oops", 1), ("1", "2.5"), (float("nan"), "x"), ("", 3), ("NA", None), ("inf", 1)]),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(VALUES, min_size=1, max_size=60), chunk_rows=st.integers(1, 70))
def test_scored_and_rejected_rows_are_all_rows_and_scores_are_those_of_a_bare_predict(
    line: Scorer, tmp_path: Path, values: list[tuple[Any, Any]], chunk_rows: int
) -> None:
    # The first row is a good one: a file without any is refused.
    rows = pd.DataFrame([(0.0, 1), *values], columns=["x", "n"]).astype(object)
    write(tmp_path / "rows.csv", rows)
    x, n = (pd.to_numeric(rows[name], errors="coerce") for name in ("x", "n"))
    good = np.isfinite(x.astype(float)) & np.isfinite(n.astype(float)) & (n == n.round())
    done = score(line, Source("rows.csv", tmp_path, chunk_rows=chunk_rows), tmp_path)
    found = read(tmp_path, done.output)
    bad = [] if not done.rejected else [row for row, _ in rejects(tmp_path, done)]
    assert sorted([*found["row"], *bad]) == list(range(1, len(rows) + 1))
    assert found["row"].tolist() == (np.flatnonzero(good) + 1).tolist()
    inputs = pd.DataFrame({"x": x[good].astype(float), "n": n[good].astype("int64")})
    np.testing.assert_allclose(found["prediction"], predict(line.model, inputs, ()), rtol=1e-9, atol=1e-9)


def test_a_missing_column_fails_the_partition_and_names_the_column(line: Scorer, tmp_path: Path) -> None:
    write(tmp_path / "rows.csv", rows_of(5).drop(columns="x"))
    with pytest.raises(
        DataError, match=r"rows.csv: no column 'x', which the model takes; available: name, n"
    ):
        score(line, Source("rows.csv", tmp_path), tmp_path)
    write(tmp_path / "rows.csv", rows_of(5))
    with pytest.raises(DataError, match="no column 'id' .keys.; available: name, x, n"):
        score(line, Source("rows.csv", tmp_path), tmp_path, keys=["id"])
    assert not (tmp_path / "scores").exists() or not list((tmp_path / "scores").glob("*.parquet"))


def test_a_file_of_which_no_row_can_be_scored_fails_and_what_was_there_stays(
    line: Scorer, tmp_path: Path
) -> None:
    write(tmp_path / "rows.csv", rows_of(5))
    before = score(line, Source("rows.csv", tmp_path), tmp_path)
    bytes_before = (tmp_path / before.output).read_bytes()
    write(tmp_path / "rows.csv", rows_of(5).assign(x="oops"))
    with pytest.raises(DataError, match=r"none of 5 rows can be scored by toy v3: x is not a number .5."):
        score(line, Source("rows.csv", tmp_path), tmp_path)
    assert (tmp_path / before.output).read_bytes() == bytes_before
    assert [path.name for path in (tmp_path / "scores").rglob("*") if path.is_file()] == ["rows.parquet"]


def test_a_run_without_rejects_removes_those_of_the_run_before(line: Scorer, tmp_path: Path) -> None:
    write(tmp_path / "rows.csv", rows_of(5).assign(x=["oops", 1, 2, 3, 4]))
    first = score(line, Source("rows.csv", tmp_path), tmp_path)
    assert first.rejects == "scores/_rejects/rows.parquet"
    assert (tmp_path / first.rejects).exists()
    write(tmp_path / "rows.csv", rows_of(5))
    second = score(line, Source("rows.csv", tmp_path), tmp_path)
    assert (second.rejects, len(read(tmp_path, second.output))) == ("", 5)
    assert not (tmp_path / first.rejects).exists()


def test_a_partition_without_rows_is_scored_to_an_empty_file(classifier: Scorer, tmp_path: Path) -> None:
    for file in ("rows.csv", "rows.parquet"):
        write(tmp_path / file, rows_of(3).head(0))
        done = score(classifier, Source(file, tmp_path), tmp_path, keys=["name"])
        assert (done.rows, len(read(tmp_path, done.output))) == (0, 0)
    assert "probability_yes" in read(tmp_path, done.output)


def double_x(rows: pd.DataFrame) -> pd.DataFrame:
    """As a model file's ``scoring.inputs``: leaves out what has no name, cannot do with others."""
    kept = rows[rows["name"].notna()]
    return pd.DataFrame({"x": [2 * float(value) for value in kept["half"]], "n": kept["n"]}, index=kept.index)


def test_raw_rows_become_inputs_by_the_users_function(regressor: Scorer, tmp_path: Path) -> None:
    rows = rows_of(40).rename(columns={"x": "half"}).astype({"half": object})
    rows.loc[3, "name"], rows.loc[5, "half"] = None, "oops"
    write(tmp_path / "rows.csv", rows)
    scorer = Scorer(regressor.model, (), Preparation("here:double_x", double_x))
    done = score(scorer, Source("rows.csv", tmp_path, chunk_rows=11), tmp_path)
    good = rows.drop(index=[3, 5])
    inputs = pd.DataFrame({"x": 2 * good["half"].astype(float), "n": good["n"]})
    found = read(tmp_path, done.output)
    np.testing.assert_array_equal(found["prediction"], predict(regressor.model, inputs, ()))
    assert dict(rejects(tmp_path, done)) == {
        4: "left out by here:double_x",
        6: "here:double_x raises ValueError: could not convert string to float: 'oops'",
    }


def test_a_users_function_keeps_to_its_protocol(regressor: Scorer, tmp_path: Path) -> None:
    write(tmp_path / "rows.csv", rows_of(4))
    for function, message in (
        (lambda rows: rows["x"], "must return a DataFrame, not Series"),
        (lambda rows: rows.set_index(rows.index + 1), "with its index"),
        (lambda rows: pd.concat([rows, rows]), "at most one row of inputs for each row"),
        (lambda rows: rows.iloc[::-1], "must keep the order"),
    ):
        scorer = Scorer(regressor.model, (), Preparation("here:wrong", function))
        with pytest.raises(TrainerError, match=message):
            score(scorer, Source("rows.csv", tmp_path), tmp_path)
    mixed = Preparation("here:mixed", lambda rows: rows.assign(x=[1, "a", 2, {}]))
    with pytest.raises(TrainerError, match="here:mixed returned a column of several types"):
        score(Scorer(regressor.model, (), mixed), Source("rows.csv", tmp_path), tmp_path)
    scorer = Scorer(regressor.model, (), Preparation("here:narrow", lambda rows: rows[["n"]]))
    with pytest.raises(DataError, match="here:narrow: no column 'x'"):
        score(scorer, Source("rows.csv", tmp_path), tmp_path)


def test_many_wrong_rows_beside_each_other_are_rejected_each(regressor: Scorer, tmp_path: Path) -> None:
    rows = rows_of(3000).astype({"x": object})
    rows.loc[1000:2499, "x"] = "oops"
    write(tmp_path / "rows.csv", rows)

    def numbers(raw: pd.DataFrame) -> pd.DataFrame:
        return raw.assign(x=raw["x"].astype(float))

    scorer = Scorer(regressor.model, (), Preparation("here:numbers", numbers))
    done = score(scorer, Source("rows.csv", tmp_path), tmp_path)
    assert (done.rows, done.rejected) == (3000, 1500)
    # A chunk without one good row stops no other chunk.
    done = score(scorer, Source("rows.csv", tmp_path, chunk_rows=500), tmp_path)
    assert (done.rows, done.rejected) == (3000, 1500)
    assert read(tmp_path, done.output)["row"].tolist() == [*range(1, 1001), *range(2501, 3001)]


def test_an_error_that_may_pass_by_is_an_outage(regressor: Scorer, tmp_path: Path) -> None:
    def away(rows: pd.DataFrame) -> pd.DataFrame:
        raise ConnectionError("no feature store")

    write(tmp_path / "rows.csv", rows_of(5))
    scorer = Scorer(regressor.model, (), Preparation("here:away", away))
    with pytest.raises(Outage, match="here:away raises ConnectionError: no feature store"):
        score(scorer, Source("rows.csv", tmp_path), tmp_path)


def test_a_model_that_cannot_do_with_any_row_of_many_is_soon_told(line: Scorer, tmp_path: Path) -> None:
    calls = []

    def broken(rows: pd.DataFrame) -> pd.DataFrame:
        calls.append(len(rows))
        raise KeyError("no such thing")

    write(tmp_path / "rows.parquet", rows_of(50_000))
    with pytest.raises(DataError, match="row after row cannot be scored: here:broken raises KeyError"):
        score(
            Scorer(line.model, (), Preparation("here:broken", broken)),
            Source("rows.parquet", tmp_path),
            tmp_path,
        )
    assert len(calls) < 100


def test_a_model_may_write_in_its_input(regressor: Scorer) -> None:
    inputs, _ = regressor.columns.convert(pa.table({"x": [1.0, 2.0], "n": [1, 2]}))
    inputs.iloc[0, 0] = 5.0
    assert inputs["x"].tolist() == [5.0, 2.0]


def test_progress_is_told(line: Scorer, tmp_path: Path) -> None:
    for file in ("rows.csv", "rows.csv.gz", "rows.parquet"):
        write(tmp_path / file, rows_of(100).assign(x=["oops", *range(99)]) if "csv" in file else rows_of(100))
        told: list[Progress] = []
        (found,) = list_partitions(Source(file, tmp_path))
        output = output_of("scores", found.name, tmp_path, None)
        score_to(line, PINNED, Job(Source(file, tmp_path, chunk_rows=30), found, output), told.append)
        assert [progress.rows for progress in told] == [30, 60, 90, 100]
        assert told[-1].done == 1.0
        assert told[-1].rejected == (1 if "csv" in file else 0)
        assert "100 rows (100%), " in told[-1].describe()


def test_a_run_killed_while_it_writes_leaves_what_was_there_and_the_next_is_as_if_it_had_not_been(
    line: Scorer, tmp_path: Path
) -> None:
    write(tmp_path / "rows.csv", rows_of(400, seed=1))
    source = Source("rows.csv", tmp_path, chunk_rows=50)
    before = score(line, source, tmp_path)
    kept = (tmp_path / before.output).read_bytes()
    write(tmp_path / "rows.csv", rows_of(400, seed=2))
    child = os.fork()
    if child == 0:
        kill_in_the_middle(line, source, tmp_path)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert (tmp_path / before.output).read_bytes() == kept
    assert list((tmp_path / "scores").glob(".rows.parquet.*.unfinished"))
    again = score(line, source, tmp_path)
    expected = predict(line.model, rows_of(400, seed=2)[["x", "n"]], ())
    np.testing.assert_allclose(read(tmp_path, again.output)["prediction"], expected, rtol=1e-12)
    assert [path.name for path in (tmp_path / "scores").iterdir() if path.is_file()] == ["rows.parquet"]


def test_a_full_disk_is_said_to_be_full_and_the_scores_before_stay(line: Scorer, tmp_path: Path) -> None:
    write(tmp_path / "rows.csv", rows_of(4000, seed=1))
    source = Source("rows.csv", tmp_path, chunk_rows=500)
    before = score(line, source, tmp_path)
    kept = (tmp_path / before.output).read_bytes()
    for most in (100, 20_000, len(kept) - 100):
        with no_file_larger_than(most), pytest.raises(DiskFull) as full:
            score(line, source, tmp_path)
        assert f"the disk is full at {tmp_path}/scores: File too large" in str(full.value)
        assert (tmp_path / before.output).read_bytes() == kept
    assert [path.name for path in (tmp_path / "scores").iterdir() if path.is_file()] == ["rows.parquet"]


def kill_in_the_middle(scorer: Scorer, source: Source, folder: Path) -> None:
    (found,) = list_partitions(source)
    job = Job(source, found, output_of("scores", found.name, folder, None))

    def kill(progress: Progress) -> None:
        if progress.rows > 200:
            os.kill(os.getpid(), signal.SIGKILL)

    score_to(scorer, PINNED, job, kill)
    os._exit(1)


@pytest.fixture
def database(layout: Layout, empty_database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A real database with rows to score; returns its URL."""
    url = layout.database_url("ledger_owner", empty_database)
    monkeypatch.setenv("SHOP_DB_URL", url)
    execute(url, "CREATE TABLE shop (day date, id bigint, x numeric, n integer)")
    for place in range(50):
        row = (f"2026-01-0{1 + place % 2}", place, Decimal(place) / 7, place)
        execute(url, "INSERT INTO shop VALUES (%s, %s, %s, %s)", *row)
    execute(url, "INSERT INTO shop VALUES ('2026-01-02', 99, NULL, 1)")
    return url


def test_sql_to_sql_replaces_a_partition_in_one_transaction(
    line: Scorer, database: str, tmp_path: Path
) -> None:
    query = "sql:SELECT id, x, n FROM shop WHERE day = :partition ORDER BY id"
    source = Source(query, tmp_path, "SHOP_DB_URL", "SELECT DISTINCT day FROM shop", chunk_rows=9)
    first, second = list_partitions(source)
    assert (first.name, second.name) == ("2026-01-01", "2026-01-02")
    for _ in range(2):
        done = score(line, source, tmp_path, first, to="sql:shop_scores", keys=["id"])
        assert (done.rows, done.rejected) == (25, 0)
    done = score(line, source, tmp_path, second, to="sql:shop_scores", keys=["id"])
    assert (done.rows, done.rejected, done.rejects) == (26, 1, "sql:shop_scores_rejects")
    counted = execute(database, "SELECT partition, count(*), sum(id) FROM shop_scores GROUP BY 1 ORDER BY 1")
    assert counted == [("2026-01-01", 25, 600), ("2026-01-02", 25, 625)]
    told = execute(database, "SELECT row, reason, raw FROM shop_scores_rejects")
    assert told == [(26, "x is missing", '{"id": "99", "x": null, "n": "1"}')]
    found = execute(database, "SELECT prediction, model_version, model_digest FROM shop_scores WHERE id = 3")
    expected = predict(line.model, pd.DataFrame({"x": [float(Decimal(3) / 7)], "n": [3]}), ())
    assert found == [(pytest.approx(expected[0]), 3, "d" * 64)]
    execute(database, "DELETE FROM shop WHERE x IS NULL")
    score(line, source, tmp_path, second, to="sql:shop_scores", keys=["id"])
    assert execute(database, "SELECT count(*) FROM shop_scores_rejects") == [(0,)]
    execute(database, "UPDATE shop SET x = 'nan'")
    with pytest.raises(DataError, match="none of 25 rows can be scored"):
        score(line, source, tmp_path, second, to="sql:shop_scores", keys=["id"])
    assert execute(database, "SELECT count(*) FROM shop_scores") == [(50,)]


def test_sql_to_a_file_and_what_goes_wrong_with_databases(
    line: Scorer, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = Source("sql:SELECT * FROM shop WHERE x > 0 ORDER BY id", tmp_path, "SHOP_DB_URL", chunk_rows=20)
    done = score(line, query, tmp_path, keys=["id", "day"])
    assert (done.partition, done.rows) == ("all", 49)
    assert read(tmp_path, done.output)["id"].tolist() == list(range(1, 50))
    with pytest.raises(
        DataError, match=r"reading sql:SELECT \* FROM nowhere: relation .nowhere. does not exist"
    ):
        score(line, Source("sql:SELECT * FROM nowhere", tmp_path, "SHOP_DB_URL"), tmp_path)
    execute(database, "CREATE TABLE narrow (partition text, row bigint)")
    with pytest.raises(DataError, match="writing partition all to sql:narrow: column .* does not exist"):
        score(line, query, tmp_path, to="sql:narrow")
    with pytest.raises(PodiumError, match="AWAY_DB_URL is not set"):
        score(line, Source("sql:SELECT 1", tmp_path, "AWAY_DB_URL"), tmp_path)
    monkeypatch.setenv("SHOP_DB_URL", "postgresql+psycopg2://me:secret@127.0.0.1:1/shop")
    with pytest.raises(Outage, match="the database did not answer") as told:
        score(line, query, tmp_path)
    assert "secret" not in str(told.value)
    monkeypatch.setenv("SHOP_DB_URL", "secret")
    with pytest.raises(PodiumError, match="SHOP_DB_URL holds no SQLAlchemy URL") as refused:
        score(line, query, tmp_path)
    assert "secret" not in str(refused.value)


def compare(first: Scorer, second: Scorer, folder: Path, chunk_rows: int = 30) -> Diff:
    source = Source("rows.csv", folder, chunk_rows=chunk_rows)
    job = Job(source, Partition("rows", "rows.csv"), Output("both.parquet", "rows", folder), ["name"])
    sides = (ScoredVersion(PINNED, first), ScoredVersion(Pinned("toy", 4, "e" * 64, "candidate"), second))
    return score_both(*sides, job, lambda _: None)


def test_two_classifiers_side_by_side(classifier: Scorer, tmp_path: Path) -> None:
    stump = Scorer(
        saved(tmp_path / "stump", DecisionTreeClassifier(max_depth=1), ["no", "yes"]), ("no", "yes")
    )
    rows = rows_of(200, seed=3)
    write(tmp_path / "rows.csv", rows)
    diff = compare(classifier, stump, tmp_path)
    answers = [predict(one.model, rows[["x", "n"]], ("no", "yes")) for one in (classifier, stump)]
    labels = [np.array(["no", "yes"])[answer.argmax(axis=1)] for answer in answers]
    assert diff.disagree == int((labels[0] != labels[1]).sum()) > 0
    counted = {
        one: {other: int(((labels[0] == one) & (labels[1] == other)).sum()) for other in ("no", "yes")}
        for one in ("no", "yes")
    }
    assert diff.labels == counted
    apart = np.abs(answers[0] - answers[1]).sum(axis=1) / 2
    assert diff.quantiles["median"] == pytest.approx(np.median(apart))
    assert [row.difference for row in diff.top] == pytest.approx(sorted(apart, reverse=True)[:10])
    assert diff.top[0].keys == (f"row {diff.top[0].row - 1}",)
    both = read(tmp_path, "both.parquet")
    assert both["v3_prediction"].tolist() == labels[0].tolist()
    assert both["v4_probability_yes"].tolist() == answers[1][:, 1].tolist()


def test_two_regressions_side_by_side_and_a_row_that_one_cannot_score(
    regressor: Scorer, line: Scorer, tmp_path: Path
) -> None:
    rows = rows_of(100, seed=3)
    rows.loc[10, "x"] = None
    write(tmp_path / "rows.csv", rows)
    diff = compare(regressor, line, tmp_path)
    assert (diff.rows, diff.rejected, diff.reasons) == (100, 1, {"v4: x is missing": 1})
    good = rows.drop(index=10)[["x", "n"]]
    apart = predict(line.model, good, ()) - predict(regressor.model, good, ())
    for name, share in (("min", 0), ("25%", 0.25), ("max", 1)):
        assert diff.quantiles[name] == pytest.approx(np.quantile(apart, share))
    assert diff.top[0].difference == pytest.approx(np.abs(apart).max())
    assert (diff.disagree, diff.labels, diff.estimated) == (99, {}, False)


def test_a_version_beside_itself_agrees(classifier: Scorer, tmp_path: Path) -> None:
    write(tmp_path / "rows.csv", rows_of(50))
    diff = compare(classifier, classifier, tmp_path)
    assert (diff.disagree, diff.top, diff.quantiles["max"]) == (0, [], 0.0)
