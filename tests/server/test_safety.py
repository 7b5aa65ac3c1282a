"""What a careless or hostile caller sends: refused in MLflow's words, and nothing else happens."""

from __future__ import annotations

import base64
import http.client
import json
import math
import types
from typing import Any, Union, get_args, get_origin
from urllib.parse import quote, urlencode

import msgspec
import pytest
from tests.server.conftest import API, MOST_ARTIFACT, MOST_BODY, Answer, Site

from everfit.mlflow_api import ROUTES

TREE = "/api/2.0/mlflow-artifacts/artifacts"
PARTS = "/api/2.0/mlflow-artifacts/mpu"
NOT_THERE = ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "ENDPOINT_NOT_FOUND")

# As they stand in a URL.
CLIMBING = [
    "..",
    "../x",
    "0/..",
    "0/../../../etc/passwd",
    "0/./x",
    "%2e%2e/%2e%2e/etc/passwd",
    "0/%2E%2e/x",
    "0%2f..%2f..%2fetc%2fpasswd",
    "%252e%252e/x",
    "0/%25252e%25252e%25252fx",
    "0/..%5c..%5cwindows",
    "0%5cx",
    "0%255cx",
    "%2fetc%2fpasswd",
    "/etc/passwd",
    "%252fetc%252fpasswd",
    "C:/windows",
    "c%3a%5cwindows",
    "c%253a/windows",
    "0//x",
    "0/x%00.txt",
    "0/x%2500.txt",
    "x" * 1_001,
    "0/" + "x/" * 600 + "x",
]


@pytest.mark.parametrize("path", CLIMBING)
def test_no_path_leads_out_of_the_tree_of_artifacts(site: Site, path: str) -> None:
    run = site.run()
    before = site.rows()
    answers = [
        site.ask("PUT", f"{TREE}/{path}", b"content"),
        site.ask("GET", f"{TREE}/{path}"),
        site.ask("DELETE", f"{TREE}/{path}"),
        site.ask("POST", f"{PARTS}/create/{path}", {"path": "x", "num_parts": 1}),
        site.ask("POST", f"{PARTS}/complete/{path}", {"upload_id": "u", "parts": part(site)}),
        site.ask("GET", f"/get-artifact?run_id={run}&path={path}"),
        site.ask("POST", f"/ajax-api/2.0/mlflow/upload-artifact?run_uuid={run}&path={path}", b"x"),
        site.ask("GET", f"{TREE}?path={path}"),
        site.ask("GET", f"{API}/artifacts/list?run_id={run}&path={path}"),
    ]
    assert [answer.code for answer in answers if answer.code not in NOT_THERE] == []
    assert site.rows() == before


def part(site: Site) -> list[dict[str, Any]]:
    uploaded = site.ask("PUT", f"{PARTS}/part/1", b"content")
    return [{"part_number": 1, "etag": uploaded.headers["etag"]}]


@pytest.mark.parametrize("name", ["..", "..\\x\\..", "a/..", "c:", "%2e%2e", "", "x" * 1_001])
def test_no_local_name_of_a_client_leads_out_of_the_tree(site: Site, name: str) -> None:
    body = {"path": name, "upload_id": "u", "parts": part(site)}
    answer = site.ask("POST", f"{PARTS}/complete/0/run/artifacts", body)
    assert answer.code == "INVALID_PARAMETER_VALUE"
    assert site.rows()["tracking_artifacts"] == []


@pytest.mark.parametrize("etag", ["", "..", "../../../../etc/passwd", "a" * 64, "A" * 64, "\0"])
def test_a_part_is_named_by_a_digest_that_is_here(site: Site, etag: str) -> None:
    body = {"path": "x", "upload_id": "u", "parts": [{"part_number": 1, "etag": etag}]}
    answer = site.ask("POST", f"{PARTS}/complete/0/run/artifacts", body)
    assert answer.code in NOT_THERE
    assert site.rows()["tracking_artifacts"] == []


