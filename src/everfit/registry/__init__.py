"""Models by name: numbered versions, aliases, and who vouches for the package of a version."""

from everfit.registry.model import CHAMPION, Compiled, ModelVersion, Origin, RegisteredModel, Stage
from everfit.registry.service.aliases import (
    aliases,
    by_alias,
    champion,
    resolve_alias,
    set_alias,
)
from everfit.registry.service.compiled import get_compiled, note_compiled
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

__all__ = [
    "CHAMPION",
    "Compiled",
    "ModelVersion",
    "Origin",
    "RegisteredModel",
    "Stage",
    "aliases",
    "by_alias",
    "champion",
    "check_trusted",
    "complete_version",
    "create_model",
    "create_version",
    "delete_model",
    "delete_model_tag",
    "delete_version",
    "delete_version_tag",
    "get_compiled",
    "get_model",
    "get_version",
    "import_model",
    "import_version",
    "is_trusted",
    "list_models",
    "list_versions",
    "load_package",
    "newest_signature",
    "note_compiled",
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
    "update_model",
    "update_version",
    "versions_by_stage",
]
