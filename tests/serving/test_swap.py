"""Revisions change under full load: real server processes, and a load generator in another.

Each revision is released once every worker answers by the one before: none is left out, so that
all of them are loaded, warmed and taken up under load. That is far more than any endpoint sees.
"""

from __future__ import annotations

import subprocess
import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from bench.serving.schedule import quantile
from bench.tracking.wire import post
from tests.serving.conftest import ENDPOINT, Shop
from tests.serving.test_process import SIGNATURE, free_port, line, server
from tests.serving.test_workers import workers_of
from tests.serving.unbroken import Load, Told, clock, load

from everfit.packages import FittedModel

CONNECTIONS = 16
TOLERANCE = 1e-9
STEADY_SECONDS = 1.0  # before the first swap, and once more after the last
TIMES = 2
# Of a latency below it nothing is said: where two cores are shared by the server, its load
# generator, this test and whatever else is at work there, so much is a turn of the scheduler.
FLOOR_MS = 100.0
REQUEST = post(f"/predict/{ENDPOINT}", b'{"temp": 1.0}')


@dataclass
class Swaps:
    """When each version was released, and when all connections were first answered by it."""

    versions: list[int] = field(default_factory=list)
    released: list[float] = field(default_factory=list)
    taken_up: list[float] = field(default_factory=list)

    def begin(self, version: int, now: float) -> None:
        """Note the version by which all are answered from the beginning."""
        self.versions.append(version)
        self.released.append(now)
        self.taken_up.append(now)

    def swap(self, shop: Shop, callers: Load, version: int) -> None:
        self.versions.append(version)
        self.released.append(clock())
        shop.release(version)
        callers.wait_for(version)
        self.taken_up.append(clock())

    def possible(self, one: Told) -> range:
        """Return the versions in the plan at some time between a question and its answer.

        What all workers had taken up before it was asked is in nobody's plan any more.
        """
        first = max(bisect_right(self.taken_up, one.asked) - 1, 0)
        last = bisect_left(self.released, one.came) - 1
        return range(self.versions[first], self.versions[last] + 1)


def add_versions(shop: Shop, count: int) -> list[int]:
    """Add versions that answer their own number: every other one is served compiled."""
    numbers = []
    for slope in range(1, count + 1):
        numbers.append(shop.add(line(float(slope)), SIGNATURE))
        if slope % 2 == 0:
            shop.compile(numbers[-1], FittedModel(line(float(slope)), SIGNATURE))
    return numbers


def p99_ms(answers: Sequence[Told]) -> float:
    return quantile(sorted(one.seconds for one in answers), 0.99) * 1000


def asked_workers(process: subprocess.Popen[str], port: int) -> int:
    """Return how many workers hold connections."""
    found = [worker.net_connections("tcp") for worker in workers_of(process)]
    return sum(
        any(one.status == "ESTABLISHED" and one.laddr.port == port for one in each)
        for each in found
    )


@pytest.mark.parametrize(("workers", "revisions"), [(1, 30), (2, 100)])
def test_swaps_under_full_load_fail_nobody_and_keep_nobody_waiting(
    shop: Shop, workers: int, revisions: int
) -> None:
    first, *others = add_versions(shop, revisions + 1)
    port, swaps = free_port(), Swaps()
    shop.release(first)
    with (
        server(shop.workspace, port, workers=workers) as process,
        load(port, [REQUEST], connections=CONNECTIONS) as callers,
    ):
        callers.wait_for(first)
        assert asked_workers(process, port) == workers
        began = clock()
        swaps.begin(first, began)
        time.sleep(STEADY_SECONDS)
        for version in others:
            swaps.swap(shop, callers, version)
        ended = clock()
        time.sleep(STEADY_SECONDS)
        told, broken = callers.ended()
    assert (broken, {one.status for one in told}) == (0, {200})
    assert {one.version for one in told} == {first, *others}
    for one in told:
        assert one.version in swaps.possible(one)
        assert abs(float(str(one.prediction)) - one.version) < TOLERANCE
    for number in range(CONNECTIONS):
        mine = [one.version for one in told if one.connection == number]
        assert mine == sorted(mine)
    assert {one.id for one in told} <= set(shop.logged()["id"])
    swapping = swaps.released[1]
    meanwhile = [one for one in told if one.came > swapping and one.asked < ended]
    steady = [one for one in told if began < one.asked and one.came < swapping]
    steady += [one for one in told if one.asked > ended]
    assert p99_ms(meanwhile) <= max(TIMES * p99_ms(steady), FLOOR_MS)
