"""Packages: who vouches for one, and the model that is loaded from it."""

from __future__ import annotations

from everfit.errors import Invalid, UntrustedModel
from everfit.kernel import Transaction, Workspace
from everfit.registry.fitted import FittedModel
from everfit.registry.model import ModelVersion
from everfit.registry.package import unpack
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


def load_package(workspace: Workspace, version: ModelVersion) -> FittedModel:
    """Return the model of ``version``, ready to predict.

    Raises
    ------
    UntrustedModel
        If nobody here vouches for its digest; then nothing of the file was read.
    NotFound, LedgerBroken
        If the file is missing, or its content no longer fits its digest.
    Invalid
        If the version has no package, or the file is none, or needs something that is not
        installed.
    """
    package = version.require_package()
    with workspace.reading() as tx:
        trusted_here = trusted.holds(tx, package)
    if not trusted_here:
        raise UntrustedModel(
            f"the package {package} of {version.subject} was not produced here "
            "and nobody trusts it",
            hint="Opening it can run any code. If you know who made it, let a person with that "
            "role trust the digest; otherwise train the model here.",
            digest=package,
        )
    return unpack(workspace.blobs.get(package))
