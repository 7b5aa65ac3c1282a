"""What searches can say, what is refused and with which words, and that MLflow reads it so too."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import sqlite3
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from everfit.errors import Invalid, Problem
from everfit.filters import (
    EXPERIMENTS,
    LOGGED_MODELS,
    MODELS,
    RUNS,
    TRACES,
    VERSIONS,
    Comparison,
    order_field,
    parse_filter,
    parse_order,
)
from everfit.kernel.text import as_glob, lower_ascii

GRAMMARS = {
    "runs": RUNS,
    "experiments": EXPERIMENTS,
    "logged": LOGGED_MODELS,
    "models": MODELS,
    "versions": VERSIONS,
    "traces": TRACES,
}

Clause = tuple[str, str, str, object]


def clauses(found: Sequence[Comparison]) -> list[Clause]:
    return [(c.entity.value, c.key, c.operator, c.value) for c in found]


READ = [
    ("runs", "metrics.rmse < 0.5", ("metric", "rmse", "<", 0.5)),
    ("runs", "metric.rmse>=-1", ("metric", "rmse", ">=", -1.0)),
    ("runs", "metrics.rmse != 1e-3", ("metric", "rmse", "!=", 0.001)),
    ("runs", "metrics.rmse = 1e+20", ("metric", "rmse", "=", 1e20)),
    ("runs", "metrics.rmse = .5", ("metric", "rmse", "=", 0.5)),
    ("runs", "metrics.rmse = 5.", ("metric", "rmse", "=", 5.0)),
    ("runs", "metrics.`val/loss (last)` <= 1", ("metric", "val/loss (last)", "<=", 1.0)),
    ("runs", "params.model = 'tree'", ("param", "model", "=", "tree")),
    ("runs", 'param.model = "tree"', ("param", "model", "=", "tree")),
    ("runs", "parameters.model LIKE 't%'", ("param", "model", "LIKE", "t%")),
    ("runs", "parameter.model ilike 'T%'", ("param", "model", "ILIKE", "T%")),
    ("runs", "params.\"learning rate\" != '1'", ("param", "learning rate", "!=", "1")),
    ("runs", "params.'learning rate' != '1'", ("param", "learning rate", "!=", "1")),
    ("runs", "`params`.`learning rate` != '1'", ("param", "learning rate", "!=", "1")),
    ("runs", "params.größe = 'x'", ("param", "größe", "=", "x")),
    ("runs", "params.and = 'x'", ("param", "and", "=", "x")),
    ("runs", "params.2nd = 'x'", ("param", "2nd", "=", "x")),
    ("runs", "params.a IS NULL", ("param", "a", "IS NULL", None)),
    ("runs", "tags.a is not null", ("tag", "a", "IS NOT NULL", None)),
    ("runs", "tags.mlflow.source.type = 'JOB'", ("tag", "mlflow.source.type", "=", "JOB")),
    ("runs", "tag.`mlflow.runName` = 'x'", ("tag", "mlflow.runName", "=", "x")),
    ("runs", "status = 'FINISHED'", ("attribute", "status", "=", "FINISHED")),
    ("runs", "attributes.status = 'FINISHED'", ("attribute", "status", "=", "FINISHED")),
    ("runs", "attr.user_id = 'a'", ("attribute", "user_id", "=", "a")),
    ("runs", "run.artifact_uri LIKE 's3:%'", ("attribute", "artifact_uri", "LIKE", "s3:%")),
    ("runs", "`run name` = 'x'", ("attribute", "run_name", "=", "x")),
    ("runs", "\"Run name\" = 'x'", ("attribute", "run_name", "=", "x")),
    ("runs", "attribute.`Run Name` = 'x'", ("attribute", "run_name", "=", "x")),
    ("runs", "Created > 1700000000000", ("attribute", "start_time", ">", 1_700_000_000_000)),
    ("runs", "end_time <= 1.5", ("attribute", "end_time", "<=", 1.5)),
    ("runs", "run_id IN ('a', \"b\")", ("attribute", "run_id", "IN", ("a", "b"))),
    ("runs", "run_id not in('a',)", ("attribute", "run_id", "NOT IN", ("a",))),
    (
        "runs",
        r"""run_id IN ('a\\b', "it's", 'it\'s')""",
        ("attribute", "run_id", "IN", ("a\\b", "it's", "it's")),
    ),
    ("runs", "datasets.name = 'bikes'", ("dataset", "name", "=", "bikes")),
    ("runs", "dataset.digest IN ('a')", ("dataset", "digest", "IN", ("a",))),
    ("runs", "dataset.context LIKE 'tr%'", ("dataset", "context", "LIKE", "tr%")),
    # As MLflow has it, what stands between the outer quotes is taken as it is.
    ("runs", "params.a = 'it''s'", ("param", "a", "=", "it''s")),
    ("runs", r"params.a = 'it\'s'", ("param", "a", "=", r"it\'s")),
    ("runs", 'params.a = "it\'s"', ("param", "a", "=", "it's")),
    ("runs", "params.a = 'C:\\'", ("param", "a", "=", "C:\\")),
    ("runs", "params.a = ' AND params.b = '", ("param", "a", "=", " AND params.b = ")),
    ("runs", "params.a = ''", ("param", "a", "=", "")),
    ("runs", "\n and metrics.a\t=\n1 AND", ("metric", "a", "=", 1.0)),
    ("experiments", "name LIKE 'b%'", ("attribute", "name", "LIKE", "b%")),
    ("experiments", "attribute.name = 'b'", ("attribute", "name", "=", "b")),
    ("experiments", "experiment_id = '007'", ("attribute", "experiment_id", "=", "7")),
    (
        "experiments",
        "experiment_id IN ('1', '2')",
        ("attribute", "experiment_id", "IN", ("1", "2")),
    ),
    ("experiments", "creation_time > -5", ("attribute", "creation_time", ">", -5)),
    ("experiments", "tags.team IS NULL", ("tag", "team", "IS NULL", None)),
    ("models", "name ILIKE '%b'", ("attribute", "name", "ILIKE", "%b")),
    ("models", "name NOT IN ('a','b')", ("attribute", "name", "NOT IN", ("a", "b"))),
    ("models", "tag.`a b` LIKE 'x'", ("tag", "a b", "LIKE", "x")),
    ("versions", "run_id IN ('a')", ("attribute", "run_id", "IN", ("a",))),
    ("versions", "version_number >= 2", ("attribute", "version_number", ">=", 2)),
    ("versions", "version_number = '2'", ("attribute", "version_number", "=", 2)),
    ("versions", "source_path LIKE 's3%'", ("attribute", "source_path", "LIKE", "s3%")),
    ("logged", "params.lr = 0.01", ("param", "lr", "=", "0.01")),
    ("logged", "name = tree", ("attribute", "name", "=", "tree")),
    ("logged", "tags.a IN ('x', 'y')", ("tag", "a", "IN", ("x", "y"))),
    ("logged", "creation_time > 5", ("attribute", "creation_timestamp", ">", 5)),
    ("logged", "metrics.loss < 0.1", ("metric", "loss", "<", 0.1)),
    ("traces", "timestamp > 5", ("attribute", "timestamp_ms", ">", 5)),
    ("traces", "trace.execution_time < 1.5", ("attribute", "execution_time_ms", "<", 1.5)),
    ("traces", "status RLIKE '^O'", ("attribute", "status", "RLIKE", "^O")),
    ("traces", "name = 'f'", ("tag", "mlflow.traceName", "=", "f")),
    ("traces", "run_id != 'r'", ("metadata", "mlflow.sourceRun", "!=", "r")),
    ("traces", "prompt = 'p/1'", ("tag", "mlflow.linkedPrompts", "=", "p/1")),
    ("traces", "text LIKE '%x%'", ("span", "content", "LIKE", "%x%")),
    ("traces", "request_metadata.a IS NULL", ("metadata", "a", "IS NULL", None)),
    ("traces", "span.type IN ('LLM')", ("span", "type", "IN", ("LLM",))),
    ("traces", "span.attributes.a.b LIKE 'x'", ("span-attribute", "a.b", "LIKE", "x")),
    ("traces", "span.attributes.`a b` = 'x'", ("span-attribute", "a b", "=", "x")),
    ("traces", "span.`attributes.a b` = 'x'", ("span-attribute", "a b", "=", "x")),
    ("traces", "feedback.quality > 0.5", ("feedback", "quality", ">", 0.5)),
    ("traces", "feedback.quality = 'yes'", ("feedback", "quality", "=", "yes")),
    ("traces", "expectation.a IS NOT NULL", ("expectation", "a", "IS NOT NULL", None)),
    ("traces", "issue.id = 'i'", ("issue", "id", "=", "i")),
]


@pytest.mark.parametrize(("name", "text", "clause"), READ)
def test_a_clause_is_read(name: str, text: str, clause: Clause) -> None:
    assert clauses(parse_filter(text, GRAMMARS[name])) == [clause]


REFUSED = [
    ("runs", "rmse < 0.5", 1, "'rmse'", "metrics.KEY"),
    ("runs", "Metrics.rmse < 0.5", 1, "'Metrics.rmse'", "metrics"),
    ("runs", "lifecycle_stage = 'active'", 1, "'lifecycle_stage'", "run_id"),
    ("runs", "experiment_id = '1'", 1, "'experiment_id'", "run_id"),
    ("runs", "'status' = 'x'", 1, "'status'", "key"),
    ("runs", "(metrics.a > 1)", 1, "'('", "parentheses"),
    ("runs", "metrics.a == 1", 11, "'=='", "write ="),
    ("runs", "metrics.a <> 1", 11, "'<>'", "write !="),
    ("runs", "metrics.a > 1 OR metrics.b > 1", 15, "'OR'", "search once for each"),
    ("runs", "metrics.a > 1 metrics.b > 1", 15, "'metrics.b'", "AND"),
    ("runs", "metrics.a > 1;", 14, "';'", "AND"),
    ("runs", "metrics.a > 1 -- all", 15, "'-'", "AND"),
    ("runs", "metrics.a > '1'", 13, "'1'", "without quotes"),
    ("runs", "metrics.a > nan", 13, "'nan'", "number"),
    ("runs", "metrics.a > 0x10", 13, "'0x10'", "number"),
    ("runs", "metrics.a > - 1", 13, "'-'", "number"),
    ("runs", "metrics.a LIKE '1'", 11, "'LIKE'", ">="),
    ("runs", "metrics.a IS NULL", 11, "'IS NULL'", ">="),
    ("runs", "params.a > 'x'", 10, "'>'", "LIKE"),
    ("runs", "params.a NOT LIKE 'x'", 10, "'NOT LIKE'", "LIKE"),
    ("runs", "params.a RLIKE 'x'", 10, "'RLIKE'", "LIKE"),
    ("runs", "params.a IN ('x')", 10, "'IN'", "LIKE"),
    ("runs", "params.a = x", 12, "'x'", "in quotes"),
    ("runs", "params.a = 5", 12, "'5'", "in quotes"),
    ("runs", "params.a = 'x", 12, "'x", "close the quote '"),
    ("runs", "params.`a = 'x'", 8, "`a", "close the quote `"),
    ("runs", "params.a-b = 'x'", 9, "'-'", "backticks"),
    ("runs", "params.a.`b` = 'x'", 1, "'params.a.`b`'", "params.`a.b`"),
    ("runs", "status IS NULL", 8, "'IS NULL'", "LIKE"),
    ("runs", "status IN ('x')", 8, "'IN'", "LIKE"),
    ("runs", "run_id IN ()", 11, "'('", "1 to 10,000"),
    ("runs", "run_id IN 'x'", 11, "'x'", "parentheses"),
    ("runs", "run_id IN ('x'", 11, "'('", "parentheses"),
    ("runs", "run_id IN (1)", 12, "'1'", "in quotes"),
    ("runs", "run_id IN (x)", 12, "'x'", "in quotes"),
    ("runs", "run_id IN ('a' 'b')", 16, "'b'", "commas"),
    ("runs", r"run_id IN ('\n')", 12, r"\\n", "backslash"),
    ("runs", "run_id = ('a')", 10, "'('", "in quotes"),
    ("runs", "start_time > '5'", 14, "'5'", "milliseconds"),
    ("runs", "start_time > 9223372036854775808", 14, "9223372036854775808", "milliseconds"),
    ("runs", "dataset.source = 'x'", 1, "'dataset.source'", "context, digest, name"),
    ("runs", "params.a = 'x\0'", 14, r"'\x00'", "leave out"),
    ("runs", "params.a = '\ud800'", 13, r"'\ud800'", "leave out"),
    ("experiments", "attributes.name = 'x'", 1, "'attributes.name'", "attribute, tag, tags"),
    ("experiments", "name IN ('x')", 6, "'IN'", "LIKE"),
    ("experiments", "experiment_id = 1", 17, "'1'", "in quotes"),
    ("experiments", "experiment_id IN ('1', 'x')", 24, "'x'", "integer in quotes"),
    ("experiments", "creation_time > 1.5", 17, "'1.5'", "whole"),
    ("experiments", "metrics.a > 1", 1, "'metrics.a'", "attribute, tag, tags"),
    ("models", "creation_timestamp > 1", 1, "'creation_timestamp'", "name"),
    ("models", "tags.a IS NULL", 8, "'IS NULL'", "LIKE"),
    ("versions", "version_number = 1.5", 18, "'1.5'", "integer"),
    ("versions", "source_path IN ('x')", 13, "'IN'", "LIKE"),
    ("logged", "attribute.name = 'x'", 1, "'attribute.name'", "attributes"),
    ("logged", "params.a IS NULL", 10, "'IS NULL'", "LIKE"),
    ("traces", "trace_id = 'x'", 1, "'trace_id'", "request_id"),
    ("traces", "name IN ('x')", 6, "'IN'", "RLIKE"),
    ("traces", "prompt = 'p'", 10, "'p'", "name/version"),
    ("traces", "span.cost = 'x'", 1, "'span.cost'", "content, name, status, type"),
    ("traces", "text = 'x'", 6, "'='", "LIKE"),
    ("traces", "feedback.a > 'x'", 14, "'x'", "number"),
    ("traces", "feedback.a = 1", 14, "'1'", "in quotes"),
]


@pytest.mark.parametrize(("name", "text", "position", "found", "remedy"), REFUSED)
def test_a_clause_is_refused_by_its_place_and_with_what_to_write(
    name: str, text: str, position: int, found: str, remedy: str
) -> None:
    with pytest.raises(Invalid) as caught:
        parse_filter(text, GRAMMARS[name])
    [problem] = caught.value.problems
    assert problem.path == f"character {position}"
    assert found in problem.found
    assert remedy in problem.remedy
    assert GRAMMARS[name].subject in caught.value.message
    assert GRAMMARS[name].example in caught.value.hint


def test_a_clause_without_a_value_is_refused() -> None:
    with pytest.raises(Invalid, match="no value; write a number"):
        parse_filter("metrics.a > AND metrics.b > 1", RUNS)
    with pytest.raises(Invalid, match="behind this key write one of ="):
        parse_filter("metrics.a", RUNS)


@pytest.mark.parametrize("text", [None, ""])
def test_no_filter_has_no_clauses(text: str | None) -> None:
    assert parse_filter(text, RUNS) == ()


@pytest.mark.parametrize("text", [" ", "AND", " and AND "])
def test_a_filter_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="0 clauses"):
        parse_filter(text, RUNS)


def test_every_clause_with_a_problem_is_named() -> None:
    with pytest.raises(Invalid) as caught:
        parse_filter("rmse < 1 AND params.a = 'x' AND metrics.b == 1 AND tags.c = 'x", RUNS)
    assert [p.path for p in caught.value.problems] == [
        "character 1",
        "character 43",
        "character 61",
    ]


def test_what_is_shown_of_a_long_text_is_short() -> None:
    with pytest.raises(Invalid) as caught:
        parse_filter(f"params.a = '{'x' * 100_000}", RUNS)
    assert len(caught.value.message) < 200


def test_the_example_of_each_grammar_is_a_filter_of_it() -> None:
    assert [len(parse_filter(grammar.example, grammar)) for grammar in GRAMMARS.values()] == [2] * 6


@pytest.mark.parametrize(
    "text",
    [
        "params.a = '" + "x" * 262_144 + "'",
        " AND ".join(["metrics.a > 1"] * 101),
        "run_id IN (" + ",".join(["'a'"] * 10_001) + ")",
        "params.a LIKE '" + "%a" * 5_001 + "'",
    ],
    ids=["characters", "clauses", "items", "pattern"],
)
def test_a_filter_has_bounds(text: str) -> None:
    with pytest.raises(Invalid, match=r"at most|1 to"):
        parse_filter(text, RUNS)


def test_what_mlflow_can_search_for_is_within_the_bounds() -> None:
    runs = [f"{number:032x}" for number in range(5_000)]
    [clause] = parse_filter("run_id IN (" + ", ".join(f"'{run}'" for run in runs) + ")", RUNS)
    assert clause.value == tuple(runs)
    assert len(parse_filter(" AND ".join(["metrics.a > 1"] * 100), RUNS)) == 100


@pytest.mark.parametrize(
    "piece",
    ["(", "'", "''", "\\'", "'\\", '"', "`", "a.", "a.`", "a.'\\", "1", "1.", "-", "1e", " ", "=",
     "a.b = 'x' AND ", "AND ", ",'a'", "\n", "a IN (", ".5", "0"],
)  # fmt: skip
@pytest.mark.parametrize("start", ["", "params.a = '", "run_id IN ("])
def test_no_text_is_slow(start: str, piece: str) -> None:
    text = (start + piece * 262_144)[:262_144]
    begun = time.perf_counter()
    with contextlib.suppress(Invalid):
        parse_filter(text, RUNS)
    assert time.perf_counter() - begun < 5


ORDERED = [
    ("runs", "metrics.a", ("metric", "a", True)),
    ("runs", "metrics.`a b` DESC", ("metric", "a b", False)),
    ("runs", 'param."a b" asc', ("param", "a b", True)),
    ("runs", "tags.mlflow.user desc", ("tag", "mlflow.user", False)),
    ("runs", "attributes.start_time DESC", ("attribute", "start_time", False)),
    ("runs", "created\nDESC", ("attribute", "start_time", False)),
    ("runs", " `status` ", ("attribute", "status", True)),
    ("experiments", "experiment_id DESC", ("attribute", "experiment_id", False)),
    ("models", "timestamp DESC", ("attribute", "last_updated_timestamp", False)),
    ("models", "last_updated_timestamp", ("attribute", "last_updated_timestamp", True)),
    ("versions", "version_number DESC", ("attribute", "version_number", False)),
    ("versions", "attribute.creation_timestamp", ("attribute", "creation_timestamp", True)),
    ("traces", "timestamp DESC", ("attribute", "timestamp_ms", False)),
    ("traces", "end_time", ("attribute", "end_time_ms", True)),
    ("traces", "name", ("tag", "mlflow.traceName", True)),
    ("traces", "metadata.a DESC", ("metadata", "a", False)),
    ("logged", "metrics.loss", ("metric", "loss", True)),
]


@pytest.mark.parametrize(("name", "text", "expected"), ORDERED)
def test_an_order_is_read(name: str, text: str, expected: tuple[str, str, bool]) -> None:
    [found] = parse_order([text], GRAMMARS[name])
    assert astuple(found) == expected


UNORDERED = [
    ("runs", "", "nothing"),
    ("runs", "metrics.a foo", "foo"),
    ("runs", "metrics.a DESC NULLS LAST", "DESC"),
    ("runs", "metrics.a, metrics.b", ","),
    ("runs", "dataset.name", "dataset.name"),
    ("runs", "`Run Name`", "Run Name"),
    ("runs", "experiment_id", "experiment_id"),
    ("experiments", "tags.a", "tags.a"),
    ("models", "creation_timestamp", "creation_timestamp"),
    ("versions", "tags.name", "tags.name"),
    ("versions", "run_id", "run_id"),
    ("traces", "client_request_id", "client_request_id"),
    ("traces", "span.name", "span.name"),
    ("logged", "params.a", "params.a"),
]


@pytest.mark.parametrize(("name", "text", "found"), UNORDERED)
def test_an_order_is_refused(name: str, text: str, found: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse_order([text], GRAMMARS[name])
    [problem] = caught.value.problems
    assert problem.path.startswith("order_by[0], character")
    assert found in problem.found


def test_keys_are_ordered_by_in_the_order_given() -> None:
    found = parse_order(["metrics.b DESC", "params.a", "attribute.run_id"], RUNS)
    assert [(order.key, order.ascending) for order in found] == [
        ("b", False),
        ("a", True),
        ("run_id", True),
    ]


def test_a_key_given_twice_is_refused_or_the_first_one_decides() -> None:
    with pytest.raises(Invalid, match=r"order_by\[1\].*once"):
        parse_order(["created", "attribute.start_time DESC"], RUNS)
    [order] = parse_order(["name DESC", "name"], EXPERIMENTS)
    assert not order.ascending


def test_every_order_with_a_problem_is_named() -> None:
    with pytest.raises(Invalid) as caught:
        parse_order(["a", "metrics.a", "metrics.b DOWN"], RUNS)
    assert [problem.path for problem in caught.value.problems] == [
        "order_by[0], character 1",
        "order_by[2], character 11",
    ]
    with pytest.raises(Invalid, match="at most 20"):
        parse_order([f"metrics.m{n}" for n in range(21)], RUNS)


def test_logged_models_are_ordered_by_fields_that_are_not_quoted() -> None:
    metric = order_field("metrics.val loss`", ascending=False, grammar=LOGGED_MODELS)
    assert astuple(metric) == ("metric", "val loss`", False)
    time = order_field(" creation_time ", ascending=True, grammar=LOGGED_MODELS)
    assert astuple(time) == ("attribute", "creation_timestamp", True)
    for wrong in ("params.a", "foo", "metrics", "", "metrics.\0"):
        with pytest.raises(Invalid, match="order of logged models"):
            order_field(wrong, ascending=True, grammar=LOGGED_MODELS)


# Filters made at random, each with the clauses that it means.

LIKES = ["=", "!=", "LIKE", "ILIKE"]
RLIKES = [*LIKES, "RLIKE"]
LISTS = ["IN", "NOT IN"]
NULLS = ["IS NULL", "IS NOT NULL"]
NUMERIC = ["=", "!=", "<", "<=", ">", ">="]


@dataclass(frozen=True)
class Shape:
    """Clauses of one kind: how keys are spelled (None: any key), and what they take."""

    spelled: list[str]
    entity: str
    key: str | None
    operators: list[str]
    value: str


SHAPES = {
    "runs": [
        Shape(["metric.", "metrics.", "`metrics`."], "metric", None, NUMERIC, "number"),
        Shape(["params.", "param.", "parameter."], "param", None, LIKES + NULLS, "text"),
        Shape(["tags.", "tag."], "tag", None, LIKES + NULLS, "text"),
        Shape(["run_id", "attr.run_id"], "attribute", "run_id", LIKES + LISTS, "text"),
        Shape(["status", "`status`", "run.status"], "attribute", "status", LIKES, "text"),
        Shape(["run_name", '"Run name"'], "attribute", "run_name", LIKES, "text"),
        Shape(["created", "attributes.start_time"], "attribute", "start_time", NUMERIC, "exact"),
        Shape(["dataset.name", "datasets.name"], "dataset", "name", LIKES + LISTS, "text"),
    ],
    "experiments": [
        Shape(["name", "attribute.name"], "attribute", "name", LIKES, "text"),
        Shape(["experiment_id"], "attribute", "experiment_id", ["=", "!=", *LISTS], "id"),
        Shape(["creation_time"], "attribute", "creation_time", NUMERIC, "whole"),
        Shape(["tags.", "tag."], "tag", None, LIKES + NULLS, "text"),
    ],
    "models": [
        Shape(["name", "attribute.name"], "attribute", "name", LIKES + LISTS, "text"),
        Shape(["tags.", "tag."], "tag", None, LIKES, "text"),
    ],
    "versions": [
        Shape(["run_id", "attribute.run_id"], "attribute", "run_id", LIKES + LISTS, "text"),
        Shape(["source_path"], "attribute", "source_path", LIKES, "text"),
        Shape(["version_number"], "attribute", "version_number", NUMERIC, "whole"),
        Shape(["tags.", "tag."], "tag", None, LIKES, "text"),
    ],
    "logged": [
        Shape(["metrics."], "metric", None, NUMERIC, "number"),
        Shape(["params."], "param", None, LIKES + LISTS, "text"),
        Shape(["tags."], "tag", None, LIKES + LISTS, "text"),
        Shape(["name", "attributes.name"], "attribute", "name", LIKES + LISTS, "text"),
        Shape(["creation_time"], "attribute", "creation_timestamp", NUMERIC, "exact"),
    ],
    "traces": [
        Shape(["timestamp_ms", "trace.timestamp"], "attribute", "timestamp_ms", NUMERIC, "exact"),
        Shape(["status", "attributes.status"], "attribute", "status", RLIKES + LISTS, "text"),
        Shape(["name", "trace.name"], "tag", "mlflow.traceName", RLIKES + NULLS, "text"),
        Shape(["tags.", "tag."], "tag", None, RLIKES + NULLS, "text"),
        Shape(["metadata.", "request_metadata."], "metadata", None, RLIKES + NULLS, "text"),
        Shape(["span.type"], "span", "type", RLIKES + LISTS, "text"),
        Shape(["span.attributes."], "span-attribute", None, RLIKES, "text"),
        Shape(["feedback."], "feedback", None, RLIKES + NULLS, "text"),
        Shape(["expectation."], "expectation", None, ["<", "<=", ">", ">="], "exact"),
    ],
}

WORDS = st.from_regex(r"[a-zA-Z_é][a-zA-Z0-9_é名]{0,5}", fullmatch=True)
PLAIN = st.sampled_from("aBz019 .,:;/-_%+*()[]<>=!?#@$&é名😀\n\t")
INSIDE = st.text(PLAIN, max_size=12)
SPACES = st.sampled_from([" ", "  ", "\n", "\t "])
NUMBERS = {
    "number": st.one_of(
        st.integers().map(str),
        st.floats(allow_nan=False, allow_infinity=False).map(str),
        st.sampled_from(["-.5", "5.", "1E5", "1.5e-3", "007", "-0"]),
    ),
    "exact": st.one_of(
        st.integers(-(2**63) + 1, 2**63 - 1).map(str), st.sampled_from(["1.5", "-.5", "1e3"])
    ),
    "whole": st.integers(-(2**63) + 1, 2**63 - 1).map(str),
}


@st.composite
def keys(draw: st.DrawFn) -> tuple[str, str]:
    """A key as it can be written behind a dot, and the key that it is."""
    words = ".".join(draw(st.lists(WORDS, min_size=1, max_size=3)))
    quote = draw(st.sampled_from(["", "`", '"', "'"]))
    key = draw(INSIDE.filter(bool)) if quote else words
    return f"{quote}{key}{quote}", key


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, str]:
    """A text in quotes, and the text that it is; quotes of its own kind are left as written."""
    quote, other = draw(st.sampled_from([("'", '"'), ('"', "'")]))
    pieces = st.one_of(PLAIN, st.sampled_from([quote * 2, f"\\{quote}", other, "%", "AND", "`"]))
    inner = "".join(draw(st.lists(pieces, max_size=12)))
    return f"{quote}{inner}{quote}", inner


@st.composite
def lists(draw: st.DrawFn, items: st.SearchStrategy[str]) -> tuple[str, tuple[str, ...]]:
    values = draw(st.lists(items, min_size=1, max_size=4))
    quoted = [draw(st.sampled_from([f"'{value}'", f'"{value}"'])) for value in values]
    comma = draw(st.sampled_from([",", ", ", " ,\n"]))
    return f"({comma.join(quoted)}{draw(st.sampled_from(['', ',']))})", tuple(values)


def number_of(written: str, kind: str) -> float:
    return int(written) if kind != "number" and written.lstrip("-").isdigit() else float(written)


@st.composite
def written_clauses(draw: st.DrawFn, name: str) -> tuple[str, Clause]:
    shape = draw(st.sampled_from(SHAPES[name]))
    spelled, key = draw(st.sampled_from(shape.spelled)), shape.key
    if key is None:
        behind, key = draw(keys())
        spelled += behind
    operator = draw(st.sampled_from(shape.operators))
    gap = draw(SPACES)
    start = f"{spelled}{gap}{draw(st.sampled_from([operator, operator.lower()]))}"
    if operator in NULLS:
        return start, (shape.entity, key, operator, None)
    value: object
    if operator in LISTS:
        items = INSIDE.map(lambda text: re.sub(r"[\r\n]", "", text))
        if shape.value == "id":
            items = st.integers(0, 10**9).map(str)
        written, value = draw(lists(items))
    elif shape.value == "id":
        value = str(draw(st.integers(0, 10**9)))
        written = f"'{value}'"
    elif shape.value == "text":
        written, value = draw(texts())
    else:
        written = draw(NUMBERS[shape.value])
        value = number_of(written, shape.value)
    return f"{start}{draw(SPACES)}{written}", (shape.entity, key, operator, value)


@st.composite
def written_filters(draw: st.DrawFn) -> tuple[str, str, list[Clause]]:
    name = draw(st.sampled_from(sorted(GRAMMARS)))
    parts = draw(st.lists(written_clauses(name), min_size=1, max_size=4))
    joint = draw(st.sampled_from([" AND ", "\nand ", " And\t"]))
    return name, joint.join(text for text, _ in parts), [clause for _, clause in parts]


@given(written_filters())
def test_what_is_written_is_what_is_read(written: tuple[str, str, list[Clause]]) -> None:
    name, text, expected = written
    assert clauses(parse_filter(text, GRAMMARS[name])) == expected


PIECES = st.sampled_from(
    [
        *("metrics.a", "params.`b c`", "status", "run_id", "=", "<", "LIKE", "IN", "NOT", "IS"),
        *("NULL", "AND", "OR", "(", ")", ",", "'x'", '"', "'", "`", "1", "-", ".", "\\", " ", "\n"),
        *("%", "é"),
    ]
)


@given(st.one_of(st.text(st.characters()), st.lists(PIECES, max_size=20).map("".join)))
@settings(max_examples=300)
def test_any_text_is_read_or_refused(text: str) -> None:
    for grammar in GRAMMARS.values():
        problems: Sequence[Problem] = ()
        try:
            found = len(parse_filter(text, grammar)) + len(parse_order([text], grammar))
        except Invalid as error:
            found, problems = 0, error.problems
        assert (found > 0) != (len(problems) > 0)


# LIKE and ILIKE on both databases.


def matches(pattern: str, text: str, *, ignore_case: bool) -> bool:
    """Say what a pattern means: `%` is any text, `_` any character, A to Z may be a to z."""
    if ignore_case:
        pattern, text = lower_ascii(pattern), lower_ascii(text)
    parts = [{"%": ".*", "_": "."}.get(mark, re.escape(mark)) for mark in pattern]
    return re.fullmatch("".join(parts), text, re.DOTALL) is not None


SIMILAR = st.text("aAbäÄ%_*?[]^-\\é\n", max_size=6)
SQLITE = {
    False: "SELECT :text GLOB :pattern",
    True: "SELECT lower(:text) GLOB :pattern",
}
POSTGRES = {
    False: "SELECT CAST(:text AS text) LIKE CAST(:pattern AS text) ESCAPE ''",
    True: "SELECT lower(CAST(:text AS text) COLLATE \"C\") LIKE CAST(:pattern AS text) ESCAPE ''",
}


@given(pattern=SIMILAR, text=SIMILAR, ignore_case=st.booleans())
@example(pattern="%[a]_", text="x[a]y", ignore_case=False)
def test_glob_finds_what_like_means(pattern: str, text: str, ignore_case: bool) -> None:
    bound = as_glob(lower_ascii(pattern) if ignore_case else pattern)
    connection = sqlite3.connect(":memory:")
    row = connection.execute(SQLITE[ignore_case], {"text": text, "pattern": bound}).fetchone()
    connection.close()
    assert bool(row[0]) == matches(pattern, text, ignore_case=ignore_case)


def test_postgres_finds_what_like_means(postgres_url: str) -> None:
    @given(pattern=SIMILAR, text=SIMILAR, ignore_case=st.booleans())
    def agrees(pattern: str, text: str, ignore_case: bool) -> None:
        bound = lower_ascii(pattern) if ignore_case else pattern
        found = connection.execute(
            sa.text(POSTGRES[ignore_case]), {"text": text, "pattern": bound}
        ).scalar_one()
        assert found == matches(pattern, text, ignore_case=ignore_case)

    engine = sa.create_engine(postgres_url)
    with engine.connect() as connection:
        agrees()
    engine.dispose()


def test_the_longest_pattern_is_one_that_sqlite_takes() -> None:
    [clause] = parse_filter("params.a LIKE '" + "é*" * 5_000 + "'", RUNS)
    connection = sqlite3.connect(":memory:")
    found = connection.execute("SELECT ? GLOB ?", ("é*" * 5_000, as_glob(str(clause.value))))
    assert found.fetchone() == (1,)
    connection.close()


# MLflow itself as the judge: its parsers say what it reads, its store whether it takes it.
# Where it is not installed these tests are skipped.

Verdict = list[Clause] | None
Judge = Callable[[str, str], Verdict]


@dataclass(frozen=True)
class Stock:
    """Stock MLflow: its parsers, its stores on an empty database, and its refusals."""

    parsers: Any
    logged: Any
    runs: Any
    models: Any
    all_runs: Any
    refusals: tuple[type[Exception], ...]


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    if importlib.util.find_spec("mlflow") is None:
        pytest.skip("mlflow is not installed")
    folder = tmp_path_factory.mktemp("mlflow")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracking = importlib.import_module("mlflow.store.tracking.sqlalchemy_store")
        registry = importlib.import_module("mlflow.store.model_registry.sqlalchemy_store")
        refusal = importlib.import_module("mlflow.exceptions").MlflowException
        return Stock(
            parsers=importlib.import_module("mlflow.utils.search_utils"),
            logged=importlib.import_module("mlflow.utils.search_logged_model_utils"),
            runs=tracking.SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db", str(folder)),
            models=registry.SqlAlchemyStore(f"sqlite:///{folder}/mlflow.db"),
            all_runs=importlib.import_module("mlflow.entities").ViewType.ALL,
            refusals=(refusal, ValueError, AttributeError, TypeError, sa.exc.SQLAlchemyError),
        )


@pytest.fixture(scope="module")
def judge(stock: Stock) -> Judge:
    """What MLflow reads a filter as; None where it refuses it, be it with an internal error."""
    reading: dict[str, Callable[[str], Any]] = {
        "runs": stock.parsers.SearchUtils.parse_search_filter,
        "experiments": stock.parsers.SearchExperimentsUtils.parse_search_filter,
        "models": stock.parsers.SearchModelUtils.parse_search_filter,
        "versions": stock.parsers.SearchModelVersionUtils.parse_search_filter,
        "logged": stock.logged.parse_filter_string,
        "traces": stock.parsers.SearchTraceUtils.parse_search_filter_for_search_traces,
    }
    searching: dict[str, Callable[[str], Any]] = {
        "runs": lambda text: stock.runs.search_runs(["0"], text, stock.all_runs),
        "experiments": lambda text: stock.runs.search_experiments(filter_string=text),
        "models": stock.models.search_registered_models,
        "versions": stock.models.search_model_versions,
        "logged": lambda text: stock.runs.search_logged_models(["0"], text),
        "traces": lambda text: stock.runs.search_traces(experiment_ids=["0"], filter_string=text),
    }

    def judged(name: str, text: str) -> Verdict:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                searching[name](text)
                return [as_ours(name, clause) for clause in reading[name](text)]
            except stock.refusals:
                return None

    return judged


def as_ours(name: str, clause: Any) -> Clause:
    """Return a clause of MLflow's in our words."""
    if name == "logged":
        entity, key = clause.entity.type.value.removesuffix("s"), clause.entity.key
        return entity, key.removesuffix("_ms"), clause.op.upper(), clause.value
    entity, key, value = clause["type"].removesuffix("eter"), clause["key"], clause["value"]
    entity = entity.removeprefix("request_")
    key = {"created": "start_time", "run name": "run_name"}.get(key.lower(), key)
    if entity == "span" and key.startswith("attributes."):
        entity, key = "span-attribute", key.removeprefix("attributes.")
        key = key[1:-1] if key.startswith("`") and len(key) > 1 else key
    if entity == "metric":
        value = float(value)
    if key == "version_number":
        value = int(value)
    return entity, key, clause["comparator"].upper(), value


