"""MLflow's scoring protocol: the same bodies to MLflow's own server and to ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tests.serving.conftest import ENDPOINT, INPUTS, REGRESSION, Constant, Shop

from everfit.errors import Invalid, MediaUnknown, RowsInvalid, TooLarge
from everfit.mlflow_api import PROTOCOL_VERSION
from everfit.packages import Field, Kind
from everfit.serving import BackgroundServer, Bounds
from everfit.serving.invocations import VERSION, decode_invocation
from everfit.serving.media import body_media

pytestmark = pytest.mark.filterwarnings("ignore")
FRAME = pd.DataFrame(
    {
        "temp": [0.1, 0.5, 0.9, 0.3],
        "hour": [1, 5, 9, 3],
        "sky": ["clear", "rain", "clear", 'a, "quoted"\nsky'],
        "holiday": [True, False, True, False],
    }
)
RECORDS = FRAME.to_dict("records")
COLUMNS = FRAME.to_dict("list")
JSON_BODIES: dict[str, Any] = {
    "split": {"dataframe_split": FRAME.to_dict("split")},
    "split, other order": {"dataframe_split": FRAME[FRAME.columns[::-1]].to_dict("split")},
    "records": {"dataframe_records": RECORDS},
    "one record": {"dataframe_records": RECORDS[:1]},
    "instances": {"instances": RECORDS},
    "instances by column": {"instances": COLUMNS},
    "inputs": {"inputs": COLUMNS},
    "inputs by row": {"inputs": RECORDS},
    "one row": {"inputs": RECORDS[0]},
    "params": {"dataframe_records": RECORDS, "params": {"temperature": 1}},
    "whole numbers": {"dataframe_records": [{**RECORDS[0], "temp": 1}]},
}


def pipeline() -> Any:
    numbers, texts = ["temp", "hour", "holiday"], ["sky"]
    columns = [
        ("numbers", StandardScaler(), numbers),
        ("texts", OneHotEncoder(handle_unknown="ignore"), texts),
    ]
    model = make_pipeline(ColumnTransformer(columns), LinearRegression())
    return model.fit(pl.from_pandas(FRAME), [1.0, 2.0, 3.0, 4.5])


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """MLflow's own scoring application around the same model, as an HTTP client."""
    import mlflow
    from fastapi.testclient import TestClient
    from mlflow.models import ModelSignature
    from mlflow.pyfunc.scoring_server import init
    from mlflow.types import ColSpec, Schema

    kinds = {"temp": "double", "hour": "long", "sky": "string", "holiday": "boolean"}
    signature = ModelSignature(Schema([ColSpec(kind, name) for name, kind in kinds.items()]))
    path = tmp_path_factory.mktemp("mlflow") / "model"
    mlflow.sklearn.save_model(
        pipeline(), path, signature=signature, serialization_format="cloudpickle"
    )
    return TestClient(init(mlflow.pyfunc.load_model(str(path))))


@pytest.fixture
def server(shop: Shop) -> Iterator[BackgroundServer]:
    shop.release(shop.add(pipeline()))
    with BackgroundServer(
        shop.workspace, [ENDPOINT], durable=False, bounds=Bounds(rows=50)
    ) as running:
        yield running


@pytest.fixture
def http(server: BackgroundServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=10) as client:
        yield client


def test_what_mlflow_reads_is_read_and_answered_alike(theirs: Any, http: httpx.Client) -> None:
    bodies = [(name, "application/json", json.dumps(body)) for name, body in JSON_BODIES.items()]
    bodies.append(("csv", "text/csv", FRAME.to_csv(index=False)))
    bodies.append(("csv, named", "text/csv; charset=utf-8", FRAME[::-1].to_csv(index=False)))
    for name, media, body in bodies:
        headers = {"content-type": media}
        wanted = theirs.post("/invocations", content=body, headers=headers)
        assert wanted.status_code == 200, (name, wanted.text)
        for path in ("/invocations", f"/endpoints/{ENDPOINT}/invocations"):
            answer = http.post(path, content=body, headers=headers)
            assert answer.status_code == 200, (name, answer.text)
            assert answer.headers["content-type"] == wanted.headers["content-type"]
            assert answer.json().keys() == wanted.json().keys() == {"predictions"}
            assert answer.json()["predictions"] == pytest.approx(wanted.json()["predictions"]), name


@pytest.mark.parametrize(
    ("media", "body"),
    [
        ("application/json", "{"),
        ("application/json", "[]"),
        ("application/json", "{}"),
        ("application/json", '{"instances": [], "inputs": []}'),
        ("application/json", '{"dataframe_records": {"temp": 1}}'),
        ("application/json", '{"dataframe_split": [1]}'),
        ("application/json", '{"dataframe_split": {"columns": ["temp"]}}'),
        ("application/json", '{"dataframe_split": {"data": [[1]], "more": 1}}'),
        ("application/json", '{"dataframe_records": [{"temp": 0.5}]}'),
        ("application/json", '{"dataframe_records": [{"temp": "warm"}]}'),
        ("text/csv", ""),
        ("text/csv", "temp,hour\n1,2\n"),
        ("text/plain", "{}"),
        ("text/csv; charset=latin-1", "temp\n1\n"),
        ("application/json; odd=1", "{}"),
    ],
)
def test_what_mlflow_refuses_is_refused_with_its_status(
    theirs: Any, http: httpx.Client, media: str, body: str
) -> None:
    headers = {"content-type": media}
    wanted = theirs.post("/invocations", content=body, headers=headers)
    answer = http.post("/invocations", content=body, headers=headers)
    assert answer.status_code == wanted.status_code
    assert answer.json().keys() == {"error_code", "message"}
    if wanted.status_code == 400:
        assert answer.json()["error_code"] in (wanted.json()["error_code"], "BAD_REQUEST")