def test_a_query_that_is_no_text_is_refused(site: Site) -> None:
    for path in (
        "/get-artifact?run_id=%ff",
        f"{API}/runs/get?run_id=%ed%a0%80",
        f"{TREE}?path=%ff",
    ):
        assert site.ask("GET", path).code == "INVALID_PARAMETER_VALUE"


def test_odd_but_harmless_names_are_kept(site: Site) -> None:
    names = [
        "a b+ü%.bin",
        "100%25",
        "…/x",
        "..a/b..",
        ".hidden",
        "ab:c",
        "-rf",
        "x" * 900,
        "\n",
        '"',
    ]
    for name in names:
        content = name.encode()
        assert site.ask("PUT", f"{TREE}/0/{quote(name)}", content).status == 200
        found = site.ask("GET", f"{TREE}/0/{quote(name)}")
        assert (found.status, found.body) == (200, content)
        assert "\n" not in found.headers["content-disposition"]


def test_what_a_run_gives_away_is_its_own(site: Site) -> None:
    one, other = site.run(), site.run()
    assert site.ask("PUT", f"{TREE}/0/{other}/artifacts/secret", b"secret").status == 200
    for path in (f"../../{other}/artifacts/secret", f"/0/{other}/artifacts/secret", "secret"):
        answer = site.ask("GET", f"/get-artifact?{urlencode({'run_id': one, 'path': path})}")
        assert answer.code in NOT_THERE
    for run in ("", "..", f"../{other}", f"{one}/../{other}", "0"):
        answer = site.ask("GET", f"/get-artifact?{urlencode({'run_id': run, 'path': 'secret'})}")
        assert answer.code in NOT_THERE


SOURCES = [
    "/etc/passwd",
    "file:///etc/passwd",
    "FILE:///etc",
    "file:relative",
    "file%3a///etc",
    "..",
    "C:\\windows",
    "\\\\server\\share",
    "mlflow-artifacts:/0/../../etc",
    "mlflow-artifacts:/%2e%2e/etc",
    "mlflow-artifacts:/0/%252e%252e/etc",
    "mlflow-artifacts:/",
    "mlflow-artifacts:/0",
    "s3://bucket/../other",
    "s3://bucket/%2e%2e/other",
    "http://host/a/..%2fb",
    "http://host/a\r\nHost: b",
    "runs:/../x",
    "models:/../x",
    "models:/name/../1",
    "x" * 6_000,
    "",
]


@pytest.mark.parametrize("source", SOURCES)
def test_a_version_is_of_files_that_its_run_made(site: Site, source: str) -> None:
    site.post("/registered-models/create", {"name": "bikes"})
    before = site.rows()
    body = {"name": "bikes", "source": source, "run_id": site.run()}
    answer = site.ask("POST", f"{API}/model-versions/create", body)
    assert answer.code in NOT_THERE
    assert site.rows()["registry_versions"] == before["registry_versions"] == []


@pytest.mark.parametrize("path", [f"{API}/runs/log-batch", f"{API}/logged-models", "/v1/traces"])
def test_a_body_that_is_too_large_is_not_read(site: Site, path: str) -> None:
    with site.connected() as caller:
        # Of what it announces not a byte is sent: the answer does not wait for it.
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {MOST_BODY + 1}\r\n\r\n"
        caller.sendall(head.encode())
        check_too_large(received(caller))
    assert site.ask("GET", "/health").body == b"OK"