def ours(name: str, text: str) -> Verdict:
    try:
        return clauses(parse_filter(text, GRAMMARS[name]))
    except Invalid:
        return None


@dataclass(frozen=True)
class Difference:
    """Filters that Everfit takes, refuses or reads otherwise than MLflow, and why.

    ``name`` is looked for in the grammar's name and ``text`` in the filter; ``shows`` is one.
    """

    why: str
    everfit: str
    name: str
    text: str
    shows: tuple[str, str]


TAKES = "takes"
REFUSES = "refuses"
OTHERWISE = "reads otherwise"
ANY = ""
OPERATORS = r"([<>=!]|\b(is|in|not|i?like|rlike)\b)"

# why, what Everfit does, in which grammars, to which texts, for example
DIFFERENCES = [
    Difference(*row)
    for row in [
        (
            "keywords may be in small letters everywhere",
            *(TAKES, "experiments|traces", r"(?<!\w)(r|i)?like\b|(?<!\w)in\b"),
            ("experiments", "name like 'x'"),
        ),
        (
            "any white space parts NOT and NULL",
            *(TAKES, ANY, r"(?i)not(\s\s+|[^ ])null"),
            ("runs", "params.a IS NOT  NULL"),
        ),
        (
            "an exponent may have a plus, as Python writes it",
            *(TAKES, ANY, r"\d[eE]\+\d"),
            ("runs", "metrics.a > 1e+20"),
        ),
        (
            "words of SQL and words that begin with digits are keys like others",
            *(TAKES, ANY, r"(?i)\.(as|in|from|case|values|using|\d)"),
            ("runs", "params.in = 'x'"),
        ),
        (
            "names of attributes and entities may be quoted",
            *(TAKES, "experiments|models|versions|logged", r"[`\"]\w+[`\"]"),
            ("models", "`name` = 'x'"),
        ),
        (
            "a quoted key may have any character",
            *(TAKES, "logged", r"\n"),
            ("logged", "params.`a\nb` = 'x'"),
        ),
        (
            "attributes have the same names behind attributes. as alone",
            *(TAKES, "logged", r"attributes|last_updated_time"),
            ("logged", "attributes.creation_time > 5"),
        ),
        (
            "any word is a text",
            *(TAKES, "logged", r"(?i)(=|like)\s*[a-z]"),
            ("logged", "name = true"),
        ),
        (
            "timestamp and text are no types of SQL",
            *(TAKES, "traces", r"timestamp|text"),
            ("traces", "timestamp > 1.5"),
        ),
        (
            "a tag named like an attribute is a tag",
            *(TAKES, "traces", r"(?i)\.(name|prompt|text|run_id|timestamp)"),
            ("traces", "tags.text = 'x'"),
        ),
        (
            "a tag named like an attribute is that tag",
            *(OTHERWISE, "traces", r"(?i)\.(name|prompt|text|run_id|timestamp)"),
            ("traces", "tags.name = 'x'"),
        ),
        (
            "quotes around a key are no part of it",
            *(OTHERWISE, "logged|traces", r"\.['\"]"),
            ("logged", "params.\"a\" = 'x'"),
        ),
        (
            "double quotes around a text are no part of it, and doubled single ones are",
            *(OTHERWISE, "logged", r"\"|''"),
            ("logged", 'name = "x"'),
        ),
        (
            "integers are not rounded to floats",
            *(OTHERWISE, "logged", r"\d{16}"),
            ("logged", "creation_time > 9007199254740993"),
        ),
        (
            "an integer in quotes is that integer",
            *(OTHERWISE, "experiments|traces", r"(id|_ms|time|timestamp)\W.*['\"]\s*[+-]?\d"),
            ("traces", "timestamp_ms > '5'"),
        ),
        (
            "a time is a number",
            *(REFUSES, "traces", r"(time|timestamp|_ms)\W.*['\"]"),
            ("traces", "timestamp_ms > 'x'"),
        ),
        (
            "a filter says something",
            *(REFUSES, ANY, r"^(\s|(?i:and))*$"),
            ("runs", "AND"),
        ),
        (
            "AND stands between clauses",
            *(
                REFUSES,
                ANY,
                rf"(?i)(['\"\)]\s*|\b[\d.]+\s+|\bnull\s+)(?!and\b)[\w`\"].*?{OPERATORS}",
            ),
            ("runs", "metrics.a > 1 metrics.b > 2"),
        ),
        (
            "a key with white space in it is quoted",
            *(REFUSES, ANY, r"\.\S*\s+\.\S"),
            ("runs", "metrics.a .b = 0"),
        ),
        (
            "a key is not empty",
            *(REFUSES, ANY, r"\.(''|\"\"|``|\s|\.)"),
            ("runs", "params.`` = 'x'"),
        ),
        (
            "a key is quoted as a whole or not at all",
            *(REFUSES, ANY, r"\.\w+\.['\"`]|['\"`]\."),
            ("runs", "params.a.`b` = 'x'"),
        ),
        (
            "a key is no expression of SQL",
            *(
                REFUSES,
                ANY,
                rf"(?i)\.[\w.]*(::|[-\[@#$*(%/+])|\.\w+(\s+(?!{OPERATORS})\w+)+\s+{OPERATORS}",
            ),
            ("runs", "params.a::b = 'x'"),
        ),
        (
            "a value is no expression of SQL",
            *(
                REFUSES,
                "logged",
                r"(?i)(=|like|<|>)\s*(?!-?\d[\d.]*(e-?\d+)?(\s|$))[^'\"\s]|['\"\d]\s*(::|desc|asc|\|\|)",
            ),
            ("logged", "name = 1/2"),
        ),
        (
            "a list holds texts with commas between them",
            *(REFUSES, ANY, r"(?i)\bin\s*\("),
            ("runs", "run_id IN ('a' 'b')"),
        ),
        (
            "digits are 0 to 9",
            *(REFUSES, ANY, r"[^\x00-\x7f]"),
            ("runs", "metrics.a > \N{ARABIC-INDIC DIGIT THREE}"),
        ),
        (
            "deleted models are found by no search",
            *(REFUSES, "logged", "lifecycle_stage"),
            ("logged", "lifecycle_stage = 'active'"),
        ),
    ]
]


