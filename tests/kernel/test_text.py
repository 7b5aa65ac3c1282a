"""Patterns mean the same on both databases as in a plain reading of them."""

from __future__ import annotations

import re

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from everfit.errors import Invalid
from everfit.kernel import Workspace, bytewise, ilike, like

LETTERS = st.text("abABéÉ%_*?[]^-\\!\n", max_size=6)


SMALL = str.maketrans("AB", "ab")


def fits(text: str, pattern: str) -> bool:
    parts = {"%": ".*", "_": "."}
    regex = "".join(parts.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch(regex, text, re.DOTALL) is not None


@given(cases=st.lists(st.tuples(LETTERS, LETTERS), min_size=1, max_size=20))
@hypothesis_settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_pattern_reads_the_same_everywhere(
    any_workspace: Workspace, cases: list[tuple[str, str]]
) -> None:
    with any_workspace.reading() as tx:
        for text, pattern in [*cases, *((text, text) for text, _ in cases)]:
            held = sa.literal(text, sa.Text)
            asked = sa.select(
                like(tx.connection, held, pattern), ilike(tx.connection, held, pattern)
            )
            row = tx.connection.execute(asked).one()
            expected = (
                fits(text, pattern),
                fits(text.translate(SMALL), pattern.translate(SMALL)),
            )
            assert (bool(row[0]), bool(row[1])) == expected, (text, pattern)


def test_texts_are_ordered_by_code_points(any_workspace: Workspace) -> None:
    texts = (sa.select(sa.literal(text, sa.Text).label("text")) for text in "baBäA")
    rows = sa.union_all(*texts).subquery()
    with any_workspace.reading() as tx:
        order = bytewise(tx.connection, rows.c.text)
        found = tx.connection.execute(sa.select(rows.c.text).order_by(order)).scalars().all()
    assert found == ["A", "B", "a", "b", "ä"]


def test_a_pattern_that_sqlite_could_not_take_is_refused(workspace: Workspace) -> None:
    column = sa.literal("a" * 10_000, sa.Text)
    with workspace.reading() as tx:
        asked = sa.select(like(tx.connection, column, "[" * 10_000))
        assert not tx.connection.execute(asked).scalar_one()
        for compare in (like, ilike):
            with pytest.raises(Invalid, match="10,001 characters"):
                compare(tx.connection, column, "a" * 10_001)
