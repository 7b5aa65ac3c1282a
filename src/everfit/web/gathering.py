"""Gathering: what comes in during some turns of the event loop is dealt with together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# Some hundredths of a millisecond in all.
MOST_TURNS = 4


class Gathering(Generic[T]):
    """Hands what was added to ``take``, as many at once as came meanwhile; nobody waits long.

    Callers who were answered together come back one after the other: where the last lot was
    large, the first of them waits up to ``MOST_TURNS`` turns of the loop for as many others.
    Everything happens on the event loop's thread.

    Parameters
    ----------
    take
        Is called with a lot, never an empty one. It returns soon, or calls ``hold`` and sees to it
        that ``go_on`` is called in the end.
    """

    def __init__(self, take: Callable[[list[T]], None]) -> None:
        self._take = take
        self._gathered: list[T] = []
        self._turns = 0
        self._company = 0
        self._held = False
        self._due = False

    def add(self, item: T) -> None:
        """Add one item to the next lot."""
        self._gathered.append(item)
        self._schedule()

    def put_back(self, items: list[T]) -> None:
        """Let items that were taken be the first of the next lot."""
        self._gathered[:0] = items
        self._schedule()

    def hold(self) -> None:
        """Take nothing until ``go_on``; what is added gathers."""
        self._held = True

    def go_on(self) -> None:
        """Take again."""
        self._held = False
        self._schedule()

    def _schedule(self) -> None:
        if self._gathered and not self._held and not self._due:
            self._due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._due = False
        if self._held or not self._gathered:
            return
        if len(self._gathered) < self._company and self._turns < MOST_TURNS:
            self._turns += 1
            self._schedule()
            return
        lot, self._gathered = self._gathered, []
        self._turns, self._company = 0, len(lot)
        self._take(lot)
