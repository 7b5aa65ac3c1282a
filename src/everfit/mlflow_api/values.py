"""Values of the two worlds: times, statuses, metrics, page tokens."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from everfit.errors import Invalid
from everfit.mlflow_api.wire import Metric, Tag
from everfit.tracking import MetricPoint, ModelPoint, RunStatus, Stage

PlaceT = TypeVar("PlaceT", bound=msgspec.Struct)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
_STATUSES = {
    "RUNNING": RunStatus.RUNNING,
    "SCHEDULED": RunStatus.SCHEDULED,
    "FINISHED": RunStatus.FINISHED,
    "FAILED": RunStatus.FAILED,
    "KILLED": RunStatus.CANCELLED,
}
_NAMES = {status: name for name, status in _STATUSES.items()}
_VIEWS = {
    "ACTIVE_ONLY": (Stage.ACTIVE,),
    "DELETED_ONLY": (Stage.DELETED,),
    "ALL": (Stage.ACTIVE, Stage.DELETED),
}
# What JSON has no number for; any writing of it is understood.
_TEXTS = {math.inf: "Infinity", -math.inf: "-Infinity"}


def moment(milliseconds: int, what: str) -> datetime:
    """Return the time of so many milliseconds since 1970; raises Invalid outside of years."""
    try:
        return EPOCH + milliseconds * MILLISECOND
    except OverflowError:
        raise Invalid(
            f"{what} is {milliseconds}, which is no time",
            hint="Send milliseconds since 1970, as MLflow's client does.",
        ) from None


def milliseconds(at: datetime) -> int:
    """Return a time as milliseconds since 1970."""
    return (at - EPOCH) // MILLISECOND


def run_status(name: str) -> RunStatus:
    """Return the status of that name; raises Invalid."""
    if name not in _STATUSES:
        raise Invalid(f"{name!r} is no status of a run", hint=f"Use one of {', '.join(_STATUSES)}.")
    return _STATUSES[name]


def status_name(status: RunStatus) -> str:
    """Return a status as MLflow calls it."""
    return _NAMES[status]


def stages(view: str | None) -> tuple[Stage, ...]:
    """Return the stages that a view shows; raises Invalid."""
    if view is None:
        return _VIEWS["ACTIVE_ONLY"]
    if view not in _VIEWS:
        raise Invalid(f"{view!r} is no view", hint=f"Use one of {', '.join(_VIEWS)}.")
    return _VIEWS[view]


def points(metrics: Iterable[Metric]) -> list[MetricPoint]:
    """Return the points that metrics of a request are; raises Invalid."""
    # A loop in one piece: they come by the thousand.
    return [
        MetricPoint(
            one.key,
            one.value if type(one.value) is float else _number(one.key, one.value),
            one.step or 0,
            (one.timestamp or 0) * 1000,
        )
        for one in metrics
    ]


def _number(key: str, text: float | str) -> float:
    try:
        return float(text)
    except ValueError:
        raise Invalid(
            f"metric {key!r} has the value {str(text)[:100]!r}",
            hint="Send a number, or one of the texts NaN, Infinity and -Infinity.",
        ) from None


def metric(point: MetricPoint) -> Metric:
    """Return a point as it is answered."""
    key, value, step, at_us = point
    # NaN is the only value that differs from itself.
    written: float | str = "NaN" if value != value else _TEXTS.get(value, value)
    return Metric(key=key, value=written, timestamp=at_us // 1000, step=step)


def measured(metric: Metric) -> ModelPoint:
    """Return the point of a logged model that a metric with its id is; raises Invalid."""
    return ModelPoint(
        point=points([metric])[0],
        model=metric.model_id or "",
        dataset=metric.dataset_name or "",
        digest=metric.dataset_digest or "",
    )


def model_metric(measured: ModelPoint) -> Metric:
    """Return a point of a logged model as it is answered."""
    answered = metric(measured.point)
    answered.model_id = measured.model
    answered.dataset_name = measured.dataset or None
    answered.dataset_digest = measured.digest or None
    answered.run_id = measured.run
    return answered


def tag_list(values: Mapping[str, str]) -> list[Tag]:
    """Return texts by key as they are answered."""
    return [Tag(key=key, value=value) for key, value in values.items()]


def tag_values(tags: Iterable[Tag]) -> dict[str, str]:
    """Return the texts of a request by key; of two with one key, the later."""
    return {tag.key: tag.value for tag in tags}


def page_token(**place: object) -> str:
    """Return a text that leads to the next page, for ``page_place``."""
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode()


def page_place(token: str | None, kind: type[PlaceT]) -> PlaceT | None:
    """Return the place that a token leads to, as ``kind``; None without a token; raises Invalid."""
    if not token:
        return None
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(token), type=kind)
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise Invalid(
            f"{token[:100]!r} is no page token",
            hint="Send the token of the page before, or none for the first page.",
        ) from error


def limit_of(wanted: int | None, *, default: int, most: int) -> int:
    """Return how many entries a page has; raises Invalid where it is out of bounds."""
    limit = default if wanted is None else wanted
    if not 1 <= limit <= most:
        raise Invalid(
            f"max_results is {limit}", hint=f"Ask for 1 to {most:,} at once, and for more by pages."
        )
    return limit
