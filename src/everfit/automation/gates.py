"""The ``gate`` part of the policy: from words to the gates of `evaluation`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from everfit.automation import units
from everfit.automation.document import Document, Section, choices, number, one_of, texts
from everfit.evaluation import Approve, Better, Fair, Fast, Gate, NoWorse, Sufficient, default_gates


def decode_gates(document: Document, value: Any) -> tuple[Gate, ...]:
    """Return the gates of the policy, or the default ones where it names none."""
    if value is None:
        return default_gates()
    if not isinstance(value, list) or not value:
        document.problem("gate", value, "write a list of gates, such as - better: {margin: 1%}")
        return ()
    found = [_gate(document, item, f"gate[{i}]") for i, item in enumerate(value)]
    return tuple(gate for gate in found if gate is not None)


def _gate(document: Document, item: Any, path: str) -> Gate | None:
    if isinstance(item, str):
        item = {item: None}
    if not isinstance(item, Mapping) or len(item) != 1:
        document.problem(path, item, "write one gate per line, such as - fast: {p95_ms: 20}")
        return None
    ((name, body),) = item.items()
    if name not in GATES:
        document.problem(f"{path}.{name}", "an unknown gate", choices(name, GATES))
        return None
    section = Section(document, body, f"{path}.{name}")
    gate = GATES[name](section)
    section.close()
    return gate


def _better(section: Section) -> Gate:
    return Better(
        margin=section.take("margin", units.share, 0.0),
        confidence=section.take("confidence", confidence, 0.95),
    )


def _no_worse(section: Section) -> Gate:
    return NoWorse(
        margin=section.take("margin", units.share, 0.05),
        min_rows=section.take("on", _slices, 200),
        confidence=section.take("confidence", confidence, 0.95),
    )


def _slices(value: Any) -> int:
    match = re.fullmatch(r"every slice(?:\s*>=\s*(\S+)\s*rows)?", str(value))
    if match is None:
        raise ValueError("write every slice >= 200 rows")
    return units.count(match[1]) if match[1] else 200


def _fair(section: Section) -> Gate:
    section.require("across", "name the protected columns, such as [sex]")
    if not {"equal_opportunity", "demographic_parity"} & set(section.value):
        section.document.problem(
            section.path, "no bound", "add equal_opportunity: [0.8, 1.25] or demographic_parity"
        )
    return Fair(
        across=section.take("across", texts, ()),
        equal_opportunity=section.take("equal_opportunity", _bounds, None),
        demographic_parity=section.take("demographic_parity", _bounds, None),
    )


def _bounds(value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("write the lowest and highest ratio, such as [0.8, 1.25]")
    low, high = (number(item) for item in value)
    if not 0 <= low < high:
        raise ValueError("write the lower ratio first, such as [0.8, 1.25]")
    return low, high


def _fast(section: Section) -> Gate:
    section.require("p95_ms", "write the limit in milliseconds, such as 20")
    return Fast(p95_ms=section.take("p95_ms", _positive, 20.0))


def _positive(value: Any) -> float:
    found = number(value)
    if not found > 0:
        raise ValueError("write a number above 0")
    return found


def _approve(section: Section) -> Gate:
    return Approve(
        people=section.take("people", units.count, 1),
        not_author=section.take("not", one_of("author"), "") == "author",
    )


def _sufficient(section: Section) -> Gate:
    default = Sufficient()
    return Sufficient(
        share=section.take("share", units.part, default.share),
        relative=section.take("relative", units.part, default.relative),
    )


def confidence(value: Any) -> float:
    """Return a confidence level between 50% and 100%, both excluded."""
    found = units.share(value)
    if not 0.5 < found < 1:
        raise ValueError("write a confidence such as 95%, between 50% and 100%")
    return found


GATES: Mapping[str, Callable[[Section], Gate]] = {
    "better": _better,
    "no_worse": _no_worse,
    "fair": _fair,
    "fast": _fast,
    "approve": _approve,
    "sufficient": _sufficient,
}
