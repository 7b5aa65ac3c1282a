"""Models as their owners see them: named, described, tagged, found and removed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from everfit.errors import Conflict, Invalid, NotFound
from everfit.filters import Comparison, Order
from everfit.kernel import Transaction
from everfit.registry.model import RegisteredModel, noted
from everfit.registry.names import check_any_name, check_model_name, check_notes
from everfit.registry.store import models as store
from everfit.registry.store import search, versions


def create_model(
    tx: Transaction,
    name: str,
    *,
    description: str | None = None,
    tags: Mapping[str, str] | None = None,
    actor: str = "everfit",
) -> RegisteredModel:
    """Make a model without versions and return it.

    A training makes its model by itself; clients make one before they log versions of it.

    Raises
    ------
    Invalid
        If name, description or tags cannot be kept.
    Conflict
        If there is a model of that name.
    """
    check_any_name(name)
    check_notes(f"model {name!r}", tags=tags, texts={"description": description})
    model = RegisteredModel(
        name=name,
        description=description,
        created_at=tx.now,
        updated_at=tx.now,
        tags=dict(tags or {}),
    )
    if not store.insert(tx, model):
        raise _taken(tx, name)
    store.put_tags(tx, name, dict(model.tags))
    told = {key: noted(value) for key, value in model.tags.items()}
    tx.record("model-created", name, actor, description=noted(description), tags=told)
    return model


def get_model(tx: Transaction, name: str) -> RegisteredModel:
    """Return one model with its tags, its aliases and its newest versions.

    Raises
    ------
    NotFound, Invalid
        If there is none, or no model can be called so.
    """
    check_any_name(name)
    found = store.find(tx, name)
    if found is None:
        raise no_model(tx, name)
    return found


def list_models(tx: Transaction) -> list[str]:
    """Return the names of the models in this project."""
    return store.names(tx)


def search_models(
    tx: Transaction,
    *,
    where: Sequence[Comparison] = (),
    order: Sequence[Order] = (),
    limit: int,
    offset: int = 0,
) -> list[RegisteredModel]:
    """Return the models for which every comparison holds, by name unless ``order`` says otherwise.

    Compared are ``name`` and tags. At most ``limit`` are returned after leaving out ``offset``:
    to know whether there are more, ask for one more than is shown. MLflow keeps prompts among
    the models; they are found only where the tag ``mlflow.prompt.is_prompt`` is asked for.

    Raises
    ------
    Invalid
        If a comparison or an order is none of models, or the page is none.
    """
    check_page(limit, offset)
    query = search.select(tx, search.MODELS, where, order)
    return store.read(tx, query.limit(limit).offset(offset))


def rename_model(
    tx: Transaction, name: str, new: str, *, actor: str = "everfit"
) -> RegisteredModel:
    """Give a model, its versions, tags and aliases another name, and return it.

    Reports, releases, approvals and the policy name a model as well and are not changed: refuse
    the renaming of a model that is served before it comes here. The numbers of versions that
    were trained under the old name are not given again under it.

    Raises
    ------
    NotFound
        If there is no such model.
    Conflict
        If the new name is taken.
    Invalid
        If no model can be called so, or no model that is trained here.
    """
    check_any_name(name)
    check_any_name(new)
    last = hold_known(tx, name)
    own = versions.has_own(tx, name)
    if own:
        check_model_name(new)
    if new != name:
        renamed = replace(get_model(tx, name), name=new)
        if not store.rename(tx, name, renamed):
            raise _taken(tx, new)
        if own:
            store.retire(tx, name, last)
        tx.record("model-renamed", name, actor, to=new)
    store.update(tx, new, updated_at=tx.now)
    versions.update_all(tx, new, updated_at=tx.now)
    return get_model(tx, new)


def update_model(
    tx: Transaction, name: str, *, description: str | None, actor: str = "everfit"
) -> RegisteredModel:
    """Describe a model anew and return it.

    Raises
    ------
    NotFound, Invalid
        If there is no such model, or the text cannot be kept.
    """
    check_any_name(name)
    check_notes(f"model {name!r}", texts={"description": description})
    hold_known(tx, name)
    store.update(tx, name, description=description, updated_at=tx.now)
    tx.record("model-described", name, actor, description=noted(description))
    return get_model(tx, name)


def delete_model(tx: Transaction, name: str, *, actor: str = "everfit") -> None:
    """Remove a model with its versions, aliases and tags; files and ledger stay as they are.

    Refuse the removal of a model that is served before it comes here. A model of the same name
    made later counts its versions from 1, or, where trainings made some of those removed, on
    from the last of them: reports and approvals name them by number.

    Raises
    ------
    NotFound, Invalid
        If there is no such model, or no model can be called so.
    """
    check_any_name(name)
    last = hold_known(tx, name)
    if versions.has_own(tx, name):
        store.retire(tx, name, last)
    store.delete(tx, name)
    tx.record("model-deleted", name, actor, last_number=last)


def set_model_tag(
    tx: Transaction, name: str, key: str, value: str, *, actor: str = "everfit"
) -> None:
    """Set a tag of a model, replacing the one of the same key.

    Raises
    ------
    NotFound, Invalid
        If there is no such model, or the tag cannot be kept.
    """
    check_any_name(name)
    check_notes(f"model {name!r}", tags={key: value})
    hold_known(tx, name)
    if store.get_tags(tx, name).get(key) != value:
        store.delete_tag(tx, name, key)
        store.put_tags(tx, name, {key: value})
        tx.record("model-tagged", name, actor, key=key, value=noted(value))


def delete_model_tag(tx: Transaction, name: str, key: str, *, actor: str = "everfit") -> None:
    """Remove a tag of a model; one that it does not have is no error.

    Raises
    ------
    NotFound, Invalid
        If there is no such model, or no tag can be called so.
    """
    check_any_name(name)
    check_notes(f"model {name!r}", tags={key: ""})
    hold_known(tx, name)
    if key in store.get_tags(tx, name):
        store.delete_tag(tx, name, key)
        tx.record("model-untagged", name, actor, key=key)


def hold_known(tx: Transaction, name: str) -> int:
    """Lock a model until the transaction ends and return its last number; raises NotFound."""
    last = store.hold(tx, name)
    if last is None:
        raise no_model(tx, name)
    return last


def no_model(tx: Transaction, name: str) -> NotFound:
    """Return the error that says that there is no model of that name."""
    return NotFound(
        f"no model {name!r} in project {tx.project!r}",
        hint="Train it with `everfit run`, or create it with an MLflow client.",
        model=name,
    )


def check_page(limit: int, offset: int) -> None:
    """Refuse a page that holds nothing or begins before the first row; raises Invalid."""
    if limit < 1 or not 0 <= offset <= versions.LARGEST:
        raise Invalid(
            f"{limit} rows after {offset} are no page",
            hint="Ask for at least one row, and leave out none or more.",
        )


def _taken(tx: Transaction, name: str) -> Conflict:
    return Conflict(
        f"there is a model {name!r} in project {tx.project!r} already",
        hint="Log a version of that model, or choose another name.",
        model=name,
    )
