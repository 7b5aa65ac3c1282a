"""What each kind of search accepts: the keys, the operators they take and how values are read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from everfit.filters.lexing import Kind, Token
from everfit.filters.model import Entity, Target

ORDERED = ("=", "!=", "<", "<=", ">", ">=")
LIKES = ("=", "!=", "LIKE", "ILIKE")
LISTS = ("IN", "NOT IN")
NULLS = ("IS NULL", "IS NOT NULL")
INTEGER = re.compile(r"\s*([+-]?)0*([0-9]{1,19})\s*")
LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What a key can be compared with.

    ``read`` gets the token of a value and the operator, and returns the value or None to refuse
    it; ``wants`` says in words what it takes.
    """

    operators: tuple[str, ...]
    read: Callable[[Token, str], str | float | None]
    wants: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """What one kind of search accepts.

    Attributes
    ----------
    subject
        What is searched, in the plural, and ``example``, a filter of it.
    spellings
        What can stand before the dot of a key.
    attributes
        The names of attributes that a filter can use, each with what it stands for.
    fields
        What single keys take; ``open_fields`` what any key of an entity takes.
    order_attributes
        As ``attributes``, for an order; ``order_entities`` can be ordered by any of their keys.
    repeats
        Whether a key may come twice in an order; the first one then decides.
    """

    subject: str
    example: str
    spellings: Mapping[str, Entity]
    attributes: Mapping[str, Target]
    fields: Mapping[Target, Field]
    open_fields: Mapping[Entity, Field] = field(default_factory=dict)
    order_attributes: Mapping[str, Target]
    order_entities: frozenset[Entity] = frozenset()
    repeats: bool = False

    def field_of(self, target: Target) -> Field | None:
        """Return what ``target`` takes, or None if there is no such key."""
        return self.fields.get(target) or self.open_fields.get(target[0])


def _text(token: Token, _operator: str) -> str | None:
    return token.inner if token.kind is Kind.STRING else None


def _loose_text(token: Token, operator: str) -> str | None:
    """Return a text, also one without quotes that is a single word or number."""
    plain = token.kind is Kind.NUMBER or (token.kind is Kind.NAME and token.text.isidentifier())
    return token.text if plain else _text(token, operator)


def _integer(text: str) -> int | None:
    """Return the integer that ``text`` is; None if it is none, or larger than databases keep."""
    found = INTEGER.fullmatch(text)
    number = int(found[1] + found[2]) if found else None
    return number if number is not None and -LARGEST <= number <= LARGEST else None


def _number(token: Token, _operator: str) -> float | None:
    return float(token.text) if token.kind is Kind.NUMBER else None


def _whole(token: Token, _operator: str) -> int | None:
    return _integer(token.text) if token.kind is Kind.NUMBER else None


def _exact(token: Token, operator: str) -> float | None:
    """Return an integer as it was written, since a float of 53 bits may not hold it."""
    fraction = set(token.text) & set(".eE")
    return _number(token, operator) if fraction else _whole(token, operator)


def _quoted_whole(token: Token, operator: str) -> int | None:
    return _integer(token.inner) if token.kind is Kind.STRING else _whole(token, operator)


def _quoted_exact(token: Token, operator: str) -> float | None:
    return _integer(token.inner) if token.kind is Kind.STRING else _exact(token, operator)


def _experiment_id(token: Token, _operator: str) -> str | None:
    number = _integer(token.inner) if token.kind is Kind.STRING else None
    return None if number is None else str(number)


def _prompt(token: Token, operator: str) -> str | None:
    text = _text(token, operator)
    return text if text is not None and text.count("/") == 1 else None


def _score(token: Token, operator: str) -> str | float | None:
    reads_number = operator in ("<", "<=", ">", ">=")
    return _exact(token, operator) if reads_number else _text(token, operator)


TEXT = "a text in quotes, like 'tree'"
NUMBER = "a number without quotes, like 0.5"
TIME = "a number of milliseconds since 1970 without quotes"


def _texts(*operators: str) -> Field:
    return Field(operators=operators, read=_text, wants=TEXT)


def _loose_texts(*operators: str) -> Field:
    return Field(operators=operators, read=_loose_text, wants=TEXT)


def _ordered(read: Callable[[Token, str], float | None], wants: str) -> Field:
    return Field(operators=ORDERED, read=read, wants=wants)


def _own(names: Iterable[str], **others: str) -> dict[str, Target]:
    """Return what attributes stand for: ``names`` for themselves, ``others`` for another."""
    own = {name: (Entity.ATTRIBUTE, name) for name in names}
    return own | {name: (Entity.ATTRIBUTE, other) for name, other in others.items()}


