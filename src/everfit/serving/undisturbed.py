"""How a process whose one thread answers requests lets its other threads load models.

Python lets one thread run at a time. What holds it longest is the garbage collector, which looks
at every object there is: with the libraries of a model hundreds of thousands, a tenth of a second
each time, and it comes up several times while they are imported.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# A thread that computes gives way to one that waits after so many seconds. By default it is ten
# times as long, which a request would wait anew for each of its steps.
SWITCH_SECONDS = 0.0005


def settle() -> None:
    """Prepare this process, which has loaded what it begins with, to answer requests."""
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep the garbage collector away while the block runs, and from modules that it imports.

    A model that brought them is not looked at again either: where it has cycles it stays in memory
    for good, once for each set of libraries.
    """
    before = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            gc.freeze()
        gc.enable()
