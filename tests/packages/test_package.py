"""Only what somebody here vouches for is ever opened."""

from __future__ import annotations

import importlib.metadata
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from everfit.errors import Invalid, LedgerBroken, NotFound, UntrustedModel
from everfit.kernel import LocalBlobs, ManualClock, Workspace
from everfit.packages import FittedModel, infer_signature, pack, read_manifest
from everfit.packages.package import MAGIC, unpack
from everfit.registry import ModelVersion, is_trusted, load_package, register, trust

ROWS = pl.DataFrame({"x": [0.0, 1.0, 2.0]})
SIGNATURE = infer_signature(ROWS, pl.Series("y", [0.0]), "regression")


def line() -> FittedModel:
    return FittedModel(LinearRegression().fit(ROWS, [0.0, 2.0, 4.0]), SIGNATURE)


class Hostile:
    """What an attacker would put into a model file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def hostile_package(marker: Path) -> bytes:
    harmless = pack(line())
    body = pickle.dumps(line().estimator, protocol=5)
    assert harmless.endswith(body)
    return harmless.removesuffix(body) + pickle.dumps(Hostile(marker))


def version(digest: str, clock: ManualClock) -> ModelVersion:
    return ModelVersion(
        model="bikes",
        number=1,
        run="run_1",
        package=digest,
        dataset="d",
        profile=None,
        signature=SIGNATURE,
        metrics={},
        algorithm="linear",
        created_at=clock.now(),
        updated_at=clock.now(),
    )


def test_what_a_run_here_produced_is_opened_and_predicts_the_same(
    any_workspace: Workspace,
) -> None:
    digest = any_workspace.blobs.put(pack(line()))
    with any_workspace.transaction() as tx:
        made = register(
            tx,
            model="bikes",
            run="run_1",
            package=digest,
            dataset="d",
            profile=None,
            signature=SIGNATURE,
            metrics={},
            algorithm="linear",
        )
    loaded = load_package(any_workspace, made)
    assert np.array_equal(loaded.predict(ROWS), line().predict(ROWS))
    assert loaded.signature == SIGNATURE
    assert loaded.warning is None


def test_a_hostile_file_is_never_run(
    any_workspace: Workspace, clock: ManualClock, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    content = hostile_package(marker)
    digest = any_workspace.blobs.put(content)
    with pytest.raises(UntrustedModel, match="not produced here") as refused:
        load_package(any_workspace, version(digest, clock))
    assert "trust the digest" in refused.value.hint
    assert read_manifest(content).signature == SIGNATURE
    assert not marker.exists()
    # It is the trust that guards, not some weakness of the file: a trusted one would run.
    with any_workspace.transaction() as tx:
        trust(tx, digest, "ada", "a test of what trust means")
    with pytest.raises(Invalid, match="NoneType"):
        load_package(any_workspace, version(digest, clock))
    assert marker.exists()


def test_trust_in_one_project_is_none_in_another(
    workspace: Workspace, clock: ManualClock, tmp_path: Path
) -> None:
    from dataclasses import replace

    digest = workspace.blobs.put(hostile_package(tmp_path / "marker"))
    with workspace.transaction() as tx:
        trust(tx, digest, "ada", "our own")
    other = replace(workspace, settings=replace(workspace.settings, project="other"))
    with pytest.raises(UntrustedModel):
        load_package(other, version(digest, clock))
    assert not (tmp_path / "marker").exists()


def test_a_file_changed_after_it_was_trusted_is_not_run(
    workspace: Workspace, clock: ManualClock, tmp_path: Path
) -> None:
    digest = workspace.blobs.put(pack(line()))
    with workspace.transaction() as tx:
        trust(tx, digest, "ada", "our own")
    blobs = workspace.blobs
    assert isinstance(blobs, LocalBlobs)
    blobs.path(digest).write_bytes(hostile_package(tmp_path / "marker"))
    with pytest.raises(LedgerBroken, match="changed after it was written"):
        load_package(workspace, version(digest, clock))
    assert not (tmp_path / "marker").exists()


def test_a_trusted_file_that_is_gone_is_said_to_be(
    workspace: Workspace, clock: ManualClock
) -> None:
    digest = "0" * 64
    with workspace.transaction() as tx:
        trust(tx, digest, "ada", "our own")
    with pytest.raises(NotFound, match=digest):
        load_package(workspace, version(digest, clock))


def test_a_person_answers_for_a_trusted_digest(any_workspace: Workspace) -> None:
    digest = "a" * 64
    with any_workspace.transaction() as tx:
        assert not is_trusted(tx, digest)
        trust(tx, digest, "ada", "built by our partner, read line by line")
        trust(tx, digest, "eve", "again")
        assert is_trusted(tx, digest)
        (event,) = tx.events("model-trusted", subject=digest)
        assert event.actor == "ada"
        assert event.data == {"reason": "built by our partner, read line by line"}


@pytest.mark.parametrize(
    ("digest", "by", "reason"),
    [("abc", "ada", "ours"), ("A" * 64, "ada", "ours"), ("a" * 64, "", "x"), ("a" * 64, "x", " ")],
)
def test_trust_needs_a_digest_a_person_and_a_reason(
    workspace: Workspace, digest: str, by: str, reason: str
) -> None:
    with workspace.transaction() as tx, pytest.raises(Invalid):
        trust(tx, digest, by, reason)


@given(cut=st.integers(0, 10_000), junk=st.binary(max_size=40))
def test_what_is_no_package_is_refused(cut: int, junk: bytes) -> None:
    whole = pack(line())
    with pytest.raises(Invalid):
        unpack(whole[: cut % len(whole)])
    with pytest.raises(Invalid):
        unpack(junk)
    with pytest.raises(Invalid):
        unpack(MAGIC + junk)
    with pytest.raises(Invalid, match="format 1"):
        unpack(b"EVERFIT\x02" + whole[8:])


def test_the_manifest_tells_what_a_package_was_made_with() -> None:
    manifest = read_manifest(pack(line()))
    assert manifest.estimator == "LinearRegression"
    assert manifest.versions["scikit-learn"] == importlib.metadata.version("scikit-learn")
    assert manifest.signature == SIGNATURE


def test_a_package_of_other_versions_loads_with_a_warning() -> None:
    installed = importlib.metadata.version("scikit-learn").encode()
    older = b"0" * len(installed)
    content = pack(line()).replace(b'"scikit-learn":"' + installed, b'"scikit-learn":"' + older)
    loaded = unpack(content)
    assert loaded.warning is not None
    assert f"made with scikit-learn {older.decode()}" in loaded.warning
    assert f"installed: scikit-learn {installed.decode()}" in loaded.warning
    assert loaded.predict(ROWS).tolist() == pytest.approx([0.0, 2.0, 4.0])


class Local:
    """Stands in for a class of a project's own module."""

    def predict(self, rows: pl.DataFrame) -> Any:
        return np.zeros(rows.height)


def test_a_projects_own_class_travels_with_its_code() -> None:
    content = pack(FittedModel(Local(), SIGNATURE))
    # Another process, which has no module of this name: as a model server has no pipeline.py.
    code = (
        "import sys; from everfit.packages.package import unpack; import polars as pl\n"
        f"print(unpack(sys.stdin.buffer.read()).predict(pl.DataFrame({ROWS.to_dict(as_series=False)})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=content, capture_output=True, check=True
    )
    assert done.stdout.decode().strip() == "[0. 0. 0.]"


def test_a_class_that_is_not_installed_here_is_named() -> None:
    content = pack(line())
    gone = content.replace(b"LinearRegression\x94", b"LinearRegressiom\x94")
    with pytest.raises(Invalid, match="cannot be opened here") as refused:
        unpack(gone)
    assert "Install what it was trained with" in refused.value.hint


def test_what_cannot_be_stored_is_said_before_it_is_registered() -> None:
    model = Local()
    model.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(Invalid, match="the Local cannot be stored") as refused:
        pack(FittedModel(model, SIGNATURE))
    assert "locks" in refused.value.hint
