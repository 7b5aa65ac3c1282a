"""Labels in JSON to rows: ``{"labels": [{"id": "p_…", "label": 3.5, "at": "…"}]}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from everfit.registry import Field, Kind
from everfit.serving.columns import Problems, as_json, check_count, column, describe

FORM = "write {id, label} or {key, label}, with the time of the label in 'at' if you know it"


def decode_labels(body: bytes, *, max_rows: int) -> pl.DataFrame:
    """Return the labels of a request: columns ``id`` or ``key``, ``label`` and perhaps ``at``.

    Raises
    ------
    Invalid
        If the body is no JSON.
    RowsInvalid
        Naming every label that cannot be read.
    TooLarge
        If there are more labels than one request may have.
    """
    given = as_json(body)
    items: Any = given.get("labels") if isinstance(given, Mapping) else given
    problems = Problems()
    if not isinstance(items, list):
        problems.add("labels", describe(items), f"write a list; for each label {FORM}")
        problems.raise_any()
    check_count(len(items), max_rows)
    rows = [_checked(item, f"labels[{i}]", problems) for i, item in enumerate(items)]
    problems.raise_any()
    names = {name for row in rows for name in row}
    if {"id", "key"} <= names:
        problems.add("labels", "both ids and keys", "name all by id or all by key")
    series = [_label_column(rows, problems)]
    for name, kind in (("id", Kind.TEXT), ("key", Kind.TEXT), ("at", Kind.TIME)):
        if name in names:
            field = Field(name=name, kind=kind, nullable=name == "at")
            values = [row.get(name) for row in rows]
            series.append(column(field, values, problems, _place(name)))
    problems.raise_any()
    return pl.DataFrame(series)


def _checked(item: Any, path: str, problems: Problems) -> Mapping[str, Any]:
    if not isinstance(item, Mapping) or "label" not in item or not item.keys() & {"id", "key"}:
        problems.add(path, describe(item), FORM)
        return {}
    for name in sorted(item.keys() - {"id", "key", "label", "at"}):
        problems.add(f"{path}.{name}", "an unknown name", FORM)
    return item


def _label_column(rows: list[Mapping[str, Any]], problems: Problems) -> pl.Series:
    """Return the labels as numbers, texts or booleans: the kind of the first decides for all."""
    values = [row["label"] for row in rows]
    kind = Kind.NUMBER
    if isinstance(values[0], bool):
        kind = Kind.BOOLEAN
    elif isinstance(values[0], str):
        kind = Kind.TEXT
    elif all(isinstance(value, int) for value in values):
        kind = Kind.INTEGER
    return column(Field(name="label", kind=kind), values, problems, _place("label"))


def _place(name: str) -> Callable[[int], str]:
    return lambda row: f"labels[{row}].{name}"
