"""What runs log: parameters, metrics, tags."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from everfit.errors import Conflict, Invalid, NotFound, Problem
from everfit.kernel import Transaction
from everfit.tracking.model import MetricPoint, Scalar
from everfit.tracking.rules import (
    MOST_INT64,
    TAG_LENGTH,
    TEXT,
    check_texts,
    param_texts,
    shown,
    wrong_key,
)
from everfit.tracking.service.runs import active_number, number_of
from everfit.tracking.store import history, logged
from everfit.tracking.store import runs as run_store


def log_params(tx: Transaction, run_id: str, values: Mapping[str, object]) -> None:
    """Add parameters; one that is there with the same value is left alone.

    A NaN or infinite value, such as a library's default ``missing=nan``, is kept as its text.

    Raises
    ------
    Conflict
        If a parameter has another value already: parameters never change.
    Invalid
        If a value is no text, number, boolean or None, or too long, or the run is deleted.
    """
    texts = param_texts(run_id, values)
    # The lock makes a second writer of the same parameter wait and then compare.
    run_store.get_run(tx, run_id, lock=True)
    number = active_number(tx, run_id)
    present = logged.get_params(tx, number)
    problems = [
        Problem(path=key, found=shown(text), remedy=f"it is {shown(present[key][0])} already")
        for key, (text, _) in texts.items()
        if key in present and present[key][0] != text
    ]
    if problems:
        raise Conflict.of(
            f"parameters of run {run_id}",
            problems,
            hint="Parameters never change: start a new run, or log the value under another name.",
        )
    logged.put_params(tx, number, {k: v for k, v in texts.items() if k not in present})


def log_metrics(
    tx: Transaction, run_id: str, values: Mapping[str, float], *, step: int = 0
) -> None:
    """Add one point per metric, at ``step`` and the transaction's time; see ``log_points``."""
    at_us = tx.now_us
    log_points(tx, run_id, [MetricPoint(key, value, step, at_us) for key, value in values.items()])


def log_points(tx: Transaction, run_id: str, points: Sequence[MetricPoint]) -> None:
    """Add points to the history of metrics; NaN and infinities are kept.

    Several values for the same metric, step and time are all kept; the same one twice is one.

    Raises
    ------
    NotFound, Invalid
        If there is no such run, it is deleted, or a name, value, step or time cannot be kept.
    """
    if points and not _all_sound(points):
        problems = [problem for point in points for problem in _problems(point)]
        raise Invalid.of(f"metrics of run {run_id}", problems, hint="Nothing was logged.")
    number = active_number(tx, run_id)
    if points:
        logged.put_points(tx, number, points)


def set_tags(tx: Transaction, run_id: str, values: Mapping[str, str]) -> None:
    """Set tags, replacing those of the same keys; raises NotFound, Invalid.

    The tag of the run's name renames the run where ``update_run`` is called for it.
    """
    check_texts(f"run {run_id}", "tag", values, TAG_LENGTH)
    logged.put_tags(tx, active_number(tx, run_id), values)


def append_to_tag(tx: Transaction, run_id: str, key: str, entry: object) -> None:
    """Append a value to the JSON list that a tag is, or begin the list with it.

    Raises
    ------
    NotFound, Invalid
        If there is no such run, it is deleted, the tag holds no list, or the list grows too long.
    """
    run_store.get_run(tx, run_id, lock=True)
    text = tags(tx, run_id).get(key, "[]")
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        entries = None
    if not isinstance(entries, list):
        raise Invalid(
            f"the tag {key!r} of run {run_id} is {shown(text)}, which is no JSON list",
            hint="Delete the tag; then it is begun anew.",
        )
    set_tags(tx, run_id, {key: json.dumps([*entries, entry])})


def delete_tag(tx: Transaction, run_id: str, key: str) -> None:
    """Delete one tag; raises NotFound."""
    if not logged.delete_tag(tx, active_number(tx, run_id), key):
        raise NotFound(
            f"no tag {key!r} at run {run_id}", hint="Look at the tags of the run.", run=run_id
        )


