"""Model packages: a header, a manifest anyone may read, and a pickle only the trusted open.

Layout: 8 bytes ``EVERFIT`` + format version, 4 bytes length of the manifest (little-endian),
the manifest as JSON, the estimator as a pickle of protocol 5. Why a pickle, and what guards
it: ``docs/decisions/0003-model-files.md``.
"""

from __future__ import annotations

import importlib.metadata
import pickle
import platform
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import msgspec

from everfit.errors import Invalid
from everfit.packages.fitted import FittedModel
from everfit.packages.model import Signature

MAGIC = b"EVERFIT\x01"
LENGTH_BYTES = 4
# What reads a pickle by another version of these may compute something else.
COMPARED = ("scikit-learn", "numpy", "polars")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a package says of itself: safe to read before anybody trusts the file."""

    signature: Signature
    estimator: str
    python: str
    versions: dict[str, str]


def pack(fitted: FittedModel, *, tidy: Callable[[bytes], bytes] = bytes) -> bytes:
    """Return the model as one file.

    Parameters
    ----------
    tidy
        Returns the same pickle in such bytes that equal models have equal ones.

    Raises
    ------
    Invalid
        If the estimator holds something that cannot be pickled.
    """
    manifest = Manifest(
        signature=fitted.signature,
        estimator=type(fitted.estimator).__qualname__,
        python=platform.python_version(),
        versions={name: importlib.metadata.version(name) for name in COMPARED},
    )
    try:
        body = tidy(_pickled(fitted.estimator))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise Invalid(
            f"the {manifest.estimator} cannot be stored: {error}",
            hint="Let go of open files, connections, threads and locks before the model is "
            "returned; they cannot be stored.",
        ) from error
    head = msgspec.json.encode(manifest)
    return MAGIC + len(head).to_bytes(LENGTH_BYTES, "little") + head + body


def _pickled(estimator: Any) -> bytes:
    """Return the estimator as a pickle that holds the project's own classes with their code.

    A model server has no ``pipeline.py`` on its path: what cannot be installed must travel.
    """
    own = [module for module in list(sys.modules.values()) if _is_projects(module)]
    if not own:
        return pickle.dumps(estimator, protocol=5)
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        content: bytes = cloudpickle.dumps(estimator, protocol=5)
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)
    return content


def _is_projects(module: ModuleType) -> bool:
    """Return whether a module is the project's own: neither installed, nor Python's, nor ours."""
    file = getattr(module, "__file__", None)
    if file is None or module.__name__.partition(".")[0] in ("everfit", "__main__"):
        return False
    return not any(Path(file).is_relative_to(folder) for folder in INSTALLED)


INSTALLED = {Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")}


def read_manifest(content: bytes) -> Manifest:
    """Return what the package says of itself; the pickle in it is not opened.

    Raises
    ------
    Invalid
        If ``content`` is no package of a format this Everfit knows.
    """
    return _parts(content)[0]


def unpack(content: bytes) -> FittedModel:
    """Return the model in a package. Runs whatever the file says: ask for trust first.

    Raises
    ------
    Invalid
        If ``content`` is no package, or needs something that is not installed.
    """
    manifest, body = _parts(content)
    try:
        estimator: Any = pickle.loads(body)  # noqa: S301 - service.load_package asked for trust
    except (ImportError, AttributeError) as error:
        raise Invalid(
            f"the {manifest.estimator} cannot be opened here: {error}",
            hint="Install what it was trained with, and keep the project's own modules where "
            f"they were. It was made with Python {manifest.python}, {_list(manifest.versions)}.",
        ) from error
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, KeyError) as error:
        raise Invalid(
            f"the {manifest.estimator} in this package cannot be read: {error}",
            hint="The file is damaged, or was written by other versions: "
            f"Python {manifest.python}, {_list(manifest.versions)}. Train the model again.",
        ) from error
    return FittedModel(estimator, manifest.signature, warning=_difference(manifest))


def _parts(content: bytes) -> tuple[Manifest, memoryview]:
    start = len(MAGIC) + LENGTH_BYTES
    if len(content) < start or not content.startswith(MAGIC):
        raise Invalid(
            f"these {len(content):,} bytes are no model package of format {MAGIC[-1]}",
            hint="Pack the model with this Everfit; a file of another tool is imported instead.",
        )
    end = start + int.from_bytes(content[len(MAGIC) : start], "little")
    try:
        manifest = msgspec.json.decode(content[start:end], type=Manifest)
    except msgspec.MsgspecError as error:
        raise Invalid(
            f"the manifest of this model package cannot be read: {error}",
            hint="The file is damaged: restore it, or train the model again.",
        ) from error
    return manifest, memoryview(content)[end:]


def _difference(manifest: Manifest) -> str | None:
    """Return how the versions installed differ from those the model was made with, if they do."""
    here = {name: importlib.metadata.version(name) for name in COMPARED}
    if here == manifest.versions:
        return None
    return (
        f"made with {_list(manifest.versions)}; installed: {_list(here)}. "
        "Its predictions may differ: compare them, or train it again."
    )


def _list(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
