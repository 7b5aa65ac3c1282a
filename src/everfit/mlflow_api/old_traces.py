"""Traces as clients before MLflow 3 log them: begun with one call and ended with another."""

from __future__ import annotations

from collections.abc import Sequence

from everfit.errors import Invalid
from everfit.mlflow_api.dispatch import Call
from everfit.mlflow_api.pages import Query
from everfit.mlflow_api.traces import Named, client_tags, found_traces, located_tags
from everfit.mlflow_api.values import milliseconds, moment, tag_list, tag_values
from everfit.mlflow_api.wire import Message, Tag
from everfit.tracing import Trace, TraceState, end_trace, get_trace, log_trace

_STATUSES = {
    "TRACE_STATUS_UNSPECIFIED": TraceState.UNSPECIFIED,
    "OK": TraceState.OK,
    "ERROR": TraceState.ERROR,
    "IN_PROGRESS": TraceState.IN_PROGRESS,
}
_NAMES = {state: name for name, state in _STATUSES.items()}


class TraceInfo(Message):
    """A trace without its spans; times in milliseconds."""

    request_id: str
    experiment_id: str
    timestamp_ms: int
    execution_time_ms: int
    status: str
    request_metadata: list[Tag] = []
    tags: list[Tag] = []


class Start(Message):
    """Log that a trace has begun."""

    experiment_id: str
    timestamp_ms: int
    request_metadata: list[Tag] = []
    tags: list[Tag] = []


class End(Named, kw_only=True):
    """Log how a trace has ended."""

    timestamp_ms: int
    status: str
    request_metadata: list[Tag] = []
    tags: list[Tag] = []


class Search(Query):
    """Ask for traces that fit a filter."""

    experiment_ids: list[str] = []


def start(call: Call, request: Start) -> dict[str, TraceInfo]:
    """Log that a trace has begun, and answer its id and where its spans go."""
    trace = Trace(
        id=call.tx.new_id("tr"),
        experiment=request.experiment_id,
        state=TraceState.IN_PROGRESS,
        started_at=moment(request.timestamp_ms, "timestamp_ms"),
        metadata=tag_values(request.request_metadata),
        tags=client_tags(tag_values(request.tags)),
    )
    return _answer(call, log_trace(call.tx, trace))


def end(call: Call, request: End) -> dict[str, TraceInfo]:
    """Log how a trace has ended."""
    if request.status not in _STATUSES:
        raise Invalid(
            f"{request.status!r} is no status of a trace",
            hint=f"Use one of {', '.join(_STATUSES)}.",
        )
    ended = end_trace(
        call.tx,
        request.trace_id,
        state=_STATUSES[request.status],
        ended_at=moment(request.timestamp_ms, "timestamp_ms"),
        metadata=tag_values(request.request_metadata),
        tags=client_tags(tag_values(request.tags)),
    )
    return _answer(call, ended)


def get(call: Call, request: Named) -> dict[str, TraceInfo]:
    """Return one trace."""
    return _answer(call, get_trace(call.tx, request.trace_id))


def search(call: Call, request: Search) -> dict[str, object]:
    """Return the traces that fit, page by page."""
    found, token = found_traces(call, request.experiment_ids, request)
    return {"traces": _infos(call, found), **token}


def _answer(call: Call, trace: Trace) -> dict[str, TraceInfo]:
    return {"trace_info": _infos(call, [trace])[0]}


def _infos(call: Call, traces: Sequence[Trace]) -> list[TraceInfo]:
    """Return traces as they are answered."""
    return [
        TraceInfo(
            request_id=trace.id,
            experiment_id=trace.experiment,
            timestamp_ms=milliseconds(trace.started_at),
            execution_time_ms=trace.duration_ms or 0,
            status=_NAMES[trace.state],
            request_metadata=tag_list(trace.metadata),
            tags=tag_list(tags),
        )
        for trace, tags in zip(traces, located_tags(call, traces), strict=True)
    ]
