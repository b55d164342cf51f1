"""What a file among the model files may hold: any text or bytes, a shipped file with some of it odd."""

from __future__ import annotations

import copy
import re
from typing import Any

import yaml
from hypothesis import strategies as st

from podium.model_file.document import read_document
from podium.settings import PROJECT_ROOT

SHIPPED = sorted((PROJECT_ROOT / "include" / "models").glob("*.yaml"))

WORDS = st.sampled_from(
    sorted({word for path in SHIPPED for word in re.findall(r"\S+|\n *", path.read_text())})
)
SIGNS = st.sampled_from(
    ["&", "*", "<<: ", "!!", "[", "{", "}", "]", "? ", ": ", "- ", "|\n", "'", '"', "%", "\t"]
)
ODD = st.sampled_from(
    ["0x1F", "1:30", "2024-01-01", ".nan", "1e400", "~", "on", "=", "0b_", "a{9999999999}", "(" * 999]
)
PIECES = st.lists(WORDS | SIGNS | ODD | st.text(max_size=3), max_size=12).map(" ".join)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A shipped model file with some of it replaced."""
    text = draw(st.sampled_from(SHIPPED)).read_text()
    begin = draw(st.integers(0, len(text)))
    return text[:begin] + draw(PIECES) + text[draw(st.integers(begin, min(len(text), begin + 40))) :]


KEYS = st.sampled_from(
    sorted({word for path in SHIPPED for word in re.findall(r"([\w-]+):", path.read_text())})
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.dates() | st.datetimes() | st.text() | ODD
)
CONTENT = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | SCALARS, inner, max_size=5),
    max_leaves=12,
)

CONTENTS = [read_document(path).content for path in SHIPPED]


@st.composite
def replaced(draw: st.DrawFn) -> Any:
    """What a shipped model file holds, with one of its values replaced."""
    content = copy.deepcopy(draw(st.sampled_from(CONTENTS)))
    section = content
    while True:
        key = draw(st.sampled_from(list(section) if isinstance(section, dict) else range(len(section))))
        if not isinstance(section[key], dict | list) or not section[key] or draw(st.booleans()):
            section[key] = draw(CONTENT)
            return content
        section = section[key]


def written(content: Any) -> str:
    return yaml.safe_dump(content, allow_unicode=True)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


ANY_FILE = st.binary() | (st.text() | PIECES | damaged() | replaced().map(written)).map(_encoded)
