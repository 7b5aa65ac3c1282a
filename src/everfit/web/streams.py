"""Replies that are sent while they are made: files, and whatever is too large to hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from everfit.web.asgi import Receive, Scope, Send


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedReply:
    """What goes back to the caller, piece by piece; ``length`` in bytes where it is known.

    ``chunks`` is closed in every case. A generator that was never begun runs nothing then, not
    even its ``finally``: let it open what it reads from.
    """

    status: int
    chunks: AsyncGenerator[bytes, None]
    media: bytes = b"application/octet-stream"
    length: int | None = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


async def send_stream(scope: Scope, receive: Receive, send: Send, reply: StreamedReply) -> None:
    """Send the reply; end without it once the caller has gone away.

    An error of ``chunks`` is raised: the server then breaks the connection, which tells the caller
    that the reply is not whole.
    """
    async with aclosing(reply.chunks):
        sending = asyncio.ensure_future(_send(scope, send, reply))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)


async def _send(scope: Scope, send: Send, reply: StreamedReply) -> None:
    head = [(b"content-type", reply.media), *reply.headers]
    if reply.length is not None:
        head.append((b"content-length", str(reply.length).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": head})
    if scope["method"] != "HEAD":
        async for chunk in reply.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _left(receive: Receive) -> None:
    """Return once the caller has gone away; what it still sends is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass
