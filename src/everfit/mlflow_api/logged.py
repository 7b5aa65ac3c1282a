"""What clients log to their runs, and the histories they read back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from everfit.errors import Invalid, Problem
from everfit.mlflow_api.dispatch import Call
from everfit.mlflow_api.runs import Named, run_id_of
from everfit.mlflow_api.values import (
    limit_of,
    measured,
    metric,
    page_place,
    page_token,
    points,
    tag_values,
)
from everfit.mlflow_api.wire import Message, Metric, Nothing, Tag
from everfit.tracking import (
    NAME_TAG,
    MetricPoint,
    append_to_tag,
    delete_tag,
    log_model_points,
    log_params,
    log_points,
    metric_history,
    place_of,
    sample_metric,
    set_tags,
    update_run,
)

MOST_METRICS = 1_000
MOST_TEXTS = 100
MOST_HISTORY = 25_000
MOST_SAMPLED = 2_500
MOST_RUNS = 100
HISTORY_TAG = "mlflow.log-model.history"
INT64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
HISTORY_FIELDS = ("run_id", "artifact_path", "utc_time_created", "model_uuid")


class LogMetric(Metric):
    """Log one point of one metric."""

    run_uuid: str = ""
    key: str
    value: float | str


class LogText(Named, kw_only=True):
    """Log one parameter, or set one tag."""

    key: str
    value: str = ""


class DeleteTag(Named, kw_only=True):
    """Delete one tag."""

    key: str


class LogBatch(Named, kw_only=True):
    """Log metrics, parameters and tags together."""

    metrics: list[Metric] = []
    params: list[Tag] = []
    tags: list[Tag] = []


class LogModel(Named, kw_only=True):
    """Note that a model was logged."""

    model_json: str


class GetHistory(Named, kw_only=True):
    """Ask for the points of a metric."""

    metric_key: str
    max_results: int | None = None
    page_token: str | None = None


class GetBulk(Message):
    """Ask for the points of one metric of several runs."""

    run_id: list[str] = []
    run_ids: list[str] = []
    metric_key: str = ""
    max_results: int | None = None
    start_step: int | None = None
    end_step: int | None = None


class Place(msgspec.Struct, forbid_unknown_fields=True):
    """Where the page before ended in a history."""

    after: tuple[INT64, INT64, float, INT64]


def log_metric(call: Call, request: LogMetric) -> Nothing:
    """Log one point."""
    _log_metrics(call, run_id_of(request.run_id or "", request.run_uuid), [request])
    return {}


def log_param(call: Call, request: LogText) -> Nothing:
    """Log one parameter."""
    log_params(call.tx, request.id(), {request.key: request.value})
    return {}


def set_tag(call: Call, request: LogText) -> Nothing:
    """Set one tag; that of the name renames the run."""
    _set_tags(call, request.id(), {request.key: request.value})
    return {}


def delete_tag_of_run(call: Call, request: DeleteTag) -> Nothing:
    """Delete one tag."""
    delete_tag(call.tx, request.id(), request.key)
    return {}


def log_batch(call: Call, request: LogBatch) -> Nothing:
    """Log metrics, parameters and tags: all of them, or nothing."""
    run_id = request.id()
    _check_batch(run_id, request)
    if request.params:
        log_params(call.tx, run_id, tag_values(request.params))
    _log_metrics(call, run_id, request.metrics)
    if request.tags:
        _set_tags(call, run_id, tag_values(request.tags))
    return {}


def log_model(call: Call, request: LogModel) -> Nothing:
    """Note at the run that it logged a model, as clients before MLflow 3 did."""
    described = _description(request.model_json)
    kept = {key: described[key] for key in HISTORY_FIELDS if key in described}
    kept["flavors"] = {
        name: _without_config(flavor) for name, flavor in described["flavors"].items()
    }
    append_to_tag(call.tx, request.id(), HISTORY_TAG, kept)
    return {}


def _description(text: str) -> dict[str, Any]:
    """Return the description of a model that a JSON text is; raises Invalid."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Invalid(
            f"model_json is no JSON: {error}", hint="Send the description of the model as JSON."
        ) from error
    fields = found if isinstance(found, dict) else {}
    lacking = [
        name
        for name in ("artifact_path", "flavors", "utc_time_created", "run_id")
        if name not in fields
    ]
    if lacking or not isinstance(fields["flavors"], dict):
        raise Invalid(
            f"model_json lacks {', '.join(lacking) or 'the flavors as an object'}",
            hint="Send what the file MLmodel of the model holds.",
        )
    return fields


