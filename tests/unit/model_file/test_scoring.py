"""The section ``scoring`` of a model file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podium.errors import SpecError
from podium.model_file.loading import load_spec

ToyFile = Callable[..., Path]
FILES = {"source": "in/*.csv", "output": "out"}
QUERY = {
    "source": "sql:SELECT * FROM shop WHERE day::text = :partition",
    "partitions": "SELECT DISTINCT day FROM shop",
    "output": "sql:marts.shop_scores",
    "database": "SHOP_DB_URL",
}


def test_a_model_file_without_the_section_has_no_dag_and_with_it_defaults(toy_file: ToyFile) -> None:
    assert load_spec(toy_file()).scoring is None
    spec = load_spec(toy_file(scoring=FILES))
    assert spec.scoring is not None
    assert (spec.scoring.alias, spec.scoring.schedule, spec.scoring.chunk_rows) == ("champion", None, 100_000)
    assert spec.scoring_dag_id == "score_toy"
    assert load_spec(toy_file(scoring=QUERY)).scoring is not None


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"source": "in"}, "scoring.output: missing"),
        (
            {**FILES, "outptu": "x"},
            "scoring.outptu: unknown key; did you mean 'output'? allowed: alias, chunk",
        ),
        (
            {**FILES, "output": "out.parquet"},
            "scoring.output: 'out.parquet': must be a folder: each partition",
        ),
        ({**FILES, "source": "in", "output": "in/scores"}, "scoring.output: 'in/scores': lies in the source"),
        ({**FILES, "source": "in/*", "output": "in"}, "scoring.output: 'in': lies in the source"),
        (
            {**FILES, "alias": "newest"},
            "scoring.alias: 'newest': allowed: champion, candidate, previous_champ",
        ),
        ({**FILES, "schedule": "daily"}, "scoring.schedule: 'daily': must be a cron expression"),
        (
            {**FILES, "keys": ["id", "row"]},
            "scoring.keys: ['id', 'row']: 'row' is a column that Podium writes",
        ),
        ({**FILES, "chunk_rows": 0}, "scoring.chunk_rows: 0: must be at least 1"),
        ({**FILES, "inputs": "no path"}, "scoring.inputs: 'no path': must be an import path such as"),
        (
            {**FILES, "database": "DB"},
            "scoring.database: 'DB': only goes with a source or output that begins",
        ),
        (
            {**QUERY, "database": "postgresql://shop"},
            "scoring.database: 'postgresql://shop': must be the name of an environment variable, such as",
        ),
        ({**QUERY, "database": None}, "scoring.database: null: missing; sql: needs the environment variable"),
        (
            {**QUERY, "partitions": None},
            "scoring.partitions: null: missing; the query of source contains :partition",
        ),
        ({**QUERY, "source": "sql:SELECT 1"}, "scoring.partitions: 'SELECT DISTINCT day FROM shop': needs a"),
        ({**QUERY, "output": "sql:drop table"}, "scoring.output: 'sql:drop table': must be sql:TABLE or"),
    ],
)
def test_a_wrong_section_is_explained(toy_file: ToyFile, section: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_spec(toy_file(scoring=section))
    assert message in str(caught.value)
