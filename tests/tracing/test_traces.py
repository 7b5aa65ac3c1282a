"""Traces are kept as logged, found as a look at every one would find them, and deleted whole."""

from __future__ import annotations

import fnmatch
import operator as op
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from everfit.errors import Conflict, Invalid, NotFound
from everfit.filters import Comparison, Entity, Order, condition
from everfit.kernel import Transaction, Workspace
from everfit.tracing import (
    SOURCE_RUN,
    Trace,
    TraceSearch,
    TraceState,
    delete_trace_tag,
    delete_traces,
    end_trace,
    get_trace,
    get_traces,
    link_traces,
    log_trace,
    search_traces,
    set_trace_tag,
    trace_folder,
)
from everfit.tracing.rules import check_trace_ids
from everfit.tracing.store import search as trace_search
from everfit.tracing.tables import trace_metadata, trace_tags
from everfit.tracking import (
    check_path,
    create_experiment,
    create_run,
    delete_experiment,
    ensure_default,
    files_below,
    put_file,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
DIGEST = "0" * 64
NAME_TAG = "mlflow.traceName"


def made(number: int = 1, **changed: Any) -> Trace:
    """Return a trace that was not logged yet."""
    known: dict[str, Any] = {
        "id": f"tr-{number:032x}",
        "experiment": "0",
        "state": TraceState.OK,
        "started_at": START + timedelta(seconds=number),
        "duration_ms": 1_500,
        "client_request_id": "req-7",
        "request_preview": '{"x": 1}',
        "response_preview": "2",
        "metadata": {"mlflow.traceInputs": '{"x": 1}', "odd key?": "yes"},
        "tags": {NAME_TAG: "f", "team": "red"},
    }
    return Trace(**known | changed)


def logged(tx: Transaction, *traces: Trace) -> None:
    ensure_default(tx)
    for trace in traces:
        log_trace(tx, trace)


def test_a_trace_is_kept_as_it_was_logged(any_workspace: Workspace) -> None:
    bare = made(2, duration_ms=None, client_request_id=None, metadata={}, tags={})
    with any_workspace.transaction() as tx:
        logged(tx, made(1), bare)
    with any_workspace.reading() as tx:
        assert get_trace(tx, made(1).id) == made(1)
        assert get_traces(tx, [bare.id, "tr-none", made(1).id, bare.id]) == [bare, made(1)]
        with pytest.raises(NotFound, match="'tr-none' not found"):
            get_trace(tx, "tr-none")


def test_a_trace_that_is_sent_again_is_brought_up_to_date(any_workspace: Workspace) -> None:
    again = made(1, state=TraceState.ERROR, request_preview=None, tags={"team": "blue"})
    with any_workspace.transaction() as tx:
        logged(tx, made(1))
        found = log_trace(tx, again)
        assert found == replace(
            again, request_preview='{"x": 1}', tags={NAME_TAG: "f", "team": "blue"}
        )
        assert get_trace(tx, again.id) == found
        other = create_experiment(tx, "other").id
        with pytest.raises(Conflict, match="another experiment"):
            log_trace(tx, replace(again, experiment=other))
        assert get_trace(tx, again.id) == found


def test_a_trace_that_was_begun_can_be_ended(any_workspace: Workspace) -> None:
    begun = made(1, state=TraceState.IN_PROGRESS, duration_ms=None)
    with any_workspace.transaction() as tx:
        logged(tx, begun)
        ended = end_trace(
            tx,
            begun.id,
            state=TraceState.ERROR,
            ended_at=begun.started_at + timedelta(milliseconds=77),
            metadata={"late": "x"},
            tags={"team": "blue"},
        )
        assert ended == get_trace(tx, begun.id)
        assert (ended.state, ended.duration_ms) == (TraceState.ERROR, 77)
        assert ended.metadata == {**begun.metadata, "late": "x"}
        assert ended.tags == {**begun.tags, "team": "blue"}
        with pytest.raises(NotFound):
            end_trace(tx, "tr-2", state=TraceState.OK, ended_at=START, metadata={}, tags={})


def test_what_cannot_be_kept_is_refused_all_at_once(any_workspace: Workspace) -> None:
    wrong = made(
        1,
        id="../etc",
        duration_ms=10**16,
        client_request_id="c" * 251,
        response_preview="a\0b",
        metadata={"k" * 251: "v"},
        tags={"team": "\0"},
    )
    with any_workspace.transaction() as tx:
        ensure_default(tx)
        with pytest.raises(Invalid) as raised:
            log_trace(tx, wrong)
        assert [problem.path for problem in raised.value.problems] == [
            "id",
            "duration",
            "client_request_id",
            "response_preview",
            "metadata",
            "tag 'team'",
        ]
        with pytest.raises(Invalid, match="1,001 keys"):
            log_trace(tx, made(1, tags={str(n): "" for n in range(1_001)}))
        with pytest.raises(NotFound, match="no experiment '7'"):
            log_trace(tx, made(1, experiment="7"))
        gone = create_experiment(tx, "gone").id
        delete_experiment(tx, gone)
        with pytest.raises(Invalid, match="deleted"):
            log_trace(tx, made(1, experiment=gone))
        assert search_traces(tx, TraceSearch(experiments=["0", gone])) == ([], False)


def test_texts_that_are_too_long_are_cut(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        logged(tx, made(1, request_preview="x" * 10_001, tags={"a": "y" * 8_001}))
        set_trace_tag(tx, made(1).id, "b", "z" * 9_000)
        found = get_trace(tx, made(1).id)
        assert found.request_preview == "x" * 10_000
        assert found.tags == {"a": "y" * 8_000, "b": "z" * 8_000}


@given(st.text(st.sampled_from("aZ0._-/\\: %\0é\n"), max_size=6) | st.text(max_size=60))
def test_an_id_that_is_accepted_makes_a_safe_path(trace_id: str) -> None:
    try:
        check_trace_ids([trace_id])
    except Invalid:
        return
    folder = trace_folder("0", trace_id)
    check_path(folder)
    assert folder.count("/") == 3


def test_tags_can_change(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        logged(tx, made(1), made(2))
        set_trace_tag(tx, made(1).id, "team", "blue")
        set_trace_tag(tx, made(1).id, "new", "")
        delete_trace_tag(tx, made(1).id, NAME_TAG)
        assert get_trace(tx, made(1).id).tags == {"team": "blue", "new": ""}
        assert get_trace(tx, made(2).id) == made(2)
        with pytest.raises(NotFound, match="no tag 'nil'"):
            delete_trace_tag(tx, made(1).id, "nil")
        with pytest.raises(NotFound, match="not found"):
            set_trace_tag(tx, "tr-9", "team", "blue")
        for key in ("", "../a", "k" * 251, "a\0"):
            with pytest.raises(Invalid):
                set_trace_tag(tx, made(1).id, key, "v")


def test_traces_belong_to_the_run_they_name_or_are_linked_to(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        ensure_default(tx)
        run, other = create_run(tx, "0").run.id, create_run(tx, "0").run.id
        link_traces(tx, run, [made(3).id])
        logged(tx, made(1, metadata={SOURCE_RUN: run}), made(2), made(3))
        link_traces(tx, run, [made(2).id, made(2).id, made(1).id])
        link_traces(tx, run, [made(2).id])
        link_traces(tx, other, [])
        with pytest.raises(NotFound, match="no run"):
            link_traces(tx, "run_9", [made(1).id])
        with pytest.raises(Invalid, match="2 problems"):
            link_traces(tx, run, ["a/b", made(1).id, ""])
    for few in (0, 10):
        with any_workspace.reading() as tx:
            assert ids_of_run(tx, run, few) == [made(3).id, made(2).id, made(1).id]
            assert ids_of_run(tx, other, few) == []


def ids_of_run(tx: Transaction, run: str, few: int) -> list[str]:
    """Return the traces of a run; with ``few`` at 0 the search begins at all traces."""
    clause = Comparison(entity=Entity.METADATA, key=SOURCE_RUN, operator="=", value=run)
    with pytest.MonkeyPatch.context() as changed:
        changed.setattr(trace_search, "FEW", few)
        found, _ = search_traces(tx, TraceSearch(experiments=["0"], clauses=[clause]))
    return [trace.id for trace in found]


@pytest.fixture
def filled(any_workspace: Workspace) -> tuple[Workspace, list[Trace]]:
    """Sixty traces of two experiments; tags and metadata are lacking here and there."""
    chance = random.Random(0)
    traces = []
    with any_workspace.transaction() as tx:
        experiments = [create_experiment(tx, name).id for name in ("one", "two")]
        for number in range(60):
            texts = {"session": chance.choice(["s1", "s2", "x" * 199, "x" * 200, "x" * 300])}
            tags = {NAME_TAG: chance.choice(["Flow", "flow", "f[w", "fl%"])}
            traces.append(
                made(
                    number,
                    experiment=chance.choice(experiments),
                    started_at=START + timedelta(milliseconds=chance.choice([0, 1, 500])),
                    state=chance.choice(list(TraceState)),
                    duration_ms=chance.choice([None, 0, 1, 500]),
                    client_request_id=chance.choice([None, "a", "b"]),
                    metadata=texts if chance.random() < 0.7 else {},
                    tags=tags if chance.random() < 0.7 else {},
                )
            )
        logged(tx, *traces)
    return any_workspace, traces


COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": op.eq,
    "!=": op.ne,
    "<": op.lt,
    "<=": op.le,
    ">": op.gt,
    ">=": op.ge,
    "LIKE": lambda text, pattern: fnmatch.fnmatchcase(text, as_shell(pattern)),
    "ILIKE": lambda text, pattern: fnmatch.fnmatchcase(text.lower(), as_shell(pattern.lower())),
    "IN": lambda value, many: value in many,
    "NOT IN": lambda value, many: value not in many,
}
START_MS = round(START.timestamp() * 1000)
CLAUSES: list[tuple[Entity, str, list[str], list[Any]]] = [
    (Entity.METADATA, "session", ["=", "!=", "LIKE"], ["s1", "x" * 199, "x" * 200, "x%"]),
    (Entity.TAG, NAME_TAG, ["=", "!=", "LIKE", "ILIKE"], ["flow", "Flow", "fl_w", "f[%", "%%"]),
    (Entity.TAG, NAME_TAG, ["IS NULL", "IS NOT NULL"], [None]),
    (Entity.METADATA, "session", ["IS NULL", "IS NOT NULL"], [None]),
    (Entity.ATTRIBUTE, "status", ["=", "!=", "LIKE"], ["OK", "ERROR", "STATE%"]),
    (Entity.ATTRIBUTE, "status", ["IN", "NOT IN"], [("OK",), ("OK", "IN_PROGRESS", "ok")]),
    (Entity.ATTRIBUTE, "client_request_id", ["=", "!="], ["a"]),
    (Entity.ATTRIBUTE, "timestamp_ms", ["=", "<", ">=", "!="], [START_MS, START_MS + 0.5]),
    (Entity.ATTRIBUTE, "timestamp_ms", ["<", ">"], [2**63 - 1, -(2**63) + 1, float("inf")]),
    (Entity.ATTRIBUTE, "end_time_ms", ["=", "<=", ">"], [START_MS + 500, START_MS + 1]),
    (Entity.ATTRIBUTE, "execution_time_ms", ["=", "<", ">"], [0, 1, 0.5, 2**63 - 1]),
]
ORDERS = [
    (Entity.METADATA, "session"),
    (Entity.TAG, "mlflow.traceName.not"),
    (Entity.ATTRIBUTE, "status"),
    (Entity.ATTRIBUTE, "timestamp_ms"),
    (Entity.ATTRIBUTE, "end_time_ms"),
    (Entity.ATTRIBUTE, "execution_time_ms"),
    (Entity.ATTRIBUTE, "experiment_id"),
    (Entity.ATTRIBUTE, "request_id"),
]


def as_shell(pattern: str) -> str:
    """Return a pattern of LIKE as the shell writes it."""
    return pattern.replace("[", "[[]").replace("%", "*").replace("_", "?")


def value_of(trace: Trace, entity: Entity, key: str) -> Any:
    if entity is not Entity.ATTRIBUTE:
        return (trace.tags if entity is Entity.TAG else trace.metadata).get(key)
    started = round(trace.started_at.timestamp() * 1000)
    return {
        "status": trace.state.upper(),
        "client_request_id": trace.client_request_id,
        "timestamp_ms": started,
        "end_time_ms": started + (trace.duration_ms or 0),
        "execution_time_ms": trace.duration_ms,
        "experiment_id": trace.experiment,
        "request_id": trace.id,
    }[key]


def fits(trace: Trace, clause: Comparison) -> bool:
    value = value_of(trace, clause.entity, clause.key)
    if clause.operator in ("IS NULL", "IS NOT NULL"):
        return (value is None) == (clause.operator == "IS NULL")
    return value is not None and COMPARED[clause.operator](value, clause.value)


def place(trace: Trace, orders: list[Order]) -> tuple[Any, ...]:
    keys: list[Any] = []
    for order in orders:
        value = value_of(trace, order.entity, order.key)
        sign = 1 if order.ascending else -1
        if value is None:
            keys.append((1, 0))
        elif isinstance(value, str):
            # With the end as a letter of its own: a text comes before those that go on.
            keys.append((0, tuple(sign * ord(letter) for letter in f"{value}\0")))
        else:
            keys.append((0, sign * value))
    return (*keys, -trace.started_at.timestamp(), trace.id)


def searches(chance: random.Random) -> TraceSearch:
    clauses = []
    for _ in range(chance.randint(0, 3)):
        entity, key, operators, values = chance.choice(CLAUSES)
        operator, value = chance.choice(operators), chance.choice(values)
        clauses.append(Comparison(entity=entity, key=key, operator=operator, value=value))
    orders = [
        Order(entity=entity, key=key, ascending=chance.random() < 0.5)
        for entity, key in chance.sample(ORDERS, chance.randint(0, 2))
    ]
    return TraceSearch(
        experiments=chance.choice([["1"], ["1", "2"], ["2", "7"]]),
        clauses=clauses,
        orders=orders,
        limit=chance.choice([1, 7, 100]),
        offset=chance.choice([0, 3]),
    )


@pytest.mark.parametrize("few", [0, 15, 10_000])
def test_a_search_finds_what_a_look_at_every_trace_finds(
    filled: tuple[Workspace, list[Trace]], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, traces = filled
    monkeypatch.setattr(trace_search, "FEW", few)
    chance = random.Random(few)
    with workspace.reading() as tx:
        for _ in range(150):
            search = searches(chance)
            wanted = [
                trace
                for trace in traces
                if trace.experiment in search.experiments
                and all(fits(trace, clause) for clause in search.clauses)
            ]
            wanted.sort(key=lambda trace: place(trace, list(search.orders)))
            found, more = search_traces(tx, search)
            assert found == wanted[search.offset : search.offset + search.limit], search
            assert more == (len(wanted) > search.offset + search.limit)


def test_what_cannot_be_searched_is_refused(any_workspace: Workspace) -> None:
    keys = [(Entity.SPAN, "name"), (Entity.FEEDBACK, "good"), (Entity.TAG, "mlflow.linkedPrompts")]
    clauses = [
        Comparison(entity=entity, key=key, operator="=", value="a/1") for entity, key in keys
    ]
    pattern = Comparison(entity=Entity.TAG, key="team", operator="RLIKE", value="(a+)+")
    many = [Order(entity=Entity.TAG, key=str(number), ascending=True) for number in range(20)]
    with any_workspace.reading() as tx:
        with pytest.raises(Invalid, match="3 problems"):
            search_traces(tx, TraceSearch(experiments=["0"], clauses=clauses))
        assert search_traces(tx, TraceSearch(experiments=["0"], orders=many)) == ([], False)
        with pytest.raises(Invalid, match="order by at most 20"):
            search_traces(tx, TraceSearch(experiments=["0"], orders=[*many, many[0]]))
        with pytest.raises(Invalid, match="RLIKE"):
            search_traces(tx, TraceSearch(experiments=["0"], clauses=[pattern]))


@pytest.mark.parametrize("length", [1, 199, 200, 300])
def test_an_equality_is_looked_up_in_the_index(workspace: Workspace, length: int) -> None:
    clause = Comparison(entity=Entity.TAG, key="team", operator="=", value="x" * length)
    fits = condition("d.value", clause, "sqlite", indexed=True)
    values = ("team", *fits.values)
    for table in ("tracking_trace_tags", "tracking_trace_metadata"):
        found = f"SELECT * FROM {table} d WHERE d.key = ? AND {fits.sql}"  # noqa: S608
        explained = f"EXPLAIN QUERY PLAN {found}"
        with workspace.reading() as tx:
            plan = " ".join(row[3] for row in tx.execute(explained, values))
        assert f"{table}_by_value (key=? AND <expr>=?)" in plan


@pytest.fixture
def to_delete(any_workspace: Workspace) -> Workspace:
    """Five traces with files, tags and links, and one of another experiment."""
    with any_workspace.transaction() as tx:
        ensure_default(tx)
        other, run = create_experiment(tx, "other").id, create_run(tx, "0").run.id
        for number in range(1, 6):
            logged(tx, made(number))
            link_traces(tx, run, [made(number).id])
            for name in ("traces.json", "attachments/a"):
                path = f"{trace_folder('0', made(number).id)}/{name}"
                put_file(tx, path, DIGEST, bytes=1, media="application/json")
        logged(tx, made(6, experiment=other, started_at=START))
    return any_workspace


def left(tx: Transaction) -> list[int]:
    found, _ = search_traces(tx, TraceSearch(experiments=["0", "1"]))
    return sorted(int(trace.id[3:], 16) for trace in found)


def test_traces_are_deleted_by_id_with_all_that_is_theirs(to_delete: Workspace) -> None:
    with to_delete.transaction() as tx:
        asked = [made(2).id, made(2).id, made(4).id, made(6).id, "tr-none"]
        assert delete_traces(tx, "0", ids=asked) == 2
        assert left(tx) == [1, 3, 5, 6]
        kept = {file.name.split("/")[2] for file in files_below(tx, "0")}
        assert kept == {made(1).id, made(3).id, made(5).id}
        assert len(files_below(tx, "0")) == 6
        [event] = tx.events("traces-deleted")
        assert (event.subject, event.data["traces"]) == ("0", 2)
        for texts in (trace_metadata, trace_tags):
            query = sa.select(sa.func.count(texts.c.trace.distinct()))
            assert tx.connection.execute(query).scalar() == 4
        linked = tx.execute("SELECT trace FROM tracking_trace_links ORDER BY trace")
        assert [row[0] for row in linked] == [made(1).id, made(3).id, made(5).id]


def test_traces_are_deleted_by_time_the_oldest_first(to_delete: Workspace) -> None:
    until = made(4).started_at
    with to_delete.transaction() as tx:
        assert delete_traces(tx, "0", until=START) == 0
        assert delete_traces(tx, "0", until=until, most=3) == 3
        assert left(tx) == [4, 5, 6]
        assert delete_traces(tx, "0", until=until) == 1
        assert left(tx) == [5, 6]
        assert delete_traces(tx, "7", until=until) == 0
        assert tx.events("traces-deleted", subject="7") == []
