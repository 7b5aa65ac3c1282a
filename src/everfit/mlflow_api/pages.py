"""Searches that are answered page by page."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from everfit.errors import Invalid
from everfit.mlflow_api.values import limit_of, page_place, page_token
from everfit.mlflow_api.wire import Message


class Query(Message):
    """What is asked of a search, and which page of it."""

    filter: str | None = None
    max_results: int | None = None
    order_by: list[str] = []
    page_token: str | None = None


class Place(msgspec.Struct, forbid_unknown_fields=True):
    """What a token leads to: the page so many entries behind the first, of which search."""

    offset: int = 0
    search: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page: how many entries it has at most, how many lie before it, and of which search."""

    limit: int
    offset: int
    search: str = ""

    def following(self, *, more: bool) -> dict[str, str]:
        """Return the field of the answer that leads to the next page; none behind the last."""
        if not more:
            return {}
        token = page_token(offset=self.offset + self.limit, search=self.search)
        return {"next_page_token": token}


def page_of(
    max_results: int | None, token: str | None, *, default: int, most: int, search: str = ""
) -> Page:
    """Return the page that is asked for.

    ``search`` tells one search from others, where a token is only good for its own.

    Raises
    ------
    Invalid
        If the page is too long or empty, or the token is none of this search.
    """
    limit = limit_of(max_results, default=default, most=most)
    place = page_place(token, Place)
    if place is None:
        return Page(limit=limit, offset=0, search=search)
    if place.search != search:
        raise Invalid(
            "the page token is of another search",
            hint="Send it with the experiments, filter and order of the page before.",
        )
    if not 0 <= place.offset < 2**62:
        raise Invalid(
            f"a page cannot begin at {place.offset}", hint="Send the token of the page before."
        )
    return Page(limit=limit, offset=place.offset, search=search)
