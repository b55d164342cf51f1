"""The model ``bug-severity-clf``: how severe a bug report is, from its title and description.

``report_examples`` reads the exports of several bug trackers: it finds their columns, and takes out of the
texts what says nothing about the bug. What it did is counted in the log. ``train`` compares a few ways to
read texts and to weigh severities by cross-validation, and takes the simplest that none clearly beats.
"""

from __future__ import annotations

import html
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field, StrictFloat, StrictInt
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import Pipeline

from podium.training import Params, TrainedModel, TrainingExamples

log = logging.getLogger(__name__)

TEXTS = ("title", "description")
# How trackers call each column; case, blanks, underscores and hyphens do not matter. Names of an earlier line
# count first; of two columns that one line names each could be meant.
COLUMN_NAMES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "id": (("id",), ("bug_id", "bug_number", "bug_no"), ("issue_key", "key"), ("issue_id", "report_id")),
    "title": (
        ("title",),
        ("summary", "short_desc", "short_description", "bug_title", "issue_title"),
        ("subject",),
    ),
    "description": (
        ("description",),
        ("long_desc", "long_description", "full_description", "bug_description", "issue_description", "desc"),
        ("body", "text", "details"),
        ("comment", "first_comment"),
    ),
    "severity": (
        ("severity",),
        ("bug_severity", "severity_category", "severity_label", "severity_level", "issue_severity"),
        ("priority", "bug_priority", "issue_priority"),
    ),
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
        was written, and for people ``words``, how many title and description have together;
        ``attrs["counted"]`` says what was found.

    Raises:
        ValueError: A column is missing, or two may be meant; says what it may be called.
    """
    counts: Counter[str] = Counter()
    named = _with_clean_texts(_named(reports, tuple(COLUMN_NAMES)), counts)
    named["id"] = _ids(named, counts)
    named["words"] = (named["title"] + " " + named["description"]).str.count(r"\S+").astype("int64")
    kept = _with_text_of_their_own(named, counts)
    kept.attrs["counted"] = {what: count for what, count in counts.items() if count}
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
        ValueError: A column is missing, or two may be meant; says what it may be called.
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
    found = {column: _source_of(column, [str(name) for name in reports]) for column in columns}
    if other := [f"{column} from '{source}'" for column, source in found.items() if source != column]:
        log.info("Columns of the bug reports: %s.", ", ".join(other))
    return pd.DataFrame({column: reports[source] for column, source in found.items()})


def _source_of(column: str, there: Sequence[str]) -> str:
    """Return the name under which a column is there."""
    for names in COLUMN_NAMES[column]:
        alike = {_plain(name) for name in names}
        fitting = [name for name in there if _plain(name) in alike]
        if len(fitting) > 1:
            raise ValueError(
                f"each of {' and '.join(map(repr, fitting))} may be the column '{column}'; drop one of them, "
                f"or call the right one '{column}'"
            )
        if fitting:
            return fitting[0]
    allowed = ", ".join(name for names in COLUMN_NAMES[column] for name in names)
    raise ValueError(
        f"no column '{column}'; it may be called {allowed} (case, blanks, underscores and hyphens do not "
        f"matter); available: {', '.join(there)}"
    )


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


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
        max_terms: So many words and pairs at most, of title and description each; the most frequent. As many
            runs of characters, where these are learned.
        folds: Folds of the cross-validation that chooses what is learned; 0 learns words, without weights.
    """

    seed: StrictInt = Field(default=0, ge=0, lt=2**32)
    l2_strength: StrictFloat = Field(default=1.0, gt=0)
    min_reports: StrictInt = Field(default=3, ge=1)
    max_terms: StrictInt = Field(default=20_000, ge=1)
    folds: StrictInt = Field(default=3, ge=0, le=20)


@dataclass(frozen=True)
class Way:
    """A way to learn from reports.

    Attributes:
        characters: Runs of three and four characters are learned besides words and pairs of words.
        balanced: A report weighs the more, the rarer its severity is.
    """

    characters: bool = False
    balanced: bool = False

    @property
    def name(self) -> str:
        """What it is called among the metrics."""
        return "words" + "_characters" * self.characters + "_balanced" * self.balanced


# The simplest first.
WAYS = (Way(), Way(balanced=True), Way(characters=True), Way(characters=True, balanced=True))
# So many reports are enough to compare ways; the model learns from all.
_MOST_COMPARED = 2_000


