"""Endpoints that nobody asks let go of their models, and load them for whoever asks next."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import numpy.typing as npt
import polars as pl
import psutil
import pytest
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import LinearRegression
from tests.serving.conftest import ENDPOINT, REGRESSION, Constant, Shop
from tests.serving.test_compiled import compile_version, fitted
from tests.serving.test_deadlines import tensors
from tests.serving.test_metrics import Page
from tests.serving.test_process import SIGNATURE, free_port
from tests.serving.test_process import server as process_server
from tests.serving.test_reasons import add as add_with_rows
from tests.serving.test_reasons import boosting
from tests.serving.test_rpc import Rpc, typed
from tests.serving.test_workers import wait_until, workers_of

from everfit.deployment import rollback
from everfit.registry import get_version
from everfit.serving import BackgroundServer, Bounds, LocalPredictor, ModelServer
from everfit.serving.process import Endpoints
from everfit.serving.terms import TIMEOUT

ROW = {"temp": 0.5, "hour": 3, "sky": "clear", "holiday": False}
ASK = f"/predict/{ENDPOINT}"
READY = f"/v2/models/{ENDPOINT}/ready"
MIB = 2**20


class Gated(Constant):
    """Is loaded while its gate is open: until then the row that warms it, of hour 0, has to wait.

    The gate is a file, for a model is packed with all that it refers to.
    """

    def __init__(self, value: float, shut: Path) -> None:
        super().__init__(value)
        self.shut = str(shut)

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        deadline = time.monotonic() + 20
        while frame["hour"][0] == 0 and Path(self.shut).exists():
            assert time.monotonic() < deadline
            time.sleep(0.002)
        return super().predict(frame)


@dataclass
class Gate:
    """What holds up the loading of a model while it is shut."""

    file: Path

    def shut(self) -> None:
        self.file.touch()

    def open(self) -> None:
        self.file.unlink(missing_ok=True)


@pytest.fixture
def gate(shop: Shop, tmp_path: Path) -> Iterator[Gate]:
    """Release a gated model; the gate is open."""
    gate = Gate(tmp_path / "shut")
    shop.release(shop.add(Gated(4.5, gate.file)))
    yield gate
    gate.open()


def idle_after(shop: Shop, seconds: float) -> Shop:
    workspace = shop.workspace
    return Shop(replace(workspace, settings=replace(workspace.settings, idle_seconds=seconds)))


@contextmanager
def serving(shop: Shop, *others: str, **bounds: Any) -> Iterator[tuple[BackgroundServer, Any]]:
    names = [ENDPOINT, *others]
    with (
        BackgroundServer(shop.workspace, names, durable=False, bounds=Bounds(**bounds)) as running,
        httpx.Client(base_url=running.url, timeout=20) as http,
    ):
        yield running, http


def loads(running: BackgroundServer) -> int:
    return running.server(ENDPOINT).traffic.counts().loads.count


def damaged(shop: Shop, number: int) -> tuple[Path, bytes]:
    """Take a version's package away; return where it was, and what."""
    with shop.workspace.reading() as tx:
        digest = get_version(tx, ENDPOINT, number).require_package()
    files = [one for one in shop.workspace.home.rglob("*") if one.is_file()]
    [file] = [one for one in files if digest.endswith(one.name)]
    content = file.read_bytes()
    file.unlink()
    return file, content


def test_who_is_not_asked_lets_go_and_the_next_request_is_answered(shop: Shop) -> None:
    shop = idle_after(shop, 1.0)
    shop.release(shop.add(Constant(4.5)))
    with serving(shop) as (running, http):
        assert http.get(READY).json()["loaded"]
        running.refresh()
        assert running.server(ENDPOINT).loaded.is_awake
        time.sleep(1.1)
        running.refresh()
        page = Page(running.url)
        assert page.value("everfit_model_loaded", endpoint=ENDPOINT) == 0
        assert page.value("everfit_model_memory_bytes", endpoint=ENDPOINT) == 0
        assert page.value("everfit_ready", endpoint=ENDPOINT) == 1
        assert page.value("everfit_plan_revision", endpoint=ENDPOINT) == 1
        answer = http.post(ASK, json=ROW)
        assert answer.json()["predictions"][0]["prediction"] == 4.5
        page = Page(running.url)
        assert page.value("everfit_model_loaded", endpoint=ENDPOINT) == 1
        assert page.value("everfit_model_load_seconds_count", endpoint=ENDPOINT) == 2
        told = http.get(READY).json()
        assert told["loaded"]
        assert 0 < told["load_seconds"] < 10
        time.sleep(0.6)
        http.post(ASK, json=ROW)
        time.sleep(0.6)
        running.refresh()
        assert running.server(ENDPOINT).loaded.is_awake, "it was asked a moment ago"
    assert shop.logged().height == 2


