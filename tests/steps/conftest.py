"""A project folder whose pipeline tests write, and one pool of children for all of them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from everfit.kernel import Workspace
from everfit.steps.engine import execute, load_value
from everfit.steps.model import Call, StepResult
from everfit.steps.pool import StepPool


@dataclass
class Project:
    """Writes ``pipeline.py``, runs steps of it, and counts what ran through a file they write."""

    folder: Path
    workspace: Workspace
    pool: StepPool

    @property
    def file(self) -> Path:
        return self.folder / "pipeline.py"

    @property
    def ran(self) -> list[str]:
        log = self.folder / "ran"
        return log.read_text().split() if log.exists() else []

    def write(self, text: str, *, name: str = "pipeline.py") -> None:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        log = f"def _ran(name: str) -> None:\n    open({str(self.folder / 'ran')!r}, 'a')"
        file.write_text(f"{log}.write(name + '\\n')\n\n{textwrap.dedent(text)}")

    def call(self, name: str, *, function: str | None = None, **options: Any) -> Call:
        return Call(name=name, function=f"{self.file}:{function or name}", **options)

    def run(self, *calls: Call, run_id: str = "run", **options: Any) -> dict[str, StepResult]:
        return execute(self.workspace, run_id, calls, pool=self.pool, **options)

    def value(self, result: StepResult) -> Any:
        return load_value(self.workspace, result.digest)


@pytest.fixture
def pool(workspace: Workspace) -> Iterator[StepPool]:
    with StepPool(workspace, processes=2) as opened:
        yield opened


@pytest.fixture
def project(tmp_path: Path, workspace: Workspace, pool: StepPool) -> Project:
    folder = tmp_path / "project"
    folder.mkdir(exist_ok=True)
    return Project(folder=folder, workspace=workspace, pool=pool)
