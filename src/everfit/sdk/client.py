"""The client of a model server: predictions out, labels in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from everfit.errors import EverfitError, Problem, Unavailable


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One prediction: keep its ``id``, the label is handed in under it."""

    id: str
    prediction: float | int | str | bool
    score: float | None
    version: int


class Client:
    """Talks to ``everfit serve`` or ``everfit up`` at ``url``.

    Examples
    --------
    >>> client = Client("http://127.0.0.1:8080", model="bike-demand")
    >>> client.model
    'bike-demand'
    >>> client.close()
    """

    def __init__(self, url: str, *, model: str, timeout_seconds: float = 10.0) -> None:
        self.model = model
        self._http = httpx.Client(base_url=url, timeout=timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def predict(
        self, rows: Sequence[Mapping[str, Any]], *, keys: Sequence[str] | None = None
    ) -> list[Answer]:
        """Return one answer per row, in their order.

        Raises
        ------
        EverfitError
            What the server refused, with every problem it named; Unavailable if it cannot be
            reached.
        """
        body: dict[str, Any] = {"rows": list(rows)}
        if keys is not None:
            body["keys"] = list(keys)
        answered = self._post(f"/predict/{self.model}", body)
        return [msgspec.convert(item, Answer) for item in answered["predictions"]]

    def label(self, labels: Mapping[str, Any]) -> int:
        """Hand in labels by prediction id and return how many were kept."""
        items = [{"id": key, "label": value} for key, value in labels.items()]
        accepted = self._post(f"/labels/{self.model}", {"labels": items})["accepted"]
        return int(accepted)

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        try:
            response = self._http.post(path, content=msgspec.json.encode(body))
        except httpx.TransportError as error:
            raise Unavailable(
                f"no answer from {self._http.base_url}: {error}",
                hint="Start the server with `everfit up`, or correct the address.",
            ) from error
        if response.is_success:
            return response.json()
        raise _refusal(response)


def _refusal(response: httpx.Response) -> EverfitError:
    """Return the error that the server described, as the class that has its code."""
    found = response.json()["error"]
    problems = [Problem(**problem) for problem in found.get("problems", [])]
    kind = _by_code(EverfitError).get(found["code"], EverfitError)
    return kind(found["message"], hint=found["hint"], problems=problems)


def _by_code(kind: type[EverfitError]) -> dict[str, type[EverfitError]]:
    known = {kind.code: kind}
    for sub in kind.__subclasses__():
        known |= _by_code(sub)
    return known
