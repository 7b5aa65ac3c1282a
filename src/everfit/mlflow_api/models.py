"""Logged models: made, ended, measured, found."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from everfit.errors import Invalid
from everfit.filters import LOGGED_MODELS, order_field, parse_filter
from everfit.mlflow_api import wire
from everfit.mlflow_api.artifacts import entries
from everfit.mlflow_api.dispatch import Call
from everfit.mlflow_api.pages import page_of
from everfit.mlflow_api.values import (
    milliseconds,
    model_metric,
    tag_list,
    tag_values,
)
from everfit.mlflow_api.wire import LoggedModel, Message, Nothing, Tag
from everfit.tracking import (
    DatasetChoice,
    LoggedModelData,
    ModelOrder,
    ModelSearch,
    ModelStatus,
    create_logged_model,
    delete_logged_model,
    delete_model_tag,
    files_below,
    finalize_logged_model,
    get_experiment,
    get_logged_model,
    log_model_params,
    model_folder,
    search_logged_models,
    set_model_tags,
)

MOST_RESULTS = 50_000
MOST_EXPERIMENTS = 10_000
_NAMES = {
    ModelStatus.UNSPECIFIED: "LOGGED_MODEL_STATUS_UNSPECIFIED",
    ModelStatus.PENDING: "LOGGED_MODEL_PENDING",
    ModelStatus.READY: "LOGGED_MODEL_READY",
    ModelStatus.FAILED: "LOGGED_MODEL_UPLOAD_FAILED",
}
# The protocol knows each status by its name and by its number.
_STATUSES: dict[str | int, ModelStatus] = {name: status for status, name in _NAMES.items()}
_STATUSES |= dict(enumerate(_NAMES))


class Create(Message):
    """Make a logged model."""

    experiment_id: str
    name: str = ""
    model_type: str = ""
    source_run_id: str = ""
    params: list[Tag] = []
    tags: list[Tag] = []


class Named(Message):
    """A request about the logged model of an id."""

    model_id: str


class Get(Named):
    """Ask for a logged model."""

    allow_deleted: bool = False


class Finalize(Named, kw_only=True):
    """Say how the upload of a logged model ended."""

    status: str | int


class LogParams(Named, kw_only=True):
    """Add parameters to a logged model."""

    params: list[Tag] = []


class SetTags(Named, kw_only=True):
    """Set tags of a logged model."""

    tags: list[Tag] = []


class DeleteTag(Named, kw_only=True):
    """Delete a tag of a logged model."""

    tag_key: str


class ListFiles(Named, kw_only=True):
    """Ask for what lies in a folder of a logged model's files."""

    artifact_directory_path: str = ""


class DatasetFilter(Message):
    """The datasets on which metrics are looked at."""

    dataset_name: str = ""
    dataset_digest: str = ""


class OrderBy(DatasetFilter, kw_only=True):
    """A key of an order; of a metric, with the dataset it is taken on."""

    field_name: str
    ascending: bool = True


class Search(Message):
    """Ask for logged models that fit a filter."""

    experiment_ids: list[str] = []
    filter: str | None = None
    datasets: list[DatasetFilter] = []
    max_results: int | None = None
    order_by: list[OrderBy] = []
    page_token: str | None = None


def model_messages(call: Call, found: Sequence[LoggedModelData]) -> list[LoggedModel]:
    """Return logged models as they are answered."""
    ids = {data.model.experiment for data in found}
    locations = {id: get_experiment(call.tx, id).location for id in ids}
    return [_message(call, data, locations[data.model.experiment]) for data in found]


def _message(call: Call, data: LoggedModelData, location: str | None) -> LoggedModel:
    model = data.model
    return LoggedModel(
        info=wire.LoggedModelInfo(
            model_id=model.id,
            experiment_id=model.experiment,
            name=model.name,
            creation_timestamp_ms=milliseconds(model.created_at),
            last_updated_timestamp_ms=milliseconds(model.updated_at),
            artifact_uri=_uri(call, data, location),
            status=_NAMES[model.status],
            model_type=model.type,
            source_run_id=model.source_run,
            tags=tag_list(data.tags),
        ),
        data=wire.LoggedModelData(
            params=tag_list(data.params),
            metrics=[model_metric(point) for point in data.points],
        ),
    )


def _uri(call: Call, data: LoggedModelData, location: str | None) -> str:
    if location:
        return f"{location.rstrip('/')}/models/{data.model.id}/artifacts"
    return call.api.artifact_uri(model_folder(data.model))


