"""What a client asks of the server itself."""

from __future__ import annotations

import msgspec

from everfit.mlflow_api import PROTOCOL_VERSION
from everfit.server.asked import Answering, Asked
from everfit.web import Reply

PLAIN = b"text/plain; charset=utf-8"


async def health(_asked: Asked) -> Reply:
    """``GET /health``: whether the server answers."""
    return Reply(status=200, body=b"OK", media=PLAIN)


async def version(_asked: Asked) -> Reply:
    """``GET /version``: the release of MLflow whose calls are answered."""
    return Reply(status=200, body=PROTOCOL_VERSION.encode(), media=PLAIN)


async def server_info(_asked: Asked) -> Reply:
    """``GET /api/3.0/mlflow/server-info``: what clients may ask for."""
    known = {
        "store_type": "SqlStore",
        "workspaces_enabled": False,
        "trace_archival_enabled": False,
        "multipart_uploads_enabled": True,
        "multipart_downloads_enabled": False,
    }
    return Reply(status=200, body=msgspec.json.encode(known))


async def no_spans(asked: Asked) -> Reply:
    """``POST /v1/traces``: say, in the words that MLflow's client knows, to send files instead."""
    await asked.body()
    message = "REST OTLP span logging is not supported by Everfit: spans come as artifacts."
    body = msgspec.json.encode({"error_code": "NOT_IMPLEMENTED", "message": message})
    return Reply(status=501, body=body)


HEALTH: dict[str, dict[str, Answering]] = {
    "/health": {"GET": health},
    "/version": {"GET": version},
    "/v1/traces": {"POST": no_spans},
    "/api/3.0/mlflow/server-info": {"GET": server_info},
    "/ajax-api/3.0/mlflow/server-info": {"GET": server_info},
}
