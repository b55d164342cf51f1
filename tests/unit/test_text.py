"""What of a text cannot be seen is escaped, and nothing else."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from podium.text import is_unseen, one_line, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größer, 第二版 ❤️ é\nnext line", "größer, 第二版 ❤️ é\nnext line"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x1b]8;;http://e.example\x07here\x1b]8;;\x07", r"\x1b]8;;http://e.example\x07here\x1b]8;;\x07"),
        ("\x9b2J and \x7f", r"\x9b2J and \x7f"),
        ("approved\rrejected", r"approved\rrejected"),
        ("two\r\nlines", "two\nlines"),
        ("a\tb\x00c", r"a\tb\x00c"),
        ("\u202edevorppa\u202c", r"\u202edevorppa\u202c"),
        ("\u2066\u200b\u2028\ufeff\u3164\u2800\u00ad", r"\u2066\u200b\u2028\ufeff\u3164\u2800\xad"),
        ("\U000e0041 \U000e0101 \ue000 \ud800", r"\U000e0041 \U000e0101 \ue000 \ud800"),
    ],
)
def test_what_cannot_be_seen_is_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert visible(shown) == shown
    assert one_line(text) == shown.replace("\n", r"\n")


def test_no_character_of_unicode_that_steers_a_terminal_is_left() -> None:
    left = [chr(code) for code in range(sys.maxunicode + 1) if visible(chr(code)) == chr(code)]
    assert {unicodedata.category(letter)[0] for letter in left if letter != "\n"} <= set("LMNPSZ")
    assert not [letter for letter in left if is_unseen(letter)]
    # Each escape can be read back, so no two characters look the same.
    for code in (0x1B, 0x202E, 0x110BD, 0x1D173, 0xE0101):
        assert visible(chr(code)).encode().decode("unicode_escape") == chr(code)
