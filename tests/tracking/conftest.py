"""A folder of code under git, as runs record it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest


def git(folder: Path, *arguments: str) -> str:
    author = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(
        ["git", "-C", str(folder), *author, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project folder inside a larger git tree, committed."""
    folder = tmp_path / "tree" / "bikes"
    folder.mkdir(parents=True)
    (folder / "pipeline.py").write_text("depth = 4\n")
    (folder.parent / "elsewhere.py").write_text("x = 1\n")
    git(folder.parent, "init", "--quiet")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "--quiet", "--message", "start")
    return folder
