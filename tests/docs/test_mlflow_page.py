"""The page about MLflow knows every call that the installed MLflow knows."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

# MLflow writes a name in a path as <name>, the page as {name}.
NAME = re.compile(r"<[^>]+>|{[^}]+}")
# Registered with a mistake in its path, and answered by nobody.
MISTAKEN = "/api/2.0mlflow/experiments/search-datasets"


def calls_of_mlflow() -> set[tuple[str, str]]:
    """Return the method and path of every call of MLflow's server."""
    # Its own libraries warn of each other.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from mlflow.server.handlers import get_endpoints
    return {
        (method, NAME.sub("{}", path))
        for path, _, methods in get_endpoints()
        for method in methods
        if not path.startswith("/ajax-api") and path != MISTAKEN
    }


@pytest.mark.filterwarnings("ignore")
def test_every_call_of_mlflow_is_there_or_said_not_to_be(root: Path) -> None:
    page = (root / "docs/mlflow.md").read_text(encoding="utf-8")
    there, _, absent = page.partition("## What is not there")
    rows = re.findall(r"^\| ([A-Z]+) \| `([^`]+)` \|", there, re.MULTILINE)
    known = {(method, NAME.sub("{}", path)) for method, path in rows}
    beginnings = [NAME.sub("{}", path) for path in re.findall(r"`(/[^`]+)`", absent)]
    assert len(known) > 70
    called = calls_of_mlflow()
    assert len(called) > 150

    def is_absent(path: str) -> bool:
        return any(path == one or path.startswith(f"{one}/") for one in beginnings)

    assert {call for call in called - known if not is_absent(call[1])} == set()
    # What is said not to be there is not there, and was not made up.
    assert [path for _, path in known if is_absent(path)] == []
    for one in beginnings:
        assert any(path == one or path.startswith(f"{one}/") for _, path in called), one
