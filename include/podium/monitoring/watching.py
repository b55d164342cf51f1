"""Is a new champion worse than the one before? The verdict on a watch window, from counts and sums alone.

Equal counts give equal verdicts, whoever computes them and however often.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from podium.ledger.watch_counts import Counts
from podium.lifecycle.watched import Terms
from podium.metrics.paired import (
    LOG_THRESHOLD,
    Sums,
    log_wealth_of_mean,
    log_wealth_of_share,
    lower_bound_of_mean,
)

# Beyond this share of requests that both versions fail, something in front of them is broken.
BOTH_FAIL = 0.1
# The question that says so: it is about neither version.
BOTH = "both fail"
# With fewer requests that both were timed on, nothing is known of the latency.
FEWEST_TIMED = 30
# So long servers have to load the version before; then they are taken at their word that they cannot.
TIME_TO_LOAD = timedelta(minutes=10)


class Ending(StrEnum):
    """How a watch window ends."""

    GOOD = "good"
    BAD = "bad"
    BOTH_BAD = "both bad"
    INCONCLUSIVE = "inconclusive"
    NOT_JUDGED = "not judged"


@dataclass(frozen=True)
class Seen:
    """What was seen of a window up to a moment.

    Attributes:
        at: The moment.
        counts: Of all processes of all servers together.
        sums: Of the paired losses, the new version's less the old one's.
        processes: How many processes told anything.
        problems: Why some of them cannot compare.
        unread: Why labels that came cannot be read; "" if they can.
    """

    at: datetime
    counts: Counts = field(default_factory=Counts)
    sums: Sums = field(default_factory=Sums)
    processes: int = 0
    problems: Sequence[str] = ()
    unread: str = ""


@dataclass(frozen=True)
class Question:
    """One question of a window and the evidence for the answer yes.

    Attributes:
        name: What is asked: ``errors``, ``latency``, ``losses`` or ``both fail``.
        rows: On how many requests or rows.
        log_wealth: The evidence; at ``LOG_THRESHOLD`` the answer is yes.
        reason: What was seen, in words.
    """

    name: str
    rows: int
    log_wealth: float
    reason: str

    @property
    def answered(self) -> bool:
        """Whether the answer is yes."""
        return self.log_wealth >= LOG_THRESHOLD

    @property
    def share(self) -> float:
        """How far the evidence is, 0 to 1: 1 at the threshold."""
        return min(max(self.log_wealth / LOG_THRESHOLD, 0.0), 1.0)


@dataclass(frozen=True)
class Verdict:
    """How a window stands.

    Attributes:
        ending: How it ends; None: it stays open.
        reason: Why, or what is missing, in words.
        questions: The evidence.
    """

    ending: Ending | None
    reason: str
    questions: tuple[Question, ...]


def judge(terms: Terms, names: tuple[str, str], opened: datetime, seen: Seen) -> Verdict:
    """Return how a window stands.

    Args:
        terms: How the new version is watched.
        names: What the new version and the old one are called, such as v8 and v7.
        opened: When the window opened.
        seen: What was seen.
    """
    questions = _questions(terms, names, seen)
    answered = [question for question in questions if question.answered]
    both, worse = (
        next((one for one in answered if (one.name == BOTH) is wanted), None) for wanted in (True, False)
    )
    missing = _missing(terms, seen)
    if both is not None:
        return Verdict(Ending.BOTH_BAD, both.reason, questions)
    if worse is not None:
        return Verdict(Ending.BAD, worse.reason, questions)
    if not missing:
        return Verdict(Ending.GOOD, _whole(names, seen), questions)
    age = seen.at - opened
    if seen.counts.rows == 0 and (hindered := _hindered(names, terms, seen, age)):
        return Verdict(Ending.NOT_JUDGED, hindered, questions)
    if age.total_seconds() >= terms.at_most_seconds:
        return Verdict(Ending.INCONCLUSIVE, f"the window is over; missing: {missing}", questions)
    return Verdict(None, f"missing: {missing}", questions)


def _questions(terms: Terms, names: tuple[str, str], seen: Seen) -> tuple[Question, ...]:
    (new, old), counts = names, seen.counts
    asked = [
        Question(
            "errors",
            counts.requests,
            log_wealth_of_share(counts.new_failed, counts.old_failed),
            f"{new} alone failed {counts.new_failed:,} and {old} alone {counts.old_failed:,} of "
            f"{counts.requests:,} requests",
        )
    ]
    if terms.max_ratio is not None:
        reason = (
            f"{new} took more than {terms.max_ratio:g} times as long as {old} for {counts.slower:,} of "
            f"{counts.timed:,} requests"
        )
        wealth = log_wealth_of_share(counts.slower, counts.timed - counts.slower)
        asked.append(Question("latency", counts.timed, wealth, reason))
    if terms.metric:
        asked.append(_losses(terms, names, seen.sums))
    reason = f"{new} and {old} both failed {counts.both_failed:,} of {counts.requests:,} requests"
    wealth = log_wealth_of_share(counts.both_failed, counts.requests - counts.both_failed, BOTH_FAIL)
    return (*asked, Question(BOTH, counts.requests, wealth, reason))


def _losses(terms: Terms, names: tuple[str, str], sums: Sums) -> Question:
    new, old = names
    metric = terms.metric.replace("_", " ")
    worse = sums.total / sums.rows if sums.rows else 0.0
    reason = f"{metric} of {new} is worse than that of {old} by {worse:.3g} on {sums.rows:,} labelled rows"
    low = lower_bound_of_mean(sums)
    if math.isfinite(low):
        reason += f", at least {low:.3g}; {terms.margin:g} is allowed"
    return Question("losses", sums.rows, log_wealth_of_mean(sums, terms.margin), reason)


def _missing(terms: Terms, seen: Seen) -> str:
    """Say what is missing until the window may end well; "" if nothing is."""
    lacking = {
        "rows": terms.rows - seen.counts.rows,
        "labelled rows": terms.labelled_rows - seen.sums.rows if terms.metric else 0,
        "timed requests": FEWEST_TIMED - seen.counts.timed if terms.max_ratio is not None else 0,
    }
    said = [f"{number:,} {what}" for what, number in lacking.items() if number > 0]
    if seen.unread:
        said.append(f"labels that can be read: {seen.unread}")
    return " and ".join(said)


def _whole(names: tuple[str, str], seen: Seen) -> str:
    labelled = f", {seen.sums.rows:,} of them with labels" if seen.sums.rows else ""
    return f"{names[0]} is not seen to be worse than {names[1]} on {seen.counts.rows:,} rows{labelled}"


def _hindered(names: tuple[str, str], terms: Terms, seen: Seen, age: timedelta) -> str:
    """Say why nothing can be compared; "" if it still may be."""
    over = age.total_seconds() >= terms.at_most_seconds
    if seen.problems and seen.processes == len(seen.problems) and (over or age >= TIME_TO_LOAD):
        return f"no server can compare {names[0]} with {names[1]}: {seen.problems[0]}"
    if not over:
        return ""
    if not seen.processes:
        return f"no server reported that it compares {names[0]} with {names[1]}"
    return f"no request came that {names[0]} and {names[1]} were both asked"
