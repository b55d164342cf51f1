"""The YAML of a model file: read within limits, with the line of each key."""

from __future__ import annotations

import re
import stat
import sys
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import yaml
from yaml.constructor import ConstructorError

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
            problem = "not a number that can be read" if node.tag in _NUMBERS else str(error)
            raise ConstructorError(None, None, problem, node.start_mark) from error
        if isinstance(value, int) and abs(value) > sys.float_info.max:
            raise ConstructorError(None, None, "the number is too large", node.start_mark)
        return value


_Loader.add_implicit_resolver(
    f"{_TAG}float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


class Places(NamedTuple):
    """Where something stands: its line, from 0; of each key or item that it has the line, and what it has."""

    line: int
    parts: dict[Any, tuple[int, Places]]


class Document(NamedTuple):
    """A model file as it was read.

    Attributes:
        content: Its keys.
        places: Where they are.
    """

    content: dict[Any, Any]
    places: Places

    def line(self, location: Location) -> int:
        """Return the line, from 1, of a key or item; where it is missing, of the section that lacks it."""
        line, within = self.places.line, self.places
        for part in location:
            if part not in within.parts:
                break
            line, within = within.parts[part]
        return line + 1


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
        return _Reading(path, loader).document()
    except yaml.MarkedYAMLError as error:
        raise SpecError(path, [_syntax(error, text)]) from error
    except (ValueError, OverflowError) as error:
        # The loader in Python on an escape such as \UFFFFFFFF; libyaml says where.
        raise SpecError(path, [f"{_NO_YAML}: {error}"]) from error
    finally:
        loader.dispose()


class _Reading:
    """One way through a file, event by event: limits, values and their lines at once.

    PyYAML's own way takes four times as long. libyaml's composer has no bound, and ends the process on a
    file that nests deeply.
    """

    def __init__(self, path: Path, loader: Any) -> None:
        self._path, self._loader = path, loader
        self._wrong: list[str] = []

    def document(self) -> Document:
        """Return the only document.

        Raises:
            SpecError: There is another one, or it is no mapping, or has what a model file may not have.
            yaml.MarkedYAMLError: It is no YAML, or a key stands twice, or is a list or a mapping.
        """
        content, places = None, Places(0, {})
        while not isinstance(event := self._loader.get_event(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                if places.parts or content is not None:
                    self._refuse(event, "a second document begins (---); write it into a file of its own")
                content, places = self._value(self._next(), (), 0)
        if not isinstance(content, dict):
            raise SpecError(
                self._path, ["line 1: a model file is a mapping of keys, starting with name: ..."]
            )
        if wrong := self._wrong:
            raise SpecError(self._path, with_rest(wrong[:MOST_PROBLEMS], len(wrong[MOST_PROBLEMS:])))
        return Document(content, places)

    def _next(self) -> Any:
        event = self._loader.get_event()
        if found := _not_allowed(event):
            self._refuse(event, found)
        return event

    def _refuse(self, event: Any, found: str) -> NoReturn:
        raise SpecError(self._path, [f"line {event.start_mark.line + 1}: {found}"])

    def _value(self, event: Any, location: Location, depth: int) -> tuple[Any, Places]:
        line = event.start_mark.line
        if isinstance(event, yaml.ScalarEvent):
            if found := _character(event):
                where, shown = key_text(location), shown_value(event.value)
                self._wrong.append(f"line {line + 1}: {where}: {shown}: {found}")
            return self._scalar(event), Places(line, {})
        if depth == DEEPEST:
            self._refuse(event, f"nested too deeply; at most {DEEPEST} levels are allowed")
        if isinstance(event, yaml.SequenceStartEvent):
            return self._items(line, location, depth + 1)
        return self._keys(event, location, depth + 1)

    def _items(self, line: int, location: Location, depth: int) -> tuple[list[Any], Places]:
        found: list[Any] = []
        places = Places(line, {})
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            value, within = self._value(event, (*location, len(found)), depth)
            places.parts[len(found)] = within.line, within
            found.append(value)
        return found, places

    def _keys(self, begins: Any, location: Location, depth: int) -> tuple[dict[Any, Any], Places]:
        found: dict[Any, Any] = {}
        places, named = Places(begins.start_mark.line, {}), set()
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                context, problem = "while constructing a mapping", "found unhashable key"
                raise ConstructorError(context, begins.start_mark, problem, event.start_mark)
            # YAML takes the last one.
            if event.value in named:
                twice: Any = event.start_mark
                raise ConstructorError(None, None, f"key '{event.value}' twice", twice)
            named.add(event.value)
            key, line = self._key(event, location)
            found[key], within = self._value(self._next(), (*location, event.value), depth)
            # A location names a key as it is, or as it is written.
            places.parts[key] = places.parts[event.value] = line, within
        return found, places

    def _key(self, event: Any, location: Location) -> tuple[Any, int]:
        line = event.start_mark.line
        if found := _character(event):
            where = f"{key_text(location)}: " if location else ""
            self._wrong.append(f"line {line + 1}: {where}key {shown_value(event.value)}: {found}")
        return self._scalar(event), line

    def _scalar(self, event: Any) -> Any:
        # What begins like no number, date, truth value or null is text, as is all in quotes.
        plain = event.implicit[0] and event.value[:1] in _Loader.yaml_implicit_resolvers
        tag = self._loader.resolve(yaml.ScalarNode, event.value, event.implicit) if plain else _TEXT
        if tag == _TEXT:
            return event.value
        node = yaml.ScalarNode(tag, event.value, event.start_mark, event.end_mark)
        return self._loader.construct_object(node)


def _read(path: Path) -> bytes:
    try:
        # To open a FIFO waits for its other end, and a device may have no end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise SpecError(path, ["is not a regular file; a model file is neither folder, FIFO nor device"])
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


def _not_allowed(event: Any) -> str:
    """Say what of this a model file may not have; "" if nothing."""
    if isinstance(event, yaml.AliasEvent):
        return f"alias *{event.anchor} is not allowed; write the value out"
    if not isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)):
        return ""
    if event.anchor is not None:
        return f"anchor &{event.anchor} is not allowed; delete it, and write the value out where it is needed"
    if event.tag is not None:
        return f"tag {event.tag.replace(_TAG, '!!')} is not allowed; delete it, and put text in quotes"
    return _not_allowed_text(event) if isinstance(event, yaml.ScalarEvent) else ""


def _not_allowed_text(event: Any) -> str:
    if event.value not in ("<<", "=") or not event.implicit[0]:
        return ""
    if event.value == "<<":
        return "merge key << is not allowed; write its keys out"
    return "a single = is not text in YAML; put it in quotes"


def _character(event: Any) -> str:
    wrong = NO_TEXT_CHARACTER.search(event.value)
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
