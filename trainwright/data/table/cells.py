"""What do cells of text say? Numbers, also with decimal commas, thousands, currency; dates; words.
Nothing in a cell is ever run or followed."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float64

from trainwright.core.records import Notice

# What people write for a missing value; "none", "-" and the like can be words of their own and
# count as missing only among numbers and dates.
MISSING_WORDS = (
    "", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "?", "#N/A", "#NA", "<NA>", "NaT",
)  # fmt: skip
MIN_PARSED = 0.9  # share of cells that must parse before the rest counts as missing [assumed]
MAX_ODD_WORDS = 3  # distinct cells that do not parse [assumed]
SAMPLE_ROWS = 500  # enough to rule a date format out [assumed]
DATE_FORMATS = (
    "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.fZ",
    "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%.f%:z", "%Y-%m-%d %H:%M:%S%:z",
    "%Y/%m/%d", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%d.%m.%Y", "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%Y %H:%M", "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M:%S", "%d-%m-%Y", "%m-%d-%Y", "%d %b %Y", "%d %B %Y",
    "%d-%b-%Y", "%b %d, %Y", "%B %d, %Y", "%Y年%m月%d日",
)  # fmt: skip
_LOOKS_DATED = r"^\w{1,9}[-/. 年]\s?\d{1,2}"
_DECIMAL_COMMA = r"^[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?$"
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
_PLAIN = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_CURRENCY = r"[$€£¥%]|NT\$|USD|EUR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """A frame whose columns are Float64, Boolean, Datetime, String or List, and how that came."""

    frame: pl.DataFrame
    notices: tuple[Notice, ...]


def tidy(frame: pl.DataFrame) -> pl.DataFrame:
    """Text cells without the blanks around them; missing words become nulls."""
    text = pl.selectors.string()
    return frame.with_columns(text.str.strip_chars()).with_columns(
        pl.when(text.is_in(list(MISSING_WORDS))).then(None).otherwise(text).name.keep()
    )


def typed(frame: pl.DataFrame, *, semicolons: bool = False) -> Typed:
    """Each column as the type that its cells have.

    `semicolons`: the cells were parted by semicolons, as where commas are decimal.
    """
    notices: list[Notice] = []
    columns = {series.name: simplified(series) for series in frame.get_columns()}
    text = _replace_numbers(
        columns, [n for n, series in columns.items() if series.dtype == pl.String]
    )
    if text:  # trimming is dear with many columns: only where it can change something
        columns |= {s.name: s for s in tidy(pl.DataFrame([columns[n] for n in text]))}
        before = {name: columns[name] for name in text}
        for name in _replace_numbers(columns, text):
            lost = columns[name].cast(pl.Float64, strict=False)
            columns[name] = _read_text(before[name], lost, semicolons, notices)
    frame = pl.DataFrame(list(columns.values()))
    return Typed(frame=frame, notices=tuple(notices))


def _replace_numbers(columns: dict[str, pl.Series], text: list[str]) -> list[str]:
    """Turns text columns that are plain numbers throughout into these; the others' names."""
    if not text:
        return []
    frame = pl.DataFrame([columns[name] for name in text])
    known = frame.select(pl.all().count()).row(0)
    numbers = frame.select(pl.all().cast(pl.Float64, strict=False))
    rest = []
    for series, num_known in zip(numbers, known, strict=True):
        if len(series) - series.null_count() == num_known:
            columns[series.name] = series
        else:
            rest.append(series.name)
    return rest


def numbers_of(series: pl.Series) -> tuple[Float64[np.ndarray, " {len(series)}"], int]:
    """Numbers with NaN for missing, and how many cells held something else than a number."""
    if series.dtype == pl.String:
        series = tidy(series.to_frame()).to_series()
        known = series.count()
        parsed = _numbers_in_text(series, semicolons=False)
        best = parsed[0] if parsed else series.cast(pl.Float64, strict=False)
        return _floats(best), known - best.count()
    if series.dtype.is_temporal() or series.dtype.is_nested():
        return np.full(len(series), np.nan), series.count()
    return _floats(series.cast(pl.Float64, strict=False)), 0


def words_of(series: pl.Series) -> pl.Series:
    """Strings that are equal where people see equality: 1 and 1.0 are `1`; yes stays `yes`."""
    match series.dtype:
        case pl.String:
            return tidy(series.to_frame()).to_series()
        case pl.Boolean:
            return series.cast(pl.String)
        case dtype if dtype.is_float():
            whole = (series == series.floor()) & (series.abs() < 2**53)
            as_whole = series.set(~whole.fill_null(False), None).cast(pl.Int64, strict=False)
            words = pl.select(
                pl.when(whole).then(as_whole.cast(pl.String)).otherwise(series.cast(pl.String))
            ).to_series()
            return words.set(series.is_nan().fill_null(False), None).alias(series.name)
        case dtype if dtype.is_nested():
            return pl.Series(series.name, [None] * len(series), dtype=pl.String)
        case _:
            return series.cast(pl.String, strict=False)


