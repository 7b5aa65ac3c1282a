"""Traces that were logged elsewhere are kept as they were, as far as they can be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everfit.errors import Invalid, NotFound
from everfit.kernel import Workspace
from everfit.tracing import (
    Trace,
    TraceState,
    get_trace,
    import_trace,
    link_traces,
    linked_runs,
    log_trace,
)
from everfit.tracing.rules import check_trace, cut_trace
from everfit.tracing.sift import sift_trace
from everfit.tracking import create_experiment, create_run, delete_experiment, ensure_default

TEXTS = st.dictionaries(st.text(max_size=5) | st.just("k" * 251), st.text() | st.just("é" * 8_001))
START = datetime(2026, 1, 1, tzinfo=UTC)


def made(experiment: str = "0") -> Trace:
    """Return a trace with a text of every kind."""
    return Trace(
        id="tr-1",
        experiment=experiment,
        state=TraceState.OK,
        started_at=START,
        duration_ms=5,
        client_request_id="c",
        request_preview="in",
        response_preview="out",
        metadata={"m": "1"},
        tags={"t": "2"},
    )


@given(TEXTS, TEXTS, st.text(), st.integers(-(10**16), 10**16))
def test_what_is_let_through_can_be_logged_and_the_rest_is_told(
    metadata: dict[str, str], tags: dict[str, str], preview: str, duration: int
) -> None:
    trace = replace(
        made(), metadata=metadata, tags=tags, request_preview=preview, duration_ms=duration
    )
    sifted, problems = sift_trace(trace)
    check_trace(sifted)
    assert cut_trace(sifted) == sifted
    assert (sifted == trace) == (not problems)


def test_a_text_is_cut_and_what_was_lost_is_told() -> None:
    sifted, problems = sift_trace(
        replace(made(), tags={"long": "x" * 8_001, "nul": "a\0b", "k" * 251: "v"})
    )
    assert sifted.tags == {"long": "x" * 8_000, "nul": "ab"}
    assert [problem.path for problem in problems] == [
        "trace tr-1 tag 'long'",
        "trace tr-1 tag 'nul'",
        "trace tr-1 tag",
    ]


def test_an_import_keeps_a_trace_and_overwrites_none(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        gone = create_experiment(tx, "gone").id
        delete_experiment(tx, gone)
        with pytest.raises(Invalid):
            log_trace(tx, made(gone))
        with pytest.raises(NotFound, match="no experiment '7'"):
            import_trace(tx, made("7"))
        assert import_trace(tx, made(gone))
        assert not import_trace(tx, replace(made(gone), tags={"t": "3", "u": "4"}))
        assert get_trace(tx, "tr-1") == made(gone)


def test_the_runs_that_traces_were_linked_to_are_known(any_workspace: Workspace) -> None:
    with any_workspace.transaction() as tx:
        ensure_default(tx)
        one, other = (create_run(tx, "0").run.id for _ in range(2))
        link_traces(tx, one, ["tr-1", "tr-2"])
        link_traces(tx, other, ["tr-2"])
        assert linked_runs(tx, ["tr-1", "tr-2", "tr-3"]) == {"tr-1": {one}, "tr-2": {one, other}}
