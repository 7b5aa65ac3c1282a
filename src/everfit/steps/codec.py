"""Values as bytes and back: Arrow for frames, npy for arrays, JSON for plain values, else pickle.

A step's worker loads this file alone, without the front doors of the rooms: it imports nothing
but the standard library, and Polars or NumPy only when a value needs them.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import pickletools
import sys
from collections.abc import Callable, Mapping
from datetime import date, time, timedelta
from enum import Enum
from itertools import islice
from math import isfinite
from types import FunctionType, MappingProxyType
from typing import Any

Code = Mapping[str, tuple[str, str]]
NO_CODE: Code = MappingProxyType({})
PLAIN = (str, int, bool, type(None))
TEXTS = ("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8")
# So many parts take a third of a second to look through; a forest of 26 MB has 11,000.
MOST_PARTS = 200_000
CONSTANT = (str, int, float, bool, type(None), bytes, complex, date, time, timedelta, Enum)


def encode(value: object, code: Code = NO_CODE) -> tuple[str, bytes]:
    """Return the kind and the bytes of ``value``; the same computation gives the same bytes.

    ``code`` are the project's modules: name -> (path, digest). A value of one of their classes
    has other bytes once any of them has changed, for it then behaves otherwise.

    Examples
    --------
    >>> encode({"depth": [4, 1.0, None]})
    ('json', b'{"depth":[4,1.0,null]}')
    >>> encode((1, 2))[0]
    'pickle'
    """
    if _is(value, "polars", "DataFrame"):
        return "frame", frame_bytes(value)
    if _is_plain_array(value):
        return "array", _array_bytes(value)
    if type(value) is bytes:
        return "bytes", value
    if _is_plain(value):
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        return "json", text.encode("utf-8", "surrogatepass")
    return "pickle", _pickled(value, code)


def decode(kind: str, content: bytes, find: Callable[[str], None] | None = None) -> Any:
    """Return a fresh value that nobody else holds; a pickle must have been vouched for before.

    ``find`` is called with the name of each module that the value's classes are of, before it is
    imported: the project's own files are on nobody's path.
    """
    if kind == "frame":
        return frame_of(content)
    if kind == "array":
        return _array_of(content)
    if kind == "json":
        return json.loads(content.decode("utf-8", "surrogatepass"))
    if kind == "bytes":
        return content
    # Callers open only digests that this installation recorded as its own.
    return _Unpickler(content, find).load()


def shareable(value: object) -> bool:
    """Return whether several steps may be given this one object, for none of them can change it.

    True for constants, frames (Polars methods return new ones), and tuples and frozen dataclasses
    of these. Estimators, arrays, lists and dicts are decoded anew for each step.
    """
    if _is(value, "polars", "DataFrame") or isinstance(value, CONSTANT):
        return True
    if type(value) in (tuple, frozenset):
        return all(shareable(part) for part in value)  # type: ignore[attr-defined]
    fields = getattr(type(value), "__dataclass_fields__", None)
    if fields is None or not type(value).__dataclass_params__.frozen:  # type: ignore[attr-defined]
        return False
    return all(shareable(getattr(value, name)) for name in fields)


def handed(value: Any) -> Any:
    """Return what a step is given of a shareable value: of a frame a clone, which costs nothing.

    The few methods of Polars that change a frame in place then change the step's own.
    """
    return value.clone() if _is(value, "polars", "DataFrame") else value


def frame_bytes(frame: Any) -> bytes:
    """Return the frame as an Arrow file, in one chunk, so that how it was put together is not seen.

    What lies under nulls is Polars' own affair: equal frames with nulls may differ there if they
    were computed in different ways.
    """
    buffer = io.BytesIO()
    frame.rechunk().write_ipc(buffer, compression="lz4")
    return buffer.getvalue()


def frame_of(content: bytes) -> Any:
    """Return the frame of an Arrow file. Pickles of values that hold frames name this function."""
    import polars as pl  # noqa: PLC0415 - a worker that meets no frame never loads Polars

    return pl.read_ipc(io.BytesIO(content))


def _is(value: object, library: str, name: str) -> bool:
    # Asked of the loaded modules only: a value cannot be of a library that is not loaded.
    module = sys.modules.get(library)
    return module is not None and type(value) is getattr(module, name, None)


def _is_plain(value: object) -> bool:
    """Return whether JSON gives exactly this value back: no tuples, no NaN, no keys but text."""
    kind = type(value)
    if kind in PLAIN:
        return True
    if kind is float:
        return isfinite(value)  # type: ignore[arg-type]
    if kind is list:
        return all(_is_plain(part) for part in value)  # type: ignore[attr-defined]
    if kind is dict:
        pairs = value.items()  # type: ignore[attr-defined]
        return all(type(name) is str and _is_plain(part) for name, part in pairs)
    return False


def _is_plain_array(value: Any) -> bool:
    return _is(value, "numpy", "ndarray") and value.dtype.kind in "biufcSUmM"


def _array_bytes(array: Any) -> bytes:
    import numpy as np  # noqa: PLC0415 - loaded already where there is an array

    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _array_of(content: bytes) -> Any:
    import numpy as np  # noqa: PLC0415 - a worker that meets no array never loads NumPy

    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)


class _Pickler(pickle.Pickler):
    """Writes frames inside other values as Arrow: seven times faster than Polars' own pickle."""

    def __init__(self, buffer: io.BytesIO, code: Code) -> None:
        super().__init__(buffer, protocol=5)
        self._code = code
        self.of_project = False

    def reducer_override(self, value: Any) -> Any:
        if _is(value, "polars", "DataFrame"):
            return frame_of, (frame_bytes(value),)
        if isinstance(value, type | FunctionType) and value.__module__ in self._code:
            self.of_project = True
        return NotImplemented


