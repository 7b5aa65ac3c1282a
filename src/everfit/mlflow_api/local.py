"""The same calls in the caller's own process, without a server."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode

import msgspec

from everfit.errors import EverfitError
from everfit.kernel import Workspace, load_settings, open_workspace
from everfit.mlflow_api.dispatch import Api, Call, Endpoint, Request
from everfit.mlflow_api.refusals import no_endpoint, refusal
from everfit.mlflow_api.routes import ROUTES
from everfit.tracking import ensure_default
from everfit.web import Missing, Routes

SCHEME = "everfit-artifacts"
# Parts the folder of a project from a path in its tree of artifacts.
TREE = "/@/"


class LocalApi:
    """Answers MLflow's calls on the project in a folder; several threads may ask at once."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace = workspace
        self.api = Api(blobs=workspace.blobs, artifact_root=f"{SCHEME}:{folder}{TREE}")
        self._routes = mlflow_routes()
        with workspace.transaction() as tx:
            ensure_default(tx)

    def call(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and JSON that a server would answer to this call."""
        found = self._routes.find(method, path.encode())
        if isinstance(found, Missing):
            return no_endpoint(method, path)
        query = ""
        if method == "GET" and body:
            query, body = urlencode(_plain(msgspec.json.decode(body)), doseq=True), b""
        try:
            request = Request(path_values=found.names, query=query, body=body)
            return 200, self._run(found.handler, request)
        except EverfitError as error:
            return refusal(error)

    def _run(self, endpoint: Endpoint, request: Request) -> bytes:
        message = endpoint.decode(request)
        begin = self.workspace.transaction if endpoint.writes else self.workspace.reading
        with begin() as tx:
            answer = endpoint.handler(Call(tx=tx, api=self.api), message)
            return msgspec.json.encode(answer)


def mlflow_routes() -> Routes[Endpoint]:
    """Return the calls by path and method."""
    table: dict[str, dict[str, Endpoint]] = {}
    for route in ROUTES:
        for path in route.paths:
            table.setdefault(path, {})[route.method] = route.endpoint
    return Routes(table)


@functools.lru_cache
def local_api(folder: Path) -> LocalApi:
    """Return the one opened API of a folder in this process."""
    return LocalApi(open_workspace(load_settings(folder)), folder)


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """Return the values as a query writes them."""
    return {name: str(v).lower() if isinstance(v, bool) else v for name, v in values.items()}
