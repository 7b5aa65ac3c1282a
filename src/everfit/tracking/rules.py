"""What names, keys and texts may be. The limits are those of the field's clients."""

from __future__ import annotations

import functools
import posixpath
import re
from collections.abc import Iterable, Mapping

from everfit.errors import Invalid, Problem

KEY_LENGTH = 250
PARAM_LENGTH = 6_000
TAG_LENGTH = 8_000
EXPERIMENT_NAME_LENGTH = 500
EXPERIMENT_TAG_LENGTH = 20_000
# A step and a time are stored in 64 bits; a time comes in milliseconds and is kept in micro-.
MOST_INT64 = 2**63 - 1
_KEY = re.compile(r"[/\w.\- :]+")
_SHOWN = 60


@functools.lru_cache(maxsize=10_000)
def wrong_key(key: str) -> str | None:
    """Return what is wrong with the name of a metric, parameter or tag, or None.

    Examples
    --------
    >>> wrong_key("val/loss") is None
    True
    >>> wrong_key("../loss")
    "use a name that is no path out of its folder, without '..', '.' or '//'"
    """
    if not _KEY.fullmatch(key):
        return "use letters, digits, '_', '-', '.', ' ', ':' and '/', at least one of them"
    if len(key) > KEY_LENGTH:
        return f"use at most {KEY_LENGTH} characters"
    plain = posixpath.normpath(key)
    if plain != key or plain == "." or plain.startswith(("..", "/")):
        return "use a name that is no path out of its folder, without '..', '.' or '//'"
    return None


def wrong_text(text: str, most: int) -> str | None:
    """Return what is wrong with the value of a parameter or tag, or None."""
    if "\0" in text:
        return "leave out the character NUL"
    if len(text) > most:
        return f"use at most {most:,} characters, or log it as an artifact"
    return None


def check_texts(subject: str, kind: str, texts: Mapping[str, str], most: int) -> None:
    """Raise one Invalid that names every key and value that cannot be logged."""
    problems = list(_problems(kind, texts, most))
    if problems:
        raise Invalid.of(subject, problems, hint="Nothing was logged.")


def _problems(kind: str, texts: Mapping[str, str], most: int) -> Iterable[Problem]:
    for key, text in texts.items():
        remedy = wrong_key(key)
        if remedy:
            yield Problem(path=kind, found=shown(key), remedy=remedy)
        remedy = wrong_text(text, most)
        if remedy:
            found = f"{len(text):,} characters: {shown(text)}"
            yield Problem(path=f"{kind} {shown(key)}", found=found, remedy=remedy)


def check_experiment_name(name: str) -> None:
    """Raise Invalid if an experiment cannot be called so."""
    if not name.strip() or len(name) > EXPERIMENT_NAME_LENGTH or "\0" in name:
        raise Invalid(
            f"{shown(name)} is no name of an experiment",
            hint=f"Use 1 to {EXPERIMENT_NAME_LENGTH} characters, not all of them spaces.",
        )


def shown(text: str) -> str:
    """Return a text as an error shows it: quoted, and cut where it is long."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
