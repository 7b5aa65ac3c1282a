"""Every line on docs/serving.md that asks a server is answered by one, and says the same."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest
from tests.serving.conftest import ENDPOINT, Constant, Shop

from everfit.kernel import Workspace
from everfit.serving import BackgroundServer
from everfit.serving.app import TABLE

PAGE = "docs/serving.md"
Blocks = Callable[[str], list[tuple[str, str]]]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's lines begin with curl")
def test_every_line_is_answered(workspace: Workspace, tmp_path: Path, blocks: Blocks) -> None:
    shop = Shop(workspace)
    shop.release(shop.add(Constant(4.5)))
    row = {"temp": [0.3], "hour": [8], "sky": ["rain"], "holiday": [False]}
    pl.DataFrame(row).write_ipc_stream(tmp_path / "rows.arrow")
    lines = [line for kind, text in blocks(PAGE) if kind == "sh" for line in text.splitlines()]
    assert len(lines) == 11
    with BackgroundServer(workspace, [ENDPOINT], durable=False) as server:
        for line in lines:
            command = line.replace("curl -s http://127.0.0.1:8080", f"curl -sSf {server.url}")
            done = subprocess.run(
                ["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False
            )
            assert done.returncode == 0, (line, done.stderr)
            if "invocations" in line:
                assert msgspec.json.decode(done.stdout) == {"predictions": [4.5]}
    assert pl.read_ipc_stream(tmp_path / "answers.arrow")["prediction"].to_list() == [4.5]
    assert shop.logged().height == 9


def test_every_protocol_is_on_the_page(root: Path) -> None:
    page = (root / PAGE).read_text(encoding="utf-8")
    for path in TABLE:
        first = path.strip("/").split("/")[0]
        known = first in page or first in ("health", "version", "labels", "metrics")
        assert known, path