def _each(entity: Entity, **takes: Field) -> dict[Target, Field]:
    return {(entity, key): what for key, what in takes.items()}


SIMPLE_SPELLINGS = {"attribute": Entity.ATTRIBUTE, "tag": Entity.TAG, "tags": Entity.TAG}

_RUN_FIELDS = _each(
    Entity.ATTRIBUTE,
    run_id=_texts(*LIKES, *LISTS),
    run_name=_texts(*LIKES),
    user_id=_texts(*LIKES),
    status=_texts(*LIKES),
    artifact_uri=_texts(*LIKES),
    start_time=_ordered(_exact, TIME),
    end_time=_ordered(_exact, TIME),
)
_RUN_ORDER = _own([key for _, key in _RUN_FIELDS], created="start_time", Created="start_time")

RUNS = Grammar(
    subject="runs",
    example="metrics.rmse < 0.2 AND params.model = 'tree'",
    spellings={
        **dict.fromkeys(("attribute", "attributes", "attr", "run"), Entity.ATTRIBUTE),
        **dict.fromkeys(("metric", "metrics"), Entity.METRIC),
        **dict.fromkeys(("parameter", "parameters", "param", "params"), Entity.PARAM),
        **dict.fromkeys(("tag", "tags"), Entity.TAG),
        **dict.fromkeys(("dataset", "datasets"), Entity.DATASET),
    },
    attributes=_RUN_ORDER
    | dict.fromkeys(("run name", "Run name", "Run Name"), (Entity.ATTRIBUTE, "run_name")),
    fields=_RUN_FIELDS
    | _each(Entity.DATASET, **dict.fromkeys(("name", "digest", "context"), _texts(*LIKES, *LISTS))),
    open_fields={
        Entity.METRIC: _ordered(_number, NUMBER),
        Entity.PARAM: _texts(*LIKES, *NULLS),
        Entity.TAG: _texts(*LIKES, *NULLS),
    },
    order_attributes=_RUN_ORDER,
    order_entities=frozenset({Entity.METRIC, Entity.PARAM, Entity.TAG}),
)
"""Runs. Rows that an order leaves equal come by start_time DESC, then run_id ASC."""

_EXPERIMENT_FIELDS = _each(
    Entity.ATTRIBUTE,
    name=_texts(*LIKES),
    experiment_id=Field(
        operators=("=", "!=", *LISTS), read=_experiment_id, wants="an integer in quotes, like '1'"
    ),
    creation_time=_ordered(_whole, "a whole " + TIME.removeprefix("a ")),
    last_update_time=_ordered(_whole, "a whole " + TIME.removeprefix("a ")),
)

EXPERIMENTS = Grammar(
    subject="experiments",
    example="name LIKE 'bikes%' AND tags.team = 'a'",
    spellings=SIMPLE_SPELLINGS,
    attributes=_own(key for _, key in _EXPERIMENT_FIELDS),
    fields=_EXPERIMENT_FIELDS,
    open_fields={Entity.TAG: _texts(*LIKES, *NULLS)},
    order_attributes=_own(key for _, key in _EXPERIMENT_FIELDS),
    repeats=True,
)
"""Experiments. Ties: experiment_id DESC; without an order: creation_time DESC, id ASC."""

_LOGGED_FIELDS = _each(
    Entity.ATTRIBUTE,
    **dict.fromkeys(
        ("name", "model_id", "model_type", "status", "source_run_id", "experiment_id"),
        _loose_texts(*LIKES, *LISTS),
    ),
    artifact_location=_loose_texts(*LIKES, *LISTS),
    status_message=_loose_texts(*LIKES, *LISTS),
    creation_timestamp=_ordered(_exact, TIME),
    last_updated_timestamp=_ordered(_exact, TIME),
)
_LOGGED_ATTRIBUTES = _own(
    [key for _, key in _LOGGED_FIELDS],
    creation_time="creation_timestamp",
    creation_timestamp_ms="creation_timestamp",
    last_updated_time="last_updated_timestamp",
    last_updated_timestamp_ms="last_updated_timestamp",
)

LOGGED_MODELS = Grammar(
    subject="logged models",
    example="metrics.loss < 0.1 AND params.lr = '0.01'",
    spellings={
        "attributes": Entity.ATTRIBUTE,
        "metrics": Entity.METRIC,
        "params": Entity.PARAM,
        "tags": Entity.TAG,
    },
    attributes=_LOGGED_ATTRIBUTES,
    fields=_LOGGED_FIELDS,
    open_fields={
        Entity.METRIC: _ordered(_number, NUMBER),
        Entity.PARAM: _loose_texts(*LIKES, *LISTS),
        Entity.TAG: _loose_texts(*LIKES, *LISTS),
    },
    order_attributes=_LOGGED_ATTRIBUTES,
    order_entities=frozenset({Entity.METRIC}),
    repeats=True,
)
"""Logged models. Ties: creation_timestamp DESC, then model_id ASC."""

