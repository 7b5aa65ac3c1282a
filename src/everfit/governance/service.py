"""Approvals and the audit of the ledger."""

from __future__ import annotations

from collections.abc import Sequence

from everfit.errors import Invalid
from everfit.governance import store
from everfit.governance.model import Approval
from everfit.kernel import Break, Transaction, ledger_head, verify
from everfit.registry import get_version


def approve(tx: Transaction, model: str, version: int, *, by: str, comment: str = "") -> Approval:
    """Record that ``by`` approves the version; a second word of the same person changes nothing.

    Raises
    ------
    NotFound
        If there is no such version.
    Invalid
        If the name is empty.
    """
    person = " ".join(by.split())
    if not person:
        raise Invalid("the name of the person who approves is empty", hint="Give it with --as.")
    get_version(tx, model, version)
    given = {a.person.casefold(): a for a in store.of_version(tx, model, version)}
    if person.casefold() in given:
        return given[person.casefold()]
    approval = Approval(model=model, version=version, person=person, at=tx.now, comment=comment)
    store.add(tx, approval)
    tx.record(
        "approval-given",
        f"{model}/{version}",
        person,
        model=model,
        version=version,
        comment=comment,
    )
    return approval


def approvals(tx: Transaction, model: str, version: int) -> Sequence[Approval]:
    """Return who approved the version, in the order in which they did."""
    return store.of_version(tx, model, version)


def verify_ledger(
    tx: Transaction, *, noted: tuple[int, str] | None = None
) -> tuple[tuple[int, str], list[Break]]:
    """Return the head of the project's ledger, and every place where its chain breaks.

    The head is the last row's number and digest. ``noted`` is one that was written down before.
    """
    head = ledger_head(tx.connection, tx.project)
    return head, verify(tx.connection, tx.project, noted=noted)
