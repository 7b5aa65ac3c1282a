"""Filters, orders and names that try to be SQL are data: they find what they say, and no more.

What a filter says is read by the grammar, which has tests of its own, and then judged row by row
in Python: every answer of the server must be equal to that.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.server.conftest import API, Site

from everfit.errors import Invalid
from everfit.filters import (
    EXPERIMENTS,
    LOGGED_MODELS,
    MODELS,
    RUNS,
    TRACES,
    VERSIONS,
    Comparison,
    Entity,
    Grammar,
    Order,
    parse_filter,
    parse_order,
)
from everfit.kernel import Workspace

ATTACKS = [
    "'",
    "''",
    '"',
    "\\",
    "\\'",
    "%",
    "_",
    "%%",
    "?",
    "%s",
    "%(x)s",
    ":x",
    "$1",
    "{}",
    "--",
    "/*",
    ";",
    "x' OR '1'='1",
    "x'; DROP TABLE tracking_runs; --",
    "' UNION SELECT name, sql FROM sqlite_master --",
    "'||(SELECT version())||'",
    "\\'; DELETE FROM tracking_tags; --",
    "E'\\x27'",
    "$$ OR 1=1 $$",
    "\u2019 OR \u2018a\u2019=\u2018a",
    "\uff07 OR 1=1",
    "a\nb",
    "é💥",
    "É💥",
    "",
    " ",
    "NULL",
    "1",
    "Plain",
    "plain",
]
# What runs, experiments and traces may be tagged with; models take any text as a key.
KEYS = ["k", "a b", "a.b", "x--y", "or", "value", "drop table runs", "é", "a/b:c"]
FRAGMENTS = [
    *"'\"`\\(),;%_=>. \n\0\ud800\u2019é?",
    *["!=", "--", "/*", "*/", "%s", ":x", "k", "1", "1e999", "tags", "params", "attributes."],
    *["AND", "OR", "NOT", "IN", "IS NULL", "LIKE", "UNION SELECT 1", "name", "run_id"],
]
FEW = settings(
    max_examples=300,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@dataclass(frozen=True, kw_only=True)
class Thing:
    """What was logged, as an oracle has it."""

    id: str
    values: Mapping[Entity, Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One search: its grammar, what there is to find, and how it is asked."""

    grammar: Grammar = field(repr=False)
    things: Sequence[Thing] = field(repr=False)
    ask: Callable[[str, list[str]], tuple[int, list[str]]]
    attributes: tuple[str, ...] = ("name",)
    spellings: tuple[str, ...] = ("tags",)
    keys: Sequence[str] = field(default_factory=lambda: KEYS)
    ordered: bool = False


def like(pattern: str, text: str, *, ignoring: bool) -> bool:
    parts = {"%": ".*", "_": "."}
    expression = "".join(parts.get(letter) or re.escape(letter) for letter in pattern)
    # Only of A to Z the case is ignored.
    flags = re.DOTALL | re.ASCII | (re.IGNORECASE if ignoring else 0)
    return re.fullmatch(expression, text, flags) is not None


def fits(clause: Comparison, thing: Thing) -> bool:
    """Return whether a thing fits a clause."""
    values = thing.values.get(clause.entity, {})
    found, wanted = values.get(clause.key), clause.value
    if clause.operator in ("IS NULL", "IS NOT NULL"):
        return (found is None) is (clause.operator == "IS NULL")
    if found is None:
        return False
    if clause.operator in ("IN", "NOT IN"):
        assert isinstance(wanted, tuple)
        return (found in wanted) is (clause.operator == "IN")
    if clause.operator in ("LIKE", "ILIKE"):
        return like(str(wanted), found, ignoring=clause.operator == "ILIKE")
    judged = {
        "=": found == wanted,
        "!=": found != wanted,
        **({} if isinstance(found, str) else ordered(found, wanted)),
    }
    return bool(judged[clause.operator])


def ordered(found: float, wanted: Any) -> dict[str, bool]:
    return {
        "<": found < wanted,
        "<=": found <= wanted,
        ">": found > wanted,
        ">=": found >= wanted,
    }


