"""Calls over gRPC answered together, and compiled models asked without a frame."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import polars as pl
import pytest
from sklearn.linear_model import LogisticRegression
from tests.serving.conftest import CLASSIFICATION, ENDPOINT, Shop
from tests.serving.test_batches import Warm, batches
from tests.serving.test_compiled import compile_version, fitted
from tests.serving.test_rpc import GOOD, REGULAR, Rpc, raw, typed

from everfit.errors import RowsInvalid
from everfit.packages import Signature
from everfit.serving import Bounds
from everfit.serving.plain import Plain
from everfit.serving.rpc.messages import SERVICE
from everfit.serving.rpc.requests import decode_request

ROOMY = Bounds(in_flight=32, threads=4)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def while_busy(running: Rpc, requests: Sequence[Any]) -> list[float | str]:
    """Return what calls get that come while the model is busy: the number, or the status."""

    def ask(request: Any) -> float | str:
        try:
            number: float = running.infer(request).outputs[0].contents.fp64_contents[0]
        except grpc.RpcError as error:
            told: Any = error
            return str(told.code().name)
        return number

    with ThreadPoolExecutor(len(requests) + 1) as pool:
        busy = pool.submit(running.infer, typed([{**GOOD, "hour": 7}]))
        until(lambda: running.http.in_flight == 1)
        answers = list(pool.map(ask, requests))
        assert busy.result().outputs
    return answers


def test_calls_that_wait_share_one_question_and_each_gets_its_own_answer(shop: Shop) -> None:
    shop.release(shop.add(Warm(0.0)))
    asked = [typed([{**GOOD, "temp": at / 16}]) for at in range(15)]
    with Rpc(shop, ROOMY) as running:
        assert while_busy(running, asked) == [at / 16 for at in range(15)]
    logged = shop.logged()
    assert logged["id"].n_unique() == 16
    assert sum(batches(shop)) == 16
    assert max(batches(shop)) > 4


def test_a_call_that_breaks_the_model_costs_no_other_one_its_answer(shop: Shop) -> None:
    shop.release(shop.add(Warm(0.0)))
    asked = [typed([{**GOOD, "hour": 13 if at == 5 else 3}]) for at in range(15)]
    with Rpc(shop, ROOMY) as running:
        answers = while_busy(running, asked)
    assert answers == ["INTERNAL" if at == 5 else 0.5 for at in range(15)]
    assert shop.logged().height == 15


@pytest.mark.parametrize("count", [1, 40])
def test_a_compiled_model_answers_as_the_native_one_does(
    shop: Shop, rows: Callable[[int], Any], count: int
) -> None:
    shop.release(shop.add(fitted(LogisticRegression(), CLASSIFICATION), CLASSIFICATION))
    asked = rows(count)
    with Rpc(shop, ROOMY) as running:
        native = running.infer(typed(asked, CLASSIFICATION.inputs)).outputs
    compile_version(shop, ENDPOINT, 1, pl.DataFrame(rows(60), schema_overrides={"sky": pl.String}))
    with Rpc(shop, ROOMY) as running:
        assert running.http.server(ENDPOINT).loaded.needs_no_frame
        compiled = running.infer(typed(asked, CLASSIFICATION.inputs)).outputs
    busy = [list(outputs[0].contents.bool_contents) for outputs in (native, compiled)]
    assert busy[0] == busy[1]
    scores = [list(outputs[1].contents.fp64_contents) for outputs in (native, compiled)]
    assert scores[0] == pytest.approx(scores[1])
    logged = shop.logged().select(f"in.{field.name}" for field in CLASSIFICATION.inputs)
    assert logged[:count].equals(logged[count:])


def test_a_call_that_is_cancelled_gives_its_place_back_at_once(shop: Shop) -> None:
    shop.release(shop.add(Warm(0.0)))
    with Rpc(shop, ROOMY) as running, ThreadPoolExecutor(1) as pool:
        busy = pool.submit(running.infer, typed([{**GOOD, "hour": 7}]))
        until(lambda: running.http.in_flight == 1)
        ask = running.channel.unary_unary(f"/{SERVICE}/ModelInfer")
        asking = ask.future(typed([GOOD]).SerializeToString())
        until(lambda: running.http.in_flight == 2)
        asking.cancel()
        until(lambda: running.http.in_flight == 1)
        assert not busy.done()
        assert busy.result().outputs
    assert shop.logged().height == 1


def test_what_cannot_be_logged_is_told_and_the_server_goes_on(shop: Shop) -> None:
    shop.release(shop.add(Warm(0.0)))
    with Rpc(shop, ROOMY) as running:
        running.http.server(ENDPOINT).close()
        for _ in range(2):
            code, details = running.refusal(typed([GOOD]))
            assert code is grpc.StatusCode.UNAVAILABLE
            assert "closed" in details


@pytest.mark.parametrize("form", [raw, typed])
def test_a_few_rows_become_no_frame_where_they_need_no_closer_look(form: Any) -> None:
    regular = Signature(inputs=REGULAR, output=REGULAR[0], task="regression")
    rows = decode_request(form([GOOD] * 3), regular, max_rows=100).rows
    assert isinstance(rows, Plain)
    assert rows.values == [tuple(GOOD.values())] * 3
    whole, large = form([GOOD] * 3), form([GOOD] * 3)
    whole.inputs[0].datatype, large.inputs[1].datatype = "INT64", "UINT64"
    if form is typed:
        whole.inputs[0].contents.int64_contents.extend([1, 2, 3])
    rows = decode_request(whole, regular, max_rows=100).rows
    assert not isinstance(rows, Plain)
    if form is typed:
        large.inputs[1].contents.uint64_contents.extend([1, 2, 2**63])
    else:
        large.raw_input_contents[1] = struct.pack("<3Q", 1, 2, 2**63)
    with pytest.raises(RowsInvalid, match="at most 64 bits") as caught:
        decode_request(large, regular, max_rows=100)
    assert [problem.path for problem in caught.value.problems] == ["inputs.hour.data[2]"]
