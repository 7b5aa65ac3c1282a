"""A workspace with model versions that a server can load."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest

from everfit.compiling import compile_model
from everfit.data import decode_frame
from everfit.deployment import Release, parse_rollout, start_release
from everfit.kernel import Workspace, frames
from everfit.monitoring.log import log_folder
from everfit.packages import Field, FittedModel, Kind, Signature, pack
from everfit.registry import Compiled, get_version, note_compiled, register

ENDPOINT = "bike"
INPUTS = (
    Field(name="temp", kind=Kind.NUMBER, minimum=0.0, maximum=1.0),
    Field(name="hour", kind=Kind.INTEGER, minimum=0.0, maximum=23.0),
    Field(name="sky", kind=Kind.TEXT, categories=("clear", "rain"), nullable=True),
    Field(name="holiday", kind=Kind.BOOLEAN),
)
REGRESSION = Signature(inputs=INPUTS, output=Field(name="cnt", kind=Kind.NUMBER), task="regression")
CLASSIFICATION = Signature(
    inputs=INPUTS,
    output=Field(name="busy", kind=Kind.BOOLEAN),
    task="classification",
    classes=(False, True),
)


class Constant:
    """Answers every row with one value."""

    def __init__(self, value: float) -> None:
        self.value = value

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        return np.full(frame.height, self.value)


class Slow(Constant):
    """Answers late, but not the made-up row that warms it."""

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        if frame["hour"][0] == 7:
            time.sleep(0.5)
        return super().predict(frame)


class Boom(Exception):
    """What no list of known exceptions holds."""


class Broken(Constant):
    """Raises on every row."""

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        raise Boom(f"cannot do {frame.height} rows")


class WarmIsBusy:
    """A classifier: busy with the probability ``temp``."""

    classes_ = np.array([False, True])

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.bool_]:
        return frame["temp"].to_numpy() > 0.5

    def predict_proba(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        busy = frame["temp"].to_numpy()
        return np.column_stack([1 - busy, busy])


@dataclass
class Shop:
    """Adds versions, releases them, and reads what was logged."""

    workspace: Workspace
    runs: Any = field(default_factory=itertools.count)

    def add(
        self,
        estimator: object,
        signature: Signature = REGRESSION,
        *,
        model: str = ENDPOINT,
        package: str | None = None,
    ) -> int:
        content = pack(FittedModel(estimator, signature))
        digest = package or self.workspace.blobs.put(content)
        with self.workspace.transaction() as tx:
            version = register(
                tx,
                model=model,
                run=f"run_{next(self.runs)}",
                package=digest,
                dataset="d",
                profile=None,
                signature=signature,
                metrics={},
                algorithm=type(estimator).__name__,
            )
        return version.number

    def compile(self, number: int, fitted: FittedModel) -> None:
        """Note what a version is compiled to, as its release would."""
        content = self.workspace.blobs.put(compile_model(fitted))
        with self.workspace.transaction() as tx:
            version = get_version(tx, ENDPOINT, number)
            compiled = Compiled(
                package=version.require_package(),
                content=content,
                reason="the same",
                signature=fitted.signature,
                seconds=0.1,
            )
            note_compiled(tx, version, compiled)

    def release(self, version: int, steps: str = "100%", *, model: str = ENDPOINT) -> Release:
        with self.workspace.transaction() as tx:
            return start_release(tx, endpoint=model, version=version, steps=parse_rollout(steps))

    def logged(self, kind: str = "predictions", model: str = ENDPOINT) -> pl.DataFrame:
        folder = log_folder(self.workspace, model, kind)
        tables = [decode_frame(frame.payload) for frame in frames(folder)]
        return pl.concat(tables, how="diagonal_relaxed") if tables else pl.DataFrame()


@pytest.fixture
def shop(workspace: Workspace) -> Shop:
    return Shop(workspace)


@pytest.fixture
def rows() -> Callable[[int], list[dict[str, Any]]]:
    """Make so many rows that fit the signature, each with a temperature of its own."""

    def make(count: int) -> list[dict[str, Any]]:
        return [
            {
                "temp": i / count,
                "hour": i % 24,
                "sky": ("clear", "rain", None)[i % 3],
                "holiday": i % 7 == 0,
            }
            for i in range(count)
        ]

    return make
