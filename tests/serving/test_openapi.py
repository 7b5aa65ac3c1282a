"""The OpenAPI description: true to the routes and the models, and explored by schemathesis."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from tests.serving.conftest import CLASSIFICATION, ENDPOINT, Shop, WarmIsBusy

from everfit.serving import BackgroundServer, Bounds
from everfit.serving.app import TABLE
from everfit.serving.openapi import ANSWERS, BODIES, STATUSES, describe_api

ALL = sorted((method.lower(), path) for path, methods in TABLE.items() for method in methods)


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    return describe_api(TABLE, {ENDPOINT: CLASSIFICATION, "churn": None})


@pytest.fixture
def server(shop: Shop) -> Iterator[BackgroundServer]:
    shop.release(shop.add(WarmIsBusy(), CLASSIFICATION))
    with BackgroundServer(
        shop.workspace, [ENDPOINT], durable=False, bounds=Bounds(rows=50)
    ) as running:
        yield running


def test_every_route_is_described_and_nothing_else(described: dict[str, Any]) -> None:
    paths = described["paths"]
    assert sorted((method, path) for path in paths for method in paths[path]) == ALL
    for path, methods in paths.items():
        for operation in methods.values():
            assert operation["summary"], path
            named = [one["name"] for one in operation["parameters"] if one["in"] == "path"]
            assert named == re.findall(r"{(\w+)}", path)
            assert operation["responses"].keys() - {"200"} <= STATUSES.keys()
    ids = [one["operationId"] for methods in paths.values() for one in methods.values()]
    assert len(set(ids)) == len(ids)
    # Nothing is said of a path that is not there.
    assert (BODIES.keys() | ANSWERS.keys()) <= TABLE.keys()


def test_every_schema_that_is_referred_to_is_there(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    found = set(re.findall(r"#/components/schemas/([\w.-]+)", str(described)))
    assert found == schemas.keys()


def test_the_row_is_that_of_the_model(server: BackgroundServer, shop: Shop) -> None:
    answer = httpx.get(f"{server.url}/openapi.json").json()
    row = answer["components"]["schemas"][f"Row.{ENDPOINT}"]
    assert row["required"] == ["temp", "hour", "sky", "holiday"]
    assert row["additionalProperties"] is False
    assert row["properties"]["sky"] == {"type": ["string", "null"], "examples": ["clear", "rain"]}
    assert row["properties"]["temp"] == {"type": "number"}
    names = answer["paths"]["/predict/{name}"]["post"]["parameters"]
    assert names[0]["schema"]["enum"] == [ENDPOINT]


@pytest.mark.filterwarnings("ignore")
def test_schemathesis_finds_no_failure_of_the_server(server: BackgroundServer) -> None:
    import schemathesis
    from schemathesis import GenerationMode
    from schemathesis.core.result import Ok

    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    tried: list[tuple[str, str]] = []
    accepted: set[str] = set()
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @seed(4)
            @settings(
                max_examples=8,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def explore(case: Any) -> None:
                response = case.call()
                assert response.status_code < 500, response.text
                if response.status_code == 200:
                    accepted.add(case.operation.path)

            # A call without a body or parameters cannot be made wrong.
            with suppress(*[Unsatisfiable] if mode is GenerationMode.NEGATIVE else []):
                explore()
        tried.append((operation.method, operation.path))
    # It leaves out the address that it has the description from.
    assert sorted([*tried, ("get", "/openapi.json")]) == ALL
    assert "/predict/{name}" in accepted
