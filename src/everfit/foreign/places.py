"""Where on this machine the files lie that a store's URIs name, and how they are copied."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from everfit.errors import Invalid
from everfit.kernel import Blobs
from everfit.tracking import Artifact, check_path

PROXIED = "mlflow-artifacts"
DEFAULT_PROXIED = "mlartifacts"
CHUNK_BYTES = 1024 * 1024
# EXPERIMENT/RUN/artifacts, or EXPERIMENT/models/MODEL/artifacts or one of a trace, and what lies
# below it.
_TAIL = re.compile(
    r"(?:^|/)(?P<folder>[^/]+/(?:models/(?P<model>m-[^/]+)|traces/[^/]+|(?P<run>[^/]+))/artifacts)"
    r"(?:/(?P<rest>.*))?$"
)
_SOURCE = re.compile(r"(?:runs:/(?P<run>[^/]+)|models:/(?P<model>m-[^/@]+))(?:/(?P<rest>.*))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Finds folders: relative paths begin at ``base``, and ``proxied`` holds what servers stored.

    ``proxied`` is also looked at for what does not lie any more where its path says.
    """

    base: Path
    proxied: Path | None = None

    def remote(self, uri: str | None) -> bool:
        """Return whether clients reach a URI by themselves, in a bucket for example."""
        scheme = urlsplit(uri or "").scheme
        return len(scheme) > 1 and scheme not in ("file", PROXIED)

    def folder(self, uri: str, *, beside: Path | None = None) -> Path | None:
        """Return the folder that a URI names, wherever it lies now, or None."""
        if self.remote(uri):
            return None
        places = [*self._named(uri), *([beside] if beside else [])]
        return next((place for place in places if place.is_dir()), None)

    def _named(self, uri: str) -> Iterator[Path]:
        parts = urlsplit(uri)
        path = unquote(parts.path) if parts.scheme else uri
        if parts.scheme == PROXIED:
            yield (self.proxied or self.base / DEFAULT_PROXIED) / path.lstrip("/")
            return
        if path:
            yield self.base / path
        tail = _TAIL.search(path)
        if tail is not None and self.proxied is not None:
            yield self.proxied / tail["folder"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What a URI of artifacts names: a run or a logged model by its id, and a path below it."""

    run: str | None
    model: str | None
    rest: str

    @classmethod
    def in_uri(cls, uri: str) -> Named | None:
        """Return what is named, or None where the URI has another form."""
        found = _TAIL.search(unquote(urlsplit(uri).path) if "://" in uri else uri)
        if found is None:
            return None
        return cls(run=found["run"], model=found["model"], rest=found["rest"] or "")

    @classmethod
    def in_source(cls, uri: str) -> Named | None:
        """Return what ``runs:/RUN/path`` or ``models:/m-ID`` names, or None."""
        found = _SOURCE.fullmatch(uri)
        if found is None:
            return None
        return cls(run=found["run"], model=found["model"], rest=found["rest"] or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewFile:
    """A file whose content is among the blobs now."""

    name: str
    digest: str
    bytes: int


@dataclass(slots=True)
class Copied:
    """What became of the files of one folder, by their names in it."""

    names: dict[str, str] = field(default_factory=dict)
    new: list[NewFile] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Return how many files the folder has, with those that cannot come over."""
        return len(self.names) + len(self.refused)

    def add(self, file: NewFile) -> None:
        """Note a file that was copied."""
        self.new.append(file)
        self.names[file.name] = file.digest

    def compare(self, name: str, digest: str, known: Artifact) -> None:
        """Note a file that the tree has already, perhaps with another content."""
        if digest != known.digest:
            self.differing.append(name)
        self.names[name] = digest


def copy_files(
    blobs: Blobs,
    folder: Path | None,
    tree: str,
    present: Sequence[Artifact],
    *,
    made: Mapping[str, bytes] | None = None,
) -> Copied:
    """Copy the files of a folder into blobs, but for those that are in the tree already.

    ``present`` is what the tree has below ``tree``; a file that is there is read and compared.
    ``made`` are contents of files that stand in the place of those of the folder.
    Links are not followed: what they lead to may be no artifact.
    """
    here = {file.name.removeprefix(f"{tree}/"): file for file in present}
    copied = Copied()
    for file in sorted(_files(folder)) if folder is not None else ():
        name = file.relative_to(folder or file).as_posix()
        if made and name in made:
            continue
        wrong = _wrong(file, f"{tree}/{name}")
        if wrong is not None:
            copied.refused[name] = wrong
        elif name in here:
            copied.compare(name, _digest(file), here[name])
        else:
            digest, size = _stored(blobs, file)
            copied.add(NewFile(name=name, digest=digest, bytes=size))
    for name, content in (made or {}).items():
        if name in here:
            copied.compare(name, hashlib.sha256(content).hexdigest(), here[name])
        else:
            copied.add(NewFile(name=name, digest=blobs.put(content), bytes=len(content)))
    return copied


def _wrong(file: Path, path: str) -> str | None:
    if file.is_symlink():
        return "it is a link, and links are not followed"
    try:
        check_path(path)
    except Invalid as error:
        return error.message
    return None


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        for name in [*names, *(one for one in folders if (Path(root) / one).is_symlink())]:
            yield Path(root) / name


def _stored(blobs: Blobs, file: Path) -> tuple[str, int]:
    with file.open("rb") as content, blobs.writer() as writer:
        while chunk := content.read(CHUNK_BYTES):
            writer.write(chunk)
        return writer.finish()


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
