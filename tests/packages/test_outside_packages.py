"""Models that MLflow wrote: packed by what they say, opened only as far as they can be trusted."""

from __future__ import annotations

import json
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import polars as pl
import pytest
import torch
import xgboost
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import make_pipeline

from everfit.errors import Invalid, UntrustedModel
from everfit.kernel import Workspace
from everfit.packages import File, FittedModel, Kind, describe, encode_outside, mlmodel_file
from everfit.registry import ModelVersion, create_model, create_version, load_package, trust

# Read when MLflow is imported.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import mlflow
    import mlflow.lightgbm
    import mlflow.pyfunc
    import mlflow.pytorch
    import mlflow.sklearn
    import mlflow.xgboost
    import pandas as pd
    from mlflow.models import infer_signature
    from mlflow.pyfunc.model import PythonModel

pytestmark = pytest.mark.filterwarnings("default")

# Not in the order of the alphabet: a model may insist on the order it was trained in.
ROWS = pl.DataFrame({"b": [1, 2, 4, 3] * 10, "a": [0.0, 1.0, 2.0, 3.0] * 10})
X = pd.DataFrame({name: ROWS[name].to_numpy() for name in ROWS.columns})
NUMBERS = 2.0 * X["a"] - X["b"]
LABELS = np.array(["no", "yes"])[(X["a"] > 1).astype(int)]
Save = Callable[..., None]


def log(workspace: Workspace, folder: Path) -> ModelVersion:
    """The version that a client would make of the files in a folder."""
    files = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        files.append(File(path=name, digest=workspace.blobs.put(content), bytes=len(content)))
    manifest = describe(workspace.blobs.get(mlmodel_file(files).digest), files)
    package = workspace.blobs.put(encode_outside(manifest))
    with workspace.transaction() as tx:
        create_model(tx, "bikes")
        return create_version(
            tx,
            "bikes",
            source="models:/m-1",
            package=package,
            signature=manifest.signature,
            algorithm=manifest.flavor,
        )


def trusted(workspace: Workspace, version: ModelVersion) -> FittedModel:
    with pytest.raises(UntrustedModel, match=version.require_package()) as refused:
        load_package(workspace, version)
    assert "everfit trust v1" in refused.value.hint
    with workspace.transaction() as tx:
        trust(tx, version.require_package(), "Ada", "she logged it herself")
    return load_package(workspace, version)


def saved(folder: Path, save: Save, model: Any, answers: Any, **more: Any) -> Path:
    signature = infer_signature(X, answers)
    save(model, str(folder), signature=signature, pip_requirements=["everfit"], **more)
    return folder


@pytest.mark.parametrize("form", ["pickle", "cloudpickle"])
def test_a_pickle_is_opened_when_it_is_trusted(
    workspace: Workspace, tmp_path: Path, form: str
) -> None:
    model = make_pipeline(SimpleImputer(), LogisticRegression()).fit(X, LABELS)
    folder = saved(
        tmp_path / "m", mlflow.sklearn.save_model, model, LABELS, serialization_format=form
    )
    version = log(workspace, folder)
    assert version.require_signature().classes == ()
    fitted = trusted(workspace, version)
    assert fitted.signature.classes == ("no", "yes")
    assert [field.kind for field in fitted.signature.inputs] == [Kind.INTEGER, Kind.NUMBER]
    assert fitted.warning is None
    predictions, scores = fitted.predict_both(ROWS.select("a", "b"))
    assert predictions.tolist() == LABELS.tolist()
    assert scores is not None
    assert np.allclose(scores, model.predict_proba(X))
    # A gap where training saw none reaches the imputer of the model.
    assert fitted.predict(pl.DataFrame({"a": [None], "b": [3]})).tolist() == ["yes"]


def test_skops_without_foreign_types_needs_no_trust(workspace: Workspace, tmp_path: Path) -> None:
    model = LinearRegression().fit(X, NUMBERS)
    version = log(workspace, saved(tmp_path / "m", mlflow.sklearn.save_model, model, NUMBERS))
    fitted = load_package(workspace, version)
    assert (fitted.signature.task, fitted.signature.output.kind) == ("regression", Kind.NUMBER)
    assert np.allclose(fitted.predict(ROWS), NUMBERS)


class Doubling(LinearRegression):  # type: ignore[misc]
    """A class that skops does not know."""


def test_skops_with_foreign_types_needs_trust(workspace: Workspace, tmp_path: Path) -> None:
    model = Doubling().fit(X, NUMBERS)
    named = [f"{Doubling.__module__}.Doubling"]
    folder = saved(
        tmp_path / "m", mlflow.sklearn.save_model, model, NUMBERS, skops_trusted_types=named
    )
    fitted = trusted(workspace, log(workspace, folder))
    assert np.allclose(fitted.predict(ROWS), NUMBERS)