@pytest.mark.parametrize(
    ("method", "path", "most"),
    [("POST", f"{API}/runs/log-batch", MOST_BODY), ("PUT", f"{TREE}/0/x", MOST_ARTIFACT)],
)
def test_a_body_that_grows_too_large_is_cut_off(
    site: Site, method: str, path: str, most: int
) -> None:
    with site.connected() as caller:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        caller.sendall(head.encode())
        chunk = b"%x\r\n%b\r\n" % (100_000, b" " * 100_000)
        for _ in range(2 * most // 100_000):
            caller.sendall(chunk)
        caller.sendall(b"0\r\n\r\n")
        check_too_large(received(caller))
    assert site.rows()["tracking_artifacts"] == []
    assert [file for file in site.workspace.home.rglob("blobs/**/*") if file.is_file()] == []


def received(caller: Any) -> Answer:
    """Return the answer on a bare socket."""
    reply = http.client.HTTPResponse(caller)
    reply.begin()
    headers = {name.lower(): value for name, value in reply.getheaders()}
    return Answer(reply.status, reply.read(), headers)


def check_too_large(answer: Answer) -> None:
    assert (answer.status, answer.code) == (413, "INVALID_PARAMETER_VALUE")
    assert answer.headers["connection"] == "close"


def test_a_request_that_is_cut_short_leaves_nothing(site: Site) -> None:
    run = site.run()
    before = site.rows()
    body = json.dumps({"run_id": run, "key": "k", "value": 1.0, "timestamp": 1})
    whole = (
        f"POST {API}/runs/log-metric HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
    upload = f"PUT {TREE}/0/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf".encode()
    for sent in (*(whole[:end] for end in range(1, len(whole), 7)), upload):
        with site.connected() as caller:
            caller.sendall(sent)
    assert site.ask("GET", "/health").status == 200
    assert site.rows() == before


@pytest.mark.parametrize(
    "head",
    [
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: -1",
        "Content-Length: x",
        "Content-Length: 2\r\nTransfer-Encoding: chunked",
    ],
)
def test_a_request_that_can_be_read_in_two_ways_is_not_answered_in_either(
    site: Site, head: str
) -> None:
    before = site.rows()
    with site.connected() as caller:
        request = f"POST {API}/experiments/create HTTP/1.1\r\nHost: localhost\r\n{head}\r\n\r\n"
        caller.sendall(request.encode() + b'{"name":"smuggled"}')
        caller.shutdown(1)
        answer = received(caller)
    assert answer.status == 400
    assert site.rows() == before


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil@localhost", ""])
def test_a_foreign_name_is_not_answered_to(site: Site, host: str) -> None:
    answer = site.ask("POST", f"{API}/experiments/create", {"name": "x"}, {"Host": host})
    assert (answer.status, answer.code) == (403, "PERMISSION_DENIED")
    assert site.ask("GET", "/health", headers={"Host": "localhost:80"}).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("POST", "/health"),
        ("PUT", f"{API}/runs/get"),
        ("GET", f"{API}/runs/create"),
        ("OPTIONS", f"{API}/runs/get"),
        ("POST", f"{API}/runs/no-such-call"),
        ("GET", "/%ff"),
        ("GET", f"{TREE}/%ff"),
        ("GET", "/" + "x" * 60_000),
        ("POST", "/api/3.0/mlflow/traces/tr-1/assessments"),
    ],
)
def test_what_is_not_there_says_so_in_mlflows_words(site: Site, method: str, path: str) -> None:
    answer = site.ask(method, path)
    assert (answer.status, answer.code) == (404, "ENDPOINT_NOT_FOUND")


def test_head_is_get_without_the_body(site: Site) -> None:
    site.ask("PUT", f"{TREE}/0/x", b"content")
    run = site.run()
    for path in ("/health", f"{API}/runs/get?run_id={run}", f"{TREE}/0/x"):
        head, get = site.ask("HEAD", path), site.ask("GET", path)
        assert (head.status, head.body) == (get.status, b"")
        assert head.headers["content-length"] == get.headers["content-length"]
    assert site.ask("HEAD", "/nope").status == 404


