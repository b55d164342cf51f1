"""What of a text can be seen: the one rule for forms, terminals, pictures and messages."""

import unicodedata

# Control, format (bidi, zero-width), surrogate, private, unassigned, and the separators of lines.
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Unicode calls them letters, symbols or marks, and yet nothing is seen of them:
# https://www.unicode.org/Public/17.0.0/ucd/DerivedCoreProperties.txt, Default_Ignorable_Code_Point
_BLANKS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
    # Variation selectors, but for the last of the first sixteen: it makes a picture of a sign, as in emoji.
    + "".join(map(chr, [*range(0x180B, 0x1810), *range(0xFE00, 0xFE0F), *range(0xE0100, 0xE01F0)]))
)


def is_unseen(character: str) -> bool:
    """Tell control, bidi, zero-width, unassigned and blank characters; a line feed is none."""
    return character != "\n" and (
        unicodedata.category(character) in _UNSEEN_CATEGORIES or character in _BLANKS
    )


def visible(text: str) -> str:
    """Return a text with an escape as in Python for each character that cannot be seen; lines stay."""
    return "".join(_escape(letter) if is_unseen(letter) else letter for letter in text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """Return a text as ``visible`` does, with its line feeds escaped as well."""
    return visible(text).replace("\n", "\\n")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
