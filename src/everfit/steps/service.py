"""What the step engine remembers: load and save, each in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from everfit.errors import NotFound
from everfit.kernel import Transaction
from everfit.steps import store
from everfit.steps.model import RunStep, Spent, StoredStep, StoredValue

# A blob can be the encoding of values of two kinds: bytes that are an Arrow file, say. Asked for
# by its digest alone, it is the value rather than its encoding.
KINDS = ("frame", "array", "json", "pickle", "bytes")


def known_steps(tx: Transaction, recipes: Iterable[str]) -> dict[str, StoredStep]:
    """Return by key what the cache holds of these recipes."""
    return {step.key: step for step in store.steps_with(tx, recipes)}


def value_kinds(tx: Transaction, digests: Iterable[str]) -> Mapping[str, str]:
    """Return how each of these values is to be decoded; those not stored here are absent."""
    found = store.kinds_of(tx, digests)
    return {digest: min(kinds, key=KINDS.index) for digest, kinds in found.items()}


def spent(tx: Transaction, *, since: datetime, until: datetime) -> Spent:
    """Return what steps took from ``since`` to ``until``; one that failed is not metered."""
    return store.spent(tx, since, until)


def record_values(tx: Transaction, stored: Sequence[StoredValue]) -> None:
    """Vouch for values whose blobs this installation wrote."""
    store.save_values(tx, stored)


def record_steps(
    tx: Transaction,
    run_id: str,
    *,
    made: Sequence[StoredStep] = (),
    stored: Sequence[StoredValue] = (),
    states: Sequence[RunStep] = (),
) -> None:
    """Write steps whose blobs are durable, and how far the run has come."""
    store.save_steps(tx, made)
    store.save_values(tx, stored)
    store.save_run_steps(tx, run_id, states)


def record_repeated(tx: Transaction, run_id: str, name: str, ended: str) -> None:
    """Write that a step is run once more, and how its process had ended."""
    tx.record("step-repeated", run_id, step=name, ended=ended)


def run_steps(tx: Transaction, run_id: str) -> list[RunStep]:
    """Return what is on record of each step of a run."""
    return store.steps_of_run(tx, run_id)


def run_step(tx: Transaction, run_id: str, name: str) -> RunStep:
    """Return what is on record of one step of a run, or raise NotFound."""
    for found in store.steps_of_run(tx, run_id):
        if found.name == name:
            return found
    raise NotFound(
        f"run {run_id!r} has no step {name!r}",
        hint="List the steps of the run with `everfit status`.",
        run=run_id,
        step=name,
    )
