"""Every error this package raises on purpose.

EverfitError                    500
├── NotFound                    404
│   └── SourceMissing           404
├── Conflict                    409
│   ├── StaleRevision           409
│   ├── LeaseLost               409
│   └── Cancelled               409
├── Refused                     403
│   └── UntrustedModel          403
├── Invalid                     422
│   ├── SettingsInvalid         422
│   ├── PolicyInvalid           422
│   ├── PipelineInvalid         422
│   ├── DataInvalid             422
│   │   ├── TargetLeak          422
│   │   └── SplitLeak           422
│   ├── NotConvertible          422
│   └── RowsInvalid             422
├── TooLarge                    413
├── MediaUnknown                415
├── Overloaded                  429
├── Unavailable                 503
│   ├── EndpointFull            503
│   ├── DatabaseBusy            503
│   └── NoRelease               503
├── DeadlineExceeded            504
├── StorageFull                 507
├── StepFailed                  500
├── PredictionFailed            500
└── LedgerBroken                500
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with an input: where, what was found, what to write instead."""

    path: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}: found {self.found}; {self.remedy}"


class EverfitError(Exception):
    """Base class: catch this to catch anything Everfit raises on purpose.

    ``str(error)`` says what happened, ``error.hint`` what to do next, ``error.context``
    holds the values involved, ``error.problems`` every problem of the input that was
    refused, and ``error.code`` is stable and documented.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500

    def __init__(
        self, message: str, *, hint: str, problems: Sequence[Problem] = (), **context: object
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems = tuple(problems)
        self.context = context

    @classmethod
    def of(cls, subject: str, problems: Sequence[Problem], *, hint: str) -> Self:
        """Return one error that lists every problem of ``subject``."""
        count = f"{len(problems)} problem{'s' if len(problems) != 1 else ''}"
        lines = "".join(f"\n  {problem}" for problem in problems)
        return cls(f"{subject} has {count}:{lines}", hint=hint, problems=problems)

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process boundaries (step workers). The default reduce would call
        # cls(*args) and lose the keyword-only hint.
        return (_rebuild, (type(self), self.message, self.hint, self.problems, self.context))


def _rebuild(
    cls: type[EverfitError],
    message: str,
    hint: str,
    problems: tuple[Problem, ...],
    context: dict[str, object],
) -> EverfitError:
    return cls(message, hint=hint, problems=problems, **context)


class NotFound(EverfitError):
    """The thing named does not exist, or not for this caller."""

    code = "not-found"
    status = 404


class SourceMissing(NotFound):
    """The file, table or database that should give the data is not there."""

    code = "source-missing"


class Conflict(EverfitError):
    """The request contradicts the current state."""

    code = "conflict"
    status = 409


class StaleRevision(Conflict):
    """Somebody else changed the row since it was read."""

    code = "stale-revision"


class LeaseLost(Conflict):
    """Another worker took this job over; what this one computed is not written."""

    code = "lease-lost"


class Cancelled(Conflict):
    """The work was cancelled while it ran."""

    code = "cancelled"


class Refused(EverfitError):
    """The caller may not do this."""

    code = "refused"
    status = 403


class UntrustedModel(Refused):
    """The model file could run code and nobody here vouches for its digest."""

    code = "untrusted-model"


class Invalid(EverfitError):
    """The input cannot be accepted as it is."""

    code = "invalid"
    status = 422


class SettingsInvalid(Invalid):
    """A setting has a value that cannot be used."""

    code = "settings-invalid"


class PolicyInvalid(Invalid):
    """The policy file cannot be accepted as it is."""

    code = "policy-invalid"


class PipelineInvalid(Invalid):
    """The steps of the pipeline do not fit together."""

    code = "pipeline-invalid"


class DataInvalid(Invalid):
    """The data cannot be used for this task as they are."""

    code = "data-invalid"


class TargetLeak(DataInvalid):
    """A column gives the target away."""

    code = "target-leak"


class SplitLeak(DataInvalid):
    """Rows or groups stand on both sides of a split."""

    code = "split-leak"


class NotConvertible(Invalid):
    """The model cannot be compiled: part of it has no equal in ONNX that is known here."""

    code = "not-convertible"


class RowsInvalid(Invalid):
    """Rows sent for prediction, or labels, do not fit the model's signature."""

    code = "rows-invalid"


class TooLarge(EverfitError):
    """The request is larger than the bound that protects this process."""

    code = "too-large"
    status = 413


class MediaUnknown(EverfitError):
    """The body is of a type, or in an encoding, that this address does not read."""

    code = "media-unknown"
    status = 415


class Overloaded(EverfitError):
    """More is being asked at once than can be answered in time."""

    code = "overloaded"
    status = 429


class Unavailable(EverfitError):
    """The answer cannot be given now, but may be later."""

    code = "unavailable"
    status = 503


class EndpointFull(Unavailable):
    """As many requests are being answered here as can be in time; another server may have room."""

    code = "endpoint-full"


class DatabaseBusy(Unavailable):
    """Another writer held the database longer than the time allowed."""

    code = "database-busy"


class NoRelease(Unavailable):
    """The endpoint has no released model version."""

    code = "no-release"


class DeadlineExceeded(EverfitError):
    """The time in which the caller wanted its answer is over."""

    code = "deadline-exceeded"
    status = 504


class StorageFull(EverfitError):
    """The disk has no room left; nothing was written."""

    code = "storage-full"
    status = 507


class StepFailed(EverfitError):
    """A step of the pipeline raised an error or its process ended."""

    code = "step-failed"


class PredictionFailed(EverfitError):
    """The model raised an error on rows that fit its signature."""

    code = "prediction-failed"


class LedgerBroken(EverfitError):
    """A row of the ledger was edited, removed or reordered."""

    code = "ledger-broken"
