"""What is on record of a run, as facts that can be compared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from everfit.kernel import Blobs, Transaction
from everfit.tracking.capture import archived_files
from everfit.tracking.compare import Fact, RunRecord, Section, installed
from everfit.tracking.model import CONTEXT_TAG, NAME_TAG, RunData
from everfit.tracking.restore import RecordedCode
from everfit.tracking.service.experiments import get_experiment
from everfit.tracking.service.files import CODE, CODE_ARCHIVE, CODE_PATCH, ENVIRONMENT, artifacts
from everfit.tracking.service.runs import get_run_data

COMMIT_TAG = "mlflow.source.git.commit"
"""Tag in which the field's clients write the commit of the code that logs."""


def run_record(tx: Transaction, blobs: Blobs, run_id: str) -> RunRecord:
    """Return the facts of one run; raises NotFound where it, or what it kept, is not there."""
    data = get_run_data(tx, run_id)
    kept = {name: artifact.digest for name, artifact in artifacts(tx, run_id).items()}
    code = _described(blobs, kept)
    archive = _content(blobs, kept, CODE_ARCHIVE)
    lock = _content(blobs, kept, ENVIRONMENT)
    facts: dict[Section, Mapping[str, Fact]] = {
        Section.RUN: _of_run(tx, data),
        Section.PARAMS: data.params,
        Section.METRICS: {point.key: point.value for point in data.metrics},
        Section.TAGS: {key: text for key, text in data.tags.items() if key != NAME_TAG},
        Section.DATA: _of_data(data),
        Section.CODE: _of_code(code, kept, data),
        Section.FILES: archived_files(archive) if archive and code.get("whole") else {},
        Section.ENVIRONMENT: installed(lock.decode()) if lock else {},
    }
    return RunRecord(run=data.run, facts=facts)


def kept_code(blobs: Blobs, kept: Mapping[str, str]) -> RecordedCode | None:
    """Return the code that ``record_provenance`` recorded, from what it returned, if it did.

    Raises
    ------
    NotFound
        If it is not stored any more.
    """
    code = _described(blobs, kept)
    if not code:
        return None
    return RecordedCode(
        commit=code["commit"],
        digest=code["digest"],
        whole=code.get("whole", False),
        archive=_content(blobs, kept, CODE_ARCHIVE) or b"",
    )


def kept_environment(blobs: Blobs, kept: Mapping[str, str]) -> str:
    """Return the environment lock that was recorded with it, or nothing; raises NotFound."""
    return (_content(blobs, kept, ENVIRONMENT) or b"").decode()


def _described(blobs: Blobs, kept: Mapping[str, str]) -> dict[str, Any]:
    content = _content(blobs, kept, CODE)
    found: dict[str, Any] = json.loads(content) if content else {}
    return found


def _content(blobs: Blobs, kept: Mapping[str, str], name: str) -> bytes | None:
    return blobs.get(kept[name]) if name in kept else None


def _of_run(tx: Transaction, data: RunData) -> dict[str, Fact]:
    run = data.run
    found = {
        "experiment": get_experiment(tx, run.experiment).name,
        "kind": run.kind,
        "status": str(run.status),
        "actor": run.actor,
        "error": run.error,
    }
    return {name: value for name, value in found.items() if value}


def _of_data(data: RunData) -> dict[str, Fact]:
    """Return the digests of the datasets that the run used, by name and by what for."""
    found: dict[str, list[str]] = {}
    for used in data.datasets:
        context = used.tags.get(CONTEXT_TAG)
        name = f"{used.dataset.name} ({context})" if context else used.dataset.name
        found.setdefault(name, []).append(used.dataset.digest)
    return {name: ", ".join(sorted(digests)) for name, digests in found.items()}


def _of_code(code: Mapping[str, Any], kept: Mapping[str, str], data: RunData) -> dict[str, Fact]:
    found = {
        "commit": code.get("commit") or data.tags.get(COMMIT_TAG),
        "digest": code.get("digest"),
        "untracked": ", ".join(code.get("untracked", ())),
    }
    found |= {name: kept[name] for name in (CODE_PATCH, CODE_ARCHIVE) if name in kept}
    return {name: value for name, value in found.items() if value}
