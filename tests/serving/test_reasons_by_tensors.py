"""Reasons over the Open Inference Protocol, asked by Triton's own clients, REST and gRPC."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as by_grpc
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from tests.serving.conftest import ENDPOINT, Constant, Shop
from tests.serving.test_reasons import ROW, add, added_up, boosting, trained

from everfit.serving import BackgroundServer, Bounds
from everfit.serving.rpc import RpcServer

by_http = pytest.importorskip("tritonclient.http")
KINDS = {"temp": "FP64", "hour": "INT64", "sky": "BYTES", "holiday": "BOOL"}
BOUNDS = Bounds(explained_rows=20)
Ask = Callable[..., Any]


def inputs_of(module: Any, count: int) -> list[Any]:
    made = []
    for name, kind in KINDS.items():
        made.append(module.InferInput(name, [count], kind))
        dtype = object if kind == "BYTES" else None
        made[-1].set_data_from_numpy(np.array([ROW[name]] * count, dtype=dtype))
    return made


@pytest.fixture
def server(shop: Shop) -> Iterator[BackgroundServer]:
    names = [ENDPOINT]
    with BackgroundServer(shop.workspace, names, durable=False, bounds=BOUNDS) as running:
        yield running


@pytest.fixture(params=["rest", "grpc"])
def ask(
    request: pytest.FixtureRequest, shop: Shop, server: BackgroundServer
) -> Iterator[tuple[Any, Ask]]:
    """Return a client's module, and what asks with it for so many rows."""
    module: Any = by_http if request.param == "rest" else by_grpc
    served = {ENDPOINT: server.server(ENDPOINT)}
    with RpcServer(shop.workspace, served, BOUNDS) as rpc:
        rest = server.url.removeprefix("http://")
        address = rest if module is by_http else f"127.0.0.1:{rpc.port}"
        with module.InferenceServerClient(address) as client:

            def asking(count: int = 1, outputs: list[str] | None = None, **parameters: Any) -> Any:
                server.refresh()
                wanted = outputs and [module.InferRequestedOutput(name) for name in outputs]
                inputs = inputs_of(module, count)
                return client.infer(ENDPOINT, inputs, outputs=wanted, parameters=parameters)

            yield module, asking


def reasons(answer: Any) -> list[dict[str, Any]]:
    return [json.loads(text) for text in answer.as_numpy("because")]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("model", [boosting, lambda: trained(Ridge())], ids=["trees", "linear"])
def test_they_are_those_of_predict(
    shop: Shop, server: BackgroundServer, ask: tuple[Any, Ask], model: Callable[[], Any]
) -> None:
    shop.release(add(shop, model()))
    answer = ask[1](2, explain=True)
    url = f"{server.url}/predict/{ENDPOINT}?explain=true"
    expected = httpx.post(url, json=[ROW, ROW]).json()["predictions"]
    for found, row, predicted in zip(
        reasons(answer), expected, answer.as_numpy("cnt").tolist(), strict=True
    ):
        assert found == {name: row[name] for name in found}
        assert found["because"] != []
        assert added_up(found) == pytest.approx(predicted)
    assert answer.as_numpy("prediction_id").shape == (2,)


@pytest.mark.filterwarnings("ignore")
def test_they_come_when_they_are_asked_for_and_as_many(shop: Shop, ask: tuple[Any, Ask]) -> None:
    shop.release(add(shop, boosting()))
    module, asking = ask
    assert len(reasons(asking(explain=1))[0]["because"]) == 1
    assert len(reasons(asking(explain="2"))[0]["because"]) == 2
    assert asking().as_numpy("because") is None
    assert asking(explain=False).as_numpy("because") is None
    named = asking(outputs=["cnt"], explain=True)
    assert len(reasons(named)) == 1
    assert named.as_numpy("version") is None
    assert len(reasons(asking(outputs=["because", "cnt"], explain=True))) == 1
    with pytest.raises(module.InferenceServerException, match="found 'because'; use cnt"):
        asking(outputs=["because"])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("word", ["yes", -1, 9999, 0.5])
def test_what_is_no_number_of_reasons_is_told(shop: Shop, ask: tuple[Any, Ask], word: Any) -> None:
    shop.release(add(shop, boosting()))
    module, asking = ask
    with pytest.raises(module.InferenceServerException, match=r"parameters\.explain: found"):
        asking(explain=word)


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_explained_is_refused_before_it_is_logged(
    shop: Shop, ask: tuple[Any, Ask]
) -> None:
    module, asking = ask
    shop.release(shop.add(Constant(4.5)))
    with pytest.raises(module.InferenceServerException, match="cannot be explained"):
        asking(explain=True)
    shop.release(add(shop, trained(KNeighborsRegressor())))
    with pytest.raises(module.InferenceServerException, match="3 rows to explain in one request"):
        asking(3, explain=True)
    assert shop.logged().is_empty()
    assert reasons(asking(2, explain=True))[0]["method"] == "approximate"
