"""The five public tables: read right, no false refusal, the leak by nature found, in time."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from everfit.data import (
    Role,
    Source,
    Task,
    collect,
    find_leaks,
    infer_schema,
    prepare,
    profile,
    segregate,
)
from everfit.errors import DataInvalid, TargetLeak

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="shared/data is not here")

BIKE = Source(location="bike/hour.csv")


@pytest.mark.parametrize(
    ("location", "rows", "said", "how"),
    [
        ("elec2/elec.csv", 45_312, {"target": "class"}, "stratified"),
        ("adult/adult.csv", 32_561, {"target": "income-per-year"}, "stratified"),
        ("bank/bank-full.csv", 40_004, {"target": "y"}, "stratified"),
        (
            "bike/hour.csv",
            17_379,
            {"target": "cnt", "time": "dteday + hr", "exclude": ["casual", "registered"]},
            "time",
        ),
        ("hospital/hospital_clean.csv", 1_000, {"target": None}, "random"),
    ],
)
def test_real_tables_are_split_without_a_false_refusal(
    location: str, rows: int, said: dict[str, Any], how: str
) -> None:
    frame = collect(Source(location=location), base=DATA)
    schema = infer_schema(frame, **said)
    prepared = prepare(frame, schema)
    assert find_leaks(prepared, schema) == []
    split = segregate(prepared, schema)
    assert split.how == how
    assert sum(part.height for part in split.parts.values()) == rows


def test_the_two_parts_of_the_bike_rentals_are_the_leak() -> None:
    frame = collect(BIKE, base=DATA)
    schema = infer_schema(frame, target="cnt")
    assert (schema.task, schema.time) == (Task.REGRESSION, "dteday")
    roles = {column.name: column.role for column in schema.columns}
    assert roles["instant"] is Role.IDENTIFIER
    prepared = prepare(frame, schema)
    [leak] = find_leaks(prepared, schema)
    assert leak.columns == ("casual", "registered")
    with pytest.raises(TargetLeak, match="casual"):
        segregate(prepared, schema)


def test_question_marks_are_missing_in_adult() -> None:
    adult = collect(Source(location="adult/adult.csv"), base=DATA)
    missing = dict(zip(adult.columns, adult.null_count().row(0), strict=True))
    assert {name: count for name, count in missing.items() if count} == {
        "workclass": 1836,
        "occupation": 1843,
        "native-country": 583,
    }


def test_typos_in_numbers_are_named_not_guessed() -> None:
    dirty = collect(Source(location="hospital/hospital_dirty.csv"), base=DATA)
    with pytest.raises(DataInvalid) as caught:
        infer_schema(dirty, target=None)
    assert [p.path for p in caught.value.problems] == [
        "column 'provider_number'",
        "column 'zip'",
        "column 'phone'",
    ]


def test_collecting_inferring_and_profiling_bike_takes_under_0_3_cpu_seconds() -> None:
    def work() -> None:
        frame = collect(BIKE, base=DATA)
        infer_schema(frame, target="cnt", time="dteday + hr")
        profile(frame)

    start = time.process_time()
    work()
    assert time.process_time() - start < 0.3


def test_the_room_loads_without_the_libraries_of_models() -> None:
    code = "import sys, everfit.data; print([m for m in ('sklearn', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
