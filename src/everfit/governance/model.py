"""Who approved what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from everfit.kernel import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One person's word that a version may go on."""

    model: str
    version: int
    person: str
    at: datetime
    comment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Whose records are asked: the opened workspace and the model of the project."""

    workspace: Workspace
    model: str
