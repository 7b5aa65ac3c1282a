"""What lies beside a package so that MLflow's clients can load it: its MLmodel file and more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import yaml

import everfit
from everfit.packages.fitted import CLASSIFICATION
from everfit.packages.model import Field, Kind, Signature
from everfit.packages.package import Manifest

FOLDER = "model"
"""Where the files lie among the artifacts of the run that made them."""
PACKAGE = "model.everfit"
FLAVOR = "everfit"
LOADER = "everfit.sdk.pyfunc"
_TYPES = {
    Kind.NUMBER: "double",
    Kind.INTEGER: "long",
    Kind.TEXT: "string",
    Kind.BOOLEAN: "boolean",
    Kind.TIME: "datetime",
}


def readable(manifest: Manifest, *, run: str, at: datetime) -> dict[str, bytes]:
    """Return the files to lie beside the package, by name."""
    return {
        "MLmodel": _mlmodel(manifest, run=run, at=at),
        "requirements.txt": _requirements(manifest.versions),
    }


def _mlmodel(manifest: Manifest, *, run: str, at: datetime) -> bytes:
    file: dict[str, Any] = {
        "flavors": {
            FLAVOR: {"data": PACKAGE, "everfit_version": everfit.__version__},
            "python_function": {
                "loader_module": LOADER,
                "data": PACKAGE,
                "python_version": manifest.python,
            },
        },
        "run_id": run,
        "utc_time_created": at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
        "signature": _signature(manifest.signature),
    }
    if manifest.signature.task == CLASSIFICATION:
        file["metadata"] = {"classes": list(manifest.signature.classes)}
    return yaml.safe_dump(file, sort_keys=False, allow_unicode=True).encode()


def _signature(signature: Signature) -> dict[str, str]:
    inputs = [_column(field) for field in signature.inputs]
    return {
        "inputs": json.dumps(inputs),
        "outputs": json.dumps([{**_column(signature.output), "required": True}]),
    }


def _column(field: Field) -> dict[str, Any]:
    return {"type": _TYPES[field.kind], "name": field.name, "required": not field.nullable}


def _requirements(versions: Mapping[str, str]) -> bytes:
    pinned = {"everfit": everfit.__version__, **versions}
    return "".join(f"{name}=={version}\n" for name, version in pinned.items()).encode()
