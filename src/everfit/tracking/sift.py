"""What of a run that was logged elsewhere can be kept here, and what cannot. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from everfit.errors import Problem
from everfit.tracking.model import DatasetInput, LoggedModelData, MetricPoint, RunData
from everfit.tracking.rules import (
    DATASET_LENGTHS,
    EXPERIMENT_TAG_LENGTH,
    INPUT_TAG_KEY_LENGTH,
    INPUT_TAG_LENGTH,
    MODEL_KEY_LENGTH,
    MODEL_TEXT_LENGTH,
    MOST_INT64,
    PARAM_LENGTH,
    TAG_LENGTH,
    shown,
    wrong_key,
    wrong_text,
)

# An id is part of the path of its files.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,99}")
Rule = Callable[[str], str | None]


def wrong_id(id: str) -> str | None:
    """Return why a run or logged model that came from elsewhere cannot have this id, or None.

    Examples
    --------
    >>> wrong_id("0af3"), wrong_id("../up")
    (None, "it needs an id of 1 to 100 letters, digits, '_' and '-'")
    """
    if _ID.fullmatch(id):
        return None
    return "it needs an id of 1 to 100 letters, digits, '_' and '-'"


def sift_run(data: RunData) -> tuple[RunData, list[Problem]]:
    """Return the run with what can be kept of it, and a problem for everything that cannot."""
    subject = f"run {data.run.id}"
    params, problems = sift_texts(f"{subject} parameter", data.params, PARAM_LENGTH)
    tags, more = sift_texts(f"{subject} tag", data.tags, TAG_LENGTH)
    problems += more
    datasets = []
    for used in data.datasets:
        kept, more = _sift_input(subject, used)
        problems += more
        datasets += kept
    run = data.run
    for name in ("name", "actor"):
        problems += _without_nul(f"{subject} {name}", getattr(run, name))
    run = replace(run, name=run.name.replace("\0", ""), actor=run.actor.replace("\0", ""))
    sifted = replace(data, run=run, params=params, tags=tags, datasets=tuple(datasets))
    return sifted, problems


def sift_experiment_tags(
    name: str, tags: Mapping[str, str]
) -> tuple[dict[str, str], list[Problem]]:
    """Return the tags of an experiment that can be kept, and a problem for each other."""
    return sift_texts(f"experiment {shown(name)} tag", tags, EXPERIMENT_TAG_LENGTH)


def sift_model(data: LoggedModelData) -> tuple[LoggedModelData, list[Problem]]:
    """Return the logged model with what can be kept of it, and a problem for everything else."""
    subject = f"logged model {data.model.id}"
    params, problems = _sifted(f"{subject} parameter", data.params, _model_key, MODEL_TEXT_LENGTH)
    tags, more = _sifted(f"{subject} tag", data.tags, _model_key, MODEL_TEXT_LENGTH)
    points = []
    for one in data.points:
        wrong = wrong_point(subject, one.point)
        if wrong is None:
            points.append(one)
        else:
            more.append(wrong)
    return replace(data, params=params, tags=tags, points=tuple(points)), problems + more


def sift_texts(
    path: str, texts: Mapping[str, str], most: int
) -> tuple[dict[str, str], list[Problem]]:
    """Return the parameters or tags that can be kept, and a problem for each other."""
    return _sifted(path, texts, wrong_key, most)


def wrong_point(subject: str, point: MetricPoint) -> Problem | None:
    """Return why a point of a metric cannot be kept, or None."""
    key, _, step, at_us = point
    remedy = wrong_key(key)
    if remedy is not None:
        return Problem(path=f"{subject} metric", found=shown(key), remedy=remedy)
    path = f"{subject} metric {shown(key)}"
    if not -MOST_INT64 <= step <= MOST_INT64:
        return Problem(path=path, found=f"step {step}", remedy="use 64 bits")
    if not 0 <= at_us <= MOST_INT64:
        remedy = "use a time from 1970 on, of at most 9223372036854775 milliseconds"
        return Problem(path=path, found=f"the time {at_us // 1000} ms", remedy=remedy)
    return None


def _sifted(
    path: str, texts: Mapping[str, str], rule: Rule, most: int
) -> tuple[dict[str, str], list[Problem]]:
    kept, problems = {}, []
    for key, text in texts.items():
        wrong = rule(key)
        if wrong is not None:
            problems.append(Problem(path=path, found=shown(key), remedy=wrong))
            continue
        wrong = wrong_text(text, most)
        if wrong is None:
            kept[key] = text
        else:
            found = f"{len(text):,} characters: {shown(text)}"
            problems.append(Problem(path=f"{path} {shown(key)}", found=found, remedy=wrong))
    return kept, problems


def _without_nul(path: str, text: str) -> list[Problem]:
    wrong = wrong_text(text, len(text))
    return [Problem(path=path, found=shown(text), remedy=wrong)] if wrong else []


def _model_key(key: str) -> str | None:
    return wrong_text(key, MODEL_KEY_LENGTH) if key else "give it a name"


def _sift_input(subject: str, used: DatasetInput) -> tuple[list[DatasetInput], list[Problem]]:
    path = f"{subject} dataset {shown(used.dataset.name)}"
    problems = []
    for field, most in DATASET_LENGTHS.items():
        text = getattr(used.dataset, field) or ""
        wrong = wrong_text(text, most)
        if wrong is not None:
            problems.append(Problem(path=f"{path} {field}", found=shown(text), remedy=wrong))
    if problems:
        return [], problems
    tags, problems = _sifted(f"{path} tag", used.tags, _input_key, INPUT_TAG_LENGTH)
    return [replace(used, tags=tags)], problems


def _input_key(key: str) -> str | None:
    return wrong_text(key, INPUT_TAG_KEY_LENGTH)
