"""A compiled model answers and is logged like the native one, by whichever form it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.serving.conftest import CLASSIFICATION, INPUTS, REGRESSION, Shop

from everfit.compiling import CompiledModel, attempt
from everfit.packages import Field, Kind, Signature
from everfit.registry import Compiled, get_version, load_package, note_compiled
from everfit.serving import BackgroundServer
from everfit.serving.plain import Plain

Rows = Callable[[int], list[dict[str, Any]]]
NATIVE, COMPILED = "native", "compiled"
MOMENTS = ["id", "at", "time", "latency_ms"]


def fitted(last: Any, signature: Signature, count: int = 400) -> Pipeline:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "temp": rng.random(count),
            "hour": rng.integers(0, 24, count),
            "sky": rng.choice(np.array(["clear", "rain", None]), count),
            "holiday": rng.random(count) < 0.2,
        }
    )
    noisy = frame["temp"] * 3 + frame["hour"] / 24 - frame["holiday"].cast(pl.Float64)
    target = noisy if signature.task == "regression" else noisy > noisy.median()
    words = OneHotEncoder(handle_unknown="ignore")
    steps = [("words", words, ["sky"]), ("numbers", SimpleImputer(), ["temp", "hour", "holiday"])]
    return make_pipeline(ColumnTransformer(steps), last).fit(frame, target.to_numpy())


def alike(ours: Sequence[Any], theirs: Sequence[Any]) -> None:
    """Compare numbers or truths; what is missing here must be missing there."""
    np.testing.assert_allclose(
        np.array(ours, dtype=np.float64), np.array(theirs, dtype=np.float64), rtol=1e-9
    )


def compile_version(shop: Shop, model: str, number: int, rows: pl.DataFrame) -> None:
    """Prove what a version compiles to, and let servers open that."""
    with shop.workspace.reading() as tx:
        version = get_version(tx, model, number)
    tried = attempt(load_package(shop.workspace, version), rows)
    assert tried.content is not None, tried.reason
    compiled = Compiled(
        package=version.require_package(),
        content=shop.workspace.blobs.put(tried.content),
        reason=tried.reason,
        signature=REGRESSION if version.signature is None else version.signature,
        seconds=tried.seconds,
    )
    with shop.workspace.transaction() as tx:
        note_compiled(tx, version, compiled)


@pytest.fixture(params=["regression", "classification", "forest"])
def served(request: pytest.FixtureRequest, shop: Shop, rows: Rows) -> Iterator[httpx.Client]:
    """Serve one estimator twice, under two names: as it is, and compiled."""
    signature = REGRESSION if request.param == "regression" else CLASSIFICATION
    last = {
        "regression": LinearRegression(),
        "classification": LogisticRegression(),
        "forest": RandomForestClassifier(20, random_state=0),
    }[request.param]
    model = fitted(last, signature)
    frame = pl.DataFrame(rows(60), schema_overrides={"sky": pl.String})
    for name in (NATIVE, COMPILED):
        # Packages are told apart by their content: only one of the two may be known as compiled.
        model.set_params(verbose=name == NATIVE)
        shop.release(shop.add(model, signature, model=name), model=name)
    compile_version(shop, COMPILED, 1, frame)
    with (
        BackgroundServer(shop.workspace, [NATIVE, COMPILED], durable=False) as server,
        httpx.Client(base_url=server.url, timeout=30) as http,
    ):
        assert isinstance(server.server(COMPILED).loaded.champion.model, CompiledModel)
        assert not isinstance(server.server(NATIVE).loaded.champion.model, CompiledModel)
        yield http


def test_answers_and_log_are_those_of_the_native_model(
    served: httpx.Client, shop: Shop, rows: Rows
) -> None:
    asked: list[dict[str, list[Any]]] = [
        {"rows": rows(1)},
        {"rows": rows(50), "keys": [f"k{i}" for i in range(50)]},
        {"rows": rows(3), "times": ["2026-01-31T12:00:00Z"] * 3},
        {"rows": rows(300)},
    ]
    for body in asked:
        said = [served.post(f"/predict/{name}", json=body).json() for name in (NATIVE, COMPILED)]
        for what in ("prediction", "score"):
            alike(*([one[what] for one in answer["predictions"]] for answer in said))
    native, compiled = (shop.logged(model=name).drop(MOMENTS) for name in (NATIVE, COMPILED))
    assert native.height == sum(len(body["rows"]) for body in asked)
    exact = [name for name, dtype in native.schema.items() if not dtype.is_float()]
    assert native[exact].equals(compiled[exact])
    for name in set(native.columns) - set(exact):
        alike(native[name].to_list(), compiled[name].to_list())


def test_other_forms_reach_the_compiled_model_as_well(served: httpx.Client, rows: Rows) -> None:
    columns = {name: [row[name] for row in rows(5)] for name in rows(1)[0]}
    kinds = {"temp": "FP64", "hour": "INT64", "sky": "BYTES", "holiday": "BOOL"}
    columns["sky"] = ["clear"] * 5
    inputs = [
        {"name": name, "datatype": kinds[name], "shape": [5], "data": values}
        for name, values in columns.items()
    ]
    answers = [
        served.post(f"/v2/models/{name}/infer", json={"inputs": inputs}).json()["outputs"][0]
        for name in (NATIVE, COMPILED)
    ]
    alike(*(answer["data"] for answer in answers))


def test_a_candidate_that_reads_an_input_as_another_kind_is_asked_by_a_frame(
    shop: Shop, rows: Rows
) -> None:
    model = fitted(LinearRegression(), REGRESSION)
    shop.release(shop.add(model, model=COMPILED), model=COMPILED)
    frame = pl.DataFrame(rows(60), schema_overrides={"sky": pl.String})
    compile_version(shop, COMPILED, 1, frame)
    # The same estimator, said to take whole hours as numbers.
    other = Signature(
        inputs=tuple(
            Field(name="hour", kind=Kind.NUMBER) if field.name == "hour" else field
            for field in INPUTS
        ),
        output=REGRESSION.output,
        task=REGRESSION.task,
    )
    shop.release(shop.add(model, other, model=COMPILED), "shadow -> 100%", model=COMPILED)
    with BackgroundServer(shop.workspace, [COMPILED], durable=False) as server:
        loaded = server.server(COMPILED).loaded
        assert loaded.candidate is not None
        assert not loaded.needs_no_frame
        answer = httpx.post(f"{server.url}/predict/{COMPILED}", json={"rows": rows(8)}).json()
    logged = shop.logged(model=COMPILED)
    alike(
        logged["other_prediction"].to_list(), [one["prediction"] for one in answer["predictions"]]
    )
    assert logged["error"].null_count() == 8


def test_rows_become_a_frame_only_when_somebody_wants_one(rows: Rows) -> None:
    values = [tuple(row.values()) for row in rows(3)]
    plain = Plain(INPUTS, values)
    assert plain.arrays["sky"].tolist() == [row["sky"] for row in rows(3)]
    assert plain.arrays["holiday"].dtype == np.float64
    assert "frame" not in vars(plain)
    assert plain.frame.rows() == values
