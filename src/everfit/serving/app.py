"""The model server's HTTP interface, as a bare ASGI application."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import msgspec

from everfit import __version__
from everfit.errors import EverfitError, NotFound, TooLarge
from everfit.kernel import Workspace
from everfit.serving.arrow import decode_arrow, encode_arrow
from everfit.serving.batches import Batches
from everfit.serving.binary import HEADER
from everfit.serving.call import Call, Form
from everfit.serving.core import ModelServer, server_of
from everfit.serving.counts import route_of
from everfit.serving.door import Door, Uploads
from everfit.serving.exchange import Exchange
from everfit.serving.explain import asked
from everfit.serving.invocations import VERSION, decode_invocation, encode_predictions
from everfit.serving.labels import decode_labels
from everfit.serving.load import Loaded
from everfit.serving.media import ARROW, JSON, OCTETS, is_wanted
from everfit.serving.model import Answers, Bounds, Rows
from everfit.serving.observed import Observation, open_spans
from everfit.serving.openapi import describe_api
from everfit.serving.pinned import described
from everfit.serving.plain import Plain
from everfit.serving.refusals import in_words_of_path
from everfit.serving.rows import encode_rows
from everfit.serving.tensors import decode_tensors, describe_model, encode_tensors
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
    fields,
    json_reply,
    received,
    refuse_foreign_host,
    send_early_reply,
    send_reply,
)

T = TypeVar("T")


class App:
    """Serves endpoints over HTTP. Predictions run on a few threads; past the bounds it refuses."""

    def __init__(
        self,
        workspace: Workspace,
        servers: Mapping[str, ModelServer],
        bounds: Bounds,
        *,
        exchange: Exchange | None = None,
    ) -> None:
        self.workspace = workspace
        self.servers = servers
        self.bounds = bounds
        self.door = Door(servers)
        self.uploads = Uploads(bounds)
        self.observed = Observation(
            workspace, servers, spans=open_spans(workspace), exchange=exchange
        )
        self.batches = {name: Batches(server) for name, server in servers.items()}
        self._threads = ThreadPoolExecutor(bounds.threads, thread_name_prefix="answer")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        call = Call(self, scope, receive, received(scope))
        try:
            reply = await answered(scope, _reply(call))
        except Disconnected:
            return
        reply = in_words_of_path(scope["path"], reply)
        self.observed.note(call, reply.status, time.perf_counter() - call.started)
        if reply.status == TooLarge.status and not call.is_read:
            await send_early_reply(receive, send, reply)
        else:
            await send_reply(send, reply)

    def server(self, name: str) -> ModelServer:
        """Return the server of an endpoint, or raise NotFound."""
        return server_of(self.servers, name)

    @property
    def in_flight(self) -> int:
        """Return how many requests are being answered."""
        return sum(server.admission.inside for server in self.servers.values())

    @property
    def only(self) -> str:
        """Return the name of the one endpoint; raises NotFound if there are several."""
        if len(self.servers) != 1:
            names = ", ".join(f"/endpoints/{name}/invocations" for name in self.servers)
            raise NotFound("this server has several endpoints", hint=f"Use one of {names}.")
        return next(iter(self.servers))

    async def in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Return what ``work`` returns, run beside the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, work, *arguments)

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown()
        self.observed.close()
        for batches in self.batches.values():
            batches.close()


async def _reply(call: Call) -> Reply:
    method = call.scope["method"]
    call.route = route_of(method)
    try:
        refuse_foreign_host(call.scope)
        found = ROUTES.find(method, call.scope["raw_path"])
        if isinstance(found, Missing):
            return found.reply(f"Use one of {', '.join(ROUTES.paths)}.")
        call.route = route_of(method, found.path)
        call.name = found.names.get("name", "")
        call.version = found.names.get("version")
        return await found.handler(call)
    except EverfitError as error:
        call.refused = error.code
        raise


async def about(call: Call) -> Reply:
    """``GET /v2``: who answers here."""
    about = {"name": "everfit", "version": __version__, "extensions": ["binary_tensor_data"]}
    return json_reply({**about, "endpoints": list(call.app.servers)})


async def live(_call: Call) -> Reply:
    """``GET /v2/health/live``: this process answers."""
    return json_reply({"live": True})


async def ready(call: Call) -> Reply:
    """``GET /v2/health/ready``: every endpoint has a model."""
    for server in call.app.servers.values():
        _ = server.loaded
    return json_reply({"ready": True})


async def model(call: Call) -> Reply:
    """``GET /v2/models/NAME``, also with ``/versions/NUMBER``: what it takes and gives."""
    versions, signature = described(call.app.server(call.name).loaded, call.version)
    return json_reply(describe_model(call.name, versions, signature))


async def model_ready(call: Call) -> Reply:
    """``GET /v2/models/NAME/ready``, also with a version: it can answer, with this plan."""
    server = call.app.server(call.name)
    plan = server.loaded.plan
    described(server.loaded, call.version)
    memory = {"loaded": server.loaded.is_awake, "load_seconds": server.load_seconds}
    about = {"name": call.name, "ready": True, "plan": plan, "problem": server.problem}
    return json_reply(about | memory)


async def infer(call: Call) -> Reply:
    """``POST /v2/models/NAME/infer``, also with a version: predictions for columns."""
    call.counted = call.app.server(call.name)
    call.media.need(JSON, OCTETS)
    return await call.predictions(TENSORS)


def _tensors(call: Call, loaded: Loaded, body: bytes) -> Rows:
    most, head = call.app.bounds.rows, call.header(HEADER)
    rows = decode_tensors(body, loaded.signature, max_rows=most, head=head)
    if rows.timeout_us:
        call.terms.within(rows.timeout_us / 1e6)
    return rows


def _as_tensors(call: Call, loaded: Loaded, rows: Rows, answers: Answers) -> Reply:
    content, length = encode_tensors(call.name, loaded.signature, rows, answers)
    if length is None:
        return Reply(status=200, body=content)
    headers = ((HEADER.lower().encode(), str(length).encode()),)
    return Reply(status=200, body=content, media=OCTETS.encode(), headers=headers)


async def predict(call: Call) -> Reply:
    """``POST /predict/NAME``: predictions for rows, JSON or Arrow; ``?explain=true``: and why."""
    call.counted = call.app.server(call.name)
    call.explain = asked(call.scope["query_string"])
    call.media.need(*([JSON] if call.explain else [JSON, ARROW]))
    return await call.predictions(ROWS)


def _rows(call: Call, loaded: Loaded, body: bytes) -> Rows | Plain:
    if call.media.name == ARROW:
        return decode_arrow(body, loaded.signature, max_rows=call.app.bounds.rows)
    if call.explain:
        return replace(loaded.decoder.decode(body), explain=call.explain)
    return loaded.decoder.read(body)


def _as_rows(call: Call, _loaded: Loaded, _rows: Rows | Plain, answers: Answers) -> Reply:
    if not call.explain and is_wanted(ARROW, fields(call.scope)):
        return Reply(status=200, body=encode_arrow(answers), media=ARROW.encode())
    return Reply(status=200, body=encode_rows(call.name, answers))


async def invocations(call: Call) -> Reply:
    """``POST /invocations``, ``/endpoints/NAME/invocations``: predictions in MLflow's forms."""
    if not call.name:
        call.name = call.app.only
    call.counted = call.app.server(call.name)
    return await call.predictions(INVOCATIONS)