def seconds_of(series: pl.Series) -> tuple[Float64[np.ndarray, " {len(series)}"], int]:
    """Unix seconds with NaN for missing, and how many cells were no date."""
    known = series.count()
    if series.dtype == pl.String:
        found = read_dates(tidy(series.to_frame()).to_series(), [])
        if found is None:
            return np.full(len(series), np.nan), known
        series = found
    if not series.dtype.is_temporal() or series.dtype in (pl.Time, pl.Duration):
        return np.full(len(series), np.nan), known
    moments = series.cast(pl.Datetime("us"), strict=False).cast(pl.Int64)
    return _floats(moments.cast(pl.Float64)) / 1e6, known - moments.count()


def read_dates(series: pl.Series, notices: list[Notice]) -> pl.Series | None:
    """The column as moments when nearly all its cells are dates of one format."""
    known = series.drop_nulls()
    sample = known.head(SAMPLE_ROWS)
    if not len(sample) or not sample.str.contains(_LOOKS_DATED).all():
        return None
    fitting: list[tuple[str, pl.Series]] = []
    for pattern in DATE_FORMATS:
        if _moments(sample, pattern).null_count() > (1 - MIN_PARSED) * len(sample):
            continue
        moments = _moments(series, pattern)
        if len(known) - moments.count() <= (1 - MIN_PARSED) * len(known):
            fitting.append((pattern, moments))
    if not fitting:
        return None
    fitting.sort(key=lambda found: -found[1].count())  # stable: the earlier format wins a tie
    pattern, moments = fitting[0]
    if len(fitting) > 1 and fitting[1][1].count() == moments.count() and "%b" not in pattern:
        values = {"column": series.name, "format": pattern}
        notices.append(Notice(code="date_order_guessed", values=values))
    _say_lost(series, moments, notices)
    return moments


def _moments(series: pl.Series, pattern: str) -> pl.Series:
    zone = "%:z" in pattern
    moments = series.str.to_datetime(pattern, strict=False, time_unit="us", exact=True)
    return moments.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else moments


def _read_text(
    series: pl.Series, almost: pl.Series, semicolons: bool, notices: list[Notice]
) -> pl.Series:
    """Text that is not plain numbers: other numbers, dates, dirty numbers, or words after all."""
    if found := _numbers_in_text(series, semicolons=semicolons):
        numbers, code = found
        notices.append(Notice(code=code, values={"column": series.name}))
        return numbers
    if (dates := read_dates(series, notices)) is not None:
        return dates
    if almost.count() >= MIN_PARSED * series.count():
        odd = series.filter(almost.is_null() & series.is_not_null()).unique()
        if len(odd) <= MAX_ODD_WORDS:
            _say_lost(series, almost, notices)
            return almost
    return series


def _numbers_in_text(series: pl.Series, *, semicolons: bool) -> tuple[pl.Series, str] | None:
    known = series.drop_nulls()
    if not len(known) or not known.head(SAMPLE_ROWS).str.contains(r"\d").all():
        return None
    bare = known.str.replace_all(_CURRENCY, "").str.replace_all(r"[\s'  ]", "")
    plain = bare.str.contains(_PLAIN)
    thousands = bare.str.contains(_THOUSANDS)
    comma = bare.str.contains(_DECIMAL_COMMA)
    code = "decimal_comma"
    if comma.all() and (semicolons or not (plain | thousands).all()):
        keep, point = ".", ","
    elif (plain | thousands).all():
        keep, point = ",", "."
        code = "thousands" if thousands.any() else "units_stripped"
    else:
        return None
    cleaned = (
        series.str.replace_all(_CURRENCY, "")
        .str.replace_all(r"[\s'  ]", "")
        .str.replace_all(keep, "", literal=True)
        .str.replace_all(point, ".", literal=True)
    )
    return cleaned.cast(pl.Float64, strict=False), code


def _say_lost(before: pl.Series, after: pl.Series, notices: list[Notice]) -> None:
    lost = before.filter(after.is_null() & before.is_not_null())
    if len(lost):
        words = lost.unique(maintain_order=True).head(3).to_list()
        values = {"column": before.name, "count": len(lost), "cells": words}
        notices.append(Notice(code="cells_unparsed", values=values))


def simplified(series: pl.Series) -> pl.Series:
    """Columns of files with types of their own, brought to the few types used here."""
    dtype = series.dtype
    if dtype in (pl.Categorical, pl.Enum):
        return series.cast(pl.String)
    if dtype.is_decimal() or dtype == pl.Float32:
        return series.cast(pl.Float64)
    if dtype == pl.Duration:
        return series.dt.total_seconds().cast(pl.Float64)
    if dtype in (pl.Date, pl.Datetime):
        if isinstance(dtype, pl.Datetime) and dtype.time_zone:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return series.cast(pl.Datetime("us"))
    if dtype == pl.Null:
        return series.cast(pl.Float64)
    return series


def _floats(series: pl.Series) -> np.ndarray:
    return series.fill_null(np.nan).to_numpy().astype(np.float64, copy=False)
