"""What a training ran: load and save, each in the caller's transaction."""

from __future__ import annotations

from everfit.errors import NotFound, UntrustedModel
from everfit.kernel import Blobs, Transaction
from everfit.steps import StoredValue, record_values, value_kinds
from everfit.tracking import artifacts
from everfit.training.recipe import RECIPE, Recipe, decode_recipe


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
