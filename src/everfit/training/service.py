"""What a training ran and whether it came out again: load and save in the caller's transaction."""

from __future__ import annotations

from everfit.errors import NotFound, UntrustedModel
from everfit.kernel import Blobs, Transaction
from everfit.steps import StoredValue, record_values, value_kinds
from everfit.tracking import REPRODUCED_TAG, artifacts, set_tags
from everfit.training.recipe import RECIPE, Recipe, decode_recipe
from everfit.training.reproduction import Reproduction

# A badge is read in a table; an event keeps the beginning of a long list.
MOST_BADGE, MOST_CHANGES = 500, 50


def record_recipe(tx: Transaction, blobs: Blobs, recipe: Recipe) -> str:
    """Store what a training ran, vouch for it, and return its digest."""
    content = recipe.encode()
    digest = blobs.put(content)
    value = StoredValue(digest=digest, kind="bytes", bytes=len(content), created_at=tx.now)
    record_values(tx, [value])
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
    if digest not in value_kinds(tx, [digest]):
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