def test_mlflows_own_client_is_answered(server: BackgroundServer, shop: Shop) -> None:
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    url = httpx.URL(server.url)
    client = ScoringServerClient(url.host, url.port)
    client.wait_server_ready(timeout=5)
    assert client.get_version() == VERSION == PROTOCOL_VERSION
    answer = client.invoke(FRAME).get_predictions(predictions_format="ndarray")
    assert answer == pytest.approx(np.array([1.0, 2.0, 3.0, 4.5]))
    # It writes NaN where a value is missing; the model of the fixture cannot do without.
    shop.release(shop.add(Constant(7.0)))
    server.refresh()
    missing = FRAME.assign(sky=[None, np.nan, "rain", "clear"])
    assert client.invoke(missing)["predictions"] == [7.0] * 4
    assert shop.logged()["in.sky"].to_list()[-4:] == [None, None, "rain", "clear"]
    with pytest.raises(Exception, match=r"dataframe_split.data\[2\].temp"):
        client.invoke(FRAME.assign(temp=[1, 2, np.nan, 3]))


def test_mlflows_deployments_client_asks_one_of_several_endpoints(shop: Shop) -> None:
    from mlflow.deployments import get_deploy_client

    for name, value in (("bike", 1.0), ("churn", 2.0)):
        shop.release(shop.add(Constant(value), model=name), model=name)
    with BackgroundServer(shop.workspace, ["bike", "churn"], durable=False) as server:
        client = get_deploy_client(server.url)
        for name, value in (("bike", 1.0), ("churn", 2.0)):
            answer = client.predict(endpoint=name, inputs={"dataframe_records": RECORDS[:1]})
            assert answer == {"predictions": [value]}
        refused = httpx.post(f"{server.url}/invocations", json={"instances": RECORDS})
        absent = httpx.post(f"{server.url}/endpoints/none/invocations", json={})
    assert (refused.status_code, absent.status_code) == (404, 404)
    assert "/endpoints/churn/invocations" in refused.json()["message"]


def test_ping_tells_whether_there_is_a_model(shop: Shop, http: httpx.Client) -> None:
    for path in ("/ping", "/health"):
        assert (http.get(path).status_code, http.get(path).text) == (200, "\n")
    with BackgroundServer(shop.workspace, ["churn"], durable=False) as empty:
        response = httpx.get(f"{empty.url}/ping")
        invoked = httpx.post(f"{empty.url}/invocations", json={"inputs": []})
    for answer in (response, invoked):
        assert answer.status_code == 503
        assert answer.json()["error_code"] == "TEMPORARILY_UNAVAILABLE"


def test_keys_and_times_come_in_params(shop: Shop, http: httpx.Client) -> None:
    params = {"keys": ["ann", None], "times": ["2026-01-01", "2026-01-02"]}
    body = {"dataframe_records": RECORDS[:2], "params": params}
    assert http.post("/invocations", json=body).status_code == 200
    assert shop.logged()["key"].to_list() == ["ann", None]
    wrong = http.post("/invocations", json={**body, "params": {"keys": ["ann"]}})
    assert wrong.status_code == 400
    assert "keys" in wrong.json()["message"]


def read(body: object, media: str = "application/json", **changes: Any) -> pl.DataFrame:
    content = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    signature = replace(REGRESSION, **changes)
    given = body_media({b"content-type": media.encode()})
    return decode_invocation(content, given, signature, max_rows=9).frame


GOOD = {"temp": 0.5, "hour": 3, "sky": "clear", "holiday": False}
NAMES = list(GOOD)
VALUES = list(GOOD.values())
HEAD = "temp,hour,sky,holiday\n"


