"""Every line on docs/serving.md that asks a server is answered by one, and says the same."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression
from tests.serving.conftest import ENDPOINT, Shop
from tests.serving.test_reasons import add, trained

from everfit.kernel import Workspace
from everfit.serving import BackgroundServer
from everfit.serving.app import TABLE

# By the rule of the rows that the model was trained on: 10 for an hour, 50 for a temperature.
FOUND = pytest.approx(8 * 10 + 0.3 * 50)
PAGE = "docs/serving.md"
Blocks = Callable[[str], list[tuple[str, str]]]


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page's lines begin with curl")
def test_every_line_is_answered(workspace: Workspace, tmp_path: Path, blocks: Blocks) -> None:
    shop = Shop(workspace)
    shop.release(add(shop, trained(LinearRegression())))
    row = {"temp": [0.3], "hour": [8], "sky": ["rain"], "holiday": [False]}
    pl.DataFrame(row).write_ipc_stream(tmp_path / "rows.arrow")
    lines = [line for kind, text in blocks(PAGE) if kind == "sh" for line in text.splitlines()]
    assert len(lines) == 13
    with BackgroundServer(workspace, [ENDPOINT], durable=False) as server:
        for line in lines:
            command = line.replace("curl -s http://127.0.0.1:8080", f"curl -sSf {server.url}")
            done = subprocess.run(
                ["sh", "-c", command], cwd=tmp_path, capture_output=True, check=False
            )
            assert done.returncode == 0, (line, done.stderr)
            if "invocations" in line:
                assert msgspec.json.decode(done.stdout) == {"predictions": [FOUND]}
            if "explain" in line:
                assert b"hour = 8 lowered it by " in done.stdout
    assert pl.read_ipc_stream(tmp_path / "answers.arrow")["prediction"].to_list() == [FOUND]
    assert shop.logged().height == 11


def test_every_protocol_is_on_the_page(root: Path) -> None:
    page = (root / PAGE).read_text(encoding="utf-8")
    for path in TABLE:
        first = path.strip("/").split("/")[0]
        known = first in page or first in ("health", "version", "labels", "metrics")
        assert known, path
