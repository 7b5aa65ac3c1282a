"""docs/settings.md names every setting with the default that it has."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path

from everfit.kernel import Settings, load_settings

PAGE = Path(__file__).resolve().parents[2] / "docs/settings.md"
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", re.MULTILINE)


def test_every_setting_is_on_the_page_with_its_default(tmp_path: Path) -> None:
    rows = {name: default for name, default, _ in ROW.findall(PAGE.read_text())}
    assert list(rows) == [field.name for field in dataclasses.fields(Settings)]
    settings = load_settings(tmp_path, environment={})
    plain = {name: text.strip("`") for name, text in rows.items() if text.startswith("`")}
    assert plain.pop("home") == settings.home.name
    found = {name: format(getattr(settings, name), "") for name in plain}
    assert {name: value.removesuffix(".0") for name, value in found.items()} == plain


def test_the_example_is_read(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / ".everfit").mkdir()
    (tmp_path / ".everfit/settings.toml").write_text(example)
    settings = load_settings(tmp_path, environment={})
    for name, value in tomllib.loads(example).items():
        assert getattr(settings, name) == value