def test_by_default_models_stay(shop: Shop) -> None:
    shop.release(shop.add(Constant(4.5)))
    with ModelServer(shop.workspace, ENDPOINT, writer="test", durable=False) as server:
        time.sleep(0.05)
        server.refresh()
        assert server.loaded.is_awake


def test_questions_about_it_neither_load_a_model_nor_keep_it(shop: Shop) -> None:
    shop = idle_after(shop, 0.1)
    shop.release(shop.add(Constant(4.5)))
    paths = ["/v2/health/ready", "/ping", "/health", READY, f"/v2/models/{ENDPOINT}"]
    paths += [f"/v2/models/{ENDPOINT}/versions/1/ready", "/openapi.json", "/metrics"]
    with serving(shop) as (running, http):
        awake = [http.get(path) for path in paths]
        time.sleep(0.15)
        awake += [http.get(path) for path in paths]
        running.refresh()
        assert not running.server(ENDPOINT).loaded.is_awake
        later = [http.get(path) for path in paths]
        label = {"labels": [{"key": "ann", "label": 4.0}]}
        later.append(http.post(f"/labels/{ENDPOINT}", json=label))
        later.append(http.post(ASK, content=b"{"))
        assert [one.status_code for one in (*awake, *later)] == [200] * 25 + [422]
        for place, path in enumerate(paths):
            if path in (f"/v2/models/{ENDPOINT}", "/openapi.json"):
                assert later[place].json() == awake[place].json()
        assert not running.server(ENDPOINT).loaded.is_awake
        assert not later[paths.index(READY)].json()["loaded"]


@pytest.mark.parametrize("kind", ["native", "compiled"])
def test_answers_are_the_same_after_it(shop: Shop, kind: str, rows: Any) -> None:
    number = shop.add(fitted(LinearRegression(), REGRESSION))
    if kind == "compiled":
        compile_version(shop, ENDPOINT, number, pl.DataFrame(rows(50)))
    shop.release(number)
    asked = rows(30)
    with serving(shop) as (running, http):
        server = running.server(ENDPOINT)
        before = [one["prediction"] for one in http.post(ASK, json=asked).json()["predictions"]]
        model = type(server.loaded.champion.model)
        server.let_go()
        after = [one["prediction"] for one in http.post(ASK, json=asked).json()["predictions"]]
        assert before == after
        assert type(server.loaded.champion.model) is model
        assert server.loaded.needs_no_frame is (kind == "compiled")


def test_many_who_come_at_once_cause_one_load_and_hold_up_nobody_else(
    shop: Shop, gate: Gate
) -> None:
    shop.release(shop.add(Constant(1.0), model="churn"), model="churn")
    with serving(shop, "churn") as (running, http), ThreadPoolExecutor(24) as pool:
        server = running.server(ENDPOINT)
        server.let_go()
        before = loads(running)
        gate.shut()
        asked = [pool.submit(http.post, ASK, json=ROW) for _ in range(24)]
        wait_until(lambda: server.admission.inside == 24)
        others = [http.post("/predict/churn", json=ROW) for _ in range(10)]
        others.append(http.get("/v2/health/live"))
        assert {one.status_code for one in others} == {200}
        assert not server.loaded.is_awake
        gate.open()
        assert {one.result().status_code for one in asked} == {200}
        assert loads(running) - before == 1


def test_new_plans_of_others_are_taken_up_while_one_is_loaded(shop: Shop, gate: Gate) -> None:
    shop.release(shop.add(Constant(1.0), model="churn"), model="churn")
    served, stop = Endpoints(shop.workspace, [ENDPOINT, "churn"], writer="test"), threading.Event()
    server, other = served.servers[ENDPOINT], served.servers["churn"]
    with closing(served), ThreadPoolExecutor(2) as pool:
        server.let_go()
        gate.shut()
        waiting = pool.submit(server.awake)
        wait_until(lambda: server.waking.is_under_way)
        polling = pool.submit(served.poll, stop, 0.01)
        try:
            shop.release(shop.add(Constant(2.0), model="churn"), model="churn")
            wait_until(lambda: other.loaded.plan.champion == 2, 10)
            assert not server.loaded.is_awake
        finally:
            gate.open()
            stop.set()
        assert waiting.result(20).is_awake
        polling.result(20)


