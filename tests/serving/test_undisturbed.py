"""The garbage collector stays away while models are loaded, and is back whatever became of them."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from everfit.serving.undisturbed import undisturbed

RARE = "this"  # a module of Python's that nobody here has imported: it prints a poem


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    """Leave the objects of this process to the garbage collector, as they were."""
    yield
    gc.unfreeze()
    sys.modules.pop(RARE, None)


def test_nothing_is_collected_meanwhile_and_everything_afterwards() -> None:
    with undisturbed():
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(ValueError, match="no model"), undisturbed():
        raise ValueError("no model")
    assert gc.isenabled()


def test_what_libraries_brought_is_not_looked_at_again() -> None:
    gc.unfreeze()
    with undisturbed():
        pass
    assert gc.get_freeze_count() == 0
    with undisturbed():
        __import__(RARE)
    assert gc.get_freeze_count() > 0
