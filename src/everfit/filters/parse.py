"""Reads the filters and orders of searches, written as MLflow writes them, into plain values.

A filter is a row of clauses joined with AND; nothing else joins them and nothing groups them.
What each kind of search accepts is its `Grammar`. No SQL is written here: keys and values leave
as data, to be bound and never to be pasted.

What is left to the SQL of a search:

- the order of rows that the given order leaves equal (each grammar's docstring says which);
- ``run_name`` of runs, which MLflow looks for in the tag ``mlflow.runName``, kept equal to it;
- LIKE: ``%`` is any text and ``_`` any character, with no way to escape them; ILIKE ignores the
  case of the letters A to Z and of no others (`everfit.kernel.matches`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice, takewhile

from everfit.errors import Invalid, Problem
from everfit.filters.grammars import LISTS, NULLS, Field, Grammar
from everfit.filters.lexing import Kind, Token, name_of, tokens
from everfit.filters.model import Comparison, Entity, Order, Target, Value

# A list of 5,000 run ids takes 180,000 characters. SQLite binds 32,766 values, and takes patterns
# of 50,000 bytes, four of them for a character.
MAX_CHARACTERS = 262_144
MAX_CLAUSES = 100
# Each may join a table. SQLite joins 64 at most, and before 3.41 it ends the process on an ORDER BY
# of 64 terms over such joins; a key makes two or three of them.
MAX_ORDERS = 20
MAX_ITEMS = 10_000
MAX_TOKENS = 25_000
MAX_PATTERN = 10_000
PATTERNS = ("LIKE", "ILIKE", "RLIKE")
KEYWORDS = {"NOT", "IN", "IS", "NULL", *PATTERNS}
MEANT = {"==": "=", "<>": "!=", "=!": "!=", "=>": ">=", "=<": "<="}
STRANGE = re.compile("[\0\ud800-\udfff]")
ESCAPED = re.compile(r"\\([\\'\"])")


def parse_filter(text: str | None, grammar: Grammar) -> tuple[Comparison, ...]:
    """Return the clauses of a filter as they were written; none for no text.

    Keys are canonical: other names of attributes are resolved and quotes removed.

    Raises
    ------
    Invalid
        With every problem of the filter, one for each clause that has one.

    Examples
    --------
    >>> from everfit.filters.grammars import RUNS
    >>> [clause] = parse_filter("params.`learning rate` != '0.1'", RUNS)
    >>> clause.entity, clause.key, clause.operator, clause.value
    (<Entity.PARAM: 'param'>, 'learning rate', '!=', '0.1')
    """
    read = _clauses(text, grammar) if text else []
    problems = [found for found in read if isinstance(found, Problem)]
    if problems:
        hint = f"Write clauses like {grammar.example}."
        raise Invalid.of(f"the filter of {grammar.subject}", problems, hint=hint)
    return tuple(found for found in read if isinstance(found, Comparison))


def parse_order(texts: Sequence[str], grammar: Grammar) -> tuple[Order, ...]:
    """Return the keys that ``texts`` order by, the first one first; ascending unless DESC is said.

    Raises
    ------
    Invalid
        With every problem of the texts. A key that comes twice is one, except where MLflow lets
        the first one decide (experiments, logged models).
    """
    problems: list[Problem] = []
    orders: dict[Target, Order] = {}
    for index, text in enumerate(texts[:MAX_ORDERS]):
        row = _read(text)
        found = row if isinstance(row, Problem) else _order(row, grammar)
        if isinstance(found, Order) and (found.entity, found.key) in orders:
            if grammar.repeats:
                continue
            found = Problem(path="character 1", found=_shown(text), remedy="order by a key once")
        if isinstance(found, Problem):
            problems.append(replace(found, path=f"order_by[{index}], {found.path}"))
        else:
            orders[found.entity, found.key] = found
    if len(texts) > MAX_ORDERS:
        remedy = f"order by at most {MAX_ORDERS}"
        problems.append(Problem(path="order_by", found=f"{len(texts):,} keys", remedy=remedy))
    if problems:
        raise _order_invalid(problems, grammar)
    return tuple(orders.values())


def order_field(name: str, *, ascending: bool, grammar: Grammar) -> Order:
    """Return the order by the field ``name``, in which nothing is quoted.

    MLflow orders logged models this way: by an attribute or by ``metrics.KEY``.

    Raises
    ------
    Invalid
        If there is no such field to order by.
    """
    spelled, dot, key = name.partition(".")
    entity = grammar.spellings.get(spelled) if dot else None
    target = grammar.order_attributes.get(name.strip())
    if entity in grammar.order_entities:
        target = entity, key
    problem = _unreadable(name)
    if target is None or problem is not None:
        remedy = _known(grammar, grammar.order_attributes)
        missing = Problem(path="order_by", found=_shown(name), remedy=remedy)
        raise _order_invalid([problem or missing], grammar)
    return Order(entity=target[0], key=target[1], ascending=ascending)


def _order_invalid(problems: Sequence[Problem], grammar: Grammar) -> Invalid:
    hint = f"Write for example {next(iter(grammar.order_attributes))} DESC."
    return Invalid.of(f"the order of {grammar.subject}", problems, hint=hint)


def _shown(text: str) -> str:
    """Return a piece of the text, short enough for a message."""
    return repr(text if len(text) <= 40 else f"{text[:39]}…")


def _problem(token: Token, remedy: str) -> Problem:
    return Problem(path=f"character {token.position}", found=_shown(token.text), remedy=remedy)


def _unreadable(text: str) -> Problem | None:
    """Return why ``text`` is not read at all: too long, or no database could keep it."""
    if len(text) > MAX_CHARACTERS:
        remedy = f"write at most {MAX_CHARACTERS:,}"
        return Problem(path="length", found=f"{len(text):,} characters", remedy=remedy)
    if strange := STRANGE.search(text):
        path, remedy = f"character {strange.start() + 1}", "leave out what no stored text holds"
        return Problem(path=path, found=ascii(strange[0]), remedy=remedy)
    return None


def _read(text: str) -> Sequence[Token] | Problem:
    """Return the tokens of ``text``, or why there are none."""
    problem = _unreadable(text)
    row = [] if problem else list(islice(tokens(text), MAX_TOKENS + 1))
    if len(row) > MAX_TOKENS:
        found, remedy = f"over {MAX_TOKENS:,} words and marks", "write a shorter list"
        problem = Problem(path="length", found=found, remedy=remedy)
    return problem or row


def _clauses(text: str, grammar: Grammar) -> list[Comparison | Problem]:
    """Return each clause of ``text``. An AND too many, doubled or at an end, does no harm."""
    row = _read(text)
    if isinstance(row, Problem):
        return [row]
    parts: list[list[Token]] = [[]]
    for token in row:
        if token.word == "AND":
            parts.append([])
        else:
            parts[-1].append(token)
    parts = [part for part in parts if part]
    if not 0 < len(parts) <= MAX_CLAUSES:
        remedy = f"write 1 to {MAX_CLAUSES} clauses, or no filter at all"
        return [Problem(path="length", found=f"{len(parts):,} clauses", remedy=remedy)]
    return [_clause(part, grammar) for part in parts]


def _clause(row: Sequence[Token], grammar: Grammar) -> Comparison | Problem:
    if row[-1].kind is Kind.UNCLOSED:
        return _problem(row[-1], f"close the quote {row[-1].text[0]}")
    target = _target(row[0], grammar, grammar.attributes)
    if isinstance(target, Problem):
        return target
    field = grammar.field_of(target)
    if field is None:
        keys = ", ".join(sorted(key for entity, key in grammar.fields if entity is target[0]))
        return _problem(row[0], f"as the key of a {target[0]} write one of {keys}")
    operator, width = _operator(row[1:])
    if operator not in field.operators:
        return _no_operator(row, operator, field)
    value, rest = _value(row[width:], field, operator)
    if isinstance(value, Problem):
        return value
    if rest:
        return _problem(rest[0], _why_not_behind(rest[0]))
    return Comparison(entity=target[0], key=target[1], operator=operator, value=value)


def _order(row: Sequence[Token], grammar: Grammar) -> Order | Problem:
    if not row:
        return Problem(path="character 1", found="nothing", remedy="write a key")
    target = _target(row[0], grammar, grammar.order_attributes)
    if isinstance(target, Problem):
        return target
    if target[0] not in grammar.order_entities and target not in grammar.order_attributes.values():
        return _problem(row[0], f"{grammar.subject} cannot be ordered by a {target[0]}")
    direction = [token.word for token in row[1:]]
    if direction not in ([], ["ASC"], ["DESC"]):
        return _problem(row[1], "behind the key write ASC, DESC or nothing")
    return Order(entity=target[0], key=target[1], ascending=direction != ["DESC"])


def _target(token: Token, grammar: Grammar, attributes: Mapping[str, Target]) -> Target | Problem:
    """Return the key that ``token`` names; ``attributes`` says what names of attributes mean."""
    name = name_of(token)
    if name is None:
        return _problem(token, "write a key first: clauses have no parentheses and no NOT")
    if not name.rest:
        return attributes.get(name.head) or _problem(token, _known(grammar, attributes))
    entity, rest = grammar.spellings.get(name.head), name.rest
    if entity is None:
        return _problem(token, f"before the dot write one of {', '.join(grammar.spellings)}")
    key = ".".join(rest)
    if entity is Entity.SPAN and key.startswith("attributes."):
        entity, key, rest = Entity.SPAN_ATTRIBUTE, key.removeprefix("attributes."), rest[1:]
    if not key:
        return _problem(token, "write a key between the quotes")
    if name.is_quoted and len(rest) > 1:
        return _problem(token, f"quote the whole key: {name.head}.`{key}`")
    if entity is not Entity.ATTRIBUTE:
        return entity, key
    return attributes.get(key) or _problem(token, _known(grammar, attributes))


def _known(grammar: Grammar, attributes: Mapping[str, Target]) -> str:
    """Return what can be written as a key: the attributes, and one spelling of each entity."""
    spelled = {entity: f"{spelling}.KEY" for spelling, entity in grammar.spellings.items()}
    keys = [key for entity, key in spelled.items() if entity is not Entity.ATTRIBUTE]
    return (
        f"write one of {', '.join([*sorted(attributes), *keys])}; "
        "a KEY with other characters than letters, digits, _ and . goes in backticks"
    )


def _operator(row: Sequence[Token]) -> tuple[str, int]:
    """Return the operator that ``row`` starts with, and where in the clause the value starts."""
    if row and row[0].kind is Kind.OPERATOR:
        return row[0].text, 2
    words = [token.word for token in takewhile(lambda token: token.word in KEYWORDS, row)]
    return " ".join(words), len(words) + 1


def _no_operator(row: Sequence[Token], operator: str, field: Field) -> Problem:
    if operator in MEANT:
        return _problem(row[1], f"write {MEANT[operator]}")
    remedy = f"behind this key write one of {', '.join(field.operators)}"
    if operator:
        return _problem(replace(row[1], text=operator), remedy)
    if len(row) == 1:
        return _problem(row[0], remedy)
    return _problem(row[1], f"{remedy}; a key with such characters goes in backticks")


def _value(
    row: Sequence[Token], field: Field, operator: str
) -> tuple[Value | Problem, Sequence[Token]]:
    """Return the value that ``row`` starts with, and what comes behind it."""
    if operator in NULLS:
        return None, row
    if not row:
        return Problem(path="end", found="no value", remedy=f"write {field.wants}"), row
    if operator in LISTS:
        width = next((n for n, token in enumerate(row, 1) if token.kind is Kind.CLOSE), len(row))
        return _items(row[:width], field, operator), row[width:]
    value = field.read(row[0], operator)
    if value is None:
        return _problem(row[0], f"write {field.wants}"), row
    if operator in PATTERNS and len(str(value)) > MAX_PATTERN:
        return _problem(row[0], f"write a pattern of at most {MAX_PATTERN:,} characters"), row
    return value, row[1:]


def _items(row: Sequence[Token], field: Field, operator: str) -> tuple[str, ...] | Problem:
    """Return the texts of a list, whose first and last token are its parentheses.

    Unlike a single text each is read as Python writes it: `f"run_id IN {tuple(ids)}"`.
    """
    if row[0].kind is not Kind.OPEN or row[-1].kind is not Kind.CLOSE:
        return _problem(row[0], "write a list in parentheses, like ('a', 'b')")
    items, commas = row[1:-1:2], row[2:-1:2]
    if not 0 < len(items) <= MAX_ITEMS:
        return _problem(row[0], f"write 1 to {MAX_ITEMS:,} texts between the parentheses")
    for comma in commas:
        if comma.kind is not Kind.COMMA:
            return _problem(comma, "put commas between the texts of a list")
    values = []
    for item in items:
        value = field.read(item, operator)
        if not isinstance(value, str) or item.kind is not Kind.STRING:
            return _problem(item, f"write {field.wants}")
        if any(mark in ESCAPED.sub("", item.inner) for mark in ("\\", "\n", "\r", item.text[0])):
            return _problem(item, "write a backslash before a backslash or quote, and no line ends")
        values.append(ESCAPED.sub(r"\1", value))
    return tuple(values)


def _why_not_behind(token: Token) -> str:
    if token.word == "OR":
        return "there is no OR: search once for each alternative"
    return "a clause ends before this; join clauses with AND"
