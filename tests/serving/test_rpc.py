"""The Open Inference Protocol over gRPC, asked by the public client and by a bare channel."""

from __future__ import annotations

import json
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
import tritonclient.grpc as triton
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.conftest import (
    CLASSIFICATION,
    ENDPOINT,
    Boom,
    Broken,
    Constant,
    Shop,
    Slow,
    WarmIsBusy,
)
from tritonclient.grpc import service_pb2

from everfit.errors import Conflict, Invalid, Refused, RowsInvalid
from everfit.packages import Field, Kind, Signature
from everfit.serving import BackgroundServer, Bounds
from everfit.serving.rpc import RpcServer
from everfit.serving.rpc.messages import SERVICE, TEXT, message
from everfit.serving.rpc.requests import decode_request
from everfit.web import listen

SMALL = Bounds(body_bytes=100_000, rows=50, in_flight=2, threads=2)
WIDE = Bounds(in_flight=16, threads=4)
DATATYPES = {
    Kind.NUMBER: "FP64",
    Kind.INTEGER: "INT64",
    Kind.TEXT: "BYTES",
    Kind.BOOLEAN: "BOOL",
    Kind.TIME: "BYTES",
}
MEMBERS = {
    "FP64": "fp64_contents",
    "INT64": "int64_contents",
    "BYTES": "bytes_contents",
    "BOOL": "bool_contents",
}
# What our messages are called where the protocol names them otherwise.
THEIRS = {
    "TensorMetadata": "ModelMetadataResponse.TensorMetadata",
    "Value": "InferParameter",
    "Parameter": "ModelInferRequest.ParametersEntry",
    "Tensor": "ModelInferRequest.InferInputTensor",
    "WantedOutput": "ModelInferRequest.InferRequestedOutputTensor",
    "Contents": "InferTensorContents",
}
EVERYTHING = Signature(
    inputs=(
        Field(name="temp", kind=Kind.NUMBER, nullable=True),
        Field(name="hour", kind=Kind.INTEGER, nullable=True),
        Field(name="sky", kind=Kind.TEXT, nullable=True),
        Field(name="holiday", kind=Kind.BOOLEAN, nullable=True),
        Field(name="seen", kind=Kind.TIME, nullable=True),
    ),
    output=Field(name="mark", kind=Kind.NUMBER),
    task="regression",
)


class Reader:
    """Answers with a checksum of all that it read of a row, nulls and all."""

    def predict(self, frame: pl.DataFrame) -> npt.NDArray[np.float64]:
        return np.array([float(zlib.crc32(repr(row).encode())) for row in frame.rows()])


class Rpc:
    """A server with its public client, a bare channel and the same endpoints over HTTP."""

    def __init__(self, shop: Shop, bounds: Bounds = SMALL, **options: Any) -> None:
        names = [ENDPOINT, "churn"]
        self.http = BackgroundServer(shop.workspace, names, durable=False, bounds=bounds)
        servers = {name: self.http.server(name) for name in names}
        self.server = RpcServer(shop.workspace, servers, bounds, **options)
        self.address = f"127.0.0.1:{self.server.port}"

    def __enter__(self) -> Rpc:
        self.http.__enter__()
        self.server.start()
        self.client = triton.InferenceServerClient(self.address)
        self.channel = grpc.insecure_channel(self.address)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.channel.close()
        self.server.close()
        self.http.__exit__()

    def call(self, method: str, request: Any, *, timeout: float = 10) -> Any:
        asked = request if isinstance(request, bytes) else request.SerializeToString()
        answered = self.channel.unary_unary(f"/{SERVICE}/{method}")(asked, timeout=timeout)
        return message(f"{method}Response").FromString(answered)

    def infer(self, request: Any, **options: Any) -> Any:
        return self.call("ModelInfer", request, **options)

    def refusal(
        self, request: Any, method: str = "ModelInfer", **options: Any
    ) -> tuple[grpc.StatusCode, str]:
        with pytest.raises(grpc.RpcError) as caught:
            self.call(method, request, **options)
        error: Any = caught.value
        return error.code(), error.details()


