"""The control plane's HTTP interface, as a bare ASGI application.

Writes wait for their turn in one group commit; reads run on a few threads. Nothing is answered
before it is on disk.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import msgspec

from everfit.errors import EverfitError, Overloaded, TooLarge
from everfit.kernel import Committer, Transaction, Workspace
from everfit.mlflow_api import ROUTES, Api, Call, Endpoint, Request, no_endpoint, refusal
from everfit.server.asked import Answering, Asked
from everfit.server.brief import BriefWrites
from everfit.server.files import FILES
from everfit.server.health import HEALTH
from everfit.server.journals import JOURNALS
from everfit.web import (
    Disconnected,
    Missing,
    Receive,
    Reply,
    Routes,
    Scope,
    Send,
    StreamedReply,
    refuse_foreign_host,
    send_early_reply,
    send_reply,
    send_stream,
)

log = logging.getLogger(__name__)
T = TypeVar("T")

READERS = 4
# More reads than this wait nowhere: they are told to come back.
MOST_READS = 256
RETRY_AFTER = (b"retry-after", b"1")


class ControlPlane:
    """Answers MLflow's calls, and gives and takes artifacts."""

    def __init__(self, workspace: Workspace, committer: Committer) -> None:
        self.workspace = workspace
        self.committer = committer
        self.api = Api(blobs=workspace.blobs)
        self.most_body_bytes = workspace.settings.max_body_bytes
        self.reading = 0
        self._brief = BriefWrites(committer)
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="read")
        table: dict[str, dict[str, Endpoint | Answering]] = {}
        for route in ROUTES:
            for path in route.paths:
                table.setdefault(path, {})[route.method] = route.endpoint
        for path, handlers in (*HEALTH.items(), *FILES.items(), *JOURNALS.items()):
            table.setdefault(path, {}).update(handlers)
        self._routes = Routes(table)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        try:
            reply = await self._reply(scope, receive)
        except Disconnected:
            return
        if isinstance(reply, StreamedReply):
            await send_stream(scope, receive, send, reply)
        elif reply.status == TooLarge.status:
            await send_early_reply(receive, send, reply)
        else:
            await send_reply(send, reply)

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """Return what ``work`` gives once it is on disk, with all that is written at once."""
        return await asyncio.wrap_future(self.committer.submit(work))

    async def write_briefly(self, work: Callable[[Transaction], T]) -> T:
        """Return what ``work``, a matter of a moment, gives once it is on disk."""
        outcome = await self._brief.done(work)
        if outcome is None:
            return await self.write(work)
        if outcome.error is not None:
            raise outcome.error
        result: T = outcome.result
        return result

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Return what ``work`` reads, on a thread."""
        return await self.in_thread(self._reading, work)

    async def in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Return what ``work`` returns, run beside the event loop."""
        if self.reading >= MOST_READS:
            raise Overloaded(
                f"{self.reading} requests are being answered already",
                hint="Nothing was done; send it again in a second.",
            )
        self.reading += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, work, *arguments)
        finally:
            self.reading -= 1

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown()

    def _reading(self, work: Callable[[Transaction], T]) -> T:
        with self.workspace.reading() as tx:
            return work(tx)

    async def _reply(self, scope: Scope, receive: Receive) -> Reply | StreamedReply:
        """Return the answer, or how MLflow's clients are told of an error."""
        try:
            refuse_foreign_host(scope)
            found = self._routes.find(scope["method"], scope["raw_path"])
            if isinstance(found, Missing):
                status, body = no_endpoint(found.method, found.path)
                return Reply(status=status, body=body)
            asked = Asked(plane=self, scope=scope, receive=receive, names=dict(found.names))
            if isinstance(found.handler, Endpoint):
                return await self._answer(asked, found.handler)
            return await found.handler(asked)
        except Disconnected:
            raise
        except EverfitError as error:
            return refused(error)
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            return refused(
                EverfitError(
                    "the server failed on this request",
                    hint="Its log holds the details; report them, this should not happen.",
                )
            )

    async def _answer(self, asked: Asked, endpoint: Endpoint) -> Reply:
        body = await asked.body()
        request = Request(path_values=asked.names, query=asked.query, body=body)
        message = endpoint.decode(request)

        def work(tx: Transaction) -> bytes:
            return msgspec.json.encode(endpoint.handler(Call(tx=tx, api=self.api), message))

        if endpoint.brief:
            return Reply(status=200, body=await self.write_briefly(work))
        if endpoint.writes:
            return Reply(status=200, body=await self.write(work))
        return Reply(status=200, body=await self.read(work))


def refused(error: EverfitError) -> Reply:
    """Return the reply that tells an error as MLflow does."""
    status, body = refusal(error)
    headers = (RETRY_AFTER,) if status in (429, 503) else ()
    if status == TooLarge.status:
        # The rest of the body is not read, so the connection cannot be used again.
        headers = ((b"connection", b"close"),)
    return Reply(status=status, body=body, headers=headers)
