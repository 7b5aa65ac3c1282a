"""Reason codes beside predictions: ``POST /predict/NAME?explain=true``, or ``explain=8``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec
import polars as pl

from everfit.errors import Invalid
from everfit.explaining import Explainer, Explainers, Method, plain
from everfit.serving.load import Loaded
from everfit.serving.model import Answers, Bounds

USUAL = 5
MOST = 1_000
# By sampling, a row costs as much as thousands of predictions.
SAMPLED_PART = 10
WORDS = {"true": USUAL, "false": 0}


def asked(query: bytes) -> int:
    """Return how many reasons per row a query string asks for, 0 for none.

    Raises
    ------
    Invalid
        If ``explain`` is neither true, false nor a number up to 1,000.

    Examples
    --------
    >>> asked(b""), asked(b"explain=true"), asked(b"explain=3"), asked(b"explain=false")
    (0, 5, 3, 0)
    """
    if not query:
        return 0
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("explain", ["false"])[-1]
    word = given.lower()
    if word in WORDS:
        return WORDS[word]
    if word.isascii() and word.isdigit() and len(word) < len(str(MOST)) + 1 and int(word) <= MOST:
        return int(word)
    raise Invalid(
        f"explain is {given[:40]!r}",
        hint=f"Write explain=true, or how many reasons each row is to have, up to {MOST:,}.",
    )


class Reasons:
    """Explains the answers to one request, each by the version that gave it.

    Whatever cannot be explained is refused here, before anything is predicted and logged.

    Raises
    ------
    Invalid
        If there are more rows than a request may have explained, or nothing to compare with.
    """

    def __init__(self, explainers: Explainers, loaded: Loaded, rows: int, bounds: Bounds) -> None:
        _check(rows, bounds.explained_rows, "")
        plan, candidate = loaded.plan, loaded.candidate
        self._of: dict[int, Explainer] = {
            plan.champion: explainers.of(plan.endpoint, plan.champion)
        }
        if candidate is not None and candidate.loaded is not None:
            made = explainers.of(plan.endpoint, candidate.version)
            self._of[candidate.version] = made
        if any(one.method is Method.APPROXIMATE for one in self._of.values()):
            most = max(1, bounds.explained_rows // SAMPLED_PART)
            _check(rows, most, " by a model that has no exact explanation")

    def beside(self, reply: bytes, frame: pl.DataFrame, answers: Answers, count: int) -> bytes:
        """Return ``reply``, the encoded answers to ``frame``, with ``count`` reasons per row."""
        content: dict[str, Any] = msgspec.json.decode(reply)
        content["predictions"] = [
            row | reasons
            for row, reasons in zip(
                content["predictions"], self._explained(frame, answers, count), strict=True
            )
        ]
        return msgspec.json.encode(content)

    def _explained(
        self, frame: pl.DataFrame, answers: Answers, count: int
    ) -> list[Mapping[str, Any]]:
        found: dict[int, Mapping[str, Any]] = {}
        for version in dict.fromkeys(answers.versions):
            places = [i for i, by in enumerate(answers.versions) if by == version]
            explained = self._of[version].explain(frame[places])
            for place, one in zip(places, explained, strict=True):
                found[place] = plain(one, count)
        return [found[place] for place in range(frame.height)]


def _check(rows: int, most: int, by: str) -> None:
    if rows > most:
        raise Invalid(
            f"{rows:,} rows to explain in one request{by}; {most:,} are accepted",
            hint="Send fewer rows at once, or leave out explain: `everfit why PREDICTION` explains "
            "any logged prediction later.",
            rows=rows,
        )