def test_who_waits_for_a_load_holds_a_place(shop: Shop, gate: Gate) -> None:
    with (
        serving(shop, in_flight=8, crowd=8) as (running, http),
        ThreadPoolExecutor(16) as pool,
    ):
        running.server(ENDPOINT).let_go()
        gate.shut()
        asked = [pool.submit(http.post, ASK, json=ROW) for _ in range(16)]
        # An eighth of the places is for clients that hold none.
        wait_until(lambda: sum(one.done() for one in asked) == 9)
        gate.open()
        statuses = [one.result().status_code for one in asked]
    assert (statuses.count(200), statuses.count(503)) == (7, 9)


def test_it_is_waited_for_no_longer_than_the_answer_is_wanted(shop: Shop, gate: Gate) -> None:
    with serving(shop) as (running, http):
        running.server(ENDPOINT).let_go()
        before = loads(running)
        gate.shut()
        late = http.post(ASK, json=ROW, headers={TIMEOUT: "50"})
        body = tensors(ROW, timeout=50_000)
        too_late = http.post(f"/v2/models/{ENDPOINT}/infer", json=body)
        assert (late.status_code, too_late.status_code) == (504, 504)
        gate.open()
        assert http.post(ASK, json=ROW).status_code == 200
        assert loads(running) - before == 1


def test_what_was_waited_for_a_load_says_nothing_about_answers(shop: Shop, gate: Gate) -> None:
    with serving(shop) as (running, http), ThreadPoolExecutor(1) as pool:
        server = running.server(ENDPOINT)
        server.let_go()
        gate.shut()
        asked = pool.submit(http.post, ASK, json=ROW)
        time.sleep(1.0)
        gate.open()
        assert asked.result().status_code == 200
        assert server.load_seconds is not None
        assert server.load_seconds > 0.5
        assert http.get(READY).json()["load_seconds"] == server.load_seconds
        with server.admission.enter(), server.admission.enter(left=0.5):
            assert server.admission.inside == 2


def test_a_load_that_fails_is_told_and_tried_again(shop: Shop) -> None:
    shop.release(shop.add(Constant(4.5)))
    with serving(shop) as (running, http):
        running.server(ENDPOINT).let_go()
        file, content = damaged(shop, 1)
        for _ in range(2):
            refused = http.post(ASK, json=ROW)
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "1"
            error = refused.json()["error"]
            assert error["code"] == "unavailable"
            assert "the models of endpoint 'bike' cannot be loaded: " in error["message"]
        file.write_bytes(content)
        assert http.post(ASK, json=ROW).status_code == 200


def test_a_plan_that_comes_meanwhile_is_loaded_as_it_comes(shop: Shop) -> None:
    shop.release(shop.add(Constant(1.0)))
    with serving(shop) as (running, http):
        server = running.server(ENDPOINT)
        server.let_go()
        shop.release(shop.add(Constant(2.0)), "50% -> 100%")
        running.refresh()
        assert server.loaded.is_awake
        rows = [{**ROW, "temp": number / 50} for number in range(50)]
        answered = http.post(ASK, json=rows).json()["predictions"]
        assert {(one["version"], one["prediction"]) for one in answered} == {(1, 1.0), (2, 2.0)}
        server.let_go()
        answered = http.post(ASK, json=rows).json()["predictions"]
        assert {(one["version"], one["prediction"]) for one in answered} == {(1, 1.0), (2, 2.0)}


def test_nobody_goes_without_an_answer_while_models_come_and_go(shop: Shop) -> None:
    versions = [shop.add(Constant(float(number))) for number in (1, 2, 3)]
    shop.release(versions[0])
    stop = threading.Event()

    def ask(http: httpx.Client) -> int:
        asked = 0
        while not stop.is_set():
            response = http.post(ASK, json=ROW)
            assert response.status_code == 200, response.text
            [said] = response.json()["predictions"]
            assert float(said["version"]) == said["prediction"]
            asked += 1
        return asked

    with serving(shop) as (running, http), ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, http) for _ in range(4)]
        for turn in range(30):
            running.server(ENDPOINT).let_go()
            if turn % 3 == 0:
                shop.release(versions[(turn + 1) % 3], "100%" if turn % 2 else "40% -> 100%")
                running.refresh()
            time.sleep(0.02)
        stop.set()
        answered = sum(one.result() for one in asking)
        assert loads(running) > 10
    assert shop.logged().height == answered


