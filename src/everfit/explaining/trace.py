"""From an estimator's last step back to its inputs: which encoded column comes from which input.

Only what comes from one input alone is traced. A step that mixes inputs, such as PCA, has no
columns of its inputs left, and what follows it is explained by sampling.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from everfit.packages import Adapted

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
# No column is called so: tells a name that we gave from what a transformer made around it.
MARK = re.compile("\x00([0-9]+)\x00")


class Untraceable(Exception):
    """A step whose columns do not come from one input each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traced:
    """The last step of an estimator and the way there.

    ``matrix`` encodes a frame of the inputs as the last step sees it; column ``i`` of that comes
    from input ``origin[i]``.
    """

    last: Any
    matrix: Callable[[pl.DataFrame], Floats]
    origin: Integers


def kinds(model: Any) -> frozenset[str]:
    """Return the names of scikit-learn's classes that ``model`` is of.

    By name, for a server whose models need no scikit-learn does not load it: 150 MB.
    """
    ours = (kind for kind in type(model).__mro__ if kind.__module__.startswith("sklearn."))
    return frozenset(kind.__name__ for kind in ours)


def trace(estimator: Any, names: Sequence[str]) -> Traced | None:
    """Return the last step of an estimator that takes ``names``; None where it is not known."""
    rows: Callable[[pl.DataFrame], Any] = _itself
    if isinstance(estimator, Adapted):
        rows, estimator = estimator.rows, estimator.model
    steps: list[Any] = []
    while True:
        if "BaseSearchCV" in kinds(estimator):
            estimator = estimator.best_estimator_
        elif "Pipeline" in kinds(estimator):
            steps += [step for _, step in estimator.steps[:-1] if not _is_passed(step)]
            estimator = estimator.steps[-1][1]
        else:
            break
    try:
        origin = _through(steps, names, len(names))
    except (Untraceable, AttributeError, LookupError, TypeError, ValueError):
        # A transformer that cannot say what its columns are called.
        return None

    def matrix(frame: pl.DataFrame) -> Floats:
        encoded = rows(frame)
        for step in steps:
            encoded = step.transform(encoded)
        dense = encoded.toarray() if hasattr(encoded, "toarray") else encoded
        return np.asarray(dense, dtype=np.float64)

    return Traced(last=estimator, matrix=matrix, origin=origin)


def _itself(frame: pl.DataFrame) -> Any:
    return frame


def _is_passed(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")


def _through(steps: Sequence[Any], names: Sequence[str], width: int) -> Integers:
    origin = np.arange(width)
    for number, step in enumerate(steps):
        # Later steps see columns by their place only.
        origin = origin[_origin(step, names if number == 0 else (), origin.size)]
    return origin


def _origin(step: Any, names: Sequence[str], width: int) -> Integers:
    """Return for every column that ``step`` gives the one it takes that it comes from."""
    if _is_passed(step):
        return np.arange(width)
    of = kinds(step)
    if "Pipeline" in of:
        return _through([inner for _, inner in step.steps], names, width)
    if "ColumnTransformer" in of:
        return _of_columns(step, names, width)
    if "FeatureUnion" in of:
        parts = [_origin(inner, names, width) for _, inner in step.transformer_list]
        return np.concatenate(parts)
    return _of_one(step, width)


def _of_one(step: Any, width: int) -> Integers:
    plain = copy.copy(step)
    if hasattr(plain, "feature_names_in_"):
        # It would refuse other names than those it saw.
        del plain.feature_names_in_
    if width == 1:
        return np.zeros(len(plain.get_feature_names_out()), dtype=np.int64)
    marked = np.array([f"\x00{place}\x00" for place in range(width)], dtype=object)
    return np.array(list(_marks(plain.get_feature_names_out(marked))), dtype=np.int64)


def _marks(names: Sequence[str]) -> Iterator[int]:
    for name in names:
        found = MARK.findall(str(name))
        if len(found) != 1:
            raise Untraceable(f"{name!r} comes from {len(found)} columns")
        yield int(found[0])


def _of_columns(step: Any, names: Sequence[str], width: int) -> Integers:
    known = [str(name) for name in getattr(step, "feature_names_in_", names)]
    if names and known and known != list(names):
        raise Untraceable("it was fitted on other columns")
    total = max(part.stop for part in step.output_indices_.values())
    origin = np.full(total, -1, dtype=np.int64)
    for name, transformer, columns in step.transformers_:
        place = step.output_indices_.get(name, slice(0, 0))
        if transformer == "drop" or place.stop == place.start:
            continue
        taken = _places(columns, known, width)
        origin[place] = taken[_origin(transformer, (), taken.size)]
    if (origin < 0).any():
        raise Untraceable("columns of unknown origin")
    return origin


def _places(columns: Any, known: Sequence[str], width: int) -> Integers:
    if isinstance(columns, str):
        columns = [columns]
    if isinstance(columns, slice) and isinstance(columns.start or columns.stop, str):
        raise Untraceable("columns from one name to another")
    if isinstance(columns, slice | int | np.integer):
        return np.atleast_1d(np.arange(width)[columns])
    listed = list(columns)
    if listed and isinstance(listed[0], str):
        return np.array([known.index(column) for column in listed], dtype=np.int64)
    places: Integers = np.arange(width)[np.asarray(listed, dtype=None if listed else np.int64)]
    return places