@pytest.mark.parametrize("form", ["ubj", "json"])
def test_xgboost_needs_no_trust(workspace: Workspace, tmp_path: Path, form: str) -> None:
    model = xgboost.XGBClassifier(n_estimators=5).fit(X, (LABELS == "yes").astype(int))
    folder = saved(
        tmp_path / "m", mlflow.xgboost.save_model, model, model.predict(X), model_format=form
    )
    fitted = load_package(workspace, log(workspace, folder))
    assert fitted.signature.classes == (0, 1)
    assert fitted.predict(ROWS).tolist() == (LABELS == "yes").astype(int).tolist()


def test_boosters_give_numbers(workspace: Workspace, tmp_path: Path) -> None:
    model = xgboost.XGBRegressor(n_estimators=5).fit(X, NUMBERS)
    answers = model.predict(X)
    folder = saved(tmp_path / "m", mlflow.xgboost.save_model, model.get_booster(), answers)
    fitted = load_package(workspace, log(workspace, folder))
    assert np.allclose(fitted.predict(ROWS), answers)


@pytest.mark.parametrize("booster", [True, False])
def test_lightgbm_needs_no_trust(workspace: Workspace, tmp_path: Path, *, booster: bool) -> None:
    model = lightgbm.LGBMRegressor(n_estimators=5, min_child_samples=2, verbose=-1)
    model.fit(X, NUMBERS)
    given = model.booster_ if booster else model
    folder = saved(tmp_path / "m", mlflow.lightgbm.save_model, given, model.predict(X))
    fitted = load_package(workspace, log(workspace, folder))
    assert np.allclose(fitted.predict(ROWS), model.predict(X))


def test_labels_of_lightgbm_come_back(workspace: Workspace, tmp_path: Path) -> None:
    model = lightgbm.LGBMClassifier(n_estimators=5, min_child_samples=2, verbose=-1)
    model.fit(X, LABELS)
    folder = saved(tmp_path / "m", mlflow.lightgbm.save_model, model, LABELS)
    fitted = load_package(workspace, log(workspace, folder))
    assert fitted.signature.classes == ("no", "yes")
    assert fitted.predict(ROWS).tolist() == LABELS.tolist()


class Twice(PythonModel):
    """A model in Python."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """Return twice a column."""
        return model_input["a"] * 2


class Sided(PythonModel):
    """Scores for two classes."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """Return both scores."""
        yes = (model_input["a"] > 1).astype(float)
        return np.column_stack([1 - yes, yes])


def test_python_functions_need_trust(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    mlflow.pyfunc.save_model(
        str(folder),
        python_model=Twice(),
        signature=infer_signature(X, NUMBERS),
        pip_requirements=["everfit"],
    )
    fitted = trusted(workspace, log(workspace, folder))
    assert fitted.predict(ROWS).tolist() == (2 * X["a"]).tolist()


def test_python_functions_name_their_classes(workspace: Workspace, tmp_path: Path) -> None:
    scores = np.zeros((2, 2))
    for name, metadata in (("bare", None), ("named", {"classes": ["no", "yes"]})):
        mlflow.pyfunc.save_model(
            str(tmp_path / name),
            python_model=Sided(),
            signature=infer_signature(X, scores),
            pip_requirements=["everfit"],
            metadata=metadata,
        )
    with pytest.raises(Invalid, match="does not name its classes"):
        log(workspace, tmp_path / "bare")
    fitted = trusted(workspace, log(workspace, tmp_path / "named"))
    assert fitted.predict(ROWS).tolist() == LABELS.tolist()


def test_code_beside_a_model_is_run_by_mlflow_only(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("SIDE = 1\n")
    model = LogisticRegression().fit(X, LABELS)
    folder = saved(
        tmp_path / "m",
        mlflow.sklearn.save_model,
        model,
        LABELS,
        code_paths=[str(tmp_path / "beside.py")],
    )
    fitted = trusted(workspace, log(workspace, folder))
    scores = fitted.scores(ROWS)
    assert scores is not None
    assert np.allclose(scores, model.predict_proba(X))


def test_a_threshold_decides_as_it_was_logged(workspace: Workspace, tmp_path: Path) -> None:
    model = FixedThresholdClassifier(LogisticRegression(), threshold=0.01).fit(X, LABELS)
    folder = saved(
        tmp_path / "m", mlflow.sklearn.save_model, model, LABELS, serialization_format="pickle"
    )
    fitted = trusted(workspace, log(workspace, folder))
    assert fitted.predict(ROWS).tolist() == model.predict(X).tolist()


def test_texts_truths_and_times_arrive_as_pandas_has_them(
    workspace: Workspace, tmp_path: Path
) -> None:
    class Shown(PythonModel):
        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            row = model_input.iloc[0]
            kinds = [str(model_input[name].dtype) for name in ("whole", "small", "sure")]
            assert kinds == ["int64", "int32", "bool"]
            known = row["word"] == "x" and row["at"] == pd.Timestamp("2026-01-31T12:00:00")
            return np.array([float(known), float(pd.isna(model_input["word"].iloc[1]))])

    table = pd.DataFrame(
        {
            "whole": [1, 2],
            "small": np.array([1, 2], dtype="int32"),
            "sure": [True, False],
            "word": ["x", None],
            "at": pd.to_datetime(["2026-01-31T12:00:00", "2026-02-01T00:00:00"]),
        }
    )
    mlflow.pyfunc.save_model(
        str(tmp_path / "m"),
        python_model=Shown(),
        signature=infer_signature(table, np.array([1.0])),
        pip_requirements=["everfit"],
    )
    fitted = trusted(workspace, log(workspace, tmp_path / "m"))
    rows = pl.DataFrame(
        {
            "whole": [1, 2],
            "small": [1, 2],
            "sure": [True, False],
            "word": ["x", None],
            "at": ["2026-01-31T12:00:00Z", "2026-02-01T00:00:00Z"],
        }
    )
    assert fitted.predict(rows).tolist() == [1.0, 1.0]


def test_the_columns_of_a_matrix_are_named_beside_it(workspace: Workspace, tmp_path: Path) -> None:
    matrix = X.to_numpy(dtype="float32")
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Softmax(1))
    scores = net(torch.tensor(matrix)).detach().numpy()
    mlflow.pytorch.save_model(
        net,
        str(tmp_path / "m"),
        signature=infer_signature(matrix, scores),
        serialization_format="pickle",
        pip_requirements=["everfit"],
        metadata={"columns": list(X.columns), "classes": ["no", "yes"]},
    )
    fitted = trusted(workspace, log(workspace, tmp_path / "m"))
    found = fitted.scores(ROWS.select("a", "b"))
    assert found is not None
    assert np.allclose(found, scores)


class Hostile:
    """What an attacker would put into a model file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("claimed", ["xgboost", "lightgbm", "sklearn"])
