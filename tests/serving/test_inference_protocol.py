"""The Open Inference Protocol over REST, asked by Triton's own client."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.conftest import (
    CLASSIFICATION,
    ENDPOINT,
    REGRESSION,
    Constant,
    Shop,
    WarmIsBusy,
)

from everfit.errors import Invalid, MediaUnknown, RowsInvalid, TooLarge
from everfit.serving import BackgroundServer, Bounds
from everfit.serving.media import body_media
from everfit.serving.tensors import decode_tensors

TEMP = np.array([0.25, 0.75])
DATA: dict[str, tuple[str, Any]] = {
    "temp": ("FP64", TEMP),
    "hour": ("INT64", np.array([3, 4])),
    "sky": ("BYTES", np.array([b"clear", "r\u00e4in".encode()], dtype=object)),
    "holiday": ("BOOL", np.array([True, False])),
}
INFER = f"/v2/models/{ENDPOINT}/infer"


@pytest.fixture
def server(shop: Shop) -> Iterator[BackgroundServer]:
    shop.release(shop.add(WarmIsBusy(), CLASSIFICATION))
    with BackgroundServer(
        shop.workspace, [ENDPOINT, "churn"], durable=False, bounds=Bounds(rows=50)
    ) as running:
        yield running


@pytest.fixture
def triton(server: BackgroundServer) -> Iterator[Any]:
    http = pytest.importorskip("tritonclient.http")
    with http.InferenceServerClient(server.url.removeprefix("http://")) as client:
        yield client


def given_inputs(*, binary: bool) -> list[Any]:
    from tritonclient.http import InferInput

    inputs = []
    for name, (datatype, values) in DATA.items():
        one = InferInput(name, [2], datatype)
        one.set_data_from_numpy(values, binary_data=binary)
        inputs.append(one)
    return inputs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_tritons_client_infers(shop: Shop, triton: Any, binary: bool) -> None:
    from tritonclient.http import InferRequestedOutput

    names = ("busy", "score", "version", "prediction_id")
    outputs = [InferRequestedOutput(name, binary_data=binary) for name in names]
    found = triton.infer(
        ENDPOINT, given_inputs(binary=binary), outputs=outputs, request_id="7", model_version="1"
    )
    assert found.get_response()["id"] == "7"
    assert found.as_numpy("busy").tolist() == [False, True]
    assert found.as_numpy("score").tolist() == [0.75, 0.75]
    assert found.as_numpy("version").tolist() == [1, 1]
    ids = [one.decode() if binary else one for one in found.as_numpy("prediction_id").tolist()]
    logged = shop.logged()
    assert logged["id"].to_list() == ids
    assert logged["in.sky"].to_list() == ["clear", "r\u00e4in"]
    # Without outputs its client asks for all of them, as bytes.
    everything = triton.infer(ENDPOINT, given_inputs(binary=binary))
    assert everything.as_numpy("busy").tolist() == [False, True]
    assert "binary_data_size" in everything.get_output("score")["parameters"]


@pytest.mark.filterwarnings("ignore")
def test_tritons_client_asks_for_health_and_metadata(triton: Any) -> None:
    from tritonclient.utils import InferenceServerException

    assert triton.is_server_live()
    assert not triton.is_server_ready()  # the endpoint `churn` has no model
    assert triton.is_model_ready(ENDPOINT)
    assert triton.is_model_ready(ENDPOINT, "1")
    assert not triton.is_model_ready(ENDPOINT, "2")
    assert not triton.is_model_ready("churn")
    assert "binary_tensor_data" in triton.get_server_metadata()["extensions"]
    model = triton.get_model_metadata(ENDPOINT, "1")
    assert (model["name"], model["versions"]) == (ENDPOINT, ["1"])
    assert [one["name"] for one in model["inputs"]] == list(DATA)
    with pytest.raises(InferenceServerException, match=r"\[404\] version '9' of 'bike'"):
        triton.get_model_metadata(ENDPOINT, "9")
    with pytest.raises(InferenceServerException, match=r"inputs.temp.*nothing"):
        triton.infer(ENDPOINT, given_inputs(binary=True)[1:])


def test_a_version_asked_for_by_number_answers_alone(shop: Shop) -> None:
    shop.release(shop.add(Constant(1.0)))
    shop.release(shop.add(Constant(2.0)), "shadow 1d -> 100%")
    body = {"inputs": json_inputs(), "outputs": [{"name": "cnt"}]}
    with BackgroundServer(shop.workspace, [ENDPOINT], durable=False) as server:
        base = f"{server.url}/v2/models/{ENDPOINT}"
        assert httpx.get(base).json()["versions"] == ["1", "2"]
        assert httpx.get(f"{base}/versions/2/ready").json()["ready"] is True
        assert httpx.get(f"{base}/versions/2").json()["versions"] == ["2"]
        free = httpx.post(f"{base}/infer", json=body).json()
        pinned = httpx.post(f"{base}/versions/1/infer", json=body).json()
        rolling = httpx.post(f"{base}/versions/2/infer", json=body)
        absent = httpx.post(f"{base}/versions/one/infer", json=body)
    assert (free["model_version"], free["outputs"][0]["data"]) == ("1", [1.0, 1.0])
    assert (pinned["model_version"], pinned["outputs"][0]["data"]) == ("1", [1.0, 1.0])
    assert (rolling.status_code, absent.status_code) == (409, 404)
    assert "rolling out" in rolling.json()["error"]
    # What was pinned took no part in the rollout.
    assert shop.logged()["other_version"].to_list() == [2, 2, None, None]


def json_inputs() -> list[dict[str, Any]]:
    plain = {"sky": ["clear", "rain"]}
    return [
        {"name": name, "shape": [2], "datatype": kind, "data": plain.get(name, values.tolist())}
        for name, (kind, values) in DATA.items()
    ]


def raw_inputs(**changes: Any) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Return inputs with their sizes, and their bytes."""
    texts = b"".join(struct.pack("<I", len(text)) + text for text in (b"clear", b"rain"))
    content = {
        "temp": TEMP.tobytes(),
        "hour": np.array([3, 4], dtype="<i8").tobytes(),
        "sky": texts,
        "holiday": b"\x01\x00",
    } | changes
    inputs = [
        {
            "name": name,
            "shape": [2],
            "datatype": kind,
            "parameters": {"binary_data_size": len(content[name])},
        }
        for name, (kind, _) in DATA.items()
    ]
    return inputs, content