def train(examples: TrainingExamples, params: Mapping[str, Any]) -> TrainedModel:
    """Fit a logistic regression on the TF-IDF weights of words and pairs of words.

    Whether it also learns runs of characters, and weighs rare severities more, is decided by the macro F1 of
    a cross-validation of at most ``_MOST_COMPARED`` reports.

    Args:
        examples: Rows of ``report_examples``, with ``TEXTS`` as inputs.
        params: See ``TrainerParams``.

    Returns:
        The fitted model, with the baseline ``majority``, which always answers the most frequent severity.
        Its metrics are the macro F1 of each way, and which was taken (``learns_characters``, ``balanced``).

    Raises:
        ValueError: Wrong params, or no text to learn from.
    """
    settings = TrainerParams.parse(params)
    columns = _columns_with_words(examples.inputs)
    scores = _scores(examples, columns, settings)
    way = _simplest_unbeaten(scores)
    log.info(
        "Macro F1 by cross-validation: %s. Taken: %s.",
        ", ".join(f"{one.name} {folds.mean():.4f}" for one, folds in scores.items()) or "not asked for",
        way.name,
    )
    features = _features(columns, settings, characters=way.characters)
    model = Pipeline([("words", features), ("classify", _logistic(settings, balanced=way.balanced))])
    return TrainedModel(
        model=model.fit(examples.inputs, examples.label),
        baselines={"majority": DummyClassifier(strategy="prior").fit(examples.inputs, examples.label)},
        metrics={
            **{f"cv_f1_macro.{one.name}": float(folds.mean()) for one, folds in scores.items()},
            "learns_characters": float(way.characters),
            "balanced": float(way.balanced),
        },
    )


def _scores(
    examples: TrainingExamples, columns: Sequence[str], settings: TrainerParams
) -> dict[Way, npt.NDArray[np.float64]]:
    """Return the macro F1 of each way on each fold; none where there is nothing to compare.

    Texts are weighed once for all folds: no label decides about them.
    """
    rows = np.sort(np.random.default_rng(settings.seed).permutation(len(examples))[:_MOST_COMPARED])
    inputs, label = examples.inputs.iloc[rows], examples.label.iloc[rows].to_numpy()
    counts = np.unique(label, return_counts=True)[1]
    folds = min(settings.folds, int(counts.min()))
    if folds < 2 or len(counts) < 2:
        return {}
    parts = list(StratifiedKFold(folds, shuffle=True, random_state=settings.seed).split(rows, label))
    weighed = {
        characters: _features(columns, settings, characters=characters).fit_transform(inputs)
        for characters in (False, True)
    }
    scores: dict[Way, npt.NDArray[np.float64]] = {}
    for way in WAYS:
        weights, f1 = weighed[way.characters].tocsr(), []
        for train_on, ask in parts:
            model = _logistic(settings, balanced=way.balanced).fit(weights[train_on], label[train_on])
            f1.append(f1_score(label[ask], model.predict(weights[ask]), average="macro"))
        scores[way] = np.array(f1)
    return scores


def _simplest_unbeaten(scores: Mapping[Way, npt.NDArray[np.float64]]) -> Way:
    """Return the first way that no other beats by more than the standard error over folds."""
    unbeaten = (way for way in scores if not any(_beats(scores[other], scores[way]) for other in scores))
    return next(unbeaten, WAYS[0])


def _beats(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> bool:
    gain = one - other
    return bool(gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)))


def _columns_with_words(inputs: pd.DataFrame) -> list[str]:
    """Return the columns that have any; trackers without descriptions exist."""
    columns = [name for name in TEXTS if inputs[name].str.contains(r"\w\w").any()]
    if not columns:
        raise ValueError(f"no words in {' or '.join(TEXTS)} of {len(inputs):,} reports")
    return columns


def _features(columns: Sequence[str], settings: TrainerParams, *, characters: bool) -> ColumnTransformer:
    parts = [(name, _weights(settings, (1, 2)), name) for name in columns]
    if characters:
        parts += [(f"{name} characters", _weights(settings, (3, 4), "char_wb"), name) for name in columns]
    return ColumnTransformer(parts)


def _weights(settings: TrainerParams, runs: tuple[int, int], of: str = "word") -> TfidfVectorizer:
    return TfidfVectorizer(
        analyzer=of,
        ngram_range=runs,
        min_df=settings.min_reports,
        max_features=settings.max_terms,
        sublinear_tf=True,
    )


def _logistic(settings: TrainerParams, *, balanced: bool) -> LogisticRegression:
    return LogisticRegression(
        C=1.0 / settings.l2_strength,
        class_weight="balanced" if balanced else None,
        max_iter=2000,
        solver="newton-cg",
        random_state=settings.seed,
    )
