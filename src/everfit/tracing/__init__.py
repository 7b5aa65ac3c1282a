"""Traces: the calls of instrumented functions, in an experiment and perhaps of a run."""

from everfit.tracing.model import (
    OWN_FILES_TAG,
    SOURCE_RUN,
    Trace,
    TraceSearch,
    TraceState,
    trace_folder,
)
from everfit.tracing.service import (
    delete_trace_tag,
    delete_traces,
    end_trace,
    get_trace,
    get_traces,
    import_trace,
    link_traces,
    linked_runs,
    log_trace,
    search_traces,
    set_trace_tag,
)

__all__ = [
    "OWN_FILES_TAG",
    "SOURCE_RUN",
    "Trace",
    "TraceSearch",
    "TraceState",
    "delete_trace_tag",
    "delete_traces",
    "end_trace",
    "get_trace",
    "get_traces",
    "import_trace",
    "link_traces",
    "linked_runs",
    "log_trace",
    "search_traces",
    "set_trace_tag",
    "trace_folder",
]