def decode(inputs: object, content: bytes, **more: object) -> pl.DataFrame:
    body = msgspec.json.encode({"inputs": inputs, **more})
    head = str(len(body)).encode()
    return decode_tensors(body + content, REGRESSION, max_rows=9, head=head).frame


def test_bytes_and_json_may_stand_side_by_side() -> None:
    inputs, content = raw_inputs()
    whole = decode(inputs, b"".join(content.values()))
    assert whole.equals(decode(json_inputs(), b""))
    mixed = [inputs[0], json_inputs()[1], inputs[2], json_inputs()[3]]
    assert decode(mixed, content["temp"] + content["sky"]).equals(whole)


@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [
        *(("FP16", "<f2"), ("FP32", "<f4"), ("INT8", "i1"), ("UINT8", "u1"), ("INT16", "<i2")),
        *(("UINT16", "<u2"), ("INT32", "<i4"), ("UINT32", "<u4"), ("UINT64", "<u8")),
    ],
)
def test_numbers_of_every_width_are_read(datatype: str, dtype: str) -> None:
    inputs, content = raw_inputs(temp=np.array([1, 2], dtype=dtype).tobytes())
    inputs[0]["datatype"] = datatype
    assert decode(inputs, b"".join(content.values()))["temp"].to_list() == [1.0, 2.0]


def test_the_short_float_of_accelerators_is_read() -> None:
    inputs, content = raw_inputs(temp=b"\x80\x3f\x00\xc0")
    inputs[0]["datatype"] = "BF16"
    assert decode(inputs, b"".join(content.values()))["temp"].to_list() == [1.0, -2.0]


NAN, INF = np.array([0.5, np.nan]).tobytes(), np.array([np.inf, 0.5]).tobytes()