def _without_config(flavor: Any) -> Any:
    if not isinstance(flavor, dict):
        return flavor
    return {key: value for key, value in flavor.items() if key != "config"}


def _log_metrics(call: Call, run_id: str, metrics: Sequence[Metric]) -> None:
    of_models = [measured(one) for one in metrics if one.model_id]
    plain = metrics if not of_models else [one for one in metrics if not one.model_id]
    log_points(call.tx, run_id, points(plain))
    if of_models:
        log_model_points(call.tx, run_id, of_models)


def _set_tags(call: Call, run_id: str, tags: dict[str, str]) -> None:
    set_tags(call.tx, run_id, tags)
    if NAME_TAG in tags:
        update_run(call.tx, run_id, name=tags[NAME_TAG])


def _check_batch(run_id: str, request: LogBatch) -> None:
    counted = {
        "metrics": (len(request.metrics), MOST_METRICS),
        "params": (len(request.params), MOST_TEXTS),
        "tags": (len(request.tags), MOST_TEXTS),
    }
    counted["metrics, params and tags"] = (sum(n for n, _ in counted.values()), MOST_METRICS)
    problems = [
        Problem(path=what, found=f"{count:,}", remedy=f"send at most {most:,} at once")
        for what, (count, most) in counted.items()
        if count > most
    ]
    sent = Counter(param.key for param in request.params)
    problems += [
        Problem(path="params", found=f"{key[:60]!r} {count} times", remedy="send each once")
        for key, count in sent.items()
        if count > 1
    ]
    if problems:
        raise Invalid.of(f"the batch of run {run_id}", problems, hint="Nothing was logged.")


def get_history(call: Call, request: GetHistory) -> dict[str, object]:
    """Return the points of a metric by time, page by page where ``max_results`` is given."""
    place = page_place(request.page_token, Place)
    limit = None
    if request.max_results is not None:
        limit = limit_of(request.max_results, default=MOST_HISTORY, most=MOST_HISTORY)
    points = metric_history(
        call.tx,
        request.id(),
        request.metric_key,
        after=place.after if isinstance(place, Place) else None,
        limit=None if limit is None else limit + 1,
    )
    answer: dict[str, object] = {"metrics": [metric(one) for one in points[:limit]]}
    if limit is not None and len(points) > limit:
        answer["next_page_token"] = page_token(after=place_of(points[limit - 1]))
    return answer


def get_bulk(call: Call, request: GetBulk) -> dict[str, object]:
    """Return the first points of a metric of several runs, all of them together."""
    limit = limit_of(request.max_results, default=MOST_HISTORY, most=MOST_HISTORY)
    found: list[Metric] = []
    for run_id in sorted(_runs(request)):
        points = metric_history(call.tx, run_id, request.metric_key, limit=limit - len(found))
        found += (_of_run(run_id, one) for one in points)
        if len(found) >= limit:
            break
    return {"metrics": found}


def get_interval(call: Call, request: GetBulk) -> dict[str, object]:
    """Return points of a metric of several runs, spread evenly over each history."""
    limit = limit_of(request.max_results, default=320, most=MOST_SAMPLED)
    start, end = request.start_step, request.end_step
    if (start is None) != (end is None) or (start is not None and end is not None and start > end):
        raise Invalid(
            f"the steps from {start} to {end} are no interval",
            hint="Send start_step and end_step, the first not above the second, or neither.",
        )
    steps = None if start is None or end is None else (start, end)
    found: list[Metric] = []
    for run_id in _runs(request):
        points = sample_metric(call.tx, run_id, request.metric_key, most=limit, steps=steps)
        found += (_of_run(run_id, one) for one in points)
    return {"metrics": found}


def _runs(request: GetBulk) -> list[str]:
    ids = [*request.run_ids, *request.run_id]
    if not ids or len(ids) > MOST_RUNS or not request.metric_key:
        raise Invalid(
            f"{len(ids)} runs and the metric {request.metric_key!r} are asked for",
            hint=f"Send metric_key and 1 to {MOST_RUNS} run_ids.",
        )
    return ids


def _of_run(run_id: str, one: MetricPoint) -> Metric:
    answered = metric(one)
    answered.run_id = run_id
    return answered
