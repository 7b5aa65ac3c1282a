"""What came of running a training again: saved in the caller's transaction."""

from __future__ import annotations

from everfit.kernel import Transaction
from everfit.reproduction.model import Reproduction
from everfit.tracking import REPRODUCED_TAG, set_tags

# A badge is read in a table; an event keeps the beginning of a long list.
MOST_BADGE, MOST_CHANGES = 500, 50


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