DEEP = b"[" * 100_000
BODIES = [
    b"",
    b"null",
    b"[]",
    b'"x"',
    b"1",
    b"{",
    b"{}}",
    b"\xff\xfe{}",
    b'{"run_id":"\xff"}',
    b'{"run_id":"\\ud800"}',
    b'{"run_id":"\\u0000"}',
    DEEP,
    b'{"run_id":' + DEEP,
    b'{"unknown":' + DEEP,
    b'{"a":' * 100_000,
]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:20]))
def test_a_body_that_is_no_message_is_refused(site: Site, body: bytes) -> None:
    before = site.rows()
    for path in ("/runs/log-batch", "/runs/log-model", "/logged-models/m-1/params"):
        assert site.ask("POST", f"{API}{path}", body).code in NOT_THERE
    if body:
        assert site.ask("POST", f"{PARTS}/create/0/x", body).code == "INVALID_PARAMETER_VALUE"
    assert site.rows() == before


def test_json_within_json_has_bounds_too(site: Site) -> None:
    run = site.run()
    deep = DEEP.decode()
    answer = site.ask("POST", f"{API}/runs/log-model", {"run_id": run, "model_json": deep})
    assert answer.code == "INVALID_PARAMETER_VALUE"
    tag = {"run_id": run, "key": "mlflow.log-model.history", "value": deep[:8_000]}
    site.post("/runs/set-tag", tag)
    model = {"artifact_path": "a", "flavors": {}, "utc_time_created": "x", "run_id": run}
    body = {"run_id": run, "model_json": json.dumps(model)}
    assert site.ask("POST", f"{API}/runs/log-model", body).code == "INVALID_PARAMETER_VALUE"


TOKENS = [
    "x",
    "ü",
    "=",
    "a" * 5,
    *(
        base64.urlsafe_b64encode(place.encode()).decode()
        for place in (
            "",
            "{}",
            "\xff",
            '{"offset":-1}',
            '{"offset":1e30}',
            f'{{"offset":{10**30}}}',
            '{"offset":"1; DROP TABLE tracking_runs"}',
            f'{{"after":[{2**63},1,1.0,1]}}',
            f'{{"after":[1,1,1.0,{-(10**30)}]}}',
            '{"after":[1,1,1e400,1]}',
            '{"offset":0,"search":"x"}',
            "[" * 30_000,
        )
    ),
]


def test_a_page_token_that_nobody_gave_leads_nowhere(any_site: Site) -> None:
    run = any_site.run()
    metric = {"run_id": run, "key": "k", "value": 1, "timestamp": 1}
    any_site.post("/runs/log-metric", metric)
    for token in TOKENS:
        answers = pages(any_site, run, token)
        # "{}" is the place of the first page of some searches.
        assert {answer.status for answer in answers} <= {200, 400}, token


def pages(any_site: Site, run: str, token: str) -> list[Answer]:
    body = {"experiment_ids": ["0"], "max_results": 5, "page_token": token}
    answers = [
        any_site.ask("POST", f"{API}/{what}/search", body)
        for what in ("runs", "experiments", "logged-models")
    ]
    query = urlencode({"run_id": run, "metric_key": "k", "max_results": 5, "page_token": token})
    return [*answers, any_site.ask("GET", f"{API}/metrics/get-history?{query}")]


NUMBERS = {
    "NaN": math.nan,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
    '"NaN"': math.nan,
    '"Infinity"': math.inf,
    '"-Infinity"': -math.inf,
    "1e308": 1e308,
    "-0.0": -0.0,
    '"1.5"': 1.5,
}


def test_every_way_to_write_a_metric_is_understood(any_site: Site) -> None:
    for text, number in NUMBERS.items():
        run = any_site.run()
        point = f'{{"key":"NaN","value":{text},"timestamp":2}}'
        for path, body in (
            ("log-metric", f'"key":"k","value":{text},"timestamp":1'),
            # The words in a text are a text.
            ("log-batch", f'"metrics":[{point}],"tags":[{{"key":"NaN","value":"-NaN"}}]'),
        ):
            sent = f'{{"run_id":"{run}",{body}}}'.encode()
            assert any_site.ask("POST", f"{API}/runs/{path}", sent).json == {}
        data = any_site.ask("GET", f"{API}/runs/get?run_id={run}").json["run"]["data"]
        # SQLite keeps no sign of zero.
        values = {metric["key"]: str(float(metric["value"]) + 0.0) for metric in data["metrics"]}
        assert values == {"k": str(number + 0.0), "NaN": str(number + 0.0)}
        assert {"key": "NaN", "value": "-NaN"} in data["tags"]


