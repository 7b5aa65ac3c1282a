"""What names, keys and texts may be. The limits are those of the field's clients."""

from __future__ import annotations

import functools
import json
import math
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from everfit.errors import Invalid, Problem
from everfit.tracking.model import DatasetInput, ModelPoint

KEY_LENGTH = 250
PARAM_LENGTH = 6_000
TAG_LENGTH = 8_000
EXPERIMENT_NAME_LENGTH = 500
EXPERIMENT_TAG_LENGTH = 20_000
INPUT_TAG_KEY_LENGTH = 255
INPUT_TAG_LENGTH = 500
DATASET_LENGTHS = {
    "name": 500,
    "digest": 36,
    "source_type": 500,
    "source": 65_535,
    "schema": 1_048_575,
    "profile": 16_777_215,
}
MODEL_NAME_LENGTH = 500
MODEL_KEY_LENGTH = 255
MODEL_TEXT_LENGTH = 100_000
# A step and a time are stored in 64 bits; a time comes in milliseconds and is kept in micro-.
MOST_INT64 = 2**63 - 1
# How a parameter's value is kept.
TEXT, JSON = "text", "json"
_REFUSED_IN_MODEL_NAMES = "/:.%\"'"
_KEY = re.compile(r"[/\w.\- :]+")
_SHOWN = 60


@functools.lru_cache(maxsize=10_000)
def wrong_key(key: str) -> str | None:
    """Return what is wrong with the name of a metric, parameter or tag, or None.

    Examples
    --------
    >>> wrong_key("val/loss") is None
    True
    >>> wrong_key("../loss")
    "use a name that is no path out of its folder, without '..', '.' or '//'"
    """
    if not _KEY.fullmatch(key):
        return "use letters, digits, '_', '-', '.', ' ', ':' and '/', at least one of them"
    if len(key) > KEY_LENGTH:
        return f"use at most {KEY_LENGTH} characters"
    plain = posixpath.normpath(key)
    if plain != key or plain == "." or plain.startswith(("..", "/")):
        return "use a name that is no path out of its folder, without '..', '.' or '//'"
    return None


def wrong_text(text: str, most: int) -> str | None:
    """Return what is wrong with the value of a parameter or tag, or None."""
    if "\0" in text:
        return "leave out the character NUL"
    if len(text) > most:
        return f"use at most {most:,} characters, or log it as an artifact"
    return None


def check_texts(subject: str, kind: str, texts: Mapping[str, str], most: int) -> None:
    """Raise one Invalid that names every key and value that cannot be logged."""
    problems = list(_problems(kind, texts, most))
    if problems:
        raise Invalid.of(subject, problems, hint="Nothing was logged.")


def param_texts(run_id: str, values: Mapping[str, object]) -> dict[str, tuple[str, str]]:
    """Return each parameter as a text and its kind: ``TEXT``, or ``JSON`` where it was no text.

    Raises
    ------
    Invalid
        If a value is no text, number, boolean or None, or a name or value cannot be kept.
    """
    plain = {key: plain_scalar(value) for key, value in values.items()}
    problems = [
        Problem(path=key, found=type(value).__name__, remedy="log a text, number, boolean or None")
        for key, value in plain.items()
        if not (value is None or isinstance(value, str | int | float))
    ]
    if problems:
        raise Invalid.of(
            f"parameters of run {run_id}",
            problems,
            hint="Log the parts one by one, or the whole as an artifact.",
        )
    texts = {
        key: (value, TEXT)
        if isinstance(value, str)
        else (json.dumps(value, ensure_ascii=False), JSON)
        for key, value in plain.items()
    }
    given = {key: text for key, (text, _) in texts.items()}
    check_texts(f"parameters of run {run_id}", "parameter", given, PARAM_LENGTH)
    return texts


def plain_scalar(value: Any) -> Any:
    """Return NumPy's scalars as Python's, and what JSON cannot write as text."""
    value = value.item() if getattr(value, "shape", None) == () else value
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _problems(kind: str, texts: Mapping[str, str], most: int) -> Iterable[Problem]:
    for key, text in texts.items():
        remedy = wrong_key(key)
        if remedy:
            yield Problem(path=kind, found=shown(key), remedy=remedy)
        yield from _wrong(f"{kind} {shown(key)}", text, most)


