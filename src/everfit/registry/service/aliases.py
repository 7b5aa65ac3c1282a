"""Aliases: names that point at one version of a model, and move on purpose."""

from __future__ import annotations

from enum import Enum
from typing import Any

from everfit.errors import Invalid, NotFound, StaleRevision
from everfit.kernel import Transaction
from everfit.registry.model import CHAMPION, ModelVersion
from everfit.registry.names import LATEST, check_alias, check_any_name
from everfit.registry.service.models import hold_known, no_model
from everfit.registry.service.versions import get_version
from everfit.registry.store import models as store
from everfit.registry.store import versions


class Anything(Enum):
    """What ``set_alias`` takes for ``expected`` when the alias may stand anywhere."""

    ANYTHING = "anything"


def aliases(tx: Transaction, model: str) -> dict[str, int]:
    """Return the version number of each alias of ``model``."""
    return store.get_aliases(tx, model)


def by_alias(tx: Transaction, model: str, alias: str) -> ModelVersion | None:
    """Return the version an alias stands at, or None where it stands at none."""
    number = store.get_aliases(tx, model).get(alias)
    return None if number is None else get_version(tx, model, number)


def champion(tx: Transaction, model: str) -> ModelVersion | None:
    """Return the version that answers, or None before the first release."""
    return by_alias(tx, model, CHAMPION)


def resolve_alias(tx: Transaction, model: str, alias: str) -> ModelVersion:
    """Return the version an alias stands at; ``latest`` stands for the highest number.

    Raises
    ------
    NotFound
        If there is no such model, or the latest version of a model without any is asked for.
    Invalid
        If the alias stands at no version.
    """
    check_any_name(model)
    if not store.exists(tx, model):
        raise no_model(tx, model)
    if alias.casefold() == LATEST:
        newest = versions.newest(tx, model)
        if newest is None:
            raise NotFound(f"model {model!r} has no version", hint="Log or train one first.")
        return newest
    found = by_alias(tx, model, alias)
    if found is None:
        raise Invalid(
            f"the alias {alias!r} of {model!r} stands at no version",
            hint="Set it first, or use one of the model's aliases.",
            model=model,
            alias=alias,
        )
    return found


def set_alias(
    tx: Transaction,
    model: str,
    alias: str,
    number: int | None,
    *,
    expected: int | Anything | None = Anything.ANYTHING,
    actor: str = "everfit",
) -> None:
    """Point ``alias`` at version ``number``, or at nothing with None.

    ``expected`` is where the alias must stand now (None: nowhere); left out, anywhere.
    ``champion`` follows the releases: refuse to let others move it before it comes here.

    Raises
    ------
    NotFound
        If there is no such version.
    StaleRevision
        If the alias does not stand where it is expected.
    Invalid
        If the alias could be taken for a version.
    """
    check_alias(alias)
    if number is None:
        hold_known(tx, model)
    else:
        # Held first, so that nobody deletes the version between the look and the write.
        store.hold(tx, model)
        get_version(tx, model, number)
    present = store.get_aliases(tx, model).get(alias)
    if not isinstance(expected, Anything) and present != expected:
        raise StaleRevision(
            f"{alias} of {model} stands at {_place(present)}, not at {_place(expected)}",
            hint="Read it again and decide anew.",
            model=model,
            alias=alias,
        )
    if present != number:
        store.put_alias(tx, model, alias, number)
        moved: dict[str, Any] = {"alias": alias, "from": present, "to": number}
        tx.record("alias-moved", model, actor, **moved)


def _place(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"