@pytest.mark.parametrize("text", ["1e999", "nan()", '"x"', "null", "[]", "NaNN", "+1", "0x1", "++"])
def test_what_is_no_number_is_no_metric(site: Site, text: str) -> None:
    body = f'{{"run_id":"{site.run()}","key":"k","value":{text},"timestamp":1}}'
    answer = site.ask("POST", f"{API}/runs/log-metric", body.encode())
    assert answer.code == "INVALID_PARAMETER_VALUE"


def test_ten_thousand_tags_at_once_are_kept(any_site: Site) -> None:
    tags = [{"key": f"t{number}", "value": "x"} for number in range(10_000)]
    run = any_site.post("/runs/create", {"experiment_id": "0", "tags": tags})["run"]["info"]
    any_site.post("/experiments/create", {"name": "e", "tags": tags})
    any_site.post("/registered-models/create", {"name": "m", "tags": tags})
    body = {"experiment_id": "0", "name": "l", "tags": tags, "params": tags}
    any_site.post("/logged-models", body)
    search = {"experiment_ids": ["0"], "filter": "tags.t9999 = 'x'"}
    (found,) = any_site.post("/runs/search", search)["runs"]
    assert found["info"]["run_id"] == run["run_id"]
    assert len(found["data"]["tags"]) == 10_001


LIMITS: list[tuple[str, str, int, dict[str, Any]]] = [
    ("/runs/log-metric", "key", 250, {"value": 1, "timestamp": 1}),
    ("/runs/log-parameter", "key", 250, {"value": "x"}),
    ("/runs/log-parameter", "value", 6_000, {"key": "k"}),
    ("/runs/set-tag", "key", 250, {"value": "x"}),
    ("/runs/set-tag", "value", 8_000, {"key": "k"}),
    ("/experiments/create", "name", 500, {}),
    ("/experiments/set-experiment-tag", "key", 250, {"experiment_id": "0", "value": "x"}),
    ("/experiments/set-experiment-tag", "value", 20_000, {"experiment_id": "0", "key": "k"}),
]


def test_a_text_may_be_as_long_as_it_may_and_no_longer(any_site: Site) -> None:
    for path, name, most, others in LIMITS:
        known = {"run_id": any_site.run(), **others}
        any_site.post(path, {**known, name: "é" * most})
        before = any_site.rows()
        answer = any_site.ask("POST", f"{API}{path}", {**known, name: "é" * (most + 1)})
        assert answer.code == "INVALID_PARAMETER_VALUE", path
        assert any_site.rows() == before


def test_a_search_by_many_keys_is_refused_before_the_database_breaks(any_site: Site) -> None:
    # Before SQLite 3.41 an order of 64 terms over joins ends the process.
    any_site.run()
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    runs, models = f"{API}/runs/search", f"{API}/logged-models/search"
    many: list[tuple[str, str, list[Any], dict[str, Any]]] = [
        (runs, "order_by", [f"metrics.m{n}" for n in range(60)], {}),
        (runs, "order_by", [f"tags.t{n}" for n in range(60)], {}),
        (models, "order_by", [{"field_name": f"metrics.m{n}"} for n in range(60)], {}),
        (models, "datasets", [{"dataset_name": f"d{n}"} for n in range(3_000)], {}),
        (
            "/api/3.0/mlflow/traces/search",
            "order_by",
            [f"tag.t{n}" for n in range(60)],
            {"locations": [place]},
        ),
    ]
    for path, name, values, others in many:
        body = {"experiment_ids": ["0"], **others}
        answer = any_site.ask("POST", path, {**body, name: values})
        assert answer.code == "INVALID_PARAMETER_VALUE"
        assert any_site.ask("POST", path, {**body, name: values[:20]}).status == 200