@pytest.fixture
def rpc(shop: Shop) -> Iterator[Rpc]:
    shop.release(shop.add(Constant(4.5)))
    with Rpc(shop) as running:
        yield running


def typed(rows: Sequence[dict[str, Any]], inputs: Sequence[Field] = (), **options: Any) -> Any:
    """Return a request with typed contents; what is null is named in a parameter."""
    request = message("ModelInferRequest")(model_name=ENDPOINT, **options)
    nulls: dict[str, list[int]] = {}
    for field in inputs or REGULAR:
        values = [row[field.name] for row in rows]
        missing = [at for at, value in enumerate(values) if value is None]
        if missing:
            nulls[field.name] = missing
        datatype = DATATYPES[field.kind]
        tensor = request.inputs.add(name=field.name, datatype=datatype, shape=[len(rows)])
        empty: Any = "" if datatype == "BYTES" else 0
        filled = [empty if value is None else value for value in values]
        written = [str(value).encode() for value in filled] if datatype == "BYTES" else filled
        getattr(tensor.contents, MEMBERS[datatype]).extend(written)
    if nulls:
        request.parameters.add(key="nulls").value.string_param = json.dumps(nulls)
    return request


REGULAR = (
    Field(name="temp", kind=Kind.NUMBER),
    Field(name="hour", kind=Kind.INTEGER),
    Field(name="sky", kind=Kind.TEXT),
    Field(name="holiday", kind=Kind.BOOLEAN),
)
GOOD = {"temp": 0.5, "hour": 3, "sky": "clear", "holiday": False}


def raw(rows: Sequence[dict[str, Any]], inputs: Sequence[Field] = (), **options: Any) -> Any:
    """Return the same request with the values as bytes."""
    request = typed(rows, inputs, **options)
    formats = {"FP64": "d", "INT64": "q", "BOOL": "?"}
    for tensor in request.inputs:
        values = getattr(tensor.contents, MEMBERS[tensor.datatype])
        if tensor.datatype == "BYTES":
            content = b"".join(struct.pack("<I", len(value)) + value for value in values)
        else:
            content = struct.pack(f"<{len(values)}{formats[tensor.datatype]}", *values)
        tensor.ClearField("contents")
        request.raw_input_contents.append(content)
    return request


def test_our_messages_are_those_of_the_public_client() -> None:
    ours = {line.partition(":")[0] for line in TEXT.strip().splitlines()}
    for name in ours:
        known: Any = service_pb2.DESCRIPTOR.message_types_by_name
        for part in THEIRS.get(name, name).split("."):
            known = known[part] if isinstance(known, dict) else _within(known, part)
        for field in message(name).DESCRIPTOR.fields:
            theirs = known.fields_by_name[field.name]
            assert (field.number, field.type, _repeats(field)) == (
                theirs.number,
                theirs.type,
                _repeats(theirs),
            )


def _within(known: Any, part: str) -> Any:
    return known[part] if hasattr(known, "keys") else known.nested_types_by_name[part]


def _repeats(field: Any) -> bool:
    return bool(getattr(field, "is_repeated", False)) or (
        not hasattr(field, "is_repeated") and field.label == FieldDescriptor.LABEL_REPEATED
    )


def test_the_public_client_finds_all_of_the_protocol(shop: Shop, rpc: Rpc) -> None:
    client = rpc.client
    assert client.is_server_live()
    assert not client.is_server_ready()
    assert client.is_model_ready(ENDPOINT)
    assert client.is_model_ready(ENDPOINT, "1")
    assert not client.is_model_ready(ENDPOINT, "7")
    assert not client.is_model_ready("churn")
    shop.release(shop.add(Constant(1.0), model="churn"), model="churn")
    rpc.http.refresh()
    assert client.is_server_ready()
    assert client.get_server_metadata().name == "everfit"
    model = client.get_model_metadata(ENDPOINT, as_json=True)
    assert model["name"] == ENDPOINT
    assert model["versions"] == ["1"]
    over_http = httpx.get(f"{rpc.http.url}/v2/models/{ENDPOINT}").json()
    for side in ("inputs", "outputs"):
        assert [(one["name"], one["datatype"]) for one in model[side]] == [
            (one["name"], one["datatype"]) for one in over_http[side]
        ]


