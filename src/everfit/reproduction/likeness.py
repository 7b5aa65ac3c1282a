"""How far apart two values of one step are: a step of its own, for values can be of user classes.

Compared are numbers, texts, tables, arrays, and lists, dicts and dataclasses of these; models by
what they predict for the same rows; packages and profiles by what is in them. Of anything else
only its bytes are known.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from datetime import date, time, timedelta
from enum import Enum
from math import isfinite
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from everfit.packages import FittedModel, unpack
from everfit.packages.package import MAGIC

# The relative difference of two finite numbers is at most this, that of 1 and -1.
MOST = 2.0
# Profiles hold arrays as such dicts, of numbers of eight bytes.
ARRAY = {"shape", "floats"}


@dataclasses.dataclass(frozen=True, slots=True)
class Gap:
    """One place where two values are not the same.

    ``difference`` is relative to the larger number, None between things that are no numbers;
    ``opaque`` says that the bytes are all that could be compared.
    """

    where: str
    difference: float | None = None
    opaque: bool = False

    @property
    def width(self) -> float:
        """Return what gaps are ordered by: what is no matter of numbers is the widest."""
        if self.opaque:
            return 0.0
        return MOST + 1 if self.difference is None else self.difference


def likeness(recorded: Any, again: Any, rows: pl.DataFrame | None = None) -> dict[str, Any]:
    """Return the widest gap between two values, as plain values.

    ``difference`` is 0 where there is none, None where one is no matter of numbers; ``where``
    names the place; ``opaque`` says that parts could not be compared. Models are asked about
    ``rows``.
    """
    widest, opaque = Gap("", 0.0), False
    for gap in _gaps("", recorded, again, rows):
        opaque = opaque or gap.opaque
        if gap.width > widest.width or not widest.where:
            widest = gap
    return {"difference": widest.difference, "where": widest.where, "opaque": opaque}


def relative(one: float, other: float) -> float:
    """Return the difference of two numbers, relative to the larger; NaN is the same as NaN.

    Examples
    --------
    >>> relative(2.0, 1.0), relative(1.0, -1.0), relative(0, 0)
    (0.5, 2.0, 0.0)
    >>> relative(float("nan"), float("nan")), relative(0.0, float("nan"))
    (0.0, 2.0)
    """
    if one == other or (one != one and other != other):
        return 0.0
    gap = abs(one - other)
    # Neither NaN nor an infinity is near to anything else.
    return gap / max(abs(one), abs(other)) if isfinite(gap) else MOST


def _gaps(path: str, one: Any, other: Any, rows: pl.DataFrame | None) -> Iterator[Gap]:
    if isinstance(one, np.generic):
        one, other = one.item(), getattr(other, "item", lambda: other)()
    if type(one) is not type(other):
        yield Gap(f"{path}: a {type(one).__name__} then, a {type(other).__name__} now".lstrip(": "))
        return
    for kinds, compared in COMPARED:
        if isinstance(one, kinds):
            yield from compared(path, one, other, rows)
            return
    if dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            value, value_now = (getattr(held, field.name) for held in (one, other))
            yield from _gaps(_below(path, field.name), value, value_now, rows)
        return
    yield Gap(f"{path or 'it'} is a {type(one).__name__}", 0.0, opaque=True)


def _below(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _numbers(path: str, one: Any, other: Any, rows: pl.DataFrame | None) -> Iterator[Gap]:
    difference = relative(one, other)
    if difference:
        yield Gap(f"{path or 'it'}: {one} then, {other} now", difference)


def _plain(path: str, one: Any, other: Any, rows: pl.DataFrame | None) -> Iterator[Gap]:
    if one != other:
        yield Gap(f"{path or 'it'}: {_shown(one)} then, {_shown(other)} now")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:39]}…"


def _mappings(
    path: str, one: Mapping[Any, Any], other: Mapping[Any, Any], rows: pl.DataFrame | None
) -> Iterator[Gap]:
    if set(one) == ARRAY == set(other) and one["shape"] == other["shape"]:
        numbers, others = (np.frombuffer(value["floats"], "<f8") for value in (one, other))
        yield from _floats(path, numbers, others)
        return
    for key in dict.fromkeys([*one, *other]):
        if key in one and key in other:
            yield from _gaps(_below(path, key), one[key], other[key], rows)
        else:
            yield Gap(f"{_below(path, key)}: only {'then' if key in one else 'now'}")


def _sequences(path: str, one: Any, other: Any, rows: pl.DataFrame | None) -> Iterator[Gap]:
    if len(one) != len(other):
        yield Gap(f"{path or 'it'}: {len(one):,} values then, {len(other):,} now")
        return
    for place, (value, value_now) in enumerate(zip(one, other, strict=True)):
        yield from _gaps(_below(path, place), value, value_now, rows)


def _arrays(path: str, one: Any, other: Any, rows: pl.DataFrame | None) -> Iterator[Gap]:
    if (one.shape, one.dtype) != (other.shape, other.dtype):
        kinds = f"{one.dtype} of {one.shape} then, {other.dtype} of {other.shape} now"
        yield Gap(f"{path or 'it'}: {kinds}")
    elif one.dtype.kind == "f":
        yield from _floats(path, one.ravel(), other.ravel())
    elif one.dtype.kind == "O":
        yield from _sequences(path, one.ravel().tolist(), other.ravel().tolist(), rows)
    elif (apart := np.flatnonzero(one.ravel() != other.ravel())).size:
        first = int(apart[0])
        values = f"{one.ravel()[first]} then, {other.ravel()[first]} now"
        yield Gap(f"{path or 'it'}: {apart.size:,} of {one.size:,} values, value {first}: {values}")


def _floats(path: str, one: Any, other: Any) -> Iterator[Gap]:
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(all="ignore"):
        found = np.abs(one - other) / np.maximum(np.abs(one), np.abs(other))
    found = np.where(same, 0.0, np.where(np.isfinite(found), found, MOST))
    apart = int(np.count_nonzero(found))
    if apart:
        row = int(found.argmax())
        yield Gap(
            f"{path or 'it'}: {apart:,} of {found.size:,} values, the most value {row}: "
            f"{one[row]} then, {other[row]} now",
            float(found[row]),
        )


def _frames(
    path: str, one: pl.DataFrame, other: pl.DataFrame, rows: pl.DataFrame | None
) -> Iterator[Gap]:
    if one.schema != other.schema:
        pairs = set(one.schema.items()) ^ set(other.schema.items())
        names = ", ".join(sorted({name for name, _ in pairs})) or "in another order"
        yield Gap(f"{path or 'it'}: other columns: {names}")
    elif one.height != other.height:
        yield Gap(f"{path or 'it'}: {one.height:,} rows then, {other.height:,} now")
    else:
        for name in one.columns:
            yield from _columns(_below(path, name), one[name], other[name], rows)


def _columns(
    path: str, one: pl.Series, other: pl.Series, rows: pl.DataFrame | None
) -> Iterator[Gap]:
    if not one.dtype.is_float():
        yield from _objects(path, one, other, rows)
    elif (one.is_null() != other.is_null()).any():
        yield Gap(f"{path}: other values are missing")
    else:
        yield from _floats(path, one.fill_null(0.0).to_numpy(), other.fill_null(0.0).to_numpy())


def _objects(
    path: str, one: pl.Series, other: pl.Series, rows: pl.DataFrame | None
) -> Iterator[Gap]:
    if one.dtype.is_nested() or one.dtype == pl.Object:
        yield from _sequences(path, one.to_list(), other.to_list(), rows)
        return
    apart = one.ne_missing(other).arg_true()
    if len(apart):
        row = apart[0]
        values = f"{_shown(one[row])} then, {_shown(other[row])} now"
        yield Gap(f"{path}: {len(apart):,} of {len(one):,} values, row {row}: {values}")


def _models(
    path: str, one: FittedModel, other: FittedModel, rows: pl.DataFrame | None
) -> Iterator[Gap]:
    yield from _gaps(_below(path, "signature"), one.signature, other.signature, rows)
    if rows is None:
        yield Gap(
            f"{path or 'it'} is a model, and there are no rows to ask it about", 0.0, opaque=True
        )
        return
    predictions, scores = one.predict_both(rows)
    predictions_now, scores_now = other.predict_both(rows)
    yield from _gaps(_below(path, "predictions"), predictions, predictions_now, rows)
    yield from _gaps(_below(path, "scores"), scores, scores_now, rows)


def _bytes(path: str, one: bytes, other: bytes, rows: pl.DataFrame | None) -> Iterator[Gap]:
    if one == other:
        return
    if one.startswith(MAGIC) and other.startswith(MAGIC):
        # Both are of this installation's own steps: only such values are handed to a step.
        yield from _models(path, unpack(one), unpack(other), rows)
        return
    try:
        value, value_now = (msgspec.msgpack.decode(content) for content in (one, other))
    except msgspec.DecodeError:
        yield Gap(f"{path or 'it'}: {len(one):,} bytes then, {len(other):,} now", 0.0, opaque=True)
    else:
        yield from _gaps(path, value, value_now, rows)


def _series(
    path: str, one: pl.Series, other: pl.Series, rows: pl.DataFrame | None
) -> Iterator[Gap]:
    yield from _frames(path, one.to_frame(), other.to_frame(), rows)


PLAIN = (bool, str, type(None), complex, date, time, timedelta, Enum, Path, set, frozenset)
Compared = Callable[[str, Any, Any, pl.DataFrame | None], Iterator[Gap]]
# The first kind that fits decides: a boolean is an integer, too.
COMPARED: tuple[tuple[type | tuple[type, ...], Compared], ...] = (
    (PLAIN, _plain),
    ((int, float), _numbers),
    (bytes, _bytes),
    (Mapping, _mappings),
    ((list, tuple), _sequences),
    (np.ndarray, _arrays),
    (pl.DataFrame, _frames),
    (pl.Series, _series),
    (FittedModel, _models),
)
