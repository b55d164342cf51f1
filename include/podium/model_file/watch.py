"""The section ``watch`` of a model file: how a new champion is watched beside the one before."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, StrictInt, field_validator

from podium.model_file.types import Closed, Duration

AutoRollback = Literal["off", "propose", "on"]


class WatchSpec(Closed):
    """For how long a new champion is watched, and what happens if it is worse."""

    rows: StrictInt = Field(
        default=5000, ge=1, le=100_000_000, description="Rows that both versions must have been asked."
    )
    at_most: Duration = Field(
        default=timedelta(days=7), description="The window closes then, whatever is missing."
    )
    labelled_rows: StrictInt = Field(
        default=300,
        ge=0,
        le=100_000,
        description="Rows with labels that must have come; 0: nobody asks for losses, and no answer is "
        "stored.",
    )
    auto_rollback: AutoRollback = Field(
        default="propose",
        description="A worse version: `off` only says so, `propose` asks the approvers, `on` rolls back.",
    )

    @field_validator("auto_rollback", mode="before")
    @classmethod
    def _yaml_says_on_and_off(cls, value: object) -> object:
        """YAML reads the bare words on and off as true and false."""
        if isinstance(value, bool):
            return "on" if value else "off"
        return value
