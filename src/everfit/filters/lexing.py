"""Cuts the text of a filter or an order into tokens, in time linear in its length."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

# Quotes are read as MLflow reads them: a doubled quote or one behind a backslash goes on, unless
# the text would then never end. Only what the first character of the rest allows is tried, and
# the runs between are possessive, so that no text makes this slow.
SINGLE = r"'[^'\\]*+(?:(?:''|\\'?)[^'\\]*+)*'"
DOUBLE = r'"[^"\\]*+(?:(?:""|\\"?)[^"\\]*+)*"'
BACKTICKS = r"`(?:``|[^`])*`"
NAME = re.compile(
    rf"(?P<head>[^\W\d]\w*|{BACKTICKS})"
    rf"(?P<path>(?:\.\w+)*)(?:\.(?P<tail>{BACKTICKS}|{DOUBLE}|{SINGLE}))?"
)
NUMBER = r"-?(?:[0-9]++(?:\.[0-9]++)?[eE][+-]?[0-9]++|[0-9]++(?:\.[0-9]*+)?|\.[0-9]++)(?![\w.])"
TOKEN = re.compile(
    rf"(?P<space>\s+)|(?P<name>{NAME.pattern})|(?P<number>{NUMBER})"
    rf"|(?P<string>{SINGLE}|{DOUBLE})|(?P<operator>[<>=!~]+)"
    r"|(?P<open>\()|(?P<close>\))|(?P<comma>,)|(?P<unclosed>['\"`].*)|(?P<other>[\w.]+|.)",
    re.DOTALL,
)


class Kind(StrEnum):
    """What a token is. ``UNCLOSED`` is a quote that never ends, with all that follows."""

    NAME = "name"
    NUMBER = "number"
    STRING = "string"
    OPERATOR = "operator"
    OPEN = "open"
    CLOSE = "close"
    COMMA = "comma"
    UNCLOSED = "unclosed"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A piece of the text as it was written, and the character (from 1) at which it starts."""

    kind: Kind
    text: str
    position: int

    @property
    def inner(self) -> str:
        """The text of a string without its outer quotes; what they enclose stays as written."""
        return self.text[1:-1]

    @property
    def word(self) -> str:
        """The text in capitals, to be compared with keywords."""
        return self.text.upper()


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A name taken apart at its dots, without quotes; only the last part may have had some."""

    head: str
    rest: tuple[str, ...] = ()
    is_quoted: bool = False


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of ``text`` without the white space between them."""
    for found in TOKEN.finditer(text):
        kind = found.lastgroup or "other"
        if kind != "space":
            yield Token(kind=Kind(kind), text=found[0], position=found.start() + 1)


def name_of(token: Token) -> Name | None:
    """Return the name that ``token`` is, without its quotes; None if it is none.

    A text in double quotes can be a name, one in single quotes cannot.

    Examples
    --------
    >>> [name_of(token) for token in tokens("tags.`a b`")]
    [Name(head='tags', rest=('a b',), is_quoted=True)]
    """
    if token.kind is Kind.STRING and token.text.startswith('"'):
        return Name(head=token.inner)
    found = NAME.fullmatch(token.text) if token.kind is Kind.NAME else None
    if found is None:
        return None
    head, words, tail = found["head"], found["path"].split(".")[1:], found["tail"]
    return Name(
        head=head[1:-1] if head.startswith("`") else head,
        rest=tuple(words if tail is None else [*words, tail[1:-1]]),
        is_quoted=tail is not None,
    )
