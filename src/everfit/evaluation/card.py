"""The model card: what a version is, what it was shown to do, and what nobody checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from everfit.evaluation.compare import percent
from everfit.evaluation.model import Report
from everfit.packages import Signature
from everfit.registry import ModelVersion, Origin

MARKS = {"pass": "pass", "fail": "**fail**", "undecided": "*undecided*"}
# What a gate looks at, so that the card can say what no gate looked at.
CHECKS = {
    "fair": "differences between groups of people",
    "fast": "the time for a prediction",
    "approve": "approval by a person",
    "no_worse": "parts of the rows in which it may be worse",
}


def card(
    version: ModelVersion,
    report: Report | None = None,
    *,
    importance: Mapping[str, float] | None = None,
) -> str:
    r"""Return the model card in Markdown: only what is recorded, and what is not.

    References
    ----------
    Mitchell, M. et al. (2019). Model cards for model reporting. *FAT\* '19*.
    """
    return "\n".join(_lines(version, report, importance or {})) + "\n"


def _lines(
    version: ModelVersion, report: Report | None, importance: Mapping[str, float]
) -> Iterator[str]:
    signature = version.signature
    yield f"# {version.model} v{version.number}"
    yield ""
    if signature is not None:
        yield f"- Task: {signature.task}, gives `{signature.output.name}`"
        if signature.classes:
            yield f"- Classes: {', '.join(map(str, signature.classes))}"
    yield from _provenance(version)
    yield from _section("Metrics at training")
    for name, value in sorted(version.metrics.items()):
        yield f"- {name}: {value:.6g}"
    yield from _section("Verdicts")
    yield from _verdicts(report)
    yield from _section("Inputs")
    yield from _inputs(signature, importance)
    yield from _section("Not checked")
    yield from _unchecked(report)


def _provenance(version: ModelVersion) -> Iterator[str]:
    yield f"- Algorithm: {version.algorithm or 'not recorded'}"
    run = f"run `{version.run}`" if version.run else "a run that is not recorded"
    dataset = f"dataset `{version.dataset}`" if version.dataset else "rows that are not recorded"
    yield f"- Trained by {run} on {dataset}"
    if version.origin is Origin.OUTSIDE:
        yield f"- Logged from outside under `{version.source}`"
    package = f"package `{version.package}`" if version.package else "without a package"
    yield f"- Registered {version.created_at:%Y-%m-%d %H:%M} UTC, {package}"


def _inputs(signature: Signature | None, importance: Mapping[str, float]) -> Iterator[str]:
    if signature is None:
        yield "Not recorded: the version has no signature."
        return
    for field in signature.inputs:
        share = (
            f", {percent(importance[field.name])} of importance" if field.name in importance else ""
        )
        missing = ", may be missing" if field.nullable else ""
        yield f"- `{field.name}`: {field.kind}{missing}{share}"


def _section(title: str) -> Iterator[str]:
    yield ""
    yield f"## {title}"
    yield ""


def _verdicts(report: Report | None) -> Iterator[str]:
    if report is None:
        yield "Never judged: no report is recorded for this version."
        return
    against = f"champion v{report.champion}" if report.champion else "a simple baseline"
    when = f"{report.at:%Y-%m-%d}"
    yield f"{report.outcome} on {report.rows:,} held-out rows against {against}, {when}."
    yield ""
    for verdict in report.verdicts:
        yield f"- {verdict.gate}: {MARKS[verdict.outcome]}. {verdict.summary}."


def _unchecked(report: Report | None) -> Iterator[str]:
    checked = {verdict.gate for verdict in report.verdicts} if report else set()
    for gate, what in CHECKS.items():
        if gate not in checked:
            yield f"- {what}"
    yield "- whether the rows stand for everybody the model will be used on"
