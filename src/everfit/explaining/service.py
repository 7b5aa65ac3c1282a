"""Explanations of a registered version, for the model server and for what the log holds."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from everfit.errors import Invalid
from everfit.explaining.background import background
from everfit.explaining.explainer import Explainer
from everfit.explaining.model import Explanation
from everfit.explaining.words import because
from everfit.kernel import Transaction, Workspace
from everfit.packages import FittedModel, Signature
from everfit.registry import get_version, load_package

# A champion and a candidate per endpoint, and those before them.
KEPT = 8


class Explainers:
    """The explainers of versions, each made when it is first asked for; any thread may ask."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._made: dict[tuple[str, int], Explainer] = {}
        self._lock = threading.Lock()

    def of(self, model: str, number: int) -> Explainer:
        """Return the explainer of a version, which never changes.

        It asks the native model, whichever answers: a compiled one does not show how it decides.

        Raises
        ------
        NotFound
            If there is no such version.
        Invalid
            If no rows to compare with are kept of it.
        """
        key = (model, number)
        with self._lock:
            # Callers who come while it is made wait for it, and none makes it twice.
            if key not in self._made:
                with self._workspace.reading() as tx:
                    version = get_version(tx, model, number)
                fitted = load_package(self._workspace, version)
                with self._workspace.reading() as tx:
                    made = explainer(self._workspace, tx, key, fitted)
                while len(self._made) >= KEPT:
                    del self._made[next(iter(self._made))]
                self._made[key] = made
            return self._made[key]

    def keep(self, model: str, numbers: Collection[int]) -> None:
        """Let go of the explainers of other versions of a model; of none while one is made."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            for key in [key for key in self._made if key[0] == model and key[1] not in numbers]:
                del self._made[key]
        finally:
            self._lock.release()


def explainer(
    workspace: Workspace, tx: Transaction, version: tuple[str, int], fitted: FittedModel
) -> Explainer:
    """Return the explainer of a version, by its model's name and number; raises as `Explainers`."""
    registered = get_version(tx, *version)
    return Explainer(fitted, background(workspace, tx, registered, fitted.signature))


def explain_row(
    workspace: Workspace, tx: Transaction, model: str, number: int, inputs: Mapping[str, Any]
) -> Explanation:
    """Return the explanation of one row of inputs by a version, as when it was served.

    Raises
    ------
    EverfitError
        If the version cannot be loaded or explained, or the inputs do not fit it.
    """
    fitted = load_package(workspace, get_version(tx, model, number))
    found = explainer(workspace, tx, (model, number), fitted)
    return found.explain(_row(inputs, fitted.signature))[0]


def _row(inputs: Mapping[str, Any], signature: Signature) -> pl.DataFrame:
    absent = [name for name in signature.names if name not in inputs]
    if absent:
        raise Invalid(
            f"the row has no {', '.join(absent)}",
            hint="It was logged before the version took them: ask for a later prediction.",
        )
    return pl.DataFrame({name: [inputs[name]] for name in signature.names})


def plain(explanation: Explanation, count: int) -> dict[str, Any]:
    """Return an explanation as JSON values: words first, then the numbers behind them.

    ``count`` is how many contributions are named; ``rest`` is the sum of the others.
    """
    shown = explanation.top(count)
    return {
        "because": because(shown),
        "base": shown.base,
        "contributions": [
            {"input": part.input, "value": part.value, "amount": part.amount}
            | ({} if part.error is None else {"error": _finite(part.error)})
            for part in shown.contributions
        ],
        "rest": shown.rest,
        "output": shown.output,
        "of": shown.of.value,
        "method": shown.method.value,
        "against": shown.against,
    } | ({"evaluations": shown.evaluations} if shown.evaluations else {})


def _finite(error: float) -> float | None:
    return error if error < float("inf") else None
