"""What a model takes and gives. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from everfit.errors import Invalid

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
