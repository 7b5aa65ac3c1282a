"""More callers than can be answered: a real server process, and an open-loop client in another."""

from __future__ import annotations

import time
from array import array

import httpx
import numpy as np
import numpy.typing as npt
import polars as pl
from bench.serving.client import Client
from bench.serving.load import Arrivals
from bench.serving.schedule import poisson
from bench.tracking.wire import post
from tests.serving.conftest import ENDPOINT, Shop
from tests.serving.test_process import SIGNATURE, free_port, server

ROW_SECONDS = 0.005
CONNECTIONS = 200
SECONDS = 2.0
PATH = f"/predict/{ENDPOINT}"
REQUEST = post(PATH, b'{"temp": 0.5}')


class TwoHundredRows:
    """Answers so many rows in a second, however they come: nothing is won by asking together."""

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        time.sleep(ROW_SECONDS * frame.height)
        return np.ones(frame.height)


def coming(due: array[float]) -> Arrivals:
    return Arrivals(due=due, connections=CONNECTIONS, patience=10, queued=False)


def test_callers_who_are_too_many_cost_the_others_nothing(shop: Shop) -> None:
    shop.release(shop.add(TwoHundredRows(), SIGNATURE))
    port = free_port()
    with server(shop.workspace, port) as process, Client(None) as client:
        capacity = client.closed(port, [REQUEST], connections=16, seconds=SECONDS).rate
        assert capacity > 50
        for times in (2, 10):
            due = poisson(times * capacity, SECONDS, seed=4)
            report = client.arriving(port, [REQUEST], coming(due))
            # Every request that was sent has its answer: a prediction, or when to come again.
            assert (report.failed, report.unanswered) == (0, 0)
            assert report.answered + report.refused + report.unsent == report.due
            assert report.hinted == report.refused > 0
            assert report.refused_p99_ms < 250
            # The bar is nine tenths, on a machine that does nothing else.
            assert report.goodput > 0.5 * capacity
            # The queue is 64 requests long: the time of two, for a batch is on its way, and some.
            assert report.p99_ms / 1000 < 2 * 64 / capacity + 1
        assert process.poll() is None
        assert httpx.post(f"http://127.0.0.1:{port}{PATH}", json={"temp": 0.5}).status_code == 200
