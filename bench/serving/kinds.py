"""The servers: how each is started, how it is asked in its own form, what it answered."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.serving.project import ENVIRONMENT, NAME, Model
from bench.serving.rows import Row, as_arrow, as_rows, as_split
from bench.tracking.servers import Kind, Server
from bench.tracking.wire import HOST, Connection, post

APPS = Path(__file__).with_name("apps")
SINGLE_CORE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "BENTOML_DO_NOT_TRACK": "True"}


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One server: its command, where and in which form it is asked, and how its answer is read.

    ``{python}`` is its interpreter, ``{project}`` Everfit's project, ``{model}`` the estimator's
    file, ``{mlmodel}`` the same as MLflow saved it, ``{port}`` where to listen.
    """

    name: str
    command: tuple[str, ...]
    path: str = "/predict"
    form: Callable[[Sequence[Row]], bytes] = as_rows
    chances: Callable[[Any], Iterator[float]] | None = None  # of class 1; None: a constant
    bulk: Callable[[Sequence[Row]], bytes] | None = None  # a form of its own for many rows
    media: str = "application/json"  # of that form
    ours: bool = False

    @property
    def is_floor(self) -> bool:
        return self.chances is None

    def request(self, rows: Sequence[Row]) -> bytes:
        """Return the bytes of a request."""
        return post(self.path, self.form(rows))

    def many(self, rows: Sequence[Row]) -> bytes:
        """Return the bytes of a request in the form that is meant for many rows."""
        if self.bulk is None:
            return self.request(rows)
        return post(self.path, self.bulk(rows), self.media)

    def answered(self, body: bytes) -> list[float]:
        """Return the probability of class 1 for each row of an answer."""
        assert self.chances is not None
        return list(self.chances(json.loads(body)))


def ours(name: str = "everfit", command: Sequence[str] | None = None) -> Contender:
    """Return the server of this repository, or another command that serves a project as it does."""
    serve = (sys.executable, "-m", "everfit.cli", "serve", "{project}", "--port", "{port}")
    return Contender(
        name=name,
        command=tuple(command or serve),
        path=f"/predict/{NAME}",
        chances=_of_everfit,
        bulk=as_arrow,
        media="application/vnd.apache.arrow.stream",
        ours=True,
    )


def unlogged() -> Contender:
    """Return the same without its prediction log."""
    command = ("-m", "bench.serving.unlogged", "{project}", "{port}")
    return ours("everfit, no log", (sys.executable, *command))


def floor() -> Contender:
    """Return the HTTP server that ours stands on, with a constant answer."""
    return Contender(name="floor", command=(sys.executable, str(APPS / "floor_app.py"), "{port}"))


def peers() -> dict[str, Contender]:
    """Return the others by name."""
    bento = ("{python}", "-m", "bentoml", "serve", "bentoml_app:Scorer", "--port", "{port}")
    models = ("{python}", "-m", "mlflow", "models", "serve", "-m", "{mlmodel}")
    local = ("--env-manager", "local", "--workers", "1", "--host", HOST, "--port", "{port}")
    return {
        "mlflow": Contender(
            name="mlflow",
            command=(*models, *local),
            path="/invocations",
            form=as_split,
            chances=lambda body: (row[1] for row in body["predictions"]),
        ),
        "bentoml": Contender(
            name="bentoml",
            command=(*bento, "--host", HOST, "--working-dir", str(APPS)),
            chances=lambda body: (row[1] for row in body),
        ),
        "litserve": _by_hand("litserve"),
        "fastapi": _by_hand("fastapi"),
    }


def _by_hand(name: str) -> Contender:
    return Contender(
        name=name,
        command=("{python}", str(APPS / f"{name}_app.py"), "{model}", "{port}"),
        chances=lambda body: (row[1] for row in body["probabilities"]),
    )


def custom(name: str, command: str) -> Contender:
    """Return a server of the caller's: ``{project}`` and ``{port}`` in its command."""
    return ours(name, shlex.split(command))


def _of_everfit(body: Any) -> Iterator[float]:
    for row in body["predictions"]:
        yield row["score"] if row["prediction"] == 1 else 1 - row["score"]


@dataclass(kw_only=True)
class Running(Server):
    """A contender in processes of its own; it is ready when it has answered a prediction."""

    contender: Contender
    first: bytes

    def ask(self, request: bytes) -> bytes:
        """Return the body of an answer, which must be a good one."""
        with Connection(self.port) as connection:
            answer = connection.send(request)
        assert answer.status == 200, f"{answer.status}: {answer.body[:500]!r}"
        return answer.body

    def _healthy(self) -> bool:
        try:
            with Connection(self.port) as connection:
                return connection.send(self.first).status == 200
        except OSError:
            return False


def running(
    contender: Contender, model: Model, first: Sequence[Row], python: Path, core: int | None
) -> Running:
    """Return the contender with a model, on one core, not started yet."""
    places = {
        "{python}": str(python),
        "{project}": str(model.project),
        "{model}": str(model.estimator),
        "{mlmodel}": str(model.folder / f"{model.name}-mlflow"),
    }
    words = [_filled(word, places) for word in contender.command]
    pinned = () if core is None else ("taskset", "-c", str(core))
    beside = str(python.parent) + os.pathsep + os.environ["PATH"]  # what a peer starts itself
    environment = {**SINGLE_CORE, "PATH": beside, "BENCH_MODEL": str(model.estimator)}
    if contender.ours:
        environment |= ENVIRONMENT
    return Running(
        kind=Kind(name=contender.name, command=(*pinned, *words), environment=environment),
        folder=model.folder / f"{model.name}-{contender.name.replace(', ', '-')}",
        contender=contender,
        first=contender.request(first),
    )


def _filled(word: str, places: Mapping[str, str]) -> str:
    for place, value in places.items():
        word = word.replace(place, value)
    return word
