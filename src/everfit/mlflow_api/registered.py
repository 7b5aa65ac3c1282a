"""Registered models and their aliases."""

from __future__ import annotations

from everfit.errors import Refused
from everfit.filters import MODELS, parse_filter, parse_order
from everfit.mlflow_api.dispatch import Call
from everfit.mlflow_api.pages import Query, page_of
from everfit.mlflow_api.values import (
    milliseconds,
    tag_list,
    tag_values,
)
from everfit.mlflow_api.versions import ModelVersion, serves, version_message, version_number
from everfit.mlflow_api.wire import Message, Nothing, Tag
from everfit.registry import (
    CHAMPION,
    RegisteredModel,
    create_model,
    delete_model,
    delete_model_tag,
    get_model,
    rename_model,
    resolve_alias,
    search_models,
    set_alias,
    set_model_tag,
    update_model,
    versions_by_stage,
)

MOST_RESULTS = 1_000


class Alias(Message):
    """An alias and the version that it stands at."""

    alias: str
    version: str


class Registered(Message):
    """A registered model as it is answered."""

    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str = ""
    latest_versions: list[ModelVersion] = []
    tags: list[Tag] = []
    aliases: list[Alias] = []


class Named(Message):
    """A request about the model of a name."""

    name: str


class Create(Message):
    """Make a model."""

    name: str
    tags: list[Tag] = []
    description: str | None = None


class Rename(Message):
    """Give a model another name."""

    name: str
    new_name: str


class Update(Message):
    """Describe a model."""

    name: str
    description: str | None = None


class SetTag(Message):
    """Set a tag of a model."""

    name: str
    key: str
    value: str = ""


class DeleteTag(Message):
    """Delete a tag of a model."""

    name: str
    key: str


class SetAlias(Message):
    """Point an alias at a version."""

    name: str
    alias: str
    version: str


class NamedAlias(Message):
    """A request about an alias of a model."""

    name: str
    alias: str


class Latest(Message):
    """Ask for the newest version of each stage."""

    name: str
    stages: list[str] = []


def registered_message(call: Call, model: RegisteredModel) -> Registered:
    """Return a model as it is answered."""
    return Registered(
        name=model.name,
        creation_timestamp=milliseconds(model.created_at),
        last_updated_timestamp=milliseconds(model.updated_at),
        description=model.description or "",
        latest_versions=[version_message(call, version, model) for version in model.latest],
        tags=tag_list(model.tags),
        aliases=[Alias(alias=name, version=str(at)) for name, at in model.aliases.items()],
    )


def _answer(call: Call, model: RegisteredModel) -> dict[str, Registered]:
    return {"registered_model": registered_message(call, model)}


def create(call: Call, request: Create) -> dict[str, Registered]:
    """Make a model."""
    made = create_model(
        call.tx, request.name, description=request.description, tags=tag_values(request.tags)
    )
    return _answer(call, made)


def get(call: Call, request: Named) -> dict[str, Registered]:
    """Return one model."""
    return _answer(call, get_model(call.tx, request.name))


def rename(call: Call, request: Rename) -> dict[str, Registered]:
    """Give a model another name."""
    _refuse_if_served(call, request.name)
    return _answer(call, rename_model(call.tx, request.name, request.new_name))


def update(call: Call, request: Update) -> dict[str, Registered]:
    """Describe a model."""
    return _answer(call, update_model(call.tx, request.name, description=request.description))


def delete(call: Call, request: Named) -> Nothing:
    """Remove a model with its versions."""
    _refuse_if_served(call, request.name)
    delete_model(call.tx, request.name)
    return {}


def set_tag(call: Call, request: SetTag) -> Nothing:
    """Set a tag."""
    set_model_tag(call.tx, request.name, request.key, request.value)
    return {}


def delete_tag(call: Call, request: DeleteTag) -> Nothing:
    """Delete a tag."""
    delete_model_tag(call.tx, request.name, request.key)
    return {}


def point_alias(call: Call, request: SetAlias) -> Nothing:
    """Point an alias at a version."""
    _refuse_champion(call, request.name, request.alias)
    set_alias(call.tx, request.name, request.alias, version_number(request.version))
    return {}


def drop_alias(call: Call, request: NamedAlias) -> Nothing:
    """Remove an alias."""
    _refuse_champion(call, request.name, request.alias)
    set_alias(call.tx, request.name, request.alias, None)
    return {}


def by_alias(call: Call, request: NamedAlias) -> dict[str, ModelVersion]:
    """Return the version that an alias stands at."""
    version = resolve_alias(call.tx, request.name, request.alias)
    return {"model_version": version_message(call, version, get_model(call.tx, request.name))}


def latest(call: Call, request: Latest) -> dict[str, list[ModelVersion]]:
    """Return the newest version of each stage."""
    found = versions_by_stage(call.tx, request.name, request.stages)
    model = get_model(call.tx, request.name)
    return {"model_versions": [version_message(call, version, model) for version in found]}


def search(call: Call, request: Query) -> dict[str, object]:
    """Return the models that fit, page by page."""
    page = page_of(request.max_results, request.page_token, default=100, most=MOST_RESULTS)
    found = search_models(
        call.tx,
        where=parse_filter(request.filter, MODELS),
        order=parse_order(request.order_by, MODELS),
        limit=page.limit + 1,
        offset=page.offset,
    )
    messages = [registered_message(call, model) for model in found[: page.limit]]
    return {"registered_models": messages, **page.following(more=len(found) > page.limit)}


def _refuse_if_served(call: Call, name: str) -> None:
    if serves(call, name):
        raise Refused(
            f"model {name!r} is served here and keeps its name",
            hint="Releases, reports and the policy name it; register another model instead.",
        )


def _refuse_champion(call: Call, name: str, alias: str) -> None:
    if alias == CHAMPION and serves(call, name):
        raise Refused(
            f"the champion of {name!r} is served here and moves only on evidence",
            hint=f"`everfit release {name} VERSION` puts a version through the gates.",
        )
