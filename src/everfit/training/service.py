"""What the step engine remembers: load and save, each in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from everfit.errors import NotFound, UntrustedModel
from everfit.kernel import Blobs, Transaction
from everfit.tracking import REPRODUCED_TAG, artifacts, set_tags
from everfit.training import store
from everfit.training.recipe import RECIPE, Recipe, decode_recipe
from everfit.training.reproduction import Reproduction
from everfit.training.steps import RunStep, Spent, StoredStep, StoredValue

# A blob can be the encoding of values of two kinds: bytes that are an Arrow file, say. Asked for
# by its digest alone, it is the value rather than its encoding.
KINDS = ("frame", "array", "json", "pickle", "bytes")
# A badge is read in a table; an event keeps the beginning of a long list.
MOST_BADGE, MOST_CHANGES = 500, 50


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


def record_recipe(tx: Transaction, blobs: Blobs, recipe: Recipe) -> str:
    """Store what a training ran, vouch for it, and return its digest."""
    content = recipe.encode()
    digest = blobs.put(content)
    value = StoredValue(digest=digest, kind="bytes", bytes=len(content), created_at=tx.now)
    store.save_values(tx, [value])
    return digest


def get_recipe(tx: Transaction, blobs: Blobs, run_id: str) -> Recipe:
    """Return what a training ran. It names functions that will be called: only our own is read.

    Raises
    ------
    NotFound
        If there is no such run, it recorded none, or it is gone.
    UntrustedModel
        If the file in its place was not written by this installation.
    """
    kept = artifacts(tx, run_id)
    if RECIPE not in kept:
        raise NotFound(
            f"run {run_id} did not record what it ran",
            hint="It was trained by an older Everfit, or not by the loop. Train again.",
        )
    digest = kept[RECIPE].digest
    if digest not in store.kinds_of(tx, [digest]):
        raise UntrustedModel(
            f"{RECIPE} of run {run_id} was not written by this installation",
            hint="Somebody replaced it. Train again, and look into the ledger.",
            digest=digest,
        )
    return decode_recipe(blobs.get(digest))


def record_reproduction(tx: Transaction, found: Reproduction, *, actor: str) -> None:
    """Write what came of running a training again: a tag of the run and an event.

    Raises
    ------
    NotFound, Invalid
        If there is no such run, or it is deleted.
    """
    set_tags(tx, found.run, {REPRODUCED_TAG: found.badge[:MOST_BADGE]})
    first = found.first
    tx.record(
        "run-reproduced",
        found.run,
        actor,
        badge=found.badge[:MOST_BADGE],
        verdict=found.verdict,
        why=found.why,
        tolerance=found.tolerance,
        steps=len(found.steps),
        first=first.name if first else None,
        difference=first.difference if first else None,
        environment=[str(change) for change in found.environment[:MOST_CHANGES]],
        changes=len(found.environment),
    )
