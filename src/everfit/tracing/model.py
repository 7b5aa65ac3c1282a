"""What a trace is, and where its files lie. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from everfit.filters import Comparison, Order

SOURCE_RUN = "mlflow.sourceRun"
"""Metadata of a trace by which the field's clients say in which run it was made."""

OWN_FILES_TAG = "everfit.files"
"""The tag of a trace whose files lie in our own tree, wherever those of its experiment lie."""


class TraceState(StrEnum):
    """How a traced call stands, or ended."""

    UNSPECIFIED = "state_unspecified"
    OK = "ok"
    ERROR = "error"
    IN_PROGRESS = "in_progress"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One traced call: when it was, how long it took and how it ended.

    What happened inside it, its spans, is a file that the client puts below ``trace_folder``.
    ``metadata`` stays as it was logged, ``tags`` can change; a preview is the beginning of what
    went in or came out. ``duration_ms`` is None until the call has ended.
    """

    id: str
    experiment: str
    state: TraceState
    started_at: datetime
    duration_ms: int | None = None
    client_request_id: str | None = None
    request_preview: str | None = None
    response_preview: str | None = None
    metadata: Mapping[str, str]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSearch:
    """Which traces are asked for: where, by which clauses, in which order, and which part."""

    experiments: Sequence[str]
    clauses: Sequence[Comparison] = ()
    orders: Sequence[Order] = ()
    limit: int = 100
    offset: int = 0


def trace_folder(experiment: str, trace_id: str) -> str:
    """Return the path of a trace's files in the project's tree of files."""
    return f"{experiment}/traces/{trace_id}/artifacts"
