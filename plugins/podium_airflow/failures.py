"""How what Podium raises ends a task: refused is skipped, an outage is retried, all else fails at once."""

from __future__ import annotations

import functools
import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import CodeType
from typing import Any

import structlog
from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from podium.errors import Outage, PodiumError, Refused
from podium_airflow.notes import leave_note
from podium_airflow.retention_secret import forget_retention_password
from podium_airflow.runs import refuse_wrong_form

log = logging.getLogger(__name__)

# 10 s, 20 s, 40 s, ... five minutes: about half an hour in all.
WAIT_OUT_AN_OUTAGE = {
    "retries": 9,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=5),
}


def podium_task(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Make a task of a function that ends as ``task_outcomes`` says; the options are Airflow's.

    No task works for a run whose form has keys that nobody reads.
    """
    # What a task returns is for the next one; people read what it logs.
    told = {"show_return_value_in_logs": False, "multiple_outputs": False, **options}

    def made(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            refuse_wrong_form(get_current_context())
            return function(*args, **kwargs)

        # Airflow asks five times for each task of each Dag, through all that wraps the function.
        checked.__signature__ = _signature(function.__code__, function)  # type: ignore[attr-defined]
        return task(**told)(task_outcomes()(checked))

    return made


_SIGNATURES: dict[CodeType, inspect.Signature] = {}


def _signature(code: CodeType, function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function; a Dag file makes the same ones for each of its models."""
    if code not in _SIGNATURES:
        _SIGNATURES[code] = inspect.signature(function)
    return _SIGNATURES[code]


@contextmanager
def task_outcomes() -> Iterator[None]:
    """Wrap a task's work; also usable as a decorator. What is raised is left for the note of the run.

    Raises:
        AirflowSkipException: A gate or a person said no: the run ends cleanly.
        Outage: A part did not answer: Airflow retries the task.
        AirflowFailException: Anything else that Podium raises: a retry would not help.
    """
    _log_our_errors_in_one_line()
    forget_retention_password()
    try:
        yield
    except PodiumError as error:
        leave_note(get_current_context(), str(error))
        if isinstance(error, Refused):
            raise AirflowSkipException(error.with_code()) from error
        if isinstance(error, Outage):
            raise
        raise AirflowFailException(error.with_code()) from error


def _log_our_errors_in_one_line() -> None:
    """Let the task log say what Podium raised, without the stack of a program that did what it should."""
    processors = structlog.get_config()["processors"]
    if _without_our_stacks not in processors:
        processors.insert(0, _without_our_stacks)


def _without_our_stacks(_: Any, __: str, event: Any) -> Any:
    error = sys.exception()
    ours = error if isinstance(error, PodiumError) else error and error.__cause__
    if event.get("exc_info") and isinstance(ours, PodiumError):
        del event["exc_info"]
        event["event"] = ours.with_code()
    return event
