"""The rules of the language check, each with a sentence that breaks it."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from podium.settings import PROJECT_ROOT

LONG = "A sentence " + "that goes on " * 12 + "ends."
OPENING = "After this page you can read.\n\n"


@pytest.fixture(scope="module")
def language() -> ModuleType:
    sys.path.insert(0, str(PROJECT_ROOT / "qa"))
    try:
        import check_language
    finally:
        sys.path.pop(0)
    return check_language


@pytest.mark.parametrize(
    ("markdown", "rule"),
    [
        (LONG, "long sentence"),
        (f"| a |\n|---|\n| {'word ' * 21}|", "wide cell"),
        ("Of a candidate that is slow, its own clients wait.", "genitive in front"),
        ("It has files; of each the ledger has a digest.", "genitive in front"),
        ("What is not configured is not checked.", "clause as subject"),
        ("It stops. Whoever may approve is asked.", "clause as subject"),
        ("Servers stop, so do tasks.", "verb before subject"),
        ("It moves nothing. Nor does it read.", "verb before subject"),
        ("What each means says another file.", "object in front"),
        ("A changed file trains anew.", "stiff"),
        ("The environment says where.", "stiff"),
        ("It takes a version that is there.", "stiff"),
        ("Answers do not count any more.", "stiff"),
        ("A move in MLflow cannot be told.", "stiff"),
        ("An answer to it counts no more.", "stiff"),
        ("The champion of now stays.", "stiff"),
        ("The champion serves on.", "stiff"),
        ("It is open until 12:00 UTC at most.", "stiff"),
        ("The model is frozen since Monday.", "stiff"),
        ("No version was champion yet.", "stiff"),
        ("It counts as approved by who settles.", "stiff"),
        ("The page shows what became of it.", "stiff"),
        ("The model is to be trained again.", "stiff"),
        ("The version before keeps serving.", "stiff"),
        ("A card is put up.", "stiff"),
        ("make backup # to a folder", "command outside a code block"),
    ],
)
def test_a_sentence_that_breaks_a_rule_is_found(language: ModuleType, markdown: str, rule: str) -> None:
    found = language.check("docs/page.md", OPENING + markdown)
    assert [(one.rule, one.line >= 3) for one in found if one.rule == rule] == [(rule, True)]


@pytest.mark.parametrize(
    "markdown",
    [
        "A slow candidate delays only the clients that are routed to it.",
        "What happens when you clear a task?",
        "## What runs",
        "Of course it does.",
        "No more than ten, as of now. Its files are unchanged since then; the two cannot be told apart.",
        "It serves on localhost, and goes back to the champion before that window.",
        "Write `made anew, of each the files` there.",
        "```sh\nmake backup # anew, to a folder\n```",
        f"[{'word ' * 20}](https://example.org/{'word/' * 30})",
        "One sentence, e.g. this. " * 9,
    ],
)
def test_good_sentences_code_and_addresses_are_left_alone(language: ModuleType, markdown: str) -> None:
    assert language.check("docs/page.md", OPENING + markdown) == []


@pytest.mark.parametrize(
    ("source", "rule", "text"),
    [
        ('raise Refused(f"{model}: 3 is no champion")', "stiff", "is not a"),
        ("raise Refused('Of a {x} that is slow, nobody waits.')", "genitive in front", "Of a"),
        ('log.info("Whoever asked did not see it. %s", x)', "clause as subject", "Whoever"),
        ('console.print(f"{name}: nobody knows whether it runs")', "stiff", "is unknown"),
        ('why = "the step trains" f" anew: {why}"', "stiff", "again"),
        (f'raise Refused("{"two words " * 17}")', "long sentence", "34 words"),
    ],
)
def test_a_message_that_breaks_a_rule_is_found(
    language: ModuleType, source: str, rule: str, text: str
) -> None:
    found = language.check("include/podium/steps.py", f"def step():\n    {source}\n")
    assert [(one.line, one.rule) for one in found if text in one.text] == [(2, rule)]


@pytest.mark.parametrize(
    "source",
    [
        'def step():\n    """Train anew, which is no rule of messages."""',
        "query = 'SELECT what is no message FROM events'",
        'log.info("there is no champion")',
        'names = "anew"',
        "raise Refused(f\"{model} {', '.join(names)}: run `podium is no word` again\")",
        'choices = """a\nis no list\nc\nd\ne"""',
    ],
)
def test_docstrings_queries_lists_and_good_messages_are_left_alone(language: ModuleType, source: str) -> None:
    assert language.check("include/podium/steps.py", source) == []


def test_docstrings_that_airflow_or_help_shows_are_read(language: ModuleType) -> None:
    source = '"""Train.\n\n- **train** trains anew.\n"""\n'
    assert [(one.line, one.rule) for one in language.check("dags/train.py", source)] == [(3, "stiff")]
    assert [one.rule for one in language.check("include/podium/cli/train.py", source)] == ["stiff"]
    assert language.check("include/podium/errors.py", source) == []


PAGE = """{% if asked %}
<p class="anew">Show
 {{ name | upper }} anew</p>
{# no word that is there #}
<img alt="what shall be champion">
{% endif %}<h2>What serves</h2><p>{{ "no answer counts any more" if over }} <b>It</b>
is of {% if now %}now{% else %}then{% endif %}.</p>
"""


def test_of_a_template_all_that_a_browser_shows_or_reads_out_is_read(language: ModuleType) -> None:
    found = language.check("plugins/page.html", PAGE)
    assert [(one.line, one.text.partition(":")[0]) for one in found] == [
        (2, "'anew'"),
        (5, "'shall'"),
        (6, "'any more'"),
    ]
    long = (
        "<p>{% for one in all %}A <b>sentence</b> "
        + "{{ that }} <i>stands</i> here " * 12
        + "{% endfor %}</p>"
    )
    assert [one.rule for one in language.check("plugins/page.html", long)] == ["long sentence"]


SCRIPT = """// It trains anew.
const no = "anew";
told.textContent = few ? `${count(one)} cannot be told` : "a good text";
"""


def test_of_a_script_the_texts_are_read(language: ModuleType) -> None:
    (found,) = language.check("plugins/page.js", SCRIPT)
    assert (found.line, found.text) == (3, "'cannot be told': better is unknown, or who can see it")


def test_a_page_opens_with_what_its_reader_can_do(language: ModuleType) -> None:
    page = "# Gates\n\nGates decide.\n\nAfter this you can write one.\n"
    assert [one.rule for one in language.check("docs/gates.md", page)] == ["opening"]
    assert language.check("CONTRIBUTING.md", page) == []


def test_a_finding_names_the_line_of_its_sentence(language: ModuleType) -> None:
    (found,) = language.check("README.md", "# Title\n\nA line.\nAnother one is\nhere. It trains anew.\n")
    assert (found.line, found.rule) == (5, "stiff")
    assert str(found) == "README.md:5: stiff: 'anew': better again"


def test_released_parts_of_the_changelog_are_not_read(language: ModuleType) -> None:
    text = "# Changelog\n\n## Unreleased\n\nnew\n\n## [1.0.0] - 2026-11-30\n\nold\n"
    assert language.unreleased(text) == "# Changelog\n\n## Unreleased\n\nnew\n\n"


def test_all_documents_are_checked(language: ModuleType) -> None:
    names = {str(path.relative_to(PROJECT_ROOT)) for path in language.documents()}
    pages = {str(path.relative_to(PROJECT_ROOT)) for path in (PROJECT_ROOT / "docs").rglob("*.md")}
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/adr/0001-the-ledger-decides.md"} <= names
    assert pages <= names
    assert {"include/podium/errors.py", "plugins/podium_plugin.py", "dags/lifecycle.py"} <= names
    folder = "plugins/podium_airflow/pages"
    assert {f"{folder}/templates/decision.html", f"{folder}/static/page.js"} <= names


DECISION = """# 7. A title

The decision.

## Context

Why.

## Decision

Done so.

## Consequences

Costs.

## What else was considered

Less.
"""


@pytest.mark.parametrize(
    ("decision", "rules"),
    [
        (DECISION, []),
        (DECISION.replace("7. ", ""), ["form"]),
        (DECISION.replace("7. ", "8. "), ["form"]),
        (DECISION.replace("## Consequences\n\nCosts.\n\n", ""), ["form"]),
        (DECISION.replace("The decision.\n\n", ""), ["opening"]),
    ],
)
def test_decisions_are_all_of_one_form(language: ModuleType, decision: str, rules: list[str]) -> None:
    assert [one.rule for one in language.check("docs/adr/0007-a-title.md", decision)] == rules
