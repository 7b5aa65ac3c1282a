"""Versions of registered models."""

from __future__ import annotations

from everfit.deployment import serving_plan
from everfit.errors import Invalid, Refused
from everfit.filters import VERSIONS, parse_filter, parse_order
from everfit.mlflow_api.dispatch import Call
from everfit.mlflow_api.pages import Query, page_of
from everfit.mlflow_api.sources import found_source, own_folder
from everfit.mlflow_api.values import (
    milliseconds,
    tag_list,
    tag_values,
)
from everfit.mlflow_api.wire import Message, Nothing, Tag
from everfit.packages import FOLDER
from everfit.registry import ModelVersion as Stored
from everfit.registry import (
    RegisteredModel,
    create_version,
    delete_version,
    delete_version_tag,
    get_model,
    get_version,
    search_versions,
    set_version_tag,
    transition_stage,
    update_version,
)

MOST_RESULTS = 200_000
LARGEST = 2**31


class ModelVersion(Message):
    """A version as it is answered."""

    name: str
    version: str
    creation_timestamp: int
    last_updated_timestamp: int
    current_stage: str
    source: str
    status: str
    user_id: str = ""
    description: str = ""
    run_id: str = ""
    status_message: str = ""
    run_link: str = ""
    model_id: str | None = None
    tags: list[Tag] = []
    aliases: list[str] = []


class Named(Message):
    """A request about one version."""

    name: str
    version: str


class Create(Message):
    """Register a version."""

    name: str
    source: str
    run_id: str | None = None
    tags: list[Tag] = []
    run_link: str | None = None
    description: str | None = None
    model_id: str | None = None


class Update(Message):
    """Describe a version."""

    name: str
    version: str
    description: str | None = None


class Transition(Message):
    """Put a version into a stage."""

    name: str
    version: str
    stage: str
    archive_existing_versions: bool | None = None


class SetTag(Message):
    """Set a tag of a version."""

    name: str
    version: str
    key: str
    value: str = ""


class DeleteTag(Message):
    """Delete a tag of a version."""

    name: str
    version: str
    key: str


def version_number(text: str) -> int:
    """Return the number of a version; raises Invalid."""
    if not text.isdecimal() or not 0 < int(text) < LARGEST:
        raise Invalid(f"{text[:40]!r} is no version", hint="Send a whole number from 1 on.")
    return int(text)


def serves(call: Call, model: str) -> bool:
    """Return whether the model answers requests here."""
    return serving_plan(call.tx, model) is not None


def version_message(call: Call, stored: Stored, model: RegisteredModel) -> ModelVersion:
    """Return a version as it is answered."""
    return ModelVersion(
        name=stored.model,
        version=str(stored.number),
        creation_timestamp=milliseconds(stored.created_at),
        last_updated_timestamp=milliseconds(stored.updated_at),
        current_stage=stored.stage,
        source=call.api.rendered(stored.source or _source(stored)),
        status="READY",
        user_id=stored.author or "",
        description=stored.description or "",
        run_id=stored.run or "",
        status_message=stored.status_message or _lacking(stored),
        run_link=stored.run_link or "",
        model_id=stored.logged_model,
        tags=tag_list(stored.tags),
        aliases=sorted(name for name, at in model.aliases.items() if at == stored.number),
    )


def _lacking(stored: Stored) -> str:
    """Return why clients alone can load a version; nothing where Everfit can, too."""
    return f"Everfit cannot load it: {stored.unpackaged}" if stored.unpackaged else ""


def _source(stored: Stored) -> str:
    """Return where a version that was trained here comes from."""
    return f"runs:/{stored.run}/{FOLDER}" if stored.run else ""


def _answer(call: Call, stored: Stored) -> dict[str, ModelVersion]:
    model = get_model(call.tx, stored.model)
    return {"model_version": version_message(call, stored, model)}


def create(call: Call, request: Create) -> dict[str, ModelVersion]:
    """Register a version; what it is loaded from is looked at when it is wanted."""
    source = found_source(call, request.source, request.run_id, request.model_id)
    made = create_version(
        call.tx,
        request.name,
        source=source.uri,
        location=source.location,
        run=source.run,
        run_link=request.run_link,
        logged_model=source.logged_model,
        description=request.description,
        tags=tag_values(request.tags),
        **source.packaged(call),
    )
    return _answer(call, made)


def get(call: Call, request: Named) -> dict[str, ModelVersion]:
    """Return one version."""
    return _answer(call, get_version(call.tx, request.name, version_number(request.version)))


def update(call: Call, request: Update) -> dict[str, ModelVersion]:
    """Describe a version."""
    number = version_number(request.version)
    return _answer(
        call, update_version(call.tx, request.name, number, description=request.description)
    )


def delete(call: Call, request: Named) -> Nothing:
    """Remove a version."""
    number = version_number(request.version)
    if serves(call, request.name):
        raise Refused(
            f"version {number} of {request.name!r} is kept: the model is served here",
            hint="A rollback may need it; archive it by its stage instead.",
        )
    delete_version(call.tx, request.name, number)
    return {}


def transition(call: Call, request: Transition) -> dict[str, ModelVersion]:
    """Put a version into a stage."""
    moved = transition_stage(
        call.tx,
        request.name,
        version_number(request.version),
        request.stage,
        archive_existing=bool(request.archive_existing_versions),
    )
    return _answer(call, moved)


def set_tag(call: Call, request: SetTag) -> Nothing:
    """Set a tag."""
    number = version_number(request.version)
    set_version_tag(call.tx, request.name, number, key=request.key, value=request.value)
    return {}


def delete_tag(call: Call, request: DeleteTag) -> Nothing:
    """Delete a tag."""
    delete_version_tag(call.tx, request.name, version_number(request.version), key=request.key)
    return {}


def download_uri(call: Call, request: Named) -> dict[str, str]:
    """Return where the files of a version are."""
    stored = get_version(call.tx, request.name, version_number(request.version))
    if stored.location is None and stored.run is not None:
        return {"artifact_uri": call.api.artifact_uri(own_folder(call, stored.run))}
    return {"artifact_uri": call.api.rendered(stored.location or "")}


def search(call: Call, request: Query) -> dict[str, object]:
    """Return the versions that fit, page by page."""
    page = page_of(request.max_results, request.page_token, default=10_000, most=MOST_RESULTS)
    found = search_versions(
        call.tx,
        where=parse_filter(request.filter, VERSIONS),
        order=parse_order(request.order_by, VERSIONS),
        limit=page.limit + 1,
        offset=page.offset,
    )
    models = {name: get_model(call.tx, name) for name in {one.model for one in found}}
    messages = [version_message(call, one, models[one.model]) for one in found[: page.limit]]
    return {"model_versions": messages, **page.following(more=len(found) > page.limit)}
