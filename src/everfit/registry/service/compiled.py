"""What came of compiling the package of a version, and the model that serves because of it."""

from __future__ import annotations

from everfit.kernel import Transaction
from everfit.registry.model import Compiled, ModelVersion
from everfit.registry.store import compiled


def note_compiled(tx: Transaction, version: ModelVersion, found: Compiled) -> None:
    """Keep what came of compiling the package of ``version``."""
    compiled.put(tx, found)
    tx.record(
        "model-compiled",
        version.subject,
        version=version.number,
        package=found.package,
        content=found.content,
        reason=found.reason,
        seconds=round(found.seconds, 3),
    )


def get_compiled(tx: Transaction, version: ModelVersion) -> Compiled | None:
    """Return what came of compiling the package of ``version``, None where nobody has tried."""
    return None if version.package is None else compiled.get(tx, version.package)
