"""What goes back: answers in the form in which values came, metadata, and errors as statuses."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import grpc

from everfit.errors import EverfitError, Problem
from everfit.packages import Signature, label_text
from everfit.serving.model import Answers
from everfit.serving.refusals import RPC_CODES
from everfit.serving.rpc.messages import message
from everfit.serving.rpc.requests import Request
from everfit.serving.rpc.wire import MEMBERS, as_bytes
from everfit.serving.tensors import BECAUSE, describe_model, output_datatype, reason_texts
from everfit.web import RETRY_AFTER

ModelInferResponse = message("ModelInferResponse")
ModelMetadataResponse = message("ModelMetadataResponse")
STATUSES: dict[int, grpc.StatusCode] = {
    status: grpc.StatusCode[name] for status, name in RPC_CODES.items()
}
# Clients refuse answers whose headers are longer than 8 KiB; this much of them is the text.
MOST_DETAILS, MOST_LINE = 5000, 400


def encode_answers(
    model: str, signature: Signature, request: Request, answers: Answers, *, raw: bool
) -> bytes:
    """Return a ``ModelInferResponse``; ``raw`` says that its values are bytes, not typed."""
    versions = set(answers.versions)
    response = ModelInferResponse(
        model_name=model,
        # One request can be answered by two versions; the output `version` says which row by which.
        model_version=str(answers.versions[0]) if len(versions) == 1 else "",
        id=request.number,
    )
    data: dict[str, Any] = {
        "score": answers.scores or [float("nan")] * len(answers.ids),
        "prediction_id": answers.ids,
        "version": answers.versions,
        BECAUSE: reason_texts(answers),
        signature.output.name: answers.predictions,
    }
    for name in request.outputs:
        values, datatype = data[name], output_datatype(name, signature)
        tensor = response.outputs.add(name=name, datatype=datatype, shape=[len(answers.ids)])
        if datatype == "BYTES":
            values = [value if isinstance(value, str) else label_text(value) for value in values]
        if raw:
            response.raw_output_contents.append(as_bytes(values, datatype))
        else:
            typed = [text.encode() for text in values] if datatype == "BYTES" else values
            getattr(tensor.contents, MEMBERS[datatype]).extend(typed)
    encoded: bytes = response.SerializeToString()
    return encoded


def encode_model(model: str, version: int, signature: Signature) -> bytes:
    """Return a ``ModelMetadataResponse``."""
    encoded: bytes = ModelMetadataResponse(
        **describe_model(model, [version], signature)
    ).SerializeToString()
    return encoded


def refuse(context: Any, error: EverfitError) -> None:
    """End the call with the status, the message and the hint of ``error``.

    The trailing metadata hold its stable code, and, where it passes by itself, the time after
    which clients that repeat calls by gRPC's own rule come back.
    """
    trailing = [("everfit-code", error.code)]
    if error.status in (429, 503):
        seconds = error.context.get(RETRY_AFTER, 1)
        trailing.append(("grpc-retry-pushback-ms", f"{seconds}000"))
    context.set_trailing_metadata(tuple(trailing))
    context.set_code(STATUSES.get(error.status, grpc.StatusCode.INTERNAL))
    context.set_details(details(error))


def details(error: EverfitError) -> str:
    """Return the message of ``error`` with its hint, cut to what clients take in a header."""
    problems = list(error.problems)
    text = f"{_told(error, problems)}\n{_cut(error.hint)}"
    while problems and len(quote(text)) > MOST_DETAILS:
        problems = problems[: len(problems) * 3 // 4]
        text = f"{_told(error, problems)}\n{_cut(error.hint)}"
    while len(quote(text)) > MOST_DETAILS:
        text = text[: len(text) // 2]
    return text


def _told(error: EverfitError, problems: list[Problem]) -> str:
    # The message of an error with problems goes on with a line for each of them.
    head = _cut(error.message.partition("\n")[0] if error.problems else error.message)
    left = len(error.problems) - len(problems)
    rest = [f"  and {left} more"] if left else []
    return "\n".join([head, *(f"  {_cut(str(problem))}" for problem in problems), *rest])


def _cut(text: str) -> str:
    return text if len(text) <= MOST_LINE else f"{text[: MOST_LINE - 3]}..."
