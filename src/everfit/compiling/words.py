"""Converts vectorisers of texts: what follows the counting is in the graph.

ONNX Runtime's own tokenizer reads patterns by the rules of RE2, and lowers letters by those of the
system's locale: both differ from Python's beyond ASCII. So the counting stays in `counting`, and
the graph takes the counts: weights, norms and all that follows are in it.
"""

from __future__ import annotations

from typing import Any

from everfit.compiling.graph import Block, Graph, Table, columns_of, refuse
from everfit.compiling.preparing import normalize

PLAIN = "everfit.training.encode.plain"


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