@pytest.mark.parametrize(
    ("body", "paths"),
    [
        ({"instances": [GOOD, {**GOOD, "temp": "0.5"}]}, ["instances[1].temp"]),
        ({"instances": [{**GOOD, "temp": float("nan")}]}, ["instances[0].temp"]),
        ({"inputs": {**COLUMNS, "temp": [1, float("inf"), 1, 1]}}, ["inputs.temp[1]"]),
        ({"inputs": {**COLUMNS, "hour": [1, 2]}}, ["inputs.hour"]),
        ({"inputs": {**COLUMNS, "hour": 5}}, ["inputs.hour"]),
        ({"inputs": {**COLUMNS, "wind": [1] * 4}}, ["wind"]),
        ({"inputs": {n: v for n, v in COLUMNS.items() if n != "sky"}}, ["sky"]),
        ({"inputs": 7}, ["inputs"]),
        ({"instances": [GOOD, 7]}, ["instances[1]"]),
        ({"instances": [VALUES, VALUES[:3]]}, ["instances[1]"]),
        ({"dataframe_records": [{**GOOD, "wind": 1}]}, ["dataframe_records[0].wind"]),
        ({"dataframe_records": [{}]}, [f"dataframe_records[0].{name}" for name in NAMES]),
        (
            {"dataframe_split": {"columns": NAMES, "data": [VALUES, [1.5, 2.5, "x", 1]]}},
            ["dataframe_split.data[1].hour", "dataframe_split.data[1].holiday"],
        ),
        (
            {"dataframe_split": {"columns": NAMES, "data": [VALUES, [1]]}},
            ["dataframe_split.data[1]"],
        ),
        (
            {"dataframe_split": {"columns": [*NAMES, "temp"], "data": [[*VALUES, 1]]}},
            ["dataframe_split.data"],
        ),
        ({"dataframe_split": {"columns": [1], "data": []}}, ["dataframe_split.columns"]),
        ({"dataframe_split": {"columns": NAMES, "data": 5}}, ["dataframe_split.data"]),
    ],
    ids=str,
)
def test_every_problem_names_column_and_row(body: object, paths: list[str]) -> None:
    with pytest.raises(RowsInvalid) as caught:
        read(body)
    assert [problem.path for problem in caught.value.problems] == paths


@pytest.mark.parametrize(
    ("lines", "paths"),
    [
        ("0.5,3,clear,True\nwarm,3,clear,True\n", ["rows[1].temp"]),
        ("0.5,3.5,clear,yes\n", ["rows[0].hour", "rows[0].holiday"]),
        ("0.5,,clear,True\n", ["rows[0].hour"]),
        ("0.5,99999999999999999999,clear,True\n", ["rows[0].hour"]),
        ("inf,3,clear,True\n", ["rows[0].temp"]),
        ("1e999,3,clear,True\n", ["rows[0].temp"]),
        ("0.5,3,clear,True\n\n0.5,3,clear\n", ["rows[1]"]),
    ],
)
def test_every_problem_of_a_csv_names_column_and_row(lines: str, paths: list[str]) -> None:
    with pytest.raises(RowsInvalid) as caught:
        read(HEAD + lines, "text/csv")
    assert [problem.path for problem in caught.value.problems] == paths


def test_a_csv_may_not_name_a_column_twice_or_one_that_is_unknown() -> None:
    with pytest.raises(RowsInvalid, match=r"names\.temp"):
        read("temp,temp\n1,2\n", "text/csv")
    with pytest.raises(RowsInvalid, match="an unknown column"):
        read(FRAME.to_csv(index=True), "text/csv")


def test_a_word_for_missing_is_a_text_where_training_knew_it() -> None:
    frame = read(HEAD + "0.5,3,NA,true\n0.5,3,,TRUE\n", "text/csv")
    assert frame["sky"].to_list() == [None, None]
    country = replace(INPUTS[2], categories=("DE", "NA"))
    inputs = (*INPUTS[:2], country, INPUTS[3])
    frame = read(HEAD + "0.5,3,NA,true\n0.5,3,,TRUE\n", "text/csv", inputs=inputs)
    assert frame["sky"].to_list() == ["NA", None]


def test_a_model_of_one_input_takes_bare_values() -> None:
    one: dict[str, Any] = {"inputs": (Field(name="x", kind=Kind.NUMBER),)}
    for values in ([1, 2.5], [[1], [2.5]], {"x": [1, 2.5]}, {"x": [[1], [2.5]]}):
        assert read({"inputs": values}, **one)["x"].to_list() == [1.0, 2.5]


@pytest.mark.parametrize(
    ("body", "media", "error"),
    [
        ("[" * 100_000, "application/json", Invalid),
        ('{"inputs":' * 100_000, "application/json", Invalid),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "application/json", Invalid),
        ('a,b\n"1', "text/csv", Invalid),
        ("a\n" + "9" * 200_000, "text/csv", Invalid),
        (HEAD + "1,1,a,true\n" * 10, "text/csv", TooLarge),
        (HEAD, "text/csv", RowsInvalid),
        ('{"instances": []}', "application/json", RowsInvalid),
        (json.dumps({"instances": [GOOD] * 10}), "application/json", TooLarge),
        ("PAR1", "application/vnd.apache.parquet", MediaUnknown),
    ],
    ids=range(10),
)
def test_what_is_no_table_is_refused(body: str, media: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        read(body, media)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
names = st.sampled_from(["columns", "data", "index", "params", "keys", *NAMES])
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner),
    max_leaves=20,
)
forms = st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs"])


@given(body=st.dictionaries(forms | names, anything, max_size=2).map(json.dumps), csv=st.text())
def test_no_body_whatever_is_an_error_of_ours(body: str, csv: str) -> None:
    for content, media in ((body, "application/json"), (csv, "text/csv"), (HEAD + csv, "text/csv")):
        try:
            frame = read(content, media)
        except (Invalid, TooLarge):
            continue
        assert frame.columns == NAMES