def in_order(things: Sequence[Thing], orders: Sequence[Order]) -> list[Thing]:
    """Return runs in order: what lacks a value last, NaN before it; ties by start, then id."""
    found = sorted(things, key=lambda one: one.id)
    found.sort(key=lambda one: one.values[Entity.ATTRIBUTE]["start_time"], reverse=True)
    for order in reversed(orders):

        def value(thing: Thing, order: Order = order) -> Any:
            return thing.values[order.entity].get(order.key)

        def is_known(thing: Thing) -> bool:
            found = value(thing)
            return found is not None and found == found

        known = [one for one in found if is_known(one)]
        known.sort(key=value, reverse=not order.ascending)
        lacking = [one for one in found if value(one) is None]
        missing = [one for one in found if not is_known(one) and value(one) is not None]
        found = [*known, *missing, *lacking]
    return found


def expected(kind: Kind, text: str, order: list[str]) -> list[str] | None:
    """Return the ids that a search must find; None if it must be refused."""
    try:
        clauses = parse_filter(text, kind.grammar)
        orders = parse_order(order, kind.grammar)
    except Invalid:
        return None
    if any(clause.operator == "RLIKE" for clause in clauses):
        # The grammar reads it; no search here answers it.
        return None
    found = [one for one in kind.things if all(fits(clause, one) for clause in clauses)]
    return [one.id for one in (in_order(found, orders) if kind.ordered else found)]


def check(kind: Kind, text: str, order: list[str]) -> str:
    """Search, and return whether it was refused, or found something or nothing."""
    wanted = expected(kind, text, order)
    status, found = kind.ask(text, order)
    assert status == (400 if wanted is None else 200), (text, order)
    if wanted is None:
        return "refused"
    assert found == wanted if kind.ordered else sorted(found) == sorted(wanted), (text, order)
    return "found" if found else "nothing"


@st.composite
def clauses(draw: st.DrawFn, kind: Kind) -> str:
    """A clause as the grammar wants it, with a value, and sometimes a key, that is hostile."""
    spelling = draw(st.sampled_from([*kind.spellings, ""]))
    entity = kind.grammar.spellings[spelling] if spelling else Entity.ATTRIBUTE
    if entity is Entity.ATTRIBUTE:
        key = written = draw(st.sampled_from(kind.attributes))
        takes = kind.grammar.field_of(kind.grammar.attributes[key])
    else:
        key = draw(st.sampled_from([*kind.keys, *kind.keys, *ATTACKS]))
        mark = draw(st.sampled_from('```"'))
        written, takes = f"{spelling}.{mark}{key}{mark}", kind.grammar.field_of((entity, key))
    operator = draw(st.sampled_from(takes.operators if takes else ["="]))
    return f"{written} {operator} {draw(values(kind, entity, key, operator))}"


def values(kind: Kind, entity: Entity, key: str, operator: str) -> st.SearchStrategy[str]:
    """What is written behind an operator, often what a thing has."""
    stored = [
        found for one in kind.things if (found := one.values.get(entity, {}).get(key)) is not None
    ]
    if operator in ("IS NULL", "IS NOT NULL", "RLIKE"):
        return st.just("")
    if any(not isinstance(found, str) for found in stored):
        return st.sampled_from(
            ["0", "1", "-1.5", "1e308", "1e999", "1000", "1001", "9" * 30, "'1'"]
        )
    texts = st.one_of(
        st.sampled_from([*stored, *ATTACKS]),
        st.text(st.sampled_from("'\"\\%_;-\u2019aé\0"), max_size=6),
    )
    if operator.endswith("LIKE"):
        shapes = [lambda text: f"%{text[1:]}", lambda text: f"{text[:-1].swapcase()}_", str]
        texts = st.builds(lambda shape, text: shape(text), st.sampled_from(shapes), texts)
    if operator.endswith("IN"):
        many = st.lists(texts.flatmap(quoted), min_size=1, max_size=3)
        return many.map(lambda found: f"({', '.join(found)})")
    return texts.flatmap(quoted)


