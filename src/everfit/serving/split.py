"""Which keys the canary answers: by a keyed hash, so that a key stays where it is."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
import numpy.typing as npt


def canary_keys(keys: Sequence[str], share: float, salt: str) -> npt.NDArray[np.bool_]:
    """Return for each key whether the canary answers it.

    A key is in if its hash, a uniform number in [0, 1), is below ``share``: the same key always
    gets the same arm, and a growing share only adds keys. ``salt`` names the release, so that
    not the same keys meet every new version first.

    Parameters
    ----------
    keys
        Texts that identify who or what is predicted, shape ``(rows,)``.
    share
        Share of all keys, 0 to 1.
    salt
        What makes this split independent of others.

    Returns
    -------
    array
        Booleans, shape ``(rows,)``.

    Examples
    --------
    >>> few = canary_keys(["ann", "bob", "eve"], 0.3, "v2")
    >>> more = canary_keys(["ann", "bob", "eve"], 0.9, "v2")
    >>> bool((more | ~few).all())
    True
    """
    if share <= 0:
        return np.zeros(len(keys), dtype=np.bool_)
    secret = blake2b(salt.encode(), digest_size=16).digest()
    hashed = b"".join(blake2b(key.encode(), digest_size=8, key=secret).digest() for key in keys)
    return np.frombuffer(hashed, dtype=">u8") < share * 2.0**64
