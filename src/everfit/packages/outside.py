"""Packages of models from outside: a list of files and digests, with what was read about them.

Layout: 8 bytes ``EVERFIT`` + format version 2, then the manifest as JSON. It names every file by
its digest, so that whoever trusts the digest of the manifest has vouched for each of them:
``docs/decisions/0011-models-from-outside.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from everfit.errors import Invalid
from everfit.packages.fitted import CLASSIFICATION
from everfit.packages.mlmodel import (
    FILE,
    FUNCTION,
    MOST_BYTES,
    MlModel,
    model_class,
    read_mlmodel,
    versions,
)
from everfit.packages.model import Signature

MAGIC = b"EVERFIT\x02"
MOST_FILES = 10_000
XGBOOST_CLASSES = frozenset(
    {
        "xgboost.core.Booster",
        "xgboost.sklearn.XGBClassifier",
        "xgboost.sklearn.XGBRegressor",
        "xgboost.sklearn.XGBRFClassifier",
        "xgboost.sklearn.XGBRFRegressor",
    }
)


class Loader(StrEnum):
    """What opens the files."""

    XGBOOST = "xgboost"
    """XGBoost's own format: numbers, no code."""
    LIGHTGBM = "lightgbm"
    """LightGBM's text: numbers, no code."""
    SKOPS = "skops"
    """No code as long as every type in it is known."""
    PICKLE = "pickle"
    """Runs what the file says."""
    PYFUNC = "pyfunc"
    """MLflow's loader of the flavor: runs what the files say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of the model: its path below the folder, its digest and its size."""

    path: str
    digest: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideManifest:
    """What a package of a model from outside holds: safe to read before anybody trusts it.

    ``main`` is the path of the file to open, empty where the loader takes the whole folder.
    ``types``, ``matrix`` and ``scores`` are those of `MlModel`.
    """

    signature: Signature
    flavor: str
    loader: Loader
    main: str
    model_class: str
    types: dict[str, str]
    matrix: bool
    scores: bool
    versions: dict[str, str]
    files: tuple[File, ...]

    @property
    def main_file(self) -> File:
        """Return the file that the loader opens."""
        return next(file for file in self.files if file.path == self.main)


def describe(content: bytes, files: Sequence[File]) -> OutsideManifest:
    """Return the manifest of the model whose MLmodel file is ``content``.

    Raises
    ------
    Invalid
        Saying why the model cannot be packed.
    """
    model = read_mlmodel(content)
    flavor, loader, main = _loader(model)
    if main and main not in {file.path for file in files}:
        raise _refused(f"its {FILE} names a file {main[:200]!r} that is not there")
    _check_answers(model, loader)
    return OutsideManifest(
        signature=model.signature,
        flavor=flavor,
        loader=loader,
        main=main,
        model_class=model_class(model.flavors),
        types=dict(model.types),
        matrix=model.matrix,
        scores=model.scores,
        versions=dict(versions(model)),
        files=tuple(sorted(files, key=lambda file: file.path)),
    )


def mlmodel_file(files: Sequence[File]) -> File:
    """Return the MLmodel file among those of a model; raises Invalid, saying why there is none."""
    if not files:
        raise _refused("no files were logged where it lies")
    if len(files) > MOST_FILES:
        raise _refused(f"it has {len(files):,} files, more than {MOST_FILES:,}")
    found = [file for file in files if file.path == FILE]
    if not found:
        raise _refused(f"there is no {FILE} among its files")
    if found[0].bytes > MOST_BYTES:
        raise _refused(f"its {FILE} has {found[0].bytes:,} bytes, more than {MOST_BYTES:,}")
    return found[0]


def _loader(model: MlModel) -> tuple[str, Loader, str]:
    """Return the flavor, what opens it, and the file that it opens."""
    flavors = model.flavors
    known = next((name for name in _NATIVE if name in flavors), None)
    with_code = any(flavor.get("code") for flavor in flavors.values())
    if known is not None and not with_code:
        found = _NATIVE[known](flavors[known])
        if found is not None:
            return known, *found
    if FUNCTION in flavors:
        others = sorted(set(flavors) - {FUNCTION})
        return known or (others[0] if others else FUNCTION), Loader.PYFUNC, ""
    listed = ", ".join(sorted(flavors)) or "none"
    raise _refused(f"it has no flavor {FUNCTION}, which any tool can open; its flavors: {listed}")


def _everfit(flavor: Mapping[str, Any]) -> tuple[Loader, str]:
    return Loader.PYFUNC, str(flavor.get("data"))


def _sklearn(flavor: Mapping[str, Any]) -> tuple[Loader, str]:
    skops = flavor.get("serialization_format") == "skops"
    return (Loader.SKOPS if skops else Loader.PICKLE), str(flavor.get("pickled_model"))


def _xgboost(flavor: Mapping[str, Any]) -> tuple[Loader, str] | None:
    known = flavor.get("model_class") in XGBOOST_CLASSES
    return (Loader.XGBOOST, str(flavor.get("data"))) if known else None


def _lightgbm(flavor: Mapping[str, Any]) -> tuple[Loader, str]:
    if flavor.get("model_class") == "lightgbm.basic.Booster":
        return Loader.LIGHTGBM, str(flavor.get("data"))
    skops = flavor.get("serialization_format") == "skops"
    return (Loader.SKOPS if skops else Loader.PICKLE), str(flavor.get("data"))


_NATIVE: Mapping[str, Any] = {
    "everfit": _everfit,
    "sklearn": _sklearn,
    "xgboost": _xgboost,
    "lightgbm": _lightgbm,
}


def _check_answers(model: MlModel, loader: Loader) -> None:
    """Refuse a model of which nobody could say what its answers stand for."""
    booster = model_class(model.flavors).endswith("Booster")
    tells = any(name in model.flavors for name in _NATIVE) and not booster
    if tells or model.signature.task != CLASSIFICATION:
        return
    if model.signature.classes and loader is Loader.PYFUNC:
        return
    raise _refused(
        "it gives labels, or a number for each, and does not name its classes: log it with "
        "metadata={'classes': [...]} in the order of its scores"
    )


def encode(manifest: OutsideManifest) -> bytes:
    """Return the package; the same files give the same bytes."""
    return MAGIC + msgspec.json.encode(manifest, order="sorted")


def is_outside(content: bytes) -> bool:
    """Return whether ``content`` is a package of this format."""
    return content.startswith(MAGIC)


def decode(content: bytes) -> OutsideManifest:
    """Return the manifest of a package; raises Invalid if it cannot be read."""
    try:
        return msgspec.json.decode(content[len(MAGIC) :], type=OutsideManifest)
    except msgspec.MsgspecError as error:
        raise Invalid(
            f"the manifest of this model package cannot be read: {error}",
            hint="The file is damaged: restore it, or log the model again.",
        ) from error


def _refused(why: str) -> Invalid:
    return Invalid(why, hint="Log the model again with MLflow's `log_model` and a signature.")
