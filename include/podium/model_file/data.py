"""The section `data`: where the rows are, and what their columns mean."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from podium.model_file.types import Closed, Columns, ImportPath, Name, WrongKey, once
from podium.settings import project_home

_SUFFIXES = (".csv", ".csv.gz", ".parquet")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
# What a file of another kind looks like, and a folder such as `2026.v1`; one such as `2026.11` does not.
_WITH_SUFFIX = re.compile(r"[^/]\.[A-Za-z]\w*$")


def _check_source(source: str) -> str:
    return _readable(source, project_home())


def _check_table(table: str, others: ValidationInfo) -> str:
    return _readable(table, (project_home() / others.data.get("source", "")).parent)


def _readable(source: str, home: Path) -> str:
    """Refuse what no training reads: an address, a query, a file of another kind."""
    if scheme := _SCHEME.match(source):
        raise ValueError(
            f"a training does not read {scheme[0]} but files below the project's top folder "
            f"({', '.join(_SUFFIXES)}); copy the rows there"
        )
    if _WITH_SUFFIX.search(source) and not source.endswith(_SUFFIXES) and not (home / source).is_dir():
        raise ValueError(f"must be a file that ends in {', '.join(_SUFFIXES)}, or a folder that exists")
    return source


Source = Annotated[Name, AfterValidator(_check_source)]
Table = Annotated[Name, AfterValidator(_check_table)]


class DataSpec(Closed):
    """Where the rows come from and what their columns mean."""

    source: Source = Field(
        description="A `.csv`, `.csv.gz` or `.parquet` file, or a folder of such, relative to the project's "
        "top folder.",
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
