"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import everfit
from everfit import errors

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src/everfit"
FILES = sorted(PACKAGE.rglob("*.py"))
LONG_FILES: dict[str, str] = {}  # path -> why
LONG_FUNCTIONS: dict[str, str] = {}
# Where a broad `except` may stand: the server's last resort, the worker loop, the plug-in loader.
BROAD: dict[str, str] = {
    "compiling/attempt.py": "converters of other projects raise anything; the native model serves",
    "compiling/prove.py": "a user's model can raise anything; it counts as a row refused",
    "kernel/committer.py": "a work can raise anything; whoever submitted it gets it",
    "kernel/worker.py": "the worker loop records the error of a job and goes on",
    "web/asgi.py": "the last resort of a server",
    "server/app.py": "the last resort of the control plane, in the words of MLflow",
    "serving/process.py": "a refresh that failed is logged; the next one comes in half a second",
    "automation/loop.py": "the control loop logs a turn that failed and goes on",
    "serving/batches.py": "what writes an answer may fail; the one who asked is told",
    "steps/worker.py": "a step's error crosses the process boundary",
    "serving/rpc/batches.py": "a thread that callers wait for; each of them gets the error",
    "serving/rpc/server.py": "the last resort of a server",
    "serving/core.py": "a user's model can raise anything; the champion answers instead",
}


def _errors(
    cls: type[errors.EverfitError] = errors.EverfitError,
) -> Iterator[type[errors.EverfitError]]:
    yield cls
    for sub in cls.__subclasses__():
        yield from _errors(sub)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400 or path.name in LONG_FILES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            doc = ast.get_docstring(node, clean=False) or ""
            body = (node.end_lineno or 0) - node.body[0].lineno + 1 - (doc.count("\n") + 1)
            assert body <= 40 or node.name in LONG_FUNCTIONS, f"{node.name}: {body} lines"
            positional = [a.arg for a in node.args.posonlyargs + node.args.args]
            count = len([a for a in positional if a not in ("self", "cls")])
            assert count <= 5, f"{node.name}: {count} positional parameters"


PRIVATE = {"store", "tables", "service", "http", "cli"}
ROOTS = {"cli", "server"}  # composition roots wire every room


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_rooms_meet_at_their_front_door(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0]
    for node in ast.walk(ast.parse(path.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{a.name}" for a in node.names]
        for name in names:
            parts = name.split(".")
            if room not in ROOTS and parts[0] == "everfit" and len(parts) > 2 and parts[1] != room:
                assert parts[2] not in PRIVATE, f"{path}: import everfit.{parts[1]}, not {name}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_refused_names_and_habits_are_absent(path: Path) -> None:
    assert path.stem not in {"utils", "helpers", "common"}
    text = path.read_text()
    where = str(path.relative_to(PACKAGE))
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}:
            assert where == "kernel/settings.py", "only kernel/settings.py reads the environment"
        if isinstance(node, ast.ExceptHandler):
            names = ast.unparse(node.type) if node.type else "BaseException"
            broad = {"Exception", "BaseException"} & set(names.strip("()").split(", "))
            raises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            assert not broad or raises or where in BROAD, f"broad except at line {node.lineno}"


@pytest.mark.parametrize("error", list(_errors()), ids=lambda e: e.code)
def test_every_error_code_is_unique_and_documented(error: type[errors.EverfitError]) -> None:
    codes = [e.code for e in _errors()]
    assert codes.count(error.code) == 1
    assert f"`{error.code}`" in (ROOT / "docs/errors.md").read_text()
    assert error.__doc__


def test_public_surface_is_the_budgeted_one() -> None:
    assert everfit.__all__ == [
        "Client",
        "EverfitError",
        "Run",
        "Source",
        "Split",
        "__version__",
        "find_run",
        "log",
        "log_file",
        "log_params",
        "runs",
        "set_tags",
        "start_run",
        "step",
    ]
    assert all(getattr(everfit, name) for name in everfit.__all__)


def test_import_loads_no_heavy_library() -> None:
    heavy = ["numpy", "sqlalchemy", "starlette", "uvicorn", "polars", "sklearn", "msgspec"]
    code = f"import sys, everfit; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_no_heavy_library() -> None:
    heavy = ["numpy", "sqlalchemy", "polars", "sklearn", "rich"]
    code = (
        "import sys\nfrom everfit.cli import everfit\n"
        "everfit.main(['--help'], standalone_mode=False)\n"
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


@pytest.mark.parametrize("page", ["errors.md", "cli.md", "mlflow.md"])
def test_generated_pages_are_up_to_date(page: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs/generate.py", "--check", page],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