def difference(judge: Judge, name: str, text: str) -> str | None:
    """Return what Everfit does otherwise than MLflow; None if it does the same."""
    theirs, mine = judge(name, text), ours(name, text)
    if theirs == mine:
        return None
    return "takes" if theirs is None else "refuses" if mine is None else "reads otherwise"


def is_explained(name: str, text: str, what: str | None) -> bool:
    return what is None or any(
        row.everfit == what and re.search(row.name, name) and re.search(row.text, text, re.DOTALL)
        for row in DIFFERENCES
    )


@pytest.mark.parametrize("row", DIFFERENCES, ids=lambda row: row.why)
def test_a_difference_to_mlflow_is_one(judge: Judge, row: Difference) -> None:
    what = difference(judge, *row.shows)
    assert what == row.everfit
    assert is_explained(*row.shows, what)


@st.composite
def spoiled_filters(draw: st.DrawFn) -> tuple[str, str]:
    """A valid filter in which up to three pieces are replaced, inserted, doubled or taken out."""
    name, text, _ = draw(written_filters())
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        end = draw(st.integers(at, min(len(text), at + 8)))
        piece = draw(st.one_of(PIECES, st.just(text[at:end] * 2), st.just("")))
        text = text[:at] + piece + text[end:]
    return name, text


