"""The model server's HTTP interface, as a bare ASGI application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import msgspec

from everfit import __version__
from everfit.errors import NotFound, Overloaded, TooLarge
from everfit.explaining import Explainers
from everfit.kernel import Workspace
from everfit.serving.batches import Batches
from everfit.serving.core import ModelServer
from everfit.serving.labels import decode_labels
from everfit.serving.load import Loaded
from everfit.serving.model import Answers, Bounds, Rows
from everfit.serving.reasons import Reasons, asked
from everfit.serving.rows import Plain, RowsDecoder, encode_rows
from everfit.serving.tensors import decode_tensors, describe_model, encode_tensors
from everfit.serving.traffic import exposition
from everfit.web import (
    TEXT,
    Disconnected,
    Missing,
    Receive,
    Reply,
    Routes,
    Scope,
    Send,
    answered,
    json_reply,
    read_body,
    refuse_foreign_host,
    send_early_reply,
    send_reply,
)

T = TypeVar("T")

# What is decoded and encoded faster than a thread is asked to.
SMALL_BYTES = 32 * 1024


class App:
    """Serves endpoints over HTTP. Predictions run on a few threads; past the bounds it refuses."""

    def __init__(
        self, workspace: Workspace, servers: Mapping[str, ModelServer], bounds: Bounds
    ) -> None:
        self.workspace = workspace
        self.servers = servers
        self.bounds = bounds
        self.explainers = Explainers(workspace)
        self.in_flight = 0
        self.batches = {name: Batches(server) for name, server in servers.items()}
        self._threads = ThreadPoolExecutor(bounds.threads, thread_name_prefix="answer")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        call = Call(app=self, scope=scope, receive=receive)
        try:
            reply = await answered(scope, _reply(call))
        except Disconnected:
            return
        if call.counted is not None:
            latency_ms = (time.perf_counter() - call.started) * 1000
            now = self.workspace.clock.now()
            call.counted.traffic.note(now, reply.status, latency_ms, call.answers, rows=call.rows)
        if reply.status == TooLarge.status and not call.is_read:
            await send_early_reply(receive, send, reply)
        else:
            await send_reply(send, reply)

    def server(self, name: str) -> ModelServer:
        """Return the server of an endpoint, or raise NotFound."""
        try:
            return self.servers[name]
        except KeyError:
            raise NotFound(
                f"no endpoint {name!r}",
                hint=f"This server has: {', '.join(self.servers)}.",
                endpoint=name,
            ) from None

    async def in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Return what ``work`` returns, run beside the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, work, *arguments)

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown()
        for batches in self.batches.values():
            batches.close()


@dataclass(slots=True)
class Call:
    """One request on its way, with what is noted of it: its endpoint, rows, answers and start.

    ``is_read`` says that its body came to its end.
    """

    app: App
    scope: Scope
    receive: Receive
    name: str = ""
    counted: ModelServer | None = None
    answers: Answers | None = None
    rows: int = 0
    is_read: bool = False
    started: float = 0.0

    def __post_init__(self) -> None:
        self.started = time.perf_counter()

    async def work(self, answer: Callable[[Call, ModelServer, bytes], Awaitable[bytes]]) -> Reply:
        """Return what ``answer`` makes of the body; refuse when too much waits."""
        app = self.app
        server = app.server(self.name)
        if app.in_flight >= app.bounds.in_flight:
            raise Overloaded(
                f"{app.in_flight} requests are being answered already",
                hint="Send it again after the time in Retry-After, or start more servers.",
            )
        app.in_flight += 1
        try:
            body = await read_body(self.scope, self.receive, most=app.bounds.body_bytes)
            self.is_read = True
            return Reply(status=200, body=await answer(self, server, body))
        finally:
            app.in_flight -= 1

    async def beside(self, work: Callable[..., T], *arguments: object, size: int) -> T:
        """Return what ``work`` returns: at once where it is small, else beside the event loop."""
        if size <= SMALL_BYTES:
            return work(*arguments)
        return await self.app.in_thread(work, *arguments)

    async def answered(self, rows: Rows | Plain, loaded: Loaded) -> Answers:
        """Return the answers for ``rows``, together with those of other requests."""
        self.rows = rows.height
        self.answers = await self.app.batches[self.name].answer(rows, loaded)
        return self.answers


async def _reply(call: Call) -> Reply:
    refuse_foreign_host(call.scope)
    found = ROUTES.find(call.scope["method"], call.scope["raw_path"])
    if isinstance(found, Missing):
        return found.reply(f"Use one of {', '.join(ROUTES.paths)}.")
    call.name = found.names.get("name", "")
    return await found.handler(call)


async def about(call: Call) -> Reply:
    """``GET /v2``: who answers here."""
    endpoints = list(call.app.servers)
    about = {"name": "everfit", "version": __version__, "extensions": []}
    return json_reply({**about, "endpoints": endpoints})


async def live(_call: Call) -> Reply:
    """``GET /v2/health/live``: this process answers."""
    return json_reply({"live": True})


async def ready(call: Call) -> Reply:
    """``GET /v2/health/ready``: every endpoint has a model."""
    for server in call.app.servers.values():
        _ = server.loaded
    return json_reply({"ready": True})


async def model(call: Call) -> Reply:
    """``GET /v2/models/NAME``: what it takes and gives."""
    loaded = call.app.server(call.name).loaded
    return json_reply(describe_model(call.name, loaded.plan.champion, loaded.signature))


async def model_ready(call: Call) -> Reply:
    """``GET /v2/models/NAME/ready``: it can answer, with this plan."""
    server = call.app.server(call.name)
    plan = server.loaded.plan
    return json_reply({"name": call.name, "ready": True, "plan": plan, "problem": server.problem})


async def infer(call: Call) -> Reply:
    """``POST /v2/models/NAME/infer``: predictions for columns."""
    call.counted = call.app.server(call.name)
    return await call.work(_infer)


async def _infer(call: Call, server: ModelServer, body: bytes) -> bytes:
    loaded, size = server.loaded, len(body)
    decode = partial(decode_tensors, max_rows=server.bounds.rows)
    rows = await call.beside(decode, body, loaded.signature, size=size)
    given = call.name, loaded.signature, rows, await call.answered(rows, loaded)
    return await call.beside(encode_tensors, *given, size=size)


async def predict(call: Call) -> Reply:
    """``POST /predict/NAME``: predictions for rows; with ``?explain=true`` and why."""
    call.counted = call.app.server(call.name)
    return await call.work(_explain if asked(call.scope["query_string"]) else _predict)


async def _predict(call: Call, server: ModelServer, body: bytes) -> bytes:
    loaded, size = server.loaded, len(body)
    rows = await call.beside(_rows, loaded.decoder, body, size=size)
    answers = await call.answered(rows, loaded)
    return await call.beside(encode_rows, call.name, answers, size=size)


async def _explain(call: Call, server: ModelServer, body: bytes) -> bytes:
    loaded, aside = server.loaded, call.app.in_thread
    rows = await aside(loaded.decoder.decode, body)
    made = partial(Reasons, call.app.explainers, loaded, rows.height, server.bounds)
    reasons = await aside(made)
    answers = await call.answered(rows, loaded)
    reply = encode_rows(call.name, answers)
    count = asked(call.scope["query_string"])
    return await aside(reasons.beside, reply, rows.frame, answers, count)


def _rows(decoder: RowsDecoder, body: bytes) -> Rows | Plain:
    return decoder.plain(body) or decoder.decode(body)


async def labels(call: Call) -> Reply:
    """``POST /labels/NAME``: the truth, by prediction id or key."""
    return await call.work(_labels)


async def _labels(call: Call, server: ModelServer, body: bytes) -> bytes:
    return await call.app.in_thread(_received, server, body)


def _received(server: ModelServer, body: bytes) -> bytes:
    labels = decode_labels(body, max_rows=server.bounds.rows, signature=server.signature)
    return msgspec.json.encode(server.labels.receive(labels))


async def metrics(call: Call) -> Reply:
    """``GET /metrics``: counters in Prometheus' text format."""
    text = exposition(server.traffic for server in call.app.servers.values())
    return Reply(status=200, body=text.encode(), media=TEXT)


Handler = Callable[[Call], Awaitable[Reply]]
ROUTES: Routes[Handler] = Routes(
    {
        "/v2": {"GET": about},
        "/v2/health/live": {"GET": live},
        "/v2/health/ready": {"GET": ready},
        "/v2/models/{name}": {"GET": model},
        "/v2/models/{name}/ready": {"GET": model_ready},
        "/v2/models/{name}/infer": {"POST": infer},
        "/predict/{name}": {"POST": predict},
        "/labels/{name}": {"POST": labels},
        "/metrics": {"GET": metrics},
    }
)
