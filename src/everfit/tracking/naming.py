"""Names for what was given none, easy to say and to remember, and the ids of logged models."""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

_QUALITIES = """
amber brave brisk calm candid clear crisp deft eager early fair fond frank gentle glad hardy honest
keen kind lively lucid mellow merry modest neat noble patient plain proud quick quiet ready robust
rosy sharp silent smooth snug sober solid spry steady still sunny swift tidy true vivid warm wise
"""
_ANIMALS = """
adder badger bat bee bison cod crane crow deer dove eagle egret eel elk falcon finch fox frog goat
goose grouse hare hawk heron horse ibex jay kite lark lynx marten mole moth newt otter owl panda
perch pike plover puffin quail raven robin salmon seal shrew stork swan tern thrush toad trout vole
whale wolf wren
"""


def made_up_name(seed: str) -> str:
    """Return a name that follows from ``seed``.

    Examples
    --------
    >>> made_up_name("run_1") == made_up_name("run_1")
    True
    """
    digest = hashlib.sha256(seed.encode()).digest()
    qualities, animals = _QUALITIES.split(), _ANIMALS.split()
    quality, animal = qualities[digest[0] % len(qualities)], animals[digest[1] % len(animals)]
    return f"{quality}-{animal}-{int.from_bytes(digest[2:4], 'little') % 1000}"


def model_id(at: datetime) -> str:
    """Return a fresh id of a logged model made at ``at``: ``m-`` and 32 hexadecimal digits.

    The first 12 are the milliseconds since 1970, so that ids sort by time.

    Examples
    --------
    >>> from datetime import UTC
    >>> model_id(datetime(2026, 1, 1, tzinfo=UTC))[:14], len(model_id(datetime.now(UTC)))
    ('m-019b76daa800', 34)
    """
    return f"m-{int(at.timestamp() * 1000):012x}{secrets.token_hex(10)}"
