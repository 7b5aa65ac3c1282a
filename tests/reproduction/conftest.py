"""The tables and the warm processes that trainings are tested with."""

from __future__ import annotations

from tests.training.loop.conftest import adult, bike, pool

__all__ = ["adult", "bike", "pool"]
