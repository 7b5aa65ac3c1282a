"""Networks of PyTorch and Keras, as MLflow opens them, compiled through torch's exporter."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from everfit.compiling import CompiledModel, compile_model, prove
from everfit.packages import Field, FittedModel, Kind, ScoreTable, Signature, adapted

# Read when they are imported.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["KERAS_BACKEND"] = "torch"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import keras
    import mlflow
    import mlflow.keras
    import mlflow.pyfunc
    import mlflow.pytorch
    from mlflow.models import infer_signature

pytestmark = pytest.mark.filterwarnings("ignore")
NAMES = ("a", "b", "c")
ROWS = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
FRAME = pl.DataFrame({name: ROWS[:, place] for place, name in enumerate(NAMES)})


def torch_net(width: int, last: Any) -> Any:
    torch.manual_seed(0)
    layers = [torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.BatchNorm1d(8)]
    return torch.nn.Sequential(*layers, torch.nn.Linear(8, width), last).eval()


def keras_net(width: int, activation: str) -> Any:
    keras.utils.set_random_seed(0)
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Input((3,)),
            layers.Dense(8, activation="tanh"),
            layers.Dropout(0.5),
            layers.Dense(width, activation=activation),
        ]
    )


def save_torch(net: Any, path: Path) -> None:
    signature = infer_signature(ROWS, net(torch.tensor(ROWS)).detach().numpy())
    mlflow.pytorch.save_model(
        net,
        str(path),
        signature=signature,
        serialization_format="pickle",
        pip_requirements=["everfit"],
    )


def save_keras(net: Any, path: Path) -> None:
    signature = infer_signature(ROWS, net.predict(ROWS, verbose=0))
    mlflow.keras.save_model(net, str(path), signature=signature, pip_requirements=["everfit"])


CASES: dict[str, tuple[Callable[[], Any], Callable[[Any, Path], None], tuple[str, ...]]] = {
    "torch classes": (lambda: torch_net(2, torch.nn.Softmax(1)), save_torch, ("no", "yes")),
    "torch values": (lambda: torch_net(1, torch.nn.Identity()), save_torch, ()),
    "keras classes": (lambda: keras_net(3, "softmax"), save_keras, ("x", "y", "z")),
    "keras values": (lambda: keras_net(1, "linear"), save_keras, ()),
}


@pytest.mark.parametrize("case", CASES)
def test_a_network_answers_the_same_compiled(case: str, tmp_path: Path) -> None:
    make, save, classes = CASES[case]
    save(make(), tmp_path / "model")
    model: Any = mlflow.pyfunc.load_model(str(tmp_path / "model"), suppress_warnings=True)
    signature = Signature(
        inputs=tuple(Field(name=name, kind=Kind.NUMBER) for name in NAMES),
        output=Field(name="y", kind=Kind.TEXT if classes else Kind.NUMBER),
        task="classification" if classes else "regression",
        classes=classes,
    )
    opened = ScoreTable(model, classes) if classes else model
    types = dict.fromkeys(NAMES, "float")
    native = FittedModel(adapted(opened, types, matrix=True), signature)
    compiled = CompiledModel(compile_model(native), signature)
    found = prove(native, compiled, FRAME)
    assert found.equal, f"{found}: {found.shown}"
    assert found.largest < 1e-6
