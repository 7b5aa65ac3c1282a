"""Traces with their spans and their links to runs, brought over and compared."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from everfit.foreign.checking import trace_differences
from everfit.foreign.context import Context
from everfit.foreign.model import ForeignTrace, Kind
from everfit.foreign.places import Copied, copy_files
from everfit.kernel import Transaction
from everfit.mlflow_api.traces import client_tags
from everfit.tracing import (
    OWN_FILES_TAG,
    Trace,
    TraceState,
    get_trace,
    get_traces,
    import_trace,
    link_traces,
    linked_runs,
    trace_folder,
)
from everfit.tracing.rules import wrong_trace_id
from everfit.tracing.sift import sift_trace
from everfit.tracking import Artifact, files_below, runs_there
from everfit.tracking.sift import wrong_id

SPANS = "traces.json"
# What a span says in place of a file beside it.
ATTACHED = b"mlflow-attachment://"
ENDED = frozenset({TraceState.OK, TraceState.ERROR})


@dataclass(slots=True)
class _Bare:
    """The traces that have ended and have no spans anywhere we can read."""

    count: int = 0
    first: str = ""

    def note(self, context: Context, one: ForeignTrace) -> None:
        """Count a trace whose spans were not found, unless they are known to be elsewhere."""
        away = context.places.remote(one.artifact_uri) and not one.in_database
        if not away and not one.archived:
            self.count, self.first = self.count + 1, self.first or one.trace.id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Here:
    """What was here of some traces before: they themselves, runs they were linked to, files."""

    traces: Mapping[str, Trace]
    links: Mapping[str, set[str]]
    runs: frozenset[str]
    files: Mapping[str, Sequence[Artifact]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A trace whose files are copied: as it will be, the runs it belongs to, where files go."""

    trace: Trace
    runs: Sequence[str]
    tree: str
    copied: Copied


def bring_traces(context: Context) -> None:
    """Bring the traces over that are not here, and compare all of them with the source."""
    bare = _Bare()
    for part in context.parts(Kind.TRACES, context.store.traces.ids()):
        _bring_part(context, context.store.traces.some(part), bare)
    if bare.count:
        found = f"no spans of {bare.count:,} that have ended, such as {bare.first}"
        remedy = "name the folder they lie in with --artifacts, if there is one"
        context.report.refuse("traces", found, remedy)


def _bring_part(context: Context, found: Sequence[ForeignTrace], bare: _Bare) -> None:
    with context.workspace.reading() as tx:
        here = _here(tx, found)
    ready = [one for foreign in found if (one := _ready(context, foreign, here, bare))]
    with context.workspace.transaction() as tx:
        by_run: dict[str, list[str]] = {}
        for one in ready:
            import_trace(tx, one.trace)
            context.put_files(tx, one.tree, one.copied)
            for run in one.runs:
                by_run.setdefault(run, []).append(one.trace.id)
        for run in sorted(by_run):
            link_traces(tx, run, by_run[run])
    with context.workspace.reading() as tx:
        links = linked_runs(tx, [one.trace.id for one in ready])
        for one in ready:
            _check(context, tx, one, here)
            _check_links(context, one, here, links.get(one.trace.id, set()))


def _here(tx: Transaction, found: Sequence[ForeignTrace]) -> _Here:
    # No database is asked for what cannot be an id.
    ids = [one.trace.id for one in found if wrong_trace_id(one.trace.id) is None]
    traces = {trace.id: trace for trace in get_traces(tx, ids)}
    named = {run for one in found for run in one.runs if wrong_id(run) is None}
    return _Here(
        traces=traces,
        links=linked_runs(tx, ids),
        runs=frozenset(runs_there(tx, sorted(named))),
        files={id: files_below(tx, _tree(trace)) for id, trace in traces.items()},
    )


def _ready(context: Context, one: ForeignTrace, here: _Here, bare: _Bare) -> _Ready | None:
    id = one.trace.id
    home = context.home("trace", id, one.trace.experiment, wrong=wrong_trace_id)
    if home is None:
        return None
    content = context.store.traces.spans(id) if one.in_database else None
    folder = _folder(context, one, home.location, content)
    tags = client_tags(one.trace.tags)
    if home.location is not None and (content is not None or folder is not None):
        tags[OWN_FILES_TAG] = "here"
    trace, problems = sift_trace(replace(one.trace, experiment=home.id, tags=tags))
    context.report.problems += problems
    tree = _tree(here.traces.get(id, trace))
    made = _made(context, f"trace {id}", content, folder)
    present = here.files.get(id, ())
    copied = copy_files(context.workspace.blobs, folder, tree, present, made=made)
    context.note_files(f"trace {id}", copied)
    if SPANS not in copied.names and trace.state in ENDED:
        bare.note(context, one)
    return _Ready(trace=trace, runs=_runs(context, one, here), tree=tree, copied=copied)


def _folder(
    context: Context, one: ForeignTrace, location: str | None, content: bytes | None
) -> Path | None:
    """Return where the files of a trace lie, None where there are none on this machine."""
    id = one.trace.id
    if content is not None and context.places.remote(one.artifact_uri):
        if ATTACHED in content:
            remedy = "its spans came over without them; download them from there"
            context.report.refuse(f"trace {id}", f"attachments at {one.artifact_uri}", remedy)
        return None
    kept = f"{location.rstrip('/')}/traces/{id}/artifacts" if location else None
    return context.folder(f"trace {id}", one.artifact_uri, kept, one.beside)


def _made(
    context: Context, subject: str, content: bytes | None, folder: Path | None
) -> dict[str, bytes]:
    """Return the spans of the database as the file they become.

    Clients that were not sure where spans go wrote them to a file, too; the database counts.
    """
    if content is None:
        return {}
    file = folder / SPANS if folder is not None else None
    if file is not None and file.is_file() and not _same_spans(content, file.read_bytes()):
        found, remedy = f"other spans in {file} than in the database", "keep the file where it is"
        context.report.refuse(subject, found, remedy)
    return {SPANS: content}


def _same_spans(one: bytes, other: bytes) -> bool:
    try:
        spans, others = (
            {span["span_id"]: span for span in json.loads(text)["spans"]} for text in (one, other)
        )
    except (ValueError, KeyError, TypeError):
        return False
    return spans == others


def _runs(context: Context, one: ForeignTrace, here: _Here) -> list[str]:
    """Return the runs that are here of those a trace was linked to; the others are noted."""
    context.count(Kind.LINKS).source += len(one.runs)
    for run in one.runs:
        if run not in here.runs:
            remedy = "the run is not here; the link is left out"
            context.report.refuse(f"trace {one.trace.id}", f"a link to run {run!r}", remedy)
    return [run for run in one.runs if run in here.runs]


def _check(context: Context, tx: Transaction, one: _Ready, here: _Here) -> None:
    """Count a trace that is here now, and note where it differs from the source."""
    id = one.trace.id
    context.count(Kind.TRACES).found(1, new=id not in here.traces)
    context.check_files(tx, one.tree, one.copied)
    differing = trace_differences(one.trace, get_trace(tx, id))
    if differing:
        context.count(Kind.TRACES).differs += 1
        said = f"another one here: {', '.join(differing)}"
        context.report.refuse(f"trace {id}", said, "keep one of the two")


def _check_links(context: Context, one: _Ready, here: _Here, links: set[str]) -> None:
    before = here.links.get(one.trace.id, set())
    for run in one.runs:
        if run in links:
            context.count(Kind.LINKS).found(1, new=run not in before)


def _tree(trace: Trace) -> str:
    return trace_folder(trace.experiment, trace.id)
