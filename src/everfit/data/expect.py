"""Expectations: what the values of a column must be, checked for all columns in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from everfit.data.model import CheckResult, Expectation, QualityReport
from everfit.data.rules import RULES
from everfit.errors import Problem

EXAMPLES = 5


def parse_expectations(
    mapping: Mapping[str, Any], *, path: str = "data.expect"
) -> tuple[tuple[Expectation, ...], tuple[Problem, ...]]:
    """Return what a policy expects of columns, and every problem of how it says so.

    Examples
    --------
    >>> expectations, problems = parse_expectations({"temp": {"between": [0, 1]}})
    >>> expectations[0].rule, expectations[0].argument, problems
    ('between', (0, 1), ())
    >>> parse_expectations({"age": {"positive": True}})[1][0].found
    "an unknown rule 'positive'"
    """
    expectations: list[Expectation] = []
    problems: list[Problem] = []
    for column, rules in mapping.items():
        where = f"{path}.{column}"
        if not isinstance(rules, Mapping) or not rules:
            remedy = f"write rules, such as {{{column}: {{missing: 5%}}}}"
            problems.append(Problem(path=where, found=repr(rules), remedy=remedy))
            continue
        for name, argument in rules.items():
            read = _parse(str(column), str(name), argument, where)
            if isinstance(read, Problem):
                problems.append(read)
            else:
                expectations.append(read)
    return tuple(expectations), tuple(problems)


def _parse(column: str, name: str, argument: object, where: str) -> Expectation | Problem:
    rule = RULES.get(name)
    if rule is None:
        found = f"an unknown rule {name!r}"
        return Problem(path=where, found=found, remedy=f"use {', '.join(RULES)}")
    value = rule.read(argument)
    if value is None:
        return Problem(path=f"{where}.{name}", found=repr(argument), remedy=rule.remedy)
    return Expectation(column=column, rule=name, argument=value)


def check(frame: pl.DataFrame, expectations: Sequence[Expectation]) -> QualityReport:
    """Return how many rows fail each expectation, with the first of them, and any of them.

    A missing value (null or NaN) fails only the rule ``missing``; a column that is not there
    fails every rule in every row.

    Examples
    --------
    >>> expected, _ = parse_expectations({"temp": {"between": [0, 1]}})
    >>> report = check(pl.DataFrame({"temp": [0.2, 7.0]}), expected)
    >>> report.failed_rows, report.checks[0].examples
    (1, ((2, '7.0'),))
    """
    if not expectations:
        return QualityReport(rows=frame.height, failed_rows=0, checks=())
    failing = frame.select(
        _failing(frame, expectation).fill_null(value=False).alias(str(at))
        for at, expectation in enumerate(expectations)
    )
    return QualityReport(
        rows=frame.height,
        failed_rows=int(failing.select(pl.any_horizontal(pl.all()).sum()).item()),
        checks=tuple(
            _result(frame, expectation, mask)
            for expectation, mask in zip(expectations, failing, strict=True)
        ),
    )


def _failing(frame: pl.DataFrame, expectation: Expectation) -> pl.Expr:
    kind = frame.schema.get(expectation.column)
    if kind is None:
        return pl.repeat(value=True, n=frame.height)
    values = pl.col(expectation.column)
    if kind.is_float():
        values = values.fill_nan(None)
    return RULES[expectation.rule].failing(values, kind, expectation.argument)


def _result(frame: pl.DataFrame, expectation: Expectation, failing: pl.Series) -> CheckResult:
    rows = failing.arg_true().head(EXAMPLES).to_list()
    if expectation.column in frame.columns:
        values = frame[expectation.column]
        examples = tuple((row + 1, str(values[row])) for row in rows)
    else:
        examples = ((0, "there is no such column"),)
    return CheckResult(
        column=expectation.column,
        rule=described(expectation),
        failed=int(failing.sum()),
        examples=examples,
    )


def described(expectation: Expectation) -> str:
    """Return the rule with its argument, about as a policy writes it.

    Examples
    --------
    >>> described(Expectation(column="temp", rule="between", argument=(0, None)))
    'between [0, null]'
    >>> described(Expectation(column="temp", rule="missing", argument=0.05))
    'missing 5%'
    """
    argument = expectation.argument
    if isinstance(argument, float) and expectation.rule == "missing":
        return f"missing {100 * argument:.4g}%"
    if isinstance(argument, tuple):
        shown = ", ".join("null" if part is None else str(part) for part in argument)
        return f"{expectation.rule} [{shown}]"
    return f"{expectation.rule} {'true' if argument is True else argument}"