def _pickled(value: object, code: Code) -> bytes:
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, code)
    pickler.dump(value)
    content = tidied(buffer.getvalue())
    if not pickler.of_project:
        return content
    # A pickle names its classes only. What is behind its end nobody reads, but it counts.
    digests = sorted((name, digest) for name, (_, digest) in code.items())
    return content + hashlib.sha256(repr(digests).encode()).digest()


def tidied(content: bytes) -> bytes:
    """Return a pickle in which equal texts are written once.

    A pickle writes each object once. Which equal texts, such as names of attributes, are one
    object depends on all that a process did before: without this, equal values made in two
    processes would have different bytes. A pickle of very many parts is returned as it is.

    Examples
    --------
    >>> value = ["wide", "".join(["wi", "de"])]
    >>> pickle.dumps(value).count(b"wide"), tidied(pickle.dumps(value)).count(b"wide")
    (2, 1)
    """
    parts = list(islice(pickletools.genops(content), MOST_PARTS + 1))
    if len(parts) > MOST_PARTS:
        return content
    tidy = _Tidy()
    ends = [start for _, _, start in parts[1:]] + [len(content)]
    for (part, value, start), end in zip(parts, ends, strict=True):
        tidy.add(part.name, value, content[start or 0 : end])
    return b"".join(tidy.written)


class _Tidy:
    """Writes the parts of a pickle anew, and an equal text as a reference to the first."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self._count = 0
        # By the number that the pickle gives to a value, the one that it has here.
        self._numbers: list[int] = []
        self._texts: dict[str, int] = {}
        # The text just met, which its number follows.
        self._text: str | None = None

    def add(self, name: str, value: Any, raw: bytes) -> None:
        """Write one part, whose bytes are ``raw``."""
        if name == "MEMOIZE":
            self._number(raw)
        elif name in ("BINGET", "LONG_BINGET"):
            self._refer(self._numbers[value])
        elif name in TEXTS:
            self._text = value
            if value in self._texts:
                self._refer(self._texts[value])
            else:
                self.written.append(raw)
        elif name != "FRAME":  # Only says how many bytes follow, and need not be there.
            self.written.append(raw)

    def _number(self, raw: bytes) -> None:
        text, self._text = self._text, None
        if text in self._texts:
            self._numbers.append(self._texts[text])
            return
        if text is not None:
            self._texts[text] = self._count
        self._numbers.append(self._count)
        self._count += 1
        self.written.append(raw)

    def _refer(self, number: int) -> None:
        short = number < 256
        size = 1 if short else 4
        code = pickle.BINGET if short else pickle.LONG_BINGET
        self.written.append(code + number.to_bytes(size, "little"))


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, find: Callable[[str], None] | None) -> None:
        super().__init__(io.BytesIO(content))
        self._find = find

    def find_class(self, module: str, name: str) -> Any:
        if self._find is not None:
            self._find(module)
        return super().find_class(module, name)
