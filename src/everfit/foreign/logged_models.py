"""Logged models, brought over and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from everfit.foreign.checking import model_differences
from everfit.foreign.context import Context, parts
from everfit.foreign.model import ForeignModel, Kind
from everfit.foreign.places import Copied, copy_files
from everfit.kernel import Transaction
from everfit.tracking import (
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
from everfit.tracking.sift import sift_model, wrong_id


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A logged model whose files are copied: as it will be, and where they go."""

    data: LoggedModelData
    tree: str
    copied: Copied
    there: bool


def bring_logged_models(context: Context) -> None:
    """Bring the logged models over that are not here, and compare all with the source."""
    ids = context.store.model_ids()
    context.count(Kind.LOGGED_MODELS).source += len(ids)
    done = 0
    for part in parts(ids):
        _bring_part(context, context.store.models(part))
        done += len(part)
        context.tell(Kind.LOGGED_MODELS, done, len(ids))


def _bring_part(context: Context, found: Sequence[ForeignModel]) -> None:
    with context.workspace.reading() as tx:
        ready = [one for each in found if (one := _ready(context, tx, each)) is not None]
    with context.workspace.transaction() as tx:
        for one in ready:
            import_logged_model(tx, one.data, source=context.store.name)
            context.put_files(tx, one.tree, one.copied)
    with context.workspace.reading() as tx:
        for one in ready:
            _check(context, tx, one)


def _ready(context: Context, tx: Transaction, one: ForeignModel) -> _Ready | None:
    id = one.data.model.id
    home = context.homes.get(one.data.model.experiment)
    wrong = wrong_id(id) if home is not None else "its experiment did not come over"
    if home is None or wrong is not None:
        context.report.refuse(f"logged model {id[:100]!r}", "it cannot come over", str(wrong))
        return None
    model = replace(one.data.model, experiment=home.id)
    data, problems = sift_model(replace(one.data, model=model))
    context.report.problems += problems
    data = _of_runs_here(context, tx, data)
    here = logged_models_there(tx, [id]).get(id)
    tree = model_folder(here or model)
    copied = _copied(context, one, home, tree, tx)
    return _Ready(data=data, tree=tree, copied=copied, there=here is not None)


def _of_runs_here(context: Context, tx: Transaction, data: LoggedModelData) -> LoggedModelData:
    """Return the model with the points of those runs that are here; the others are noted."""
    named = {one.run for one in data.points}
    here = runs_there(tx, sorted(named))
    for run in sorted(named - here.keys()):
        path, found = f"logged model {data.model.id}", f"points of run {run!r}"
        context.report.refuse(path, found, "the run is not here; its points are left out")
    return replace(data, points=tuple(one for one in data.points if one.run in here))


def _copied(
    context: Context, one: ForeignModel, home: Experiment, tree: str, tx: Transaction
) -> Copied:
    id, uri = one.data.model.id, one.artifact_uri
    subject = f"logged model {id}"
    kept = f"{home.location.rstrip('/')}/models/{id}/artifacts" if home.location else None
    folder = context.folder(subject, uri, kept, one.beside)
    ready = one.data.model.status is ModelStatus.READY
    if folder is None and ready and not context.places.remote(uri):
        remedy = "name the folder they lie in with --artifacts"
        context.report.refuse(subject, f"no files at {uri}", remedy)
    copied = copy_files(context.workspace.blobs, folder, tree, files_below(tx, tree))
    context.note_files(subject, copied)
    return copied


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
