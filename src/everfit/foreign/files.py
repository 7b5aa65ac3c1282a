"""MLflow's file store, the folder ``mlruns``: read only.

An experiment is a folder with a ``meta.yaml``; so are the runs and, below ``models``, the logged
models in it. A parameter or tag is a file of its name, a metric a file with a line for each point.
Registered models lie below ``models`` of the whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from everfit.errors import Invalid
from everfit.foreign import entities
from everfit.foreign.entities import DELETED_VERSION, WORKSPACE
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

META, TRASH, MODELS = "meta.yaml", ".trash", "models"
RESERVED = frozenset({"tags", "datasets", "traces", MODELS})
_STATUSES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
_MEND = "mend the file, then import again"
T = TypeVar("T")


class FileStore:
    """The folder ``mlruns`` behind the port ``ForeignStore``."""

    def __init__(self, root: Path, report: Report) -> None:
        self.name = str(root)
        self._report = report
        self._experiments = {path.name: path for path in _folders(root)} | {
            path.name: path for path in _folders(root / TRASH)
        }
        self._experiments.pop(MODELS, None)
        self._runs: dict[str, Path] = {}
        self._models: dict[str, Path] = {}
        for folder in self._experiments.values():
            self._runs |= {run.name: run for run in _folders(folder) if run.name not in RESERVED}
            self._models |= {model.name: model for model in _folders(folder / MODELS)}
        self._registered = _folders(root / MODELS)
        if not self._experiments and not self._registered:
            raise Invalid(
                f"{root} is no file store of MLflow: no folder in it has a {META}",
                hint="Name the folder that is called mlruns, or MLflow's database.",
            )

    def experiments(self) -> list[Experiment]:
        """Return all experiments, deleted ones too."""

        def build(folder: Path) -> Experiment:
            return entities.experiment(_meta(folder), _texts(folder / "tags"))

        return self._read("experiment", list(self._experiments.values()), build)

    def run_ids(self) -> list[str]:
        """Return the ids of all runs, by experiment."""
        return list(self._runs)

    def runs(self, ids: Sequence[str]) -> list[ForeignRun]:
        """Return these runs without their points."""
        return self._read("run", [self._runs[id] for id in ids], self._run)

    def _run(self, folder: Path) -> ForeignRun:
        meta, tags = _meta(folder), _texts(folder / "tags")
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
            params=_texts(folder / "params"),
            tags=tags,
            datasets=tuple(datasets),
            models=tuple(models),
            outputs=tuple(
                ModelOutput(model=made["destination_id"], step=made.get("step") or 0)
                for made in map(_meta, _folders(folder / "outputs"))
            ),
        )
        uri = meta.get("artifact_uri") or ""
        return ForeignRun(data=data, artifact_uri=uri, beside=folder / "artifacts")

    def _inputs(self, folder: Path) -> tuple[list[str], list[DatasetInput]]:
        models, datasets = [], []
        for used in map(_meta, _folders(folder / "inputs")):
            if used["source_type"] == "MODEL":
                models.append(used["source_id"])
                continue
            described = _meta(folder.parent / "datasets" / used["source_id"])
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
        return self._read("logged model", [self._models[id] for id in ids], self._model)

    def _model(self, folder: Path) -> ForeignModel:
        meta = _meta(folder)
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
            params=_texts(folder / "params"),
            tags=_texts(folder / "tags"),
            points=tuple(points),
        )
        uri = meta.get("artifact_location") or ""
        return ForeignModel(data=data, artifact_uri=uri, beside=folder / "artifacts")

    def registered(self) -> list[ForeignRegistered]:
        """Return all registered models with the versions that are not deleted."""
        return self._read("registered model", self._registered, self._registered_model)

    def _registered_model(self, folder: Path) -> ForeignRegistered:
        aliases = {alias: int(at) for alias, at in _texts(folder / "aliases").items()}
        versions = [one for one in _folders(folder) if one.name.startswith("version-")]
        kept = [one for one in versions if _meta(one).get("current_stage") != DELETED_VERSION]
        row = _stamped(_meta(folder))
        return ForeignRegistered(
            model=entities.registered_model(row, _texts(folder / "tags"), aliases),
            last_number=max((_number(one) for one in versions), default=0),
            versions=self._read(
                f"version of {folder.name!r}",
                sorted(kept, key=_number),
                lambda one: entities.version(_stamped(_meta(one)), _texts(one / "tags")),
            ),
        )

    def left_out(self) -> dict[str, int]:
        """Return how many there are of kinds that do not come over."""
        traces = [
            trace
            for folder in self._experiments.values()
            for trace in _folders(folder / "traces", "trace_info.yaml")
        ]
        return {"traces": len(traces)}

    def close(self) -> None:
        """Do nothing: no file stays open."""

    def _read(self, kind: str, folders: Sequence[Path], build: Callable[[Path], T]) -> list[T]:
        """Return what ``build`` makes of the folders; one that it cannot read is noted."""
        found = []
        for folder in folders:
            try:
                found.append(build(folder))
            except (Invalid, KeyError, TypeError, ValueError, OSError, yaml.YAMLError) as error:
                said = f"{type(error).__name__}: {error}"
                self._report.refuse(f"{kind} {folder.name}", said, _MEND)
        return found

    def _lines(self, subject: str, folder: Path) -> Iterator[tuple[str, list[list[str]]]]:
        """Yield the metrics of a folder with the fields of their lines; wrong lines are noted."""
        for key, file in _files(folder):
            sound = []
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
                fields = line.split(" ", 3)
                if _is_sound(fields):
                    sound.append(fields)
                elif line.strip():
                    path = f"{subject} metric {key!r} line {number}"
                    self._report.refuse(path, repr(line[:100]), _MEND)
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


def _folders(root: Path, meta: str = META) -> list[Path]:
    """Return the folders right below ``root`` that have a ``meta`` file, by name."""
    if not root.is_dir():
        return []
    return sorted(path for path in root.iterdir() if (path / meta).is_file())


def _meta(folder: Path) -> dict[str, Any]:
    """Return what ``meta.yaml`` says; raises OSError, YAMLError, TypeError, ValueError."""
    said = yaml.safe_load((folder / META).read_text(encoding="utf-8"))
    if not isinstance(said, dict):
        raise TypeError(f"{folder / META} says nothing")
    if said.get("workspace", WORKSPACE) != WORKSPACE:
        raise ValueError(f"it lies in the workspace {said['workspace']!r}")
    return said


def _stamped(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Return times under the names of the database."""
    return {
        **meta,
        "creation_time": meta.get("creation_timestamp"),
        "last_updated_time": meta.get("last_updated_timestamp"),
    }


def _number(folder: Path) -> int:
    return int(folder.name.removeprefix("version-"))


def _texts(folder: Path) -> dict[str, str]:
    """Return the texts that lie below a folder, by their paths; raises OSError, ValueError."""
    return {key: file.read_bytes().decode("utf-8") for key, file in _files(folder)}


def _files(folder: Path) -> list[tuple[str, Path]]:
    """Return every file below a folder with its path in it, by path."""
    found = []
    for root, _, names in os.walk(folder):
        for name in names:
            file = Path(root) / name
            found.append((file.relative_to(folder).as_posix(), file))
    return sorted(found)