def check_experiment_name(name: str) -> None:
    """Raise Invalid if an experiment cannot be called so."""
    if not name.strip() or len(name) > EXPERIMENT_NAME_LENGTH or "\0" in name:
        raise Invalid(
            f"{shown(name)} is no name of an experiment",
            hint=f"Use 1 to {EXPERIMENT_NAME_LENGTH} characters, not all of them spaces.",
        )


def check_inputs(subject: str, inputs: Sequence[DatasetInput]) -> None:
    """Raise one Invalid that names every text of datasets and their tags that cannot be kept."""
    problems: list[Problem] = []
    for place, used in enumerate(inputs):
        for name, most in DATASET_LENGTHS.items():
            text = getattr(used.dataset, name)
            path = f"datasets[{place}].{name}"
            problems += _wrong(path, text or "", most)
        for key, value in used.tags.items():
            path = f"datasets[{place}].tags"
            problems += _wrong(path, key, INPUT_TAG_KEY_LENGTH)
            problems += _wrong(f"{path} {shown(key)}", value, INPUT_TAG_LENGTH)
    if problems:
        raise Invalid.of(subject, problems, hint="Nothing was logged.")


def check_model_texts(subject: str, kind: str, texts: Mapping[str, str]) -> None:
    """Raise one Invalid that names every parameter or tag that a logged model cannot keep.

    A key may be any text: clients take more of them for models than for runs.
    """
    problems: list[Problem] = []
    for key, value in texts.items():
        if not key:
            problems.append(Problem(path=kind, found="''", remedy="give it a name"))
        problems += _wrong(kind, key, MODEL_KEY_LENGTH)
        problems += _wrong(f"{kind} {shown(key)}", value, MODEL_TEXT_LENGTH)
    if problems:
        raise Invalid.of(subject, problems, hint="Nothing was logged.")


def check_model_name(name: str) -> None:
    """Raise Invalid if a logged model cannot be called so."""
    refused = [letter for letter in _REFUSED_IN_MODEL_NAMES if letter in name]
    if refused or not 1 <= len(name) <= MODEL_NAME_LENGTH or "\0" in name:
        raise Invalid(
            f"{shown(name)} is no name of a logged model",
            hint=f"Use 1 to {MODEL_NAME_LENGTH} characters, none of {_REFUSED_IN_MODEL_NAMES}",
        )


def check_model_ids(run_id: str, ids: Sequence[str]) -> None:
    """Raise one Invalid that names every text that is no id of a logged model."""
    problems = [
        Problem(path="models", found=shown(id), remedy="use the id that the model was made with")
        for id in ids
        if not id or wrong_text(id, MODEL_KEY_LENGTH)
    ]
    if problems:
        raise Invalid.of(f"the models of run {run_id}", problems, hint="Nothing was logged.")


def check_measured(subject: str, points: Sequence[ModelPoint]) -> None:
    """Raise one Invalid that names every dataset on which no model can be measured."""
    problems: list[Problem] = []
    for dataset, digest in {(one.dataset, one.digest) for one in points}:
        problems += _wrong("dataset_name", dataset, DATASET_LENGTHS["name"])
        problems += _wrong("dataset_digest", digest, DATASET_LENGTHS["digest"])
        if bool(dataset) != bool(digest):
            found = f"{shown(dataset)} and {shown(digest)}"
            remedy = "give both, or neither"
            problems.append(
                Problem(path="dataset_name and dataset_digest", found=found, remedy=remedy)
            )
    if problems:
        raise Invalid.of(subject, problems, hint="Nothing was logged.")


def _wrong(path: str, text: str, most: int) -> Iterable[Problem]:
    remedy = wrong_text(text, most)
    if remedy:
        yield Problem(path=path, found=f"{len(text):,} characters: {shown(text)}", remedy=remedy)


def shown(text: str) -> str:
    """Return a text as an error shows it: quoted, and cut where it is long."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