def params(tx: Transaction, run_id: str) -> dict[str, Scalar]:
    """Return the parameters by name."""
    found = run_store.find(tx, run_id)
    texts = {} if found is None else logged.get_params(tx, found[0])
    return {key: text if kind == TEXT else json.loads(text) for key, (text, kind) in texts.items()}


def metrics(tx: Transaction, run_id: str) -> dict[str, float]:
    """Return the latest value (highest step, then time) of each metric by name."""
    found = run_store.find(tx, run_id)
    if found is None:
        return {}
    points = logged.latest_points(tx, [found[0]])[found[0]]
    return {point.key: point.value for point in points}


def tags(tx: Transaction, run_id: str) -> dict[str, str]:
    """Return the tags by name."""
    found = run_store.find(tx, run_id)
    return {} if found is None else logged.texts(tx, "tracking_tags", [found[0]])[found[0]]


def metric_history(
    tx: Transaction,
    run_id: str,
    key: str,
    *,
    after: history.Place | None = None,
    limit: int | None = None,
) -> list[MetricPoint]:
    """Return points of one metric by time, then step, then value.

    At most ``limit`` of them, from behind the point that ``place_of`` gave ``after`` for.
    Raises NotFound where there is no such run.
    """
    series = history.get_series(tx, number_of(tx, run_id), key)
    if series is None:
        return []
    return history.points_by_time(tx, series, after=after, limit=limit)


def place_of(point: MetricPoint) -> history.Place:
    """Return where a point stands in the history, to go on behind it."""
    missing = math.isnan(point.value)
    return point.step, point.at_us, 0.0 if missing else point.value, int(missing)


def sample_metric(
    tx: Transaction,
    run_id: str,
    key: str,
    *,
    most: int,
    steps: tuple[int, int] | None = None,
) -> list[MetricPoint]:
    """Return at most ``most`` points spread evenly over the history, its ends among them.

    By step, then time, then value; ``steps`` are the first and the last step looked at.
    """
    series = history.get_series(tx, number_of(tx, run_id), key)
    if series is None:
        return []
    first, last = steps or (None, None)
    count = history.count_points(tx, series, first, last)
    return history.sampled_points(tx, series, first, last, ranks=spread(count, most))


def spread(count: int, most: int) -> list[int]:
    """Return at most ``most`` ranks out of ``count``, evenly apart, the first and last included.

    Examples
    --------
    >>> spread(10, 4), spread(3, 4), spread(5, 1), spread(0, 4)
    ([0, 3, 6, 9], [0, 1, 2], [4], [])
    """
    if count <= most:
        return list(range(count))
    if most == 1:
        return [count - 1]
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def _all_sound(points: Sequence[MetricPoint]) -> bool:
    keys, values, steps, times = zip(*points, strict=True)
    return (
        all(kind is float or _is_number(kind) for kind in set(map(type, values)))
        and -MOST_INT64 <= min(steps) <= max(steps) <= MOST_INT64
        and 0 <= min(times) <= max(times) <= MOST_INT64
        and all(wrong_key(key) is None for key in set(keys))
    )


def _is_number(kind: type[object]) -> bool:
    # NumPy's scalars are numbers too, but only its float64 is a `float`.
    return not issubclass(kind, str | bytes) and hasattr(kind, "__float__")


def _problems(point: MetricPoint) -> list[Problem]:
    key, value, step, at_us = point
    problems = []
    remedy = wrong_key(key)
    if remedy:
        problems.append(Problem(path="metric", found=shown(key), remedy=remedy))
    path = f"metric {shown(key)}"
    if not _is_number(type(value)):
        problems.append(Problem(path=path, found=repr(value), remedy="log a number"))
    if not -MOST_INT64 <= step <= MOST_INT64:
        problems.append(Problem(path=f"{path} step", found=str(step), remedy="use 64 bits"))
    if not 0 <= at_us <= MOST_INT64:
        remedy = "use milliseconds since 1970, as a whole number from 0 to 9223372036854775"
        problems.append(Problem(path=f"{path} timestamp", found=str(at_us // 1000), remedy=remedy))
    return problems
