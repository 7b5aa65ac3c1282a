"""The protocol's gRPC server: threads of their own beside the HTTP server, bounded as it is."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
from google.protobuf.message import DecodeError

from everfit import __version__
from everfit.errors import EverfitError, Invalid, NoRelease, NotFound, Unavailable
from everfit.kernel import Workspace
from everfit.serving.core import ModelServer, server_of
from everfit.serving.families import RPC
from everfit.serving.load import Loaded
from everfit.serving.model import Answers, Bounds
from everfit.serving.reasons import Reasons
from everfit.serving.rpc.admission import READ_SECONDS, CallThreads
from everfit.serving.rpc.batches import CallBatches
from everfit.serving.rpc.messages import SERVICE, message
from everfit.serving.rpc.replies import encode_answers, encode_model, refuse
from everfit.serving.rpc.requests import decode_request, timeout_of
from everfit.serving.score import Question
from everfit.serving.terms import CLIENT, Terms, client_key
from everfit.web import listen

ModelReadyRequest = message("ModelReadyRequest")
ModelMetadataRequest = message("ModelMetadataRequest")
ModelInferRequest = message("ModelInferRequest")
log = logging.getLogger(__name__)
DRAIN_SECONDS = 30
LAST_CALLS_SECONDS = 0.1
# Threads for short questions, and for telling those who are refused that they are.
QUESTIONS, REFUSALS = 4, 4
LATE = 504
# A client's time is over before ours: by the way of its call to here.
WAY_SECONDS = 0.1
ROUTE = f"{RPC} {SERVICE}/ModelInfer"
OPTIONS = (
    # A connection whose other end is gone without a word is found out, and closed.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.max_ping_strikes", 0),
)


class Gone(Exception):
    """The caller went away, or its deadline passed: nobody waits for an answer."""


class RpcServer:
    """Answers calls at ``host:port``, a loopback address, from ``start`` to ``close``.

    Where the port is ``shared`` other processes listen there as well, and the system gives each
    connection to one of them; whether the port is free was asked before the first.

    Raises
    ------
    Refused
        If ``host`` is no loopback address, or this user may not listen on the port.
    Conflict
        If the port is in use.
    Invalid
        If there is no such port.
    """

    def __init__(
        self,
        workspace: Workspace,
        servers: Mapping[str, ModelServer],
        bounds: Bounds,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        shared: bool = False,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self.workspace = workspace
        self.servers = servers
        self.bounds = bounds
        self.ending = False
        self.work = CallThreads(bounds.in_flight, read_seconds=read_seconds)
        self.questions = CallThreads(QUESTIONS, read_seconds=read_seconds)
        self.batches = {name: CallBatches(server) for name, server in servers.items()}
        # Everybody let in has a thread, most of them waiting; so many work on rows at once.
        self.computing = threading.BoundedSemaphore(bounds.threads)
        self._threads = ThreadPoolExecutor(
            bounds.in_flight + QUESTIONS + REFUSALS, thread_name_prefix="rpc"
        )
        # Not by itself: a second server would get half of the calls to the port of the first.
        sharing = ("grpc.so_reuseport", int(shared))
        options = [*OPTIONS, sharing, ("grpc.max_receive_message_length", bounds.body_bytes)]
        self._grpc = grpc.server(self._threads, options=options)
        self._grpc.add_generic_rpc_handlers((self._handlers(),))
        self.port = self._bind(host, port if shared else _free(host, port))

    def _bind(self, host: str, port: int) -> int:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            return int(self._grpc.add_insecure_port(address))
        except RuntimeError as error:
            raise Unavailable(
                f"cannot listen on {address}: {error}",
                hint="Choose another port with --grpc-port.",
            ) from error

    def _handlers(self) -> Any:
        # To take every call as a stream, which on the wire is the same, lets us refuse it before
        # its message is read.
        handlers = {
            name: grpc.stream_unary_rpc_method_handler(
                lambda messages, context, method=method: Call(self, messages, context).run(method)
            )
            for name, method in METHODS.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    def start(self) -> None:
        """Begin to answer."""
        for batches in self.batches.values():
            batches.start()
        self._grpc.start()

    def close(self) -> None:
        """Take no new calls, finish what is being answered, then end the threads."""
        # gRPC cancels, without a reason, what has come in but not been handed out when it stops:
        # first let those who call read that this server ends.
        self.ending = True
        time.sleep(LAST_CALLS_SECONDS)
        self._grpc.stop(DRAIN_SECONDS).wait()
        self._threads.shutdown()
        for batches in self.batches.values():
            batches.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def server(self, name: str) -> ModelServer:
        """Return the server of an endpoint, or raise NotFound."""
        return server_of(self.servers, name)


@dataclass(slots=True, eq=False)
class Call:
    """One call on its way, with what is noted of it."""

    on: RpcServer
    messages: Iterator[bytes]
    context: Any
    counted: ModelServer | None = None
    answers: Answers | None = None
    rows: int = 0
    terms: Terms = field(default_factory=Terms)

    def run(self, method: Callable[[Call], bytes]) -> bytes:
        """Return the answer of ``method``, or nothing once the status of the call is set."""
        started = time.perf_counter()
        status, answer, refused = 200, b"", None
        try:
            answer = method(self)
        except EverfitError as error:
            status, refused = error.status, error.code
            refuse(self.context, error)
        except (Gone, grpc.RpcError):
            if self.context.time_remaining() > WAY_SECONDS:
                return b""
            status, refused = LATE, "deadline-exceeded"
            self.context.set_code(grpc.StatusCode.DEADLINE_EXCEEDED)
        except Exception:
            status, refused = EverfitError.status, EverfitError.code
            log.exception("a call failed")
            self.context.set_code(grpc.StatusCode.INTERNAL)
            self.context.set_details("the server failed on this call; its log holds the details")
        if self.counted is not None:
            latency_ms = (time.perf_counter() - started) * 1000
            now = self.on.workspace.clock.now()
            self.counted.traffic.note(
                now, status, latency_ms, self.answers, rows=self.rows, route=ROUTE, refused=refused
            )
        return answer

    def read(self, kind: Any, admission: CallThreads) -> Any:
        """Return the call's message; raises Invalid if there is none, or it is no ``kind``."""
        with admission.reading(self.context.cancel):
            body = next(self.messages, None)
        if body is None:
            raise Invalid("the call has no message", hint=f"Send a {kind.DESCRIPTOR.name}.")
        try:
            return kind.FromString(body)
        except DecodeError as error:
            raise Invalid(
                f"the message is no {kind.DESCRIPTOR.name}: {error}",
                hint="Send what the Open Inference Protocol, version 2, describes.",
            ) from error

    def agree(self, asked: Any) -> None:
        """Take up the terms of the call and of its message."""
        for name, value in self.context.invocation_metadata():
            if name == CLIENT.lower():
                self.terms.client = client_key(value.encode())
        timeout = timeout_of(asked.parameters)
        if isinstance(timeout, int) and timeout > 0:
            self.terms.within(timeout / 1e6)

    @property
    def left(self) -> float:
        """Return the seconds in which an answer is wanted."""
        own, remaining = self.terms.left, float(self.context.time_remaining())
        return remaining if own is None else min(own, remaining)

    @property
    def patience(self) -> float:
        """Return the same as a timeout that a thread can wait for."""
        return max(min(self.left, threading.TIMEOUT_MAX), 0)

    def stay(self) -> None:
        """Return if the caller still waits; raises Gone, or DeadlineExceeded."""
        if self.context.time_remaining() <= 0 or not self.context.is_active():
            raise Gone
        self.terms.check()


