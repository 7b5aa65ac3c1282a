"""Fingerprints of rows: 64 bits that are the same in every process, version and machine.

Polars' and Python's own hashes are not: they change between versions or processes, and a
split that moved its old rows with every upgrade would leak them from training into test.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

Words = npt.NDArray[np.uint64]

# Above this, whole numbers have no exact float.
EXACT = 2.0**53


def fingerprints(frame: pl.DataFrame, columns: Sequence[str], *, seed: int = 0) -> Words:
    """Return one word per row, uniform over 0 .. 2**64 - 1, from the values of ``columns``.

    Equal values give equal words whatever their type (1, 1.0 and true are equal), the order of
    the columns or the order of the rows. A null adds nothing, so a new column does not change
    the rows that lack it.

    Examples
    --------
    >>> fingerprints(pl.DataFrame({"a": [1, 2]}), ["a"]).tolist()
    [17005566002524414314, 8682975342348705074]
    """
    total = np.zeros(frame.height, dtype=np.uint64)
    for name in columns:
        values = frame[name]
        mixed = _mix(_words(values) ^ _key(name, seed))
        mixed[values.is_null().to_numpy()] = 0
        total += mixed
    return _mix(total ^ _key("", seed))


def shares(words: Words) -> npt.NDArray[np.float64]:
    """Return each word as a number from 0 up to, but not, 1: the first 53 of its bits."""
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(words: Words) -> Words:
    """Return the words with every bit depending on every bit: the finalizer of SplitMix64.

    Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators".
    """
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _key(name: str, seed: int) -> Words:
    return np.array([_digest(f"{seed}:{name}")], dtype=np.uint64)


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _words(values: pl.Series) -> Words:
    """Return one word per value; what stands at nulls means nothing."""
    kind = values.dtype
    if kind.is_float():
        return _float_words(values.cast(pl.Float64).fill_null(0.0).to_numpy())
    if kind.is_numeric() or kind == pl.Boolean:
        return values.cast(pl.Int64, wrap_numerical=True).fill_null(0).to_numpy().view(np.uint64)
    if kind.is_temporal():
        micro = values.cast(pl.Datetime("us")) if kind == pl.Date else values
        return micro.to_physical().cast(pl.Int64).fill_null(0).to_numpy().view(np.uint64)
    texts = values.cast(pl.String).fill_null("")
    different = texts.unique()
    words = pl.Series([_digest(text) for text in different], dtype=pl.UInt64)
    return texts.replace_strict(different, words, return_dtype=pl.UInt64).to_numpy()


def _float_words(numbers: npt.NDArray[np.float64]) -> Words:
    whole = (np.abs(numbers) < EXACT) & (numbers == np.floor(numbers))
    integers = np.where(whole, numbers, 0.0).astype(np.int64).view(np.uint64)
    return np.where(whole, integers, np.ascontiguousarray(numbers).view(np.uint64))
