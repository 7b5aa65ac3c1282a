"""Labels in JSON to rows: ``{"labels": [{"id": "p_…", "label": 3.5, "at": "…"}]}``.

What is a label follows from the model that answers: a number, or one of its classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import polars as pl

from everfit.monitoring import LabelLog, LabelReceipt
from everfit.monitoring.log import as_numbers
from everfit.packages import Field, Kind, Signature, label_text, label_texts
from everfit.serving.columns import Problems, as_json, check_count, column, describe

FORM = "write {id, label} or {key, label}, with the time of the label in 'at' if you know it"
REGRESSION = "regression"
# So many classes are named to who sent another.
NAMED_CLASSES = 20


class ServedLabels:
    """The labels that a model server takes in; numbers where the model it serves predicts them.

    ``signature`` returns the present one, or None while there is no model.
    """

    def __init__(self, log: LabelLog, signature: Callable[[], Signature | None]) -> None:
        self._log = log
        self._signature = signature

    def receive(self, frame: pl.DataFrame) -> LabelReceipt:
        """Take in labels as `LabelLog.receive` does."""
        signature = self._signature()
        numeric = None if signature is None else signature.task == REGRESSION
        return self._log.receive(frame, numeric=numeric)


def decode_labels(
    body: bytes, *, max_rows: int, signature: Signature | None = None
) -> pl.DataFrame:
    """Return the labels of a request: ``label``, ``id`` and ``key`` as given, perhaps ``at``.

    With the ``signature`` of the model, labels that are none of it are named among the problems;
    the body's ``"new_classes": true`` lets classes pass that the model has not learnt.

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
    new_classes = isinstance(given, Mapping) and given.get("new_classes") is True
    rows = [_checked(item, f"labels[{i}]", problems) for i, item in enumerate(items)]
    series = [_label_column(rows, problems)]
    if signature is not None and (signature.task == REGRESSION or not new_classes):
        _check(series[0], signature, problems)
    names = {name for row in rows for name in row}
    for name, kind in (("id", Kind.TEXT), ("key", Kind.TEXT), ("at", Kind.TIME)):
        if name in names:
            # One row may be named by its id and the next by its key.
            field = Field(name=name, kind=kind, nullable=True)
            values = [row.get(name) for row in rows]
            series.append(column(field, values, problems, _place(name)))
    problems.raise_any()
    return pl.DataFrame(series)


def _checked(item: Any, path: str, problems: Problems) -> Mapping[str, Any]:
    """Return a label as it was given, or nothing if it has none or names no prediction."""
    label: Mapping[str, Any] = item if isinstance(item, Mapping) else {}
    if "label" not in label or (label.get("id") is None and label.get("key") is None):
        problems.add(path, describe(item), FORM)
        return {}
    for name in sorted(label.keys() - {"id", "key", "label", "at"}):
        problems.add(f"{path}.{name}", "an unknown name", FORM)
    return label


def _label_column(rows: Sequence[Mapping[str, Any]], problems: Problems) -> pl.Series:
    """Return the labels as numbers, booleans or texts; where they are mixed, all as texts.

    A row without a label has been noted already, and is null.
    """
    values = [row.get("label") for row in rows]
    for place, value in enumerate(values):
        if "label" in rows[place] and not isinstance(value, str | int | float):
            remedy = "write a number, a text in quotes, true or false"
            problems.add(_place("label")(place), describe(value), remedy)
            values[place] = None
    kinds = {_kind(value) for value in values if value is not None}
    if kinds == {Kind.NUMBER, Kind.INTEGER}:
        kinds = {Kind.NUMBER}
    mixed = len(kinds) != 1
    if mixed:
        values = [None if value is None else _text(value) for value in values]
    kind = Kind.TEXT if mixed else kinds.pop()
    return column(Field(name="label", kind=kind, nullable=True), values, problems, _place("label"))


def _kind(value: str | float) -> Kind:
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, str):
        return Kind.TEXT
    return Kind.INTEGER if isinstance(value, int) else Kind.NUMBER


def _text(value: str | float) -> str:
    return value if isinstance(value, str) else describe(value)


def _check(labels: pl.Series, signature: Signature, problems: Problems) -> None:
    """Note every label that the model of ``signature`` cannot have meant."""
    classes = [label_text(known) for known in signature.classes]
    if signature.task == REGRESSION:
        fits, remedy = as_numbers(labels).is_not_null(), "write a finite number"
    elif classes:
        fits, remedy = label_texts(labels).is_in(classes), _known(classes)
    else:
        return
    for row in (labels.is_not_null() & ~fits).arg_true():
        problems.add(_place("label")(row), describe(labels[row]), remedy)


def _known(classes: Sequence[str]) -> str:
    more = len(classes) - NAMED_CLASSES
    rest = f" or one of {more} more" if more > 0 else ""
    return (
        f"use a class that the model knows: {', '.join(classes[:NAMED_CLASSES])}{rest}; "
        'send "new_classes": true beside the labels to hand in a new one, which the next '
        "training learns"
    )


def _place(name: str) -> Callable[[int], str]:
    return lambda row: f"labels[{row}].{name}"
