"""The load generator of the serving benchmark counts right: nobody is left out, nobody twice."""

from __future__ import annotations

import json
import math
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import pytest
from bench.serving.load import Arrivals, arriving, closed
from bench.serving.rows import TARGET, as_rows, as_split, asked, table
from bench.serving.schedule import Tally, fixed, poisson, quantile
from bench.serving.table import Line
from bench.tracking.wire import HOST, post
from hypothesis import given
from hypothesis import strategies as st

REQUESTS = [post("/predict", b'{"rows":[]}')]
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 0\r\n\r\n"


@contextmanager
def answering(answer: bytes, *, after: float = 0.0, pieces: int = 1) -> Iterator[int]:
    """Yield the port of a server whose first answer, and all asked before it, come so late."""
    begun: list[float] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            while _received(self.request):
                begun.append(time.monotonic())
                time.sleep(max(begun[0] + after - time.monotonic(), 0))
                if not answer:
                    return
                size = -(-len(answer) // pieces)
                for at in range(0, len(answer), size):
                    self.request.sendall(answer[at : at + size])
                    time.sleep(0.001 if pieces > 1 else 0)

    with socketserver.ThreadingTCPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(4096)
    except ConnectionError:
        return b""


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.001, 1))
def test_a_quantile_is_the_least_value_that_so_many_do_not_exceed(
    values: list[float], share: float
) -> None:
    ordered = sorted(values)
    found = quantile(ordered, share)
    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-9
    assert sum(value < found for value in ordered) < share * len(ordered) + 1e-9
    assert found in values


def test_quantiles_of_a_hundred() -> None:
    hundred = [float(value) for value in range(1, 101)]
    assert [quantile(hundred, share) for share in (0.5, 0.99, 1)] == [50, 99, 100]
    assert math.isnan(quantile([], 0.5))


def test_schedules_keep_their_rate() -> None:
    assert list(fixed(4, 1)) == [0, 0.25, 0.5, 0.75]
    due = list(poisson(1_000, 10, seed=1))
    assert due == sorted(due)
    assert due[0] > 0
    assert due[-1] < 10
    assert len(due) == pytest.approx(10_000, rel=0.05)
    assert due == list(poisson(1_000, 10, seed=1)) != list(poisson(1_000, 10, seed=2))
    gaps = sorted(after - before for before, after in pairwise(due))
    assert quantile(gaps, 0.5) == pytest.approx(math.log(2) / 1_000, rel=0.1)  # exponential


@given(st.lists(st.tuples(st.sampled_from([200, 400, 429, 500, 503]), st.floats(0, 5))))
def test_each_request_is_counted_once(answers: list[tuple[int, float]]) -> None:
    tally = Tally(patience=1, since=2, until=4)
    for status, now in answers:
        tally.note(status, now / 2, now, hinted=status == 429)
    tally.broken, tally.unsent = 2, 3
    report = tally.report(len(answers) + 10, 5)
    counted = report.answered + report.refused + report.failed + report.unsent
    assert counted + report.unanswered == len(answers) + 10
    assert report.unanswered == 5
    assert report.hinted == sum(status == 429 for status, _ in answers)
    assert report.in_time == sum(status == 200 and now == 2 for status, now in answers)
    assert report.window == 2


def test_an_open_loop_counts_from_when_a_request_was_due() -> None:
    """A server that stands still for 0.4 s makes all wait that were due meanwhile."""
    arrivals = Arrivals(due=fixed(100, 0.5), connections=2, patience=0.2, queued=True)
    with answering(GOOD, after=0.4) as port:
        report = arriving(port, REQUESTS, arrivals)
    assert (report.due, report.answered, report.unsent) == (50, 50, 0)
    assert report.worst_ms >= 350
    assert report.p50_ms >= 100  # had only those two been timed that were sent, it would be 0
    assert report.in_time < 50


def test_callers_who_find_no_connection_are_lost() -> None:
    arrivals = Arrivals(due=fixed(100, 0.2), connections=1, patience=1, queued=False)
    with answering(GOOD, after=0.5) as port:
        report = arriving(port, REQUESTS, arrivals)
    assert (report.answered, report.unsent, report.unanswered) == (1, 19, 0)


def test_refusals_are_told_from_answers_and_from_failures() -> None:
    arrivals = Arrivals(due=fixed(100, 0.1), connections=4, patience=1, queued=True)
    with answering(BUSY) as port:
        refused = arriving(port, REQUESTS, arrivals)
    assert (refused.refused, refused.hinted, refused.answered) == (10, 10, 0)
    assert math.isnan(refused.p99_ms)
    with answering(b"") as port:
        broken = arriving(port, REQUESTS, arrivals)
    assert (broken.failed, broken.answered) == (10, 0)


@pytest.mark.parametrize("pieces", [1, 5])
def test_a_closed_loop_keeps_every_connection_busy(pieces: int) -> None:
    with answering(GOOD, pieces=pieces) as port:
        report = closed(port, REQUESTS, 3, 0.2)
    assert report.answered > 10
    assert report.failed == report.refused == 0
    assert report.unanswered == 3
    assert report.rate == pytest.approx(report.answered / 0.2, rel=0.2)


def test_every_form_asks_for_the_same_rows() -> None:
    rows = asked(40)
    assert rows == asked(40)
    assert len(rows[0]) == 30
    assert any(value is None for row in rows for value in row.values())
    assert set(table(40)[TARGET].unique()) == {0, 1}
    assert json.loads(as_rows(rows))["rows"] == rows
    split = json.loads(as_split(rows))["dataframe_split"]
    assert [dict(zip(split["columns"], row, strict=True)) for row in split["data"]] == rows


def test_bars_are_held_against_the_best_peer() -> None:
    rate = Line(what="rate", unit="requests/s", more_is_better=True, times=40)
    assert rate.ratio(8_000, [100, 160]) == 50
    assert rate.bar(8_000, 50) == "40x, met"
    assert rate.bar(8_000, rate.ratio(8_000, [])) == "40x"
    latency = Line(what="p99", unit="ms", more_is_better=False, at_most=5)
    assert latency.ratio(4, [400, 200]) == 50
    assert latency.bar(6, 50) == "<= 5, MISSED"
    assert latency.bar(math.nan, None) == "<= 5, MISSED"
