"""Runs: made, changed, found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from everfit.errors import Invalid
from everfit.filters import RUNS, parse_filter, parse_order
from everfit.mlflow_api import wire
from everfit.mlflow_api.dispatch import Call
from everfit.mlflow_api.pages import Query, page_of
from everfit.mlflow_api.values import (
    metric,
    milliseconds,
    moment,
    run_status,
    stages,
    status_name,
    tag_list,
    tag_values,
)
from everfit.mlflow_api.wire import Message, Nothing, Tag
from everfit.tracking import (
    DatasetInput,
    Run,
    RunData,
    RunSearch,
    artifact_folder,
    create_run,
    delete_run,
    get_experiment,
    get_run_data,
    locations,
    restore_run,
    search_runs,
    update_run,
)

MOST_RESULTS = 50_000
MOST_EXPERIMENTS = 10_000


class Create(Message):
    """Start a run."""

    experiment_id: str = "0"
    user_id: str = ""
    run_name: str = ""
    start_time: int | None = None
    tags: list[Tag] = []


class Named(Message):
    """A request about the run of an id."""

    run_id: str = ""
    run_uuid: str = ""

    def id(self) -> str:
        """Return the run's id; raises Invalid where there is none."""
        return run_id_of(self.run_id, self.run_uuid)


class Update(Named):
    """Change a run's state, end or name."""

    status: str | None = None
    end_time: int | None = None
    run_name: str = ""


class Search(Query, kw_only=True):
    """Ask for runs that fit a filter."""

    experiment_ids: list[str] = []
    run_view_type: str | None = None


def run_id_of(run_id: str, run_uuid: str) -> str:
    """Return the one of the two that was sent; raises Invalid where none was."""
    found = run_id or run_uuid
    if not found:
        raise Invalid(
            "Missing value for required parameter 'run_id'", hint="Say which run is meant."
        )
    return found


def run_info(call: Call, run: Run, location: str | None) -> wire.RunInfo:
    """Return a run as it is answered, without what it logged."""
    own = call.api.artifact_uri(artifact_folder(run))
    return wire.RunInfo(
        run_id=run.id,
        run_uuid=run.id,
        run_name=run.name,
        experiment_id=run.experiment,
        user_id=run.actor,
        status=status_name(run.status),
        start_time=milliseconds(run.started_at),
        end_time=None if run.finished_at is None else milliseconds(run.finished_at),
        artifact_uri=f"{location.rstrip('/')}/{run.id}/artifacts" if location else own,
        lifecycle_stage=run.stage,
    )


def run_messages(call: Call, found: Sequence[RunData]) -> list[wire.Run]:
    """Return runs as they are answered."""
    places = locations(call.tx, found)
    return [
        wire.Run(
            info=run_info(call, data.run, places[data.run.experiment]),
            data=wire.RunData(
                metrics=[metric(point) for point in data.metrics],
                params=tag_list(data.params),
                tags=tag_list(data.tags),
            ),
            inputs=wire.RunInputs(
                dataset_inputs=[_dataset_input(used) for used in data.datasets],
                model_inputs=[wire.ModelInput(model_id=model) for model in data.models],
            ),
            outputs=wire.RunOutputs(
                model_outputs=[
                    wire.ModelOutput(model_id=made.model, step=made.step) for made in data.outputs
                ]
            ),
        )
        for data in found
    ]


def _dataset_input(used: DatasetInput) -> wire.DatasetInput:
    return wire.DatasetInput(dataset=wire.Dataset(**asdict(used.dataset)), tags=tag_list(used.tags))


def create(call: Call, request: Create) -> dict[str, wire.Run]:
    """Start a run."""
    started = request.start_time
    made = create_run(
        call.tx,
        request.experiment_id or "0",
        name=request.run_name or None,
        actor=request.user_id,
        started_at=moment(started, "start_time") if started else None,
        tags=tag_values(request.tags),
    )
    return {"run": run_messages(call, [made])[0]}


def get(call: Call, request: Named) -> dict[str, wire.Run]:
    """Return one run with what it logged."""
    return {"run": run_messages(call, [get_run_data(call.tx, request.id())])[0]}


def update(call: Call, request: Update) -> dict[str, wire.RunInfo]:
    """Change a run's state, end or name."""
    ended = request.end_time
    run = update_run(
        call.tx,
        request.id(),
        status=None if request.status is None else run_status(request.status),
        finished_at=None if ended is None else moment(ended, "end_time"),
        name=request.run_name or None,
    )
    return {"run_info": run_info(call, run, get_experiment(call.tx, run.experiment).location)}


def delete(call: Call, request: Named) -> Nothing:
    """Hide a run."""
    delete_run(call.tx, request.id())
    return {}


def restore(call: Call, request: Named) -> Nothing:
    """Show a run again."""
    restore_run(call.tx, request.id())
    return {}


def search(call: Call, request: Search) -> dict[str, object]:
    """Return the runs that fit, page by page."""
    if len(request.experiment_ids) > MOST_EXPERIMENTS:
        raise Invalid(
            f"{len(request.experiment_ids):,} experiments are searched at once",
            hint=f"Search at most {MOST_EXPERIMENTS:,} at once.",
        )
    page = page_of(request.max_results, request.page_token, default=1_000, most=MOST_RESULTS)
    asked = RunSearch(
        experiments=request.experiment_ids,
        stages=stages(request.run_view_type),
        clauses=parse_filter(request.filter, RUNS),
        orders=parse_order(request.order_by, RUNS),
        limit=page.limit,
        offset=page.offset,
    )
    found, more = search_runs(call.tx, asked)
    return {"runs": run_messages(call, found), **page.following(more=more)}
