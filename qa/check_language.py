"""Check the language of README, docs/, CONTRIBUTING, SECURITY, the unreleased CHANGELOG, and of messages.

    python qa/check_language.py [--counts] [FILE ...]

Finds long sentences, wide table cells, inverted clauses, stiff words, commands outside a code block and pages
that do not open with what the reader can do after them. Code and links' addresses are not read.

In Python files it reads the texts that people may see: errors, logs, the console, cards, help, findings. In
templates of pages and their scripts it reads what a browser shows or reads out.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

from jinja2 import Environment
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
MOST_WORDS_IN_A_SENTENCE = 32
MOST_WORDS_IN_A_CELL = 20
# A promise and its mechanism are read together, in one row.
WIDER_CELLS = {"docs/guarantees.md": 50}
# Architecture decision records, and the sections that each of them has.
DECISIONS = "docs/adr/"
SECTIONS = ["Context", "Decision", "Consequences", "What else was considered"]
# Airflow shows the docstrings of Dags, and `--help` those of commands.
SHOWN_DOCSTRINGS = ("dags/", "include/podium/cli/")
# A longer literal is SQL or a list.
MOST_LINES_OF_A_MESSAGE = 4
# Code in a text stands for one word.
CODE = "Code"
# Where a template chooses: what is on both sides is never one sentence.
CHOICE = "\0"
_IN_A_PAGE = {"variable_begin": CODE, "block_begin": CHOICE}
# Elements within a line, elements that are headings or labels, and attributes that people see or hear.
INLINE = {"a", "b", "code", "i", "small", "span", "time"}
HEADS = {"button", "caption", "h1", "h2", "h3", "label", "legend", "option", "summary", "th"}
SAID = {"alt", "aria-label", "placeholder", "title"}

# The first words of a clause.
_START = r"(?:^|(?<=[;:] ))"
INVERTED = {
    "genitive in front": rf"{_START}Of (?!course)|(?<=[;:] )of (?:a|an|the|each|its|two|these) ",
    "clause as subject": rf"{_START}(?:What|Who|Whoever|Whatever) (?![^.]*\?)(?![\w ]+:)",
    "verb before subject": r"[,;:] so (?:do|does|did|is|are|has|have|goes|too)\b"
    r"|\b[Nn]or (?:do|does|did|may|can|is|are)\b",
    "object in front": r"\b[Ww]hat (?:each|this|that|it|they) \w+ says\b|^Not \w+ (?:is|are) ",
}
# A pattern of words, and what to write in their place.
STIFF = {
    r"\banew\b": "again",
    r"\bshall\b": "must, or will",
    r"\bas ever\b": "as always, or nothing",
    r"\bloopback\b": "localhost",
    r"\bthrown away\b": "disposable",
    r"\b(?:made|trains?|trained|a run) on less\b": "trial run",
    r"\banswers? otherwise\b": "disagrees",
    r"\b(?:that|which) (?:is|are) (?:already )?there\b|\b(?:is|are) there already\b": "exists",
    r"\bis not there\b|\bhas to be there\b|\bmust be there\b": "does not exist, is required",
    r"\b(?:environment|variable|files?|document|column|tag|alias|card) (?:says?|tells?|knows?)\b": "a verb "
    "for things (names, holds, sets): people and programs speak",
    r"\bother ones\b|\bnew ones\b": "the noun",
    r"\bthat is what\b|\bthis is what\b|\bwhich is where\b": "the direct sentence",
    r"\bmended\b|\bmends?\b(?! MODEL)": "fix",
    r"\bbears? (?:the|that) alias\b": "has",
    r"\bis asked nothing\b": "nobody asks",
    r"\bis none\b": "is not one",
    r"\b(?<!other )any more\b(?! than)": "no longer",
    r"\bcan(?:not)? be told\b(?! apart)": "is unknown, or who can see it",
    r"\bcounts? no more\b": "no longer counts",
    r"(?<!as )\bof now\b": "present",
    r"\bserves on(?=[.,;]| until|$)": "keeps serving",
    r"\buntil [^.;]{1,40} at most\b": "at the latest",
    r"\b(?:is|are)(?: not)?(?: (?!unchanged)\w+ed| champion,?| frozen| open| held)? since\b": "has been",
    r"\b(?:was|were) (?:\w+ )?yet\b": "has been",
    r"\b(?:by|from|of|to|with) who(?:ever)? [a-z]": "the noun",
    r"\bwhat (?:becomes?|became|comes?|came) of\b": "result, outcome",
    r"(?<!what )\b(?:is|are) to be \w+ed\b": "will be, must be",
    r"\b[Tt]he (?:champion|version) before(?=$|[.,;:\]]| (?:and|as|cannot|is|keeps|serves|stays|was)\b)": (
        "the previous one"
    ),
    r"\bput up\b": "created, shown",
}
# Patterns of messages only.
STIFF_MESSAGES = {
    r"(?<!there )(?<!There )\b(?:is|are) no (?!longer|more|newer|older|better|other)": "is not a",
    r"\bnobody knows (?:if|what|when|which|whether)\b": "is unknown",
    r"\bby what came of it\b": "by outcome",
    r"\bgo(?:es)? on\b(?! record)": "continues",
    r"\bwhoever\b": "everybody who, or the noun",
    r"\bas it (?:must|should) be\b": "what is expected",
    r"\bthere are: ": "available: ",
    r"\b(?:was|were|is|are) told\b": "knows, was notified",
}
_WORDS = re.compile(r"[A-Za-z]{2,} [a-z]{2,}")
_COMMAND = re.compile(
    r"^(?:\$ |make [a-z-]+(?: |$)|\.venv/bin/|export [A-Z]|podium [a-z-]+ |sudo |curl |docker )"
)
_PROMISE = re.compile(r"\b(?:you|your|yours)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<! vs\.)\s+(?=[A-Z0-9\"'(*])")


@dataclass(frozen=True)
class Passage:
    """A paragraph, heading or table cell, as read: without marks, addresses and code."""

    line: int
    kind: str
    text: str


@dataclass(frozen=True, order=True)
class Finding:
    """What is wrong, and where."""

    path: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.text}"


def passages(markdown: str) -> Iterator[Passage]:
    """Return what a reader reads, in order."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    for before, token in pairwise(tokens):
        if token.type == "inline" and token.map:
            kind = {"heading_open": "heading", "td_open": "cell", "th_open": "cell"}.get(before.type, "prose")
            yield Passage(token.map[0] + 1, kind, "".join(map(_read, token.children or [])))


