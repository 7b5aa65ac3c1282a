"""What one can do with the registry: load, decide, save, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any

from everfit.errors import Invalid, NotFound, StaleRevision, UntrustedModel
from everfit.kernel import Transaction, Workspace
from everfit.registry import store
from everfit.registry.fitted import FittedModel
from everfit.registry.model import (
    CHAMPION,
    ModelVersion,
    Signature,
    check_alias,
    check_model_name,
)
from everfit.registry.package import unpack


class Anything(Enum):
    """What ``set_alias`` takes for ``expected`` when the alias may stand anywhere."""

    ANYTHING = "anything"


def register(
    tx: Transaction,
    *,
    model: str,
    run: str,
    package: str,
    dataset: str,
    profile: str | None,
    signature: Signature,
    metrics: Mapping[str, float],
    algorithm: str,
) -> ModelVersion:
    """Store the version that ``run`` made of ``model`` and return it; its package is trusted.

    A run makes one version of a model: the same run again gives the version it has made, and
    a package it offers the second time is neither kept nor trusted.

    Raises
    ------
    Invalid
        If the name cannot be a model's.
    """
    check_model_name(model)
    last = store.hold_model(tx, model)
    made = store.version_of_run(tx, model, run)
    if made is not None:
        return made
    version = ModelVersion(
        model=model,
        number=last + 1,
        run=run,
        package=package,
        dataset=dataset,
        profile=profile,
        signature=signature,
        metrics={name: float(value) for name, value in metrics.items()},
        algorithm=algorithm,
        created_at=tx.now,
    )
    store.insert_version(tx, version)
    # No event of its own: the version's event says which package was produced here.
    store.insert_trust(tx, package, by="everfit", reason=f"produced here by run {run}")
    tx.record(
        "version-registered",
        version.subject,
        model=model,
        number=version.number,
        run=run,
        package=package,
        dataset=dataset,
        algorithm=algorithm,
    )
    return version


def get_version(tx: Transaction, model: str, number: int) -> ModelVersion:
    """Return one version; raises NotFound."""
    return store.get_version(tx, model, number)


def list_versions(tx: Transaction, model: str) -> list[ModelVersion]:
    """Return the versions of ``model`` by number, the last one made at the end."""
    return store.list_versions(tx, model)


def list_models(tx: Transaction) -> list[str]:
    """Return the names of the models in this project."""
    return store.list_models(tx)


def aliases(tx: Transaction, model: str) -> dict[str, int]:
    """Return the version number of each alias of ``model``."""
    return store.get_aliases(tx, model)


def by_alias(tx: Transaction, model: str, alias: str) -> ModelVersion | None:
    """Return the version an alias stands at, or None where it stands at none."""
    number = store.get_aliases(tx, model).get(alias)
    return None if number is None else store.get_version(tx, model, number)


def champion(tx: Transaction, model: str) -> ModelVersion | None:
    """Return the version that answers, or None before the first release."""
    return by_alias(tx, model, CHAMPION)


def set_alias(
    tx: Transaction,
    model: str,
    alias: str,
    number: int | None,
    *,
    expected: int | Anything | None = Anything.ANYTHING,
) -> None:
    """Point ``alias`` at version ``number``, or at nothing with None.

    ``expected`` is where the alias must stand now (None: nowhere); left out, anywhere.

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
    if number is not None:
        store.get_version(tx, model, number)
    elif model not in store.list_models(tx):
        raise NotFound(f"no model {model!r} in project {tx.project!r}", hint="Train it first.")
    store.hold_model(tx, model)
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
        tx.record("alias-moved", model, **moved)


def trust(tx: Transaction, digest: str, by: str, reason: str) -> None:
    """Vouch for a model file, so that it may be opened here although it can run code.

    Raises
    ------
    Invalid
        If ``digest`` is no digest, or person or reason are missing.
    """
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise Invalid(f"{digest!r} is no digest", hint="A digest has 64 hexadecimal digits.")
    if not by.strip() or not reason.strip():
        raise Invalid(
            f"nobody vouches for {digest}, or for no reason",
            hint="Say who trusts the file and why: that person answers for what it does.",
        )
    if store.insert_trust(tx, digest, by=by, reason=reason):
        tx.record("model-trusted", digest, actor=by, reason=reason)


def is_trusted(tx: Transaction, digest: str) -> bool:
    """Return whether the file of that digest may be opened in this project."""
    return store.is_trusted(tx, digest)


def load_package(workspace: Workspace, version: ModelVersion) -> FittedModel:
    """Return the model of ``version``, ready to predict.

    Raises
    ------
    UntrustedModel
        If nobody here vouches for its digest; then nothing of the file was read.
    NotFound, LedgerBroken
        If the file is missing, or its content no longer fits its digest.
    Invalid
        If it is no package, or needs something that is not installed.
    """
    with workspace.reading() as tx:
        trusted_here = store.is_trusted(tx, version.package)
    if not trusted_here:
        raise UntrustedModel(
            f"the package {version.package} of {version.subject} was not produced here "
            "and nobody trusts it",
            hint="Opening it can run any code. If you know who made it, let a person with that "
            "role trust the digest; otherwise train the model here.",
            digest=version.package,
        )
    return unpack(workspace.blobs.get(version.package))


def _place(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"