def _free(host: str, port: int) -> int:
    # gRPC takes no socket, and tells little: what is wrong with the address shows first here.
    with listen(host, port, option="--grpc-port") as tried:
        return int(tried.getsockname()[1])


def live(_call: Call) -> bytes:
    """Answer that this process answers."""
    return _encoded("ServerLiveResponse", live=True)


def ready(call: Call) -> bytes:
    """Answer whether every endpoint has a model."""
    on = call.on
    is_ready = not on.ending and all(map(_is_ready, on.servers.values()))
    return _encoded("ServerReadyResponse", ready=is_ready)


def about(_call: Call) -> bytes:
    """Answer who answers here."""
    return _encoded("ServerMetadataResponse", name="everfit", version=__version__)


def model_ready(call: Call) -> bytes:
    """Answer whether an endpoint has a model, and the version asked for if there is one."""
    with call.on.questions.place():
        asked = call.read(ModelReadyRequest, call.on.questions)
        server = call.on.server(asked.name)
        is_ready = _is_ready(server)
        if is_ready and asked.version:
            is_ready = asked.version == str(server.loaded.plan.champion)
        return _encoded("ModelReadyResponse", ready=is_ready)


def model(call: Call) -> bytes:
    """Answer what an endpoint takes and gives."""
    with call.on.questions.place():
        asked = call.read(ModelMetadataRequest, call.on.questions)
        loaded = call.on.server(asked.name).loaded
        _check_version(asked.name, asked.version, loaded.plan.champion)
        return encode_model(asked.name, loaded.plan.champion, loaded.signature)


