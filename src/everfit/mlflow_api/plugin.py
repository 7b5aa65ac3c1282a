"""``MLFLOW_TRACKING_URI=everfit:DIR``: MLflow's own client stores without a server.

MLflow finds these through the entry points of the installed package. Its REST stores do all the
work; only the way of a call is another one. Imported by MLflow's client alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mlflow.entities import FileInfo
from mlflow.exceptions import MlflowException, RestException
from mlflow.store.artifact.artifact_repo import ArtifactRepository, verify_artifact_path
from mlflow.store.model_registry.rest_store import _METHOD_TO_INFO
from mlflow.store.model_registry.rest_store import RestStore as RegistryRestStore
from mlflow.store.tracking.rest_store import RestStore as TrackingRestStore
from mlflow.utils.proto_json_utils import parse_dict
from mlflow.utils.rest_utils import MlflowHostCreds

from everfit.errors import EverfitError
from everfit.mlflow_api.artifacts import UNKNOWN_MEDIA, entries
from everfit.mlflow_api.local import TREE, LocalApi, local_api
from everfit.tracking import delete_files, files_below, get_file, put_file

CHUNK_BYTES = 1 << 20


def _folder(uri: str) -> Path:
    return Path(unquote(uri.partition(":")[2]) or ".").expanduser().resolve()


def _answered(api: LocalApi, where: tuple[str, str], body: str | None, response: Any) -> Any:
    """Call ``(path, method)`` and return MLflow's message filled with the answer."""
    path, method = where
    status, content = api.call(method, path, (body or "").encode())
    answer = json.loads(content)
    if status != 200:
        raise RestException(answer)
    parse_dict(js_dict=answer, message=response)
    return response


class _Store:
    """What both stores are: a REST store of MLflow's, on the project in a folder."""

    def __init__(
        self, store_uri: str, artifact_uri: str | None = None, tracking_uri: str | None = None
    ) -> None:
        super().__init__(lambda: MlflowHostCreds(store_uri))  # type: ignore[call-arg]
        self._everfit = local_api(_folder(store_uri))

    @property
    def supports_workspaces(self) -> bool:
        """Return False: a project is the folder."""
        return False


# MLflow's own bases differ in the types of what they share, and mypy tells it to who adds one.
class EverfitTrackingStore(_Store, TrackingRestStore):  # type: ignore[misc]
    """MLflow's tracking store on the project in a folder."""

    def _call_endpoint(
        self,
        api: Any,
        json_body: str | None = None,
        endpoint: str | None = None,
        retry_timeout_seconds: float | None = None,
        response_proto: Any = None,
    ) -> Any:
        known = self._V3_METHOD_TO_INFO if api in self._V3_APIS else self._METHOD_TO_INFO
        path, method = known[api]
        return _answered(
            self._everfit, (endpoint or path, method), json_body, response_proto or api.Response()
        )


class EverfitRegistryStore(_Store, RegistryRestStore):
    """MLflow's model registry on the project in a folder."""

    def _call_endpoint(
        self,
        api: Any,
        json_body: str | None,
        call_all_endpoints: bool = False,
        extra_headers: Any = None,
    ) -> Any:
        where = _METHOD_TO_INFO[api]
        return _answered(self._everfit, where, json_body, api.Response())


class EverfitArtifactRepository(ArtifactRepository):
    """Artifacts in the tree of the project that the URI names: ``…:/DIR/@/PATH``."""

    def __init__(
        self,
        artifact_uri: str,
        tracking_uri: str | None = None,
        registry_uri: str | None = None,
    ) -> None:
        super().__init__(artifact_uri, tracking_uri, registry_uri)
        folder, _, root = artifact_uri.partition(":")[2].partition(TREE)
        self._everfit = local_api(Path(folder))
        self._root = root.strip("/")

    def log_artifact(self, local_file: str, artifact_path: str | None = None) -> None:
        """Copy a file into the tree."""
        verify_artifact_path(artifact_path)
        workspace = self._everfit.workspace
        with workspace.blobs.writer() as writer, Path(local_file).open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                writer.write(chunk)
            digest, size = writer.finish()
        path = self._path(artifact_path, Path(local_file).name)
        with self._errors(), workspace.transaction() as tx:
            put_file(tx, path, digest, bytes=size, media=UNKNOWN_MEDIA)

    def log_artifacts(self, local_dir: str, artifact_path: str | None = None) -> None:
        """Copy a folder into the tree."""
        root = Path(local_dir)
        for file in sorted(path for path in root.rglob("*") if path.is_file()):
            below = file.parent.relative_to(root).as_posix()
            folder = "/".join(part for part in (artifact_path, below) if part and part != ".")
            self.log_artifact(str(file), folder or None)

    def list_artifacts(self, path: str | None = None) -> list[FileInfo]:
        """Return what lies right below a path."""
        folder = self._path(path)
        with self._errors(), self._everfit.workspace.reading() as tx:
            found = entries(files_below(tx, folder), folder)
        return [
            FileInfo(f"{path}/{one.path}" if path else one.path, one.is_dir, one.file_size)
            for one in found
        ]

    def delete_artifacts(self, artifact_path: str | None = None) -> None:
        """Forget a file, or everything below a folder."""
        with self._errors(), self._everfit.workspace.transaction() as tx:
            delete_files(tx, self._path(artifact_path))

    def _download_file(self, remote_file_path: str, local_path: str) -> None:
        workspace = self._everfit.workspace
        with self._errors(), workspace.reading() as tx:
            digest = get_file(tx, self._path(remote_file_path)).digest
        with Path(local_path).open("wb") as file, workspace.blobs.open(digest) as content:
            for chunk in content:
                file.write(chunk)

    def _path(self, *parts: str | None) -> str:
        return "/".join(part.strip("/") for part in (self._root, *parts) if part)

    @staticmethod
    def _errors() -> _Translated:
        return _Translated()


class _Translated:
    """Turns an error of Everfit's into MLflow's."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, EverfitError):
            raise MlflowException.invalid_parameter_value(f"{error.message} -> {error.hint}")