MODELS = Grammar(
    subject="registered models",
    example="name LIKE 'bikes%' AND tags.team = 'a'",
    spellings=SIMPLE_SPELLINGS,
    attributes=_own(["name"]),
    fields=_each(Entity.ATTRIBUTE, name=_texts(*LIKES, *LISTS)),
    open_fields={Entity.TAG: _texts(*LIKES)},
    order_attributes=_own(["name", "last_updated_timestamp"], timestamp="last_updated_timestamp"),
)
"""Registered models. Ties: name ASC."""

VERSIONS = Grammar(
    subject="model versions",
    example="name = 'bikes' AND version_number > 1",
    spellings=SIMPLE_SPELLINGS,
    attributes=_own(["name", "run_id", "source_path", "version_number"]),
    fields=_each(
        Entity.ATTRIBUTE,
        name=_texts(*LIKES, *LISTS),
        run_id=_texts(*LIKES, *LISTS),
        source_path=_texts(*LIKES),
        version_number=_ordered(_quoted_whole, "an integer, like 3"),
    ),
    open_fields={Entity.TAG: _texts(*LIKES)},
    order_attributes=_own(
        ["name", "version_number", "creation_timestamp", "last_updated_timestamp"]
    ),
)
"""Model versions. Ties: name ASC, version DESC; without an order: last_updated_timestamp DESC."""

_RLIKES = (*LIKES, "RLIKE")
_TRACE_TIMES = {
    spelled: f"{name}_ms"
    for name in ("timestamp", "execution_time", "end_time")
    for spelled in (name, f"{name}_ms")
}
_TRACE_MOVES: dict[str, Target] = {
    "name": (Entity.TAG, "mlflow.traceName"),
    "run_id": (Entity.METADATA, "mlflow.sourceRun"),
}
_SCORES = Field(
    operators=(*ORDERED, "LIKE", "ILIKE", "RLIKE", *NULLS),
    read=_score,
    wants=f"{TEXT}, or with < <= > >= {NUMBER}",
)

TRACES = Grammar(
    subject="traces",
    example="status = 'ERROR' AND timestamp_ms > 1700000000000",
    spellings={
        **dict.fromkeys(("attribute", "attributes", "trace"), Entity.ATTRIBUTE),
        **dict.fromkeys(("tag", "tags"), Entity.TAG),
        **dict.fromkeys(("metadata", "request_metadata"), Entity.METADATA),
        "span": Entity.SPAN,
        "feedback": Entity.FEEDBACK,
        "expectation": Entity.EXPECTATION,
        "issue": Entity.ISSUE,
    },
    attributes=_own(["request_id", "client_request_id", "status"], **_TRACE_TIMES)
    | _TRACE_MOVES
    | {"prompt": (Entity.TAG, "mlflow.linkedPrompts"), "text": (Entity.SPAN, "content")},
    fields={
        **_each(
            Entity.ATTRIBUTE,
            **dict.fromkeys(
                ("request_id", "client_request_id", "status"), _texts(*_RLIKES, *LISTS)
            ),
            **dict.fromkeys(_TRACE_TIMES.values(), _ordered(_quoted_exact, TIME)),
        ),
        **_each(
            Entity.SPAN,
            **dict.fromkeys(("name", "type", "status"), _texts(*_RLIKES, *LISTS)),
            content=_texts("LIKE", "ILIKE"),
        ),
        (Entity.ISSUE, "id"): _texts("="),
        (Entity.TAG, "mlflow.linkedPrompts"): Field(
            operators=("=",), read=_prompt, wants="'name/version' of a prompt, in quotes"
        ),
        (Entity.METADATA, "mlflow.trace.tokenUsage"): _texts("=", "!=", *NULLS),
        (Entity.METADATA, "mlflow.trace.cost"): _texts("=", "!=", *NULLS),
    },
    open_fields={
        Entity.TAG: _texts(*_RLIKES, *NULLS),
        Entity.METADATA: _texts(*_RLIKES, *NULLS),
        Entity.SPAN_ATTRIBUTE: _texts(*_RLIKES),
        Entity.FEEDBACK: _SCORES,
        Entity.EXPECTATION: _SCORES,
    },
    order_attributes=_own(["experiment_id", "request_id", "status"], **_TRACE_TIMES) | _TRACE_MOVES,
    order_entities=frozenset({Entity.TAG, Entity.METADATA}),
)
"""Traces. Ties: timestamp_ms DESC, then request_id ASC."""
