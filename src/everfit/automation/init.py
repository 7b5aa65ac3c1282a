"""``everfit init``: from a table to a working project."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import yaml

from everfit.automation.decode import FILE, METRICS
from everfit.automation.project import PIPELINE
from everfit.data import (
    Leak,
    Role,
    Schema,
    Source,
    Task,
    collect,
    find_leaks,
    infer_schema,
    prepare,
)
from everfit.errors import Conflict, DataInvalid, PolicyInvalid
from everfit.kernel import load_settings

# The shortest window that holds so many rows is the one to watch by.
ROWS_PER_WINDOW = 20
WINDOWS = {"1d": 1, "1w": 7, "4w": 28}

STEPS = '''"""Steps of your own. Each default stage can be replaced by a typed function of its name:

collected, prepared, segregated; any other function that takes `segregated: Split` and returns
a fitted model (something with `predict(frame)`) may be named in `train.candidates`.
What must also happen at prediction time belongs into the model, never into `prepared`.

import polars as pl
from everfit import Split


def prepared(collected: pl.DataFrame) -> pl.DataFrame:
    return collected.filter(pl.col("price") > 0)
"""
'''


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the person who starts a project says about its table, beside the target."""

    time: str | None = None
    task: Task | None = None
    exclude: tuple[str, ...] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    drop_missing_target: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What ``init`` wrote and what it inferred."""

    folder: Path
    files: tuple[Path, ...]
    schema: Schema
    leaks: tuple[Leak, ...]


def start_project(
    folder: Path, *, data: str, target: str | None, asked: Asked | None = None
) -> Started:
    """Write ``everfit.yaml`` and ``pipeline.py`` for the table ``data`` into ``folder``.

    ``data`` is a file, or a table of a database written ``URL#table``; ``asked`` is what is not to
    be inferred.

    Raises
    ------
    Conflict
        If there is a policy already; nothing is overwritten.
    SourceMissing, DataInvalid
        If the table cannot be read or used for the target.
    """
    policy = folder / FILE
    if policy.exists():
        raise Conflict(
            f"{policy} exists already", hint="Remove it first, or choose another FOLDER."
        )
    asked = asked or Asked()
    location = data if "://" in data else str(Path(data).resolve())
    most = load_settings(folder).max_columns
    frame = collect(Source(location=location, query=None), base=folder, max_columns=most)
    schema = _inferred(frame, target, asked)
    prepared = prepare(frame, schema)
    leaks = tuple(find_leaks(prepared, schema))
    folder.mkdir(parents=True, exist_ok=True)
    window = _window(prepared, schema.time)
    source = _relative(location, folder)
    name = _model_name(location)
    written = _policy_text(name, source, schema=schema, leaks=leaks, asked=asked, window=window)
    policy.write_text(written, encoding="utf-8")
    files = [policy]
    if not (folder / PIPELINE).exists():
        (folder / PIPELINE).write_text(STEPS, encoding="utf-8")
        files.append(folder / PIPELINE)
    return Started(folder=folder, files=tuple(files), schema=schema, leaks=leaks)


def _window(rows: pl.DataFrame, time: str | None) -> str:
    """Return a window long enough to hold rows that can be judged together."""
    if time is None:
        return "1d"
    first, last = rows[time].min(), rows[time].max()
    if not (isinstance(first, datetime) and isinstance(last, datetime)):
        return "1d"
    days = max((last - first) / timedelta(days=1), 1.0)
    for window, length in WINDOWS.items():
        if rows.height * length / days >= ROWS_PER_WINDOW:
            return window
    return window


def _inferred(frame: pl.DataFrame, target: str | None, asked: Asked) -> Schema:
    """Return the schema; what is wrong is said in the terms of ``everfit init``."""
    try:
        return infer_schema(
            frame,
            target=target,
            time=asked.time,
            task=asked.task,
            exclude=asked.exclude,
            roles=asked.roles,
            drop_missing_target=asked.drop_missing_target,
        )
    except (DataInvalid, PolicyInvalid) as error:
        options = (
            "`everfit init` takes --target, --time, --exclude, --role and --drop-missing-target."
        )
        raise type(error)(
            error.message, hint=f"{error.hint} {options}", problems=error.problems
        ) from error


def _policy_text(
    model: str,
    source: str,
    *,
    schema: Schema,
    leaks: Sequence[Leak],
    asked: Asked,
    window: str,
) -> str:
    lines = [
        f"model: {_quoted(model)}",
        f"task: {schema.task}",
        "data:",
        f"  source: {_quoted(source)}",
    ]
    if schema.target:
        lines.append(f"  target: {_quoted(schema.target)}")
    if schema.time:
        lines.append(f"  time: {_quoted(asked.time or schema.time)}")
    lines += [f"  # {' '.join(leak.reason.split())}" for leak in leaks]
    unused = [*asked.exclude, *(column for leak in leaks for column in leak.columns)]
    if unused:
        lines.append(f"  exclude: [{', '.join(_quoted(c) for c in dict.fromkeys(unused))}]")
    if asked.roles:
        roles = ", ".join(f"{_quoted(name)}: {role}" for name, role in asked.roles.items())
        lines.append(f"  roles: {{{roles}}}")
    if asked.drop_missing_target:
        lines.append("  drop_missing_target: true")
    candidates = "kmeans: {}" if schema.task is Task.CLUSTERING else _candidates()
    lines += [
        "truth: {arrives: 1d}          # how long after a prediction its label comes",
        "train:",
        f"  candidates: {{{candidates}}}",
        f"  metric: {METRICS[schema.task][0]}",
        *(["  split: {validation: 10%, test: 10%}   # the newest rows"] if schema.time else []),
        "gate:                         # what a new version must prove",
        "  - better: {margin: 0%, confidence: 95%}",
        "  - no_worse: {on: every slice >= 200 rows, margin: 10%}",
        f"rollout: shadow {window} -> 5% -> 25% -> 100%",
        f"monitor: {{window: {window}}}",
        "retrain:",
        "  when: [monthly, quality worse, drift that matters]",
        "  at_most: {per_day: 1, cooldown: 7d}",
    ]
    return "\n".join(lines) + "\n"


def _candidates() -> str:
    return "linear: {}, forest: {}, boosting: {}"


def _model_name(location: str) -> str:
    """Return a name that may be part of an address, taken from the table's."""
    stem = re.split(r"[/#]", location)[-1] if "://" in location else Path(location).stem
    plain = unicodedata.normalize("NFKD", stem).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")[:64].strip("-") or "model"


def _relative(location: str, folder: Path) -> str:
    """Return the path as it should stand in a file that may move together with its data."""
    if "://" in location:
        return location
    return Path(os.path.relpath(location, folder.resolve())).as_posix()


def _quoted(value: str) -> str:
    """Return a text as YAML takes it, in quotes where it would be anything else without."""
    plain = re.fullmatch(r"[A-Za-z_./][A-Za-z0-9_./-]*", value)
    if plain and yaml.safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)
