"""Models: numbered versions, aliases, signatures, and the packages they are loaded from."""

from everfit.registry.fitted import FittedModel
from everfit.registry.labels import label_text, label_texts
from everfit.registry.model import CHAMPION, Field, Kind, ModelVersion, Scalar, Signature
from everfit.registry.package import Manifest, pack, read_manifest
from everfit.registry.service import (
    aliases,
    by_alias,
    champion,
    get_version,
    is_trusted,
    list_models,
    list_versions,
    load_package,
    register,
    set_alias,
    trust,
)
from everfit.registry.signature import cast, infer_signature

__all__ = [
    "CHAMPION",
    "Field",
    "FittedModel",
    "Kind",
    "Manifest",
    "ModelVersion",
    "Scalar",
    "Signature",
    "aliases",
    "by_alias",
    "cast",
    "champion",
    "get_version",
    "infer_signature",
    "is_trusted",
    "label_text",
    "label_texts",
    "list_models",
    "list_versions",
    "load_package",
    "pack",
    "read_manifest",
    "register",
    "set_alias",
    "trust",
]
