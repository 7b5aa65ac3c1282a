"""Experiments and runs, brought over and compared."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

from everfit.errors import Invalid
from everfit.foreign.checking import Tally, run_differences
from everfit.foreign.context import Context
from everfit.foreign.model import ForeignRun, Kind
from everfit.foreign.places import Copied, copy_files
from everfit.kernel import Transaction
from everfit.tracking import (
    Artifact,
    Experiment,
    RunData,
    artifact_folder,
    count_points,
    files_below,
    get_run_data,
    import_experiment,
    import_run,
    runs_there,
)
from everfit.tracking.sift import sift_experiment_tags, sift_run

IMPORTED_TAG = "everfit.imported.experiment"
"""The tag of an experiment that says which id it had where it was imported from."""

MODEL_HISTORY = "mlflow.log-model.history"
# A transaction ends when it has written so many points: others want to write, too.
ENOUGH_POINTS = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A run whose files are copied and which can be written: as it will be, and what it has."""

    data: RunData
    tally: Tally
    tree: str
    copied: Copied
    there: bool


def bring_experiments(context: Context) -> None:
    """Make the experiments that are not here, and note which is which."""
    found = context.store.experiments()
    count = context.count(Kind.EXPERIMENTS)
    count.source += len(found)
    for done, there in enumerate(found, 1):
        try:
            _bring_experiment(context, there)
        except Invalid as error:
            path = f"experiment {there.id}, with its runs"
            context.report.refuse(path, error.message, "rename it in MLflow, then import again")
        context.tell(Kind.EXPERIMENTS, done, len(found))


def _bring_experiment(context: Context, there: Experiment) -> None:
    tags, problems = sift_experiment_tags(there.name, there.tags)
    context.report.problems += problems
    # What clients reach by themselves stays where it is; all else is copied into our own tree.
    location = there.location if context.places.remote(there.location) else None
    wanted = replace(there, location=location, tags={**tags, IMPORTED_TAG: there.id})
    with context.workspace.transaction() as tx:
        here, new = import_experiment(tx, wanted)
    context.homes[there.id] = here
    if here.location not in (None, there.location):
        said = f"clients look for its artifacts at {here.location}, not where they are imported to"
        context.report.refuse(f"experiment {there.name!r}", said, "rename one of the two")
    count = context.count(Kind.EXPERIMENTS)
    count.found(1, new=new)
    if any(here.tags.get(key) != text for key, text in tags.items()) or here.stage != there.stage:
        count.differs += 1
        said = f"it is {here.stage}, with other tags than in the source"
        context.report.refuse(f"experiment {there.name!r}", said, "change one of the two")


def bring_runs(context: Context) -> None:
    """Bring the runs over that are not here, and compare all of them with the source."""
    for part in context.parts(Kind.RUNS, context.store.run_ids()):
        _bring_part(context, context.store.runs(part))


def _bring_part(context: Context, found: Sequence[ForeignRun]) -> None:
    with context.workspace.reading() as tx:
        here = runs_there(tx, [one.data.run.id for one in found])
        present = {id: files_below(tx, artifact_folder(run)) for id, run in here.items()}
    ready = []
    for one in found:
        id = one.data.run.id
        home = context.home("run", id, one.data.run.experiment)
        if home is None:
            continue
        data, problems = sift_run(replace(one.data, run=replace(one.data.run, experiment=home.id)))
        context.report.problems += problems
        _count_source(context, one.data)
        tree = artifact_folder(here.get(id, data.run))
        copied = _copied(context, replace(one, data=data), home, tree, present.get(id, ()))
        ready.append(
            _Ready(data=data, tally=Tally(f"run {id}"), tree=tree, copied=copied, there=id in here)
        )
    _write(context, ready)
    with context.workspace.reading() as tx:
        for one_ready in ready:
            _check(context, tx, one_ready)


def _count_source(context: Context, data: RunData) -> None:
    context.count(Kind.PARAMS).source += len(data.params)
    context.count(Kind.TAGS).source += len(data.tags)
    context.count(Kind.DATASETS).source += len(data.datasets)


def _copied(
    context: Context, one: ForeignRun, home: Experiment, tree: str, present: Sequence[Artifact]
) -> Copied:
    id = one.data.run.id
    kept = f"{home.location.rstrip('/')}/{id}/artifacts" if home.location else None
    folder = context.folder(f"run {id}", one.artifact_uri, kept, one.beside)
    remote = context.places.remote(one.artifact_uri)
    if folder is None and not remote and _has_model(one.data):
        found = f"no files at {one.artifact_uri}, though a model was logged there"
        context.report.refuse(f"run {id}", found, "name the folder they lie in with --artifacts")
    copied = copy_files(context.workspace.blobs, folder, tree, present)
    context.note_files(f"run {id}", copied)
    return copied


def _has_model(data: RunData) -> bool:
    # From MLflow 3 on the files lie with the logged model, not with the run that made it.
    return MODEL_HISTORY in data.tags and not data.outputs


def _write(context: Context, ready: Sequence[_Ready]) -> None:
    waiting = deque(ready)
    while waiting:
        with context.workspace.transaction() as tx:
            written = 0
            while waiting and written < ENOUGH_POINTS:
                one = waiting.popleft()
                if not one.there:
                    points = one.tally.through(context.store.points(one.data.run.id))
                    import_run(tx, one.data, points, source=context.store.name)
                    written += one.tally.total
                context.put_files(tx, one.tree, one.copied)


def _check(context: Context, tx: Transaction, one: _Ready) -> None:
    """Count what is here of a run now, and note where it differs from the source."""
    id = one.data.run.id
    if one.there:
        # What was not written has not been read yet.
        deque(one.tally.through(context.store.points(id)), maxlen=0)
    context.report.problems += one.tally.problems
    context.count(Kind.POINTS).source += one.tally.total
    here, counts = get_run_data(tx, id), count_points(tx, id)
    for kind, found in (
        (Kind.RUNS, 1),
        (Kind.PARAMS, len(here.params)),
        (Kind.POINTS, sum(counts.values())),
        (Kind.TAGS, len(here.tags)),
        (Kind.DATASETS, len(here.datasets)),
    ):
        context.count(kind).found(found, new=not one.there)
    context.check_files(tx, one.tree, one.copied)
    differing = run_differences(one.data, one.tally, here, counts)
    if differing:
        context.count(Kind.RUNS).differs += 1
        said = f"another one here: {', '.join(differing)}"
        context.report.refuse(f"run {id}", said, "keep one of the two; nothing was overwritten")
