"""Made-up bug reports in the schema of real ones, with the warts of real ones; seeded.

    python -m synthetic.bug_reports --rows 5000 --output include/data/bug_reports.csv.gz

A report has a true severity. Its sentences are drawn mostly from what people write of that severity and
partly from what they write of the neighbours, and a few reports are labelled wrongly, so no model can be
right about all of them.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from random import Random

COLUMNS = ("id", "title", "description", "severity")
SEVERITIES = ("Critical", "Major", "Minor")

# Each vocabulary's names of Critical, Major and Minor.
VOCABULARIES: dict[str, tuple[Sequence[str], Sequence[str], Sequence[str]]] = {
    "three levels": (["high"], ["medium"], ["low"]),
    "words": (["critical"], ["major"], ["minor"]),
    "Jira": (["Blocker", "Critical"], ["Major"], ["Minor", "Trivial"]),
    "Jira priorities": (["Highest", "High"], ["Medium"], ["Low", "Lowest"]),
    "Bugzilla": (["blocker", "critical"], ["major", "normal"], ["minor", "trivial", "enhancement"]),
    "Bugzilla S": (["S1"], ["S2", "S3"], ["S4"]),
}
UNKNOWN_SEVERITIES = ("--", "TBD", "to be triaged", "P2?")

_SHARES = (0.24, 0.41, 0.35)
_OWN_WORDS = 0.74
_WRONG_LABEL = 0.04

_PARTS = [
    "editor",
    "login page",
    "export dialog",
    "sync service",
    "search",
    "settings page",
    "report view",
    "mobile app",
    "installer",
    "payment form",
    "notification center",
    "file upload",
    "calendar",
    "dashboard",
    "public API",
    "user import",
    "print preview",
]
_PLATFORMS = [
    "Windows 11",
    "macOS 14",
    "Ubuntu 24.04",
    "Android 15",
    "iOS 18",
    "Firefox 139",
    "Chrome 137",
    "Safari",
    "version 4.2.1",
    "version 4.3.0-rc2",
    "the staging server",
    "our largest tenant",
]
_ACTIONS = [
    "saving",
    "opening a large project",
    "pressing Enter twice",
    "switching the language",
    "an upgrade",
    "signing in",
    "dragging a file",
    "sorting by date",
    "a lost connection",
    "resizing the window",
    "choosing another account",
    "undo",
]

_TITLES = {
    "Critical": [
        "{part} crashes after {action}",
        "Data loss in {part} after {action}",
        "Server goes down when {part} is used",
        "Segmentation fault in {part}",
        "All users locked out of {part}",
        "Passwords visible in the log of {part}",
        "{part}: records of another customer are shown",
        "{part} corrupts the database",
        "Cannot start at all on {platform}",
        "Production outage caused by {part}",
        "{part} deletes files without asking",
        "Infinite loop in {part}, machine hangs",
        "SQL injection in {part}",
        "{part} freezes for everyone after {action}",
    ],
    "Major": [
        "{part} fails after {action}",
        "{part} very slow after {action}",
        "Wrong totals in {part}",
        "{part} does not work on {platform}",
        "Timeout in {part}",
        "{part} ignores the filter",
        "Error 500 in {part} after {action}",
        "{part} shows stale data",
        "Cannot use {part} with a proxy",
        "{part} loses its settings after {action}",
        "Memory of {part} grows after {action}",
        "{part} freezes for a minute",
        "Regression: {part} broken since {platform}",
        "{part} sends mails twice",
    ],
    "Minor": [
        "Typo in {part}",
        "Icon misplaced in {part}",
        "{part}: label is cut off on {platform}",
        "Wrong colour in {part}",
        "Please add a shortcut to {part}",
        "Tooltip of {part} is missing",
        "{part}: tab order is odd",
        "Translation missing in {part}",
        "{part} flickers briefly after {action}",
        "It would be nice if {part} remembered its size",
        "Help link of {part} is outdated",
        "Scrollbar shown twice in {part}",
        "{part} shows a stale tooltip",
        "Alignment is off in {part}",
    ],
}
_IMPACTS = {
    "Critical": [
        "Nobody can work any more.",
        "The process dies with a core dump.",
        "We lost a day of orders.",
        "There is no workaround.",
        "Customers see data that is not theirs.",
        "The whole service has to be restarted.",
        "Restoring from the backup took hours.",
        "The release is blocked by this.",
        "The application exits without a message.",
        "This is exploitable from outside.",
        "All our tenants are affected.",
        "Everything that was typed is gone.",
    ],
    "Major": [
        "As a workaround we restart it every morning.",
        "The result is wrong, which is noticed only later.",
        "About a third of our users are affected.",
        "It used to work before the last update.",
        "A retry sometimes helps.",
        "The request fails with a timeout.",
        "We have to do this by hand now.",
        "The numbers do not add up.",
        "It takes minutes instead of seconds.",
        "Several customers complained.",
        "The feature cannot be used on this platform.",
        "An exception is in the log.",
    ],
    "Minor": [
        "It only looks ugly.",
        "Not urgent.",
        "Just a cosmetic issue.",
        "A retry sometimes helps.",
        "One gets used to it.",
        "The text should read differently.",
        "Everything works otherwise.",
        "Would be good for consistency.",
        "It is a few pixels off.",
        "Only the wording is confusing.",
        "Nice to have.",
        "The documentation says otherwise.",
    ],
}
_CONTEXTS = [
    "Seen on {platform}.",
    "Steps: open {part}, then try {action}.",
    "This happens with {part} after {action}.",
    "We use it daily.",
    "A screenshot is attached.",
    "I can reproduce it every time.",
    "It happens about once a day.",
    'The message says "unexpected state in {part}".',
    "Expected: {action} works as documented.",
    "Actual: it does not.",
    "The same on {platform} and on {platform}.",
    "No difference after {action}.",
    "Tell me if you need a log.",
    "First noticed in {part}.",
    "Könnte mit {part} zusammenhängen.",
    "報告者: 山田さん。",
    "Reported by Zoë from São Paulo 🐞.",
    "See also the report on {part}.",
    "Tested with {platform}, {action} and a clean profile.",
]
_NEIGHBOURS = {"Critical": ("Major",), "Major": ("Critical", "Minor"), "Minor": ("Major",)}

_QUOTE = (
    "\n\nOn Tue, 4 Mar 2025 at 10:12, Support <help@example.org> wrote:\n> Thank you for your report.\n"
    "> Does the whole service crash, or is it only a cosmetic issue?\n> > Data loss was reported earlier.\n"
)
_SIGNATURES = ("\n\n-- \nJo Doe\nExample Ltd, 1 Main Street", "\n\nSent from my phone")
_LONG = "\n  at org.example.core.Worker.run(Worker.java:{line})"
_LONG_LINES = 900

Row = tuple[str, str, str, str]


def bug_reports(rows: int, seed: int) -> list[Row]:
    """Make reports: ``COLUMNS`` as text, ``rows`` of them; the same for the same seed."""
    draw = Random(seed)  # noqa: S311 - nothing secret
    made: list[Row] = []
    while len(made) < rows:
        if made and draw.random() < 0.025:
            made.append(_again(draw, draw.choice(made), len(made)))
        else:
            made.append(_report(draw, len(made)))
    return made


def write_bug_reports(path: Path, rows: int, seed: int) -> None:
    """Write reports as spreadsheet programs do, with a byte order mark; compressed to a file ``.gz``."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(bug_reports(rows, seed))
    content = text.getvalue().encode("utf-8-sig")
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)


