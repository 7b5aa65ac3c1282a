"""MLflow's file store, the folder ``mlruns``: read only.

An experiment is a folder with a ``meta.yaml``; so are the runs and, below ``models``, the logged
models in it. A parameter or tag is a file of its name, a metric a file with a line for each point.
Registered models lie below ``models`` of the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from everfit.errors import Invalid
from everfit.foreign import entities
from everfit.foreign.entities import DELETED_VERSION
from everfit.foreign.file_traces import FileTraces
from everfit.foreign.folders import MEND, META, files, folders, meta_of, read, texts
from everfit.foreign.model import ForeignModel, ForeignRegistered, ForeignRun, Report
from everfit.tracking import (
    DatasetInput,
    Experiment,
    LoggedModelData,
    MetricPoint,
    ModelOutput,
    ModelPoint,
    RunData,
)

TRASH, MODELS = ".trash", "models"
RESERVED = frozenset({"tags", "datasets", "traces", MODELS})
_STATUSES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}


class FileStore:
    """The folder ``mlruns`` behind the port ``ForeignStore``."""

    def __init__(self, root: Path, report: Report) -> None:
        self.name = str(root)
        self._report = report
        self._experiments = {path.name: path for path in folders(root)} | {
            path.name: path for path in folders(root / TRASH)
        }
        self._experiments.pop(MODELS, None)
        self._runs: dict[str, Path] = {}
        self._models: dict[str, Path] = {}
        for folder in self._experiments.values():
            self._runs |= {run.name: run for run in folders(folder) if run.name not in RESERVED}
            self._models |= {model.name: model for model in folders(folder / MODELS)}
        self._registered = folders(root / MODELS)
        self.traces = FileTraces(self._experiments.values(), report)
        if not self._experiments and not self._registered:
            raise Invalid(
                f"{root} is no file store of MLflow: no folder in it has a {META}",
                hint="Name the folder that is called mlruns, or MLflow's database.",
            )

    def experiments(self) -> list[Experiment]:
        """Return all experiments, deleted ones too."""

        def build(folder: Path) -> Experiment:
            return entities.experiment(meta_of(folder), texts(folder / "tags"))

        return read(self._report, "experiment", list(self._experiments.values()), build)

    def run_ids(self) -> list[str]:
        """Return the ids of all runs, by experiment."""
        return list(self._runs)

    def runs(self, ids: Sequence[str]) -> list[ForeignRun]:
        """Return these runs without their points."""
        return read(self._report, "run", [self._runs[id] for id in ids], self._run)

    def _run(self, folder: Path) -> ForeignRun:
        meta, tags = meta_of(folder), texts(folder / "tags")
        status = meta.get("status")
        row = {
            **meta,
            "run_uuid": folder.name,
            "name": meta.get("run_name") or meta.get("name"),
            # Written as a number; very old files have the word.
            "status": _STATUSES.get(status, status) if status else None,
        }
        models, datasets = self._inputs(folder)
        data = RunData(
            run=entities.run(row, tags),
            metrics=(),
            params=texts(folder / "params"),
            tags=tags,
            datasets=tuple(datasets),
            models=tuple(models),
            outputs=tuple(
                ModelOutput(model=made["destination_id"], step=made.get("step") or 0)
                for made in map(meta_of, folders(folder / "outputs"))
            ),
        )
        uri = meta.get("artifact_uri") or ""
        return ForeignRun(data=data, artifact_uri=uri, beside=folder / "artifacts")

    def _inputs(self, folder: Path) -> tuple[list[str], list[DatasetInput]]:
        models, datasets = [], []
        for used in map(meta_of, folders(folder / "inputs")):
            if used["source_type"] == "MODEL":
                models.append(used["source_id"])
                continue
            described = meta_of(folder.parent / "datasets" / used["source_id"])
            renamed = {f"dataset_{key}": value for key, value in described.items()}
            dataset = entities.dataset({**described, **renamed})
            datasets.append(DatasetInput(dataset=dataset, tags=used.get("tags") or {}))
        return models, datasets

    def points(self, run_id: str) -> Iterator[MetricPoint]:
        """Yield the points of a run's metrics, each once, metric by metric."""
        folder = self._runs[run_id]
        for key, lines in self._lines(f"run {run_id}", folder / "metrics"):
            points = dict.fromkeys(_point(key, line) for line in lines)
            yield from sorted(_distinct(points), key=lambda point: (point.step, point.at_us))

    def model_ids(self) -> list[str]:
        """Return the ids of all logged models."""
        return list(self._models)

    def models(self, ids: Sequence[str]) -> list[ForeignModel]:
        """Return these logged models."""
        return read(self._report, "logged model", [self._models[id] for id in ids], self._model)

    def _model(self, folder: Path) -> ForeignModel:
        meta = meta_of(folder)
        row = {
            **meta,
            "creation_timestamp_ms": meta["creation_timestamp"],
            "last_updated_timestamp_ms": meta.get("last_updated_timestamp"),
        }
        points = [
            _model_point(folder.name, key, line)
            for key, lines in self._lines(f"logged model {folder.name}", folder / "metrics")
            for line in lines
        ]
        data = LoggedModelData(
            model=entities.logged_model(row),
            params=texts(folder / "params"),
            tags=texts(folder / "tags"),
            points=tuple(points),
        )
        uri = meta.get("artifact_location") or ""
        return ForeignModel(data=data, artifact_uri=uri, beside=folder / "artifacts")

    def registered(self) -> list[ForeignRegistered]:
        """Return all registered models with the versions that are not deleted."""
        return read(self._report, "registered model", self._registered, self._registered_model)

    def _registered_model(self, folder: Path) -> ForeignRegistered:
        aliases = {alias: int(at) for alias, at in texts(folder / "aliases").items()}
        versions = [one for one in folders(folder) if one.name.startswith("version-")]
        kept = [one for one in versions if meta_of(one).get("current_stage") != DELETED_VERSION]
        row = _stamped(meta_of(folder))
        return ForeignRegistered(
            model=entities.registered_model(row, texts(folder / "tags"), aliases),
            last_number=max((_number(one) for one in versions), default=0),
            versions=read(
                self._report,
                f"version of {folder.name!r}",
                sorted(kept, key=_number),
                lambda one: entities.version(_stamped(meta_of(one)), texts(one / "tags")),
            ),
        )

    def left_out(self) -> dict[str, int]:
        """Return how many there are of kinds that do not come over."""
        return self.traces.left_out()

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _lines(self, subject: str, folder: Path) -> Iterator[tuple[str, list[list[str]]]]:
        """Yield the metrics of a folder with the fields of their lines; wrong lines are noted."""
        for key, file in files(folder):
            sound = []
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                fields = line.split(" ", 3)
                if _is_sound(fields):
                    sound.append(fields)
                elif line.strip():
                    path = f"{subject} metric {key!r} line {number}"
                    self._report.refuse(path, repr(line[:100]), MEND)
            if sound:
                yield key, sound


