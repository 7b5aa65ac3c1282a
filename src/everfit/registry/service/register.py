"""New versions: those that trainings make here, and those that clients log from outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from everfit.errors import Invalid
from everfit.kernel import Transaction
from everfit.packages import Signature
from everfit.registry.model import ModelVersion, Origin, RegisteredModel, noted
from everfit.registry.names import check_any_name, check_model_name, check_notes
from everfit.registry.service.models import hold_known
from everfit.registry.store import models, trusted
from everfit.registry.store import versions as store


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
    a package it offers the second time is neither kept nor trusted. Versions that clients
    logged of the same run are others.

    Raises
    ------
    Invalid
        If the name cannot be that of a model trained here.
    """
    check_model_name(model)
    last = _hold_or_make(tx, model)
    made = store.of_run(tx, model, run)
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
        updated_at=tx.now,
    )
    store.insert(tx, version)
    # No event of its own: the version's event says which package was produced here.
    trusted.insert(tx, package, by="everfit", reason=f"produced here by run {run}")
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


def _hold_or_make(tx: Transaction, model: str) -> int:
    """Lock the model of a training, made here if it is new, and return its last number."""
    if models.hold(tx, model) is None:
        new = RegisteredModel(name=model, description=None, created_at=tx.now, updated_at=tx.now)
        models.insert(tx, new)
    # Another writer may have made it, and its first version, at the same moment.
    return hold_known(tx, model)


def create_version(
    tx: Transaction,
    model: str,
    *,
    source: str,
    location: str | None = None,
    run: str | None = None,
    run_link: str | None = None,
    logged_model: str | None = None,
    package: str | None = None,
    unpackaged: str | None = None,
    signature: Signature | None = None,
    metrics: Mapping[str, float] | None = None,
    algorithm: str | None = None,
    author: str | None = None,
    description: str | None = None,
    status_message: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> ModelVersion:
    """Store a version that was logged from outside and return it.

    Each call makes a version, also for the same run; its number stays used when it is deleted.
    ``location`` is where its files are, the source itself if left out. A package is not trusted
    by this: a person vouches for it with `trust`. Without one, ``unpackaged`` says why.

    Raises
    ------
    NotFound
        If there is no such model: clients make it first.
    Invalid
        If texts or tags cannot be kept, or the package comes without a signature, or neither
        a package nor the reason why there is none is given.
    """
    check_any_name(model)
    texts: dict[str, Any] = {
        "source": source,
        "location": location,
        "run": run,
        "run_link": run_link,
        "logged_model": logged_model,
        "unpackaged": unpackaged,
        "algorithm": algorithm,
        "author": author,
        "description": description,
        "status_message": status_message,
    }
    check_notes(f"a version of model {model!r}", tags=tags, texts=texts)
    _check_package(model, package, unpackaged, signature)
    version = ModelVersion(
        **{**texts, "location": location or source},
        model=model,
        number=hold_known(tx, model) + 1,
        origin=Origin.OUTSIDE,
        package=package,
        dataset=None,
        profile=None,
        signature=signature,
        metrics={name: float(value) for name, value in (metrics or {}).items()},
        tags=dict(tags or {}),
        created_at=tx.now,
        updated_at=tx.now,
    )
    store.insert(tx, version)
    _record_logged(tx, version)
    return version


def _check_package(
    model: str, package: str | None, unpackaged: str | None, signature: Signature | None
) -> None:
    if (package is None) == (unpackaged is None):
        raise Invalid(
            f"a version of model {model!r} has a package, or a reason why it has none",
            hint="Give the digest of the package, or say what keeps it from being packed.",
        )
    if package is not None and signature is None:
        raise Invalid(
            f"the package {package} of model {model!r} comes without its signature",
            hint="Read it from the package's manifest.",
        )


def _record_logged(tx: Transaction, version: ModelVersion) -> None:
    tx.record(
        "version-logged",
        version.subject,
        version.author or "everfit",
        model=version.model,
        number=version.number,
        source=noted(version.source),
        run=version.run,
        package=version.package,
        description=noted(version.description),
        tags={key: noted(value) for key, value in version.tags.items()},
    )