def _report(draw: Random, place: int) -> Row:
    severity = draw.choices(SEVERITIES, _SHARES)[0]
    title = _filled(draw, draw.choice(_TITLES[_words_of(draw, severity)]))
    return (
        "" if draw.random() < 0.004 else f"BUG-{1000 + place}",
        title[0].upper() + title[1:],
        _description(draw, severity),
        _severity_as_written(draw, severity),
    )


def _again(draw: Random, earlier: Row, place: int) -> Row:
    """Repeat an earlier report: the same row, or its text under another number."""
    number, *rest = earlier
    return (number if draw.random() < 0.5 else f"BUG-{1000 + place}", rest[0], rest[1], rest[2])


def _description(draw: Random, severity: str) -> str:
    if draw.random() < 0.04:
        return ""
    impacts = [draw.choice(_IMPACTS[_words_of(draw, severity)]) for _ in range(draw.randrange(1, 4))]
    contexts = [_filled(draw, draw.choice(_CONTEXTS)) for _ in range(draw.randrange(2, 6))]
    sentences = [*impacts, *contexts]
    draw.shuffle(sentences)
    return _with_warts(draw, sentences)


def _with_warts(draw: Random, sentences: Sequence[str]) -> str:
    if draw.random() < 0.12:
        text = "<div><p>" + "</p><p>".join(sentences) + "</p>a &lt; b &amp;&amp; List<String><br/></div>"
    else:
        text = draw.choice(("\n", " ", "\r\n", "\n\n")).join(sentences)
    if draw.random() < 0.08:
        text += _QUOTE
    if draw.random() < 0.06:
        text += draw.choice(_SIGNATURES)
    if draw.random() < 0.003:
        text += "".join(_LONG.format(line=line) for line in range(_LONG_LINES))
    return text


def _severity_as_written(draw: Random, severity: str) -> str:
    chance = draw.random()
    if chance < 0.03:
        return ""
    if chance < 0.045:
        return draw.choice(UNKNOWN_SEVERITIES)
    labelled = draw.choice(SEVERITIES) if draw.random() < _WRONG_LABEL else severity
    names = VOCABULARIES[draw.choice(list(VOCABULARIES))][SEVERITIES.index(labelled)]
    name = draw.choice(names)
    return draw.choice((name, name, name.upper(), name.lower(), f"{name} "))


def _words_of(draw: Random, severity: str) -> str:
    """Return the severity whose words the next sentence uses."""
    return severity if draw.random() < _OWN_WORDS else draw.choice(_NEIGHBOURS[severity])


def _filled(draw: Random, template: str) -> str:
    return template.format(
        part=draw.choice(_PARTS), platform=draw.choice(_PLATFORMS), action=draw.choice(_ACTIONS)
    )


def main(arguments: Sequence[str]) -> None:
    """Write a file, as the command line asks."""
    parser = argparse.ArgumentParser(prog="python -m synthetic.bug_reports", description="Write bug reports.")
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True, help="a .csv or .csv.gz file")
    asked = parser.parse_args(arguments)
    write_bug_reports(asked.output, asked.rows, asked.seed)


if __name__ == "__main__":
    main(sys.argv[1:])
