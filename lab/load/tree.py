"""YAML text to plain data, with the place of every key and value.

PyYAML only splits the text into events here. Scalars follow the core schema of YAML 1.2 (section 10.3.2), so
that `on`, `12:34` and MAC addresses stay text. What makes YAML surprising or dangerous is refused: anchors,
aliases, tags, merge keys, repeated keys, several documents, deep nesting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import yaml

from lab.load.problem import error_at
from lab.spec.quoting import escape, show

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST = 16
_LONGEST_NUMBER = 32

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# YAML 1.2, section 5.1.
_UNPRINTABLE = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Path = tuple[str | int, ...]


class Mark(NamedTuple):
    """A place in the text; both numbers count from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Located:
    """A document.

    Attributes:
        data: dicts with text keys, lists and scalars.
        keys: where each mapping's key is, by the path of its value.
        values: where each value begins, by its path; () is the document.
    """

    data: Any
    keys: dict[Path, Mark]
    values: dict[Path, Mark]


def parse(text: str | bytes, source: str) -> Located:
    """Parse one YAML document.

    Raises:
        TopologyError: the text is no YAML, or uses what is refused here.
    """
    decoded = _decoded(text, source).removeprefix("\ufeff")
    if found := _UNPRINTABLE.search(decoded):
        character = escape(found.group())
        raise error_at(source, _mark_at(decoded, found.start()), (), f'found the character "{character}"; remove it')
    try:
        return _Reader(decoded, source).document()
    except yaml.YAMLError as error:
        raise _syntax_error(error, source, decoded) from error
    except (ValueError, OverflowError) as error:
        # PyYAML without libyaml says so of numbers in escapes and directives.
        raise error_at(source, Mark(1, 1), (), f"not YAML: {escape(str(error))}") from error


def _decoded(text: str | bytes, source: str) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        place = _mark_at(text[: error.start].decode(), error.start)
        found = f"byte {error.start} is 0x{text[error.start]:02x}"
        raise error_at(source, place, (), f"{found}, which is not UTF-8; save the file as UTF-8") from error


def _mark_at(text: str, offset: int) -> Mark:
    lines = re.split(r"\r\n|\r|\n", text[:offset])
    return Mark(len(lines), len(lines[-1]) + 1)


def _syntax_error(error: yaml.YAMLError, source: str, text: str) -> Exception:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = escape(str(getattr(error, "problem", None) or error), limit=120)
    context = getattr(error, "context", None)
    place = Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)
    lines = text.splitlines()
    line = lines[place.line - 1] if place.line <= len(lines) else ""
    if line[place.column - 1 : place.column] == "\t" or "\t" in line[: len(line) - len(line.lstrip())]:
        return error_at(source, place, (), "found a tab; YAML is indented with spaces; put spaces in its place")
    where = f" ({escape(context, limit=80)})" if context else ""
    return error_at(source, place, (), f"not YAML: {problem}{where}")


class _Reader:
    """Reads the events of one document into data and marks."""

    def __init__(self, text: str, source: str) -> None:
        self._events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))
        self._source = source
        self._keys: dict[Path, Mark] = {}
        self._values: dict[Path, Mark] = {}

    def document(self) -> Located:
        """Read the whole text."""
        next(self._events)  # StreamStart
        if isinstance(next(self._events), yaml.StreamEndEvent):
            self._refuse(Mark(1, 1), (), "the file is empty; a topology has name, networks and nodes")
        data = self._value((), next(self._events))
        next(self._events)  # DocumentEnd
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            self._refuse(_mark(after), (), "a second YAML document begins; a file is one topology; split the file")
        return Located(data, self._keys, self._values)

    def _value(self, path: Path, event: Any) -> Any:
        mark = _mark(event)
        self._refuse_extras(mark, path, event)
        if len(path) > _DEEPEST:
            self._refuse(mark, path[:3], f"nested more than {_DEEPEST} deep; a topology is flatter")
        self._values[path] = mark
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return self._scalar(path, event)

    def _mapping(self, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            mark = _mark(event)
            self._refuse_extras(mark, path, event)
            if not isinstance(event, yaml.ScalarEvent):
                self._refuse(mark, path, "found a list or mapping as a key; a key is text")
            key = event.value
            inner = (*path, key)
            if key == "<<" and event.implicit[0]:
                self._refuse(mark, path, "merge keys are not allowed; write the keys out")
            if key in data:
                earlier = self._keys[inner].line
                self._refuse(mark, inner, f"duplicate key {show(key)}, first on line {earlier}; keep one of them")
            self._keys[inner] = mark
            data[key] = self._value(inner, next(self._events))
        return data

    def _sequence(self, path: Path) -> list[Any]:
        data: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            data.append(self._value((*path, len(data)), event))
        return data

    def _scalar(self, path: Path, event: yaml.ScalarEvent) -> Any:
        text = event.value
        if not event.implicit[0]:
            return text
        if len(text) > _LONGEST_NUMBER and (_INTEGER.fullmatch(text) or _FLOAT.fullmatch(text)):
            self._refuse(
                _mark(event),
                path,
                f"found a number of {len(text)} characters; put it in quotes if it is text",
            )
        return _resolved(text)

    def _refuse_extras(self, mark: Mark, path: Path, event: Any) -> None:
        if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
            self._refuse(
                mark,
                path,
                f'anchors and aliases ("{escape(event.anchor)}") are not allowed; write the value out',
            )
        if event.tag is not None:
            self._refuse(mark, path, f'tags ("{escape(event.tag)}") are not allowed; write the value alone')

    def _refuse(self, mark: Mark, path: Path, text: str) -> NoReturn:
        raise error_at(self._source, mark, path, text)


def _mark(event: Any) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _resolved(text: str) -> str | int | float | bool | None:
    """Resolve a plain scalar by YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if _INTEGER.fullmatch(text):
        return int(text, 0 if text[:2] in {"0o", "0x"} else 10)
    if _FLOAT.fullmatch(text):
        return float(re.sub(r"\.(?=[a-zA-Z])", "", text))  # Python writes inf and nan without the dot
    return text
