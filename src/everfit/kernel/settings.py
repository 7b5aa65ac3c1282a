"""Settings of an installation: defaults, then ``settings.toml`` in its home, then ``EVERFIT_*``.

The only place that reads the environment.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from everfit.errors import Problem, SettingsInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How this installation runs. Each field is a line of ``settings.toml`` or ``EVERFIT_NAME``."""

    home: Path
    project: str
    database_url: str
    log_to: str = ""
    busy_seconds: float = 30.0
    workers: int = 0
    host: str = "127.0.0.1"
    port: int = 8080
    server_port: int = 5000
    max_body_bytes: int = 16 * 1024 * 1024
    max_artifact_bytes: int = 100 * 1024**3
    max_columns: int = 2_000
    lease_seconds: float = 30.0
    idle_seconds: float = 0.0
    currency: str = "EUR"
    price_per_cpu_hour: float = 0.04
    price_per_gib_hour: float = 0.005
    traces_to: str = ""
    actor: str = "everfit"

    @property
    def step_processes(self) -> int:
        """Return how many steps run at once: ``workers``, or one per core where it is 0."""
        return self.workers or os.cpu_count() or 1


# Below the home: the name that the project had when it was first opened.
PROJECT_FILE = "project"
# Where a collector of OpenTelemetry listens unless told otherwise.
OTLP = "http://localhost:4318"
POLICY_FILE = "everfit.yaml"
NUMBERS = {"busy_seconds", "lease_seconds", "max_artifact_bytes", "max_body_bytes", "max_columns"}


def _project_name(home: Path, folder: Path) -> str:
    """Return the name kept since the project was first opened, else that of its folder."""
    try:
        return (home / PROJECT_FILE).read_text(encoding="utf-8").strip() or folder.name
    except (OSError, UnicodeDecodeError):
        return folder.name


def load_settings(folder: Path, *, environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of the project in ``folder``.

    Raises
    ------
    SettingsInvalid
        Naming every setting that is unknown or has a value of the wrong kind.
    """
    folder = folder.resolve()
    environment = os.environ if environment is None else environment
    home = Path(environment.get("EVERFIT_HOME", folder / ".everfit"))
    values: dict[str, Any] = {
        "home": home,
        "project": _project_name(home, folder),
        "database_url": f"sqlite:///{home / 'everfit.db'}",
        "traces_to": _traces_to(environment),
        "actor": environment.get("USER") or environment.get("LOGNAME") or "everfit",
    }
    problems: list[Problem] = []
    for name, (value, path) in _given(home, environment).items():
        field = _FIELDS.get(name)
        if field is None:
            near = ", ".join(sorted(_FIELDS))
            problems.append(Problem(path=path, found="an unknown name", remedy=f"use {near}"))
            continue
        try:
            values[name] = _parse(field.type, value, positive=name in NUMBERS)
        except (ValueError, TypeError):
            problems.append(Problem(path=path, found=repr(value), remedy=_remedy(field)))
    if problems:
        raise SettingsInvalid.of("settings", problems, hint="Correct them all, then start again.")
    return Settings(**values)


def nearest_project(folder: Path) -> Path:
    """Return the folder itself or the nearest one above it that is a project, else the folder."""
    folder = folder.resolve()
    for candidate in (folder, *folder.parents):
        if (candidate / POLICY_FILE).exists() or (candidate / ".everfit" / PROJECT_FILE).exists():
            return candidate
    return folder


def state_folder(environment: Mapping[str, str] | None = None) -> Path:
    """Return where this user's programs keep what belongs to no project: as XDG says."""
    environment = os.environ if environment is None else environment
    given = environment.get("XDG_STATE_HOME", "")
    root = Path(given) if Path(given).is_absolute() else Path.home() / ".local/state"
    return root / "everfit"


def _traces_to(environment: Mapping[str, str]) -> str:
    """Return where OpenTelemetry's own variables send traces over OTLP, or nothing."""
    exporters = environment.get("OTEL_TRACES_EXPORTER", "")
    wanted = not exporters or "otlp" in [name.strip() for name in exporters.split(",")]
    if not wanted or environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return ""
    base = environment.get("OTEL_EXPORTER_OTLP_ENDPOINT") or (exporters and OTLP)
    whole = f"{base.rstrip('/')}/v1/traces" if base else ""
    return environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or whole


_FIELDS = {field.name: field for field in dataclasses.fields(Settings)}


def _given(home: Path, environment: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    """Return each value that was set, with the place where; the environment wins."""
    file = home / "settings.toml"
    given: dict[str, tuple[Any, str]] = {}
    if file.exists():
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise SettingsInvalid(f"{file}: {error}", hint="Write it as TOML in UTF-8.") from error
        given |= {name: (value, f"{file}: {name}") for name, value in content.items()}
    for variable, value in environment.items():
        if variable.startswith("EVERFIT_"):
            given[variable.removeprefix("EVERFIT_").lower()] = (value, variable)
    return given


def _parse(kind: Any, value: Any, *, positive: bool) -> Any:
    if kind == "Path":
        return Path(value)
    if kind == "str":
        if not isinstance(value, str) or not value:
            raise ValueError(value)
        return value
    if isinstance(value, bool):
        raise TypeError(value)
    number = float(value)
    if kind == "int":
        # Through text: int() alone would cut 2.7 to 2 without a word.
        number = int(str(value))
    if not (0 < number < float("inf") if positive else 0 <= number < float("inf")):
        raise ValueError(value)
    return number


def _remedy(field: dataclasses.Field[Any]) -> str:
    kinds = {"int": "a whole number", "float": "a number", "str": "a text", "Path": "a path"}
    above = " above 0" if field.name in NUMBERS else ""
    return f"write {kinds[str(field.type)]}{above}"
