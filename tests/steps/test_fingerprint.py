"""The same code is found again; any change that can matter is another code."""

from __future__ import annotations

from pathlib import Path

import pytest

from everfit.errors import PipelineInvalid
from everfit.steps.fingerprint import fingerprint

PIPELINE = """
import math
import features
from features import lags as make_lags
from pack import tools

FACTOR = 3
TABLE = {}
TABLE["a"] = 1

def _scaled(value):
    return value * FACTOR

class Model:
    def fit(self, value):
        return _deep(value)

def _deep(value):
    return value + 1

def first(start: int) -> int:
    return _scaled(start)

def second(first: int) -> int:
    return first + features.weekly(first) + make_lags(first)

def third(first: int, second: int) -> Model:
    return Model().fit(first)

def fourth(third: int) -> int:
    return tools.sharpen(third)
"""
FEATURES = "BASE = 7\n\ndef weekly(x):\n    return x % BASE\n\ndef lags(x):\n    return x - 1\n"
TOOLS = "from .steel import edge\n\ndef sharpen(x):\n    return edge(x)\n"
STEEL = "def edge(x):\n    return x\n\ndef rust(x):\n    return 0\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pack").mkdir()
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    (tmp_path / "features.py").write_text(FEATURES)
    (tmp_path / "pack/__init__.py").write_text("")
    (tmp_path / "pack/tools.py").write_text(TOOLS)
    (tmp_path / "pack/steel.py").write_text(STEEL)
    return tmp_path


def _all(folder: Path) -> dict[str, str]:
    names = ("first", "second", "third", "fourth")
    return {name: fingerprint(f"{folder / 'pipeline.py'}:{name}") for name in names}


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("pipeline.py", "return _scaled(start)", "return _scaled( start )  # scaled", ""),
        ("pipeline.py", "def first(", "\n# what is first\n\ndef first(", ""),
        ("pipeline.py", "    return value + 1", '    """Add one."""\n    return value + 1', ""),
        ("features.py", "BASE = 7", "# days\nBASE = 7", ""),
        ("pack/steel.py", "return 0", "return 1", ""),
        ("pipeline.py", "return _scaled(start)", "return _scaled(start) + 1", "first"),
        ("pipeline.py", "value * FACTOR", "value / FACTOR", "first"),
        ("pipeline.py", "FACTOR = 3", "FACTOR = 4", "first"),
        ("pipeline.py", "value + 1", "value + 2", "third"),
        ("pipeline.py", "start: int", "start: int = 5", "first"),
        ("pipeline.py", 'TABLE["a"] = 1', 'TABLE["a"] = 2', "first second third fourth"),
        ("pipeline.py", "import lags as", "import weekly as", "second"),
        ("features.py", "x % BASE", "x // BASE", "second"),
        ("features.py", "BASE = 7", "BASE = 30", "second"),
        ("features.py", "x - 1", "x - 2", "second"),
        ("pack/steel.py", "return x", "return -x", "fourth"),
    ],
)
def test_changes_count_where_they_matter(
    folder: Path, file: str, old: str, new: str, changed: str
) -> None:
    before = _all(folder)
    text = (folder / file).read_text()
    assert text.count(old) == 1
    (folder / file).write_text(text.replace(old, new))
    after = _all(folder)
    assert {name for name in before if before[name] != after[name]} == set(changed.split())


def test_a_star_import_is_followed(folder: Path) -> None:
    text = PIPELINE.replace("from features import lags as make_lags", "from features import *")
    (folder / "pipeline.py").write_text(text.replace("make_lags", "lags"))
    before = _all(folder)
    (folder / "features.py").write_text(FEATURES.replace("x - 1", "x - 2"))
    assert before["second"] != _all(folder)["second"]


def test_two_submodules_of_one_package_are_both_followed(folder: Path) -> None:
    text = "import pack.steel\nimport pack.tools\n\ndef f(x: int) -> int:\n    return "
    (folder / "pipeline.py").write_text(text + "pack.steel.rust(x)\n")
    before = fingerprint(f"{folder / 'pipeline.py'}:f")
    (folder / "pack/steel.py").write_text(STEEL.replace("return 0", "return 1"))
    assert before != fingerprint(f"{folder / 'pipeline.py'}:f")


def test_an_import_inside_the_function_is_followed(folder: Path) -> None:
    text = "def f(x: int) -> int:\n    from features import lags\n    return lags(x)\n"
    (folder / "pipeline.py").write_text(text)
    before = fingerprint(f"{folder / 'pipeline.py'}:f")
    (folder / "features.py").write_text(FEATURES.replace("x - 1", "x - 2"))
    assert before != fingerprint(f"{folder / 'pipeline.py'}:f")


def test_functions_of_one_library_file_differ() -> None:
    one, two = (fingerprint(f"everfit.steps.codec:{name}") for name in ("encode", "decode"))
    assert one != two


def test_recursion_ends(tmp_path: Path) -> None:
    (tmp_path / "p.py").write_text("def a(x):\n    return b(x)\n\ndef b(x):\n    return a(x)\n")
    one, two = (fingerprint(f"{tmp_path / 'p.py'}:{name}") for name in "ab")
    assert one != two


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("def a(:\n    pass\n", "a", r"p\.py:1: found a syntax error"),
        ("x = 1\n", "a", r"p\.py: found no 'a'"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, text: str, name: str, said: str) -> None:
    (tmp_path / "p.py").write_text(text)
    with pytest.raises(PipelineInvalid, match=said):
        fingerprint(f"{tmp_path / 'p.py'}:{name}")


@pytest.mark.parametrize("where", ["/no/such.py", "no_such_module", "everfit.no_such"])
def test_a_missing_file_is_said(where: str) -> None:
    with pytest.raises(PipelineInvalid, match="no such"):
        fingerprint(f"{where}:f")