@pytest.mark.parametrize(
    ("changes", "paths"),
    [
        ({"temp": b"1234"}, ["inputs.temp.data"]),
        ({"temp": NAN}, ["inputs.temp.data[1]"]),
        ({"temp": INF}, ["inputs.temp.data[0]"]),
        ({"sky": b"\x05\x00\x00\x00clear"}, ["inputs.sky.data[1]"]),
        ({"sky": b"\xff\xff\xff\xffclear"}, ["inputs.sky.data[0]"]),
        ({"sky": b"\x01\x00\x00\x00\xff\x00\x00\x00\x00"}, ["inputs.sky.data[0]"]),
        ({"sky": bytes(9)}, ["inputs.sky.data"]),
        ({"holiday": b"\x00\x02"}, ["inputs.holiday.data[1]"]),
    ],
)
def test_every_problem_of_the_bytes_is_named(changes: dict[str, bytes], paths: list[str]) -> None:
    inputs, content = raw_inputs(**changes)
    with pytest.raises(RowsInvalid) as caught:
        decode(inputs, b"".join(content.values()))
    assert [problem.path for problem in caught.value.problems] == paths


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"parameters": {"binary_data_size": -1}}, "inputs.temp.parameters.binary_data_size"),
        ({"parameters": {"binary_data_size": True}}, "inputs.temp.parameters.binary_data_size"),
        ({"parameters": {"binary_data_size": 10**30}}, "inputs.temp.parameters.binary_data_size"),
        ({"parameters": {}}, "inputs.temp"),
        ({"data": [1, 2]}, "inputs.temp"),
        ({"datatype": "BYTES"}, "inputs.temp.datatype"),
        ({"datatype": []}, "inputs[0]"),
    ],
)
def test_sizes_that_cannot_be_are_named(change: dict[str, object], path: str) -> None:
    inputs, content = raw_inputs()
    inputs[0] |= change
    with pytest.raises(RowsInvalid) as caught:
        decode(inputs, b"".join(content.values()))
    assert path in [problem.path for problem in caught.value.problems]


def test_bytes_that_belong_to_nothing_are_refused() -> None:
    with pytest.raises(RowsInvalid, match="3 bytes that belong to no input"):
        decode(json_inputs(), b"abc")


def test_a_huge_shape_costs_nothing() -> None:
    inputs, content = raw_inputs()
    inputs[0]["shape"] = [2**62]
    with pytest.raises(TooLarge):
        decode(inputs, b"".join(content.values()))


@pytest.mark.parametrize("head", [b"-1", b"x", b"", b"9999", b"1e1", b"\xb2", b"9" * 5_000])
def test_a_length_that_is_none_is_refused(head: bytes) -> None:
    with pytest.raises(Invalid, match="Inference-Header-Content-Length"):
        decode_tensors(b"{}", REGRESSION, max_rows=9, head=head)


@pytest.mark.parametrize(
    ("outputs", "path"),
    [
        ([{"name": "cnt", "parameters": {"classification": 1}}], "outputs[0].parameters"),
        ([{"name": "cnt", "parameters": 5}], "outputs[0].parameters"),
    ],
)
def test_an_output_that_is_not_given_that_way_is_refused(outputs: object, path: str) -> None:
    with pytest.raises(RowsInvalid) as caught:
        decode(json_inputs(), b"", outputs=outputs)
    assert caught.value.problems[0].path.startswith(path)


@given(content=st.binary(max_size=80), length=st.integers(0, 90))
def test_no_bytes_whatever_are_an_error_of_ours(content: bytes, length: int) -> None:
    inputs, _ = raw_inputs()
    body = json.dumps({"inputs": inputs}).encode()
    for whole, head in ((content, str(length)), (body + content, str(len(body)))):
        try:
            decode_tensors(whole, REGRESSION, max_rows=9, head=head.encode())
        except (Invalid, TooLarge):
            continue


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "text/csv"}, 415),
        ({"content-encoding": "gzip"}, 415),
        ({"Inference-Header-Content-Length": "x"}, 422),
    ],
)
def test_a_request_of_the_wrong_type_is_refused(
    server: BackgroundServer, headers: dict[str, str], status: int
) -> None:
    body = json.dumps({"inputs": json_inputs()})
    response = httpx.post(server.url + INFER, content=body, headers=headers)
    assert response.status_code == status
    assert isinstance(response.json()["error"], str)
    assert response.json()["hint"]
    assert httpx.post(server.url + INFER, content=body).status_code == 200


def test_the_type_of_a_body_is_read_as_it_is_written() -> None:
    assert body_media({}).name == "application/json"
    assert body_media({b"content-type": b"application/x-www-form-urlencoded"}).name.endswith("json")
    assert body_media({b"content-type": b""}).name == "application/json"
    with pytest.raises(MediaUnknown, match="br"):
        body_media({b"content-encoding": b"br"})
