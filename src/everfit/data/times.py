"""Times out of what tables hold for them: dates, texts, yyyymmdd numbers, epochs, date + hour."""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

from everfit.errors import DataInvalid

UTC_TIME = pl.Datetime("us", "UTC")
# A whole number is only taken for a date if its column is also named like one.
NAMED_LIKE_TIME = re.compile(r"date|time|stamp|day|(^|_)(dt|dte|ts|at|when)($|_)|^dte", re.I)
DAY_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d", "%Y-%m")
LOCAL_FORMATS = (("%d/%m/%Y", "%m/%d/%Y"), ("%d.%m.%Y",), ("%d-%m-%Y", "%m-%d-%Y"))
CLOCKS = ("", " %H:%M", " %H:%M:%S%.f")
# The years 1900 to 2100, as yyyymmdd, and 2001 to 2100 as seconds since 1970.
DAYS = (19_000_101, 21_001_231)
SECONDS = (1_000_000_000, 4_102_444_800)
UNITS_PER_SECOND = (1, 10**3, 10**6)
BEGINS_LIKE_TIME = r"^(\d{4}[-/]?\d\d|\d\d?[-/.]\d\d?[-/.]\d{4})"


def parse_times(values: pl.Series) -> pl.Series | None:
    """Return the values as UTC times in microseconds, or None if not every one can be read.

    Read are dates and times, texts in one ISO form or one unmistakable local form (where day
    and month could be either, none is guessed), whole numbers yyyymmdd, and seconds, milli- or
    microseconds since 1970. Times without a zone are taken to be UTC.

    Examples
    --------
    >>> parse_times(pl.Series([20110101])).to_list()
    [datetime.datetime(2011, 1, 1, 0, 0, tzinfo=zoneinfo.ZoneInfo(key='UTC'))]
    >>> parse_times(pl.Series(["03/04/2011"])) is None
    True
    """
    kind = values.dtype
    if kind == pl.Date:
        return _as_utc(values.cast(pl.Datetime("us")))
    if isinstance(kind, pl.Datetime):
        return _as_utc(values)
    if kind.is_integer():
        return _from_numbers(values)
    if kind == pl.String and values.null_count() < len(values):
        return _from_texts(values)
    return None


def event_times(frame: pl.DataFrame, parts: Sequence[str]) -> pl.Series:
    """Return when each row happened: the time column, plus the hours of a second column.

    Raises
    ------
    DataInvalid
        If a row has no time, or one that cannot be read.
    """
    day = frame[parts[0]]
    times = parse_times(day)
    if times is None:
        example = day.drop_nulls().head(1).to_list()
        raise DataInvalid(
            f"column {parts[0]!r} cannot be read as times, for example {example}",
            hint="Write times like 2011-01-31 or 2011-01-31T13:00, all in one form; "
            "03/04/2011 leaves open which is the month.",
        )
    for name in parts[1:]:
        times = times + _hours(frame[name])
    if times.null_count():
        lines = ", ".join(str(row + 2) for row in times.is_null().arg_true().head(5))
        raise DataInvalid(
            f"{times.null_count():,} rows have no time in {' + '.join(parts)} (lines {lines})",
            hint="Fill them in, remove the rows, or leave `time` out.",
        )
    return times.rename(parts[0])


def _as_utc(times: pl.Series) -> pl.Series:
    zone = getattr(times.dtype, "time_zone", None)
    aware = times.dt.convert_time_zone("UTC") if zone else times.dt.replace_time_zone("UTC")
    return aware.cast(UTC_TIME)


def _from_numbers(values: pl.Series) -> pl.Series | None:
    if values.null_count() == len(values):
        return None
    if values.is_between(*DAYS).all():
        days = values.cast(pl.String).str.to_date("%Y%m%d", strict=False)
        return parse_times(days) if days.null_count() == values.null_count() else None
    for units in UNITS_PER_SECOND:
        if values.is_between(SECONDS[0] * units, SECONDS[1] * units).all():
            return (values.cast(pl.Int64) * (10**6 // units)).cast(UTC_TIME)
    return None


def _from_texts(values: pl.Series) -> pl.Series | None:
    probe = values.drop_nulls().head(1)
    if not probe.str.contains(BEGINS_LIKE_TIME).item():
        return None
    texts = values.str.replace(r"^(\S+)T(\d)", "${1} ${2}")
    if texts.str.contains(r"\d\d:\d\d.*(Z|[+-]\d\d:?\d\d)$").fill_null(value=True).all():
        zoned = texts.str.replace(r"Z$", "+00:00").str.replace(r"(\d)[ ]([+-])", "${1}${2}")
        return _read(zoned, [f"%Y-%m-%d{clock}%z" for clock in CLOCKS[1:]])
    days = _read(texts, [day + clock for day in DAY_FORMATS for clock in CLOCKS])
    if days is not None:
        return days
    for orders in LOCAL_FORMATS:
        readings = [_read(texts, [day + clock for clock in CLOCKS]) for day in orders]
        possible = [reading for reading in readings if reading is not None]
        if possible:
            return possible[0] if all(r.equals(possible[0]) for r in possible) else None
    return None


def _read(texts: pl.Series, formats: Sequence[str]) -> pl.Series | None:
    """Return the texts read in the first format that fits them all."""
    probe = texts.drop_nulls().head(1)
    for form in formats:
        with_clock = "%H" in form
        if _parsed(probe, form, with_clock).null_count():
            continue
        times = _parsed(texts, form, with_clock)
        if times.null_count() == texts.null_count():
            return _as_utc(times.cast(pl.Datetime("us")) if not with_clock else times)
    return None


def _parsed(texts: pl.Series, form: str, with_clock: bool) -> pl.Series:
    if with_clock:
        return texts.str.to_datetime(form, strict=False, time_unit="us")
    return texts.str.to_date(form, strict=False)


def _hours(values: pl.Series) -> pl.Series:
    """Return what to add to a date: whole hours 0 to 23, clock times, or texts like 13:30."""
    if values.dtype == pl.Time:
        return values.cast(pl.Duration("us"))
    if values.dtype.is_integer() and values.is_between(0, 23).all():
        return pl.select(pl.duration(hours=pl.lit(values))).to_series()
    if values.dtype == pl.String:
        for form in ("%H:%M", "%H:%M:%S"):
            clock = values.str.to_time(form, strict=False)
            if clock.null_count() == values.null_count():
                return clock.cast(pl.Duration("us"))
    raise DataInvalid(
        f"column {values.name!r} cannot be added to a date: {values.dtype}, "
        f"for example {values.head(3).to_list()}",
        hint="In `time: DATE + HOUR` the second column holds hours 0 to 23, or times like 13:30.",
    )
