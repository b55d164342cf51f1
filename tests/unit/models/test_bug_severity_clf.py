"""The model ``bug-severity-clf`` on its shipped, synthetic reports."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import logging
import re
import warnings
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
import yaml
from hypothesis import given
from hypothesis import strategies as st

from podium.errors import DataError, TrainerError
from podium.gates.report import GateReport
from podium.lifecycle import register, validate
from podium.model_file.loading import load_spec
from podium.model_file.spec import ModelSpec
from podium.services import Services
from podium.settings import PROJECT_ROOT
from podium.training.data import load_window, normalised_labels
from podium.training.examples import DataWindow
from podium.training.run import TrainingExamples
from podium.training.split import subset
from support.steps import new_run
from support.steps import train as train_model
from synthetic import bug_reports
from trainers.bug_severity_clf import (
    COLUMN_NAMES,
    LONGEST_TEXT,
    TrainerParams,
    clean_text,
    report_examples,
    report_inputs,
    train,
)

MODEL_FILE = PROJECT_ROOT / "include" / "models" / "bug_severity_clf.yaml"
SHIPPED = PROJECT_ROOT / "include" / "data" / "bug_reports.csv.gz"
BASELINE = PROJECT_ROOT / "qa" / "baseline_metrics.json"
SPEC = load_spec(MODEL_FILE)
AS_OF = datetime(2026, 1, 1, tzinfo=UTC)
ROWS, SEED = 4500, 0
# Without the cross-validation, which takes seconds.
QUICK = {**SPEC.params, "folds": 0}


@cache
def window() -> DataWindow:
    return load_window(SPEC, AS_OF, PROJECT_ROOT)


def raw_rows() -> list[dict[str, str]]:
    text = gzip.decompress(SHIPPED.read_bytes()).decode("utf-8-sig")
    return list(csv.DictReader(text.splitlines(keepends=True)))


def spec_of(tmp_path: Path, **changes: Any) -> ModelSpec:
    """The shipped model file with other values, in a project of its own beside the shipped data."""
    content = yaml.safe_load(MODEL_FILE.read_text())
    content["data"]["source"] = str(changes.pop("source", SHIPPED))
    path = tmp_path / MODEL_FILE.name
    path.write_text(yaml.safe_dump({**content, **changes}))
    return load_spec(path)


def write_baseline(tmp_path: Path, **numbers: float) -> None:
    (tmp_path / "qa").mkdir(exist_ok=True)
    content = {**json.loads(BASELINE.read_text()), **numbers}
    (tmp_path / "qa" / BASELINE.name).write_text(json.dumps(content))


def judge(services: Services, spec: ModelSpec) -> GateReport:
    run = new_run()
    trained = train_model(services, spec, AS_OF)
    number = register.register_version(services, spec, trained.run_id, run)
    return validate.validate_version(services, spec, number, run)


def test_the_shipped_file_has_every_wart_and_each_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    raw = raw_rows()
    assert gzip.decompress(SHIPPED.read_bytes()).startswith(b"\xef\xbb\xbf")
    assert {tuple(row) for row in raw} == {bug_reports.COLUMNS}
    once = {tuple(row.values()): row for row in raw}
    unknown = Counter(row["severity"].strip() in bug_reports.UNKNOWN_SEVERITIES for row in once.values())
    with caplog.at_level(logging.INFO, logger="trainers"):
        report = load_window(SPEC, AS_OF, PROJECT_ROOT).report
    empty = sum(not row["description"] for row in once.values())
    assert asdict(report) == {
        "read": len(raw),
        "short": 0,
        "later": 0,
        "undated": 0,
        "duplicated": len(raw) - len(once),
        "unlabelled": sum(not row["severity"] for row in once.values()),
        "unknown_labels": 65,
        "examples": 4156,
        "counted": {
            "empty descriptions": empty,
            "texts with quoted mail": 369,
            "texts with a signature": 249,
            "texts with HTML": 507,
            "texts cut": 17,
            "without an id": 14,
            "with the text of an earlier one left out": 78,
        },
    }
    assert 60 <= unknown[True] <= 70
    assert caplog.messages[-1] == (
        f"{len(once):,} bug reports: {empty} empty descriptions, 369 texts with quoted mail, "
        "249 texts with a signature, 507 texts with HTML, 17 texts cut, 14 without an id, "
        "78 with the text of an earlier one left out."
    )
    text = "".join(row["description"] for row in raw)
    assert all(wart in text for wart in ("\r\n", '"', "<br/>", "&amp;", "> > ", "報告者", "🐞", "\n-- \n"))
    for vocabulary in bug_reports.VOCABULARIES.values():
        names = {name.casefold() for level in vocabulary for name in level}
        assert names <= {row["severity"].strip().casefold() for row in raw}


def test_the_examples_hold_clean_text_and_every_label() -> None:
    for part in (window().train, window().holdout):
        assert set(part.label) == set(SPEC.labels)
        assert list(part.inputs) == ["title", "description"]
        assert not part.inputs.isna().any(axis=None)
        text = part.inputs["title"] + " " + part.inputs["description"]
        assert not text.str.contains(r"<p>|&lt;|wrote:|Thank you for your report|Jo Doe|\n").any()
        assert text.str.len().max() <= 2 * LONGEST_TEXT
        assert (part.others["words"] == text.str.split().map(len)).all()
    everything = pd.concat([window().train.inputs, window().holdout.inputs])
    assert everything["description"].str.contains("List<String>", regex=False).sum() > 400
    assert not everything.duplicated().any()
    assert 0.2 < len(window().holdout) / len(everything) < 0.3


VOCABULARIES = {
    "low medium high": "Minor Major Critical",
    "minor major critical": "Minor Major Critical",
    "trivial minor major critical blocker": "Minor Minor Major Critical Critical",
    "lowest low medium high highest": "Minor Minor Major Critical Critical",
    "enhancement trivial minor normal major critical blocker": (
        "Minor Minor Minor Major Major Critical Critical"
    ),
    "s1 s2 s3 s4": "Critical Major Major Minor",
}


@pytest.mark.parametrize(("written", "meant"), VOCABULARIES.items())
def test_every_vocabulary_is_understood_in_any_case(written: str, meant: str) -> None:
    for change in (str.lower, str.upper, str.title, "{} ".format):
        names = pd.Series([change(name) for name in written.split()])
        assert normalised_labels(names, SPEC.data.label_map).tolist() == meant.split()


def test_every_name_that_the_generator_writes_is_understood() -> None:
    for vocabulary in bug_reports.VOCABULARIES.values():
        for label, names in zip(bug_reports.SEVERITIES, vocabulary, strict=True):
            assert set(normalised_labels(pd.Series(names), SPEC.data.label_map)) == {label}


@pytest.mark.parametrize(
    ("text", "clean", "counted"),
    [
        ("<p>It <b>crashes</b></p><br/>now", "It crashes now", ["texts with HTML"]),
        ("a &lt; b &amp;&amp; c &gt; d", "a < b && c > d", []),
        ("List<String> and vector<int>, a<b", "List<String> and vector<int>, a<b", []),
        ("<style>p {x: 1}</style>text<!-- no\nmore -->", "text", ["texts with HTML"]),
        ("odd <![foo bar]> and <p", "odd <![foo bar]> and <p", []),
        ("new\n> old\n> > older\nnewer", "new newer", ["texts with quoted mail"]),
        ("On Monday, Jo wrote:\r\n> old\r\nnew", "new", ["texts with quoted mail"]),
        ("we agreed\n-----Original Message-----", "we agreed", ["texts with quoted mail"]),
        ("5 > 3 and x -- y", "5 > 3 and x -- y", []),
        ("text\n-- \nJo\nExample Ltd", "text", ["texts with a signature"]),
        ("text\nSent from my phone", "text", ["texts with a signature"]),
        ("a\n--\n" + "more\n" * 40, "a -- " + "more " * 39 + "more", []),
        ("x" * (LONGEST_TEXT + 1), "x" * LONGEST_TEXT, ["texts cut"]),
        ("", "", []),
    ],
)
def test_what_says_nothing_about_the_bug_is_taken_out(text: str, clean: str, counted: list[str]) -> None:
    counts: Counter[str] = Counter()
    assert clean_text(text, counts) == clean
    assert +counts == Counter(counted)


@given(st.lists(st.sampled_from(["<", ">", "p", "!--", "/", "&", "lt;", "script", "\n", "--", " ", "é"])))
def test_no_text_is_too_odd(pieces: list[str]) -> None:
    clean = clean_text("".join(pieces), Counter())
    assert clean == " ".join(clean.split())


def tracker(**columns: list[Any]) -> pd.DataFrame:
    return pd.DataFrame(
        {"id": [1, 2], "title": ["one", "two"], "description": ["a", "b"], "severity": ["low", "high"]}
        | columns
    )


@pytest.mark.parametrize(
    "names",
    [
        {"title": "summary"},
        {"id": "Bug ID", "title": "Summary", "severity": "Bug_Severity"},
        {"id": "Issue key", "title": "SUMMARY", "description": "Description ", "severity": "Priority"},
        # Data sets of Eclipse, Mozilla and GNOME as people publish them.
        {"id": "bug_id", "title": "short_desc", "description": "long_desc", "severity": "bug_severity"},
        {
            "id": "bug_id",
            "title": "short_description",
            "description": "long_description",
            "severity": "severity_category",
        },
        {
            "id": "Bug-ID",
            "title": "Short Desc",
            "description": "Long Description",
            "severity": "SeverityLabel",
        },
        {"id": "Issue_id", "title": "Title", "description": "Description", "severity": "Priority"},
    ],
)
def test_the_columns_of_other_trackers_are_found(names: dict[str, str]) -> None:
    export = tracker(status=["new", "new"]).rename(columns=names)
    pd.testing.assert_frame_equal(report_examples(export), report_examples(tracker()))


def test_the_names_of_the_model_file_come_first() -> None:
    both = tracker(priority=["P1", "P2"], summary=["other", "other"])
    pd.testing.assert_frame_equal(report_examples(both), report_examples(tracker()))


def test_a_severity_counts_before_a_priority_and_a_key_before_an_id() -> None:
    export = tracker(Priority=["P1", "P2"]).rename(columns={"severity": "bug_severity", "id": "Issue key"})
    found = report_examples(export.assign(**{"Issue id": [7, 8], "First comment": ["x", "y"]}))
    assert (found["severity"].tolist(), found["id"].tolist()) == (["low", "high"], ["1", "2"])


def test_what_is_taken_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="trainers"):
        report_inputs(tracker().rename(columns={"title": "Short Desc", "description": "long_description"}))
    assert (
        "Columns of the bug reports: title from 'Short Desc', description from 'long_description'."
        in caplog.text
    )


@pytest.mark.parametrize(
    ("column", "names"),
    [("title", ["Summary", "short_desc"]), ("severity", ["bug_severity", "severity_category"])],
)
def test_two_columns_that_may_be_meant_are_named(column: str, names: list[str]) -> None:
    first, second = names
    both = tracker(**{second: ["x", "y"]}).rename(columns={column: first})
    message = (
        f"each of '{first}' and '{second}' may be the column '{column}'; drop one of them, or call the right"
    )
    with pytest.raises(ValueError, match=message):
        report_examples(both)
    assert len(report_examples(both.rename(columns={second: column}))) == 2


def test_no_name_means_two_columns() -> None:
    names = [name for lines in COLUMN_NAMES.values() for line in lines for name in line]
    assert len({name.replace("_", "") for name in names}) == len(names)


def test_a_missing_column_is_named_with_what_it_may_be_called(tmp_path: Path) -> None:
    tracker().rename(columns={"title": "headline"}).to_csv(tmp_path / "export.csv", index=False)
    spec = spec_of(tmp_path, source=tmp_path / "export.csv")
    message = (
        "no column 'title'; it may be called title, summary, short_desc, .* matter.; available: id, headline"
    )
    with pytest.raises(TrainerError, match=message):
        load_window(spec, AS_OF, tmp_path)


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    tracker(title=["größer", "zwei"]).to_csv(tmp_path / "export.csv", index=False, encoding="latin-1")
    with pytest.raises(DataError, match="export.csv cannot be read: .*is not a text in UTF-8"):
        load_window(spec_of(tmp_path, source=tmp_path / "export.csv"), AS_OF, tmp_path)


def test_a_report_keeps_its_id_when_another_loses_its_own() -> None:
    assert report_examples(tracker())["id"].tolist() == ["1", "2"]
    assert report_examples(tracker(id=[1, None]))["id"].tolist() == ["1", "no id: two"]


def test_rows_that_say_nothing_new_are_left_out_but_no_severity_with_them() -> None:
    reports = tracker(
        id=[1, 2, 3, 4, 5],
        title=["one", "one", "one", None, "five"],
        description=["a", "<p>a</p>", "a", " ", None],
        severity=[None, "low", "high", "low", "low"],
    )
    kept = report_examples(reports)
    assert kept["id"].tolist() == ["1", "2", "5"]
    assert kept["description"].tolist() == ["a", "a", ""]


def test_trackers_without_descriptions_exist() -> None:
    inputs = window().train.inputs.assign(description="")
    examples = TrainingExamples(inputs, window().train.label, window().train.time)
    model = train(examples, QUICK).model
    assert model.score(window().holdout.inputs, window().holdout.label) > 0.55
    with pytest.raises(ValueError, match="no words in title or description of 3,126 reports"):
        train(TrainingExamples(inputs.assign(title="?"), examples.label, examples.time), {})


def test_the_same_examples_make_the_same_model_without_a_warning_and_skops_saves_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = (train(window().train, QUICK).model for _ in range(2))
    inputs = window().holdout.inputs
    np.testing.assert_array_equal(first.predict_proba(inputs), second.predict_proba(inputs))
    assert first.classes_.tolist() == ["Critical", "Major", "Minor"]
    saved = skops.io.dumps(first)
    assert skops.io.get_untrusted_types(data=saved) == []
    loaded = skops.io.loads(saved, trusted=[])
    np.testing.assert_array_equal(loaded.predict_proba(inputs), first.predict_proba(inputs))


def titles(words: pd.Series, rare: float = 1.0) -> TrainingExamples:
    """Shipped training reports with other titles and no description, and a share of the critical ones."""
    train_on = subset(window().train, np.arange(len(window().train)) < len(words))
    drawn = np.random.default_rng(0).random(len(words)) < rare
    kept = ((train_on.label != "Critical") | drawn).to_numpy()
    inputs = pd.DataFrame({"title": words, "description": ""})[kept].reset_index(drop=True)
    return TrainingExamples(inputs, train_on.label[kept].reset_index(drop=True), train_on.time[kept])


def test_a_rare_severity_gets_a_weight_and_compounds_are_read_by_characters() -> None:
    plain = window().train.inputs["title"][:1200]
    numbers = np.random.default_rng(0).permutation(len(plain))
    joined = plain.str.title().str.replace(" ", "").str[:25] + pd.Series(numbers).astype(str)
    rare, compounds = train(titles(plain, 0.1), SPEC.params), train(titles(joined), SPEC.params)
    assert rare.metrics["balanced"] == compounds.metrics["learns_characters"] == 1
    for trained, taken in ((rare, "words_balanced"), (compounds, "words_characters")):
        f1 = {name: value for name, value in trained.metrics.items() if name.startswith("cv_f1_macro.")}
        assert len(f1) == 4
        assert f1[f"cv_f1_macro.{taken}"] > f1["cv_f1_macro.words"] + 0.02
        assert (trained.model["classify"].class_weight == "balanced") == bool(trained.metrics["balanced"])
    saved = skops.io.dumps(compounds.model)
    assert skops.io.get_untrusted_types(data=saved) == []
    assert train(titles(joined), SPEC.params).metrics == compounds.metrics


def test_too_few_reports_of_a_severity_are_not_compared() -> None:
    train_on = window().train
    once = (train_on.label != "Critical") | ~train_on.label.duplicated()
    few = TrainingExamples(train_on.inputs[once], train_on.label[once], train_on.time[once])
    assert train(few, SPEC.params).metrics == {"balanced": 0, "learns_characters": 0}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            {"sede": 1},
            "params.sede: unknown key; did you mean 'seed'? allowed: folds, l2_strength, max_terms",
        ),
        ({"seed": -1}, "params.seed: -1: must be at least 0"),
        ({"min_reports": 0}, "params.min_reports: 0: must be at least 1"),
        ({"max_terms": True}, "params.max_terms: true: must be a whole number"),
        ({"l2_strength": 0}, "params.l2_strength: 0: must be greater than 0"),
        ({"l2_strength": "strong"}, "params.l2_strength: 'strong': must be a number"),
    ],
)
def test_wrong_params_are_refused(params: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainerError, match=re.escape(message)):
        TrainerParams.parse(params)


def test_the_model_file_names_the_params_of_the_trainer_and_many_kinds_of_gate() -> None:
    assert TrainerParams.parse(SPEC.params) == TrainerParams()
    assert len({type(gate) for gate in SPEC.gates}) >= 6


def test_the_model_passes_its_gates_on_the_shipped_reports(
    services: Services, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_baseline(tmp_path)
    spec = spec_of(tmp_path)
    with caplog.at_level(logging.INFO, logger="trainers"):
        report = judge(services, spec)
    assert report.passed, report.sentence()
    assert re.search(r"Macro F1 by cross-validation: words 0\.7\d+, .*\. Taken: words\.", caplog.text)
    baseline = json.loads(BASELINE.read_text())
    for metric in ("accuracy", "f1_macro"):
        assert report.scores.candidate[metric] == pytest.approx(baseline[metric], abs=0.005)
    assert report.scores.references["majority"]["accuracy"] < 0.45

    write_baseline(tmp_path, accuracy=0.85)
    refused = judge(services, spec)
    assert not refused.passed
    assert re.search(
        r"refused by 1 of \d+ gates: accuracy .*qa/baseline_metrics.json.* \(is 0\.77", refused.sentence()
    )


def test_a_model_of_scrambled_labels_is_refused_with_a_sentence(services: Services, tmp_path: Path) -> None:
    write_baseline(tmp_path)
    trainer = "support.bug_trainers:train_on_scrambled_labels"
    report = judge(services, spec_of(tmp_path, trainer=trainer, params=QUICK))
    assert not report.passed
    assert "f1_macro at least 0.7 (is 0." in report.sentence()
    assert "accuracy" in report.sentence()
    assert "majority" in report.sentence()


def test_a_severity_that_vanished_from_training_is_refused_by_name(
    services: Services, tmp_path: Path
) -> None:
    write_baseline(tmp_path)
    trainer = "support.bug_trainers:train_without_critical"
    report = judge(services, spec_of(tmp_path, trainer=trainer, params=QUICK))
    assert not report.passed
    assert "the model does not know Critical" in report.sentence()


def test_the_shipped_file_is_what_the_generator_writes(tmp_path: Path) -> None:
    path = tmp_path / "made.csv"
    bug_reports.main(["--rows", str(ROWS), "--seed", str(SEED), "--output", str(path)])
    assert path.read_bytes() == gzip.decompress(SHIPPED.read_bytes())
    assert bug_reports.bug_reports(50, 1) != bug_reports.bug_reports(50, 2)
    bug_reports.write_bug_reports(tmp_path / "made.csv.gz", ROWS, SEED)
    assert gzip.decompress((tmp_path / "made.csv.gz").read_bytes()) == path.read_bytes()


def test_the_data_page_tells_the_truth() -> None:
    section = (SHIPPED.parent / "README.md").read_text(encoding="utf-8").split("## bug_reports.csv.gz")[1]
    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest() in section
    assert f"--rows {ROWS} --seed {SEED} " in section
    assert "synthetic" in section
    assert SHIPPED.stat().st_size < 400_000
    assert len(raw_rows()) == ROWS
