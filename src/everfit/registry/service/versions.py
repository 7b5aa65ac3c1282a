"""Versions as people see them: described, staged, tagged, found and removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from everfit.errors import Invalid, NotFound
from everfit.filters import Comparison, Order
from everfit.kernel import Transaction
from everfit.packages import Signature
from everfit.registry.model import ModelVersion, Origin, Stage, noted
from everfit.registry.names import check_any_name, check_notes
from everfit.registry.service.models import check_page, hold_known, no_model
from everfit.registry.store import models, search
from everfit.registry.store import versions as store


def get_version(tx: Transaction, model: str, number: int) -> ModelVersion:
    """Return one version.

    Raises
    ------
    NotFound, Invalid
        If there is none, or no model can be called so.
    """
    check_any_name(model)
    found = store.find(tx, model, number)
    if found is None:
        raise NotFound(
            f"no version {number} of model {model!r} in project {tx.project!r}",
            hint="`everfit status` names the version that answers; `everfit run` trains one.",
            model=model,
            number=number,
        )
    return found


def list_versions(tx: Transaction, model: str) -> list[ModelVersion]:
    """Return the versions of ``model`` by number, the last one made at the end."""
    return store.of_model(tx, model)


def newest_signature(tx: Transaction, model: str) -> Signature | None:
    """Return the signature of the newest version of ``model`` that has one, or None."""
    return store.newest_signature(tx, model)


def versions_by_stage(
    tx: Transaction, model: str, stages: Sequence[str] = ()
) -> list[ModelVersion]:
    """Return the newest version of each stage, or of each of ``stages``.

    Raises
    ------
    NotFound, Invalid
        If there is no such model, or no such stage.
    """
    check_any_name(model)
    if not models.exists(tx, model):
        raise no_model(tx, model)
    wanted = {Stage.of(stage) for stage in stages} or set(Stage)
    return [version for version in store.latest(tx, [model]) if version.stage in wanted]


def search_versions(
    tx: Transaction,
    *,
    where: Sequence[Comparison] = (),
    order: Sequence[Order] = (),
    limit: int,
    offset: int = 0,
) -> list[ModelVersion]:
    """Return the versions for which every comparison holds, the last changed one first.

    Compared are ``name``, ``version_number``, ``run_id``, ``source_path``, ``current_stage``
    and tags. Pages and prompts are those of `search_models`.

    Raises
    ------
    Invalid
        If a comparison or an order is none of versions, or the page is none.
    """
    check_page(limit, offset)
    query = search.select(tx, search.VERSIONS, where, order)
    return store.read(tx, query.limit(limit).offset(offset))


def update_version(
    tx: Transaction,
    model: str,
    number: int,
    *,
    description: str | None,
    actor: str = "everfit",
) -> ModelVersion:
    """Describe a version anew and return it.

    Raises
    ------
    NotFound, Invalid
        If there is no such version, or the text cannot be kept.
    """
    check_notes(f"version {model}/{number}", texts={"description": description})
    version = _held(tx, model, number)
    store.update(tx, model, [number], description=description, updated_at=tx.now)
    tx.record("version-described", version.subject, actor, description=noted(description))
    return replace(version, description=description, updated_at=tx.now)


def complete_version(
    tx: Transaction, model: str, number: int, *, signature: Signature, profile: str
) -> ModelVersion:
    """Note what was found when a version from outside was opened, and return it.

    ``signature`` is that of the opened model, ``profile`` the digest of its reference profile.

    Raises
    ------
    NotFound, Invalid
        If there is no such version, or a training here made it.
    """
    version = _held(tx, model, number)
    if version.origin is Origin.OWN:
        raise Invalid(
            f"version {version.subject} was trained here and is complete",
            hint="Train another version.",
        )
    found = {"signature": signature.to_builtins(), "profile": profile, "updated_at": tx.now}
    store.update(tx, model, [number], **found)
    tx.record("version-completed", version.subject, task=signature.task, profile=profile)
    return replace(version, signature=signature, profile=profile, updated_at=tx.now)


def transition_stage(
    tx: Transaction,
    model: str,
    number: int,
    stage: str,
    *,
    archive_existing: bool = False,
    actor: str = "everfit",
) -> ModelVersion:
    """Put a version into a stage and return it; nothing that is served changes.

    ``archive_existing`` puts the other versions of that stage, Staging or Production, into
    Archived.

    Raises
    ------
    NotFound, Invalid
        If there is no such version or stage, or versions of it cannot be archived.
    """
    wanted = Stage.of(stage)
    if archive_existing and not wanted.is_active:
        raise Invalid(
            f"versions of the stage {wanted} are not archived",
            hint=f"Archive those of {Stage.STAGING} or {Stage.PRODUCTION}.",
        )
    version = _held(tx, model, number)
    others = store.of_stage(tx, model, wanted) if archive_existing else []
    archived = [other for other in others if other != number]
    store.update(tx, model, archived, stage=Stage.ARCHIVED, updated_at=tx.now)
    store.update(tx, model, [number], stage=wanted, updated_at=tx.now)
    models.update(tx, model, updated_at=tx.now)
    moved = {"from": version.stage, "to": wanted, "archived": archived}
    tx.record("version-staged", version.subject, actor, **moved)
    return replace(version, stage=wanted, updated_at=tx.now)


def delete_version(tx: Transaction, model: str, number: int, *, actor: str = "everfit") -> None:
    """Remove a version, its tags and the aliases that stand at it; its number stays used.

    Refuse the removal of a version that answers, rolls out or may be gone back to before it
    comes here.

    Raises
    ------
    NotFound, Invalid
        If there is no such version, or no model can be called so.
    """
    version = _held(tx, model, number)
    gone = [name for name, at in models.get_aliases(tx, model).items() if at == number]
    for alias in gone:
        models.put_alias(tx, model, alias, None)
    store.delete(tx, model, number)
    models.update(tx, model, updated_at=tx.now)
    if version.origin is Origin.OWN:
        models.retire(tx, model, number)
    tx.record(
        "version-deleted",
        version.subject,
        actor,
        run=version.run,
        package=version.package,
        source=noted(version.source),
        aliases=gone,
    )


def set_version_tag(
    tx: Transaction, model: str, number: int, *, key: str, value: str, actor: str = "everfit"
) -> None:
    """Set a tag of a version, replacing the one of the same key.

    Raises
    ------
    NotFound, Invalid
        If there is no such version, or the tag cannot be kept.
    """
    check_notes(f"version {model}/{number}", tags={key: value})
    version = _held(tx, model, number)
    if version.tags.get(key) != value:
        store.delete_tag(tx, version, key)
        store.put_tags(tx, version, {key: value})
        tx.record("version-tagged", version.subject, actor, key=key, value=noted(value))


def delete_version_tag(
    tx: Transaction, model: str, number: int, *, key: str, actor: str = "everfit"
) -> None:
    """Remove a tag of a version; one that it does not have is no error.

    Raises
    ------
    NotFound, Invalid
        If there is no such version, or no tag can be called so.
    """
    check_notes(f"version {model}/{number}", tags={key: ""})
    version = _held(tx, model, number)
    if key in version.tags:
        store.delete_tag(tx, version, key)
        tx.record("version-untagged", version.subject, actor, key=key)


def _held(tx: Transaction, model: str, number: int) -> ModelVersion:
    """Lock the model until the transaction ends and return a version of it, or raise NotFound."""
    check_any_name(model)
    hold_known(tx, model)
    return get_version(tx, model, number)
