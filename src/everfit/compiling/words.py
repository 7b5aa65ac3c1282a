"""Counts the words of texts as scikit-learn's vectorisers do, before the graph runs.

ONNX Runtime's own tokenizer reads patterns by the rules of RE2, and lowers letters by those of the
system's locale: both differ from Python's beyond ASCII. So the counting stays here and the graph
takes the counts: weights, norms and all that follows are in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from everfit.compiling.graph import Block, Graph, Table, columns_of, refuse
from everfit.compiling.preparing import normalize

PLAIN = "everfit.training.encode.plain"
_SPACES = re.compile(r"\s\s+")


def words(graph: Graph, model: Any, table: Table) -> Table:
    """Convert ``CountVectorizer`` and ``TfidfVectorizer`` of one column of texts."""
    if len(table) != 1 or not table[0].text or table[0].source is None:
        raise refuse("a vectoriser takes something other than one column of texts")
    settings = _settings(model)
    width = len(model.vocabulary_)
    name = f"words{len(graph.words)}"
    graph.words.append((table[0].source, name, settings))
    block = Block(name=name, width=width)
    return tfidf(graph, model, columns_of(block)) if hasattr(model, "idf_") else columns_of(block)


def tfidf(graph: Graph, model: Any, table: Table) -> Table:
    """Convert ``TfidfTransformer``, and what ``TfidfVectorizer`` does after counting."""
    block = graph.numbers(table)
    name = block.name
    if model.sublinear_tf:
        some = graph.node("Greater", name, graph.constant(0.0))
        logs = graph.node("Add", graph.node("Log", name), graph.constant(1.0))
        name = graph.node("Where", some, logs, graph.constant(0.0))
    if model.use_idf:
        name = graph.node("Mul", name, graph.constant(model.idf_))
    block = Block(name=name, width=block.width)
    return columns_of(block) if model.norm is None else normalize(graph, model, columns_of(block))


def _settings(model: Any) -> dict[str, Any]:
    """Return how texts are taken apart as plain values; raises NotConvertible on own functions."""
    own = model.preprocessor
    named = f"{getattr(own, '__module__', '')}.{getattr(own, '__qualname__', '')}"
    if own is not None and named != PLAIN:
        raise refuse(f"a vectoriser prepares texts by a function of its own ({named})")
    if model.tokenizer is not None or model.strip_accents is not None:
        raise refuse("a vectoriser has a tokenizer of its own, or strips accents")
    if model.analyzer not in ("word", "char", "char_wb") or model.input != "content":
        raise refuse(f"a vectoriser takes texts apart by {model.analyzer!r}")
    return {
        "lower": bool(model.lowercase) or own is not None,
        "empty": own is not None,
        "analyzer": model.analyzer,
        "pattern": model.token_pattern,
        "sizes": list(model.ngram_range),
        "stop": sorted(model.get_stop_words() or ()),
        "binary": bool(model.binary),
        "words": [word for word, _ in sorted(model.vocabulary_.items(), key=lambda pair: pair[1])],
    }


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
