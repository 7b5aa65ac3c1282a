"""``everfit why``: reasons of a logged prediction on the command line."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from sklearn.linear_model import Ridge
from tests.explaining.conftest import ROWS, VALUES, fitted

from everfit.cli import everfit
from everfit.data import store_version
from everfit.deployment import parse_rollout, start_release
from everfit.kernel import load_settings, open_workspace
from everfit.packages import pack
from everfit.registry import register
from everfit.serving import ModelServer

POLICY = """
model: bike
task: regression
data: {source: hour.csv, target: cnt}
train: {candidates: {linear: {}}, metric: mae}
"""


def test_why_tells_the_reasons_in_words_and_in_numbers(tmp_path: Path) -> None:
    (tmp_path / "everfit.yaml").write_text(POLICY)
    ROWS.with_columns(VALUES).write_csv(tmp_path / "hour.csv")
    model = fitted(Ridge(), VALUES)
    workspace = open_workspace(load_settings(tmp_path, environment={}), durable=False)
    with workspace.transaction() as tx:
        dataset = store_version(tx, workspace.blobs, ROWS, name="bike").id
        number = register(
            tx,
            model="bike",
            run="run_1",
            package=workspace.blobs.put(pack(model)),
            dataset=dataset,
            profile=None,
            signature=model.signature,
            metrics={},
            algorithm="linear",
        ).number
        start_release(tx, endpoint="bike", version=number, steps=parse_rollout("100%"))
    with ModelServer(workspace, "bike", writer="w", durable=False) as server:
        answers = server.predict(ROWS[:1])
    workspace.close()
    asked = ["why", answers.ids[0], "--in", str(tmp_path)]
    said = CliRunner().invoke(everfit, asked, catch_exceptions=False)
    assert f"because hour = {ROWS['hour'][0]} " in said.output
    found = json.loads(CliRunner().invoke(everfit, [*asked, "--json"]).output)
    reasons = found["explanation"]
    assert [f"because {one}" for one in reasons["because"]] == [
        line for line in found["known"] if line.startswith("because ")
    ]
    total = reasons["base"] + sum(part["amount"] for part in reasons["contributions"])
    assert abs(total - answers.predictions[0]) < 1e-9
    other = json.loads(CliRunner().invoke(everfit, ["why", "v1", *asked[2:], "--json"]).output)
    assert other.keys() == {"id", "known"}