def quoted(text: str) -> st.SearchStrategy[str]:
    """A text in either quote, rarely in one that is in it."""
    other = "'" if '"' in text else '"' if "'" in text else "'"
    return st.sampled_from([other, other, other, "'", '"']).map(lambda mark: f"{mark}{text}{mark}")


def filters(kind: Kind) -> st.SearchStrategy[str]:
    """Filters as people write them, and with noise in them."""
    written = st.lists(clauses(kind), min_size=1, max_size=2).map(" AND ".join)
    noise = st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join)
    return st.one_of(
        written,
        clauses(kind),
        noise,
        st.builds(str.__add__, written, noise),
        st.builds(lambda one, text, two: one + text + two, written, noise, written),
    )


def orders(kind: Kind) -> st.SearchStrategy[list[str]]:
    if not kind.ordered:
        return st.just([])
    keys = st.builds(
        lambda spelling, key, way: f"{spelling}.`{key}` {way}".strip(),
        st.sampled_from(kind.spellings),
        st.sampled_from([*kind.keys, *ATTACKS]),
        st.sampled_from(["", "ASC", "DESC", "; DROP TABLE tracking_runs", "--"]),
    )
    plain = st.sampled_from(["start_time", "run_name DESC", "run_id", "1", "random()", "name; --"])
    return st.lists(st.one_of(keys, plain), max_size=2)


def texts_of(number: int) -> dict[str, str]:
    """Return hostile texts for the keys of a thing, other ones for each."""
    return {
        key: ATTACKS[(number * 5 + place * 7) % len(ATTACKS)]
        for place, key in enumerate(KEYS)
        if (number + place) % 3
    }


def pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in values.items()]


def logged_runs(site: Site) -> Kind:
    things = []
    for number, name in enumerate(ATTACKS):
        tags, params = texts_of(number), texts_of(number + 11)
        numbers = [0.0, 1.0, -1.5, math.nan, math.inf, 1e308, 2.0]
        metrics = {key: numbers[(number + len(key)) % 7] for key in KEYS[number % 4 :]}
        body = {"experiment_id": "0", "start_time": 1_000 + number % 3, "user_id": name}
        info = site.post("/runs/create", {**body, "run_name": f"n{name}"})["run"]["info"]
        points = [{"key": k, "value": str(v), "timestamp": 1} for k, v in metrics.items()]
        batch = {"metrics": points, "params": pairs(params), "tags": pairs(tags)}
        site.post("/runs/log-batch", {"run_id": info["run_id"], **batch})
        attributes = {
            "run_id": info["run_id"],
            "run_name": f"n{name}",
            "user_id": name,
            "start_time": body["start_time"],
        }
        values = {
            Entity.ATTRIBUTE: attributes,
            Entity.TAG: {**tags, "mlflow.runName": f"n{name}"},
            Entity.PARAM: params,
            Entity.METRIC: metrics,
        }
        things.append(Thing(id=info["run_id"], values=values))

    def ask(text: str, order: list[str]) -> tuple[int, list[str]]:
        body = {"experiment_ids": ["0"], "filter": text, "order_by": order, "max_results": 20}
        return paged(site, "/runs/search", body, lambda one: one["info"]["run_id"])

    return Kind(
        grammar=RUNS,
        things=things,
        ask=ask,
        attributes=("run_id", "run_name", "user_id", "start_time"),
        spellings=("tags", "params", "metrics"),
        ordered=True,
    )


def paged(
    site: Site, path: str, body: dict[str, Any], id_of: Callable[[Any], str]
) -> tuple[int, list[str]]:
    """Return the status and all that the pages of a search hold, in their order."""
    ids: list[str] = []
    while True:
        answer = site.ask("POST", path if path.startswith("/api") else f"{API}{path}", body)
        if answer.status != 200:
            return answer.status, []
        content = answer.json
        token = content.pop("next_page_token", None)
        ids += [id_of(one) for many in content.values() for one in many]
        if token is None:
            return 200, ids
        body = {**body, "page_token": token}