def _read(token: Token) -> str:
    if token.type == "code_inline":
        return CODE
    if token.type in ("softbreak", "hardbreak"):
        return "\n"
    return token.content if token.type == "text" else ""


def sentences(passage: Passage) -> Iterator[Passage]:
    """Return the sentences of a passage, each with the line that it begins on."""
    start = 0
    for end in [match.start() for match in _SENTENCE.finditer(passage.text)] + [len(passage.text)]:
        text = passage.text[start:end]
        skipped = len(text) - len(text.lstrip())
        line = passage.line + passage.text.count("\n", 0, start + skipped)
        yield Passage(line, passage.kind, " ".join(text.split()))
        start = end


def docstrings(source: str) -> Iterator[Passage]:
    """Return the docstrings of a Python file, which Airflow or ``--help`` shows."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Module, ast.FunctionDef)) and (text := ast.get_docstring(node)):
            line = node.body[0].lineno - 1
            yield from (replace(passage, line=line + passage.line) for passage in passages(text))


def messages(source: str) -> Iterator[Passage]:
    """Return the texts in a Python file that people may read; docstrings, SQL and lists are none of them."""
    tree = ast.parse(source)
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    skipped = documented | {
        id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            values = [part.value if isinstance(part, ast.Constant) else CODE for part in node.values]
            text = "".join(map(str, values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            text = node.value
        else:
            continue
        if _WORDS.search(text) and "SELECT" not in text and text.count("\n") < MOST_LINES_OF_A_MESSAGE:
            yield Passage(node.lineno, "prose", _without_code(text))


class _Page(HTMLParser):
    """Collects what a page of HTML says, block by block; a choice of its template ends a block, too."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Passage] = []
        self._text, self._line, self._kind = "", 1, "prose"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in INLINE:
            self._end()
            self._kind = "heading" if tag in HEADS else "prose"
        said = [text for name, text in attrs if name in SAID and text]
        self.found += [Passage(self.getpos()[0], "heading", text.replace(CHOICE, " ")) for text in said]

    def handle_endtag(self, tag: str) -> None:
        if tag not in INLINE:
            self._end()

    def handle_data(self, data: str) -> None:
        line = self.getpos()[0]
        for text in re.split(f"({CHOICE})", data):
            if text == CHOICE:
                self._end()
                continue
            if not self._text.strip():
                self._text, self._line = "", line + text[: len(text) - len(text.lstrip())].count("\n")
            self._text += text
            line += text.count("\n")

    def close(self) -> None:
        super().close()
        self._end()

    def _end(self) -> None:
        if text := self._text.strip():
            self.found.append(Passage(self._line, self._kind, text))
        self._text = ""


