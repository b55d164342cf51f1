"""The YAML of a model file: read within limits, with the line of each key."""

from __future__ import annotations

import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from yaml.constructor import ConstructorError, SafeConstructor

from podium.errors import SpecError
from podium.model_file.problems import MOST_PROBLEMS, Location, key_text, shown_value, with_rest

MOST_BYTES = 256 * 1024
DEEPEST = 50

# PyYAML can be installed without libyaml. Its loader in Python reads the same files, only slower: better than
# an installation whose Dags do not appear.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_NO_YAML = "not a YAML file that can be read"
_NO_YAML_CHARACTER = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# Postgres, which keeps the texts of a Dag, takes neither NUL nor half a pair; a terminal obeys the others.
NO_TEXT_CHARACTER = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_TAG = "tag:yaml.org,2002:"
_TEXT = f"{_TAG}str"
_NUMBERS = (f"{_TAG}int", f"{_TAG}float")


class _Loader(_SafeLoader):  # type: ignore[misc]
    """A number that no float can hold is an error, and 1e-3 a number (in YAML 1.1 text)."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            problem = "no number that can be read" if node.tag in _NUMBERS else str(error)
            raise ConstructorError(None, None, problem, node.start_mark) from error
        if isinstance(value, int) and abs(value) > sys.float_info.max:
            raise ConstructorError(None, None, "the number is too large", node.start_mark)
        return value


_Loader.add_implicit_resolver(
    f"{_TAG}float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


class Document(NamedTuple):
    """A model file as it was read.

    Attributes:
        content: Its keys.
        root: The same as nodes, which know where they are.
    """

    content: dict[Any, Any]
    root: yaml.MappingNode

    def line(self, location: Location) -> int:
        """Return the line, from 1, of a key or item; where it is missing, of the section that lacks it."""
        line, node = self.root.start_mark.line, self.root
        for part in location:
            found = _child(node, part)
            if found is None:
                break
            line, node = found
        return int(line) + 1


def _child(node: Any, part: int | str) -> tuple[int, Any] | None:
    """Return the line, from 0, and the value of a key or place; None where there is none."""
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        item = node.value[part]
        return item.start_mark.line, item
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        if _is_key(key, part):
            return key.start_mark.line, value
    return None


def _is_key(key: yaml.Node, part: object) -> bool:
    """True for the key of a location, which need not be text."""
    return bool(key.value == part or SafeConstructor().construct_document(key) == part)


def read_document(path: Path) -> Document:
    """Read the YAML of a model file.

    Raises:
        SpecError: The file cannot be read, has more than ``MOST_BYTES``, is no YAML or no mapping, or has
            what a model file may not have: anchors, aliases, merge keys, tags, more than ``DEEPEST`` levels,
            a text with a control character; or it is no regular file.
    """
    text = _decode(path, _read(path))
    loader = _Loader(text)
    try:
        # Before anything recursive: libyaml's composer has no bound, and would end the process.
        if found := _not_allowed(text):
            raise SpecError(path, [found])
        root = loader.get_single_node()
        if not isinstance(root, yaml.MappingNode):
            raise SpecError(path, ["line 1: a model file is a mapping of keys, starting with name: ..."])
        if wrong := list(_wrong_texts(root, ())):
            raise SpecError(path, with_rest(wrong[:MOST_PROBLEMS], len(wrong[MOST_PROBLEMS:])))
        return Document(_value(loader, root), root)
    except yaml.MarkedYAMLError as error:
        raise SpecError(path, [_syntax(error, text)]) from error
    except (ValueError, OverflowError) as error:
        # The loader in Python on an escape such as \UFFFFFFFF; libyaml says where.
        raise SpecError(path, [f"{_NO_YAML}: {error}"]) from error
    finally:
        loader.dispose()


def _value(loader: Any, node: yaml.Node) -> Any:
    """Return what a node says; PyYAML's own way there takes three times as long.

    Raises:
        ConstructorError: A key stands twice (YAML takes the last one), or is a list or a mapping.
    """
    if isinstance(node, yaml.ScalarNode):
        return node.value if node.tag == _TEXT else loader.construct_object(node)
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, item) for item in node.value]
    found: dict[Any, Any] = {}
    named = set()
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise ConstructorError(
                "while constructing a mapping", node.start_mark, "found unhashable key", key.start_mark
            )
        if key.value in named:
            raise ConstructorError(None, None, f"key '{key.value}' twice", key.start_mark)
        named.add(key.value)
        found[_value(loader, key)] = _value(loader, value)
    return found


def _read(path: Path) -> bytes:
    try:
        # To open a FIFO waits for its other end, and a device may have no end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise SpecError(path, ["is no regular file; a model file is neither folder, FIFO nor device"])
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise SpecError(path, [f"cannot be read: {error.strerror}"]) from error
    if len(content) > MOST_BYTES:
        raise SpecError(path, [f"is larger than {MOST_BYTES // 1024} KB; keep data in files of their own"])
    return content


def _decode(path: Path, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError(path, [f"line {line}: {_NO_YAML}: {error}"]) from error
    if wrong := _NO_YAML_CHARACTER.search(text):
        line = text.count("\n", 0, wrong.start()) + 1
        raise SpecError(path, [f"line {line}: {_NO_YAML}: delete the character {wrong[0]!r}"])
    return text


def _not_allowed(text: str) -> str:
    """Return the first thing that a model file may not have, with its line; "" if there is none."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        found = ""
        if isinstance(event, yaml.NodeEvent):
            depth += isinstance(event, yaml.CollectionStartEvent)
            found = _not_allowed_node(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        if depth > DEEPEST:
            found = f"nested too deeply; at most {DEEPEST} levels are allowed"
        if documents > 1:
            found = "a second document begins (---); write it into a file of its own"
        if found:
            mark: Any = event.start_mark
            return f"line {mark.line + 1}: {found}"
    return ""


def _not_allowed_node(event: Any) -> str:
    if isinstance(event, yaml.AliasEvent):
        return f"alias *{event.anchor} is not allowed; write the value out"
    if event.anchor is not None:
        return f"anchor &{event.anchor} is not allowed; delete it, and write the value out where it is needed"
    if event.tag is not None:
        return f"tag {event.tag.replace(_TAG, '!!')} is not allowed; delete it, and put text in quotes"
    return _not_allowed_text(event) if isinstance(event, yaml.ScalarEvent) else ""


def _not_allowed_text(event: yaml.ScalarEvent) -> str:
    text, (plain, _) = event.value, event.implicit
    if plain and text == "<<":
        return "merge key << is not allowed; write its keys out"
    return "a single = is no text in YAML; put it in quotes" if plain and text == "=" else ""


def _wrong_texts(node: yaml.Node, location: Location) -> Iterator[str]:
    """Say of each text with a character that no text may have, keys too, where it is and which it is."""
    if isinstance(node, yaml.ScalarNode):
        if found := _character(node):
            yield f"line {node.start_mark.line + 1}: {key_text(location)}: {shown_value(node.value)}: {found}"
    elif isinstance(node, yaml.SequenceNode):
        for place, item in enumerate(node.value):
            yield from _wrong_texts(item, (*location, place))
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and (found := _character(key)):
                where = f"{key_text(location)}: " if location else ""
                yield f"line {key.start_mark.line + 1}: {where}key {shown_value(key.value)}: {found}"
            yield from _wrong_texts(
                value, (*location, key.value if isinstance(key, yaml.ScalarNode) else "?")
            )


def _character(node: yaml.ScalarNode) -> str:
    wrong = NO_TEXT_CHARACTER.search(node.value)
    rule = "a text holds no control characters but tab and new line"
    return f"delete the character {wrong[0]!r}; {rule}" if wrong else ""


def _syntax(error: yaml.MarkedYAMLError, text: str) -> str:
    """Say where YAML ends; what was never closed is noticed at the end only, so say where it begins too."""
    mark: Any = error.problem_mark
    begins: Any = error.context_mark
    last = len(text.splitlines())
    # libyaml takes the end of the file for a line of its own.
    line, column = (mark.line + 1, f" (column {mark.column + 1})") if mark.line < last else (last, "")
    since = f", {error.context} from line {begins.line + 1}" if begins and begins.line + 1 < line else ""
    return f"line {line}: {_NO_YAML}: {error.problem}{column}{since}"