@given(spoiled_filters())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_mlflow_takes_and_refuses_the_same(judge: Judge, spoiled: tuple[str, str]) -> None:
    name, text = spoiled
    assert is_explained(name, text, difference(judge, name, text))


# Orders that MLflow takes otherwise.
ORDER_DIFFERENCES = {
    ("runs", " `status` "): "white space around a key is no part of it",
    ("traces", "end_time"): "MLflow names the key as valid and then fails",
    ("versions", "tags.name"): "MLflow orders by the version's name",
}


@pytest.mark.parametrize(
    ("name", "text"),
    [(name, text) for name, text, _ in [*ORDERED, *UNORDERED] if name != "logged"],
)
def test_mlflow_takes_the_same_orders(stock: Stock, name: str, text: str) -> None:
    searching: dict[str, Callable[[list[str]], Any]] = {
        "runs": lambda by: stock.runs.search_runs(["0"], "", stock.all_runs, order_by=by),
        "experiments": lambda by: stock.runs.search_experiments(order_by=by),
        "models": lambda by: stock.models.search_registered_models(order_by=by),
        "versions": lambda by: stock.models.search_model_versions(order_by=by),
        "traces": lambda by: stock.runs.search_traces(experiment_ids=["0"], order_by=by),
    }
    taken = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            searching[name]([text])
        except stock.refusals:
            taken = False
    is_ours = (name, text) in {(row[0], row[1]) for row in ORDERED}
    assert (taken == is_ours) == ((name, text) not in ORDER_DIFFERENCES)
