"""``explain=true``: reasons beside predictions, and the same again from the log."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from tests.serving.conftest import CLASSIFICATION, ENDPOINT, REGRESSION, Constant, Shop

from everfit.data import store_version
from everfit.governance import Question, prediction_reasons, why
from everfit.monitoring import MonitorConfig, reference_profile, sweep
from everfit.packages import FittedModel, Signature, pack
from everfit.registry import register
from everfit.serving import BackgroundServer, Bounds

ROW = {"temp": 0.9, "hour": 8, "sky": "rain", "holiday": False}
PREDICT = f"/predict/{ENDPOINT}"


def trained_rows() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "temp": rng.uniform(size=300),
            "hour": rng.integers(0, 24, 300),
            "sky": rng.choice(["clear", "rain"], 300),
            "holiday": rng.random(300) < 0.1,
        }
    ).with_columns(cnt=pl.col("hour") * 10.0 + pl.col("temp") * 50)


def trained(model: Any, truth: str = "cnt") -> Any:
    rows = trained_rows()
    categories = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    encoder = ColumnTransformer(
        [("numbers", "passthrough", ["temp", "hour"]), ("rest", categories, ["sky", "holiday"])]
    )
    inputs = rows.select(REGRESSION.names)
    return make_pipeline(encoder, model).fit(inputs, rows[truth].to_numpy())


def add(
    shop: Shop,
    estimator: Any,
    signature: Signature = REGRESSION,
    *,
    with_rows: bool = True,
    with_profile: bool = False,
) -> int:
    """Register a version with the rows it was trained on, or with a profile of them."""
    rows, blobs = trained_rows(), shop.workspace.blobs
    profile = reference_profile(rows, signature.names) if with_profile else None
    with shop.workspace.transaction() as tx:
        dataset = store_version(tx, blobs, rows, name=ENDPOINT).id
        return register(
            tx,
            model=ENDPOINT,
            run=f"run_{next(shop.runs)}",
            package=blobs.put(pack(FittedModel(estimator, signature))),
            dataset=dataset if with_rows else "gone",
            profile=None if profile is None else blobs.put(profile),
            signature=signature,
            metrics={},
            algorithm="boosting",
        ).number


def boosting() -> Any:
    return trained(HistGradientBoostingRegressor(max_iter=20))


@contextmanager
def serving(shop: Shop) -> Iterator[httpx.Client]:
    bounds = Bounds(explained_rows=20)
    with (
        BackgroundServer(shop.workspace, [ENDPOINT], durable=False, bounds=bounds) as running,
        httpx.Client(base_url=running.url, timeout=10) as client,
    ):
        yield client


def added_up(row: dict[str, Any]) -> float:
    return math.fsum([row["base"], row["rest"], *(c["amount"] for c in row["contributions"])])


def test_every_row_gets_its_reasons(shop: Shop) -> None:
    shop.release(add(shop, boosting()))
    with serving(shop) as http:
        plain = http.post(PREDICT, json={"rows": [ROW, ROW]}).json()["predictions"][0]
        found = http.post(f"{PREDICT}?explain=true", json={"rows": [ROW, {**ROW, "sky": None}]})
    assert found.status_code == 200
    first, second = found.json()["predictions"]
    assert plain.items() - {("id", plain["id"])} <= first.items()
    assert first["because"][0].startswith("hour = 8 lowered it by ")
    assert second["because"] != []
    for row in (first, second):
        assert added_up(row) == pytest.approx(row["prediction"])
        assert row["output"] == pytest.approx(row["prediction"])
        assert (row["of"], row["method"]) == ("value", "exact-trees")
        assert [c["input"] for c in row["contributions"]][:2] == ["hour", "temp"]
        assert set(row["contributions"][0]) == {"input", "value", "amount"}


def test_as_many_reasons_are_named_as_were_asked_for(shop: Shop) -> None:
    shop.release(add(shop, boosting()))
    with serving(shop) as http:
        found = http.post(f"{PREDICT}?explain=1", json=[ROW]).json()["predictions"][0]
        none = http.post(f"{PREDICT}?explain=false", json=[ROW]).json()["predictions"][0]
        bad = [http.post(f"{PREDICT}?explain={word}", json=[ROW]) for word in ("yes", "-1", "9999")]
    assert len(found["contributions"]) == len(found["because"]) == 1
    assert added_up(found) == pytest.approx(found["prediction"])
    assert "because" not in none
    assert [reply.status_code for reply in bad] == [422, 422, 422]
    assert "explain is 'yes'" in bad[0].json()["error"]["message"]


def test_more_rows_than_can_be_explained_are_refused_and_not_logged(shop: Shop) -> None:
    shop.release(add(shop, boosting()))
    with serving(shop) as http:
        reply = http.post(f"{PREDICT}?explain=true", json=[ROW] * 21)
        assert http.post(f"{PREDICT}?explain=true", json=[ROW] * 20).status_code == 200
    assert reply.status_code == 422
    assert "21 rows to explain in one request; 20 are accepted" in reply.json()["error"]["message"]
    assert shop.logged().height == 20


def test_sampled_reasons_say_how_far_off_they_may_be_and_are_fewer(shop: Shop) -> None:
    shop.release(add(shop, trained(KNeighborsRegressor())))
    with serving(shop) as http:
        row = http.post(f"{PREDICT}?explain=true", json=[ROW]).json()["predictions"][0]
        reply = http.post(f"{PREDICT}?explain=true", json=[ROW] * 3)
    assert row["method"] == "approximate"
    assert row["evaluations"] <= 2_000
    assert all(part["error"] >= 0 for part in row["contributions"])
    assert added_up(row) == pytest.approx(row["prediction"])
    assert reply.status_code == 422
    assert "3 rows to explain" in reply.json()["error"]["message"]


def test_a_class_is_explained_by_its_probability(shop: Shop) -> None:
    forest = trained(RandomForestClassifier(20, random_state=0), "holiday")
    shop.release(add(shop, forest, CLASSIFICATION))
    with serving(shop) as http:
        row = http.post(f"{PREDICT}?explain=true", json=[ROW]).json()["predictions"][0]
    assert row["of"] == "probability"
    assert row["output"] == pytest.approx(row["score"])
    assert "made 'false' " in row["because"][0]


def test_a_version_is_explained_from_its_profile_where_its_rows_are_gone(shop: Shop) -> None:
    rows = trained_rows()
    shop.release(add(shop, trained(Ridge()), with_rows=False, with_profile=True))
    with serving(shop) as http:
        row = http.post(f"{PREDICT}?explain=true", json=[ROW]).json()["predictions"][0]
    assert row["against"] == "the mean of 300 rows of the profile of v1"
    assert added_up(row) == pytest.approx(row["prediction"])
    mean = rows["cnt"].mean()
    assert isinstance(mean, float)
    assert row["base"] == pytest.approx(mean, rel=0.01)


def test_what_cannot_be_compared_with_anything_is_refused_before_it_is_predicted(
    shop: Shop,
) -> None:
    shop.release(shop.add(Constant(4.5)))
    with serving(shop) as http:
        reply = http.post(f"{PREDICT}?explain=true", json=[ROW])
        assert http.post(PREDICT, json=[ROW]).status_code == 200
    assert reply.status_code == 422
    assert "cannot be explained" in reply.json()["error"]["message"]
    assert shop.logged().height == 1


def test_rows_are_explained_by_the_version_that_answered_them(shop: Shop) -> None:
    shop.release(add(shop, boosting()))
    shop.release(add(shop, trained(Ridge())), "50% 1d -> 100%")
    body = {"rows": [ROW] * 20, "keys": [f"k{i}" for i in range(20)]}
    with serving(shop) as http:
        found = http.post(f"{PREDICT}?explain=true", json=body).json()["predictions"]
    methods = {row["version"]: row["method"] for row in found}
    assert methods == {1: "exact-trees", 2: "exact-linear"}
    for row in found:
        assert added_up(row) == pytest.approx(row["prediction"])


@pytest.mark.parametrize(
    "model", [HistGradientBoostingRegressor(max_iter=9), KNeighborsRegressor()]
)
def test_the_log_gives_the_same_reasons_later(shop: Shop, model: Any) -> None:
    shop.release(add(shop, trained(model)))
    with serving(shop) as http:
        body = {"rows": [{**ROW, "temp": 0.1 + 0.2, "sky": None}]}
        row = http.post(f"{PREDICT}?explain=9", json=body).json()["predictions"][0]
    now = shop.workspace.clock.now()
    sweep(shop.workspace, ENDPOINT, MonitorConfig(window=timedelta(hours=1)), now=now)
    question = Question(workspace=shop.workspace, model=ENDPOINT)
    with shop.workspace.reading() as tx:
        again = prediction_reasons(question, tx, row["id"])
        lines = why(question, tx, row["id"])
    assert msgspec.json.decode(msgspec.json.encode(again)) == {name: row[name] for name in again}
    assert [f"because {sentence}" for sentence in row["because"]] == [
        line for line in lines if line.startswith("because ")
    ]
    assert any(line.startswith(f"reasons ({row['method']}): value ") for line in lines)


def test_a_logged_prediction_that_cannot_be_explained_says_why(shop: Shop) -> None:
    shop.release(shop.add(Constant(4.5)))
    with serving(shop) as http:
        row = http.post(PREDICT, json=[ROW]).json()["predictions"][0]
    now = shop.workspace.clock.now()
    sweep(shop.workspace, ENDPOINT, MonitorConfig(window=timedelta(hours=1)), now=now)
    question = Question(workspace=shop.workspace, model=ENDPOINT)
    with shop.workspace.reading() as tx:
        lines = why(question, tx, row["id"])
    said = [line for line in lines if line.startswith("reasons: cannot be given")]
    assert len(said) == 1
