"""Dataset versions: equal content is one version, on either database."""

from __future__ import annotations

import polars as pl
import pytest

from everfit.data import get_version, load_version, service, store_version
from everfit.errors import LedgerBroken, NotFound
from everfit.kernel import LocalBlobs, Workspace

FRAME = pl.DataFrame({"a": [1, 2, None], "b": ["x", None, "z"], "c": [[1], [], None]})


def test_a_version_is_read_back_as_it_was(any_workspace: Workspace) -> None:
    blobs = any_workspace.blobs
    with any_workspace.transaction() as tx:
        stored = store_version(tx, blobs, FRAME, name="rides")
    with any_workspace.reading() as tx:
        assert load_version(tx, blobs, stored.id).equals(FRAME)
        assert get_version(tx, stored.id) == stored
        [event] = tx.events("dataset-stored")
    assert (stored.rows, stored.columns, len(stored.chunks)) == (3, ("a", "b", "c"), 1)
    assert (event.subject, event.data["name"]) == (stored.id, "rides")


def test_equal_content_is_stored_once_however_it_was_made(workspace: Workspace) -> None:
    blobs = workspace.blobs
    again = pl.concat([FRAME.slice(1), FRAME, FRAME]).slice(2, 3)
    assert again.equals(FRAME)
    with workspace.transaction() as tx:
        first = store_version(tx, blobs, FRAME, name="rides")
        before = set(blobs.digests())
        second = store_version(tx, blobs, again, name="other")
        assert second == first
        assert len(tx.events("dataset-stored")) == 1
    assert set(blobs.digests()) == before


@pytest.mark.parametrize(
    "other",
    [
        FRAME.reverse(),
        FRAME.select("b", "a", "c"),
        FRAME.rename({"a": "A"}),
        FRAME.cast({"a": pl.Int32}),
        FRAME.head(2),
    ],
    ids=["order", "columns", "names", "types", "rows"],
)
def test_any_difference_is_another_version(workspace: Workspace, other: pl.DataFrame) -> None:
    with workspace.transaction() as tx:
        first = store_version(tx, workspace.blobs, FRAME, name="rides")
        assert store_version(tx, workspace.blobs, other, name="rides").id != first.id


def test_appended_rows_keep_the_chunks_before_them(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "CHUNK_ROWS", 100)
    frame = pl.DataFrame({"a": range(250)})
    more = pl.DataFrame({"a": range(260)})
    with workspace.transaction() as tx:
        first = store_version(tx, workspace.blobs, frame, name="rides")
        second = store_version(tx, workspace.blobs, more, name="rides")
        assert load_version(tx, workspace.blobs, second.id).equals(more)
    assert len(first.chunks) == len(second.chunks) == 3
    assert first.chunks[:2] == second.chunks[:2]


def test_an_empty_table_is_a_version_too(workspace: Workspace) -> None:
    with workspace.transaction() as tx:
        stored = store_version(tx, workspace.blobs, FRAME.clear(), name="none")
        assert load_version(tx, workspace.blobs, stored.id).equals(FRAME.clear())


def test_what_is_not_there_or_was_changed_is_said(workspace: Workspace) -> None:
    blobs = workspace.blobs
    assert isinstance(blobs, LocalBlobs)
    with workspace.transaction() as tx:
        stored = store_version(tx, blobs, FRAME, name="rides")
        with pytest.raises(NotFound, match="no dataset version"):
            load_version(tx, blobs, "0" * 64)
        blobs.path(stored.chunks[0]).write_bytes(b"other")
        with pytest.raises(LedgerBroken):
            load_version(tx, blobs, stored.id)


def test_a_failed_transaction_leaves_no_version(workspace: Workspace) -> None:
    def fail() -> None:
        with workspace.transaction() as tx:
            stored.append(store_version(tx, workspace.blobs, FRAME, name="rides").id)
            raise RuntimeError

    stored: list[str] = []
    with pytest.raises(RuntimeError):
        fail()
    with workspace.reading() as tx, pytest.raises(NotFound):
        get_version(tx, stored[0])
