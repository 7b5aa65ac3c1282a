"""Errors as MLflow's clients read them: a code of MLflow's, a message, and the HTTP status."""

from __future__ import annotations

import msgspec

from everfit.errors import (
    Conflict,
    EverfitError,
    Invalid,
    NotFound,
    Overloaded,
    Refused,
    TooLarge,
    Unavailable,
)

# The first class that fits an error, from the particular to the general.
_CODES: tuple[tuple[type[EverfitError], str, int], ...] = (
    (NotFound, "RESOURCE_DOES_NOT_EXIST", 404),
    (Refused, "PERMISSION_DENIED", 403),
    (TooLarge, "INVALID_PARAMETER_VALUE", 413),
    (Invalid, "INVALID_PARAMETER_VALUE", 400),
    (Overloaded, "RESOURCE_EXHAUSTED", 429),
    (Unavailable, "TEMPORARILY_UNAVAILABLE", 503),
    (EverfitError, "INTERNAL_ERROR", 500),
)


def refusal(error: EverfitError) -> tuple[int, bytes]:
    """Return the status and the body by which an MLflow client understands ``error``."""
    code, status = _code(error)
    message = f"{error.message} -> {error.hint}"
    return status, msgspec.json.encode({"error_code": code, "message": message})


def no_endpoint(method: str, path: str) -> tuple[int, bytes]:
    """Return the answer to a call of MLflow's that is not there, or not known at all."""
    message = (
        f"Everfit has no {method} {path} -> docs/mlflow.md lists what is there; "
        "a client of a newer MLflow may ask for more."
    )
    return 404, msgspec.json.encode({"error_code": "ENDPOINT_NOT_FOUND", "message": message})


def _code(error: EverfitError) -> tuple[str, int]:
    if isinstance(error, Conflict):
        # With problems: values that contradict what is there. Without: a name that is taken.
        taken = not error.problems
        return ("RESOURCE_ALREADY_EXISTS" if taken else "INVALID_PARAMETER_VALUE"), 400
    return next((code, status) for kind, code, status in _CODES if isinstance(error, kind))