def made_experiments(site: Site) -> Kind:
    default = {"name": "Default"}
    things = [Thing(id="0", values={Entity.ATTRIBUTE: default, Entity.TAG: {}})]
    for number, name in enumerate(ATTACKS):
        tags = texts_of(number)
        body = {"name": f"n{name}", "tags": pairs(tags)}
        made = site.post("/experiments/create", body)["experiment_id"]
        values = {Entity.ATTRIBUTE: {"name": f"n{name}"}, Entity.TAG: tags}
        things.append(Thing(id=made, values=values))

    def ask(text: str, order: list[str]) -> tuple[int, list[str]]:
        body = {"filter": text, "order_by": order, "max_results": 10}
        return paged(site, "/experiments/search", body, lambda one: str(one["experiment_id"]))

    return Kind(grammar=EXPERIMENTS, things=things, ask=ask)


def logged_models(site: Site) -> Kind:
    things = []
    for number, name in enumerate(ATTACKS):
        # Any text is a key here.
        keys = {text: text[::-1] for text in ATTACKS[number % 7 :: 7] if text}
        params, tags = {**keys, **texts_of(number)}, {**texts_of(number + 3), **keys}
        known = {"experiment_id": "0", "name": f"n{number}", "model_type": name}
        texts = {"params": pairs(params), "tags": pairs(tags)}
        info = site.post("/logged-models", {**known, **texts})["model"]["info"]
        attributes = {"name": f"n{number}", "model_type": name, "model_id": info["model_id"]}
        values = {Entity.ATTRIBUTE: attributes, Entity.PARAM: params, Entity.TAG: tags}
        things.append(Thing(id=info["model_id"], values=values))

    def ask(text: str, _: list[str]) -> tuple[int, list[str]]:
        body = {"experiment_ids": ["0"], "filter": text, "max_results": 10}
        return paged(site, "/logged-models/search", body, lambda one: one["info"]["model_id"])

    return Kind(
        grammar=LOGGED_MODELS,
        things=things,
        ask=ask,
        attributes=("name", "model_type", "model_id"),
        spellings=("tags", "params", "metrics"),
        keys=[*KEYS, *ATTACKS],
    )


def asked_by_query(
    site: Site, what: str, id_of: Callable[[Any], str]
) -> Callable[[str, list[str]], tuple[int, list[str]]]:
    def ask(text: str, order: list[str]) -> tuple[int, list[str]]:
        query = urlencode({"filter": text.encode(errors="surrogatepass"), "max_results": 100})
        answer = site.ask("GET", f"{API}/{what}/search?{query}")
        many = answer.json.get(what.replace("-", "_"), []) if answer.status == 200 else []
        return answer.status, [id_of(one) for one in many]

    return ask


def registered_models(site: Site) -> Kind:
    things = []
    for number, text in enumerate(ATTACKS):
        tame = re.sub("[/:\n]", "", text)
        name, tags = f"n{tame}{number}", texts_of(number)
        site.post("/registered-models/create", {"name": name, "tags": pairs(tags)})
        values = {Entity.ATTRIBUTE: {"name": name}, Entity.TAG: tags}
        things.append(Thing(id=name, values=values))
    ask = asked_by_query(site, "registered-models", lambda one: str(one["name"]))
    return Kind(grammar=MODELS, things=things, ask=ask)


def versions(site: Site) -> Kind:
    things = []
    run = site.run()
    for number, text in enumerate(ATTACKS):
        name, tags = f"m{number % 5}'\"%_", texts_of(number)
        if number < 5:
            site.post("/registered-models/create", {"name": name})
        source = f"runs:/{run}/{re.sub('[^a-z]', '', text) or 'x'}"
        body = {"name": name, "source": source, "run_id": run, "tags": pairs(tags)}
        made = site.post("/model-versions/create", body)["model_version"]
        attributes: dict[str, Any] = {
            "name": name,
            "run_id": run,
            "source_path": source,
            "version_number": int(made["version"]),
        }
        values = {Entity.ATTRIBUTE: attributes, Entity.TAG: tags}
        things.append(Thing(id=f"{name}/{made['version']}", values=values))
    ask = asked_by_query(site, "model-versions", lambda one: f"{one['name']}/{one['version']}")
    return Kind(
        grammar=VERSIONS,
        things=things,
        ask=ask,
        attributes=("name", "run_id", "source_path", "version_number"),
    )


