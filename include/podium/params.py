"""The params of a trainer: what a model file may set under ``params``, checked as the rest of the file is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import ValidationError

from podium.errors import TrainerError
from podium.model_file.problems import problems
from podium.model_file.types import Closed


class Params(Closed):
    """Base of a trainer's params: a field for each, with its default; an unknown one is an error."""

    @classmethod
    def parse(cls, params: Mapping[str, Any]) -> Self:
        """Read what the trainer was given.

        Raises:
            TrainerError: A param is unknown or its value cannot be used; names it and what is allowed.
        """
        try:
            return cls.model_validate(dict(params))
        except ValidationError as error:
            raise TrainerError("; ".join(f"params.{problem}" for problem in problems(error, cls))) from error
