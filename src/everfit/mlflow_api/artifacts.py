"""The tree of artifacts as clients see it: folders, files, and parts of large uploads.

The bytes themselves go past these handlers: the server streams them, the plug-in copies them.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from everfit.errors import Invalid
from everfit.mlflow_api.dispatch import Call
from everfit.mlflow_api.runs import Named, run_id_of
from everfit.mlflow_api.wire import FileInfo, Message, Nothing
from everfit.tracking import (
    Artifact,
    artifact_folder,
    check_path,
    delete_files,
    files_below,
    get_run,
)

MOST_PARTS = 10_000
UNKNOWN_MEDIA = "application/octet-stream"


class Listed(Message):
    """Ask for what lies in a folder of the tree."""

    path: str = ""


class ListedOfRun(Named):
    """Ask for what lies in a folder of a run's artifacts."""

    path: str = ""


class AtPath(Message):
    """A request about a file or folder of the tree."""

    path: str


class Part(Message):
    """One part of a large upload; its etag is the digest of its bytes."""

    part_number: int
    etag: str
    url: str | None = None


class BeginParts(Message, kw_only=True):
    """Begin an upload in parts."""

    artifact_path: str
    path: str = ""
    num_parts: int


class EndParts(Message, kw_only=True):
    """End an upload in parts: they become one file, or nothing."""

    artifact_path: str
    path: str = ""
    upload_id: str
    parts: list[Part] = []


def entries(files: Sequence[Artifact], folder: str) -> list[FileInfo]:
    """Return the files and folders right below ``folder``, by name, out of all files below it."""
    start = f"{folder}/" if folder else ""
    found: dict[str, FileInfo] = {}
    for file in files:
        name, _, rest = file.name.removeprefix(start).partition("/")
        known = FileInfo(path=name, is_dir=bool(rest), file_size=None if rest else file.bytes)
        found.setdefault(name, known)
    return [found[name] for name in sorted(found)]


def list_tree(call: Call, request: Listed) -> dict[str, list[FileInfo]]:
    """Return what lies in a folder; nothing where it is a file, or not there."""
    folder = request.path.rstrip("/")
    return {"files": entries(files_below(call.tx, folder), folder)}


def list_of_run(call: Call, request: ListedOfRun) -> dict[str, object]:
    """Return what lies in a folder of a run's artifacts, by the path below the run."""
    run = get_run(call.tx, run_id_of(request.run_id, request.run_uuid))
    root, below = artifact_folder(run), request.path.rstrip("/")
    folder = f"{root}/{below}" if below else root
    files = entries(files_below(call.tx, folder), folder)
    for file in files:
        file.path = f"{below}/{file.path}" if below else file.path
    return {"root_uri": call.api.artifact_uri(root), "files": files}


def delete_tree(call: Call, request: AtPath) -> Nothing:
    """Forget a file, or everything below a folder."""
    delete_files(call.tx, request.path.rstrip("/"))
    return {}


def part_credentials(request: BeginParts, url: str) -> dict[str, object]:
    """Return where the parts of a large upload go: to ``url`` with their number behind it."""
    if not 1 <= request.num_parts <= MOST_PARTS:
        raise Invalid(
            f"an upload in {request.num_parts} parts", hint=f"Send 1 to {MOST_PARTS:,} parts."
        )
    target_of(request.artifact_path, request.path)
    credentials = [
        {"url": f"{url}/{number}", "part_number": number, "headers": {}}
        for number in range(1, request.num_parts + 1)
    ]
    return {"upload_id": secrets.token_hex(16), "credentials": credentials}


def digests_in_order(request: EndParts) -> list[str]:
    """Return the digests of the parts in the order of their numbers; raises Invalid."""
    ordered = sorted(request.parts, key=lambda part: part.part_number)
    numbers = [part.part_number for part in ordered]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise Invalid(
            f"the parts {numbers[:20]} are not 1, 2, 3 and so on",
            hint="Name every part once, with the etag that its upload was answered with.",
        )
    return [part.etag.strip('"') for part in ordered]


def target_of(folder: str, local_file: str) -> str:
    """Return where a file that a client names by its own path goes in the tree; raises Invalid."""
    name = local_file.replace("\\", "/").rpartition("/")[2]
    path = f"{folder.rstrip('/')}/{name}"
    check_path(path)
    return path
