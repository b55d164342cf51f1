"""The grammar of the gates: what a good one means, and what is said of a wrong one, word for word."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from sklearn.metrics import get_scorer_names

from podium.errors import SpecError
from podium.model_file.gates import (
    KINDS,
    CanaryGate,
    ColumnRule,
    CostGate,
    CostName,
    DisagreementGate,
    Gate,
    LabelCoverageGate,
    OverlapGate,
    RowsGate,
    SchemaGate,
    SignatureGate,
    kind_of,
)
from podium.model_file.loading import load_spec
from podium.model_file.metric_gate import Level, MetricGate
from podium.model_file.metric_names import KNOWN_METRICS, OWN_METRICS, REPORTED, SKLEARN_METRICS, TaskKind
from support.model_files import problem_without_line

ToyFile = Callable[..., Path]

ALL_KINDS = (
    "metric, min_holdout_rows, label_coverage, schema, max_train_overlap, signature, cost, "
    "max_disagreement, canary"
)
METRIC_KEYS = (
    "against, baseline, columns, greater_is_better, level, max_regression_abs, max_regression_rel, "
    "max_slice_difference, metric, min_improvement, no_champion, not_worse, slices, threshold"
)
SLICES_KEYS = "below_support, bins, column, min_support, values"
NOT_WORSE_KEYS = "confidence, margin, resamples, seed"
COLUMN_KEYS = "allowed, max, max_null_share, min, pattern, type, unique"
METRICS = (
    "log_loss, brier_score, ranked_probability_score, accuracy, roc_auc, expected_calibration_error, "
    "mean_absolute_error, mean_squared_error, root_mean_squared_error, mean_absolute_percentage_error, "
    "rmspe, ndcg, mean_reciprocal_rank, perplexity, bits_per_byte, pass_rate, the scorers of scikit-learn, "
    "an own function as module:function, a "
    "number of the trainer as trainer.NAME"
)
RELATIVE = "max_regression_abs, max_regression_rel, min_improvement, not_worse"
BINS = (
    "must be a number of bins from 2 to 50, or a list of inner edges: numbers in ascending order, each once"
)
COVERAGE = "must be a list of labels (numbers in quotes), champion, or a .json file with labels"
SCALAR = "must be text (a date in quotes), a finite number, true or false"
REPORTED_BY_TRAINER = (
    "trainer.auc is a number that the trainer reported: it cannot be scored on other rows or versions; "
    "give threshold or baseline"
)


def slices(rest: str) -> str:
    return f"{{metric: log_loss, threshold: 1, slices: {{column: c, {rest}}}}}"


def not_worse(rest: str) -> str:
    return f"{{metric: log_loss, against: champion, not_worse: {{{rest}}}}}"


def column(rule: str) -> str:
    return f"schema: {{x: {rule}}}"


# The second gate of a file, as its YAML has it; all that is said of the file, after its path and "gates[1]".
WRONG: list[tuple[str, str]] = [
    # No gate, or no kind of gate.
    ("5", f": 5: a gate is a mapping with one of the keys {ALL_KINDS}"),
    ("null", f": null: a gate is a mapping with one of the keys {ALL_KINDS}"),
    ("log_loss", f": 'log_loss': a gate is a mapping with one of the keys {ALL_KINDS}"),
    ("[metric]", f": ['metric']: a gate is a mapping with one of the keys {ALL_KINDS}"),
    ("{}", f": {{}}: a gate is a mapping with one of the keys {ALL_KINDS}"),
    ("threshold: 1", f": no such kind of gate: threshold; a gate has one of {ALL_KINDS}"),
    (
        "{metrc: log_loss, threshold: 1}",
        f": no such kind of gate: metrc, threshold; did you mean 'metric'? a gate has one of {ALL_KINDS}",
    ),
    (
        "{metric: log_loss, threshold: 1, min_holdout_rows: 5}",
        ".min_holdout_rows: is a kind of gate of its own, as metric is; make two gates of this one",
    ),
    (
        "{canary: {days: 0.01}, signature: compatible}",
        ".canary: is a kind of gate of its own, as signature is; make two gates of this one",
    ),
    # What every gate may say.
    (
        "{min_holdout_rows: 5, level: advise}",
        ".level: 'advise': did you mean 'advisory'? allowed: required, advisory",
    ),
    ("{min_holdout_rows: 5, level: 1}", ".level: 1: allowed: required, advisory"),
    ("{min_holdout_rows: 5, level: null}", ".level: null: needs a value"),
    ("{signature: compatible, no_champion: skip}", ".no_champion: 'skip': allowed: pass, fail"),
    # metric: its keys and values.
    (
        "{metric: logloss, threshold: 1}",
        f".metric: 'logloss': no such metric; did you mean 'log_loss'? allowed: {METRICS}",
    ),
    (
        f"{{metric: trainer.{'n' * 250}, threshold: 1}}",
        f".metric: 'trainer.{'n' * 71}...: too long: MLflow keeps names of at most 250 characters",
    ),
    ("{metric: trainer., threshold: 1}", f".metric: 'trainer.': no such metric; allowed: {METRICS}"),
    ('{metric: "my.module:", threshold: 1}', f".metric: 'my.module:': no such metric; allowed: {METRICS}"),
    (
        '{metric: "trainer.own:loss", threshold: 1}',
        ".metric: 'trainer.own:loss': trainer.NAME is a number of the trainer; an own function needs a "
        "module that is not called trainer",
    ),
    ("{metric: null, threshold: 1}", ".metric: null: needs a value"),
    ("{metric: 5, threshold: 1}", ".metric: 5: must be text: write it in quotes"),
    ("{metric: [log_loss], threshold: 1}", ".metric: ['log_loss']: must be text"),
    (
        "{metric: log_loss, treshold: 1}",
        f".treshold: unknown key; did you mean 'threshold'? allowed: {METRIC_KEYS}",
    ),
    ("{metric: log_loss, threshold: 1, 5: 6}", f".5: unknown key; allowed: {METRIC_KEYS}"),
    ("{metric: log_loss, threshold: high}", ".threshold: 'high': must be a number"),
    ('{metric: log_loss, threshold: "0.5"}', ".threshold: '0.5': must be a number"),
    ("{metric: log_loss, threshold: true}", ".threshold: true: must be a number"),
    ("{metric: log_loss, threshold: [1]}", ".threshold: [1]: must be a number"),
    ("{metric: log_loss, threshold: {a: 1}}", ".threshold: {...}: must be a number"),
    ("{metric: log_loss, threshold: null}", ".threshold: null: needs a value"),
    ("{metric: log_loss, threshold: .nan}", ".threshold: nan: must be a finite number"),
    ("{metric: log_loss, threshold: .inf}", ".threshold: inf: must be a finite number"),
    ('{metric: log_loss, against: "", min_improvement: 0}', ".against: '': must not be empty"),
    (
        "{metric: log_loss, against: champion, max_regression_abs: -0.1}",
        ".max_regression_abs: -0.1: must be at least 0",
    ),
    (
        "{metric: log_loss, against: champion, max_regression_rel: -1}",
        ".max_regression_rel: -1: must be at least 0",
    ),
    (
        "{metric: log_loss, against: champion, min_improvement: -1}",
        ".min_improvement: -1: must be at least 0",
    ),
    (
        "{metric: log_loss, max_slice_difference: -1, slices: {column: c}}",
        ".max_slice_difference: -1: must be at least 0",
    ),
    # metric: which keys go together.
    (
        "{metric: log_loss}",
        f": no rule; give threshold, or against or baseline with one of {RELATIVE}, or slices with "
        "max_slice_difference",
    ),
    ("{metric: log_loss, against: champion}", f": against needs one of {RELATIVE}"),
    ("{metric: log_loss, baseline: b.json}", f": baseline needs one of {RELATIVE}"),
    ("{metric: log_loss, max_regression_abs: 1}", ": max_regression_abs needs against or baseline"),
    (
        "{metric: log_loss, against: champion, baseline: b.json, min_improvement: 0}",
        ": against and baseline cannot stand in one gate; make a gate of each",
    ),
    (
        "{metric: log_loss, against: champion, min_improvement: 0, max_regression_rel: 0}",
        ": max_regression_rel and min_improvement cannot stand in one gate; make a gate of each",
    ),
    (
        "{metric: log_loss, threshold: 1, against: champion, min_improvement: 0}",
        ".threshold: 1: an absolute bound; against, min_improvement cannot stand beside it: make two gates",
    ),
    (
        "{metric: log_loss, threshold: 1, max_slice_difference: 1, slices: {column: c}}",
        ".threshold: 1: an absolute bound; max_slice_difference cannot stand beside it: make two gates",
    ),
    (
        '{metric: "own.metrics:profit", threshold: 1}',
        ".greater_is_better: missing; the direction of own.metrics:profit is unknown",
    ),
    (
        "{metric: trainer.auc, threshold: 1}",
        ".greater_is_better: missing; the direction of trainer.auc is unknown",
    ),
    (
        "{metric: log_loss, threshold: 1, greater_is_better: true}",
        ".greater_is_better: true: is always false for log_loss; leave it out",
    ),
    (
        '{metric: log_loss, threshold: 1, greater_is_better: "no"}',
        ".greater_is_better: 'no': must be true or false",
    ),
    (
        "{metric: log_loss, threshold: 1, columns: [price]}",
        ".columns: ['price']: only an own function (module:function) gets columns",
    ),
    (
        '{metric: "own.metrics:profit", greater_is_better: true, threshold: 1, columns: [a, a]}',
        ".columns: ['a', 'a']: each column once; 'a' appears twice",
    ),
    ("{metric: log_loss, max_slice_difference: 1}", ".max_slice_difference: 1: needs slices"),
    (
        "{metric: log_loss, baseline: b.json, min_improvement: 0, slices: {column: c}}",
        ".slices: a baseline file holds no numbers of slices; give against",
    ),
    (
        "{metric: trainer.auc, greater_is_better: true, threshold: 1, slices: {column: c}}",
        f".slices: {REPORTED_BY_TRAINER}",
    ),
    (
        "{metric: trainer.auc, greater_is_better: true, against: champion, min_improvement: 0}",
        f".against: 'champion': {REPORTED_BY_TRAINER}",
    ),
    (
        "{metric: log_loss, baseline: b.json, not_worse: {}}",
        ".not_worse: needs rows: give against, not a baseline file",
    ),
    (
        "{metric: f1, against: champion, not_worse: {}}",
        ".not_worse: f1 is not bootstrapped; allowed: log_loss, brier_score, ranked_probability_score, "
        "accuracy, roc_auc, mean_absolute_error, mean_squared_error, root_mean_squared_error, "
        "mean_absolute_percentage_error, rmspe, ndcg, mean_reciprocal_rank, perplexity, bits_per_byte, "
        "pass_rate, and own functions that return "
        "one number per row",
    ),
    (
        "{metric: rmspe, threshold: 1}",
        ".metric: 'rmspe': is for regression, the task is classification; allowed of Podium's own: log_loss, "
        "brier_score, ranked_probability_score, accuracy, roc_auc, expected_calibration_error",
    ),
    # metric: not_worse and slices.
    ("{metric: log_loss, against: champion, not_worse: null}", ".not_worse: null: needs a value"),
    (
        "{metric: log_loss, against: champion, not_worse: 0.95}",
        f".not_worse: 0.95: must be a mapping; allowed keys: {NOT_WORSE_KEYS}",
    ),
    (
        not_worse("confidense: 0.9"),
        f".not_worse.confidense: unknown key; did you mean 'confidence'? allowed: {NOT_WORSE_KEYS}",
    ),
    (not_worse("confidence: 95"), ".not_worse.confidence: 95: must be less than 1"),
    (not_worse("confidence: 0.4"), ".not_worse.confidence: 0.4: must be at least 0.5"),
    (not_worse("margin: -1"), ".not_worse.margin: -1: must be at least 0"),
    (not_worse("resamples: 10"), ".not_worse.resamples: 10: must be at least 100"),
    (not_worse("resamples: 1000000"), ".not_worse.resamples: 1000000: must be at most 100000"),
    (not_worse("resamples: 2000.5"), ".not_worse.resamples: 2000.5: must be a whole number"),
    (not_worse("seed: null"), ".not_worse.seed: null: needs a value"),
    (not_worse("seed: -1"), ".not_worse.seed: -1: must be at least 0"),
    ("{metric: log_loss, threshold: 1, slices: null}", ".slices: null: needs a value"),
    (
        "{metric: log_loss, threshold: 1, slices: team}",
        f".slices: 'team': must be a mapping; allowed keys: {SLICES_KEYS}",
    ),
    ("{metric: log_loss, threshold: 1, slices: {bins: 3}}", ".slices.column: missing"),
    (
        slices("min_suport: 1"),
        f".slices.min_suport: unknown key; did you mean 'min_support'? allowed: {SLICES_KEYS}",
    ),
    (slices("min_support: 0"), ".slices.min_support: 0: must be at least 1"),
    (
        slices("below_support: weive"),
        ".slices.below_support: 'weive': did you mean 'waive'? allowed: fail, waive",
    ),
    (slices("values: a"), ".slices.values: 'a': must be a list"),
    (slices("values: []"), ".slices.values: []: needs at least 1"),
    (slices("values: [a, 2024]"), ".slices.values[1]: 2024: must be text: write it in quotes"),
    (slices("values: [2024-01-01]"), ".slices.values[0]: 2024-01-01: must be text: write it in quotes"),
    (slices("values: [a, b, a]"), ".slices.values: ['a', 'b', 'a']: each value once; 'a' appears twice"),
    (slices("values: [a], bins: 3"), ".slices: give values or bins, not both"),
    (slices("bins: null"), ".slices.bins: null: needs a value"),
    (slices("bins: 1"), f".slices.bins: 1: {BINS}"),
    (slices("bins: 51"), f".slices.bins: 51: {BINS}"),
    (slices("bins: 2.5"), f".slices.bins: 2.5: {BINS}"),
    (slices("bins: true"), f".slices.bins: true: {BINS}"),
    (slices("bins: ten"), f".slices.bins: 'ten': {BINS}"),
    (slices("bins: []"), f".slices.bins: []: {BINS}"),
    (slices("bins: [2, 1]"), f".slices.bins: [2, 1]: {BINS}"),
    (slices("bins: [1, 1]"), f".slices.bins: [1, 1]: {BINS}"),
    (slices("bins: [false, 1]"), f".slices.bins: [False, 1]: {BINS}"),
    (slices("bins: [1, b]"), f".slices.bins: [1, 'b']: {BINS}"),
    (slices("bins: [.nan]"), f".slices.bins: [nan]: {BINS}"),
    # min_holdout_rows
    ("min_holdout_rows: 0", ".min_holdout_rows: 0: must be greater than 0"),
    ("min_holdout_rows: many", ".min_holdout_rows: 'many': must be a whole number"),
    ("min_holdout_rows: true", ".min_holdout_rows: true: must be a whole number"),
    ("{min_holdout_rows: 5, rows: 6}", ".rows: unknown key; allowed: level, min_holdout_rows"),
    # label_coverage
    ("label_coverage: 5", f".label_coverage: 5: {COVERAGE}"),
    ("label_coverage: []", f".label_coverage: []: {COVERAGE}"),
    ('label_coverage: ["no", 5]', f".label_coverage: ['no', 5]: {COVERAGE}"),
    ("label_coverage: champon", f".label_coverage: 'champon': did you mean 'champion'? {COVERAGE}"),
    ("label_coverage: labels.csv", f".label_coverage: 'labels.csv': {COVERAGE}"),
    ('label_coverage: ["no", "no"]', ".label_coverage: ['no', 'no']: each label once; 'no' appears twice"),
    (
        'label_coverage: ["no", "yess"]',
        ".label_coverage[1]: 'yess': no such label; did you mean 'yes'? allowed: no, yes",
    ),
    (
        "{label_coverage: champion, of: [modell]}",
        ".of[0]: 'modell': did you mean 'model'? allowed: model, holdout, predictions",
    ),
    ("{label_coverage: champion, of: model}", ".of: 'model': must be a list"),
    ("{label_coverage: champion, of: []}", ".of: []: needs at least 1"),
    ("{label_coverage: champion, min_rows: 0}", ".min_rows: 0: must be at least 1"),
    # schema
    ("schema: {}", ".schema: {}: needs at least 1"),
    ("schema: [x]", ".schema: ['x']: must be a mapping"),
    ("schema: {5: {}}", ".schema: key 5: must be text: write it in quotes"),
    ("schema: {'': {}}", ".schema: key '': must not be empty"),
    (column("null"), f".schema.x: null: must be a mapping; allowed keys: {COLUMN_KEYS}"),
    (column("number"), f".schema.x: 'number': must be a mapping; allowed keys: {COLUMN_KEYS}"),
    (column("{tipe: text}"), f".schema.x.tipe: unknown key; did you mean 'type'? allowed: {COLUMN_KEYS}"),
    (
        "schema: {min: {mni: 1}}",
        f".schema.min.mni: unknown key; did you mean 'min'? allowed: {COLUMN_KEYS}",
    ),
    (
        "schema: {int: {mni: 1}}",
        f".schema.int.mni: unknown key; did you mean 'min'? allowed: {COLUMN_KEYS}",
    ),
    (column("{type: float}"), ".schema.x.type: 'float': allowed: number, integer, text, boolean, datetime"),
    (column("{min: 2024-01-01}"), ".schema.x.min: 2024-01-01: must be a number"),
    (column("{max: null}"), ".schema.x.max: null: needs a value"),
    (column("{min: 3, max: 1}"), ".schema.x.min: 3: must be at most max, which is 1"),
    (column("{type: text, max: 1}"), ".schema.x.max: 1: only for type number or integer; the type is text"),
    (column("{type: number, pattern: a}"), ".schema.x.pattern: 'a': only for type text; the type is number"),
    (
        column("{pattern: (}"),
        ".schema.x.pattern: '(': must be a regular expression: missing ), unterminated subpattern at "
        "position 0",
    ),
    (
        column("{pattern: 'a{5000000000}'}"),
        ".schema.x.pattern: 'a{5000000000}': must be a regular expression: the repetition number is too "
        "large",
    ),
    (column("{allowed: 5}"), ".schema.x.allowed: 5: must be a list"),
    (column("{allowed: []}"), ".schema.x.allowed: []: needs at least 1"),
    (column("{allowed: [1, null]}"), f".schema.x.allowed[1]: null: {SCALAR}"),
    (column("{allowed: [.inf]}"), f".schema.x.allowed[0]: inf: {SCALAR}"),
    (column("{allowed: [2024-01-01]}"), f".schema.x.allowed[0]: 2024-01-01: {SCALAR}"),
    (column("{max_null_share: 2}"), ".schema.x.max_null_share: 2: must be at most 1"),
    (column("{max_null_share: -0.5}"), ".schema.x.max_null_share: -0.5: must be at least 0"),
    (column('{unique: "yes"}'), ".schema.x.unique: 'yes': must be true or false"),
    # max_train_overlap, signature, cost, max_disagreement
    ("max_train_overlap: 1.1", ".max_train_overlap: 1.1: must be at most 1"),
    ("max_train_overlap: none", ".max_train_overlap: 'none': must be a number"),
    ("{max_train_overlap: 0, columns: x}", ".columns: 'x': must be a list"),
    ("{max_train_overlap: 0, columns: [x, x]}", ".columns: ['x', 'x']: each column once; 'x' appears twice"),
    ("signature: compatable", ".signature: 'compatable': did you mean 'compatible'? allowed: compatible"),
    ("signature: true", ".signature: true: allowed: compatible"),
    (
        "{cost: latency, max_ratio: 1}",
        ".cost: 'latency': did you mean 'latency_p95'? allowed: latency_p95, throughput, load_time, "
        "model_size",
    ),
    ("cost: latency_p95", ": latency_p95 needs max_ratio"),
    ("cost: model_size", ": model_size needs one of max_ratio, max_mb"),
    ("{cost: model_size, max_ratio: 1, max_mb: 5}", ": model_size needs one of max_ratio, max_mb"),
    ("{cost: throughput, max_ratio: 1}", ".max_ratio: 1: not for throughput; allowed: min_ratio"),
    ("{cost: load_time, max_ratio: 1, max_mb: 5}", ".max_mb: 5: not for load_time; allowed: max_ratio"),
    ("{cost: load_time, max_ratio: 0}", ".max_ratio: 0: must be greater than 0"),
    ("max_disagreement: -1", ".max_disagreement: -1: must be at least 0"),
    ("{max_disagreement: 0.1, tolerance: -1}", ".tolerance: -1: must be at least 0"),
    # canary
    ("canary: 5", ".canary: 5: must be a mapping; allowed keys: days, live, shadow_rows"),
    ("canary: {}", ".canary: give one of days, shadow_rows and live; two gates make both needed"),
    (
        "canary: {days: 0.01, shadow_rows: 5}",
        ".canary: give one of days, shadow_rows and live; two gates make both needed",
    ),
    ("canary: {dais: 1}", ".canary.dais: unknown key; did you mean 'days'? allowed: days, live, shadow_rows"),
    ("canary: {days: null, shadow_rows: 5}", ".canary.days: null: needs a value"),
    ("canary: {days: 0}", ".canary.days: 0: must be greater than 0"),
    ("canary: {days: 366}", ".canary.days: 366: must be at most 365"),
    ("canary: {shadow_rows: 0.5}", ".canary.shadow_rows: 0.5: must be a whole number"),
    ("canary: {live: {labelled_rows: 50}}", ".canary.live.metric: missing"),
    (
        "canary: {live: {metric: logloss, labelled_rows: 50}}",
        ".canary.live.metric: 'logloss': did you mean 'log_loss'? allowed: log_loss, brier_score, "
        "ranked_probability_score, accuracy, roc_auc, mean_absolute_error, mean_squared_error, "
        "root_mean_squared_error, mean_absolute_percentage_error, rmspe, ndcg, mean_reciprocal_rank",
    ),
    (
        "canary: {live: {metric: rmspe, labelled_rows: 50}}",
        ".canary.live.metric: 'rmspe': is for regression, the task is classification; allowed of Podium's "
        "own: log_loss, brier_score, ranked_probability_score, accuracy, roc_auc, expected_calibration_error",
    ),
    (
        "canary: {live: {metric: f1_macro, labelled_rows: 50}}",
        ".canary.live.metric: 'f1_macro': no interval of it holds at every look, and a canary is looked at "
        "again and again; allowed: log_loss, brier_score, ranked_probability_score, accuracy, roc_auc, "
        "mean_absolute_error, mean_squared_error, root_mean_squared_error, mean_absolute_percentage_error, "
        "rmspe, ndcg, mean_reciprocal_rank",
    ),
    (
        "canary: {live: {metric: log_loss, labelled_rows: 50, not_worse: {resamples: 500}}}",
        ".canary.live.not_worse.resamples: unknown key; allowed: confidence, margin",
    ),
    (
        "canary: {live: {metric: log_loss, labelled_rows: 29}}",
        ".canary.live.labelled_rows: 29: must be at least 30",
    ),
    (
        "canary: {days: 0.5}",
        ".canary.days: 0.5: must be less than approval.expires_after, or the request expires before the "
        "canary is over",
    ),
    # A gate that is there already.
    ("{min_holdout_rows: 50, level: required}", ": the same as gates[0]"),
]


@pytest.mark.parametrize(("gate", "message"), WRONG, ids=[gate for gate, _ in WRONG])
def test_a_wrong_gate_is_explained(toy_file: ToyFile, gate: str, message: str) -> None:
    path = toy_file(gates=[{"min_holdout_rows": 50}, yaml.safe_load(gate)])
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert problem_without_line(path, caught.value) == f"gates[1]{message}"


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        (
            "{metric: log_loss, threshold: 1}",
            ".metric: 'log_loss': is for classification, the task is regression; allowed of Podium's own: "
            "mean_absolute_error, mean_squared_error, root_mean_squared_error, "
            "mean_absolute_percentage_error, rmspe",
        ),
        (
            "label_coverage: champion",
            ".label_coverage: 'champion': only a classification has labels; the task is regression",
        ),
    ],
)
def test_a_gate_for_another_task_is_explained(toy_file: ToyFile, gate: str, message: str) -> None:
    path = toy_file(task="regression", labels=[], gates=[yaml.safe_load(gate)])
    with pytest.raises(SpecError) as caught:
        load_spec(path)
    assert problem_without_line(path, caught.value) == f"gates[0]{message}"


GOOD: list[tuple[str, type[Gate], dict[str, Any]]] = [
    ("{metric: log_loss, threshold: 0.9}", MetricGate, {"threshold": 0.9, "against": None, "greater": False}),
    (
        "{metric: accuracy, threshold: 1}",
        MetricGate,
        {"threshold": 1.0, "greater": True, "own_function": False},
    ),
    (
        "{metric: neg_log_loss, against: elo, max_regression_rel: 1e-3, no_champion: fail}",
        MetricGate,
        {"max_regression_rel": 0.001, "against": "elo", "greater": True, "no_champion": "fail"},
    ),
    (
        "{metric: own.metrics:profit, greater_is_better: true, columns: [price], threshold: 5}",
        MetricGate,
        {"own_function": True, "greater": True, "columns": ("price",)},
    ),
    (
        "{metric: trainer.loss, greater_is_better: false, baseline: b.json, min_improvement: 0}",
        MetricGate,
        {"own_function": False, "greater": False, "baseline": "b.json", "min_improvement": 0.0},
    ),
    (
        "{min_holdout_rows: 500, level: advisory}",
        RowsGate,
        {"min_holdout_rows": 500, "level": Level.ADVISORY},
    ),
    (
        'label_coverage: ["no"]',
        LabelCoverageGate,
        {"label_coverage": ("no",), "of": ("model", "holdout"), "min_rows": 1},
    ),
    (
        "{label_coverage: champion, of: [predictions], min_rows: 9}",
        LabelCoverageGate,
        {"label_coverage": "champion", "of": ("predictions",), "min_rows": 9},
    ),
    ("label_coverage: data/labels.json", LabelCoverageGate, {"label_coverage": "data/labels.json"}),
    ("max_train_overlap: 0", OverlapGate, {"max_train_overlap": 0.0, "columns": ()}),
    ("{max_train_overlap: 0.1, columns: [a, b]}", OverlapGate, {"columns": ("a", "b")}),
    ("signature: compatible", SignatureGate, {"signature": "compatible", "no_champion": "pass"}),
    ("{cost: latency_p95, max_ratio: 2}", CostGate, {"cost": CostName.LATENCY_P95, "max_ratio": 2.0}),
    ("{cost: load_time, max_ratio: 2}", CostGate, {"cost": CostName.LOAD_TIME, "max_ratio": 2.0}),
    ("{cost: throughput, min_ratio: 0.5}", CostGate, {"cost": CostName.THROUGHPUT, "min_ratio": 0.5}),
    ("{cost: model_size, max_ratio: 2}", CostGate, {"max_ratio": 2.0, "max_mb": None}),
    ("{cost: model_size, max_mb: 50}", CostGate, {"max_ratio": None, "max_mb": 50.0}),
    ("max_disagreement: 0.1", DisagreementGate, {"max_disagreement": 0.1, "tolerance": 0.0}),
]


def read_gate(toy_file: ToyFile, gate: str) -> Gate:
    """The second gate of a file with this text in it."""
    path = toy_file(gates=[{"min_holdout_rows": 7}, {"min_holdout_rows": 7070}])
    path.write_text(path.read_text().replace("- min_holdout_rows: 7070", f"- {gate}"))
    return load_spec(path).gates[1]


@pytest.mark.parametrize(("text", "kind", "meaning"), GOOD, ids=[text for text, _, _ in GOOD])
def test_a_gate_means_what_it_says(
    toy_file: ToyFile, text: str, kind: type[Gate], meaning: dict[str, Any]
) -> None:
    gate = read_gate(toy_file, text)
    assert type(gate) is kind
    assert {name: getattr(gate, name) for name in meaning} == meaning


def test_a_gate_is_required_and_lets_a_first_model_pass_unless_it_says_otherwise(toy_file: ToyFile) -> None:
    gate = read_gate(toy_file, "{metric: log_loss, against: champion, max_regression_abs: 0}")
    assert isinstance(gate, MetricGate)
    assert (gate.level, gate.no_champion, gate.slices, gate.not_worse) == ("required", "pass", None, None)


def test_not_worse_without_a_word_asks_for_95_percent_confidence(toy_file: ToyFile) -> None:
    gate = read_gate(toy_file, not_worse(""))
    assert isinstance(gate, MetricGate)
    assert gate.not_worse is not None
    assert gate.not_worse.model_dump() == {"confidence": 0.95, "margin": 0.0, "resamples": 2000, "seed": 0}


def test_slices_without_a_word_are_all_values_with_30_rows_or_fail(toy_file: ToyFile) -> None:
    gate = read_gate(toy_file, "{metric: log_loss, max_slice_difference: 0.1, slices: {column: team}}")
    assert isinstance(gate, MetricGate)
    assert gate.slices is not None
    assert gate.slices.model_dump() == {
        "column": "team",
        "values": None,
        "bins": None,
        "min_support": 30,
        "below_support": "fail",
    }


@pytest.mark.parametrize(
    ("rest", "bins"),
    [("bins: 2", 2), ("bins: 50", 50), ("bins: [1]", (1,)), ("bins: [-1, 0.5, 1e3]", (-1, 0.5, 1000))],
)
def test_bins_are_a_number_of_them_or_their_inner_edges(
    toy_file: ToyFile, rest: str, bins: int | tuple[float, ...]
) -> None:
    gate = read_gate(toy_file, slices(rest))
    assert isinstance(gate, MetricGate)
    assert gate.slices is not None
    assert gate.slices.bins == bins


def test_a_schema_says_what_each_column_holds(toy_file: ToyFile) -> None:
    gate = read_gate(
        toy_file,
        "schema: {a: {}, b: {type: integer, min: 1, max: 1, max_null_share: 0.5, unique: true}, "
        'c: {type: text, pattern: "[A-Z]+"}, d: {allowed: [1, 1.5, true, one]}}',
    )
    assert isinstance(gate, SchemaGate)
    assert gate.columns_schema == {
        "a": ColumnRule(),
        "b": ColumnRule(type="integer", min=1, max=1, max_null_share=0.5, unique=True),
        "c": ColumnRule(type="text", pattern="[A-Z]+"),
        "d": ColumnRule(allowed=(1, 1.5, True, "one")),
    }
    assert [type(value) for value in gate.columns_schema["d"].allowed or ()] == [int, float, bool, str]
    assert (gate.columns_schema["a"].max_null_share, gate.columns_schema["a"].unique) == (0, False)


def test_schema_gates_that_differ_have_keys_that_differ(toy_file: ToyFile) -> None:
    gates = [read_gate(toy_file, column(rule)) for rule in ("{}", "{min: 1}", "{max: 1}")]
    assert len({gate.key for gate in gates if isinstance(gate, SchemaGate)}) == 3


def test_a_canary_may_last_almost_as_long_as_a_request(toy_file: ToyFile) -> None:
    days, rows = (read_gate(toy_file, f"canary: {{{text}}}") for text in ("days: 0.04", "shadow_rows: 9"))
    assert isinstance(days, CanaryGate)
    assert isinstance(rows, CanaryGate)
    assert (days.canary.days, days.canary.shadow_rows) == (0.04, None)
    assert (rows.canary.days, rows.canary.shadow_rows) == (None, 9)


SMALLEST = {
    "metric": "{metric: log_loss, threshold: 1}",
    "min_holdout_rows": "min_holdout_rows: 1",
    "label_coverage": "label_coverage: champion",
    "schema": "schema: {x: {}}",
    "max_train_overlap": "max_train_overlap: 0",
    "signature": "signature: compatible",
    "cost": "{cost: load_time, max_ratio: 2}",
    "max_disagreement": "max_disagreement: 0",
    "canary": "canary: {shadow_rows: 1}",
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_a_gate_is_its_key(toy_file: ToyFile, kind: str) -> None:
    assert kind_of(yaml.safe_load(SMALLEST[kind])) == kind
    assert kind_of(read_gate(toy_file, SMALLEST[kind])) == kind


@pytest.mark.parametrize("nothing", [None, 5, "metric", ["metric"], {}, {"threshold": 1}])
def test_what_is_no_gate_has_no_kind(nothing: object) -> None:
    assert kind_of(nothing) is None


OF_SEVERAL_LABELS_A_ROW = {"f1_samples", "jaccard_samples", "precision_samples", "recall_samples"}
OF_CLUSTERS = {
    "adjusted_mutual_info_score",
    "adjusted_rand_score",
    "completeness_score",
    "fowlkes_mallows_score",
    "homogeneity_score",
    "mutual_info_score",
    "normalized_mutual_info_score",
    "rand_score",
    "v_measure_score",
}


def test_every_scorer_of_scikit_learn_that_fits_can_be_named() -> None:
    fitting = set(get_scorer_names()) - OF_SEVERAL_LABELS_A_ROW - OF_CLUSTERS
    assert set(SKLEARN_METRICS) == fitting - set(OWN_METRICS)
    # Podium has its own, with the same meaning.
    assert fitting & set(OWN_METRICS) == {"accuracy", "roc_auc"}


@pytest.mark.parametrize("task", TaskKind)
def test_what_is_reported_is_of_the_task(task: TaskKind) -> None:
    assert REPORTED[task]
    assert {KNOWN_METRICS[metric].task for metric in REPORTED[task]} == {task}


@pytest.mark.parametrize("metric", sorted(SKLEARN_METRICS))
def test_a_scorer_is_of_the_task_that_scikit_learn_says(metric: str) -> None:
    from sklearn.metrics import get_scorer

    function = get_scorer(metric)._score_func
    expected = TaskKind.REGRESSION if function.__module__.endswith("_regression") else TaskKind.CLASSIFICATION
    assert SKLEARN_METRICS[metric].task is expected
    assert SKLEARN_METRICS[metric].greater_is_better
