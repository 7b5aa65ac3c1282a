"""Counts the words of texts as scikit-learn's vectorisers do, before the graph runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SPACES = re.compile(r"\s\s+")


class Counter:
    """Counts the words of one column; ``settings`` are those that the conversion wrote down."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._places = {word: place for place, word in enumerate(settings["words"])}
        self._lower, self._empty = settings["lower"], settings["empty"]
        self._binary = settings["binary"]
        self._grams = _grams(settings)

    def counts(self, texts: Iterable[str | None]) -> NDArray[np.float64] | None:
        """Return the counts, shape (texts, words); None where the native model refuses a text."""
        given = list(texts)
        found = np.zeros((len(given), len(self._places)))
        for row, text in zip(found, given, strict=True):
            if text is None and not self._empty:
                return None
            said = text or ""
            for gram in self._grams(said.lower() if self._lower else said):
                place = self._places.get(gram)
                if place is not None:
                    row[place] += 1.0
        return np.minimum(found, 1.0) if self._binary else found


def _grams(settings: dict[str, Any]) -> Callable[[str], list[str]]:
    low, high = settings["sizes"]
    if settings["analyzer"] == "char":
        return lambda text: _pieces(_SPACES.sub(" ", text), low, high)
    if settings["analyzer"] == "char_wb":
        return lambda text: _within_words(_SPACES.sub(" ", text), low, high)
    pattern, stop = re.compile(settings["pattern"]), frozenset(settings["stop"])

    def of_words(text: str) -> list[str]:
        found = [word for word in pattern.findall(text) if word not in stop]
        return found if high == low == 1 else _runs(found, low, high)

    return of_words


def _runs(found: Sequence[str], low: int, high: int) -> list[str]:
    sizes = range(low, min(high, len(found)) + 1)
    return [" ".join(found[i : i + n]) for n in sizes for i in range(len(found) - n + 1)]


def _pieces(text: str, low: int, high: int) -> list[str]:
    sizes = range(low, min(high, len(text)) + 1)
    return [text[i : i + n] for n in sizes for i in range(len(text) - n + 1)]


def _within_words(text: str, low: int, high: int) -> list[str]:
    """Return pieces of words, each with a space around it; a short word is one piece."""
    found = []
    for word in text.split():
        padded = f" {word} "
        for size in range(low, high + 1):
            found.append(padded[:size])
            found += [padded[i : i + size] for i in range(1, len(padded) - size + 1)]
            if size >= len(padded):
                break  # A short word is counted once.
    return found
