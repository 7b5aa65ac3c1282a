"""Errors as each protocol tells them: the house's shape, translated where a client needs another.

The Open Inference Protocol says ``{"error": "…"}``, MLflow ``{"error_code": "…", "message": "…"}``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from everfit.errors import Invalid
from everfit.web import Reply

FAILED = 400
MLFLOW_CODES = {
    400: "BAD_REQUEST",
    403: "PERMISSION_DENIED",
    404: "ENDPOINT_NOT_FOUND",
    409: "RESOURCE_CONFLICT",
    429: "REQUEST_LIMIT_EXCEEDED",
    500: "INTERNAL_ERROR",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    507: "RESOURCE_EXHAUSTED",
}
RPC_CODES = {
    200: "OK",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "FAILED_PRECONDITION",
    413: "RESOURCE_EXHAUSTED",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    507: "RESOURCE_EXHAUSTED",
}


def words_of(path: str) -> str | None:
    """Return the schema in which errors at ``path`` are told; None for the house's own."""
    return SCHEMAS.get(path.split("/", 2)[1]) if path.startswith("/") else None


def in_words_of_path(path: str, reply: Reply) -> Reply:
    """Return a reply as the protocol of ``path`` has it: unchanged unless it is an error."""
    words = words_of(path) if reply.status >= FAILED else None
    if words is None:
        return reply
    return WORDS[words](reply, msgspec.json.decode(reply.body)["error"])


def _open_inference(reply: Reply, error: dict[str, Any]) -> Reply:
    """Put what the protocol wants in ``error`` and all else beside it."""
    said = f"{error.pop('message')} -> {error['hint']}"
    return msgspec.structs.replace(reply, body=msgspec.json.encode({"error": said, **error}))


def _mlflow(reply: Reply, error: dict[str, Any]) -> Reply:
    status = 400 if reply.status == Invalid.status else reply.status
    code = MLFLOW_CODES.get(status, MLFLOW_CODES[400])
    message = f"{error['message']} -> {error['hint']}"
    body = msgspec.json.encode({"error_code": code, "message": message})
    return msgspec.structs.replace(reply, status=status, body=body)


INFER, INVOCATION = "InferError", "InvocationError"
WORDS: dict[str, Callable[[Reply, dict[str, Any]], Reply]] = {
    INFER: _open_inference,
    INVOCATION: _mlflow,
}
SCHEMAS = {
    "v2": INFER,
    "invocations": INVOCATION,
    "endpoints": INVOCATION,
    "ping": INVOCATION,
    "health": INVOCATION,
    "version": INVOCATION,
}
"""By the first segment of the path."""