def test_the_largest_search_is_answered(any_site: Site) -> None:
    any_site.run()
    ids = [str(number) for number in range(10_000)]
    listed = ", ".join(f"'{one}'" for one in ids)
    clauses = [f"run_id IN ({listed})", *(f"metrics.m{n} > 1" for n in range(99))]
    body = {"experiment_ids": ids, "filter": " AND ".join(clauses)}
    assert any_site.post("/runs/search", body) == {"runs": []}


WRONG: list[Any] = [
    None,
    True,
    -1,
    1.5,
    2**31,
    2**63,
    -(2**63) - 1,
    10**30,
    1e308,
    "",
    "x" * 20_000,
    "NaN",
    "\0",
    "../..",
    "'\"`%_\\",
    "💥",
    [],
    [None],
    [[]],
    ["x"],
    {},
    {"key": None},
    [{}],
    [{"key": "a"}],
]


def fields_of(kind: type[Any]) -> dict[str, Any]:
    return {field.encode_name: field.type for field in msgspec.structs.fields(kind)}


def plausible(name: str, kind: Any, known: dict[str, Any]) -> Any:
    """Return a value that a field may have."""
    if name in known:
        return known[name]
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {name: plausible(name, kind, known) for name, kind in fields_of(kind).items()}
    if get_origin(kind) is list:
        return [plausible("", get_args(kind)[0], known)]
    if kind is str:
        return "x"
    return {} if get_origin(kind) is dict else 1


def spoilt(kind: Any, good: Any) -> list[Any]:
    """Return ``good`` many times, each time with one thing of it, at any depth, wrong."""
    found: list[Any] = list(WRONG)
    if get_origin(kind) is list:
        item = get_args(kind)[0]
        found += [[one] for one in spoilt(item, good[0] if good else plausible("", item, {}))]
    for part in get_args(kind) if get_origin(kind) in (Union, types.UnionType) else [kind]:
        if isinstance(part, type) and issubclass(part, msgspec.Struct):
            for name, inner in fields_of(part).items():
                found += [{**good, name: wrong} for wrong in spoilt(inner, good[name])]
    return found


def test_no_value_of_any_field_breaks_a_call(any_site: Site) -> None:
    for number, route in enumerate(ROUTES):
        known = known_things(any_site, f"bikes {number}")
        kind = route.endpoint.request
        good = {name: plausible(name, kind, known) for name, kind in fields_of(kind).items()}
        path = route.paths[0].replace("{path...}", "0/a")
        for name in ("model_id", "trace_id", "tag_key"):
            path = path.replace(f"{{{name}}}", known.get(name, "tr-1"))
        for wrong in [*spoilt(kind, good), good]:
            if route.method != "GET":
                any_site.ask(route.method, path, wrong)
            elif isinstance(wrong, dict):
                any_site.ask("GET", f"{path}?{urlencode(wrong, doseq=True)}")
    assert any_site.ask("GET", "/health").status == 200


def known_things(site: Site, name: str) -> dict[str, Any]:
    """Make what calls can be about; return fields that fit it."""
    experiment = site.post("/experiments/create", {"name": name})["experiment_id"]
    run = site.post("/runs/create", {"experiment_id": experiment})["run"]["info"]["run_id"]
    created = site.post("/logged-models", {"experiment_id": experiment, "name": "m"})
    model = created["model"]["info"]["model_id"]
    site.post("/registered-models/create", {"name": name})
    site.post("/model-versions/create", {"name": name, "source": f"models:/{model}"})
    return {
        "run_id": run,
        "run_uuid": run,
        "experiment_id": experiment,
        "model_id": model,
        "name": name,
        "version": "1",
        "source": f"models:/{model}",
        "page_token": "",
        "filter": "",
        "order_by": [],
    }
