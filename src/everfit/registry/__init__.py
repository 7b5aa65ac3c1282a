"""Models: numbered versions, aliases, signatures, and the packages they are loaded from."""

from everfit.registry.fitted import FittedModel
from everfit.registry.labels import label_text, label_texts
from everfit.registry.model import (
    CHAMPION,
    Field,
    Kind,
    ModelVersion,
    Origin,
    RegisteredModel,
    Scalar,
    Signature,
    Stage,
)
from everfit.registry.outside import File, OutsideManifest, describe, mlmodel_file
from everfit.registry.outside import encode as encode_outside
from everfit.registry.package import Manifest, pack, read_manifest, unpack
from everfit.registry.readable import FLAVOR, FOLDER, PACKAGE, readable
from everfit.registry.service.aliases import (
    aliases,
    by_alias,
    champion,
    resolve_alias,
    set_alias,
)
from everfit.registry.service.imports import import_model, import_version
from everfit.registry.service.models import (
    create_model,
    delete_model,
    delete_model_tag,
    get_model,
    list_models,
    rename_model,
    search_models,
    set_model_tag,
    update_model,
)
from everfit.registry.service.packages import check_trusted, is_trusted, load_package, trust
from everfit.registry.service.register import create_version, register
from everfit.registry.service.versions import (
    complete_version,
    delete_version,
    delete_version_tag,
    get_version,
    list_versions,
    newest_signature,
    search_versions,
    set_version_tag,
    transition_stage,
    update_version,
    versions_by_stage,
)
from everfit.registry.signature import cast, infer_signature

__all__ = [
    "CHAMPION",
    "FLAVOR",
    "FOLDER",
    "PACKAGE",
    "Field",
    "File",
    "FittedModel",
    "Kind",
    "Manifest",
    "ModelVersion",
    "Origin",
    "OutsideManifest",
    "RegisteredModel",
    "Scalar",
    "Signature",
    "Stage",
    "aliases",
    "by_alias",
    "cast",
    "champion",
    "check_trusted",
    "complete_version",
    "create_model",
    "create_version",
    "delete_model",
    "delete_model_tag",
    "delete_version",
    "delete_version_tag",
    "describe",
    "encode_outside",
    "get_model",
    "get_version",
    "import_model",
    "import_version",
    "infer_signature",
    "is_trusted",
    "label_text",
    "label_texts",
    "list_models",
    "list_versions",
    "load_package",
    "mlmodel_file",
    "newest_signature",
    "pack",
    "read_manifest",
    "readable",
    "register",
    "rename_model",
    "resolve_alias",
    "search_models",
    "search_versions",
    "set_alias",
    "set_model_tag",
    "set_version_tag",
    "transition_stage",
    "trust",
    "unpack",
    "update_model",
    "update_version",
    "versions_by_stage",
]
