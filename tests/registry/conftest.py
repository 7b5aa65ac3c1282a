"""What the tests of the registry register, log and look for."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from everfit.filters import Comparison, Entity, Order
from everfit.kernel import Transaction
from everfit.packages import infer_signature
from everfit.registry import ModelVersion, create_version, register

ROWS = pl.DataFrame({"temp": [0.5, None], "weather": ["dry", "wet"]})
SIGNATURE = infer_signature(ROWS, pl.Series("y", ["no"]), "classification", ("no", "yes"))


def registered(
    tx: Transaction,
    run: str = "run_1",
    *,
    model: str = "bikes",
    package: str = "a" * 64,
    metrics: Mapping[str, float] | None = None,
) -> ModelVersion:
    """A version as a training here makes it."""
    return register(
        tx,
        model=model,
        run=run,
        package=package,
        dataset="d" * 64,
        profile=None,
        signature=SIGNATURE,
        metrics={"f1": 0.9} if metrics is None else metrics,
        algorithm="forest",
    )


def logged(
    tx: Transaction,
    model: str = "bikes",
    *,
    source: str = "runs:/run_1/model",
    run: str | None = "run_1",
    **given: str | Mapping[str, str] | None,
) -> ModelVersion:
    """A version as a client logs it, of a model that exists."""
    noted: Mapping[str, object] = {"unpackaged": "nobody packed it", **given}
    return create_version(tx, model, source=source, run=run, **noted)  # type: ignore[arg-type]


def attribute(key: str, operator: str, value: str | float | tuple[str, ...]) -> Comparison:
    return Comparison(entity=Entity.ATTRIBUTE, key=key, operator=operator, value=value)


def tag(key: str, operator: str, value: str) -> Comparison:
    return Comparison(entity=Entity.TAG, key=key, operator=operator, value=value)


def by(key: str, *, ascending: bool = True) -> Order:
    return Order(entity=Entity.ATTRIBUTE, key=key, ascending=ascending)
