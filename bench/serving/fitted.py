"""Writes the estimator that a project's version 1 holds: ``python -m bench.serving.fitted``.

The others serve this very object, so that answers can be compared number by number.
"""

from __future__ import annotations

import sys
from pathlib import Path

import joblib

from bench.serving.project import NAME
from everfit.automation import open_project
from everfit.registry import get_version, load_package


def main(folder: Path, file: Path) -> None:
    workspace = open_project(folder).workspace
    with workspace.reading() as tx:
        version = get_version(tx, NAME, 1)
    joblib.dump(load_package(workspace, version).estimator, file)
    workspace.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
