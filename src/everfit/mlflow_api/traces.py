"""Traces: what the client of a traced function logs and reads back.

Spans are no part of these calls. A client whose trace comes back without the tag that says that
its spans are in the database uploads them as ``traces.json`` below the trace's artifact location,
and reads them from there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from everfit.errors import Invalid
from everfit.filters import TRACES, parse_filter, parse_order
from everfit.mlflow_api.dispatch import Call
from everfit.mlflow_api.pages import Query, page_of
from everfit.mlflow_api.values import milliseconds, moment
from everfit.mlflow_api.wire import Message, Nothing
from everfit.tracing import (
    OWN_FILES_TAG,
    Trace,
    TraceSearch,
    TraceState,
    delete_trace_tag,
    delete_traces,
    get_trace,
    get_traces,
    link_traces,
    log_trace,
    search_traces,
    set_trace_tag,
    trace_folder,
)
from everfit.tracking import artifact_locations

MOST_RESULTS = 500
MOST_EXPERIMENTS = 10_000
MOST_DELETED = 1_000
MOST_LINKED = 100
MOST_INFOS = 10_000
# 9999-12-31: clients that delete everything send any number that is large enough.
LAST_MS = 253_402_214_400_000
LOCATION_TAG, SPANS_TAG = "mlflow.artifactLocation", "mlflow.trace.spansLocation"
# What the latter says of spans that are no file of the trace.
IN_DATABASE, ARCHIVED = "TRACKING_STORE", "ARCHIVE_REPO"
# Where a trace's files and spans lie is for the server to say: a client that could change it
# would send others to read there.
OWN_TAGS = frozenset(
    {
        LOCATION_TAG,
        OWN_FILES_TAG,
        SPANS_TAG,
        "mlflow.trace.archiveLocation",
        "mlflow.trace.archivalFailure",
    }
)
IN_EXPERIMENT = "MLFLOW_EXPERIMENT"
_DURATION = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s")


class ExperimentLocation(Message):
    """The experiment in which traces lie."""

    experiment_id: str = ""


class Location(Message):
    """Where traces lie: here always in an experiment."""

    type: str = ""
    mlflow_experiment: ExperimentLocation | None = None


class TraceInfo(Message):
    """A trace without its spans; a duration is a text such as ``1.5s``."""

    trace_id: str
    trace_location: Location
    request_time: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    execution_duration: str | None = None
    state: str | None = None
    client_request_id: str | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    trace_metadata: dict[str, str] = {}
    tags: dict[str, str] = {}


class TraceMessage(Message):
    """A trace; its spans are never among it."""

    trace_info: TraceInfo


class Start(Message):
    """Log a trace that has ended."""

    trace: TraceMessage


class Named(Message):
    """A request about the trace of an id."""

    trace_id: str


class SetTag(Named, kw_only=True):
    """Set a tag of a trace."""

    key: str
    value: str = ""


class DeleteTag(Named, kw_only=True):
    """Delete a tag of a trace."""

    key: str


class Search(Query):
    """Ask for traces that fit a filter."""

    locations: list[Location] = []


class Delete(Message):
    """Delete traces: those of some ids, or the oldest ones up to a time."""

    experiment_id: str
    max_timestamp_millis: int | None = None
    max_traces: int | None = None
    request_ids: list[str] = []


class Link(Message):
    """Note that traces belong to a run."""

    run_id: str
    trace_ids: list[str] = []


class GetInfos(Message):
    """Ask for several traces, only for those in the experiments where these are given."""

    trace_ids: list[str] = []
    experiment_ids: list[str] | None = None


def start(call: Call, request: Start) -> dict[str, TraceMessage]:
    """Log a trace that has ended, and answer where its spans go."""
    info = request.trace.trace_info
    location = info.trace_location.mlflow_experiment
    if location is None or not location.experiment_id:
        raise Invalid(
            f"trace {info.trace_id[:100]!r} lies in no experiment",
            hint=f"Give a location of the type {IN_EXPERIMENT}; there is no other here.",
        )
    trace = Trace(
        id=info.trace_id,
        experiment=location.experiment_id,
        state=_state(info.state),
        started_at=moment(milliseconds(info.request_time or call.tx.now), "request_time"),
        duration_ms=_duration_ms(info.execution_duration),
        client_request_id=info.client_request_id,
        request_preview=info.request_preview,
        response_preview=info.response_preview,
        metadata=info.trace_metadata,
        tags=client_tags(info.tags),
    )
    return {"trace": _message(call, log_trace(call.tx, trace))}


def get(call: Call, request: Named) -> dict[str, TraceMessage]:
    """Return one trace."""
    return {"trace": _message(call, get_trace(call.tx, request.trace_id))}


def get_infos(call: Call, request: GetInfos) -> dict[str, list[TraceInfo]]:
    """Return those of the traces that are there."""
    _check_count("trace_ids", request.trace_ids, MOST_INFOS)
    within = request.experiment_ids
    found = get_traces(call.tx, request.trace_ids)
    chosen = [one for one in found if within is None or one.experiment in within]
    return {"trace_infos": _infos(call, chosen)}


def search(call: Call, request: Search) -> dict[str, object]:
    """Return the traces that fit, page by page."""
    places = [one.mlflow_experiment for one in request.locations]
    ids = [place.experiment_id for place in places if place is not None]
    found, token = found_traces(call, ids, request)
    return {"traces": _infos(call, found), **token}


def set_tag(call: Call, request: SetTag) -> Nothing:
    """Set a tag."""
    _check_own(request.key)
    set_trace_tag(call.tx, request.trace_id, request.key, request.value)
    return {}


def delete_tag(call: Call, request: DeleteTag) -> Nothing:
    """Delete a tag."""
    _check_own(request.key)
    delete_trace_tag(call.tx, request.trace_id, request.key)
    return {}


def delete(call: Call, request: Delete) -> dict[str, int]:
    """Delete traces, and answer how many."""
    until, ids = request.max_timestamp_millis, request.request_ids
    _check_count("request_ids", ids, MOST_DELETED)
    if (until is None) == (not ids) or (ids and request.max_traces is not None):
        raise Invalid(
            "it is not clear which traces are to be deleted",
            hint="Give either request_ids or max_timestamp_millis, and max_traces with the latter.",
        )
    if request.max_traces is not None and request.max_traces < 1:
        raise Invalid(
            f"max_traces is {request.max_traces}", hint="Give 1 or more, or leave it out."
        )
    gone = delete_traces(
        call.tx,
        request.experiment_id,
        ids=ids or None,
        until=None if until is None else moment(min(until, LAST_MS), "max_timestamp_millis"),
        most=request.max_traces,
    )
    return {"traces_deleted": gone}


def link(call: Call, request: Link) -> Nothing:
    """Note that traces belong to a run."""
    _check_count("trace_ids", request.trace_ids, MOST_LINKED)
    link_traces(call.tx, request.run_id, request.trace_ids)
    return {}


def found_traces(
    call: Call, experiments: Sequence[str], query: Query
) -> tuple[list[Trace], dict[str, str]]:
    """Return one page of traces, and the token of the next one if there is one."""
    if not experiments:
        raise Invalid(
            "no experiment is searched for traces", hint="Name the experiments to search in."
        )
    _check_count("experiments", experiments, MOST_EXPERIMENTS)
    page = page_of(query.max_results, query.page_token, default=100, most=MOST_RESULTS)
    asked = TraceSearch(
        experiments=experiments,
        clauses=parse_filter(query.filter, TRACES),
        orders=parse_order(query.order_by, TRACES),
        limit=page.limit,
        offset=page.offset,
    )
    found, more = search_traces(call.tx, asked)
    return found, page.following(more=more)


def client_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that a client may choose."""
    return {key: value for key, value in tags.items() if key not in OWN_TAGS}


