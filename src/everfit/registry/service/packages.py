"""Packages: who vouches for one, and the model that is loaded from it."""

from __future__ import annotations

from everfit.errors import Invalid, UntrustedModel
from everfit.kernel import Transaction, Workspace
from everfit.packages import (
    FittedModel,
    decode_outside,
    is_outside,
    open_outside,
    runs_code,
    unpack,
)
from everfit.registry.model import ModelVersion, Origin
from everfit.registry.store import trusted


def trust(tx: Transaction, digest: str, by: str, reason: str) -> None:
    """Vouch for a model file, so that it may be opened here although it can run code.

    Raises
    ------
    Invalid
        If ``digest`` is no digest, or person or reason are missing.
    """
    if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
        raise Invalid(f"{digest!r} is no digest", hint="A digest has 64 hexadecimal digits.")
    if not by.strip() or not reason.strip():
        raise Invalid(
            f"nobody vouches for {digest}, or for no reason",
            hint="Say who trusts the file and why: that person answers for what it does.",
        )
    if trusted.insert(tx, digest, by=by, reason=reason):
        tx.record("model-trusted", digest, actor=by, reason=reason)


def is_trusted(tx: Transaction, digest: str) -> bool:
    """Return whether the file of that digest may be opened in this project."""
    return trusted.holds(tx, digest)


def check_trusted(workspace: Workspace, version: ModelVersion) -> None:
    """Refuse a version whose package can run code while nobody vouches for it; opens nothing.

    Raises
    ------
    UntrustedModel
        If it is to be trusted first.
    NotFound, LedgerBroken, Invalid
        As `load_package` does.
    """
    package = version.require_package()
    with workspace.reading() as tx:
        trusted_here = trusted.holds(tx, package)
    if not trusted_here and _can_harm(workspace, version, package):
        raise UntrustedModel(
            f"the package {package} of {version.subject} was not produced here "
            "and nobody trusts it",
            hint="Opening it can run any code. If you know who made it, let a person with that "
            f"role trust the digest with `everfit trust v{version.number}`; otherwise train the "
            "model here.",
            digest=package,
        )


def _can_harm(workspace: Workspace, version: ModelVersion, package: str) -> bool:
    """Return whether opening the package can run code: what it says of that is not asked."""
    if version.origin is Origin.OWN or not workspace.blobs.has(package):
        return True
    content = workspace.blobs.get(package)
    return not is_outside(content) or runs_code(decode_outside(content), workspace.blobs)


def load_package(workspace: Workspace, version: ModelVersion) -> FittedModel:
    """Return the model of ``version``, ready to predict.

    Raises
    ------
    UntrustedModel
        If opening it can run code and nobody here vouches for its digest; then nothing of it
        was opened.
    NotFound, LedgerBroken
        If the file is missing, or its content no longer fits its digest.
    Invalid
        If the version has no package, or the file is none, or needs something that is not
        installed.
    """
    check_trusted(workspace, version)
    content = workspace.blobs.get(version.require_package())
    if is_outside(content):
        return open_outside(decode_outside(content), workspace.blobs)
    return unpack(content)
