"""Experiments."""

from __future__ import annotations

from everfit.errors import NotFound
from everfit.filters import EXPERIMENTS, parse_filter, parse_order
from everfit.mlflow_api.dispatch import Call
from everfit.mlflow_api.pages import Query, page_of
from everfit.mlflow_api.values import (
    milliseconds,
    stages,
    tag_list,
    tag_values,
)
from everfit.mlflow_api.wire import Experiment, Message, Nothing, Tag
from everfit.tracking import Experiment as Stored
from everfit.tracking import (
    ExperimentSearch,
    create_experiment,
    delete_experiment,
    delete_experiment_tag,
    find_experiment,
    get_experiment,
    rename_experiment,
    restore_experiment,
    search_experiments,
    set_experiment_tags,
)

MOST_RESULTS = 50_000


class Named(Message):
    """A request about the experiment of an id."""

    experiment_id: str


class Create(Message):
    """Make an experiment."""

    name: str
    artifact_location: str | None = None
    tags: list[Tag] = []


class GetByName(Message):
    """Ask for the experiment of a name."""

    experiment_name: str


class Update(Message):
    """Rename an experiment."""

    experiment_id: str
    new_name: str


class SetTag(Message):
    """Set a tag of an experiment."""

    experiment_id: str
    key: str
    value: str


class DeleteTag(Message):
    """Delete a tag of an experiment."""

    experiment_id: str
    key: str


class Search(Query, kw_only=True):
    """Ask for experiments that fit a filter."""

    view_type: str | None = None


def experiment_message(call: Call, stored: Stored) -> Experiment:
    """Return an experiment as it is answered."""
    return Experiment(
        experiment_id=stored.id,
        name=stored.name,
        artifact_location=stored.location or call.api.artifact_uri(stored.id),
        lifecycle_stage=stored.stage,
        last_update_time=milliseconds(stored.updated_at),
        creation_time=milliseconds(stored.created_at),
        tags=tag_list(stored.tags),
    )


def create(call: Call, request: Create) -> dict[str, str]:
    """Make an experiment."""
    made = create_experiment(
        call.tx,
        request.name,
        location=request.artifact_location,
        tags=tag_values(request.tags),
    )
    return {"experiment_id": made.id}


def get(call: Call, request: Named) -> dict[str, Experiment]:
    """Return one experiment."""
    return {"experiment": experiment_message(call, get_experiment(call.tx, request.experiment_id))}


def get_by_name(call: Call, request: GetByName) -> dict[str, Experiment]:
    """Return the experiment of a name."""
    found = find_experiment(call.tx, request.experiment_name)
    if found is None:
        raise NotFound(
            f"no experiment is called {request.experiment_name!r}",
            hint="Create it first, or search for part of its name.",
        )
    return {"experiment": experiment_message(call, found)}


def delete(call: Call, request: Named) -> Nothing:
    """Hide an experiment and its runs."""
    delete_experiment(call.tx, request.experiment_id)
    return {}


def restore(call: Call, request: Named) -> Nothing:
    """Show an experiment and its runs again."""
    restore_experiment(call.tx, request.experiment_id)
    return {}


def update(call: Call, request: Update) -> Nothing:
    """Rename an experiment."""
    rename_experiment(call.tx, request.experiment_id, request.new_name)
    return {}


def set_tag(call: Call, request: SetTag) -> Nothing:
    """Set a tag."""
    set_experiment_tags(call.tx, request.experiment_id, {request.key: request.value})
    return {}


def delete_tag(call: Call, request: DeleteTag) -> Nothing:
    """Delete a tag."""
    delete_experiment_tag(call.tx, request.experiment_id, request.key)
    return {}


def search(call: Call, request: Search) -> dict[str, object]:
    """Return the experiments that fit, page by page."""
    page = page_of(request.max_results, request.page_token, default=1_000, most=MOST_RESULTS)
    asked = ExperimentSearch(
        stages=stages(request.view_type),
        clauses=parse_filter(request.filter, EXPERIMENTS),
        orders=parse_order(request.order_by, EXPERIMENTS),
        limit=page.limit,
        offset=page.offset,
    )
    found, more = search_experiments(call.tx, asked)
    messages = [experiment_message(call, one) for one in found]
    return {"experiments": messages, **page.following(more=more)}
