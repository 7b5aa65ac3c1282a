"""What is recorded of runs, through the real command."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

from everfit.kernel import load_settings, open_workspace
from everfit.tracking import (
    RunStatus,
    create_run,
    ensure_default,
    finish_run,
    log_metrics,
    log_params,
    metric_history,
    set_tags,
    update_run,
)

from .conftest import Command


@pytest.fixture
def ids(tmp_path: Path) -> list[str]:
    """Three runs in the folder, as clients log them: no policy is needed to look at them."""
    workspace = open_workspace(load_settings(tmp_path, environment={}), durable=False)
    made = []
    with workspace.transaction() as tx:
        ensure_default(tx)
        for number in range(3):
            run = create_run(tx, "0", name=f"r{number}", actor="ada").run
            log_params(tx, run.id, {"depth": str(number), "seed": "0"})
            log_metrics(tx, run.id, {"mae": 4.0 - number, "r2": 0.5})
            set_tags(tx, run.id, {"team": "a"})
            if number:
                finish_run(tx, run.id, RunStatus.FINISHED)
            made.append(run.id)
        update_run(tx, made[2], name="r1")
    workspace.close()
    return made


def test_runs_are_listed_with_their_metrics(here: Command, tmp_path: Path, ids: list[str]) -> None:
    done = here("runs", str(tmp_path), "--sort", "metrics.mae")
    lines = done.stdout.splitlines()
    assert lines[0].split()[-2:] == ["mae", "r2"]
    assert [line.split()[0] for line in lines[1:4]] == ids[::-1]
    assert lines[1].split()[-2:] == ["2", "0.5"]


def test_runs_are_filtered_and_the_rest_is_told(
    here: Command, tmp_path: Path, ids: list[str]
) -> None:
    asked = ["--filter", "params.depth != '0'", "--columns", "id,params.depth", "--limit", "1"]
    done = here("runs", str(tmp_path), *asked, "--sort", "params.depth")
    assert done.stdout.split()[:4] == ["id", "params.depth", ids[1], "1"]
    assert "and more runs behind these 1" in done.stdout


def test_machines_read_json(here: Command, tmp_path: Path, ids: list[str]) -> None:
    every = json.loads(here("runs", str(tmp_path), "--json").stdout)
    assert {run["id"]: run["params"]["depth"] for run in every} == dict(
        zip(ids, "012", strict=True)
    )
    chosen = here(
        "runs", str(tmp_path), "--json", "--columns", "name,metrics.mae", "--sort", "run_id"
    )
    assert json.loads(chosen.stdout)[0] == {"name": "r0", "metrics.mae": 4.0}


def test_wrong_questions_say_what_to_write(here: Command, tmp_path: Path, ids: list[str]) -> None:
    for asked, expected in (
        (("--columns", "colour"), "found 'colour'"),
        (("--filter", "metrics.mae ~ 4"), "the filter of runs"),
        (("--experiment", "boats"), "boats: found no experiment of this name"),
    ):
        done = here("runs", str(tmp_path), *asked)
        assert done.returncode == 1
        assert expected in done.stderr


def test_a_folder_without_records_gets_none_by_looking(here: Command, tmp_path: Path) -> None:
    done = here("runs", str(tmp_path))
    assert done.returncode == 1
    assert "nothing is recorded in" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_runs_are_compared_by_what_is_short_to_write(
    here: Command, tmp_path: Path, ids: list[str]
) -> None:
    done = here("diff", "r0", ids[1], "--in", str(tmp_path))
    words = done.stdout.split()
    assert [words[words.index("depth") + place] for place in (1, 2)] == ["0", "1"]
    assert words[words.index("mae") + 3] == "-25.0%"
    assert "seed" not in words
    assert "seed" in here("diff", "r0", ids[1], "--in", str(tmp_path), "--all").stdout
    several = here("diff", "r0", "r1", "--in", str(tmp_path))
    assert several.returncode == 1
    assert all(text in several.stderr for text in ("may mean several runs", *ids[1:]))


POLICY = """\
model: small
task: regression
data: {source: rows.csv, target: y}
train: {candidates: {linear: {}}}
gate: [{better: {}}]
"""
CHANCE = """\
import random
import polars as pl

def prepared(collected: pl.DataFrame) -> pl.DataFrame:
    return collected.with_columns(pl.col("a") + random.SystemRandom().random() / 1000)
"""


def test_a_training_is_run_again_and_the_verdict_stays_with_it(
    here: Command, tmp_path: Path
) -> None:
    chance = random.Random(0)
    pairs = [(chance.random(), chance.random()) for _ in range(300)]
    lines = [f"{a},{b},{2 * a - b + chance.random() / 10}" for a, b in pairs]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,y", *lines]) + "\n")
    (tmp_path / "everfit.yaml").write_text(POLICY)
    assert here("run", str(tmp_path)).returncode == 0
    (tmp_path / "pipeline.py").write_text(CHANCE)
    assert here("run", str(tmp_path)).returncode == 0
    lucky, steady = [run["id"] for run in json.loads(here("runs", str(tmp_path), "--json").stdout)]

    same = here("reproduce", steady, "--in", str(tmp_path))
    assert same.returncode == 0, same.stderr
    assert same.stdout.splitlines()[-1] == f"{steady}: identical"
    other = here("reproduce", lucky, "--in", str(tmp_path))
    assert other.returncode == 1
    assert "'prepared' differs first, by 0." in other.stdout

    told = here("runs", str(tmp_path), "--columns", "id,tags.everfit.reproduced").stdout.split()
    assert told[2:] == [lucky, "different:", "prepared", steady, "identical"]
    why = here("why", lucky, "--in", str(tmp_path)).stdout
    assert re.search(r"^reproduced \d{4}-\d\d-\d\d \d\d:\d\d: different: prepared$", why, re.M)


def test_what_a_client_logged_cannot_be_run_again(
    here: Command, tmp_path: Path, ids: list[str]
) -> None:
    done = here("reproduce", "r0", "--in", str(tmp_path))
    assert done.returncode == 1
    assert f"run {ids[0]} was logged by a client" in done.stderr


LOGGING = """
import everfit
import polars as pl

def prepared(collected: pl.DataFrame) -> pl.DataFrame:
    everfit.log_params(origin="market")
    for epoch in range(5):
        everfit.log(loss=1 / (epoch + 1))
    return collected
"""


def test_what_a_step_logs_is_listed_with_the_training(everfit: Command, tmp_path: Path) -> None:
    chance = random.Random(0)
    pairs = [(chance.random(), chance.random()) for _ in range(300)]
    rows = [f"{a},{b},{a - b + chance.random() / 10}" for a, b in pairs]
    (tmp_path / "rows.csv").write_text("\n".join(["a,b,y", *rows]))
    (tmp_path / "everfit.yaml").write_text(POLICY)
    (tmp_path / "pipeline.py").write_text(LOGGING)
    done = everfit("run")
    assert done.returncode == 0, done.stdout + done.stderr
    listed = json.loads(everfit("runs", "--json").stdout)
    [run] = [run for run in listed if run["kind"] == "training"]
    assert len(listed) == 1
    assert (run["status"], run["params"]["origin"]) == ("finished", "market")
    assert run["metrics"]["loss"] == 0.2
    assert "mae" in run["metrics"]
    workspace = open_workspace(load_settings(tmp_path, environment={}), durable=False)
    with workspace.reading() as tx:
        points = metric_history(tx, run["id"], "loss")
    workspace.close()
    assert [(point.step, point.value) for point in points] == [
        (epoch, 1 / (epoch + 1)) for epoch in range(5)
    ]
