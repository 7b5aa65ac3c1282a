"""docs/policy.md says all that the decoder knows, nothing else, and every example on it works."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from everfit.automation import Policy, decode
from everfit.errors import PolicyInvalid
from everfit.training.candidates import ALGORITHMS, ALIASES

PAGE = "docs/policy.md"
BASE = "model: m\ntask: regression\ndata: {source: t.csv, target: y}\n"
STRANGE = "qqqqqqqq"  # near to no key, so that the remedy names them all
# What must stand beside a key so that its gate can be read at all.
BESIDE = {
    "fair.across": "equal_opportunity: [0.8, 1.25]",
    "fair.equal_opportunity": "across: [sex]",
    "fair.demographic_parity": "across: [sex]",
    "data.source": "target: y",
    "data.target": "source: t.csv",
}


class Row(NamedTuple):
    """One key on the page."""

    key: str
    default: str | None
    example: str


def rows(root: Path) -> list[Row]:
    """Return the rows of the tables of keys."""
    text = (root / PAGE).read_text(encoding="utf-8")
    found = re.findall(r"^\| `([^`]+)` \| (-|`[^`]+`) \| `([^`]+)` \| \S.*\|$", text, re.MULTILINE)
    return [Row(k, None if d == "-" else d.strip("`"), e) for k, d, e in found]


def written(key: str, value: str) -> str:
    """Return a policy with one key set, on top of what is required."""
    parts = key.replace("COLUMN", "x").split(".")
    if parts[0] == "gate" and len(parts) > 1:
        beside = BESIDE.get(".".join(parts[1:]))
        inner = f"{{{value_of(parts[2:], value)}{', ' + beside if beside else ''}}}"
        return BASE + f"gate: [{parts[1]}: {inner if len(parts) > 2 else value}]\n"
    top = parts[0]
    kept = [line for line in BASE.splitlines() if not line.startswith(f"{top}:")]
    body = value
    if len(parts) > 1:
        beside = BESIDE.get(key, "source: t.csv, target: y") if top == "data" else ""
        body = f"{{{value_of(parts[1:], value)}{', ' + beside if beside else ''}}}"
    return "\n".join([*kept, f"{top}: {body}"])


def value_of(parts: list[str], value: str) -> str:
    """Return `a: {b: value}` for the parts a and b."""
    if not parts:
        return ""
    head, *rest = parts
    return f"{head}: {{{value_of(rest, value)}}}" if rest else f"{head}: {value}"


def read(content: str) -> Policy:
    """Decode, with functions of the names that the examples use."""
    return decode(content, functions={"mine"})


def remedies(content: str) -> str:
    """Return the problems of a policy as one text."""
    try:
        decode(content)
    except PolicyInvalid as error:
        return str(error)
    return ""


def known(path: str = "") -> Iterator[str]:
    """Yield every key the decoder knows: an unknown one is answered with a list of them."""
    inside = f"{path}.{STRANGE}" if path else STRANGE
    content = written(inside, "1") if path else BASE + f"{STRANGE}: 1\n"
    if path == "gate":
        content = BASE + f"gate: [{STRANGE}: {{}}]\n"
    for problem in remedies(content).splitlines():
        # `data.expect.x: found an unknown rule 'qqqqqqqq'; use between, in, …`
        listed = re.search(r"unknown.*; use (?:one of )?([\w, ]+)$", problem)
        if STRANGE in problem and listed:
            for name in listed[1].split(", "):
                key = f"{path}.{name}" if path else name
                yield key
                yield from known(key)
    if path == "data.expect":
        yield from known("data.expect.COLUMN")


def test_every_key_the_decoder_knows_is_on_the_page_and_no_other(root: Path) -> None:
    on_page = [row.key for row in rows(root)]
    assert len(on_page) == len(set(on_page))
    assert set(on_page) == set(known())


def test_every_example_in_the_tables_decodes_and_says_something(root: Path) -> None:
    for row in rows(root):
        policy = read(written(row.key, row.example))
        if row.default is not None:
            assert policy != read(written(row.key, row.default)), row.key


def test_every_default_is_what_is_used_where_the_key_is_absent(root: Path) -> None:
    for row in rows(root):
        if row.default is None:
            continue
        parts = row.key.split(".")
        if parts[0] == "gate" and len(parts) > 1:
            assert read(written(row.key, row.default)) == read(BASE + f"gate: [{parts[1]}]\n"), row
        elif parts[0] != "rollback":
            assert read(written(row.key, row.default)) == read(BASE), row
    rules = ", ".join(
        value_of(row.key.split(".")[1:], row.default)
        for row in rows(root)
        if row.default is not None and row.key.startswith("rollback.")
    )
    assert read(BASE + f"rollback: {{{rules}}}\n") == read(BASE)


def test_every_yaml_block_decodes(blocks: Callable[[str], list[tuple[str, str]]]) -> None:
    found = [text for language, text in blocks(PAGE) if language == "yaml"]
    assert len(found) >= 6
    for text in found:
        tops = {str(key) for key in yaml.safe_load(text)}
        kept = [line for line in BASE.splitlines() if line.partition(":")[0] not in tops]
        read("\n".join([*kept, text]))


@pytest.mark.parametrize("word", ALGORITHMS)
def test_every_candidate_is_on_the_page_with_its_parameters(word: str, root: Path) -> None:
    aliases = [alias for alias, of in ALIASES.items() if of == word]
    name = f"`{word}`" + (f" ({', '.join(f'`{a}`' for a in aliases)})" if aliases else "")
    candidate = ALGORITHMS[word]
    tasks = ", ".join(candidate.tasks)
    parameters = ", ".join(f"`{p.name}` {p.default:g}" for p in candidate.parameters)
    assert f"| {name} | {tasks} | {parameters} |" in (root / PAGE).read_text(encoding="utf-8")