def test_a_pickle_that_claims_to_be_harmless_is_not_run(
    workspace: Workspace, tmp_path: Path, claimed: str
) -> None:
    flavors = {
        "xgboost": {"data": "f", "model_class": "xgboost.core.Booster"},
        "lightgbm": {"data": "f", "model_class": "lightgbm.basic.Booster"},
        "sklearn": {"pickled_model": "f", "serialization_format": "skops"},
    }
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "f").write_bytes(pickle.dumps(Hostile(tmp_path / "marker")))
    (folder / "MLmodel").write_text(described({claimed: flavors[claimed]}))
    with pytest.raises(Invalid):
        load_package(workspace, log(workspace, folder))
    assert not (tmp_path / "marker").exists()


def described(
    flavors: Any = None,
    inputs: Any = ({"name": "a", "type": "double"},),
    outputs: Any = ({"type": "double"},),
    **more: Any,
) -> str:
    function = {"loader_module": "m"}
    signature = {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs)}
    file = {"flavors": flavors or {"python_function": function}, "signature": signature, **more}
    text: str = yaml.safe_dump(file)
    return text


TENSOR = {"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 2]}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (described(signature=None), "without a signature"),
        (described(outputs=()), "does not say what it gives|0 outputs"),
        (described(inputs=(TENSOR,)), "an input without a name"),
        (described(inputs=({**TENSOR, "name": "x"},)), "the input 'x' of type 'double'"),
        (described(inputs=({"name": "x", "type": "binary"},)), "the input 'x' of type 'binary'"),
        (described(outputs=({"type": "any"},)), "neither a number nor a label"),
        (described(outputs=({"type": "double"},) * 2), "2 outputs"),
        (described(outputs=({"type": "string"},)), "does not name its classes"),
        (described({"mystery": {}}), "no flavor python_function"),
        (
            described({"xgboost": {"data": "../x", "model_class": "xgboost.core.Booster"}}),
            "not there",
        ),
        (described(inputs=(TENSOR,), metadata={"columns": ["a"]}), "1 columns of a tensor with 2"),
        (described(metadata={"classes": "abc"}), "no list of different labels"),
        ("flavors: [", "cannot be read"),
        ("flavors: !!python/object/apply:os.getcwd []", "cannot be read"),
        ("[" * 100_000, "more than 50 levels"),
        ("flavors: &a {}\nmetadata: *a\n", "repeats parts"),
    ],
)
def test_what_cannot_be_packed_says_why(text: str, why: str) -> None:
    file = File(path="MLmodel", digest="a" * 64, bytes=len(text))
    with pytest.raises(Invalid, match=why):
        describe(text.encode(), [file])


def test_files_without_an_mlmodel_say_so() -> None:
    with pytest.raises(Invalid, match="no files"):
        mlmodel_file([])
    with pytest.raises(Invalid, match="no MLmodel"):
        mlmodel_file([File(path="model.pkl", digest="a" * 64, bytes=3)])
    with pytest.raises(Invalid, match="2,000,000 bytes"):
        mlmodel_file([File(path="MLmodel", digest="a" * 64, bytes=2_000_000)])


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_file_does_more_than_be_refused(content: bytes) -> None:
    with pytest.raises(Invalid):
        describe(content, [File(path="MLmodel", digest="a" * 64, bytes=len(content))])
