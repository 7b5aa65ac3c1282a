"""What the tests of the pages share: the fenced blocks of a page, in their order."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of README.md and docs/."""
    return ROOT


@pytest.fixture(scope="session")
def blocks() -> Callable[[str], list[tuple[str, str]]]:
    """Return the fenced blocks of a page as (language, text)."""

    def read(page: str) -> list[tuple[str, str]]:
        return FENCE.findall((ROOT / page).read_text(encoding="utf-8"))

    return read
