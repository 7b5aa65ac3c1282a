"""What a registered model and its versions are. No I/O."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from everfit.errors import Invalid
from everfit.packages import Signature

CHAMPION = "champion"
"""The alias of the version that answers."""


class Origin(StrEnum):
    """Where a version comes from."""

    OWN = "own"
    """A training of this project made it."""
    OUTSIDE = "outside"
    """Another program, such as an MLflow client, logged it."""


class Stage(StrEnum):
    """MLflow's older way to say what a version is for; aliases have taken its place.

    It changes nothing here: what answers is decided by releases.
    """

    NONE = "None"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"

    @property
    def is_active(self) -> bool:
        """Return whether versions of this stage can be archived in favour of another."""
        return self in (Stage.STAGING, Stage.PRODUCTION)

    @classmethod
    def of(cls, text: str) -> Stage:
        """Return the stage of that name in upper or lower case; raises Invalid."""
        for stage in cls:
            if stage.casefold() == text.casefold():
                return stage
        raise Invalid(f"{text!r} is no stage", hint=f"Use one of {', '.join(cls)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One version of a named model, numbered from 1. What it predicts never changes.

    ``package`` and ``profile`` are digests of blobs, ``run`` and ``dataset`` the ids of the
    run that trained it and of the dataset version it learned from. A version from outside may
    lack any of them; ``unpackaged`` then says why it has no package, and so cannot be loaded.
    ``source`` is the URI it was logged under and ``location`` that of its files, another one
    where the source names a version. ``author`` logged it, or had it trained.
    """

    model: str
    number: int
    origin: Origin = Origin.OWN
    run: str | None
    run_link: str | None = None
    source: str | None = None
    location: str | None = None
    logged_model: str | None = None
    package: str | None
    unpackaged: str | None = None
    dataset: str | None
    profile: str | None
    signature: Signature | None
    metrics: Mapping[str, float]
    algorithm: str | None
    author: str | None = None
    description: str | None = None
    stage: Stage = Stage.NONE
    status_message: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime
    updated_at: datetime

    @property
    def subject(self) -> str:
        """Return the name of this version in the ledger."""
        return f"{self.model}/{self.number}"

    def require_package(self) -> str:
        """Return the digest of the package; raises Invalid where there is none."""
        if self.package is None:
            raise Invalid(
                f"version {self.subject} cannot be loaded: it has no package, because "
                f"{self.unpackaged}",
                hint="Log the model again in a form that can be packed, or train one here with "
                "`everfit run`.",
                model=self.model,
                number=self.number,
            )
        return self.package

    def require_signature(self) -> Signature:
        """Return what the version takes and gives; raises Invalid where nobody said."""
        if self.signature is None:
            raise Invalid(
                f"version {self.subject} has no signature: what it takes and gives is not known",
                hint="Log the model again with a signature or an example of its input, or train "
                "one here with `everfit run`.",
                model=self.model,
                number=self.number,
            )
        return self.signature


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredModel:
    """A named model: what is noted about it, where its aliases stand, and its newest versions.

    ``latest`` holds the newest version of each stage that any has.
    """

    name: str
    description: str | None
    created_at: datetime
    updated_at: datetime
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, int] = field(default_factory=dict)
    latest: tuple[ModelVersion, ...] = ()


LONGEST_NOTE = 500


def noted(text: str | None) -> str | None:
    """Return a text as the ledger keeps it: a long one by its length and digest.

    The ledger forgets nothing, so what may be a whole document does not go into it.

    Examples
    --------
    >>> noted("reviewed"), noted("a" * 501)[:35]
    ('reviewed', '501 characters, SHA-256 1b2c4bb5b20')
    """
    if text is None or len(text) <= LONGEST_NOTE:
        return text
    return f"{len(text):,} characters, SHA-256 {hashlib.sha256(text.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """What came of compiling a package: ``content`` is None where the native model serves.

    ``package`` and ``content`` are digests, ``reason`` says how equal the two are or why there is
    none, ``signature`` is that of the model in the package, ``seconds`` what it took.
    """

    package: str
    content: str | None
    reason: str
    signature: Signature
    seconds: float
