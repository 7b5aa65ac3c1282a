"""Folders with a description in YAML, and texts in files: what MLflow's file store is made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from everfit.errors import Invalid
from everfit.foreign.entities import WORKSPACE
from everfit.foreign.model import Report

META = "meta.yaml"
MEND = "mend the file, then import again"
T = TypeVar("T")


def read(report: Report, kind: str, folders: Sequence[Path], build: Callable[[Path], T]) -> list[T]:
    """Return what ``build`` makes of the folders; one that it cannot read is noted."""
    found = []
    for folder in folders:
        try:
            found.append(build(folder))
        except (Invalid, KeyError, TypeError, ValueError, OSError, yaml.YAMLError) as error:
            said = f"{type(error).__name__}: {error}"
            report.refuse(f"{kind} {folder.name}", said, MEND)
    return found


def folders(root: Path, meta: str = META) -> list[Path]:
    """Return the folders right below ``root`` that have a ``meta`` file, by name."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if (path / meta).is_file())


def meta_of(folder: Path, meta: str = META) -> dict[str, Any]:
    """Return what a folder's ``meta`` says; raises OSError, YAMLError, TypeError, ValueError."""
    said = yaml.safe_load((folder / meta).read_text(encoding="utf-8"))
    if not isinstance(said, dict):
        raise TypeError(f"{folder / meta} says nothing")
    if said.get("workspace", WORKSPACE) != WORKSPACE:
        raise ValueError(f"it lies in the workspace {said['workspace']!r}")
    return said


def texts(folder: Path) -> dict[str, str]:
    """Return the texts that lie below a folder, by their paths; raises OSError, ValueError."""
    return {key: file.read_bytes().decode("utf-8") for key, file in files(folder)}


def files(folder: Path) -> list[tuple[str, Path]]:
    """Return every file below a folder with its path in it, by path."""
    found = []
    for root, _, names in os.walk(folder):
        for name in names:
            file = Path(root) / name
            found.append((file.relative_to(folder).as_posix(), file))
    return sorted(found)
