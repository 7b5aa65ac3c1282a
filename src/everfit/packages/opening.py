"""Opens models from outside, each by the loader of its form, and says which can run code."""

from __future__ import annotations

import importlib
import importlib.metadata
import pickle
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from everfit.errors import EverfitError, Invalid
from everfit.kernel import Blobs
from everfit.packages.adapt import ScoreTable, adapted
from everfit.packages.fitted import CLASSIFICATION, FittedModel
from everfit.packages.model import Kind, Scalar, Signature
from everfit.packages.outside import XGBOOST_CLASSES, File, Loader, OutsideManifest
from everfit.packages.signature import label_kind

CODE_FREE = frozenset({Loader.XGBOOST, Loader.LIGHTGBM})
# What a LightGBM estimator consists of: its trees come back as text. A list of ours, for a list
# in the model's own file would let the file vouch for itself.
LIGHTGBM_TYPES = frozenset(
    {
        "collections.OrderedDict",
        "lightgbm.basic.Booster",
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRegressor",
    }
)
# Before, files could name what skops took for harmless: CVE-2025-54413, CVE-2025-54886.
SKOPS_FROM = (0, 13)


def runs_code(manifest: OutsideManifest, blobs: Blobs) -> bool:
    """Return whether opening the package can run code; what the files say of it is not asked.

    Raises
    ------
    Invalid
        If a skops file cannot be read, or skops is not installed.
    """
    if manifest.loader in CODE_FREE:
        return False
    if manifest.loader is not Loader.SKOPS:
        return True
    unknown = _unknown_types(_content(manifest, blobs), manifest)
    release = importlib.metadata.version("skops").split(".")[:2]
    return tuple(int(part) for part in release) < SKOPS_FROM or not unknown <= LIGHTGBM_TYPES


def open_outside(manifest: OutsideManifest, blobs: Blobs) -> FittedModel:
    """Return the model. Runs whatever its files say: ask for trust first if `runs_code`.

    Raises
    ------
    Invalid
        If it needs something that is not installed, cannot be read, or is no predictor.
    """
    try:
        model = _OPENERS[manifest.loader](manifest, blobs)
    except EverfitError:
        raise
    except Exception as error:
        raise Invalid(
            f"the {manifest.flavor} model cannot be opened here: {type(error).__name__}: {error}",
            hint=f"Install what it was made with: {_list(manifest.versions)}.",
        ) from error
    signature = _completed(manifest, model)
    estimator = adapted(model, manifest.types, matrix=manifest.matrix)
    return FittedModel(estimator, signature, warning=_difference(manifest.versions))


def _is_installed(library: str) -> bool:
    try:
        importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _needed(library: str, manifest: OutsideManifest) -> Any:
    """Return a library that Everfit does without unless a model needs it."""
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise Invalid(
            f"the {manifest.flavor} model needs {library.partition('.')[0]}: {error}",
            hint=f"Install it where the model is opened: {_list(manifest.versions)}.",
        ) from error


def _content(manifest: OutsideManifest, blobs: Blobs) -> bytes:
    return blobs.get(manifest.main_file.digest)


def _unknown_types(content: bytes, manifest: OutsideManifest) -> set[str]:
    skops: Any = _needed("skops.io", manifest)
    try:
        return set(skops.get_untrusted_types(data=content))
    except Exception as error:
        raise Invalid(
            f"the skops file {manifest.main!r} cannot be read: {type(error).__name__}: {error}",
            hint="The file is damaged, or needs another version of skops: log the model again.",
        ) from error


def _open_skops(manifest: OutsideManifest, blobs: Blobs) -> Any:
    content = _content(manifest, blobs)
    known = sorted(_unknown_types(content, manifest))
    return _needed("skops.io", manifest).loads(content, trusted=known)


def _open_pickle(manifest: OutsideManifest, blobs: Blobs) -> Any:
    # Files of cloudpickle's are pickles too.
    return pickle.loads(_content(manifest, blobs))  # noqa: S301 - load_package asked for trust