def _answer(call: Call, data: LoggedModelData) -> dict[str, LoggedModel]:
    return {"model": model_messages(call, [data])[0]}


def create(call: Call, request: Create) -> dict[str, LoggedModel]:
    """Make a logged model."""
    made = create_logged_model(
        call.tx,
        request.experiment_id,
        name=request.name or None,
        type=request.model_type,
        source_run=request.source_run_id,
        params=_params(request.params),
        tags=tag_values(request.tags),
    )
    return _answer(call, made)


def _params(sent: Sequence[Tag]) -> dict[str, str]:
    """Return parameters by key; raises Invalid where one was sent twice, for they never change."""
    values = tag_values(sent)
    if len(values) < len(sent):
        raise Invalid(
            f"of {len(sent)} parameters only {len(values)} differ in their names",
            hint="Send each parameter once; nothing was logged.",
        )
    return values


def get(call: Call, request: Get) -> dict[str, LoggedModel]:
    """Return one logged model."""
    deleted = request.allow_deleted
    return _answer(call, get_logged_model(call.tx, request.model_id, deleted=deleted))


def finalize(call: Call, request: Finalize) -> dict[str, LoggedModel]:
    """Write how the upload of a logged model ended."""
    status = _STATUSES.get(request.status)
    if status is None:
        raise Invalid(
            f"{request.status!r} is no status of a logged model",
            hint=f"Use one of {', '.join(_NAMES.values())}.",
        )
    return _answer(call, finalize_logged_model(call.tx, request.model_id, status))


def delete(call: Call, request: Named) -> Nothing:
    """Hide a logged model."""
    delete_logged_model(call.tx, request.model_id)
    return {}


def log_params(call: Call, request: LogParams) -> Nothing:
    """Add parameters."""
    log_model_params(call.tx, request.model_id, _params(request.params))
    return {}


def set_tags(call: Call, request: SetTags) -> Nothing:
    """Set tags."""
    set_model_tags(call.tx, request.model_id, tag_values(request.tags))
    return {}


def delete_tag(call: Call, request: DeleteTag) -> Nothing:
    """Delete a tag."""
    delete_model_tag(call.tx, request.model_id, request.tag_key)
    return {}


def list_files(call: Call, request: ListFiles) -> dict[str, object]:
    """Return what lies in a folder of a logged model's files, by the path below its root."""
    data = get_logged_model(call.tx, request.model_id)
    below = request.artifact_directory_path.rstrip("/")
    root = model_folder(data.model)
    folder = f"{root}/{below}" if below else root
    files = entries(files_below(call.tx, folder), folder)
    for file in files:
        file.path = f"{below}/{file.path}" if below else file.path
    location = get_experiment(call.tx, data.model.experiment).location
    return {"root_uri": _uri(call, data, location), "files": files}


def search(call: Call, request: Search) -> dict[str, object]:
    """Return the logged models that fit, page by page."""
    if len(request.experiment_ids) > MOST_EXPERIMENTS:
        raise Invalid(
            f"{len(request.experiment_ids):,} experiments are searched at once",
            hint=f"Search at most {MOST_EXPERIMENTS:,} at once.",
        )
    page = page_of(
        request.max_results or None,
        request.page_token,
        default=50,
        most=MOST_RESULTS,
        search=_digest(request),
    )
    asked = ModelSearch(
        experiments=request.experiment_ids,
        clauses=parse_filter(request.filter, LOGGED_MODELS),
        datasets=[_choice(one) for one in request.datasets],
        orders=[_order(one) for one in request.order_by],
        limit=page.limit,
        offset=page.offset,
    )
    found, more = search_logged_models(call.tx, asked)
    return {"models": model_messages(call, found), **page.following(more=more)}


def _choice(sent: DatasetFilter) -> DatasetChoice:
    if not sent.dataset_name:
        raise Invalid(
            f"a dataset is chosen without a name, by the digest {sent.dataset_digest[:40]!r}",
            hint="Send dataset_name, and dataset_digest only beside it.",
        )
    return DatasetChoice(name=sent.dataset_name, digest=sent.dataset_digest or None)


def _order(sent: OrderBy) -> ModelOrder:
    order = order_field(sent.field_name, ascending=sent.ascending, grammar=LOGGED_MODELS)
    chosen = bool(sent.dataset_name or sent.dataset_digest)
    return ModelOrder(order=order, dataset=_choice(sent) if chosen else None)


def _digest(request: Search) -> str:
    """Return what tells a search from others."""
    searched = msgspec.json.encode([request.experiment_ids, request.filter, request.order_by])
    return hashlib.sha256(searched).hexdigest()[:16]
