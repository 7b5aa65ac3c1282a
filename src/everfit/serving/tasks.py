"""What a supervisor tells a worker, and what a worker says of its start. No I/O."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import msgspec

from everfit.kernel import Settings


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What worker ``number`` is to do: where its project is, what to serve, and where.

    ``folder`` is where the workers of one server tell each other what they have counted.
    """

    home: str
    settings: dict[str, Any]
    endpoints: list[str]
    host: str
    port: int
    grpc_port: int | None
    number: int
    folder: str
    poll_seconds: float

    @property
    def writer(self) -> str:
        """Return the name under which this worker writes its logs."""
        return f"server-{self.port}-{self.number}"

    def as_settings(self) -> Settings:
        """Return the settings of the project."""
        return Settings(home=Path(self.home), **self.settings)


def settings_of(settings: Settings) -> dict[str, Any]:
    """Return all of ``settings`` but the home, as a task has them."""
    values = dataclasses.asdict(settings)
    del values["home"]
    return values


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker says of its start: nothing but that it is ready, or why it is not."""

    error: str = ""
    message: str = ""
    hint: str = ""
