"""Traces: logged, tagged, linked to runs, found and deleted. Their spans are files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from everfit.errors import Conflict, Invalid, NotFound, Problem
from everfit.filters import Comparison, Entity
from everfit.kernel import Transaction
from everfit.tracing.model import Trace, TraceSearch, TraceState, trace_folder
from everfit.tracing.rules import TRACE_TEXT_LENGTH, check_trace, check_trace_ids, cut_trace
from everfit.tracing.store import traces as store
from everfit.tracing.store.search import find_traces
from everfit.tracking import check_takes_runs, delete_folders, get_experiment, get_run
from everfit.tracking.rules import check_texts

SEARCHED = frozenset({Entity.ATTRIBUTE, Entity.TAG, Entity.METADATA})
PROMPTS_TAG = "mlflow.linkedPrompts"
# Each takes a table of the statement, and SQLite joins 64.
MOST_ORDERS = 20


def log_trace(tx: Transaction, trace: Trace) -> Trace:
    """Add a trace, or bring the one of its id up to date, and return it as it is then.

    Texts that are too long are cut; metadata and tags are added to those that are there.

    Raises
    ------
    NotFound, Invalid
        If there is no such experiment, it is deleted, or something cannot be kept.
    Conflict
        If the trace lies in another experiment.
    """
    trace = cut_trace(trace)
    check_trace(trace)
    check_takes_runs(tx, trace.experiment)
    number = _put(tx, trace)
    if number is None:
        raise Conflict(
            f"trace {trace.id!r} lies in another experiment than {trace.experiment!r}",
            hint="Log it where it lies, or give it an id of its own.",
            trace=trace.id,
        )
    return store.load_traces(tx, [number])[0]


def import_trace(tx: Transaction, trace: Trace) -> bool:
    """Add a trace that was logged elsewhere, as it was; return False where its id is taken.

    ``trace`` must be such as `everfit.tracing.sift` lets through.

    Raises
    ------
    NotFound
        If its experiment is not there; a deleted one is.
    """
    get_experiment(tx, trace.experiment)
    number = store.insert_trace(tx, trace)
    if number is None:
        return False
    store.put_texts(tx, store.METADATA, number, trace.metadata)
    store.put_texts(tx, store.TAGS, number, trace.tags)
    return True


def end_trace(
    tx: Transaction,
    trace_id: str,
    *,
    state: TraceState,
    ended_at: datetime,
    metadata: Mapping[str, str],
    tags: Mapping[str, str],
) -> Trace:
    """End a trace that was logged when it began, and return it; raises NotFound, Invalid."""
    number = store.held_number(tx, trace_id)
    begun = store.load_traces(tx, [number])[0]
    took = (ended_at - begun.started_at) // timedelta(milliseconds=1)
    ended = cut_trace(replace(begun, state=state, duration_ms=took, metadata=metadata, tags=tags))
    check_trace(ended)
    _put(tx, ended)
    return store.load_traces(tx, [number])[0]


def get_trace(tx: Transaction, trace_id: str) -> Trace:
    """Return one trace; raises NotFound."""
    found = get_traces(tx, [trace_id])
    if not found:
        raise store.absent(tx, trace_id)
    return found[0]


def get_traces(tx: Transaction, ids: Sequence[str]) -> list[Trace]:
    """Return those of the traces that are there, each once, in the order of ``ids``."""
    numbers = store.numbers_of(tx, ids)
    return store.load_traces(tx, [numbers[id] for id in dict.fromkeys(ids) if id in numbers])


def search_traces(tx: Transaction, search: TraceSearch) -> tuple[list[Trace], bool]:
    """Return the traces that fit, in order, and whether there are more behind them.

    Raises
    ------
    Invalid
        If a clause asks for what is not in the database (spans, assessments, prompts), or too
        many keys order the result.
    """
    problems = [
        Problem(path=clause.entity, found=clause.key, remedy="leave this clause out")
        for clause in search.clauses
        if clause.entity not in SEARCHED or _is_of_prompt(clause)
    ]
    if len(search.orders) > MOST_ORDERS:
        found, remedy = f"{len(search.orders)} keys", f"order by at most {MOST_ORDERS}"
        problems.append(Problem(path="order_by", found=found, remedy=remedy))
    if problems:
        raise Invalid.of(
            "the search of traces",
            problems,
            hint="Search by attributes, tags and metadata; look for the rest in what is found.",
        )
    numbers = find_traces(tx, replace(search, limit=search.limit + 1))
    return store.load_traces(tx, numbers[: search.limit]), len(numbers) > search.limit


def set_trace_tag(tx: Transaction, trace_id: str, key: str, value: str) -> None:
    """Set a tag, whose text is cut where it is too long; raises NotFound, Invalid."""
    tags = {key: value[:TRACE_TEXT_LENGTH]}
    check_texts(f"trace {trace_id}", "tag", tags, TRACE_TEXT_LENGTH)
    store.put_texts(tx, store.TAGS, store.held_number(tx, trace_id), tags)


def delete_trace_tag(tx: Transaction, trace_id: str, key: str) -> None:
    """Delete one tag; raises NotFound."""
    if not store.delete_tag(tx, store.held_number(tx, trace_id), key):
        raise NotFound(
            f"no tag {key!r} at trace {trace_id}",
            hint="Look at the tags of the trace.",
            trace=trace_id,
        )


def delete_traces(
    tx: Transaction,
    experiment_id: str,
    *,
    ids: Sequence[str] | None = None,
    until: datetime | None = None,
    most: int | None = None,
) -> int:
    """Delete traces of an experiment with their files, and return how many.

    Either those of ``ids`` that are there, or those that started at ``until`` or before: the
    oldest ``most`` of them, or all.
    """
    found = store.select_traces(tx, experiment_id, ids=ids, until=until, limit=most)
    if not found:
        return 0
    gone = [id for _, id in found]
    store.delete_traces(tx, [number for number, _ in found])
    store.delete_links(tx, gone)
    delete_folders(tx, [trace_folder(experiment_id, id) for id in gone])
    tx.record("traces-deleted", experiment_id, traces=len(gone), first=gone[0], last=gone[-1])
    return len(gone)


def link_traces(tx: Transaction, run_id: str, ids: Sequence[str]) -> None:
    """Note that traces belong to a run, also those that are still to come.

    Raises
    ------
    NotFound, Invalid
        If there is no such run, or an id is none of a trace.
    """
    check_trace_ids(ids)
    get_run(tx, run_id)
    store.put_links(tx, run_id, ids)


def linked_runs(tx: Transaction, ids: Sequence[str]) -> dict[str, set[str]]:
    """Return by trace the runs it was linked to; a run that its metadata name is none of them."""
    return store.links(tx, ids)


def _put(tx: Transaction, trace: Trace) -> int | None:
    number = store.put_trace(tx, trace)
    if number is not None:
        store.put_texts(tx, store.METADATA, number, trace.metadata)
        store.put_texts(tx, store.TAGS, number, trace.tags)
    return number


def _is_of_prompt(clause: Comparison) -> bool:
    return (clause.entity, clause.key) == (Entity.TAG, PROMPTS_TAG) and clause.operator == "="
