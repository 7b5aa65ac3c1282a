"""The answer to "why?": what is on record about anything that has an id, in plain sentences."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

from everfit.deployment import Release, describe_rollout, get_release, releases
from everfit.errors import EverfitError, NotFound
from everfit.evaluation import Report, find_report, latest_report
from everfit.explaining import Explanation, because, explain_row, plain
from everfit.governance.model import Question
from everfit.kernel import Transaction, get_job
from everfit.monitoring import Window, explain_alert, explain_prediction
from everfit.registry import Origin, get_version
from everfit.tracking import artifacts, get_run, metrics, params

Lines = Iterator[str]
REASONS = 10


def why(question: Question, tx: Transaction, identifier: str) -> list[str]:
    """Return what is known about ``identifier``, one sentence each, ending with its ledger rows.

    Understood are ids of predictions (``p_…``), alerts, reports, releases, runs and jobs, and
    versions (``v3``).

    Raises
    ------
    NotFound
        If nothing has that id.
    """
    prefix = identifier.partition("_")[0]
    if identifier[:1] == "v" and identifier[1:].isdigit():
        number = int(identifier[1:])
        lines = [*_version(question, tx, number), *_releases(question, tx, number)]
        return lines + _ledger(tx, f"{question.model}/{number}")
    if prefix not in ANSWERS:
        raise NotFound(
            f"{identifier!r} is no id of Everfit's",
            hint="Give an id that begins with " + ", ".join(f"{p}_" for p in ANSWERS) + ", or v3.",
        )
    return list(ANSWERS[prefix](question, tx, identifier)) + _ledger(tx, identifier)


def _ledger(tx: Transaction, subject: str) -> list[str]:
    return [
        f"ledger row {event.number}: {event.at:%Y-%m-%d %H:%M} {event.kind} by {event.actor}"
        for event in tx.events(subject=subject)
    ]


def _prediction(question: Question, tx: Transaction, identifier: str) -> Lines:
    found = explain_prediction(question.workspace, tx, question.model, identifier)
    yield from _facts(found)
    yield from _reasons(question, tx, found)
    yield from _version(question, tx, int(found["version"]))


def _reasons(question: Question, tx: Transaction, found: Mapping[str, Any]) -> Lines:
    try:
        explained = recomputed(question, tx, found)
    except EverfitError as error:
        yield f"reasons: cannot be given: {error.message}"
        return
    yield (
        f"reasons ({explained.method}): {explained.of} {_shown(explained.output)}, where "
        f"{_shown(explained.base)} is the base: {explained.against}"
    )
    shown = explained.top(REASONS)
    for sentence in because(shown):
        yield f"because {sentence}"
    if shown.rest:
        yield f"all other inputs together: {_shown(shown.rest)}"


def recomputed(question: Question, tx: Transaction, found: Mapping[str, Any]) -> Explanation:
    """Return the explanation of a logged prediction, by the version that answered it.

    ``found`` is what the log holds of it. Raises EverfitError if it cannot be explained.
    """
    version, inputs = int(found["version"]), found["inputs"]
    return explain_row(question.workspace, tx, question.model, version, inputs)


def prediction_reasons(question: Question, tx: Transaction, identifier: str) -> dict[str, Any]:
    """Return the explanation of a logged prediction as JSON values, with all its contributions.

    Raises
    ------
    NotFound
        If no sealed log holds it.
    EverfitError
        If it cannot be explained.
    """
    found = explain_prediction(question.workspace, tx, question.model, identifier)
    explained = recomputed(question, tx, found)
    return plain(explained, len(explained.contributions))


def _alert(question: Question, tx: Transaction, identifier: str) -> Lines:
    yield from _facts(explain_alert(tx, identifier))


def _facts(found: Mapping[str, Any]) -> Lines:
    for name, value in found.items():
        if isinstance(value, Mapping):
            inner = ", ".join(f"{key} = {_shown(item)}" for key, item in value.items())
            yield f"{name}: {inner}"
        elif value is not None and value not in ((), []):
            yield f"{name}: {_shown(value)}"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, Window):
        seen = f", loss {value.quality.loss:.4g}" if value.quality else ""
        return f"{_shown(value.start)}, {value.rows:,} rows of v{value.version}{seen}"
    if isinstance(value, Release):
        return f"{value.id} of v{value.version}, {value.state}"
    if isinstance(value, list | tuple):
        return "; ".join(map(_shown, value))
    return str(value)


def _version(question: Question, tx: Transaction, number: int) -> Lines:
    version = get_version(tx, question.model, number)
    at = f"{version.created_at:%Y-%m-%d %H:%M}"
    if version.origin is Origin.OWN:
        yield (
            f"v{number} is {version.algorithm}, trained {at} "
            f"by run {version.run} on dataset {(version.dataset or '')[:12]}"
        )
    else:
        by = f" by run {version.run}" if version.run else ""
        yield f"v{number} came from outside, logged {at}{by} under {version.source}"
    report = latest_report(tx, question.model, number)
    if report is not None:
        yield from _report_lines(report)


def _releases(question: Question, tx: Transaction, number: int) -> Lines:
    for release in releases(tx, question.model):
        if release.version == number:
            because = f" because {release.reason}" if release.reason else ""
            yield f"release {release.id}: {release.state}{because}"


def _report(question: Question, tx: Transaction, identifier: str) -> Lines:
    yield from _report_lines(find_report(tx, identifier))


def _report_lines(report: Report) -> Lines:
    against = f"champion v{report.champion}" if report.champion else "the baseline"
    yield (
        f"report {report.id}: v{report.candidate} against {against} on {report.rows:,} held-out "
        f"rows: {report.outcome}"
    )
    for verdict in report.verdicts:
        yield f"gate {verdict.gate}: {verdict.outcome}: {verdict.summary}"


def _release(question: Question, tx: Transaction, identifier: str) -> Lines:
    release = get_release(tx, identifier)
    yield (
        f"release of v{release.version} ({describe_rollout(release.steps)}): {release.state}"
        + (f" because {release.reason}" if release.reason else "")
    )
    for event in tx.events(subject=identifier):
        if event.data.get("reason"):
            yield f"{event.at:%Y-%m-%d %H:%M} {event.kind}: {event.data['reason']}"
    yield from _version(question, tx, release.version)


def _run(question: Question, tx: Transaction, identifier: str) -> Lines:
    run = get_run(tx, identifier)
    yield f"run {run.name} ({run.kind}): {run.status}"
    # Not the tag, which anyone may set.
    for event in tx.events("run-reproduced", subject=identifier)[-1:]:
        yield f"reproduced {event.at:%Y-%m-%d %H:%M}: {event.data['badge']}"
    for event in tx.events("step-repeated", subject=identifier):
        step, ended = event.data["step"], event.data["ended"]
        yield f"step {step!r} was run once more: its process ended with {ended}"
    for title, values in (
        ("parameters", params(tx, identifier)),
        ("metrics", metrics(tx, identifier)),
        ("artifacts", {name: a.digest[:12] for name, a in artifacts(tx, identifier).items()}),
    ):
        yield from _facts({title: values})


def _job(question: Question, tx: Transaction, identifier: str) -> Lines:
    job = get_job(tx, identifier)
    failures = f"{job.failures} of {job.max_attempts} errors"
    yield f"{job.kind} is {job.state}, attempt {job.attempt}, {failures}"
    said = {"error": job.error, "hint": job.hint}
    yield from _facts({"asked": job.payload, "gave": job.result or {}, **said})


ANSWERS: Mapping[str, Callable[[Question, Transaction, str], Lines]] = {
    "p": _prediction,
    "alert": _alert,
    "report": _report,
    "rel": _release,
    "run": _run,
    "job": _job,
}
