"""The model card: what a version is, what it was shown to do, and what nobody checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from everfit.evaluation.compare import percent
from everfit.evaluation.model import Report
from everfit.registry import ModelVersion

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
    yield f"- Task: {signature.task}, gives `{signature.output.name}`"
    if signature.classes:
        yield f"- Classes: {', '.join(map(str, signature.classes))}"
    yield f"- Algorithm: {version.algorithm}"
    yield f"- Trained by run `{version.run}` on dataset `{version.dataset}`"
    yield f"- Registered {version.created_at:%Y-%m-%d %H:%M} UTC, package `{version.package}`"
    yield from _section("Metrics at training")
    for name, value in sorted(version.metrics.items()):
        yield f"- {name}: {value:.6g}"
    yield from _section("Verdicts")
    yield from _verdicts(report)
    yield from _section("Inputs")
    for field in signature.inputs:
        share = (
            f", {percent(importance[field.name])} of importance" if field.name in importance else ""
        )
        missing = ", may be missing" if field.nullable else ""
        yield f"- `{field.name}`: {field.kind}{missing}{share}"
    yield from _section("Not checked")
    yield from _unchecked(report)


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