def of_template(source: str) -> Iterator[Passage]:
    """Return what a page made of a Jinja template says: its text, and the texts in its expressions."""
    page = ""
    for line, kind, text in Environment(autoescape=True).lex(source):
        if kind == "string" and _WORDS.search(text):
            yield Passage(line, "heading", text.strip("\"'"))
        # As many lines as the template has.
        page += text if kind == "data" else _IN_A_PAGE.get(kind, "") + "\n" * text.count("\n")
    parser = _Page()
    parser.feed(page)
    parser.close()
    yield from parser.found


_SCRIPT_TEXT = re.compile(r'//[^\n]*|"((?:[^"\\\n]|\\.)*)"|`((?:[^`\\]|\\.)*)`')


def of_script(source: str) -> Iterator[Passage]:
    """Return the texts in a script of a page that people may read."""
    for found in _SCRIPT_TEXT.finditer(source):
        text = re.sub(r"\$\{[^}]*\}", CODE, found[1] or found[2] or "")
        if _WORDS.search(text):
            yield Passage(source.count("\n", 0, found.start()) + 1, "prose", text)


def _without_code(text: str) -> str:
    return re.sub(r"`[^`]*`", CODE, text)


def _of_python(path: str, source: str) -> Iterator[Passage]:
    yield from messages(source)
    if path.startswith(SHOWN_DOCSTRINGS):
        yield from docstrings(source)


def _check_messages(path: str, read: Iterable[Passage]) -> Iterator[Finding]:
    for message in read:
        for sentence in sentences(message):
            yield from _check_sentence(path, sentence)
            for pattern, better in STIFF_MESSAGES.items():
                if match := re.search(pattern, sentence.text):
                    yield Finding(path, sentence.line, "stiff", f"{match[0]!r}: better {better}")


def check(path: str, markdown: str) -> list[Finding]:
    """Return what is wrong with the language of a document, of a Python file's messages, or of a page."""
    match Path(path).suffix:
        case ".py":
            return sorted(set(_check_messages(path, _of_python(path, markdown))))
        case ".html":
            return sorted(set(_check_messages(path, of_template(markdown))))
        case ".js":
            return sorted(set(_check_messages(path, of_script(markdown))))
    found = list(_check_passages(path, passages(markdown)))
    if path.startswith(DECISIONS):
        found += _check_form(path, markdown)
    elif path.startswith("docs/") and not _opens_with_a_promise(markdown):
        found.append(Finding(path, 1, "opening", "say what the reader can do after it"))
    return sorted(found)