def test_the_public_client_infers(shop: Shop, rpc: Rpc) -> None:
    arrays = {
        "temp": np.array([0.5, 0.25]),
        "hour": np.array([3, 4]),
        "sky": np.array(["clear", "größer"], dtype=object),
        "holiday": np.array([[True], [False]]),
    }
    kinds = ("FP64", "INT64", "BYTES", "BOOL")
    inputs = []
    for (name, array), kind in zip(arrays.items(), kinds, strict=True):
        inputs.append(triton.InferInput(name, array.shape, kind))
        inputs[-1].set_data_from_numpy(array)
    asked = [triton.InferRequestedOutput(name) for name in ("cnt", "prediction_id")]
    keys = {"keys": '["ann", null]'}
    answer = rpc.client.infer(ENDPOINT, inputs, "1", asked, request_id="7", parameters=keys)
    assert answer.as_numpy("cnt").tolist() == [4.5, 4.5]
    logged = shop.logged()
    assert [item.decode() for item in answer.as_numpy("prediction_id")] == logged["id"].to_list()
    assert logged["key"].to_list() == ["ann", None]
    assert logged["in.sky"].to_list() == ["clear", "größer"]
    response = answer.get_response()
    assert (response.id, response.model_name, response.model_version) == ("7", ENDPOINT, "1")
    assert [output.name for output in response.outputs] == ["cnt", "prediction_id"]


def test_answers_come_in_the_form_of_the_request(shop: Shop, rpc: Rpc) -> None:
    answer = rpc.infer(typed([GOOD]))
    by_name = {tensor.name: tensor for tensor in answer.outputs}
    assert list(by_name) == ["cnt", "prediction_id", "version"]
    assert list(by_name["cnt"].contents.fp64_contents) == [4.5]
    assert list(by_name["version"].contents.int64_contents) == [1]
    assert by_name["prediction_id"].contents.bytes_contents[0].decode() == shop.logged()["id"][0]
    answer = rpc.infer(raw([GOOD], id="x"))
    assert answer.raw_output_contents[0] == struct.pack("<d", 4.5)
    assert not any(tensor.HasField("contents") for tensor in answer.outputs)
    assert answer.id == "x"


def test_classes_come_with_their_scores(shop: Shop, rows: Callable[[int], Any]) -> None:
    shop.release(shop.add(WarmIsBusy(), CLASSIFICATION))
    with Rpc(shop) as running:
        answer = running.infer(typed(rows(4), CLASSIFICATION.inputs))
    busy, score = answer.outputs[:2]
    assert list(busy.contents.bool_contents) == [False, False, False, True]
    assert list(score.contents.fp64_contents) == [1.0, 0.75, 0.5, 0.75]


def everything(count: int) -> list[dict[str, Any]]:
    """Return rows in which everything that can be there is, and is missing."""
    full: list[dict[str, Any]] = [
        {
            "temp": at / 3 - 1,
            "hour": at * 2**40 - 2**62,
            "sky": ("", "größer", "a\nb")[at % 3],
            "holiday": at % 2 == 0,
            "seen": f"2026-01-31T12:00:{at % 60:02}+02:00",
        }
        for at in range(count)
    ]
    for at, row in enumerate(full):
        row.update({name: None for place, name in enumerate(row) if (at + place) % 4 == 0})
    return full


