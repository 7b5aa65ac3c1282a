"""One way to ask for predictions, in this process or over HTTP: the port that replay needs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import msgspec
import polars as pl

from everfit.errors import PredictionFailed
from everfit.packages import cast
from everfit.serving.core import ModelServer

# Rows of one request: enough to use the model's vectors, few enough to stay below every bound.
BATCH = 1_000
OK = 200


class Served(Protocol):
    """A server that listens at ``url``, such as ``BackgroundServer``."""

    url: str

    def refresh(self) -> None:
        """Take up the present plans."""
        ...


class LocalPredictor:
    """Asks a model server in this process."""

    def __init__(self, server: ModelServer) -> None:
        self.server = server

    def predict(
        self, frame: pl.DataFrame, *, keys: list[str] | None = None, times: pl.Series | None = None
    ) -> pl.DataFrame:
        """Return ``id`` and ``prediction`` of every row of ``frame``, in its order.

        ``frame`` holds at least the model's inputs; ``times`` are the rows' own times.
        """
        started = time.perf_counter()
        rows = cast(frame, self.server.loaded.signature)
        answers = self.server.predict(rows, keys, times)
        latency_ms = (time.perf_counter() - started) * 1000
        self.server.traffic.note(self.server.workspace.clock.now(), OK, latency_ms, answers)
        return pl.DataFrame({"id": answers.ids, "prediction": answers.predictions})

    def label(self, labels: pl.DataFrame) -> None:
        """Hand in labels: columns ``id`` or ``key``, ``label`` and perhaps ``at``.

        They may be of classes that the model does not know: history holds the truth.
        """
        self.server.labels.receive(labels)

    def refresh(self) -> None:
        """Take up the present plan."""
        self.server.refresh()


class HttpPredictor:
    """Asks one endpoint of a server over HTTP."""

    def __init__(self, served: Served, endpoint: str, *, timeout_seconds: float = 60.0) -> None:
        self.served = served
        self.endpoint = endpoint
        self._http = httpx.Client(base_url=served.url, timeout=timeout_seconds)
        self._inputs: list[str] | None = None

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(
        self, frame: pl.DataFrame, *, keys: list[str] | None = None, times: pl.Series | None = None
    ) -> pl.DataFrame:
        """Return ``id`` and ``prediction`` of every row of ``frame``, in its order."""
        rows = frame.select(self._names())
        answered = []
        for start in range(0, rows.height, BATCH):
            part = slice(start, start + BATCH)
            body = {"rows": rows[part].to_dicts(), "keys": keys and keys[part]}
            body["times"] = None if times is None else times[part].to_list()
            answered += self._post(f"/predict/{self.endpoint}", body)["predictions"]
        return pl.DataFrame(answered, infer_schema_length=None).select("id", "prediction")

    def label(self, labels: pl.DataFrame) -> None:
        """Hand in labels: columns ``id`` or ``key``, ``label`` and perhaps ``at``."""
        for start in range(0, labels.height, BATCH):
            items = labels[start : start + BATCH].to_dicts()
            self._post(f"/labels/{self.endpoint}", {"labels": items, "new_classes": True})

    def refresh(self) -> None:
        """Take up the present plan."""
        self.served.refresh()
        self._inputs = None

    def _names(self) -> list[str]:
        """Return the inputs that the model takes now."""
        if self._inputs is None:
            about = self._http.get(f"/v2/models/{quote(self.endpoint)}")
            self._inputs = [tensor["name"] for tensor in _content(about)["inputs"]]
        return self._inputs

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return _content(self._http.post(quote(path), content=msgspec.json.encode(body)))


def _content(response: httpx.Response) -> Any:
    if response.is_success:
        return response.json()
    error = response.json()["error"]
    raise PredictionFailed(
        f"{response.request.url} answered {response.status_code}: {error['message']}",
        hint=error["hint"],
        code=error["code"],
    )
