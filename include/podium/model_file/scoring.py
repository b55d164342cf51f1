"""The section ``scoring`` of a model file: what is scored in batches, where to, and by which version."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StrictInt, field_validator, model_validator

from podium.model_file.source import SQL, check_no_password
from podium.model_file.types import Closed, Columns, Cron, ImportPath, Name, WrongKey

VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
CHUNK_ROWS = 100_000
PARTITION = "partition"
# What Podium itself writes beside the keys; of a classification also probability_<label>.
OWN_COLUMNS = (PARTITION, "row", "prediction", "model_version", "model_digest", "scored_at")
PROBABILITY = "probability_"
_TABLE = re.compile(rf"^{SQL}\w+(\.\w+)?$")
Place = Annotated[Name, AfterValidator(check_no_password)]
PLACEHOLDER = re.compile(rf"(?<![:\w]):{PARTITION}\b")


class ScoringSpec(Closed):
    """What is scored in batches."""

    source: Place = Field(
        description="Rows to score: a file, folder or pattern with `*`, also `s3://...`, `sql:QUERY` or "
        "`delta:PATH`."
    )
    output: Place = Field(
        description="A folder or `s3://` prefix for one parquet file per partition, or `sql:TABLE`."
    )
    database: Annotated[str, Field(pattern=VARIABLE)] | None = Field(
        default=None,
        description="With `sql:` only, and required there: the environment variable that holds the "
        "database's SQLAlchemy URL.",
    )
    partitions: Name | None = Field(
        default=None,
        description="A query whose first column lists the partitions; `:partition` in `source` stands for "
        "each. Without it one partition.",
    )
    inputs: ImportPath | None = Field(
        default=None,
        description="Import path of a function from raw rows to inputs with an equal index; without it the "
        "source has them.",
    )
    keys: Columns = Field(default=(), description="Columns of the source that are carried to the output.")
    alias: Literal["champion", "candidate", "previous_champion"] = Field(
        default="champion", description="The version that scores."
    )
    schedule: Cron | None = Field(
        default=None, description="When to score, as a cron expression in UTC; without it only by hand."
    )
    chunk_rows: StrictInt = Field(
        default=CHUNK_ROWS, ge=1, le=10_000_000, description="Rows in memory at a time."
    )

    @field_validator("keys")
    @classmethod
    def _keys_are_not_our_own_columns(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        for key in keys:
            if wrong := key_problem(key):
                raise ValueError(wrong)
        return keys

    @model_validator(mode="after")
    def _sql_has_a_database(self) -> Self:
        uses_sql = any(place.startswith(SQL) for place in (self.source, self.output))
        if uses_sql and self.database is None:
            raise WrongKey("missing; sql: needs the environment variable with the database's URL", "database")
        if not uses_sql and self.database is not None:
            raise WrongKey(f"only goes with a source or output that begins with {SQL}", "database")
        return self

    @model_validator(mode="after")
    def _partitions_fit_the_query(self) -> Self:
        asks = self.source.startswith(SQL) and bool(PLACEHOLDER.search(self.source))
        if self.partitions is not None and not asks:
            raise WrongKey(f"needs a source {SQL}... with :{PARTITION} in its place", "partitions")
        if self.partitions is None and asks:
            raise WrongKey(f"missing; the query of source contains :{PARTITION}", "partitions")
        return self

    @model_validator(mode="after")
    def _output_is_a_folder(self) -> Self:
        if self.output.startswith(SQL) and not _TABLE.match(self.output):
            raise WrongKey(f"must be {SQL}TABLE or {SQL}SCHEMA.TABLE", "output")
        if not self.output.startswith(SQL) and PurePosixPath(self.output).suffix in (".csv", ".parquet"):
            raise WrongKey("must be a folder: each partition is a parquet file in it", "output")
        return self

    @model_validator(mode="after")
    def _output_is_not_scored_again(self) -> Self:
        folder = self.source.rstrip("/")
        below = self.output.rstrip("/") == folder or self.output.startswith(f"{folder}/")
        matched = PurePosixPath(f"{self.output}/any.parquet").match(self.source)
        if not self.source.startswith(SQL) and (below or matched):
            raise WrongKey("lies in the source: the scores would be scored by the next run", "output")
        return self


def key_problem(key: str) -> str:
    """Say why a column cannot be carried to the output; "" if it can."""
    if key in OWN_COLUMNS or key.startswith(PROBABILITY):
        return f"'{key}' is a column that Podium writes itself; rename it in the source"
    return ""
