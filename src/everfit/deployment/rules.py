"""Rollback rules as people write them: ``errors > 1%``, ``mae worse than champion``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from everfit.deployment.model import Later, Limit, Measure, RollbackRules
from everfit.errors import Problem
from everfit.kernel import parse_duration

NOW_FORM = "write 'errors > 1%' or 'p95_ms > 50'"
LATER_FORM = "write 'mae worse than champion, confidence 95%'"
# The comparison is paired, row by row: only a metric that is a mean over rows can be named.
PAIRED = ("mae", "accuracy", "silhouette", "loss")


def parse_rollback(given: Mapping[str, Any]) -> tuple[RollbackRules, list[Problem]]:
    """Return the rules that ``given`` declares, with every problem found on the way.

    What is left out keeps its default; an empty list switches the rule off.

    Examples
    --------
    >>> rules, problems = parse_rollback({"now": ["p95_ms > 50"], "tolerance": "2%"})
    >>> rules.now[0].limit, rules.tolerance, problems
    (50.0, 0.02, [])
    """
    rules, problems = RollbackRules(), []
    for name, value in given.items():
        parse = PARSERS.get(name)
        if parse is None:
            remedy = f"use {', '.join(PARSERS)}"
            problems.append(Problem(path=name, found="an unknown name", remedy=remedy))
            continue
        parsed, found = parse(value)
        problems += found
        if not found:
            rules = replace(rules, **{name: parsed})
    return rules, problems


def _parse_now(value: Any) -> tuple[tuple[Limit, ...], list[Problem]]:
    limits, problems = [], []
    for path, text in _lines("now", value):
        limit = _limit(text)
        if limit is None:
            problems.append(Problem(path=path, found=repr(text), remedy=NOW_FORM))
        else:
            limits.append(limit)
    return tuple(limits), problems


def _limit(text: str) -> Limit | None:
    match = re.fullmatch(r"\s*(errors|p95_ms)\s*>\s*(\d+(?:\.\d+)?)\s*(%?)\s*", text)
    if match is None:
        return None
    measure, number = Measure(match[1]), float(match[2])
    if measure is Measure.P95_MS:
        return Limit(measure=measure, limit=number) if number > 0 and not match[3] else None
    share = number / 100 if match[3] else number
    return Limit(measure=measure, limit=share) if share < 1 else None


def _parse_later(value: Any) -> tuple[Later | None, list[Problem]]:
    lines = _lines("later", value)
    if not lines:
        return None, []
    path, text = lines[0]
    if len(lines) > 1:
        return None, [Problem(path="later", found=f"{len(lines)} rules", remedy="write one")]
    match = re.fullmatch(
        r"\s*(\w+) worse than champion(?:,\s*confidence\s+(\d+(?:\.\d+)?)\s*%)?\s*", text
    )
    if match is None:
        return None, [Problem(path=path, found=repr(text), remedy=LATER_FORM)]
    if match[1] not in PAIRED:
        remedy = f"use one that is a mean over rows: {', '.join(PAIRED)}"
        return None, [Problem(path=path, found=f"the metric {match[1]!r}", remedy=remedy)]
    confidence = float(match[2] or 95) / 100
    if not 0.5 <= confidence < 1:
        found = f"confidence {match[2]}%"
        return None, [Problem(path=path, found=found, remedy="use 50% up to below 100%")]
    return Later(metric=match[1], confidence=confidence), []


def _parse_tolerance(value: Any) -> tuple[float, list[Problem]]:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(%?)\s*", str(value))
    share = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= share <= 1:
        remedy = "write a share such as 5% or 0.05"
        return 0.0, [Problem(path="tolerance", found=repr(value), remedy=remedy)]
    return share, []


def _parse_patience(value: Any) -> tuple[timedelta | None, list[Problem]]:
    try:
        patience = parse_duration(str(value))
    except ValueError:
        patience = None
    if not patience:
        remedy = "write a duration above zero and up to 10 years, such as 30d or 2w"
        return None, [Problem(path="patience", found=repr(value), remedy=remedy)]
    return patience, []


PARSERS: dict[str, Callable[[Any], tuple[Any, list[Problem]]]] = {
    "now": _parse_now,
    "later": _parse_later,
    "tolerance": _parse_tolerance,
    "patience": _parse_patience,
}


def _lines(name: str, value: Any) -> list[tuple[str, str]]:
    """Return each line of a rule with its path; a text is a list of one, an empty one of none."""
    text = isinstance(value, str)
    lines = [value] if text and value.strip() else [] if text else list(value or ())
    return [(f"{name}[{index}]", str(line)) for index, line in enumerate(lines)]
