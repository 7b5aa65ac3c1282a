"""What models, aliases and tags may be called. No I/O.

The limits are those of MLflow, whose clients write here too.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping

from everfit.errors import Invalid, Problem

MAX_NAME_CHARACTERS = 256
MAX_ALIAS_CHARACTERS = 255
MAX_KEY_CHARACTERS = 250
MAX_VALUE_CHARACTERS = 100_000
LATEST = "latest"
_OWN_NAME = re.compile(r"[\w.\-][\w.\- ]{0,199}")
_ALIAS = re.compile(r"[\w\-]+")
_VERSION = re.compile(r"latest|v\d+", re.IGNORECASE)
_KEY = re.compile(r"[/\w.\-: ]+")


def check_model_name(name: str) -> None:
    """Refuse the name of a model trained here that could not stand in a path or ``model/number``.

    Raises
    ------
    Invalid
        If it is empty, longer than 200 characters, or has others than letters, digits,
        space, ``.``, ``_`` and ``-``.
    """
    if not _OWN_NAME.fullmatch(name) or name in (".", ".."):
        raise Invalid(
            f"{name!r} is no model name",
            hint="Use up to 200 letters, digits, spaces, '.', '_' and '-'.",
        )


def check_any_name(name: str) -> None:
    """Refuse what no model can be called, whoever names it.

    Raises
    ------
    Invalid
        If it is blank, longer than 256 characters, begins with ``..`` or has a ``/``, a ``:``
        or the character zero in it.
    """
    bad = set(name) & set("/:\0") or name.startswith("..") or name == "."
    if bad or not name.strip() or len(name) > MAX_NAME_CHARACTERS:
        raise Invalid(
            f"{_short(name)} is no model name",
            hint=f"Use 1 to {MAX_NAME_CHARACTERS} characters without '/' and ':', "
            "not beginning with '..'.",
        )


def check_alias(alias: str) -> None:
    """Refuse an alias that could be taken for a version.

    Raises
    ------
    Invalid
        If it is no word, or reads as a version: ``latest``, ``v7``.
    """
    if (
        not _ALIAS.fullmatch(alias)
        or len(alias) > MAX_ALIAS_CHARACTERS
        or _VERSION.fullmatch(alias)
    ):
        raise Invalid(
            f"{_short(alias)} is no alias",
            hint=f"Use a word such as 'champion' of up to {MAX_ALIAS_CHARACTERS} letters, digits, "
            "'_' and '-', and neither 'latest' nor a version such as 'v7'.",
        )


def check_notes(
    subject: str,
    *,
    tags: Mapping[str, str] | None = None,
    texts: Mapping[str, str | None] | None = None,
) -> None:
    """Refuse tags and other texts that cannot be kept with ``subject``; every problem at once.

    Raises
    ------
    Invalid
        If a tag's key is no path of letters, digits, spaces and ``_ - . : /``, or longer than
        250 characters, or its value longer than 100,000; or if a text has the character zero
        in it, which Postgres cannot hold.
    """
    problems = [*_tag_problems(tags or {}), *_text_problems({**(texts or {}), **(tags or {})})]
    if problems:
        raise Invalid.of(f"what is noted of {subject}", problems, hint="Nothing was written.")


def _tag_problems(tags: Mapping[str, str]) -> Iterator[Problem]:
    for key, value in tags.items():
        if not _KEY.fullmatch(key) or not _is_own_path(key):
            remedy = "name the tag with letters, digits, spaces and '_', '-', '.', ':', '/'"
            yield Problem(path=key, found=_short(key), remedy=remedy)
        if len(key) > MAX_KEY_CHARACTERS:
            found, remedy = f"{len(key):,} characters", f"use at most {MAX_KEY_CHARACTERS}"
            yield Problem(path=_short(key), found=found, remedy=remedy)
        if len(value) > MAX_VALUE_CHARACTERS:
            found = f"a value of {len(value):,} characters"
            remedy = f"keep it to {MAX_VALUE_CHARACTERS:,}, or log it as an artifact"
            yield Problem(path=key, found=found, remedy=remedy)


def _text_problems(texts: Mapping[str, str | None]) -> Iterator[Problem]:
    for name, text in texts.items():
        if text is not None and "\0" in text:
            yield Problem(path=name, found="the character zero", remedy="leave it out")


def _is_own_path(key: str) -> bool:
    """Return whether a key is the path it names: no ``a//b``, no ``./a``, nothing outside."""
    return posixpath.normpath(key) == key and key != "." and not key.startswith(("..", "/"))


def _short(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 60 else shown[:57] + "..."
