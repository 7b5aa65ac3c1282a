"""Requests answered together: fewer questions to the model, the same answers to each caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import polars as pl
from tests.serving.conftest import ENDPOINT, Constant, Shop, Slow

from everfit.serving import BackgroundServer, Bounds

MANY = 24


class Warm(Slow):
    """Answers with the temperature, late where the hour is 7, never where it is 13."""

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        if (frame["hour"] == 13).any():
            raise ValueError(f"13 in {frame.height} rows")
        super().predict(frame)
        return frame["temp"].to_numpy()


@contextmanager
def asking(shop: Shop, **bounds: int) -> Iterator[Callable[[dict[str, Any]], httpx.Response]]:
    with (
        BackgroundServer(
            shop.workspace, [ENDPOINT], durable=False, bounds=Bounds(**bounds)
        ) as server,
        httpx.Client(base_url=server.url, timeout=30) as http,
    ):
        yield lambda body: http.post(f"/predict/{ENDPOINT}", json=body)


def row(temp: float, hour: int = 3) -> dict[str, Any]:
    return {"temp": temp, "hour": hour, "sky": "clear", "holiday": False}


def together(
    ask: Callable[[dict[str, Any]], httpx.Response], bodies: list[dict[str, Any]]
) -> list[httpx.Response]:
    """Send requests at once while the model is busy with a slow one."""
    with ThreadPoolExecutor(len(bodies) + 1) as pool:
        slow = pool.submit(ask, {"rows": [row(0.9, hour=7)]})
        answers = list(pool.map(ask, bodies))
        assert slow.result().status_code == 200
    return answers


def batches(shop: Shop) -> list[int]:
    """Return how many rows the model was asked for at a time: each batch is logged as one."""
    logged = shop.logged()
    return logged.group_by("at", "latency_ms").len()["len"].to_list()


def test_what_waits_is_answered_together_and_each_gets_its_own(shop: Shop) -> None:
    shop.release(shop.add(Warm(0.0)))
    bodies = [
        {"rows": [row(i / 100), row(i / 100 + 0.5)], "keys": [f"{i}a", f"{i}b"]}
        for i in range(MANY)
    ]
    with asking(shop) as ask:
        answers = together(ask, bodies)
    for i, answer in enumerate(answers):
        found = [item["prediction"] for item in answer.json()["predictions"]]
        assert found == [i / 100, i / 100 + 0.5]
    logged = shop.logged()
    ids = {item["id"] for answer in answers for item in answer.json()["predictions"]}
    assert len(ids) == 2 * MANY
    assert ids < set(logged["id"])
    by_key = dict(zip(logged["key"], logged["prediction"], strict=True))
    assert all(by_key[f"{i}b"] == i / 100 + 0.5 for i in range(MANY))
    assert max(batches(shop)) > 4


def test_rows_that_break_the_model_cost_nobody_else_the_answer(shop: Shop) -> None:
    shop.release(shop.add(Warm(0.0)))
    bodies = [{"rows": [row(i / 100, hour=13 if i == 5 else 3)]} for i in range(MANY)]
    with asking(shop) as ask:
        answers = together(ask, bodies)
    statuses = [answer.status_code for answer in answers]
    assert statuses == [500 if i == 5 else 200 for i in range(MANY)]
    assert "13 in 1 rows" in answers[5].json()["error"]["message"]


def test_a_batch_has_no_more_rows_than_a_request_may_have(shop: Shop) -> None:
    shop.release(shop.add(Warm(0.0)))
    bodies = [{"rows": [row(0.1)] * 4} for _ in range(MANY)]
    with asking(shop, rows=10) as ask:
        assert all(answer.status_code == 200 for answer in together(ask, bodies))
    sizes = batches(shop)
    assert max(sizes) == 8
    assert sum(sizes) == 4 * MANY + 1


def test_requests_with_times_and_without_are_kept_apart(shop: Shop) -> None:
    shop.release(shop.add(Constant(1.0)))
    at = "2026-01-31T12:00:00Z"
    bodies = [
        {"rows": [row(0.1)], "keys": [str(i)], "times": [at] if i % 2 else None}
        for i in range(MANY)
    ]
    with asking(shop) as ask:
        assert all(answer.status_code == 200 for answer in together(ask, bodies))
    logged = shop.logged().filter(pl.col("key").is_not_null())
    own = logged.filter(pl.col("key").cast(pl.Int64) % 2 == 1)
    assert own["time"].unique().to_list() == [datetime(2026, 1, 31, 12, tzinfo=UTC)]
    rest = logged.filter(pl.col("key").cast(pl.Int64) % 2 == 0)
    assert (rest["time"] == rest["at"]).all()


def test_what_breaks_the_candidate_counts_in_the_rows_that_did_it_alone(shop: Shop) -> None:
    shop.release(shop.add(Constant(1.0)))
    shop.release(shop.add(Warm(0.0)), "shadow 1d -> 100%")
    bodies = [{"rows": [row(0.1, hour=13 if i == 5 else 3)], "keys": [str(i)]} for i in range(MANY)]
    with asking(shop) as ask:
        assert all(answer.status_code == 200 for answer in together(ask, bodies))
    logged = shop.logged()
    assert logged.filter(pl.col("error").is_not_null())["key"].to_list() == ["5"]
    assert logged["other_prediction"].null_count() == 1
    assert logged.height == MANY + 1