def infer(call: Call) -> bytes:
    """Answer predictions for columns."""
    if call.on.ending:
        raise Unavailable("this server is ending", hint="Send it again: to its successor.")
    with call.on.work.place():
        asked = call.read(ModelInferRequest, call.on.work)
        call.agree(asked)
        call.stay()
        call.counted = call.on.server(asked.model_name)
        with call.counted.admission.enter(call.terms.client, left=call.left):
            loaded = _awake(call, call.counted)
            return _inferred(call, call.counted, loaded, asked)


def _awake(call: Call, server: ModelServer) -> Loaded:
    """Return the plan in use with its models; raises Gone if nobody waits for them."""
    try:
        return server.awake(max(min(call.left, threading.TIMEOUT_MAX), 0))
    except TimeoutError:
        call.terms.check()
        raise Gone from None


def _inferred(call: Call, server: ModelServer, loaded: Loaded, asked: Any) -> bytes:
    _check_version(asked.model_name, asked.model_version, loaded.plan.champion)
    with _turn(call):
        request = decode_request(asked, loaded.signature, max_rows=server.bounds.rows)
        call.rows = request.rows.height
        reasons = None
        if request.explain:
            # What cannot be explained is refused before anything is predicted.
            reasons = Reasons(server.explainers, loaded, request.rows, server.bounds)
    call.stay()
    answers = call.answers = _answered(call, request.rows, loaded)
    if reasons is not None:
        with _turn(call):
            answers = reasons.beside(answers, request.explain)
    raw = bool(asked.raw_input_contents)
    return encode_answers(asked.model_name, loaded.signature, request, answers, raw=raw)


def _answered(call: Call, rows: Question, loaded: Loaded) -> Answers:
    """Return the answers for ``rows``, asked together with those of other calls.

    Raises Gone once nobody waits for them, or DeadlineExceeded; what has not been asked for by
    then is not any more.
    """
    future = call.on.batches[loaded.plan.endpoint].ask(rows, loaded)
    try:
        if call.context.add_callback(future.cancel):
            return future.result(call.patience)
        raise Gone
    except (TimeoutError, CancelledError):
        call.terms.check()
        raise Gone from None
    finally:
        future.cancel()


@contextmanager
def _turn(call: Call) -> Iterator[None]:
    """Wait for one of the turns to work on rows; raises Gone if nobody waits by then."""
    turns = call.on.computing
    if not turns.acquire(timeout=call.patience):
        call.terms.check()
        raise Gone
    try:
        call.stay()
        yield
    finally:
        turns.release()


def _is_ready(server: ModelServer) -> bool:
    try:
        return server.loaded is not None
    except NoRelease:
        return False


def _check_version(name: str, asked: str, champion: int) -> None:
    if asked and asked != str(champion):
        raise NotFound(
            f"endpoint {name!r} does not answer with version {asked}",
            hint=f"Ask for version {champion}, or for none: the released one answers.",
            endpoint=name,
        )


def _encoded(kind: str, /, **values: object) -> bytes:
    encoded: bytes = message(kind)(**values).SerializeToString()
    return encoded


METHODS: dict[str, Callable[[Call], bytes]] = {
    "ServerLive": live,
    "ServerReady": ready,
    "ServerMetadata": about,
    "ModelReady": model_ready,
    "ModelMetadata": model,
    "ModelInfer": infer,
}
