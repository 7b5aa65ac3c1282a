"""HTTP as ASGI gives it: calls read within bounds, replies, routes, loopback sockets, uvicorn."""

from everfit.web.asgi import (
    RETRY_AFTER,
    TEXT,
    Disconnected,
    Receive,
    Reply,
    Scope,
    Send,
    answered,
    as_http,
    body_chunks,
    error_reply,
    fields,
    json_reply,
    plain_error,
    read_body,
    send_early_reply,
    send_reply,
)
from everfit.web.gathering import Gathering
from everfit.web.loopback import listen, refuse_foreign_host
from everfit.web.process import DRAIN_SECONDS, Background, Server, stopping_on_signals
from everfit.web.protocol import Doorkeeper, Patience, received
from everfit.web.routes import Found, Missing, Routes
from everfit.web.streams import StreamedReply, send_stream

__all__ = [
    "DRAIN_SECONDS",
    "RETRY_AFTER",
    "TEXT",
    "Background",
    "Disconnected",
    "Doorkeeper",
    "Found",
    "Gathering",
    "Missing",
    "Patience",
    "Receive",
    "Reply",
    "Routes",
    "Scope",
    "Send",
    "Server",
    "StreamedReply",
    "answered",
    "as_http",
    "body_chunks",
    "error_reply",
    "fields",
    "json_reply",
    "listen",
    "plain_error",
    "read_body",
    "received",
    "refuse_foreign_host",
    "send_early_reply",
    "send_reply",
    "send_stream",
    "stopping_on_signals",
]
