"""What a model version is, and what it takes and gives. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from everfit.errors import Invalid

CHAMPION = "champion"
"""The alias of the version that answers."""

Scalar = str | int | float | bool
"""A class label: what JSON writes without brackets."""


class Kind(StrEnum):
    """What a field holds."""

    NUMBER = "number"
    INTEGER = "integer"
    TEXT = "text"
    BOOLEAN = "boolean"
    TIME = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One column: its kind, whether a value may be missing, and what training saw in it.

    ``categories``, ``minimum`` and ``maximum`` inform; a value outside them is no error.
    """

    name: str
    kind: Kind
    nullable: bool = False
    categories: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a model takes, in the order in which it takes it, and what it gives.

    ``classes`` are the labels of a classification in the order of the columns of its scores.
    """

    inputs: tuple[Field, ...]
    output: Field
    task: str
    classes: tuple[Scalar, ...] = ()

    @property
    def names(self) -> list[str]:
        """Return the names of the inputs, in order."""
        return [field.name for field in self.inputs]

    def to_builtins(self) -> dict[str, Any]:
        """Return the signature as plain JSON values.

        Examples
        --------
        >>> taken = Field(name="temp", kind=Kind.NUMBER)
        >>> given = Field(name="cnt", kind=Kind.NUMBER)
        >>> signature = Signature(inputs=(taken,), output=given, task="regression")
        >>> Signature.from_builtins(signature.to_builtins()) == signature
        True
        """
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain

    @classmethod
    def from_builtins(cls, plain: Mapping[str, Any]) -> Signature:
        """Return the signature that ``to_builtins`` gave; raises Invalid on anything else."""
        try:
            return msgspec.convert(plain, cls)
        except msgspec.ValidationError as error:
            raise Invalid(
                f"no signature: {error}", hint="Register the version again with a signature."
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """One immutable version of a named model, numbered from 1.

    ``package`` and ``profile`` are digests of blobs, ``run`` and ``dataset`` the ids of the
    run that trained it and of the dataset version it learned from.
    """

    model: str
    number: int
    run: str
    package: str
    dataset: str
    profile: str | None
    signature: Signature
    metrics: Mapping[str, float]
    algorithm: str
    created_at: datetime

    @property
    def subject(self) -> str:
        """Return the name of this version in the ledger."""
        return f"{self.model}/{self.number}"


_MODEL = re.compile(r"[\w.\-][\w.\- ]{0,199}")
_ALIAS = re.compile(r"[A-Za-z][\w.\-]{0,99}")


def check_model_name(name: str) -> None:
    """Refuse a model name that could not stand in a path, a URL or ``model/number``.

    Raises
    ------
    Invalid
        If it is empty, longer than 200 characters, or has others than letters, digits,
        space, ``.``, ``_`` and ``-``.
    """
    if not _MODEL.fullmatch(name) or name in (".", ".."):
        raise Invalid(
            f"{name!r} is no model name",
            hint="Use up to 200 letters, digits, spaces, '.', '_' and '-'.",
        )


def check_alias(alias: str) -> None:
    """Refuse an alias that could be taken for a version.

    Raises
    ------
    Invalid
        If it is no word, or reads as a version: ``latest``, ``v7``.
    """
    if not _ALIAS.fullmatch(alias) or alias == "latest" or re.fullmatch(r"[vV]\d+", alias):
        raise Invalid(
            f"{alias!r} is no alias",
            hint="Use a word such as 'champion': letters, digits, '.', '_' and '-', "
            "beginning with a letter, and neither 'latest' nor a version such as 'v7'.",
        )