@pytest.mark.parametrize("count", [1, 4, 45])
def test_the_same_rows_get_the_same_answers_as_over_http(shop: Shop, count: int) -> None:
    shop.release(shop.add(Reader(), EVERYTHING))
    asked = everything(count)
    inputs = EVERYTHING.inputs
    columns = [
        {
            "name": field.name,
            "shape": [count],
            "datatype": DATATYPES[field.kind],
            "data": [row[field.name] for row in asked],
        }
        for field in inputs
    ]
    with Rpc(shop) as running:
        url = f"{running.http.url}/v2/models/{ENDPOINT}/infer"
        expected = httpx.post(url, json={"inputs": columns}).json()["outputs"][0]["data"]
        from_typed = running.infer(typed(asked, inputs)).outputs[0].contents.fp64_contents
        from_raw = running.infer(raw(asked, inputs)).raw_output_contents[0]
        plain = httpx.post(f"{running.http.url}/predict/{ENDPOINT}", json=asked).json()
    assert [item["prediction"] for item in plain["predictions"]] == expected
    assert list(from_typed) == expected
    assert from_raw == struct.pack(f"<{count}d", *expected)
    assert len(set(expected)) == count
    logged = shop.logged()
    read = logged.select(f"in.{field.name}" for field in inputs)
    assert all(read[at : at + count].equals(read[:count]) for at in range(0, 4 * count, count))


@pytest.mark.parametrize("count", [2, 40])
@pytest.mark.parametrize(
    ("datatype", "dtype"),
    [
        (f"{sign}INT{bits}", f"{sign[:1].lower() or ''}int{bits}")
        for sign in ("", "U")
        for bits in (8, 16, 32, 64)
    ]
    + [("FP16", "float16"), ("FP32", "float32"), ("FP64", "float64")],
)
def test_numbers_of_every_datatype_are_read(datatype: str, dtype: str, count: int) -> None:
    number = Field(name="n", kind=Kind.NUMBER)
    signature = Signature(inputs=(number,), output=number, task="regression")
    values = np.arange(count).astype(dtype)
    request = message("ModelInferRequest")()
    request.inputs.add(name="n", datatype=datatype, shape=[count])
    request.raw_input_contents.append(values.tobytes())
    frame = decode_request(request, signature, max_rows=100).rows.frame
    assert frame["n"].to_list() == [float(at) for at in range(count)]


NUMBERS = st.floats(allow_nan=True, allow_infinity=False)


@given(st.lists(NUMBERS, min_size=1, max_size=60), st.booleans())
def test_any_numbers_are_what_they_were_and_nan_is_nothing(
    values: list[float], as_bytes: bool
) -> None:
    number = Field(name="n", kind=Kind.NUMBER, nullable=True)
    signature = Signature(inputs=(number,), output=number, task="regression")
    request = message("ModelInferRequest")()
    tensor = request.inputs.add(name="n", datatype="FP64", shape=[len(values), 1])
    if as_bytes:
        request.raw_input_contents.append(np.array(values).tobytes())
    else:
        tensor.contents.fp64_contents.extend(values)
    found = decode_request(request, signature, max_rows=100).rows.frame["n"].to_list()
    assert found == [None if value != value else value for value in values]


@given(st.binary(max_size=200), st.integers(-5, 60))
def test_bytes_that_are_no_texts_are_refused_and_break_nothing(content: bytes, count: int) -> None:
    text = Field(name="t", kind=Kind.TEXT)
    signature = Signature(inputs=(text,), output=text, task="regression")
    request = message("ModelInferRequest")()
    request.inputs.add(name="t", datatype="BYTES", shape=[count])
    request.raw_input_contents.append(content)
    refused = False
    try:
        assert decode_request(request, signature, max_rows=100).rows.frame.height == count
    except RowsInvalid:
        refused = True
    assert refused or len(content) >= 4 * count > 0


def changed(request: Any, change: Callable[[Any], Any]) -> Any:
    change(request)
    return request


