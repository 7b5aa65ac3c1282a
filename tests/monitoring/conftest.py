"""A shop whose predictions are made up here: rows go into the log as a model server writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from everfit.kernel import ManualClock, Workspace, time_part
from everfit.monitoring import Monitor, MonitorConfig, prediction_log, reference_profile
from everfit.packages import Field, Kind, Signature
from everfit.registry import register

DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)
FEATURES = ["age", "basket", "city"]
CONFIG = MonitorConfig(window=DAY, truth_delay=2 * DAY, task="regression", metric="mae")


class Shop:
    """An endpoint with registered versions, a log, labels, and a monitor over it."""

    name = "shop"

    def __init__(self, workspace: Workspace, clock: ManualClock) -> None:
        self.workspace = workspace
        self.clock = clock
        self.random = np.random.default_rng(7)
        self.monitor = Monitor(workspace, self.name, CONFIG)
        self.log = prediction_log(workspace, self.name, writer="one", durable=False)
        self._made = 0
        self.register()

    def inputs(self, rows: int) -> pl.DataFrame:
        """Rows as training saw them."""
        r = self.random
        return pl.DataFrame(
            {
                "age": r.normal(40.0, 10.0, rows),
                "basket": r.lognormal(3.0, 1.0, rows),
                "city": r.choice(["Oslo", "Rome", "Bern"], rows, p=[0.5, 0.3, 0.2]),
            }
        )

    def register(self, profile: bytes | None = None) -> int:
        """Register a version trained on such rows, signed off with a mean loss of 1."""
        losses = np.abs(self.random.normal(0.0, 1.2533, 5_000))
        profile = profile or reference_profile(self.inputs(20_000), FEATURES, losses=losses)
        signature = Signature(
            inputs=tuple(Field(name=name, kind=Kind.NUMBER) for name in FEATURES),
            output=Field(name="spent", kind=Kind.NUMBER),
            task="regression",
        )
        with self.workspace.transaction() as tx:
            return register(
                tx,
                model=self.name,
                run=tx.new_id("run"),
                package="0" * 64,
                dataset="1" * 64,
                profile=self.workspace.blobs.put(profile),
                signature=signature,
                metrics={"mae": 1.0},
                algorithm="forest",
            ).number

    def predictions(
        self, inputs: pl.DataFrame, at: datetime | None = None, **columns: Any
    ) -> pl.DataFrame:
        """Rows as they stand in the log; ``columns`` replaces what a plain answer has."""
        at = at or self.clock.now()
        rows = inputs.height
        ids = [f"p_{time_part(at)}{self._made + n:08d}" for n in range(rows)]
        self._made += rows
        plain = {
            "id": pl.Series(ids, dtype=pl.String),
            "at": at,
            "time": at,
            "key": pl.lit(None, pl.String),
            "version": 1,
            "arm": "champion",
            "prediction": 10.0,
            "score": pl.lit(None, pl.Float64),
            "other_version": pl.lit(None, pl.Int64),
            "other_prediction": pl.lit(None, pl.Float64),
            "other_score": pl.lit(None, pl.Float64),
            "error": pl.lit(None, pl.String),
            "latency_ms": 1.5,
        }
        given = plain | columns
        times = [
            pl.col("at", "time").cast(pl.Datetime("us", "UTC")),
            pl.col("version").cast(pl.Int64),
        ]
        named = {name: pl.lit(v) if isinstance(v, datetime) else v for name, v in given.items()}
        return (
            pl.DataFrame({"id": named.pop("id")})
            .with_columns(
                **{
                    n: v if isinstance(v, pl.Expr | pl.Series) else pl.lit(v)
                    for n, v in named.items()
                }
            )
            .with_columns(times)
            .hstack(inputs.rename({name: f"in.{name}" for name in inputs.columns}))
        )

    def answer(self, rows: int = 200, **columns: Any) -> pl.DataFrame:
        """Log plain answers to rows as training saw them, and return what was logged."""
        logged = self.predictions(self.inputs(rows), **columns)
        self.log.append(logged)
        return logged

    def truth(self, logged: pl.DataFrame, loss: float = 1.2533) -> pl.DataFrame:
        """Labels for logged predictions, so that the model errs by about 0.8 ``loss``."""
        wrong = self.random.normal(0.0, loss, logged.height)
        return logged.select("id", label=pl.col("prediction") + wrong)

    def days(self, count: int, each: Callable[[], object]) -> None:
        """Do ``each`` on so many days, with a sweep behind each."""
        for _ in range(count):
            each()
            self.clock.advance(DAY)
            self.monitor.sweep(self.clock.now())

    def ids(self, logged: pl.DataFrame) -> Sequence[str]:
        """The ids of logged predictions."""
        return [str(value) for value in logged["id"].to_list()]


@pytest.fixture
def shop(workspace: Workspace, clock: ManualClock) -> Iterator[Shop]:
    opened = Shop(workspace, clock)
    yield opened
    opened.log.close()


@pytest.fixture
def any_shop(any_workspace: Workspace, clock: ManualClock) -> Iterator[Shop]:
    opened = Shop(any_workspace, clock)
    yield opened
    opened.log.close()
