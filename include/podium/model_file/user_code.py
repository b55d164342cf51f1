"""The users' own functions, as model files name them: found, called, and their faults told from Podium's."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from podium.errors import PodiumError, TrainerError


@contextmanager
def trainer_errors(path: str) -> Iterator[None]:
    """Translate what a user's function raises; a broken function fails at once, an OSError may pass by.

    Raises:
        TrainerError: Names the function and what it raised.
    """
    try:
        yield
    except (PodiumError, OSError):
        raise
    except Exception as error:
        raise TrainerError(f"{path}: {type(error).__name__}: {error}") from error


def import_object(path: str) -> Callable[..., Any]:
    """Import what a model file names as ``module:function``.

    Raises:
        TrainerError: The module or the name is not there; says which.
    """
    module_name, _, name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        raise TrainerError(
            f"'{path}' cannot be imported: {error}; trainers live in include/trainers/"
        ) from error
    if not callable(getattr(module, name, None)):
        raise TrainerError(f"'{path}': the module {module_name} has no function '{name}'")
    function: Callable[..., Any] = getattr(module, name)
    return function
