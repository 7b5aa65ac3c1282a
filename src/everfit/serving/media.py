"""What a request says its body is, and in what the answer is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from everfit.errors import MediaUnknown

JSON, CSV = "application/json", "text/csv"
ARROW = "application/vnd.apache.arrow.stream"
OCTETS = "application/octet-stream"
# What `curl -d` says of every body unless it is told otherwise.
CURL = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """The type of a body, its parameters, and both as they were sent."""

    name: str = JSON
    parameters: Mapping[str, str] = field(default_factory=dict)
    text: str = JSON

    def need(self, *accepted: str) -> None:
        """Return if the body is of one of the types; raises MediaUnknown if it is not."""
        if self.name not in accepted:
            raise MediaUnknown(
                f"a body of the type {self.text[:100]!r} is not read here",
                hint=f"Send {' or '.join(accepted)} as Content-Type.",
            )


def body_media(fields: Mapping[bytes, bytes]) -> Media:
    """Return what the header fields say of the body; JSON if they do not say.

    Raises
    ------
    MediaUnknown
        If the body is compressed.

    Examples
    --------
    >>> body_media({b"content-type": b"Text/CSV; charset=UTF-8"}).parameters
    {'charset': 'UTF-8'}
    """
    return _media(fields.get(b"content-type", b""), fields.get(b"content-encoding", b""))


@lru_cache(maxsize=256)
def _media(said: bytes, encoded: bytes) -> Media:
    """Return what the two headers say; a caller sends the same ones again and again."""
    text, encoding = said.decode("latin-1"), encoded.decode("latin-1").strip().lower()
    if encoding not in ("identity", ""):
        raise MediaUnknown(
            f"the body is encoded with {encoding[:100]!r}", hint="Send it as it is, without it."
        )
    name, *rest = (part.strip() for part in text.split(";"))
    name = name.lower() or JSON
    pairs = [part.partition("=") for part in rest if part]
    parameters = {key.strip().lower(): value.strip().strip('"') for key, _, value in pairs}
    return Media(name=JSON if name == CURL else name, parameters=parameters, text=text)


def is_wanted(media: str, fields: Mapping[bytes, bytes]) -> bool:
    """Return whether the caller asks for an answer of that very type."""
    accepted = fields.get(b"accept")
    return accepted is not None and media in _accepted(accepted)


@lru_cache(maxsize=256)
def _accepted(said: bytes) -> frozenset[str]:
    return frozenset(
        part.split(";")[0].strip().lower() for part in said.decode("latin-1").split(",")
    )
