"""Reading a project from its folder."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from everfit.automation import Asked, check_project, read_policy, start_project
from everfit.cli import everfit
from everfit.data import Role, Task
from everfit.errors import Conflict, DataInvalid, PipelineInvalid, PolicyInvalid, SourceMissing

POLICY = """\
model: m
task: regression
data: {source: rows.csv, target: y}
train: {candidates: {own: {}}, params: {limit: 5}}
"""
PIPELINE = """\
import polars as pl
from everfit import Split


def prepared(collected: pl.DataFrame, limit: int) -> pl.DataFrame:
    return collected.head(limit)


def own(segregated: Split, depth: int = 3):
    return None
"""


def test_steps_may_ask_for_the_params_of_the_policy(tmp_path: Path) -> None:
    (tmp_path / "everfit.yaml").write_text(POLICY)
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    policy, pipeline = read_policy(tmp_path)
    assert pipeline is not None
    assert policy.train.params == {"limit": 5}
    assert policy.train.candidates[0].name == "own"


def test_a_param_that_nobody_gives_is_named(tmp_path: Path) -> None:
    (tmp_path / "everfit.yaml").write_text(POLICY.replace("limit: 5", "most: 5"))
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    with pytest.raises(PipelineInvalid, match="limit"):
        read_policy(tmp_path)


def test_no_policy_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing) as caught:
        read_policy(tmp_path)
    assert "everfit init" in caught.value.hint


def test_a_policy_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "everfit.yaml").write_bytes(b"model: caf\xe9\n")
    with pytest.raises(PolicyInvalid, match="not UTF-8"):
        read_policy(tmp_path)


def table(folder: Path) -> Path:
    rows = "".join(
        f"{i},{i % 7},{i % 5 + i % 3},{(i % 5 + i % 3) * 2 + i % 7}\n" for i in range(300)
    )
    path = folder / "rows.csv"
    path.write_text("n,a,b,y\n" + rows)
    return path


def test_a_started_project_is_valid_and_never_overwritten(tmp_path: Path) -> None:
    data = table(tmp_path)
    folder = tmp_path / "project"
    started = start_project(folder, data=str(data), target="y")
    assert {file.name for file in started.files} == {"everfit.yaml", "pipeline.py"}
    _, schema = check_project(folder)
    assert schema is not None
    assert schema.target == "y"
    with pytest.raises(Conflict, match="exists already"):
        start_project(folder, data=str(data), target="y")


def test_init_leaves_out_what_gives_the_target_away(tmp_path: Path) -> None:
    started = start_project(tmp_path / "project", data=str(table(tmp_path)), target="y")
    # y = 2 b + a to the letter.
    assert {name for leak in started.leaks for name in leak.columns} == {"a", "b"}
    policy, _ = read_policy(tmp_path / "project")
    assert set(policy.data.exclude) == {"a", "b"}


@pytest.mark.parametrize(
    ("file", "target", "name"),
    [
        ("Ünïcode rows.csv", "y", "unicode-rows"),
        ("123.csv", "on", "123"),
        ("---.csv", 'a "b": [c]', "model"),
        (f"{'x' * 90}.csv", "#y, {z}", "x" * 64),
    ],
)
def test_any_names_make_a_policy_that_is_read_back(
    tmp_path: Path, file: str, target: str, name: str
) -> None:
    rng = np.random.default_rng(0)
    rows = pl.DataFrame({"true": rng.normal(size=300), target: rng.normal(size=300)})
    rows.write_csv(tmp_path / file)
    folder = tmp_path / "project"
    start_project(folder, data=str(tmp_path / file), target=target)
    policy, schema = check_project(folder)
    assert (policy.model, policy.data.target) == (name, target)
    assert schema is not None


def test_a_project_starts_from_a_table_of_a_database(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(300, 2)).tolist()
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database, database:
        database.execute("CREATE TABLE rows (a REAL, y REAL)")
        database.executemany("INSERT INTO rows VALUES (?, ?)", rows)
    url = f"sqlite:///{tmp_path}/shop.db#rows"
    start_project(tmp_path / "project", data=url, target="y")
    policy, schema = check_project(tmp_path / "project")
    assert (policy.model, policy.data.source) == ("rows", url)
    assert schema is not None


def test_problems_of_the_file_and_of_the_columns_are_named_at_once(tmp_path: Path) -> None:
    table(tmp_path)
    (tmp_path / "everfit.yaml").write_text(
        "model: m\ntask: regression\n"
        "data: {source: rows.csv, target: yy, exclude: [aa], expect: {bb: {unique: true}}}\n"
        "truth: {arrives: soon}\n"
    )
    with pytest.raises(PolicyInvalid) as caught:
        check_project(tmp_path)
    assert {problem.path for problem in caught.value.problems} == {
        "truth.arrives (line 4)",
        "data.target",
        "data.exclude",
        "data.expect.bb",
    }


def test_what_init_is_told_is_written_and_holds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a, noise = rng.normal(size=(2, 400))
    start = datetime(2025, 1, 1)  # noqa: DTZ001 - as a table has it
    rows = pl.DataFrame(
        {
            "day": [f"{start + timedelta(days=i // 24):%Y-%m-%d}" for i in range(400)],
            "hr": [i % 24 for i in range(400)],
            "zip": rng.choice([10_115, 80_331], 400),
            "empty": [None] * 400,
            "a": a,
            "y": [None, *(3 * a + noise)[1:]],
        }
    )
    rows.write_csv(tmp_path / "rows.csv")
    data = str(tmp_path / "rows.csv")
    with pytest.raises(DataInvalid, match="empty") as caught:
        start_project(tmp_path / "p", data=data, target="y")
    assert "--exclude" in caught.value.hint
    assert not (tmp_path / "p/everfit.yaml").exists()
    asked = Asked(
        time="day + hr",
        task=Task.REGRESSION,
        exclude=("empty",),
        roles={"zip": Role.CATEGORY},
        drop_missing_target=True,
    )
    start_project(tmp_path / "p", data=data, target="y", asked=asked)
    policy, schema = check_project(tmp_path / "p")
    assert schema is not None
    assert (policy.data.time, policy.data.exclude) == ("day + hr", ("empty",))
    roles = {column.name: column.role for column in schema.columns}
    assert roles["zip"] is Role.CATEGORY
    assert schema.time == "time"


def test_init_names_the_columns_that_give_the_target_away(tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {"size": [one * 37 % 101 + 0.5 for one in range(200)], "kind": ["a", "b"] * 100}
    )
    frame.with_columns(y=2 * pl.col("size")).write_csv(tmp_path / "leaks.csv")
    asked = ["init", str(tmp_path), "--data", str(tmp_path / "leaks.csv"), "--target", "y"]
    said = CliRunner().invoke(everfit, asked, catch_exceptions=False)
    assert "excluded size: " in said.output
