"""The users' own code, as model files name it: found, called, and its faults told from Podium's."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from podium.errors import PodiumError, TrainerError
from podium.model_file.extras import how_to_install
from podium.settings import PROJECT_ROOT

INSTALLED = {"site-packages", "dist-packages"}
_HOME_OF_TRAINERS = "trainers live in include/trainers/"


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
        hint = how_to_install(error.name) if isinstance(error, ImportError) else ""
        raise TrainerError(f"{path}: {type(error).__name__}: {error}{hint}") from error


def import_object(path: str) -> Callable[..., Any]:
    """Import what a model file names as ``module:function``.

    Raises:
        TrainerError: The module or the name is not there, or is no code of the user's; says which.
    """
    module_name, _, name = path.partition(":")
    if wrong := _not_the_users(_find_module(module_name)):
        raise TrainerError(f"'{path}' {wrong}")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, SyntaxError) as error:
        hint = how_to_install(error.name) if isinstance(error, ImportError) else ""
        why = f"{error}{hint or f'; {_HOME_OF_TRAINERS}'}"
        raise TrainerError(f"'{path}' cannot be imported: {why}") from error
    if not callable(getattr(module, name, None)):
        raise TrainerError(f"'{path}': the module {module_name} has no function '{name}'")
    function: Callable[..., Any] = getattr(module, name)
    return function


def function_problem(path: str) -> str:
    """Say why a function cannot be one that a model file names; "" if it can.

    It reads the source and imports nothing: to import a trainer takes seconds, and what it needs.

    Args:
        path: ``module:function``.
    """
    module_name, _, name = path.partition(":")
    module = _find_module(module_name)
    if module is None:
        return f"there is no module {module_name}; {_HOME_OF_TRAINERS}"
    if wrong := _not_the_users(module):
        return wrong
    if module.origin is None or not module.origin.endswith(".py"):
        return f"the module {module_name} is not a Python file; {_HOME_OF_TRAINERS}"
    try:
        names = _names(ast.parse(Path(module.origin).read_bytes()))
    except (OSError, SyntaxError, ValueError) as error:
        return f"{module.origin} cannot be read: {error}"
    has_it = name in names or "*" in names
    return "" if has_it else f"the module {module_name} has no function '{name}'"


def is_project_code(module: str) -> bool:
    """Tell whether a module is no part of Python and of no installed package, so that an edit changes it.

    Args:
        module: Its name; one that is not there, or was made while running, is not installed.
    """
    top = module.partition(".")[0]
    if top in sys.stdlib_module_names:
        return False
    found = _find_module(top)
    folders = [] if found is None else [found.origin or "", *(found.submodule_search_locations or ())]
    return not any(INSTALLED & set(Path(folder).parts) for folder in folders)


def _find_module(name: str) -> ModuleSpec | None:
    """Find a module without an import of the packages around it, which ``importlib.util`` alone would do."""
    top, *inner = name.split(".")
    try:
        found = importlib.util.find_spec(top)
    except ValueError:
        # A module that was made while running, such as __main__.
        return None
    for part in inner:
        if found is None or found.submodule_search_locations is None:
            return None
        found = PathFinder.find_spec(part, list(found.submodule_search_locations))
    return found


def _not_the_users(module: ModuleSpec | None) -> str:
    """Say why a module is not the user's own; "" if it is, or is not there."""
    if module is None or module.origin is None:
        return ""
    if module.origin in ("built-in", "frozen") or INSTALLED & set(Path(module.origin).parts):
        return f"is of an installed package, outside the project; {_HOME_OF_TRAINERS}"
    return ""


def _names(tree: ast.AST) -> set[str]:
    """Return what can be a function in a module: what it defines, assigns or imports from another."""
    names: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        else:
            names |= _names(node)
    return names


def code_file(home: Path, path: str) -> Path:
    """Return a file that a model file names under ``code``.

    Args:
        home: The project's top folder.
        path: As the model file has it.

    Raises:
        TrainerError: It is no regular file, or a link leads out of the project.
    """
    file = home / path
    tops = (home.resolve(), PROJECT_ROOT.resolve())
    if not any(file.resolve().is_relative_to(top) for top in tops):
        raise TrainerError(
            f"code: {path} leads out of the project, to {file.resolve()}; copy it into the project"
        )
    try:
        file.stat()
    except OSError as error:
        raise TrainerError(f"code: {file} cannot be read: {error.strerror}") from error
    if not file.is_file():
        raise TrainerError(f"code: {path} is not a regular file")
    return file
