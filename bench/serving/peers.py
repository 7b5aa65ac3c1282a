"""The peers' own environments, one folder each: made by pip, by name, and found again."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

from bench.serving.kinds import APPS
from bench.serving.project import Model

NEEDED = {
    "mlflow": ("mlflow",),
    "bentoml": ("bentoml",),
    "litserve": ("litserve",),
    "fastapi": ("fastapi", "uvicorn", "uvloop", "httptools"),
}
# The estimator is opened by the versions that it was made with.
SAME = ("scikit-learn", "numpy", "pandas", "joblib")


def make(folder: Path) -> None:
    """Make an environment for each peer that has none."""
    same = [f"{name}=={version(name)}" for name in SAME]
    for name, packages in NEEDED.items():
        if not python_of(folder, name).exists():
            print(f"{name}: {', '.join(packages)}", flush=True)
            subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
            install = [str(python_of(folder, name)), "-m", "pip", "install", "--quiet"]
            subprocess.run([*install, *same, *packages], check=True)


def python_of(folder: Path, name: str) -> Path:
    """Return a peer's interpreter."""
    return folder / name / "bin" / "python"


def there(folder: Path | None) -> list[str]:
    """Return the peers that have an environment."""
    return [name for name in NEEDED if folder and python_of(folder, name).exists()]


def versions(folder: Path, name: str) -> str:
    """Return which version of itself a peer is, with the server that it stands on."""
    told = (
        "from importlib.metadata import version\n"
        f"print(*(p + ' ' + version(p) for p in dict.fromkeys(({name!r}, 'uvicorn'))), sep=', ')"
    )
    return _told(python_of(folder, name), "-c", told).strip()


def save_for_mlflow(folder: Path, model: Model) -> None:
    """Save the estimator in MLflow's form."""
    script, target = APPS / "mlflow_model.py", model.folder / f"{model.name}-mlflow"
    _told(python_of(folder, "mlflow"), str(script), str(model.estimator), str(target))


def _told(python: Path, *arguments: str) -> str:
    done = subprocess.run(
        [str(python), *arguments],
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ChildProcessError(f"{python} {arguments[0]} ended with {done.stderr[-2000:]}")
    return done.stdout
