"""The binary tensor data extension of the Open Inference Protocol: values as bytes after the JSON.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
All numbers are little-endian; a text is its length in four bytes and then its UTF-8.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from everfit.errors import Invalid
from everfit.packages import label_text
from everfit.serving.columns import Problems, describe

NUMPY: dict[str, str] = {
    "BF16": "<u2",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "BOOL": "u1",
}
LENGTH = struct.Struct("<I")
HEADER = "Inference-Header-Content-Length"


@dataclass(frozen=True, slots=True)
class RawTensor:
    """The bytes of one input, and how many values they must hold."""

    content: memoryview
    count: int


def split_body(body: bytes, head: bytes | None) -> tuple[bytes, memoryview]:
    """Return the JSON of a request and the bytes behind it.

    Raises
    ------
    Invalid
        If ``head``, the header, is no length within the body.
    """
    if head is None:
        return body, memoryview(b"")
    said = head.decode("latin-1")
    length = int(said) if said.isascii() and said.isdigit() and len(said) < 20 else -1
    if not 0 <= length <= len(body):
        raise Invalid(
            f"{HEADER} is {said[:40]!r}; the body has {len(body):,} bytes",
            hint="Write how many bytes the JSON has that the body begins with.",
        )
    return body[:length], memoryview(body)[length:]


def behind(sizes: Mapping[str, int], rest: memoryview, problems: Problems) -> dict[str, memoryview]:
    """Return the part of ``rest`` that is each input's, in the order of ``sizes``."""
    found: dict[str, memoryview] = {}
    at = 0
    for name, size in sizes.items():
        left = len(rest) - at
        if size > left:
            path = f"inputs.{name}.parameters.binary_data_size"
            problems.add(path, str(size), f"send that many bytes: {left:,} are left for it")
        found[name] = rest[at : at + size]
        at = min(at + size, len(rest))
    if at < len(rest):
        remedy = "give every input that is sent as bytes its binary_data_size"
        problems.add("the body", f"{len(rest) - at:,} bytes that belong to no input", remedy)
    return found


def raw_series(datatype: str, raw: RawTensor, problems: Problems, path: str) -> pl.Series:
    """Return the values as a column of ``raw.count``, null where one is wrong."""
    if datatype == "BYTES":
        return pl.Series(list(_texts(raw, problems, path)), dtype=pl.String)
    dtype = np.dtype(NUMPY[datatype])
    size = raw.count * dtype.itemsize
    if len(raw.content) != size:
        found = f"{len(raw.content):,} bytes"
        problems.add(f"{path}.data", found, f"send {size:,}: {raw.count:,} of {datatype}")
        return pl.Series([], dtype=pl.Null)
    values = np.frombuffer(raw.content, dtype)
    if datatype == "BF16":
        # The upper half of a 32-bit float.
        values = (values.astype("<u4") << 16).view("<f4")
    if datatype == "FP16":
        values = values.astype(np.float32)
    if datatype != "BOOL":
        return pl.Series(values)
    for row in np.flatnonzero(values > 1).tolist():
        problems.add(f"{path}.data[{row}]", describe(int(values[row])), "write a byte of 0 or 1")
    return pl.Series(values.astype(np.bool_))


def _texts(raw: RawTensor, problems: Problems, path: str) -> Iterator[str | None]:
    content, at = raw.content, 0
    for row in range(raw.count):
        start = at + LENGTH.size
        if start > len(content):
            problems.add(f"{path}.data[{row}]", "nothing", f"send {raw.count:,} texts")
            return
        (size,) = LENGTH.unpack_from(content, at)
        at = start + size
        if at > len(content):
            found = f"a text of {size:,} bytes where {len(content) - start:,} are left"
            problems.add(f"{path}.data[{row}]", found, "write its length in four bytes before it")
            return
        try:
            yield str(content[start:at], "utf-8")
        except UnicodeDecodeError:
            found = describe(bytes(content[start:at]))
            problems.add(f"{path}.data[{row}]", found, "write it in UTF-8")
            yield ""
    if at < len(content):
        found = f"{len(content) - at:,} bytes more"
        problems.add(f"{path}.data", found, f"send {raw.count:,} texts")


def raw_values(datatype: str, values: Sequence[Any]) -> bytes:
    """Return the values of an output as bytes."""
    if datatype != "BYTES":
        return np.asarray(values, dtype=NUMPY[datatype]).tobytes()
    texts = [label_text(value).encode() for value in values]
    return b"".join(part for text in texts for part in (LENGTH.pack(len(text)), text))
