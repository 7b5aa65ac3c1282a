"""HTTP as the ASGI interface gives it: reading a call, and the two shapes of a reply."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import msgspec

from everfit.errors import EverfitError, TooLarge

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = logging.getLogger(__name__)
JSON, TEXT = b"application/json", b"text/plain; version=0.0.4; charset=utf-8"
# Where a call keeps its header fields once they were asked for.
FIELDS = "everfit.fields"
# What a refusal holds in its context where it knows when to come again, in whole seconds.
RETRY_AFTER = "retry_after_seconds"
RETRY_AFTER_SECONDS = 1
# What is still read of a body that was refused, so that its sender comes to read the answer.
LINGER_BYTES = 256 * 1024 * 1024
LINGER_SECONDS = 5.0


class Disconnected(Exception):
    """The caller went away before it had sent the whole request."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What goes back to the caller."""

    status: int
    body: bytes
    media: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def json_reply(value: object, status: int = 200) -> Reply:
    """Return ``value`` as JSON."""
    return Reply(status=status, body=msgspec.json.encode(value))


def error_reply(error: EverfitError) -> Reply:
    """Return the one shape in which every refusal and failure is told."""
    headers: list[tuple[bytes, bytes]] = []
    if error.status in (429, 503):
        seconds = error.context.get(RETRY_AFTER, RETRY_AFTER_SECONDS)
        headers.append((b"retry-after", str(seconds).encode()))
    if error.status == TooLarge.status:
        # The rest of the body is not read, so the connection cannot be used again.
        headers.append((b"connection", b"close"))
    context = {name: value for name, value in error.context.items() if _plain(value)}
    body = {
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "problems": error.problems,
        "context": context,
    }
    return Reply(
        status=error.status,
        body=msgspec.json.encode({"error": body}),
        headers=tuple(headers),
    )


def plain_error(
    status: int, code: str, message: str, hint: str, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> Reply:
    """Return an error of HTTP itself in the same shape."""
    body = {"code": code, "message": message, "hint": hint, "problems": [], "context": {}}
    return Reply(status=status, body=msgspec.json.encode({"error": body}), headers=headers)


def _plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool)


def fields(scope: Scope) -> Mapping[bytes, bytes]:
    """Return the header fields of a call by their names in lower case.

    Several of one name are one field, with commas between them, as HTTP has it (RFC 9110, 5.3).
    """
    found: dict[bytes, bytes] | None = scope.get(FIELDS)
    if found is None:
        sent = scope["headers"]
        found = dict(sent)
        if len(found) < len(sent):
            found = {
                name: b", ".join(value for other, value in sent if other == name) for name in found
            }
        scope[FIELDS] = found
    return found


async def answered(scope: Scope, answer: Awaitable[Reply]) -> Reply:
    """Return what ``answer`` gives, or the reply that tells its error: a server's last resort.

    Raises
    ------
    Disconnected
        If the caller went away: nobody waits for a reply.
    """
    try:
        return await answer
    except EverfitError as error:
        return error_reply(error)
    except Disconnected:
        raise
    except Exception:
        log.exception("%s %s failed", scope["method"], scope["path"])
        return plain_error(
            500,
            EverfitError.code,
            "the server failed on this request",
            "Its log holds the details; report them, this should not happen.",
        )


async def body_chunks(scope: Scope, receive: Receive, *, most: int) -> AsyncGenerator[bytes, None]:
    """Yield the body of the request piece by piece, as it arrives.

    Raises
    ------
    TooLarge
        If it is longer than ``most`` bytes; the rest is not read.
    Disconnected
        If the caller went away before its end.
    """
    _refuse_announced(scope, most)
    size = 0
    more = True
    while more:
        message = await receive()
        chunk = _chunk(message, size, most)
        size += len(chunk)
        if chunk:
            yield chunk
        more = message.get("more_body", False)


async def read_body(scope: Scope, receive: Receive, *, most: int) -> bytes:
    """Return the whole body of the request; raises as ``body_chunks`` does."""
    # Not by way of `body_chunks`: most bodies come whole, and a generator costs more than they do.
    _refuse_announced(scope, most)
    message = await receive()
    chunk = _chunk(message, 0, most)
    if not message.get("more_body", False):
        return chunk
    chunks, size = [chunk], len(chunk)
    while message.get("more_body", False):
        message = await receive()
        chunks.append(_chunk(message, size, most))
        size += len(chunks[-1])
    return b"".join(chunks)


def _refuse_announced(scope: Scope, most: int) -> None:
    announced = fields(scope).get(b"content-length", b"0")
    if announced.isdigit() and int(announced) > most:
        raise _too_large(int(announced), most)


def _chunk(message: MutableMapping[str, Any], size: int, most: int) -> bytes:
    """Return what a message brings of a body of which ``size`` bytes are there already."""
    if message["type"] == "http.disconnect":
        raise Disconnected
    chunk: bytes = message.get("body", b"")
    if size + len(chunk) > most:
        raise _too_large(size + len(chunk), most)
    return chunk


def _too_large(size: int, most: int) -> TooLarge:
    return TooLarge(
        f"the body has {size:,} bytes or more; {most:,} are accepted",
        hint="Send it in several smaller requests.",
        bytes=size,
    )


def as_http(reply: Reply) -> bytes:
    """Return a whole answer as it is written to a connection."""
    phrase = HTTPStatus(reply.status).phrase.encode()
    sent = [(b"date", formatdate(usegmt=True).encode()), *_head(reply)["headers"]]
    lines = [b"HTTP/1.1 %d %b" % (reply.status, phrase), *(b"%b: %b" % field for field in sent)]
    return b"\r\n".join([*lines, b"", reply.body])


async def send_reply(send: Send, reply: Reply) -> None:
    """Send the reply."""
    await send(_head(reply))
    await send({"type": "http.response.body", "body": reply.body})


async def send_early_reply(receive: Receive, send: Send, reply: Reply) -> None:
    """Send a reply to a request that is not read to its end, then drop what still comes of it.

    A connection that is closed while bytes come in is reset, and the caller, who sends first and
    reads afterwards, would never see the reply.
    """
    await send(_head(reply))
    await send({"type": "http.response.body", "body": reply.body, "more_body": True})
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            await _drop(receive)
    await send({"type": "http.response.body", "body": b""})


async def _drop(receive: Receive) -> None:
    size = 0
    more = True
    while more and size < LINGER_BYTES:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)


def _head(reply: Reply) -> dict[str, Any]:
    sent = [
        (b"content-type", reply.media),
        (b"content-length", b"%d" % len(reply.body)),
        *reply.headers,
    ]
    return {"type": "http.response.start", "status": reply.status, "headers": sent}
