"""The model ``bug-severity-clf``: how severe a bug report is, from its title and description.

``report_examples`` reads the exports of several bug trackers: it finds their columns, and takes out of the
texts what says nothing about the bug. What it did is counted in the log.
"""

from __future__ import annotations

import html
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from pydantic import Field, StrictFloat, StrictInt
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from podium.training import Params, TrainedModel, TrainingExamples

log = logging.getLogger(__name__)

TEXTS = ("title", "description")
# How trackers call each column, the first that is there counts; case, blanks and underscores do not matter.
COLUMN_NAMES: Mapping[str, tuple[str, ...]] = {
    "id": ("id", "bugid", "issuekey", "issueid", "key"),
    "title": ("title", "summary"),
    "description": ("description", "body", "comment"),
    "severity": ("severity", "bugseverity", "priority"),
}

# A text that is longer is a pasted log, and its beginning says what it is.
LONGEST_TEXT = 20_000
_SIGNATURE_LINES = 10

# Only the tags of HTML: List<String> and a < b are what people write about.
_TAGS = (
    "a|abbr|b|blockquote|body|br|center|code|dd|div|dl|dt|em|font|h[1-6]|head|hr|html|i|img|li|meta|ol|p|pre|"
    "s|small|span|strong|sub|sup|table|tbody|td|tfoot|th|thead|title|tr|tt|u|ul"
)
_HTML = re.compile(
    r"<(script|style)\b[^>]*>.*?</\1\s*>|<!--.*?-->|</?(?:" + _TAGS + r")(?:\s[^<>]*)?/?>",
    re.IGNORECASE | re.DOTALL,
)
_QUOTED = re.compile(
    r"^(?:[ \t]*>.*|On .{1,200} wrote:[ \t]*|-+ ?Original Message ?-+.*)(?:\n|\Z)", re.MULTILINE
)
_SIGNATURE = re.compile(rf"^(?:-- ?|Sent from my .*)(?:\n.*){{0,{_SIGNATURE_LINES}}}\Z", re.MULTILINE)


def report_examples(reports: pd.DataFrame) -> pd.DataFrame:
    """Turn a tracker's export into examples.

    Reports without any text are left out, and those with the text of an earlier one that has a severity.

    Args:
        reports: One row per report, with the columns of ``COLUMN_NAMES`` under one of their names there.

    Returns:
        The columns ``id``, ``title``, ``description`` (cleaned text, never empty cells), ``severity`` as it
        was written, and for people ``words``, how many title and description have together.

    Raises:
        ValueError: A column is missing; says what it may be called.
    """
    counts: Counter[str] = Counter()
    named = _with_clean_texts(_named(reports, tuple(COLUMN_NAMES)), counts)
    named["id"] = _ids(named, counts)
    named["words"] = (named["title"] + " " + named["description"]).str.count(r"\S+").astype("int64")
    kept = _with_text_of_their_own(named, counts)
    log.info(
        "%s bug reports: %s.",
        f"{len(reports):,}",
        ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "nothing to clean",
    )
    return kept


def report_inputs(reports: pd.DataFrame) -> pd.DataFrame:
    """Turn new reports into what the model takes, to score them; one without any text is left out.

    Args:
        reports: One row per report, with a title and a description under one of their names.

    Returns:
        ``TEXTS``, cleaned as for the training, with the index of ``reports``.

    Raises:
        ValueError: A column is missing; says what it may be called.
    """
    named = _with_clean_texts(_named(reports, TEXTS), Counter())
    return named[(named["title"] + named["description"]) != ""]


def _with_clean_texts(named: pd.DataFrame, counts: Counter[str]) -> pd.DataFrame:
    for column in TEXTS:
        text = named[column].fillna("").astype(str)
        counts["empty descriptions"] += int((text.str.strip() == "").sum()) if column == "description" else 0
        named[column] = pd.Series(
            [clean_text(value, counts) for value in text], index=named.index, dtype="str"
        )
    return named


def clean_text(text: str, counts: Counter[str]) -> str:
    """Take HTML, quoted mail and signatures out of a text, and make each run of blanks one.

    Args:
        text: What somebody wrote.
        counts: What was found is added here.
    """
    if len(text) > LONGEST_TEXT:
        counts["texts cut"] += 1
        text = text[:LONGEST_TEXT]
    text = text.replace("\r\n", "\n")
    if "<" in text or "&" in text:
        text, tags = _HTML.subn("\n", text)
        counts["texts with HTML"] += bool(tags)
        text = html.unescape(text)
    text, quoted = _QUOTED.subn("", text)
    counts["texts with quoted mail"] += bool(quoted)
    text, signed = _SIGNATURE.subn("", text)
    counts["texts with a signature"] += bool(signed)
    return " ".join(text.split())


def _named(reports: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    there = {re.sub(r"[\s_]", "", str(column)).casefold(): column for column in reversed(reports.columns)}
    found = {}
    for column in columns:
        names = COLUMN_NAMES[column]
        source = next((there[name] for name in names if name in there), None)
        if source is None:
            raise ValueError(
                f"no column '{column}'; it may be called {' or '.join(names)}; there are: "
                f"{', '.join(map(str, reports.columns))}"
            )
        found[column] = reports[source]
    return pd.DataFrame(found)


def _ids(named: pd.DataFrame, counts: Counter[str]) -> pd.Series:
    """Return ids as text; an empty cell among numbers makes 17.0 of 17. A report without one is itself."""
    missing = named["id"].isna()
    counts["without an id"] += int(missing.sum())
    whole = named["id"].astype("Int64") if pd.api.types.is_float_dtype(named["id"]) else named["id"]
    return whole.astype("str").mask(missing, "no id: " + named["title"])


def _with_text_of_their_own(named: pd.DataFrame, counts: Counter[str]) -> pd.DataFrame:
    said = named["words"] > 0
    counts["without any text left out"] += int((~said).sum())
    labelled = said & named["severity"].notna()
    repeated = named[labelled].duplicated(list(TEXTS)).reindex(named.index, fill_value=False)
    counts["with the text of an earlier one left out"] += int(repeated.sum())
    return named[said & ~repeated].reset_index(drop=True)


class TrainerParams(Params):
    """What a model file may set under ``params``.

    Attributes:
        seed: Random state of the estimators. The solver draws nothing; kept so that a run can name it.
        l2_strength: Weight of the squared coefficients in the loss (1 / scikit-learn's ``C``).
        min_reports: Words and pairs of words that fewer reports have are not learned.
        max_terms: So many words and pairs at most, of title and description each; the most frequent.
    """

    seed: StrictInt = Field(default=0, ge=0, lt=2**32)
    l2_strength: StrictFloat = Field(default=1.0, gt=0)
    min_reports: StrictInt = Field(default=3, ge=1)
    max_terms: StrictInt = Field(default=20_000, ge=1)


def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    """Fit a logistic regression on the TF-IDF weights of words and pairs of words.

    Args:
        examples: Rows of ``report_examples``, with ``TEXTS`` as inputs.
        params: See ``TrainerParams``.

    Returns:
        The fitted model, with the baseline ``majority``, which always answers the most frequent severity.

    Raises:
        ValueError: Wrong params, or no text to learn from.
    """
    settings = TrainerParams.parse(params)
    model = Pipeline([("words", _words(examples.inputs, settings)), ("classify", _logistic(settings))])
    return TrainedModel(
        model=model.fit(examples.inputs, examples.label),
        baselines={"majority": DummyClassifier(strategy="prior").fit(examples.inputs, examples.label)},
    )


def _words(inputs: pd.DataFrame, settings: TrainerParams) -> ColumnTransformer:
    """Weigh the words of each column; trackers without descriptions exist."""
    columns = [name for name in TEXTS if inputs[name].str.contains(r"\w\w").any()]
    if not columns:
        raise ValueError(f"no words in {' or '.join(TEXTS)} of {len(inputs):,} reports")
    return ColumnTransformer(
        [
            (
                name,
                TfidfVectorizer(
                    ngram_range=(1, 2),
                    min_df=settings.min_reports,
                    max_features=settings.max_terms,
                    sublinear_tf=True,
                ),
                name,
            )
            for name in columns
        ]
    )


def _logistic(settings: TrainerParams) -> LogisticRegression:
    return LogisticRegression(
        C=1.0 / settings.l2_strength, max_iter=2000, solver="newton-cg", random_state=settings.seed
    )
