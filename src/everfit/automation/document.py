"""YAML as people mean it: version 1.2 words, no duplicate keys, and the line of every value."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import yaml

from everfit.errors import PolicyInvalid, Problem

MAX_NODES = 20_000
T = TypeVar("T")


class _Loader(yaml.SafeLoader):
    """Plain scalars of YAML 1.2: `on`, `no` and `12:30` are texts, not booleans and numbers."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), list(_first))


@dataclass
class Document:
    """A parsed file: its value, the line of each path, and the problems found so far."""

    name: str
    value: Any = None
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: str, found: object, remedy: str) -> None:
        """Note one problem, with the line where ``path`` stands."""
        line = self.lines.get(path)
        place = f"{path} (line {line})" if line else path
        shown = found if isinstance(found, str) else repr(found)
        self.problems.append(Problem(path=place, found=shown, remedy=remedy))


def read(text: str, *, name: str) -> Document:
    """Parse ``text``; duplicate keys are noted as problems.

    Raises
    ------
    PolicyInvalid
        If the text is not YAML at all, or is made to explode.
    """
    document = Document(name=name)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error)
        raise PolicyInvalid(
            f"{name} is not valid YAML{place}: {what}",
            hint="Correct the indentation or the quoting there.",
        ) from error
    if node is not None:
        document.value = _Builder(document).build(node, "")
    return document


class _Builder:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.seen = 0
        self.loader = _Loader("")

    def build(self, node: yaml.Node, path: str) -> Any:
        self.seen += 1
        if self.seen > MAX_NODES:
            raise PolicyInvalid(
                f"{self.document.name} holds more than {MAX_NODES:,} values",
                hint="Write the values out instead of nesting aliases.",
            )
        self.document.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, f"{path}[{i}]") for i, item in enumerate(node.value)]
        try:
            return self.loader.construct_object(node)
        except (yaml.YAMLError, ValueError):
            self.document.problem(path, f"the tag {node.tag}", "write a plain value")
            return None

    def mapping(self, node: yaml.MappingNode, path: str) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            below = f"{path}.{key}" if path else key
            line = key_node.start_mark.line + 1
            if key in built:
                first = self.document.lines[below]
                self.document.lines[below] = line
                self.document.problem(
                    below, "the same key twice", f"keep one; the first is at line {first}"
                )
                continue
            self.document.lines[below] = line
            built[key] = self.build(value_node, below)
        return built


class Section:
    """One mapping of the document, read key by key; what nobody read is reported as unknown."""

    def __init__(self, document: Document, value: Any, path: str) -> None:
        self.document = document
        self.path = path
        self.known: set[str] = set()
        if value is not None and not isinstance(value, Mapping):
            document.problem(path, value, "write a mapping of names to values")
            value = None
        self.value: Mapping[str, Any] = value or {}

    def below(self, key: str) -> str:
        """Return the path of ``key``."""
        return f"{self.path}.{key}" if self.path else key

    def take(self, key: str, parse: Callable[[Any], T], default: T) -> T:
        """Return the parsed value of ``key``, or ``default`` where it is absent or wrong."""
        self.known.add(key)
        value = self.value.get(key)
        if value is None:
            return default
        try:
            return parse(value)
        except (ValueError, TypeError) as error:
            self.document.problem(self.below(key), value, str(error))
            return default

    def section(self, key: str) -> Section:
        """Return the mapping below ``key``, empty where it is absent."""
        self.known.add(key)
        return Section(self.document, self.value.get(key), self.below(key))

    def raw(self, key: str) -> Any:
        """Return the value of ``key`` as it stands."""
        self.known.add(key)
        return self.value.get(key)

    def require(self, key: str, remedy: str) -> None:
        """Note a problem where ``key`` is absent."""
        if self.value.get(key) is None:
            self.document.problem(self.below(key), "nothing", remedy)

    def close(self) -> None:
        """Report every key that nobody asked for, with the nearest known ones."""
        for key in self.value:
            if key not in self.known:
                self.document.problem(
                    self.below(key), "an unknown key", choices(key, sorted(self.known))
                )


def choices(word: str, known: Iterable[str]) -> str:
    """Return a remedy that names the nearest of ``known``, or all of them."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"use one of {', '.join(known)}"


def text(value: Any) -> str:
    """Return ``value`` if it is a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("write a text")
    return value.strip()


def texts(value: Any) -> tuple[str, ...]:
    """Return a list of texts; one text stands for a list of one."""
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, str) and item.strip() for item in items):
        raise ValueError("write a list of texts, such as [a, b]")
    return tuple(item.strip() for item in items)


def number(value: Any) -> float:
    """Return ``value`` if it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("write a number")  # noqa: TRY004 - one error for every wrong value
    if not abs(value) < float("inf"):
        raise ValueError("write a finite number")
    return float(value)


def flag(value: Any) -> bool:
    """Return ``value`` if it is true or false."""
    if not isinstance(value, bool):
        raise ValueError("write true or false")  # noqa: TRY004 - one error for every wrong value
    return value


def one_of(*known: str) -> Callable[[Any], str]:
    """Return a parser that accepts the words ``known``."""

    def parse(value: Any) -> str:
        if value not in known:
            raise ValueError(choices(str(value), known))
        return str(value)

    return parse
