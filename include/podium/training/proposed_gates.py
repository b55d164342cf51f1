"""The gates that ``new-model`` proposes: made of what a first run measured, with room for the next ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from podium.model_file.metric_names import TaskKind
from podium.text import one_line
from podium.training.first_run import FirstRun

# Fewer rows than these say little, whatever the numbers are.
_FEW_ROWS = 30
# Standard errors: a difference below is nothing to build on; and the room that a share gets.
_SURE = 2
_ROOM = 3
# A bound above says nothing about a leak.
_LARGEST_OVERLAP = 0.5
# Labels that are more or fewer of the holdout by this share of all rows are worth a word.
_SHIFT = 0.05
# How much worse than the champion, at least: a share of the metric, and of what it is better than guessing.
_SLACK = 0.05


@dataclass
class Proposal:
    """What goes under ``gates``, and what whoever asked should know.

    Attributes:
        gates: A line of YAML each, with what it was made of.
        left_out: Gates that are not proposed, and why.
        warnings: Sentences.
    """

    gates: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, gate: Mapping[str, Any], why: str = "") -> None:
        """Propose a gate."""
        line = yaml.safe_dump(
            dict(gate), default_flow_style=True, sort_keys=False, allow_unicode=True, width=math.inf
        ).strip()
        self.gates.append((line if len(gate) > 1 else line[1:-1], why))


def without_a_first_run(metric: str, baseline: str, problem: str) -> Proposal:
    """Propose what needs no number."""
    made = Proposal(warnings=[f"The first model could not be tried on these rows: {problem}"])
    made.add({"signature": "compatible"})
    made.add({"metric": metric, "against": baseline, "min_improvement": 0}, "better than guessing")
    made.left_out.append("all others: the first model could not be tried, so nothing was measured")
    return made


def proposed(run: FirstRun, task: TaskKind, metric: str, baseline: str) -> Proposal:
    """Propose gates which the first version passes, unless it should not.

    Args:
        run: What was measured.
        task: A classification or a regression.
        metric: What was measured; smaller is better.
        baseline: What it was compared with.
    """
    made = Proposal()
    _rows(made, run)
    _overlap(made, run, task)
    _labels(made, run.labels)
    made.add({"signature": "compatible"})
    _better_than_guessing(made, run, metric, baseline)
    _no_worse_than_the_champion(made, run, task, metric)
    return made


def _rows(made: Proposal, run: FirstRun) -> None:
    made.add({"min_holdout_rows": max(1, run.held_out // 2)}, f"half of the {run.held_out:,} held out now")
    if run.held_out < _FEW_ROWS:
        made.warnings.append(
            f"Only {run.held_out:,} rows are held out: numbers on so few say little. A longer holdout.days "
            "holds out more."
        )


def _overlap(made: Proposal, run: FirstRun, task: TaskKind) -> None:
    noise = math.sqrt(run.overlap * (1 - run.overlap) / run.held_out)
    bound = max(0.01, math.ceil(100 * (run.overlap + _ROOM * noise)) / 100)
    seen = f"{run.overlap:.1%} of the rows held out have the inputs of a training row"
    if bound <= _LARGEST_OVERLAP:
        made.add({"max_train_overlap": bound}, f"{seen}; those of a leak are more")
    else:
        made.left_out.append(f"max_train_overlap: {seen}; name columns that identify a row, if there are any")
    if task is TaskKind.REGRESSION and run.repeated >= 0.01:
        made.warnings.append(
            f"{run.repeated:.1%} of the rows held out equal a training row in all inputs and the label: the "
            "same row twice makes a model look better than it is."
        )


def _labels(made: Proposal, labels: Mapping[str, tuple[int, int]]) -> None:
    if not labels:
        return
    trained_on, held_out = (sum(counts) for counts in zip(*labels.values(), strict=True))
    for name, (trained, held) in labels.items():
        if not trained:
            made.warnings.append(
                f"No training row has the label {_quoted(name)}: the model will not know it, and the gates "
                "refuse such a version. More rows before the holdout, or a shorter holdout.days, help."
            )
        before, now = trained / trained_on, held / held_out
        if abs(before - now) > max(_SHIFT, _ROOM * math.sqrt(before * (1 - before) / held_out)):
            made.warnings.append(
                f"The label {_quoted(name)} is {before:.0%} of the training rows and {now:.0%} of those held "
                "out: the model and the class prior, with which it is compared, are made for other shares."
            )
    covered = {name: held for name, (trained, held) in labels.items() if trained and held}
    if missing := [name for name in labels if name not in covered]:
        made.left_out.append(
            f"label_coverage: no row of {', '.join(map(_quoted, missing))} on one of the sides"
        )
        return
    rarest = min(covered, key=covered.__getitem__)
    made.add(
        {"label_coverage": list(labels), "min_rows": max(1, covered[rarest] // 2)},
        f"half of the {covered[rarest]:,} rows of {_quoted(rarest)}, the rarest, held out now",
    )


def _better_than_guessing(made: Proposal, run: FirstRun, metric: str, baseline: str) -> None:
    seen = f"{metric} {_shown(run.ours)}, {baseline} {_shown(run.guess)}"
    sure = run.improvement > _SURE * run.noise
    bound = max(0.0, min(run.improvement / 2, run.improvement - _ROOM * run.noise)) if sure else 0.0
    made.add(
        {"metric": metric, "against": baseline, "min_improvement": _two_digits(bound)},
        f"better than guessing: {seen} on the rows held out",
    )
    if not sure:
        made.warnings.append(
            f"The first model is not clearly better than guessing: {seen}, on {run.held_out:,} rows. The "
            "inputs may say little about the label, or the trainer needs more than a linear model."
        )


def _no_worse_than_the_champion(made: Proposal, run: FirstRun, task: TaskKind, metric: str) -> None:
    if run.improvement <= 0:
        made.left_out.append(
            f"{metric} against the champion: the model is no better than guessing, so no margin for the next "
            "version can be derived"
        )
        return
    slack = _SLACK * min(run.improvement, run.ours)
    bound = _two_digits(max(slack, run.retrained))
    rule: dict[str, Any] = {"max_regression_abs": bound}
    if task is TaskKind.CLASSIFICATION:
        rule = {"not_worse": {"confidence": 0.95, "margin": bound}}
    made.add(
        {"metric": metric, "against": "champion", **rule},
        "a training without its newest fifth differs by up to this"
        if run.retrained > slack
        else f"{_SLACK:.0%} of the metric, or of what it is better than guessing",
    )


def _two_digits(number: float) -> float:
    """Return a number of at most two digits, at most the other one; whole if it is large."""
    if number <= 0:
        return 0
    digit = 10.0 ** (math.floor(math.log10(number)) - 1)
    rounded = float(f"{math.floor(number / digit) * digit:.2g}")
    return int(rounded) if rounded >= 10 else rounded


def _shown(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.4g}"


def _quoted(name: str) -> str:
    return f'"{one_line(name)}"'


def positive_label(counts: Mapping[str, int]) -> tuple[Sequence[str], str]:
    """Return two labels with the positive one last, and why it is that one.

    Args:
        counts: The rows of each.
    """
    names = {name.strip().casefold(): name for name in counts}
    for no, yes in _OPPOSITES:
        if {no, yes} == set(names):
            return (
                names[no],
                names[yes],
            ), f"the second is the positive one; {counts[names[yes]]:,} rows have it"
    first, second = sorted(counts)
    rarer, other = (first, second) if counts[first] < counts[second] else (second, first)
    why = "the rarer one" if counts[rarer] < counts[other] else "both are as frequent"
    return (
        other,
        rarer,
    ), f"the second is the positive one: {why}, {counts[rarer]:,} rows; swap them if it is not"


_OPPOSITES = (
    ("no", "yes"),
    ("false", "true"),
    ("0", "1"),
    ("n", "y"),
    ("f", "t"),
    ("negative", "positive"),
    ("neg", "pos"),
    ("-1", "1"),
    ("off", "on"),
)