def _is_sound(fields: Sequence[str]) -> bool:
    try:
        int(fields[0])
        float(fields[1])
        int(fields[2]) if len(fields) > 2 else 0
    except (ValueError, IndexError):
        return False
    return True


def _point(key: str, fields: Sequence[str]) -> MetricPoint:
    step = int(fields[2]) if len(fields) > 2 else 0
    return MetricPoint(key, float(fields[1]), step, int(fields[0]) * 1000)


def _distinct(points: Mapping[MetricPoint, object]) -> list[MetricPoint]:
    """Return points of one metric with NaN, which equals nothing, once for each step and time."""
    missing = {(one.step, one.at_us): one for one in points if one.value != one.value}
    return [one for one in points if one.value == one.value] + list(missing.values())


def _model_point(model: str, key: str, fields: Sequence[str]) -> ModelPoint:
    run, _, named = (fields[3] if len(fields) > 3 else "").partition(" ")
    # The name of a dataset may have spaces in it, its digest has none.
    dataset, _, digest = named.rpartition(" ")
    return ModelPoint(
        point=_point(key, fields), model=model, dataset=dataset, digest=digest, run=run
    )


def _stamped(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return times under the names of the database."""
    return {
        **meta,
        "creation_time": meta.get("creation_timestamp"),
        "last_updated_time": meta.get("last_updated_timestamp"),
    }


def _number(folder: Path) -> int:
    return int(folder.name.removeprefix("version-"))
