"""Logged models, brought over and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from everfit.foreign.checking import model_differences
from everfit.foreign.context import Context
from everfit.foreign.model import ForeignModel, Kind
from everfit.foreign.places import Copied, copy_files
from everfit.kernel import Transaction
from everfit.tracking import (
    Artifact,
    Experiment,
    LoggedModelData,
    ModelStatus,
    files_below,
    get_logged_model,
    import_logged_model,
    logged_models_there,
    model_folder,
    runs_there,
)
from everfit.tracking.sift import sift_model


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A logged model as it will be, and what of its files is here already."""

    foreign: ForeignModel
    home: Experiment
    tree: str
    present: Sequence[Artifact]
    there: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A logged model whose files are copied: as it will be, and where they go."""

    data: LoggedModelData
    tree: str
    copied: Copied
    there: bool


def bring_logged_models(context: Context) -> None:
    """Bring the logged models over that are not here, and compare all with the source."""
    for part in context.parts(Kind.LOGGED_MODELS, context.store.model_ids()):
        _bring_part(context, context.store.models(part))


def _bring_part(context: Context, found: Sequence[ForeignModel]) -> None:
    with context.workspace.reading() as tx:
        known = [_known(context, tx, one) for one in found]
    ready = [_with_files(context, one) for one in known if one is not None]
    with context.workspace.transaction() as tx:
        for one in ready:
            import_logged_model(tx, one.data, source=context.store.name)
            context.put_files(tx, one.tree, one.copied)
    with context.workspace.reading() as tx:
        for one in ready:
            _check(context, tx, one)


def _known(context: Context, tx: Transaction, one: ForeignModel) -> _Known | None:
    id = one.data.model.id
    home = context.home("logged model", id, one.data.model.experiment)
    if home is None:
        return None
    model = replace(one.data.model, experiment=home.id)
    data, problems = sift_model(replace(one.data, model=model))
    context.report.problems += problems
    here = logged_models_there(tx, [id]).get(id)
    tree = model_folder(here or model)
    return _Known(
        foreign=replace(one, data=_of_runs_here(context, tx, data)),
        home=home,
        tree=tree,
        present=files_below(tx, tree),
        there=here is not None,
    )


def _of_runs_here(context: Context, tx: Transaction, data: LoggedModelData) -> LoggedModelData:
    """Return the model with the points of those runs that are here; the others are noted."""
    named = {one.run for one in data.points}
    here = runs_there(tx, sorted(named))
    for run in sorted(named - here.keys()):
        path, found = f"logged model {data.model.id}", f"points of run {run!r}"
        context.report.refuse(path, found, "the run is not here; its points are left out")
    return replace(data, points=tuple(one for one in data.points if one.run in here))


def _with_files(context: Context, one: _Known) -> _Ready:
    model, uri = one.foreign.data.model, one.foreign.artifact_uri
    subject, location = f"logged model {model.id}", one.home.location
    kept = f"{location.rstrip('/')}/models/{model.id}/artifacts" if location else None
    folder = context.folder(subject, uri, kept, one.foreign.beside)
    ready = model.status is ModelStatus.READY
    if folder is None and ready and not context.places.remote(uri):
        remedy = "name the folder they lie in with --artifacts"
        context.report.refuse(subject, f"no files at {uri}", remedy)
    copied = copy_files(context.workspace.blobs, folder, one.tree, one.present)
    context.note_files(subject, copied)
    return _Ready(data=one.foreign.data, tree=one.tree, copied=copied, there=one.there)


def _check(context: Context, tx: Transaction, one: _Ready) -> None:
    """Count a logged model that is here now, and note where it differs from the source."""
    id = one.data.model.id
    context.count(Kind.LOGGED_MODELS).found(1, new=not one.there)
    context.check_files(tx, one.tree, one.copied)
    differing = model_differences(one.data, get_logged_model(tx, id, deleted=True))
    if differing:
        context.count(Kind.LOGGED_MODELS).differs += 1
        said = f"another one here: {', '.join(differing)}"
        context.report.refuse(f"logged model {id}", said, "keep one of the two")
