"""What every implementation of the port ``everfit.kernel.Blobs`` must pass.

Subclass ``BlobsContract`` in a test module as ``TestMine`` and override its fixtures.
"""

# ruff: noqa: S101, S311 - a test kit asserts, and its chance need not be secret

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from everfit.errors import Invalid, LedgerBroken, NotFound
from everfit.kernel import Blobs

MIB = 1024 * 1024
Damage = Callable[[str, bytes], None]
HARMS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "shorter": lambda content: content[:-1],
    "longer": lambda content: content + b"!",
    "changed": lambda content: bytes([content[0] ^ 1]) + content[1:],
}
# Contents are named by their digests: examples that share a store do not disturb each other.
shared_store = settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


def content_of(size: int) -> bytes:
    """Return ``size`` bytes without a pattern, the same ones every time."""
    return random.Random(size).randbytes(size)


def write(blobs: Blobs, *chunks: bytes) -> tuple[str, int]:
    """Write the chunks through a writer; return what it says."""
    with blobs.writer() as writer:
        for chunk in chunks:
            writer.write(chunk)
        return writer.finish()


def read(blobs: Blobs, digest: str, *, offset: int = 0, length: int | None = None) -> bytes:
    """Read through a reader whatever it gives."""
    with blobs.open(digest, offset=offset, length=length) as reader:
        return b"".join(reader)


