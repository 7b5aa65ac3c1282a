"""Reason codes beside predictions, where a request asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import polars as pl

from everfit.errors import Invalid
from everfit.explaining import Explainer, Explainers, Method, plain
from everfit.serving.load import Loaded
from everfit.serving.model import Answers, Bounds
from everfit.serving.score import Question

# By sampling, a row costs as much as thousands of predictions.
SAMPLED_PART = 10


class Reasons:
    """Explains the answers to one request, each by the version that gave it.

    Whatever cannot be explained is refused here, before anything is predicted and logged.

    Raises
    ------
    Invalid
        If there are more rows than a request may have explained, or nothing to compare with.
    """

    def __init__(
        self, explainers: Explainers, loaded: Loaded, rows: Question, bounds: Bounds
    ) -> None:
        _check(rows.height, bounds.explained_rows, "")
        self._rows = rows
        plan, candidate = loaded.plan, loaded.candidate
        self._of: dict[int, Explainer] = {
            plan.champion: explainers.of(plan.endpoint, plan.champion)
        }
        if candidate is not None and candidate.loaded is not None:
            made = explainers.of(plan.endpoint, candidate.version)
            self._of[candidate.version] = made
        if any(one.method is Method.APPROXIMATE for one in self._of.values()):
            most = max(1, bounds.explained_rows // SAMPLED_PART)
            _check(rows.height, most, " by a model that has no exact explanation")

    def beside(self, answers: Answers, count: int) -> Answers:
        """Return ``answers``, which are those to the rows, with ``count`` reasons for each."""
        reasons = self._explained(self._rows.frame, answers, count)
        return msgspec.structs.replace(answers, reasons=reasons)

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
