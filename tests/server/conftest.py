"""The control plane on each database, asked byte by byte."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from everfit.kernel import Workspace, load_settings, metadata, open_workspace
from everfit.server import BackgroundControlPlane

API = "/api/2.0/mlflow"
MOST_BODY, MOST_ARTIFACT = 1_000_000, 2_000_000


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of MLflow's error; an answer without one is none of MLflow's."""
        content = self.json
        assert set(content) == {"error_code", "message"}
        assert content["message"]
        return str(content["error_code"])


@dataclass(frozen=True)
class Site:
    """A control plane and what it keeps; every answer is held against the rules of all answers."""

    workspace: Workspace
    url: str

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return str(parts.hostname), int(parts.port or 0)

    def ask(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask with a body of bytes, or of anything as JSON; the path goes out as it is."""
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method, path, body=sent, headers=dict(headers or {}))
            reply = connection.getresponse()
            answer = Answer(reply.status, reply.read(), dict(reply.getheaders()))
        finally:
            connection.close()
        assert answer.status < 500 or answer.status == 501, (method, path, answer)
        if answer.status >= 400 and method != "HEAD":
            assert answer.code
        return answer

    def post(self, path: str, body: object) -> Any:
        """Ask for what must be done."""
        answer = self.ask("POST", f"{API}{path}", body)
        assert answer.status == 200, answer
        return answer.json

    def run(self) -> str:
        """Start a run and return its id."""
        return str(self.post("/runs/create", {"experiment_id": "0"})["run"]["info"]["run_id"])

    def connected(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=30)

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return every row of every table."""
        with self.workspace.reading() as tx:
            return {
                name: sorted(map(tuple, tx.connection.execute(table.select())), key=repr)
                for name, table in metadata.tables.items()
            }


def opened(folder: Path, url: str = "") -> Workspace:
    environment = {
        "EVERFIT_MAX_BODY_BYTES": str(MOST_BODY),
        "EVERFIT_MAX_ARTIFACT_BYTES": str(MOST_ARTIFACT),
    }
    if url:
        environment["EVERFIT_DATABASE_URL"] = url
    return open_workspace(load_settings(folder, environment=environment), durable=False)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """On SQLite."""
    workspace = opened(tmp_path / "project")
    with BackgroundControlPlane(workspace) as plane:
        yield Site(workspace, plane.url)
    workspace.close()


@pytest.fixture(params=["sqlite", "postgres"])
def any_site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """On each database."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else ""
    workspace = opened(tmp_path / "project", url)
    with BackgroundControlPlane(workspace) as plane:
        yield Site(workspace, plane.url)
    workspace.close()