class BlobsContract:
    """The guarantees of ``Blobs``, each as a test."""

    @pytest.fixture
    def blobs(self) -> Blobs:
        """Return an empty store; every test gets its own."""
        raise NotImplementedError

    @pytest.fixture
    def damage(self) -> Damage:
        """Return what puts other content under a digest of the store, behind its back."""
        raise NotImplementedError

    @pytest.mark.parametrize("content", [b"", b"a", bytes(range(256)) * 5000])
    def test_content_comes_back_under_its_sha256(self, blobs: Blobs, content: bytes) -> None:
        """A digest is the SHA-256 of what was put, and gives it back."""
        digest = blobs.put(content)
        assert digest == hashlib.sha256(content).hexdigest()
        assert blobs.get(digest) == content
        assert blobs.has(digest)

    def test_same_content_is_kept_once(self, blobs: Blobs) -> None:
        """Storing the same content again, in whatever way, is no error and keeps one copy."""
        digest = blobs.put(b"same")
        assert blobs.put(b"same") == digest
        assert write(blobs, b"sa", b"me") == (digest, 4)
        assert blobs.concatenate([digest]) == (digest, 4)
        assert list(blobs.digests()) == [digest]

    def test_digests_lists_what_is_there(self, blobs: Blobs) -> None:
        """Every digest is yielded, and nothing else."""
        put = {blobs.put(bytes([number])) for number in range(20)}
        assert set(blobs.digests()) == put

    def test_removed_content_is_gone(self, blobs: Blobs) -> None:
        """Removing forgets one blob, leaves the others, and may be repeated."""
        gone, kept = blobs.put(b"gone"), blobs.put(b"kept")
        blobs.remove(gone)
        blobs.remove(gone)
        assert not blobs.has(gone)
        assert list(blobs.digests()) == [kept]
        with pytest.raises(NotFound):
            blobs.get(gone)

    def test_unknown_digest_is_not_found(self, blobs: Blobs) -> None:
        """A digest nobody put is missing, and the error says which; a reader says so at once."""
        digest = "0" * 64
        assert not blobs.has(digest)
        with pytest.raises(NotFound, match=digest):
            blobs.get(digest)
        with pytest.raises(NotFound, match=digest):
            blobs.open(digest)

    @pytest.mark.parametrize(
        "name", ["", "..", "../../etc/passwd", "A" * 64, "g" * 64, "a" * 63, "a" * 64 + "\n"]
    )
    def test_a_name_that_is_no_digest_is_refused(self, blobs: Blobs, name: str) -> None:
        """No name leads outside of the store."""
        with pytest.raises(NotFound):
            blobs.get(name)
        with pytest.raises(NotFound):
            blobs.open(name)
        with pytest.raises(NotFound):
            blobs.concatenate([name])

    def test_threads_put_the_same_content_at_once(self, blobs: Blobs) -> None:
        """Concurrent writers of one blob all succeed and none sees half of it."""
        content = bytes(2_000_000)
        seen: list[bytes] = []

        def put_and_get() -> None:
            seen.append(blobs.get(blobs.put(content)))
            seen.append(read(blobs, write(blobs, content[:700_000], content[700_000:])[0]))

        threads = [threading.Thread(target=put_and_get) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [content] * 16

    @shared_store
    @given(size=st.integers(0, 3 * MIB), data=st.data())
    def test_any_chunking_gives_the_digest_of_the_whole(
        self, blobs: Blobs, size: int, data: st.DataObject
    ) -> None:
        """How content is cut into chunks, empty ones too, has no influence on what is stored."""
        content = content_of(size)
        cuts = data.draw(st.lists(st.integers(0, size), max_size=40).map(sorted))
        pieces = zip([0, *cuts], [*cuts, size], strict=True)
        written = write(blobs, *(content[start:end] for start, end in pieces))
        assert written == (hashlib.sha256(content).hexdigest(), size)
        assert blobs.get(written[0]) == content

    def test_a_buffer_may_be_used_again(self, blobs: Blobs) -> None:
        """A writer is done with a chunk when ``write`` returns, however large the chunk is."""
        contents = [content_of(size) for size in (10, 3 * MIB, 0, 2 * MIB, 1)]
        buffer = bytearray(3 * MIB)
        with blobs.writer() as writer:
            for content in contents:
                buffer[: len(content)] = content
                writer.write(memoryview(buffer)[: len(content)])
            buffer[:] = bytes(3 * MIB)
            digest, _ = writer.finish()
        assert blobs.get(digest) == b"".join(contents)

    @pytest.mark.parametrize("size", [5, 3 * MIB])
    def test_nothing_is_seen_before_finish(self, blobs: Blobs, size: int) -> None:
        """Content appears when it is finished, not before."""
        digest = hashlib.sha256(content_of(size)).hexdigest()
        with blobs.writer() as writer:
            writer.write(content_of(size))
            assert not blobs.has(digest)
            assert list(blobs.digests()) == []
            writer.finish()
            assert blobs.has(digest)
        assert list(blobs.digests()) == [digest]

    @pytest.mark.parametrize("size", [0, 5, 3 * MIB])
    def test_leaving_without_finish_leaves_nothing(self, blobs: Blobs, size: int) -> None:
        """A block that ends early, by itself or by an error, has stored nothing."""
        content = content_of(size)
        with blobs.writer() as writer:
            writer.write(content)
        with pytest.raises(ZeroDivisionError):
            write(blobs, *(1 // step * content for step in (1, 1, 0)))
        assert list(blobs.digests()) == []
        assert blobs.has(blobs.put(content))

    def test_writers_do_not_mix(self, blobs: Blobs) -> None:
        """Blobs that are written at the same time come out each as its own."""
        with blobs.writer() as one, blobs.writer() as two:
            for number in range(50):
                one.write(bytes([number]) * 30_000)
                two.write(bytes([number + 100]) * 30_000)
            digest, size = one.finish()
            two.write(b"more")
            other, _ = two.finish()
        assert size == 1_500_000
        assert blobs.get(digest) == b"".join(bytes([n]) * 30_000 for n in range(50))
        assert blobs.get(other) == b"".join(bytes([n + 100]) * 30_000 for n in range(50)) + b"more"

    @pytest.mark.parametrize("size", [0, 1, MIB, 3 * MIB + 1])
    def test_a_reader_gives_the_whole_in_chunks(self, blobs: Blobs, size: int) -> None:
        """The chunks are the content, none is empty, and the size is known beforehand."""
        digest = blobs.put(content_of(size))
        with blobs.open(digest) as reader:
            assert (reader.size, reader.length) == (size, size)
            chunks = list(reader)
        assert all(chunks)
        assert b"".join(chunks) == content_of(size)

    @shared_store
    @given(
        size=st.sampled_from([0, 1, 1000, MIB, 3 * MIB]),
        offset=st.one_of(st.integers(0, 1100), st.integers(0, 4 * MIB)),
        length=st.one_of(st.none(), st.integers(0, 1100), st.integers(0, 4 * MIB)),
    )
    def test_any_range_is_the_slice(
        self, blobs: Blobs, size: int, offset: int, length: int | None
    ) -> None:
        """A range gives what a slice gives, also where it ends or begins behind the content."""
        content = content_of(size)
        expected = content[offset : None if length is None else offset + length]
        with blobs.open(blobs.put(content), offset=offset, length=length) as reader:
            assert (reader.size, reader.length) == (size, len(expected))
            assert b"".join(reader) == expected

    @pytest.mark.parametrize(("offset", "length"), [(-1, None), (0, -1), (-3, 2)])
    def test_a_negative_range_is_refused(
        self, blobs: Blobs, offset: int, length: int | None
    ) -> None:
        """Nothing is counted from the end."""
        digest = blobs.put(b"content")
        with pytest.raises(Invalid):
            blobs.open(digest, offset=offset, length=length)

    def test_a_reader_may_be_left_early(self, blobs: Blobs) -> None:
        """Who needs no more of a blob closes its reader; closing again is no error."""
        digest = blobs.put(content_of(5 * MIB))
        with blobs.open(digest) as reader:
            first = next(iter(reader))
            reader.close()
        assert content_of(5 * MIB).startswith(first)
        blobs.remove(digest)
        assert not blobs.has(digest)

    def test_an_open_reader_outlives_the_blob(self, blobs: Blobs) -> None:
        """Removing a blob does not tear it away from who is reading it."""
        content = content_of(3 * MIB)
        digest = blobs.put(content)
        with blobs.open(digest) as reader:
            chunks = iter(reader)
            first = next(chunks)
            blobs.remove(digest)
            assert first + b"".join(chunks) == content

    @pytest.mark.parametrize(("size", "harm"), [(0, "longer"), *product([5, 3 * MIB], HARMS)])
    def test_damaged_content_is_never_given_whole(
        self, blobs: Blobs, damage: Damage, size: int, harm: str
    ) -> None:
        """A reader raises before the last chunk: its chunks cannot be taken for the whole."""
        damaged = HARMS[harm](content_of(size))
        digest = blobs.put(content_of(size))
        damage(digest, damaged)
        with pytest.raises(LedgerBroken, match=digest):
            blobs.get(digest)
        with pytest.raises(LedgerBroken, match=digest):
            blobs.concatenate([digest])
        given: list[bytes] = []
        with pytest.raises(LedgerBroken, match=digest), blobs.open(digest) as reader:
            given += reader
        assert len(b"".join(given)) < max(len(damaged), 1)
        assert list(blobs.digests()) == [digest]

    @pytest.mark.parametrize("harm", HARMS)
    def test_storing_again_mends(self, blobs: Blobs, damage: Damage, harm: str) -> None:
        """Whichever way the content comes again, it is whole afterwards."""
        content = content_of(2 * MIB)
        digest = blobs.put(content)
        half = [blobs.put(content[:MIB]), blobs.put(content[MIB:])]
        ways: list[Callable[[], object]] = [
            lambda: blobs.put(content),
            lambda: write(blobs, content),
            lambda: blobs.concatenate(half),
        ]
        for again in ways:
            damage(digest, HARMS[harm](content))
            again()
            assert blobs.get(digest) == content

    @pytest.mark.parametrize("sizes", [[], [0], [4], [3, 0, 5], [MIB, 2 * MIB + 1, 7, 3, MIB]])
    def test_concatenated_parts_are_one_blob(self, blobs: Blobs, sizes: list[int]) -> None:
        """Parts are joined in the order given, one as often as it is named, and stay."""
        parts = {blobs.put(content_of(size)): content_of(size) for size in sizes}
        order = [*parts, *reversed(parts)]
        digest, size = blobs.concatenate(order)
        whole = b"".join(parts[part] for part in order)
        assert (digest, size) == (hashlib.sha256(whole).hexdigest(), len(whole))
        assert blobs.get(digest) == whole
        assert set(blobs.digests()) == {digest, *parts}

    def test_missing_parts_are_named_and_nothing_is_stored(self, blobs: Blobs) -> None:
        """All parts that are not there are named at once."""
        there = blobs.put(b"there")
        with pytest.raises(NotFound, match=f"{'0' * 64}, {'1' * 64}$"):
            blobs.concatenate([there, "0" * 64, "1" * 64, "0" * 64])
        assert list(blobs.digests()) == [there]
