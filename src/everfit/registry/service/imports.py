"""Models and versions that were registered elsewhere, brought over with their numbers and times."""

from __future__ import annotations

from everfit.errors import Invalid
from everfit.kernel import Transaction
from everfit.registry.model import ModelVersion, Origin, RegisteredModel, noted
from everfit.registry.names import check_any_name, check_notes
from everfit.registry.service.models import hold_known, no_model
from everfit.registry.store import models
from everfit.registry.store import versions as store


def import_model(
    tx: Transaction, model: RegisteredModel, *, last_number: int = 0, source: str
) -> bool:
    """Add a model with its description, tags and times; return False where the name is taken.

    Its versions count on from ``last_number``, for numbers of versions that were deleted stay
    used. Versions and aliases are brought over on their own. ``source`` is told the ledger.

    Raises
    ------
    Invalid
        If name, description or tags cannot be kept.
    """
    check_any_name(model.name)
    described = {"description": model.description}
    check_notes(f"model {model.name!r}", tags=model.tags, texts=described)
    if not models.insert(tx, model, last_number=last_number):
        return False
    models.put_tags(tx, model.name, dict(model.tags))
    tx.record("model-imported", model.name, source=source, description=noted(model.description))
    return True


def import_version(tx: Transaction, version: ModelVersion, *, source: str) -> bool:
    """Add a version under its own number; return False where that number is taken.

    Raises
    ------
    NotFound
        If there is no such model.
    Invalid
        If it is no version from outside, or texts or tags cannot be kept.
    """
    if version.origin is not Origin.OUTSIDE or version.number < 1:
        raise Invalid(
            f"{version.subject} is no version from outside with a number from 1 on",
            hint="Only versions that other programs made are imported.",
        )
    texts = {
        "source": version.source,
        "location": version.location,
        "run link": version.run_link,
        "description": version.description,
        "status message": version.status_message,
        "author": version.author,
    }
    check_notes(f"version {version.subject}", tags=version.tags, texts=texts)
    last = hold_known(tx, version.model)
    if store.find(tx, version.model, version.number) is not None:
        return False
    model = models.find(tx, version.model)
    if model is None:
        raise no_model(tx, version.model)
    store.insert(tx, version)
    kept = {"last_number": max(last, version.number), "updated_at": model.updated_at}
    models.update(tx, version.model, **kept)
    tx.record(
        "version-imported",
        version.subject,
        version.author or "everfit",
        model=version.model,
        number=version.number,
        source=source,
        run=version.run,
        location=noted(version.location),
    )
    return True
