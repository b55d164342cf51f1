"""The section `data`: where the rows are, and what their columns mean."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from podium.model_file.types import Closed, Columns, ImportPath, Name, WrongKey, once


class DataSpec(Closed):
    """Where the rows come from and what their columns mean.

    Attributes:
        source: A csv (also .gz) or parquet file; relative to the project's top folder.
        examples: Import path of a function ``rows -> examples`` that makes the labelled examples (one row
            each, with the time, label and input columns); without it the rows are the examples.
        tables: Further files, which ``examples`` gets whole as keyword arguments of these names; in the
            folder of ``source``.
        time_column: When a row became known. Rows at or after a run's ``as_of`` are never seen. Without it
            every run sees all rows.
        time_formats: How times are written, tried in this order: ``ISO8601``, or formats of ``strptime``.
        time_resolution: ``day``: the time column says on which day, so a run sees whole days before the day
            of its ``as_of`` only; ``moment``: it says when, and a run sees all rows before its ``as_of``.
        label: The column to predict.
        label_map: Other names that a label has in the source (case does not matter), and the label meant.
        inputs: The model's input columns, in the order in which it gets them.
        undated: What a row does whose time cannot be read: ``fail`` the run, or ``drop`` out, counted.
        unlabelled: The same of a row without a label.
        unknown_labels: The same of a label that the model file does not list.
        duplicates: Rows that repeat an earlier one: ``keep`` them, or ``drop`` them, counted.
        group: Of a ranking: the column whose equal values are one list.
        tests: Of a generation: the column of code that defines ``check(candidate)``.
        entry_point: Of a generation: the column with the name of the function to write.
    """

    source: str = Field(min_length=1)
    examples: ImportPath | None = None
    tables: dict[Name, Name] = Field(default_factory=dict)
    time_column: Name | None = None
    time_formats: tuple[Name, ...] = Field(default=("ISO8601",), min_length=1)
    time_resolution: Literal["day", "moment"] = "day"
    label: Name
    label_map: dict[Name, Name] = Field(default_factory=dict)
    inputs: Columns = Field(min_length=1)
    undated: Literal["fail", "drop"] = "fail"
    unlabelled: Literal["fail", "drop"] = "fail"
    unknown_labels: Literal["fail", "drop"] = "fail"
    duplicates: Literal["keep", "drop"] = "keep"
    group: Name | None = None
    tests: Name | None = None
    entry_point: Name | None = None

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
