"""The section `data`: where the rows are, and what their columns mean."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StrictBool, ValidationInfo, field_validator, model_validator

from podium.model_file.scoring import VARIABLE
from podium.model_file.source import DELTA, SQL, asks_as_of, check_file, check_source, other_parameters
from podium.model_file.types import Closed, Columns, ImportPath, Name, WrongKey, once
from podium.settings import project_home


def _check_source(source: str) -> str:
    return check_source(source, project_home())


def _check_table(table: str, others: ValidationInfo) -> str:
    return check_file(table, (project_home() / others.data.get("source", "")).parent)


Source = Annotated[Name, AfterValidator(_check_source)]
Table = Annotated[Name, AfterValidator(_check_table)]


class DataSpec(Closed):
    """Where the rows come from and what their columns mean."""

    source: Source = Field(
        description="The rows: a csv or parquet file, folder or pattern, also `s3://...`, `sql:QUERY` or "
        "`delta:PATH`, from the project's top folder.",
    )
    database: Annotated[str, Field(pattern=VARIABLE)] | None = Field(
        default=None,
        description="With `sql:` only, and required there: the environment variable that holds the "
        "database's SQLAlchemy URL.",
    )
    all_rows: StrictBool = Field(
        default=False,
        description="A query without `:as_of` is meant: each run reads all rows, and leaves out later ones "
        "itself.",
    )
    columns: Columns = Field(
        default=(),
        description="Further columns to read. Without it none; all, with `examples` or `duplicates: drop`.",
    )
    examples: ImportPath | None = Field(
        default=None,
        description="Import path of a function from the known rows to labelled examples; without it the "
        "rows are the examples.",
    )
    tables: dict[Name, Table] = Field(
        default_factory=dict,
        description="Further files that `examples` gets whole, as keyword arguments of these names; in "
        "the folder of `source`.",
    )
    time_column: Name | None = Field(
        default=None,
        description="Column that says when a row became known; without it every run sees all rows.",
    )
    time_formats: tuple[Name, ...] = Field(
        default=("ISO8601",),
        min_length=1,
        description="How times are written, tried in this order: `ISO8601`, or formats of `strptime` such "
        "as `%d/%m/%Y`.",
    )
    time_resolution: Literal["day", "moment"] = Field(
        default="day",
        description="`day`: a run sees whole days before the day of its `as_of`; `moment`: all rows "
        "before its `as_of`.",
    )
    label: Name = Field(description="Column to predict.")
    label_map: dict[Name, Name] = Field(
        default_factory=dict,
        description="Other names of labels in the data, each with the label it means; case does not matter.",
    )
    inputs: Columns = Field(min_length=1, description="The model's input columns, in order.")
    undated: Literal["fail", "drop"] = Field(
        default="fail",
        description="A row whose time cannot be read: `fail` the run, or `drop` the row and count it.",
    )
    unlabelled: Literal["fail", "drop"] = Field(
        default="fail", description="A row without a label: `fail` the run, or `drop` the row and count it."
    )
    unknown_labels: Literal["fail", "drop"] = Field(
        default="fail",
        description="A row whose label is in neither `labels` nor `label_map`: `fail` the run, or `drop` "
        "the row and count it.",
    )
    duplicates: Literal["keep", "drop"] = Field(
        default="keep", description="Rows that repeat an earlier one: `keep` them, or `drop` and count them."
    )
    group: Name | None = Field(
        default=None,
        description="Ranking only, and required there: the column whose equal values form one list.",
    )
    tests: Name | None = Field(
        default=None,
        description="Code generation only, and required there: the column of code that defines "
        "`check(candidate)`.",
    )
    entry_point: Name | None = Field(
        default=None,
        description="Code generation only, and required there: the column with the name of the function "
        "to write.",
    )

    @model_validator(mode="after")
    def _inputs_leak_nothing(self) -> Self:
        if self.label in self.inputs:
            raise WrongKey(f"must not hold the label '{self.label}'", "inputs")
        return self

    @model_validator(mode="after")
    def _sql_has_a_database(self) -> Self:
        if self.source.startswith(SQL) and self.database is None:
            raise WrongKey("missing; sql: needs the environment variable with the database's URL", "database")
        if not self.source.startswith(SQL) and self.database is not None:
            raise WrongKey(f"only goes with a source that begins with {SQL}", "database")
        return self

    @model_validator(mode="after")
    def _a_query_sees_no_future(self) -> Self:
        asks = asks_as_of(self.source)
        if self.source.startswith(SQL) and (others := other_parameters(self.source)):
            raise WrongKey(
                f"a training has no value for :{others[0]}, only for :as_of; if it is text, write "
                f"\\:{others[0]}",
                "source",
            )
        if self.all_rows and (asks or not self.source.startswith(SQL) or self.time_column is None):
            raise WrongKey("only goes with a query without :as_of where there is a time_column", "all_rows")
        if self.source.startswith(SQL) and self.time_column and not asks and not self.all_rows:
            raise WrongKey(
                f"has no :as_of, so each run would read the future; write WHERE {self.time_column} < :as_of "
                "(CAST(:as_of AS date) for a cast), or all_rows: true",
                "source",
            )
        return self

    @model_validator(mode="after")
    def _tables_stand_beside_files(self) -> Self:
        if self.tables and self.source.startswith((SQL, DELTA)):
            raise WrongKey("stand beside a file or folder; join them in the query", "tables")
        return self

    @model_validator(mode="after")
    def _tables_are_for_a_function(self) -> Self:
        if self.tables and self.examples is None:
            raise WrongKey("needs data.examples, the function that gets them", "tables")
        for name in self.tables:
            if not name.isidentifier():
                raise WrongKey("its name must be one that an argument in Python can have", "tables", name)
        return self

    @field_validator("label_map")
    @classmethod
    def _each_name_once(cls, label_map: dict[str, str]) -> dict[str, str]:
        once("each name once (case does not matter)")([name.strip().casefold() for name in label_map])
        return label_map