def located_tags(call: Call, traces: Sequence[Trace]) -> list[dict[str, str]]:
    """Return the tags of each trace, with where its files lie among them."""
    locations = artifact_locations(call.tx, {trace.experiment for trace in traces})
    found = []
    for trace in traces:
        location = None if OWN_FILES_TAG in trace.tags else locations[trace.experiment]
        own = call.api.artifact_uri(trace_folder(trace.experiment, trace.id))
        uri = f"{location.rstrip('/')}/traces/{trace.id}/artifacts" if location else own
        found.append({**trace.tags, LOCATION_TAG: uri})
    return found


def _infos(call: Call, traces: Sequence[Trace]) -> list[TraceInfo]:
    """Return traces as they are answered."""
    return [
        TraceInfo(
            trace_id=trace.id,
            trace_location=Location(
                type=IN_EXPERIMENT,
                mlflow_experiment=ExperimentLocation(experiment_id=trace.experiment),
            ),
            request_time=trace.started_at,
            execution_duration=_duration(trace.duration_ms),
            state=trace.state.upper(),
            client_request_id=trace.client_request_id,
            request_preview=trace.request_preview,
            response_preview=trace.response_preview,
            trace_metadata=dict(trace.metadata),
            tags=tags,
        )
        for trace, tags in zip(traces, located_tags(call, traces), strict=True)
    ]


def _message(call: Call, trace: Trace) -> TraceMessage:
    return TraceMessage(trace_info=_infos(call, [trace])[0])


def _state(name: str | None) -> TraceState:
    """Return the state of that name; raises Invalid."""
    states = {state.upper(): state for state in TraceState}
    if name is None:
        return TraceState.UNSPECIFIED
    if name not in states:
        raise Invalid(f"{name!r} is no state of a trace", hint=f"Use one of {', '.join(states)}.")
    return states[name]


def _duration(milliseconds: int | None) -> str | None:
    """Return a duration as it is answered."""
    if milliseconds is None:
        return None
    seconds, rest = divmod(abs(milliseconds), 1000)
    return f"{'-' if milliseconds < 0 else ''}{seconds}.{rest:03d}s"


def _duration_ms(text: str | None) -> int | None:
    """Return the milliseconds of a duration such as ``1.5s``; raises Invalid."""
    if text is None:
        return None
    found = _DURATION.fullmatch(text)
    if found is None:
        raise Invalid(f"{text[:100]!r} is no duration", hint="Send seconds, such as '1.5s'.")
    sign, seconds, fraction = found.groups(default="")
    total = int(seconds) * 1000 + int(fraction.ljust(3, "0")[:3])
    return -total if sign else total


def _check_own(key: str) -> None:
    if key in OWN_TAGS:
        raise Invalid(
            f"the tag {key!r} says where the trace lies, and cannot be changed",
            hint="Use a key of your own.",
        )


def _check_count(what: str, values: Sequence[str], most: int) -> None:
    if len(values) > most:
        raise Invalid(f"{len(values):,} {what} at once", hint=f"Send at most {most:,} at once.")