def _raw(at: int, content: bytes) -> Callable[[Any], Any]:
    return lambda request: request.raw_input_contents.__setitem__(at, content)


def _tensor(at: int, **values: Any) -> Callable[[Any], Any]:
    def change(request: Any) -> None:
        for name, value in values.items():
            if name == "shape":
                request.inputs[at].shape[:] = value
            else:
                setattr(request.inputs[at], name, value)

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_raw(0, b"1234567"), "inputs.temp: found 7 bytes; send 16 in raw_input_contents[0]"),
        (_raw(2, b"\x09\0\0\0rain"), "inputs.sky: found 8 bytes that break off or go on"),
        (_raw(2, b"\xff\xff\xff\xff"), "inputs.sky: found 4 bytes that break off or go on"),
        (_raw(2, b"\1\0\0\0a\1\0\0\0\xff"), r"inputs.sky.data[1]: found b'\xff'; write a text"),
        (_raw(3, b"\1\7"), "inputs.holiday.data[1]: found 7; write true or false"),
        (_raw(0, struct.pack("<2d", 1, np.nan)), "inputs.temp.data[1]: found nan; write a fin"),
        (_raw(0, struct.pack("<2d", -np.inf, 1)), "inputs.temp.data[0]: found -inf; write a fin"),
        (_tensor(1, shape=[3]), "inputs.hour.shape: found [3]; write [2] or [2, 1]"),
        (_tensor(1, shape=[]), "inputs.hour.shape: found []; write [2] or [2, 1]"),
        (_tensor(1, shape=[2, 2]), "inputs.hour.shape: found [2, 2]; write [2] or [2, 1]"),
        (_tensor(0, shape=[1] * 9), "inputs.temp.shape: found [1, 1, 1, 1, 1, 1, 1, 1, 1]; write"),
        (_tensor(0, shape=[-2]), "the request has no rows"),
        (_tensor(0, shape=[0]), "the request has no rows"),
        (_tensor(1, datatype="FP64"), "inputs.hour.datatype: found 'FP64'; use INT16"),
        (_tensor(1, datatype="WORDS"), "inputs.hour.datatype: found 'WORDS'; use INT16"),
        (_tensor(1, name="wind"), "inputs.wind: found an unknown input; use temp, hour"),
        (_tensor(1, name="wind"), "inputs.hour: found nothing; give every input"),
        (_tensor(1, name="temp"), "inputs[1]: found 'temp' again; give every input once"),
        (lambda r: r.raw_input_contents.pop(), "raw_input_contents: found 3 of them; send one"),
        (lambda r: r.inputs[0].contents.fp64_contents.append(1), "inputs.temp.contents: found"),
        (lambda r: r.outputs.add(name="x"), "outputs[0].name: found 'x'; use cnt"),
        (lambda r: r.ClearField("inputs"), "inputs: found nothing; send a tensor for each"),
    ],
)
def test_what_does_not_fit_is_told_by_column_and_row(rpc: Rpc, change: Any, told: str) -> None:
    code, details = rpc.refusal(changed(raw([GOOD, GOOD]), change))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert told in details
    assert rpc.infer(raw([GOOD, GOOD])).outputs


