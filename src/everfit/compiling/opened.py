"""A compiled model with its signature: answers as the fitted model does, without a data frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import onnxruntime
import polars as pl
from numpy.typing import NDArray

from everfit.compiling.counting import Counter
from everfit.compiling.layout import KEY, MISSING, NUMBERS, TEXTS, Layout
from everfit.errors import Invalid, PredictionFailed
from everfit.packages import Kind, Signature, cast, label_array

ERRORS_ONLY = 3
# More rows in one run are no faster each, and take memory that is not given back.
ROWS_AT_ONCE = 1_000


class CompiledModel:
    """An ONNX model made by `compile_model`, opened on ONNX Runtime.

    Asking it from several threads at once is safe. With one thread, the default, sums are added
    in the order of the native model; more of them may change a last bit.

    Parameters
    ----------
    threads
        How many threads one run may use.

    Raises
    ------
    Invalid
        If ``content`` is no such model.
    """

    __slots__ = ("_answers", "_counters", "_labels", "_layout", "_session", "_taken", "signature")

    def __init__(self, content: bytes, signature: Signature, *, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = ERRORS_ONLY
        # Neither keeps memory for the largest run that there was; in short runs they gain nothing.
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        # A thread that waits would otherwise burn the processor that others need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
            self._layout = _layout(self._session)
        except (msgspec.ValidationError, msgspec.DecodeError, *_SESSION_ERRORS) as error:
            raise Invalid(
                f"these {len(content):,} bytes cannot be opened as a compiled model: {error}",
                hint="Release the version again, which compiles it anew.",
            ) from error
        self.signature = signature
        self._labels = label_array(signature.classes)
        self._taken = {one.name for one in self._session.get_inputs()}
        self._counters = [
            (source, name, Counter(settings)) for source, name, settings in self._layout.words
        ]
        self._answers = [name for name in (self._layout.scores, self._layout.values) if name]

    def predict_both(self, frame: pl.DataFrame) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        """Return predictions and scores as `FittedModel.predict_both` does; raises alike."""
        rows = cast(frame, self.signature, allow_nulls=True)
        return self.ask({name: _array(rows[name], kind) for name, kind in self._kinds()})

    def predict(self, frame: pl.DataFrame) -> NDArray[Any]:
        """Return one prediction per row; raises as `predict_both` does."""
        return self.predict_both(frame)[0]

    def scores(self, frame: pl.DataFrame) -> NDArray[np.float64] | None:
        """Return the classes' probabilities, or None where the model has none."""
        return self.predict_both(frame)[1]

    def ask(
        self, columns: Mapping[str, NDArray[Any]]
    ) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        """Return predictions and scores for one array per input, each of shape (rows,).

        Numbers, integers and truths may be of any numeric type, NaN where one is missing; texts
        are of NumPy's text or object type, None where one is missing. Their kinds are not
        checked again: `cast`, or what decoded them, did.

        Raises
        ------
        PredictionFailed
            Where the native model refuses to answer, or answers NaN or infinity.
        """
        rows = len(columns[self.signature.inputs[0].name])
        most = min(self._layout.at_once, ROWS_AT_ONCE)
        if rows <= most:
            return self._typed(self._run(columns, rows) if rows else self._nothing())
        parts = []
        for start in range(0, rows, most):
            part = {name: values[start : start + most] for name, values in columns.items()}
            parts.append(self._run(part, min(most, rows - start)))
        return self._typed([np.concatenate(answers) for answers in zip(*parts, strict=True)])

    def _kinds(self) -> list[tuple[str, Kind]]:
        return [(field.name, field.kind) for field in self.signature.inputs]

    def _run(self, columns: Mapping[str, NDArray[Any]], rows: int) -> list[NDArray[np.float64]]:
        feeds = self._feeds(columns, rows)
        try:
            answers: list[NDArray[np.float64]] = self._session.run(self._answers, feeds)
        except _SESSION_ERRORS as error:
            raise _failed(f"failed on {rows:,} rows: {error}") from error
        return answers

    def _feeds(self, columns: Mapping[str, NDArray[Any]], rows: int) -> dict[str, NDArray[Any]]:
        feeds: dict[str, NDArray[Any]] = {}
        if NUMBERS in self._taken:
            # One matrix costs a microsecond or two; an input for each column costs that each.
            numbers = np.empty((rows, len(self._layout.numbers)))
            for place, name in enumerate(self._layout.numbers):
                numbers[:, place] = columns[name]
            feeds[NUMBERS] = numbers
        if TEXTS in self._taken:
            texts = np.empty((rows, len(self._layout.texts)), dtype=object)
            for place, name in enumerate(self._layout.texts):
                texts[:, place] = columns[name]
            gaps = _missing(texts.ravel().tolist())
            if gaps:
                texts.flat[gaps] = MISSING
            feeds[TEXTS] = texts
        for source, name, counter in self._counters:
            counts = counter.counts(columns[source].tolist())
            if counts is None:
                raise _failed(f"has no words for a missing {source!r}")
            feeds[name] = counts
        return feeds

    def _typed(
        self, answers: list[NDArray[np.float64]]
    ) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        for answer in answers:
            # A sum is finite only if all of it is, and one pass is cheaper than two.
            if not np.isfinite(answer.sum()):
                _refuse_not_finite(answer)
        scores = answers[0] if self._layout.scores else None
        if self.signature.task == "classification":
            if self._layout.values is None and scores is not None:
                return self._labels[scores.argmax(axis=1)], scores
            return self._labels[answers[-1].astype(np.intp)], scores
        values = answers[-1]
        return (values if self.signature.task == "regression" else values.astype(np.int64)), None

    def _nothing(self) -> list[NDArray[np.float64]]:
        shapes = [(0, len(self.signature.classes))] if self._layout.scores else []
        return [np.empty(shape) for shape in [*shapes, *([(0,)] if self._layout.values else [])]]


_STATES = onnxruntime.capi.onnxruntime_pybind11_state
_SESSION_ERRORS = (
    _STATES.EPFail,
    _STATES.Fail,
    _STATES.InvalidArgument,
    _STATES.InvalidGraph,
    _STATES.InvalidProtobuf,
    _STATES.NotImplemented,
    _STATES.RuntimeException,
    RuntimeError,
)


def _layout(session: Any) -> Layout:
    kept = session.get_modelmeta().custom_metadata_map.get(KEY, "")
    return msgspec.json.decode(kept, type=Layout)


def _missing(texts: list[str | None]) -> list[int]:
    """Return the places of those that are None."""
    try:
        "".join(texts)  # type: ignore[arg-type] # raises where one is, in a third of the time
    except TypeError:
        return [place for place, text in enumerate(texts) if text is None]
    return []


def _array(series: pl.Series, kind: Kind) -> NDArray[Any]:
    if kind is Kind.TEXT:
        return np.array(series.to_list(), dtype=object)
    return series.cast(pl.Float64).to_numpy()


def _refuse_not_finite(answer: NDArray[np.float64]) -> None:
    finite = np.isfinite(answer)
    if not finite.all():
        row = int(np.argwhere(~finite)[0][0])
        raise _failed(f"answered {answer[row]} for row {row}")


def _failed(what: str) -> PredictionFailed:
    return PredictionFailed(
        f"the compiled model {what}",
        hint="The rows fit the signature, so the model is at fault: add what it lacks (an "
        "imputer, a limit) and train again; roll back if it is answering.",
    )