def test_a_plan_that_cannot_be_loaded_leaves_the_one_before_to_be_asked(shop: Shop) -> None:
    shop.release(shop.add(Constant(1.0)))
    with serving(shop) as (running, http):
        server = running.server(ENDPOINT)
        server.let_go()
        shop.release(shop.add(Constant(2.0), package="cd" * 32))
        running.refresh()
        assert server.problem is not None
        assert not server.loaded.is_awake
        assert http.post(ASK, json=ROW).json()["predictions"][0]["prediction"] == 1.0
        with shop.workspace.transaction() as tx:
            rollback(tx, endpoint=ENDPOINT, reason="missing", actor="ann")
        running.refresh()
        assert server.problem is None


def test_what_is_being_answered_keeps_its_models(shop: Shop) -> None:
    shop = idle_after(shop, 0.1)
    shop.release(shop.add(Constant(4.5)))
    with ModelServer(shop.workspace, ENDPOINT, writer="test", durable=False) as server:
        before = server.loaded
        with server.admission.enter():
            time.sleep(0.15)
            server.refresh()
            assert server.loaded is before
        server.refresh()
        assert not server.loaded.is_awake
        frame = pl.DataFrame([ROW])
        assert server.predict(frame, loaded=before).predictions == [4.5]
        assert not server.loaded.is_awake
        assert LocalPredictor(server).predict(frame)["prediction"].to_list() == [4.5]
        assert server.loaded.is_awake


def test_models_that_were_let_go_or_replaced_are_in_memory_no_more(shop: Shop) -> None:
    shop.release(add_with_rows(shop, boosting()))
    gc.collect()
    gc.disable()  # It must not take a search for cycles, which would hold everybody up.
    try:
        with serving(shop) as (running, http):
            server = running.server(ENDPOINT)

            def models() -> list[weakref.ref[Any]]:
                assert http.post(ASK, json=ROW).status_code == 200
                assert http.post(f"{ASK}?explain=true", json=ROW).status_code == 200
                number = server.loaded.plan.champion
                explainer = server.explainers.of(ENDPOINT, number)
                estimator: Any = server.loaded.champion.model
                return [weakref.ref(explainer), weakref.ref(estimator.estimator)]

            for let_go in (server.let_go, lambda: replace_champion(shop, running)):
                held = models()
                assert all(one() for one in held)
                let_go()
                wait_until(partial(are_gone, held))
    finally:
        gc.enable()


def are_gone(held: list[weakref.ref[Any]]) -> bool:
    return not any(one() for one in held)


def replace_champion(shop: Shop, running: BackgroundServer) -> None:
    shop.release(add_with_rows(shop, boosting()))
    running.refresh()
    assert running.server(ENDPOINT).loaded.plan.champion == 2


def test_calls_over_grpc_load_it_too(shop: Shop, gate: Gate) -> None:
    with Rpc(shop) as rpc:
        server = rpc.http.server(ENDPOINT)
        server.let_go()
        assert rpc.client.is_model_ready(ENDPOINT)
        assert rpc.client.get_model_metadata(ENDPOINT).versions == ["1"]
        assert not server.loaded.is_awake
        gate.shut()
        assert rpc.refusal(typed([ROW]), timeout=0.2)[0] is grpc.StatusCode.DEADLINE_EXCEEDED
        gate.open()
        assert rpc.infer(typed([ROW])).outputs[0].name == "cnt"
        assert server.loaded.is_awake
        assert loads(rpc.http) == 2


def forest() -> Any:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"temp": rng.random(10_000)})
    trees = ExtraTreesRegressor(40, random_state=0)
    return trees.fit(frame, frame["temp"].to_numpy() + rng.random(10_000))


def test_processes_give_the_memory_back(shop: Shop) -> None:
    home = shop.workspace.home
    home.mkdir(parents=True, exist_ok=True)
    (home / "settings.toml").write_text("idle_seconds = 2.0\n")
    shop.release(shop.add(forest(), SIGNATURE))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with process_server(shop.workspace, port) as process:
        [worker] = workers_of(process)

        def resident() -> int:
            return int(psutil.Process(worker.pid).memory_info().rss)

        held, full = 0.0, 0
        # What the first load adds is mostly libraries, and they stay.
        for _ in range(2):
            assert httpx.post(f"{url}{ASK}", json={"temp": 0.5}, timeout=20).status_code == 200
            full = resident()
            held = Page(url).value("everfit_model_memory_bytes", endpoint=ENDPOINT)
            wait_until(lambda: Page(url).value("everfit_model_loaded", endpoint=ENDPOINT) == 0)
        assert held > 30 * MIB
        assert full - resident() > 0.8 * held
        assert Page(url).value("everfit_ready", endpoint=ENDPOINT) == 1