@pytest.mark.parametrize(
    ("parameter", "value", "told"),
    [
        ("keys", "ann", "parameters.keys: found 'ann'; write a list in JSON"),
        ("keys", '["a", "b"]', "keys: found ['a', 'b']; write a list of 1"),
        ("times", '["noon"]', "times[0]: found 'noon'; write a time"),
        ("nulls", "[1]", "parameters.nulls: found '[1]'; write an object in JSON"),
        ("nulls", '{"wind": [0]}', "parameters.nulls.wind: found an unknown input"),
        ("nulls", '{"sky": [1]}', "parameters.nulls.sky: found [1]; write a list of rows, 0 to 0"),
        ("nulls", '{"temp": [0]}', "inputs.temp.data[0]: found null; write a number"),
    ],
)
def test_parameters_are_checked(rpc: Rpc, parameter: str, value: str, told: str) -> None:
    request = typed([GOOD])
    request.parameters.add(key=parameter).value.string_param = value
    request.parameters.add(key="priority").value.int64_param = 3
    code, details = rpc.refusal(request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert told in details


def test_typed_contents_that_do_not_fit_are_told(rpc: Rpc) -> None:
    request = typed([GOOD, GOOD])
    request.inputs[0].datatype = "FP16"
    request.inputs[1].contents.int64_contents.append(1)
    request.inputs[3].datatype = "BYTES"
    request.inputs[2].contents.bytes_contents[0] = b"\xff"
    code, details = rpc.refusal(request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "send FP16 in raw_input_contents" in details
    assert "inputs.hour.contents.int64_contents: found 3 values; send 2" in details
    assert "inputs.holiday.datatype: found 'BYTES'; use BOOL" in details
    assert "inputs.sky.data[0]: found b'\\xff'" in details


def test_a_hundred_problems_fit_into_what_a_client_reads(rpc: Rpc) -> None:
    request = typed([GOOD])
    for at in range(150):
        request.inputs.add(name=f"größer {at} " + "x" * 300, datatype="FP64", shape=[1])
    code, details = rpc.refusal(request)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "an unknown input" in details or "..." in details
    assert "more" in details
    assert details.endswith("lists the inputs.")


def test_who_and_what_is_not_there(rpc: Rpc) -> None:
    request = typed([GOOD])
    request.model_name = "bikes"
    code, details = rpc.refusal(request)
    assert code is grpc.StatusCode.NOT_FOUND
    assert details == "no endpoint 'bikes'\nThis server has: bike, churn."
    request.model_name = "churn"
    code, details = rpc.refusal(request)
    assert code is grpc.StatusCode.UNAVAILABLE
    assert "has no model to answer with" in details
    code, _ = rpc.refusal(typed([GOOD], model_version="2"))
    assert code is grpc.StatusCode.NOT_FOUND
    assert rpc.infer(typed([GOOD], model_version="1")).model_version == "1"
    for method in ("ModelReady", "ModelMetadata"):
        code, _ = rpc.refusal(message(f"{method}Request")(name="bikes"), method)
        assert code is grpc.StatusCode.NOT_FOUND
    code, _ = rpc.refusal(message("ModelMetadataRequest")(name="churn"), "ModelMetadata")
    assert code is grpc.StatusCode.UNAVAILABLE
    with pytest.raises(grpc.RpcError) as caught:
        rpc.channel.unary_unary(f"/{SERVICE}/ModelUnload")(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("body", [b"\xff" * 20, b"\x0a\xff", b"\x0a\x02\xff\xfe", b"{}"])
def test_a_message_that_is_none_is_refused(rpc: Rpc, body: bytes) -> None:
    code, details = rpc.refusal(body)
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "the message is no ModelInferRequest" in details


def test_a_call_without_a_message_is_refused(rpc: Rpc) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        rpc.channel.stream_unary(f"/{SERVICE}/ModelInfer")(iter(()), timeout=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "has no message" in caught.value.details()


def test_what_is_too_large_is_refused(rpc: Rpc) -> None:
    for request in (typed([GOOD] * 51), changed(raw([GOOD]), _tensor(0, shape=[10**15]))):
        code, details = rpc.refusal(request)
        assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "one request may have 50" in details
    code, _ = rpc.refusal(changed(raw([GOOD]), _raw(0, bytes(2_000_000))))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    with pytest.raises(grpc.RpcError) as caught:
        rpc.channel.unary_unary(f"/{SERVICE}/ModelInfer")(
            changed(raw([GOOD]), _raw(0, bytes(50_000_000))).SerializeToString(),
            timeout=5,
            compression=grpc.Compression.Gzip,
        )
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rpc.infer(raw([GOOD])).outputs


def test_a_model_that_raises_is_told_and_the_server_goes_on(shop: Shop) -> None:
    shop.release(shop.add(Broken(0.0)))
    with Rpc(shop) as running:
        code, details = running.refusal(typed([GOOD]))
        assert code is grpc.StatusCode.INTERNAL
        assert Boom.__name__ in details
        assert running.client.is_server_live()


def test_past_the_bound_calls_are_refused_at_once_with_the_hint_of_http(shop: Shop) -> None:
    shop.release(shop.add(Slow(4.5)))
    late = typed([{**GOOD, "hour": 7}])
    with Rpc(shop) as running, ThreadPoolExecutor(2) as pool:
        busy = [pool.submit(running.infer, late) for _ in range(2)]
        _wait(lambda: running.server.work.inside == 2)
        started = time.monotonic()
        with pytest.raises(grpc.RpcError) as caught:
            running.infer(typed([GOOD]))
        assert time.monotonic() - started < 0.4
        error: Any = caught.value
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert error.details().startswith("2 requests are being answered already\nSend it again")
        trailing = dict(error.trailing_metadata())
        assert trailing["everfit-code"] == "endpoint-full"
        assert trailing["grpc-retry-pushback-ms"] == "1000"
        # Who asks how the server is gets an answer all the same.
        assert running.client.is_server_live()
        assert running.client.is_model_ready(ENDPOINT)
        assert all(done.result().outputs for done in busy)
        assert running.infer(typed([GOOD])).outputs


def test_what_nobody_waits_for_is_not_computed(shop: Shop) -> None:
    shop.release(shop.add(Slow(4.5)))
    bounds = Bounds(in_flight=8, threads=1)
    with Rpc(shop, bounds) as running, ThreadPoolExecutor(1) as pool:
        busy = pool.submit(running.infer, typed([{**GOOD, "hour": 7}], id="slow"))
        _wait(lambda: running.server.work.inside == 1)
        code, _ = running.refusal(typed([GOOD]), timeout=0.1)
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        asking = running.channel.unary_unary(f"/{SERVICE}/ModelInfer").future(
            typed([GOOD]).SerializeToString()
        )
        _wait(lambda: running.server.work.inside == 2)
        asking.cancel()
        assert busy.result().outputs
        _wait(lambda: running.server.work.inside == 0)
        running.http.refresh()
    assert shop.logged().height == 1
    assert shop.logged("requests")["status"].to_list() == [504, 200]


def test_a_call_may_say_in_its_message_how_long_its_answer_is_worth_having(shop: Shop) -> None:
    shop.release(shop.add(Slow(4.5)))
    bounds = Bounds(in_flight=8, threads=1)
    with Rpc(shop, bounds) as running, ThreadPoolExecutor(1) as pool:
        busy = pool.submit(running.infer, typed([{**GOOD, "hour": 7}]))
        _wait(lambda: running.http.in_flight == 1)
        request = typed([GOOD])
        request.parameters.add(key="timeout").value.int64_param = 100_000
        started = time.monotonic()
        code, details = running.refusal(request)
        assert time.monotonic() - started < 0.4
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "the time in which the answer was wanted is over" in details
        assert busy.result().outputs
        request.parameters[0].value.int64_param = -5
        code, details = running.refusal(request)
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "parameters.timeout" in details


def test_places_at_an_endpoint_are_shared_with_http_and_by_clients(shop: Shop) -> None:
    shop.release(shop.add(Slow(4.5)))
    late, bounds = typed([{**GOOD, "hour": 7}]), Bounds(in_flight=4, crowd=4, threads=8)
    with Rpc(shop, bounds) as running, ThreadPoolExecutor(4) as pool:
        url = f"{running.http.url}/predict/{ENDPOINT}"
        hog = [
            pool.submit(httpx.post, url, json={**GOOD, "hour": 7}, headers={"X-Client-Key": "hog"})
            for _ in range(3)
        ]
        _wait(lambda: running.http.in_flight == 3)
        asking = running.channel.unary_unary(f"/{SERVICE}/ModelInfer")
        one = asking.future(late.SerializeToString(), metadata=(("x-client-key", "other"),))
        _wait(lambda: running.http.in_flight == 4)
        code, _ = running.refusal(late)
        assert code is grpc.StatusCode.UNAVAILABLE
        assert httpx.post(url, json=GOOD).status_code == 503
        assert [done.result().status_code for done in hog] == [200] * 3
        assert one.result()


def test_who_sends_slowly_loses_its_place_to_others(shop: Shop) -> None:
    shop.release(shop.add(Constant(4.5)))
    with Rpc(shop, read_seconds=0.2) as running:
        hanging = threading.Event()

        def nothing_yet() -> Iterator[bytes]:
            hanging.wait(20)
            yield b""

        ask = running.channel.stream_unary(f"/{SERVICE}/ModelInfer")
        slow = [ask.future(nothing_yet()) for _ in range(2)]
        _wait(lambda: running.server.work.inside == 2)
        time.sleep(0.3)
        code, _ = running.refusal(typed([GOOD]))
        assert code is grpc.StatusCode.UNAVAILABLE
        _wait(lambda: running.server.work.inside == 0)
        assert running.infer(typed([GOOD])).outputs
        hanging.set()
        assert [call.code() for call in slow] == [grpc.StatusCode.CANCELLED] * 2


def test_many_ask_at_once_and_each_gets_its_own_answer(shop: Shop) -> None:
    shop.release(shop.add(Reader(), EVERYTHING))
    asked = everything(40)

    def ask(at: int) -> bytes:
        answer = running.infer(raw([asked[at % 40]], EVERYTHING.inputs, id=str(at)))
        assert answer.id == str(at)
        return bytes(answer.raw_output_contents[0])

    with Rpc(shop, WIDE) as running, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(160)))
    assert found[:40] == found[40:80] == found[120:]
    assert len(set(found[:40])) == 40
    assert shop.logged()["id"].n_unique() == 160


def test_calls_are_counted_with_those_over_http(shop: Shop, rpc: Rpc) -> None:
    rpc.infer(typed([GOOD, GOOD]))
    rpc.refusal(typed([GOOD], model_version="9"))
    text = httpx.get(f"{rpc.http.url}/metrics").text
    assert 'everfit_requests_total{endpoint="bike",status="200"} 1' in text
    assert 'everfit_requests_total{endpoint="bike",status="404"} 1' in text
    assert 'everfit_predictions_total{endpoint="bike",version="1",arm="champion"} 2' in text


def test_what_is_being_answered_at_the_end_is_finished(shop: Shop) -> None:
    shop.release(shop.add(Slow(4.5)))
    with ThreadPoolExecutor(1) as pool, Rpc(shop) as running:
        busy = pool.submit(running.infer, typed([{**GOOD, "hour": 7}]))
        _wait(lambda: running.server.work.inside == 1)
        running.server.close()
        assert busy.result().outputs
        code, _ = running.refusal(typed([GOOD]))
    assert code is grpc.StatusCode.UNAVAILABLE


def test_a_bad_address_is_told(shop: Shop) -> None:
    with pytest.raises(Refused, match="other machines"):
        RpcServer(shop.workspace, {}, SMALL, host="10.1.1.1")
    with pytest.raises(Invalid, match="is no port") as caught:
        RpcServer(shop.workspace, {}, SMALL, port=70_000)
    assert "--grpc-port" in caught.value.hint
    with listen("127.0.0.1", 0) as taken, pytest.raises(Conflict, match="in use") as busy:
        RpcServer(shop.workspace, {}, SMALL, port=taken.getsockname()[1])
    assert "--grpc-port" in busy.value.hint


def _wait(until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not until():
        assert time.monotonic() < deadline
        time.sleep(0.005)