def traces(site: Site) -> Kind:
    things = []
    place = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
    for number, text in enumerate(ATTACKS):
        tags, known = texts_of(number), texts_of(number + 3)
        id = f"tr-{number}"
        info = {"trace_id": id, "trace_location": place, "client_request_id": f"c{text}"}
        body = {"trace": {"trace_info": {**info, "tags": tags, "trace_metadata": known}}}
        answer = site.ask("POST", "/api/3.0/mlflow/traces", body)
        assert answer.status == 200
        attributes = {"request_id": id, "client_request_id": f"c{text}"}
        values = {Entity.ATTRIBUTE: attributes, Entity.TAG: tags, Entity.METADATA: known}
        things.append(Thing(id=id, values=values))

    def ask(text: str, _: list[str]) -> tuple[int, list[str]]:
        body = {"locations": [place], "filter": text, "max_results": 10}
        path = "/api/3.0/mlflow/traces/search"
        return paged(site, path, body, lambda one: str(one["trace_id"]))

    return Kind(
        grammar=TRACES,
        things=things,
        ask=ask,
        attributes=("request_id", "client_request_id"),
        spellings=("tags", "metadata"),
    )


@pytest.mark.parametrize(
    "logged",
    [logged_runs, made_experiments, logged_models, registered_models, versions, traces],
    ids=lambda logged: logged.__name__,
)
def test_a_filter_finds_what_it_says_and_changes_nothing(
    served: tuple[Workspace, str], logged: Callable[[Site], Kind]
) -> None:
    site = Site(*served)
    kind = logged(site)
    before = site.rows()
    came: Counter[str] = Counter()

    @FEW
    @given(text=filters(kind), order=orders(kind))
    def search(text: str, order: list[str]) -> None:
        came[check(kind, text, order)] += 1

    search()
    assert site.rows() == before
    # Neither all refused nor all empty: the fuzzer speaks the grammar.
    assert min(came["found"], came["nothing"], came["refused"]) > 10, came


NAMES = st.one_of(
    st.sampled_from(ATTACKS),
    st.lists(st.sampled_from([*FRAGMENTS, *ATTACKS]), max_size=4).map("".join),
)


def test_a_name_that_is_sql_is_a_name_or_refused(served: tuple[Workspace, str]) -> None:
    site = Site(*served)
    logged_runs(site)
    run, other = site.run(), site.run()
    site.post("/runs/set-tag", {"run_id": other, "key": "k", "value": "other"})
    others = foreign(site, run)

    @FEW
    @given(key=st.one_of(st.just("k"), NAMES), value=NAMES)
    def write(key: str, value: str) -> None:
        tag = {"key": key, "value": value}
        answer = site.ask("POST", f"{API}/runs/set-tag", {"run_id": run, **tag})
        if answer.status == 200:
            data = site.ask("GET", f"{API}/runs/get?run_id={run}").json["run"]["data"]
            assert tag in [{"value": "", **one} for one in data["tags"]]
        for path, body in (
            ("runs/delete-tag", {"run_id": value, "key": "k"}),
            ("runs/set-tag", {"run_id": value, "key": key, "value": "x"}),
            ("runs/delete", {"run_id": value}),
            ("experiments/delete", {"experiment_id": value or "x"}),
            ("experiments/update", {"experiment_id": value or "x", "new_name": "x"}),
        ):
            if value not in ("0", "1"):
                assert site.ask("POST", f"{API}/{path}", body).status in (400, 404)

    write()
    assert foreign(site, run) == others


def foreign(site: Site, run: str) -> dict[str, Any]:
    """Return all rows but the tags of a run and what the ledger says."""
    rows = site.rows()
    rows.pop("ledger")
    number = next(row[0] for row in rows["tracking_runs"] if run in row)
    rows["tracking_tags"] = [row for row in rows["tracking_tags"] if row[0] != number]
    rows["tracking_runs"] = [row for row in rows["tracking_runs"] if run not in row]
    return rows