def _invocation(call: Call, loaded: Loaded, body: bytes) -> Rows:
    most = call.app.bounds.rows
    return decode_invocation(body, call.media, loaded.signature, max_rows=most)


def _as_predictions(_call: Call, _loaded: Loaded, _rows: Rows, answers: Answers) -> Reply:
    return Reply(status=200, body=encode_predictions(answers))


async def ping(call: Call) -> Reply:
    """``GET /ping`` and ``/health``: every endpoint has a model, in MLflow's way."""
    await ready(call)
    return Reply(status=200, body=b"\n")


async def version(_call: Call) -> Reply:
    """``GET /version``: the release of MLflow whose calls are answered."""
    return Reply(status=200, body=VERSION.encode())


async def labels(call: Call) -> Reply:
    """``POST /labels/NAME``: the truth, by prediction id or key."""
    server = call.app.server(call.name)
    body = await call.body(server)
    with server.admission.enter(call.terms.client, left=call.terms.left):
        return Reply(status=200, body=await call.app.in_thread(_received, server, body))


def _received(server: ModelServer, body: bytes) -> bytes:
    labels = decode_labels(body, max_rows=server.bounds.rows, signature=server.signature)
    return msgspec.json.encode(server.labels.receive(labels))


async def metrics(call: Call) -> Reply:
    """``GET /metrics``: what all workers counted, in Prometheus' text format."""
    text = await call.app.in_thread(call.app.observed.page)
    return Reply(status=200, body=text, media=TEXT)


async def openapi(call: Call) -> Reply:
    """``GET /openapi.json``: this description, by the models in use."""
    signatures = {name: server.signature for name, server in call.app.servers.items()}
    return json_reply(describe_api(TABLE, signatures))


TENSORS: Form[Rows] = Form(read=_tensors, write=_as_tensors)
ROWS: Form[Rows | Plain] = Form(read=_rows, write=_as_rows)
INVOCATIONS: Form[Rows] = Form(read=_invocation, write=_as_predictions)
Handler = Callable[[Call], Awaitable[Reply]]
TABLE: dict[str, dict[str, Handler]] = {
    "/v2": {"GET": about},
    "/v2/health/live": {"GET": live},
    "/v2/health/ready": {"GET": ready},
    "/v2/models/{name}": {"GET": model},
    "/v2/models/{name}/ready": {"GET": model_ready},
    "/v2/models/{name}/infer": {"POST": infer},
    "/v2/models/{name}/versions/{version}": {"GET": model},
    "/v2/models/{name}/versions/{version}/ready": {"GET": model_ready},
    "/v2/models/{name}/versions/{version}/infer": {"POST": infer},
    "/invocations": {"POST": invocations},
    "/endpoints/{name}/invocations": {"POST": invocations},
    "/ping": {"GET": ping},
    "/health": {"GET": ping},
    "/version": {"GET": version},
    "/predict/{name}": {"POST": predict},
    "/labels/{name}": {"POST": labels},
    "/metrics": {"GET": metrics},
    "/openapi.json": {"GET": openapi},
}
ROUTES: Routes[Handler] = Routes(TABLE)
