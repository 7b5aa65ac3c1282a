"""Registered models with their versions and aliases, brought over and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from everfit.deployment import serving_plan
from everfit.errors import Invalid
from everfit.foreign.context import Context
from everfit.foreign.model import ForeignRegistered, Kind
from everfit.foreign.places import Named
from everfit.kernel import Transaction
from everfit.mlflow_api.dispatch import STORED_ROOT
from everfit.registry import (
    CHAMPION,
    ModelVersion,
    RegisteredModel,
    get_model,
    import_model,
    import_version,
    list_versions,
    set_alias,
)
from everfit.registry.names import check_notes
from everfit.tracking import (
    artifact_folder,
    files_below,
    logged_models_there,
    model_folder,
    runs_there,
)

LEFT = "it is left out"
_COMPARED = (
    "run",
    "run_link",
    "source",
    "location",
    "author",
    "description",
    "stage",
    "tags",
    "created_at",
    "updated_at",
)


def bring_registered(context: Context) -> None:
    """Bring models, versions and aliases over that are not here, and compare all of them."""
    found = context.store.registered()
    context.count(Kind.MODELS).source += len(found)
    for done, one in enumerate(found, 1):
        context.count(Kind.VERSIONS).source += len(one.versions)
        context.count(Kind.ALIASES).source += len(one.model.aliases)
        try:
            with context.workspace.transaction() as tx:
                _bring(context, tx, one)
        except Invalid as error:
            path = f"registered model {one.model.name!r}, with its versions"
            context.report.refuse(path, error.message, "rename it in MLflow, then import again")
        context.tell(Kind.MODELS, done, len(found))


def _bring(context: Context, tx: Transaction, one: ForeignRegistered) -> None:
    name, source = one.model.name, context.store.name
    subject = f"registered model {name!r}"
    tags = _sound_tags(context, subject, one.model.tags)
    model = replace(one.model, tags=tags, description=_sound(context, subject, one.model))
    new = import_model(tx, model, last_number=one.last_number, source=source)
    context.count(Kind.MODELS).found(1, new=new)
    there = {version.number for version in list_versions(tx, name)}
    versions = [_as_here(context, tx, version) for version in one.versions]
    for version in versions:
        import_version(tx, version, source=source)
    here = {version.number: version for version in list_versions(tx, name)}
    for version in versions:
        context.count(Kind.VERSIONS).found(1, new=version.number not in there)
        _check_version(context, version, here[version.number])
        _check_files(context, tx, version)
    _bring_aliases(context, tx, one.model)
    _check_model(context, model, get_model(tx, name))


def _bring_aliases(context: Context, tx: Transaction, model: RegisteredModel) -> None:
    here = get_model(tx, model.name).aliases
    count = context.count(Kind.ALIASES)
    for alias, number in model.aliases.items():
        path = f"alias {alias!r} of {model.name!r}"
        if alias in here:
            count.found(1, new=False)
            if here[alias] != number:
                count.differs += 1
                said = f"it stands at version {here[alias]} here, at {number} in the source"
                context.report.refuse(path, said, "move it where it should stand")
        elif alias == CHAMPION and serving_plan(tx, model.name) is not None:
            remedy = "`everfit release` puts a version through the gates"
            context.report.refuse(path, "the model is served here", remedy)
        else:
            try:
                set_alias(tx, model.name, alias, number)
                count.found(1, new=True)
            except Invalid as error:
                context.report.refuse(path, error.message, LEFT)


def _as_here(context: Context, tx: Transaction, version: ModelVersion) -> ModelVersion:
    """Return the version with what can be kept of it, and its files where they are here."""
    subject = f"version {version.subject}"
    logged = Named.in_source(version.source or "")
    source, location = version.source or "", version.location or ""
    return replace(
        version,
        tags=_sound_tags(context, subject, version.tags),
        description=_sound(context, subject, version),
        source=_place_here(tx, source, plain=False),
        location=_place_here(tx, location or source, plain=True),
        logged_model=version.logged_model or (logged.model if logged else None),
    )


def _place_here(tx: Transaction, uri: str, *, plain: bool) -> str:
    """Return where the artifacts of a run or logged model that a URI names are here.

    URIs that name these themselves, such as ``runs:/…``, stay unless ``plain`` is asked for.
    """
    named = Named.in_uri(uri) or (Named.in_source(uri) if plain else None)
    if named is None:
        return uri
    runs = runs_there(tx, [named.run] if named.run else [])
    models = logged_models_there(tx, [named.model] if named.model else [])
    folders = [artifact_folder(run) for run in runs.values()]
    folders += [model_folder(model) for model in models.values()]
    return f"{STORED_ROOT}{folders[0]}/{named.rest}".rstrip("/") if folders else uri


def _check_files(context: Context, tx: Transaction, version: ModelVersion) -> None:
    """Note a version whose files are nowhere."""
    location = version.location or ""
    path, remedy = f"version {version.subject}", "name the folder they lie in with --artifacts"
    if location.startswith(STORED_ROOT):
        if not files_below(tx, location.removeprefix(STORED_ROOT)):
            context.report.refuse(path, f"no files at {location}", remedy)
    elif "/" in location and not context.places.remote(location):
        found = f"its files at {location} belong to no run and no logged model"
        context.report.refuse(path, found, "log them to a run and register them from there")


def _check_model(context: Context, source: RegisteredModel, here: RegisteredModel) -> None:
    differing = [
        name for name in ("description", "tags") if getattr(source, name) != getattr(here, name)
    ]
    if differing:
        context.count(Kind.MODELS).differs += 1
        said = f"another one here: {', '.join(differing)}"
        context.report.refuse(f"registered model {source.name!r}", said, "change one of the two")


def _check_version(context: Context, source: ModelVersion, here: ModelVersion) -> None:
    differing = [name for name in _COMPARED if getattr(source, name) != getattr(here, name)]
    if differing:
        context.count(Kind.VERSIONS).differs += 1
        said = f"another one here: {', '.join(differing)}"
        remedy = "keep one of the two; nothing was overwritten"
        context.report.refuse(f"version {source.subject}", said, remedy)


def _sound_tags(context: Context, subject: str, tags: Mapping[str, str]) -> dict[str, str]:
    kept = {}
    for key, text in tags.items():
        try:
            check_notes(subject, tags={key: text})
        except Invalid as error:
            found = "; ".join(str(problem) for problem in error.problems)
            context.report.refuse(f"{subject} tag {key!r}", found, LEFT)
        else:
            kept[key] = text
    return kept


def _sound(context: Context, subject: str, one: RegisteredModel | ModelVersion) -> str | None:
    """Return a description, or None where it cannot be kept."""
    if one.description is not None and "\0" in one.description:
        context.report.refuse(subject, "a description with the character zero", LEFT)
        return None
    return one.description