def _check_form(path: str, markdown: str) -> Iterator[Finding]:
    """Check that a decision has a number, a first sentence that tells it, and the sections of all others."""
    read = list(passages(markdown))
    title, *sections = [passage.text for passage in read if passage.kind == "heading"]
    number = int(Path(path).name.split("-")[0])
    if not title.startswith(f"{number}. "):
        yield Finding(path, 1, "form", f"begin the title with its number, {number}.")
    if sections != SECTIONS:
        yield Finding(path, 1, "form", f"the sections of a decision are {', '.join(SECTIONS)}, in this order")
    if len(read) > 1 and read[1].kind != "prose":
        yield Finding(path, read[1].line, "opening", "say what the decision is before its context")


def _check_passages(path: str, read: Iterable[Passage]) -> Iterator[Finding]:
    for passage in read:
        words = len(passage.text.split())
        if passage.kind == "cell" and words > WIDER_CELLS.get(path, MOST_WORDS_IN_A_CELL):
            yield Finding(path, passage.line, "wide cell", f"{words} words: {_short(passage.text)}")
        if passage.kind == "prose" and _COMMAND.match(passage.text):
            yield Finding(path, passage.line, "command outside a code block", _short(passage.text))
        for sentence in sentences(passage):
            yield from _check_sentence(path, sentence)


def _check_sentence(path: str, sentence: Passage) -> Iterator[Finding]:
    words = len(sentence.text.split())
    if sentence.kind == "prose" and words > MOST_WORDS_IN_A_SENTENCE:
        yield Finding(path, sentence.line, "long sentence", f"{words} words: {_short(sentence.text)}")
    for rule, pattern in INVERTED.items() if sentence.kind != "heading" else ():
        if match := re.search(pattern, sentence.text):
            yield Finding(path, sentence.line, rule, _short(sentence.text[match.start() :]))
    for pattern, better in STIFF.items():
        if match := re.search(pattern, sentence.text):
            yield Finding(path, sentence.line, "stiff", f"{match[0]!r}: better {better}")


def _opens_with_a_promise(markdown: str) -> bool:
    first = next((passage.text for passage in passages(markdown) if passage.kind == "prose"), "")
    return bool(_PROMISE.search(first))


def _short(text: str) -> str:
    return text if len(text) <= 70 else text[:67] + "..."


def unreleased(changelog: str) -> str:
    """Return the part of a changelog before its first released version."""
    return re.split(r"^## \[?\d", changelog, maxsplit=1, flags=re.MULTILINE)[0]


def documents(root: Path = ROOT) -> list[Path]:
    """Return the documents, Python files, templates and scripts that are checked."""
    top = [root / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
    return [path for path in top if path.is_file()] + [
        path
        for folder, kind in (
            ("docs", "*.md"),
            ("include/podium", "*.py"),
            ("plugins", "*.py"),
            ("plugins", "*.html"),
            ("plugins", "*.js"),
            ("dags", "*.py"),
        )
        for path in sorted((root / folder).rglob(kind))
    ]


def findings(paths: Sequence[Path], root: Path = ROOT) -> list[Finding]:
    """Return what is wrong with the language of these documents."""
    found = []
    for path in paths:
        markdown = path.read_text(encoding="utf-8")
        if path.name == "CHANGELOG.md":
            markdown = unreleased(markdown)
        found += check(str(path.resolve().relative_to(root)), markdown)
    return found


def main() -> int:
    """Print the findings; exit with 1 if there is one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="documents; without it all")
    parser.add_argument("--counts", action="store_true", help="print how many of each rule, and where")
    options = parser.parse_args()
    found = findings(options.files or documents())
    lines: Iterable[object] = found
    if options.counts:
        counts = Counter(finding.rule for finding in found), Counter(finding.path for finding in found)
        lines = [f"{number:5} {name}" for count in counts for name, number in count.most_common()]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
