"""What a model server counts, as values that are merged: of several processes, or over restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from typing import Any

import msgspec

# Upper edges in seconds, ten to the decade from 0.1 ms to 10 s. Those that Prometheus' clients
# and OpenTelemetry set by default are among them where they are round.
_DECADE = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0)
EDGES = (*(float(f"{one}e{power}") for power in range(-4, 1) for one in _DECADE), 10.0)
# Upper edges in rows.
SIZES = tuple(2**power for power in range(15))
METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE")
)
# The key of what belongs to no endpoint: health, this page, paths that are not there.
SERVER = ""


def _none_yet(edges: tuple[float, ...]) -> Callable[[], list[int]]:
    return lambda: [0] * (len(edges) + 1)


class Latencies(msgspec.Struct):
    """Durations: how many lie below each of `EDGES` and above the one before, and their sum."""

    buckets: list[int] = msgspec.field(default_factory=_none_yet(EDGES))
    seconds: float = 0.0

    @property
    def count(self) -> int:
        """Return how many there are."""
        return sum(self.buckets)


class Batches(msgspec.Struct):
    """How often the model was asked: by the rows of it, in buckets below each of `SIZES`."""

    buckets: list[int] = msgspec.field(default_factory=_none_yet(SIZES))
    rows: int = 0


class Served(msgspec.Struct):
    """What one arm of one version answered: rows, and how long their requests took."""

    predictions: int = 0
    latencies: Latencies = msgspec.field(default_factory=Latencies)


class Present(msgspec.Struct):
    """How it is now: requests inside and their bound, the plan in use, the memory of its models.

    ``revision`` is None until there is a model to answer with; of several processes the oldest
    plan counts, and one that is not ready makes all of them not ready. ``loaded`` is 1 where the
    models of the plan are in memory.
    """

    in_flight: int = 0
    bound: int = 0
    revision: int | None = None
    model_bytes: int = 0
    loaded: int = 0


class Process(msgspec.Struct):
    """One process, or several together: CPU and memory are added up, the earliest start counts."""

    processes: int = 1
    cpu_seconds: float = 0.0
    resident_bytes: int = 0
    virtual_bytes: int = 0
    started: float = 0.0
    open_files: int = 0
    most_files: int = 0
    threads: int = 0


class Counts(msgspec.Struct):
    """What was counted of one endpoint since it began; a value that JSON can hold.

    Attributes
    ----------
    requests
        Latencies by route (``POST /predict/{name}``, ``rpc ModelInfer``, ``local``) and status.
    served
        By version and arm; a request that several of them answered is in the latencies of each.
    failures
        Rows for which the candidate was asked in vain, by its version.
    refusals
        Requests that were not answered, by the code of the error.
    full_seconds
        For how long as many requests were inside as may be.
    cpu_seconds
        By part: ``model``, ``log``, ``load``, and ``shared`` for its part of all else.
    gib_seconds
        Memory over time: of its models, and its part of the memory of the process.
    asks, loads, appends
        How long it took to ask the model, to load it, and to bring answers into the log.
    """

    requests: dict[str, dict[int, Latencies]] = msgspec.field(default_factory=dict)
    served: dict[int, dict[str, Served]] = msgspec.field(default_factory=dict)
    failures: dict[int, int] = msgspec.field(default_factory=dict)
    refusals: dict[str, int] = msgspec.field(default_factory=dict)
    full_seconds: float = 0.0
    cpu_seconds: dict[str, float] = msgspec.field(default_factory=dict)
    gib_seconds: float = 0.0
    batches: Batches = msgspec.field(default_factory=Batches)
    asks: Latencies = msgspec.field(default_factory=Latencies)
    loads: Latencies = msgspec.field(default_factory=Latencies)
    appends: Latencies = msgspec.field(default_factory=Latencies)
    present: Present = msgspec.field(default_factory=Present)
    process: Process | None = None


def route_of(method: str, path: str = "") -> str:
    """Return the name under which requests are counted by method and template of the path.

    A method that is none of HTTP's is not named: whoever asks cannot add names.
    """
    return f"{method if method in METHODS else '_OTHER'} {path}".rstrip()


def merged(parts: Iterable[Counts]) -> Counts:
    """Return all of ``parts`` together; of none, nothing. It may share what is inside of them."""
    found = list(parts)
    total: Counts = reduce(_together, found) if found else Counts()
    return total


def merged_endpoints(parts: Iterable[Mapping[str, Counts]]) -> dict[str, Counts]:
    """Return the counts of each endpoint of several servers together."""
    every: dict[str, list[Counts]] = {}
    for part in parts:
        for endpoint, counts in part.items():
            every.setdefault(endpoint, []).append(counts)
    return {endpoint: merged(counts) for endpoint, counts in every.items()}


def copied(counts: Counts) -> Counts:
    """Return an equal value that shares nothing with ``counts``."""
    return msgspec.msgpack.decode(msgspec.msgpack.encode(counts), type=Counts)


def _together(first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    if isinstance(first, msgspec.Struct):
        names = first.__struct_fields__
        both = ((RULES.get(name, _together), name) for name in names)
        made = {name: rule(getattr(first, name), getattr(second, name)) for rule, name in both}
        return type(first)(**made)
    if isinstance(first, dict):
        return {key: _together(first.get(key), second.get(key)) for key in [*first, *second]}
    if isinstance(first, list):
        return [one + other for one, other in zip(first, second, strict=True)]
    return first + second


def _oldest(first: int | None, second: int | None) -> int | None:
    return None if first is None or second is None else min(first, second)


RULES: Mapping[str, Callable[[Any, Any], Any]] = {"revision": _oldest, "started": min}
"""How what is not added up is merged, by field."""
