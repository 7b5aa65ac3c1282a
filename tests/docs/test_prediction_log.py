"""What a server logs is read by Polars, Arrow and DuckDB with the lines of docs/serving.md."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import polars as pl
import pyarrow as pa
import pytest
from tests.serving.conftest import ENDPOINT, Shop
from tests.serving.test_process import SIGNATURE, ask, free_port, line, server

from everfit.kernel import Workspace

PAGE = "docs/serving.md"
Blocks = Callable[[str], list[tuple[str, str]]]


def read(programs: Sequence[str]) -> list[str]:
    """Return the ids of all predictions, as the programs of the page read them."""
    names: dict[str, Any] = {}
    for program in programs:
        exec(program, names)  # noqa: S102 - the lines of our own page
    table: pl.DataFrame = names["predictions"]
    arrow: pa.Table = names["arrow"]
    arrow.validate(full=True)
    assert pl.DataFrame(arrow).equals(table)
    last = pl.read_ipc_stream(names["files"][-1])
    assert names["found"] == [(1, "champion", last.height, pytest.approx(5.5))]
    return table["id"].to_list()


def test_every_library_reads_what_a_server_logs(
    workspace: Workspace, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it is at work, and once it was killed in its work and another one began."""
    shop = Shop(workspace)
    shop.release(shop.add(line(10.0), SIGNATURE))
    monkeypatch.chdir(workspace.home.parent)
    programs = [text for kind, text in blocks(PAGE) if kind == "python"]
    assert len(programs) == 3
    answered: list[str] = []
    port = free_port()
    with server(workspace, port) as process:
        for _ in range(20):
            rows = {"rows": [{"temp": 0.5}, {"temp": 0.6}]}
            response = httpx.post(f"http://127.0.0.1:{port}/predict/{ENDPOINT}", json=rows)
            answered += [item["id"] for item in response.json()["predictions"]]
            assert read(programs) == answered
        lists: list[list[str]] = [[] for _ in range(4)]
        threads = [threading.Thread(target=ask, args=(port, ids)) for ids in lists]
        for thread in threads:
            thread.start()
        while sum(map(len, lists)) < 200:
            pass
        process.kill()
        for thread in threads:
            thread.join()
    with server(workspace, port):
        found = read(programs)
    assert len(set(found)) == len(found)
    assert set(found) >= {*answered, *(number for ids in lists for number in ids)}
