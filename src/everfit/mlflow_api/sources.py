"""Where a client says that a model's files are, and where they are then.

A source must lie inside what the client names with it: a run, a logged model, a version. Paths of
the machine, and paths that climb out of their root in any writing, are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from everfit.errors import Invalid
from everfit.mlflow_api.dispatch import Call
from everfit.packages import (
    FLAVOR,
    FOLDER,
    File,
    OutsideManifest,
    describe,
    encode_outside,
    mlmodel_file,
    read_manifest,
)
from everfit.registry import ModelVersion, get_version, resolve_alias
from everfit.tracking import (
    artifact_folder,
    files_below,
    get_logged_model,
    get_run,
    model_folder,
)

LONGEST = 5_000
_MODEL = re.compile(r"models:/(?P<name>[^/@]+)(/(?P<number>\d+)|@(?P<alias>[^/]+))?")
_RUN = re.compile(r"runs:/(?P<run>[^/]+)/?(?P<path>.*)")
# Without a server name, and with the folder of a project before the tree.
_LOGGED = re.compile(r"m-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source that was found to be sound: as it was written, and where its files are.

    ``folder`` is their place in the tree of artifacts, None where they are somewhere else;
    ``version`` is the one that the source names, if it names one.
    """

    uri: str
    location: str
    folder: str | None = None
    run: str | None = None
    logged_model: str | None = None

    version: ModelVersion | None = None

    def packaged(self, call: Call) -> dict[str, Any]:
        """Return the package of the files, or why there is none."""
        if self.version is not None and self.version.package is not None:
            return {
                "package": self.version.package,
                "signature": self.version.signature,
                "algorithm": self.version.algorithm,
            }
        if self.folder is None:
            return {"unpackaged": "its files lie outside of this installation"}
        try:
            return _packed(call, _manifest(call, self.folder))
        except Invalid as error:
            return {"unpackaged": error.message}


def _manifest(call: Call, folder: str) -> OutsideManifest:
    """Return what there is to be packed below a folder; raises Invalid, saying why nothing is."""
    files = [
        File(path=found.name.removeprefix(f"{folder}/"), digest=found.digest, bytes=found.bytes)
        for found in files_below(call.tx, folder)
    ]
    return describe(call.blobs.get(mlmodel_file(files).digest), files)


def _packed(call: Call, manifest: OutsideManifest) -> dict[str, Any]:
    if manifest.flavor != FLAVOR:
        package = call.blobs.put(encode_outside(manifest))
        signature, algorithm = manifest.signature, manifest.flavor
    else:
        # Made by Everfit, here or elsewhere: the package is one already.
        package = manifest.main_file.digest
        held = read_manifest(call.blobs.get(package))
        signature, algorithm = held.signature, held.estimator
    return {"package": package, "signature": signature, "algorithm": algorithm}


def own_folder(call: Call, run: str) -> str:
    """Return where the files of a version lie that the training ``run`` made; raises NotFound."""
    return f"{artifact_folder(get_run(call.tx, run))}/{FOLDER}"


def found_source(call: Call, uri: str, run: str | None, logged: str | None) -> Source:
    """Return where the files of ``uri`` are.

    Raises
    ------
    Invalid
        If it is a path of this machine, leads out of its root, or out of ``run`` or ``logged``.
    NotFound
        If it names a run, a logged model or a version that is not there.
    """
    _refuse_unsafe(uri)
    run, logged = run or None, logged or None
    inside = call.api.tree_path(uri)
    if inside is not None:
        return _in_tree(call, inside, run, logged)
    if uri.startswith("runs:"):
        return _of_run(call, uri, run)
    if uri.startswith("models:"):
        return _of_model(call, uri, run, logged)
    return Source(uri=uri, location=uri, run=run, logged_model=logged)


def _refuse_unsafe(uri: str) -> None:
    plain, before = uri, ""
    while plain != before:
        plain, before = unquote(plain), plain
    scheme = urlsplit(uri).scheme
    parts = re.split(r"[/\\?#;]", plain)
    if ".." in parts or "\0" in plain or any(ord(letter) < 32 for letter in plain):
        raise _invalid(uri, "it leads out of its root")
    # One letter is the drive of a path.
    if scheme in ("", "file") or len(scheme) == 1 or "\\" in plain:
        raise _invalid(uri, "it is a path of a machine")
    if len(uri) > LONGEST:
        raise _invalid(uri, f"it is longer than {LONGEST:,} characters")


def _in_tree(call: Call, path: str, run: str | None, logged: str | None) -> Source:
    roots = []
    if logged is not None:
        roots.append(model_folder(get_logged_model(call.tx, logged).model))
    if run is not None:
        roots.append(artifact_folder(get_run(call.tx, run)))
    if not any(path == root or path.startswith(f"{root}/") for root in roots):
        raise _invalid(
            call.api.artifact_uri(path), "it lies in no run and no logged model that was named"
        )
    uri = call.api.stored(path)
    return Source(uri=uri, location=uri, folder=path, run=run, logged_model=logged)


def _of_run(call: Call, uri: str, run: str | None) -> Source:
    found = _RUN.fullmatch(uri)
    if found is None or (run is not None and run != found["run"]):
        raise _invalid(uri, "it is of another run than the one that was named")
    folder = artifact_folder(get_run(call.tx, found["run"]))
    folder = f"{folder}/{found['path'].strip('/')}".rstrip("/")
    return Source(uri=uri, location=call.api.stored(folder), folder=folder, run=found["run"])


def _of_model(call: Call, uri: str, run: str | None, logged: str | None) -> Source:
    found = _MODEL.fullmatch(uri)
    if found is None:
        raise _invalid(uri, "it names neither a logged model nor a version")
    name = found["name"]
    if found["number"] or found["alias"]:
        version = (
            get_version(call.tx, name, int(found["number"]))
            if found["number"]
            else resolve_alias(call.tx, name, found["alias"])
        )
        own = version.location is None and version.run is not None
        place = call.api.stored(own_folder(call, version.run or "")) if own else version.location
        return Source(
            uri=uri,
            location=place or "",
            folder=call.api.tree_path(place or ""),
            run=run or version.run,
            logged_model=logged or version.logged_model,
            version=version,
        )
    if not _LOGGED.fullmatch(name) or (logged is not None and logged != name):
        raise _invalid(uri, "it is another logged model than the one that was named")
    model = get_logged_model(call.tx, name).model
    folder = model_folder(model)
    return Source(
        uri=uri,
        location=call.api.stored(folder),
        folder=folder,
        run=run or model.source_run or None,
        logged_model=name,
    )


def _invalid(uri: str, why: str) -> Invalid:
    return Invalid(
        f"the source {uri[:200]!r} cannot be a version's: {why}",
        hint="Register runs:/RUN/PATH of a run, models:/m-ID of a logged model, or a URI of a "
        "store that clients reach by themselves.",
    )