def _open_xgboost(manifest: OutsideManifest, blobs: Blobs) -> Any:
    xgboost = _needed("xgboost", manifest)
    if manifest.model_class not in XGBOOST_CLASSES:
        raise Invalid(
            f"{manifest.model_class!r} is no model of XGBoost's", hint="Log the model again."
        )
    name = manifest.model_class.rpartition(".")[2]
    model = getattr(xgboost, name)()
    model.load_model(bytearray(_content(manifest, blobs)))
    return _Booster(model, xgboost.DMatrix) if name == "Booster" else model


def _open_lightgbm(manifest: OutsideManifest, blobs: Blobs) -> Any:
    lightgbm = _needed("lightgbm", manifest)
    return lightgbm.Booster(model_str=_content(manifest, blobs).decode())


class _Booster:
    """XGBoost's booster, which takes rows in a matrix of its own."""

    def __init__(self, booster: Any, matrix: Callable[[Any], Any]) -> None:
        self._booster = booster
        self._matrix = matrix

    def get_booster(self) -> Any:
        """Return the booster, by the name that XGBoost's estimators have for it."""
        return self._booster

    def predict(self, rows: Any) -> Any:
        return self._booster.predict(self._matrix(rows))


def _open_pyfunc(manifest: OutsideManifest, blobs: Blobs) -> Any:
    pyfunc = _needed("mlflow.pyfunc", manifest)
    folder = Path(tempfile.mkdtemp(prefix="everfit-model-"))
    try:
        for file in manifest.files:
            _write(file, folder, blobs)
        model = pyfunc.load_model(str(folder), suppress_warnings=True)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    # A model may read its files as late as when it predicts.
    weakref.finalize(model, shutil.rmtree, folder, ignore_errors=True)
    if manifest.flavor in ("sklearn", "xgboost", "lightgbm"):
        raw = model.get_raw_model()
        weakref.finalize(raw, lambda _kept: None, model)
        return raw
    return ScoreTable(model, manifest.signature.classes) if manifest.scores else model


def _write(file: File, folder: Path, blobs: Blobs) -> None:
    path = (folder / file.path).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise Invalid(f"the file {file.path!r} leads out of its model", hint="Log it again.")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as target, blobs.open(file.digest) as content:
        for chunk in content:
            target.write(chunk)


_OPENERS: Mapping[Loader, Callable[[OutsideManifest, Blobs], Any]] = {
    Loader.XGBOOST: _open_xgboost,
    Loader.LIGHTGBM: _open_lightgbm,
    Loader.SKOPS: _open_skops,
    Loader.PICKLE: _open_pickle,
    Loader.PYFUNC: _open_pyfunc,
}


def _completed(manifest: OutsideManifest, model: Any) -> Signature:
    """Return the signature with what only the opened model knows: whether it has classes."""
    found = getattr(model, "classes_", None)
    signature = manifest.signature
    if found is None or (signature.classes and signature.task == CLASSIFICATION):
        return signature
    classes: tuple[Scalar, ...] = tuple(np.asarray(found).tolist())
    kinds = {label_kind(label) for label in classes}
    kind = kinds.pop() if len(kinds) == 1 else Kind.TEXT
    output = replace(signature.output, kind=kind)
    return replace(signature, output=output, task=CLASSIFICATION, classes=classes)


def _difference(versions: Mapping[str, str]) -> str | None:
    """Return how the versions installed differ from those the model was made with, if they do."""
    made = {name: version for name, version in versions.items() if name not in _IRRELEVANT}
    here = {name: importlib.metadata.version(name) for name in made if _is_installed(name)}
    if here == made:
        return None
    return (
        f"made with {_list(made)}; installed: {_list(here) or 'none of them'}. "
        "Its predictions may differ: compare them, or train it again."
    )


# They carry models, and compute nothing.
_IRRELEVANT = frozenset({"mlflow", "cloudpickle"})


def _list(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items()) or "MLflow"
