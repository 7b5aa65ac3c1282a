"""How the protocol writes values: little-endian numbers, and texts after their lengths. Pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

# BOOL is a byte each; what is neither 0 nor 1 has to be seen.
DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype("u1"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    **{f"INT{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"UINT{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
}
# The member of typed contents that holds values of a datatype; FP16 has none.
MEMBERS = {
    "BOOL": "bool_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    **{f"INT{bits}": "int_contents" for bits in (8, 16, 32)},
    **{f"UINT{bits}": "uint_contents" for bits in (8, 16, 32)},
}
_LENGTH = struct.Struct("<I")


def split_texts(raw: bytes, count: int) -> list[bytes] | None:
    r"""Return the ``count`` texts in ``raw``, or None if it holds fewer or more.

    Examples
    --------
    >>> split_texts(join_texts([b"rain", b""]), 2)
    [b'rain', b'']
    >>> split_texts(b"\x05\x00\x00\x00rain", 1) is None
    True
    """
    found: list[bytes] = []
    at, size = 0, len(raw)
    while at + 4 <= size and len(found) < count:
        end = at + 4 + _LENGTH.unpack_from(raw, at)[0]
        found.append(raw[at + 4 : end])
        at = end
    return found if at == size and len(found) == count else None


def join_texts(texts: Sequence[bytes]) -> bytes:
    """Return ``texts`` one after the other, each after its length."""
    return b"".join([part for text in texts for part in (_LENGTH.pack(len(text)), text)])


def as_bytes(values: Sequence[Any], datatype: str) -> bytes:
    """Return the values of one output as bytes; None, where there can be any, as NaN."""
    if datatype == "BYTES":
        return join_texts([str(value).encode() for value in values])
    made: npt.NDArray[Any] = np.array(values, dtype=DTYPES[datatype])
    return made.tobytes()
