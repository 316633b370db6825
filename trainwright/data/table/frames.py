"""Which table is behind a live object or a path? Frames from polars, pandas, arrays, lists and
files; cells of a row as a person reads them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch

from trainwright.core.errors import DataError, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice
from trainwright.data import known, synthetic
from trainwright.data.batch import Shown
from trainwright.data.knobs import DataKnobs
from trainwright.data.media.arrays import load_arrays
from trainwright.data.table.cells import typed, words_of
from trainwright.data.table.read import json_series, read_table
from trainwright.data.table.target import Raw

ALL_BYTES = 1 << 62  # new data to predict for is read whole
SHOWN_CELLS = 30  # columns of a row that a person is shown [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shower:
    """Renders rows of a frame; `rows` are the frame's rows by position (None: all)."""

    frame: pl.DataFrame
    rows: np.ndarray | None = None
    origin: np.ndarray | None = None  # the frame's rows in the source, when some were dropped

    def __call__(self, position: int) -> Shown:
        row = position if self.rows is None else int(self.rows[position])
        names = self.frame.columns[:SHOWN_CELLS]
        cells = self.frame.select(names).row(row)
        content = {name: cell_text(value) for name, value in zip(names, cells, strict=True)}
        return Shown(row=row if self.origin is None else int(self.origin[row]), content=content)


def cell_text(value: object) -> str:
    """A cell for people; missing is empty."""
    if value is None or (isinstance(value, float) and value != value):
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def plain_matrix(source: object) -> np.ndarray | None:
    """The numbers of a 2-D array or tensor, else None."""
    if isinstance(source, np.ndarray):
        array = source
    elif type(source).__module__.startswith("torch") and hasattr(source, "detach"):
        array = source.detach().cpu().numpy()  # pyright: ignore[reportAttributeAccessIssue]
    else:
        return None
    return array if array.ndim == 2 and array.dtype.kind in "fiub" else None


def opened(source: object) -> object:
    """A bundled or synthetic set, or a NumPy file, as (X, y), so that what could be learnt from can
    also be predicted; any other source as it is."""
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if not isinstance(source, str):
        return source
    if source.startswith("sklearn:"):
        found = known.load(source)
    elif source.startswith("synthetic:"):
        found = synthetic.load(source, DataKnobs(), 0)
    elif source.lower().endswith((".npz", ".npy")):
        stored = load_arrays(source, ALL_BYTES)
        return stored.inputs, _named_classes(stored.target, stored.class_names)
    else:
        return source
    return found.features, _named_classes(found.target, found.class_names)


def _named_classes(target: np.ndarray | None, names: Sequence[str]) -> Any:
    """The target; codes 0, 1, 2, … as the class names that are given for them."""
    if target is None or not names or target.ndim != 1:
        return target
    if not np.isin(target, np.arange(len(names))).all():
        return target
    return [names[int(code)] for code in target]


def frame_and_target(
    source: object, names: Sequence[str]
) -> tuple[pl.DataFrame, Raw | None, list[Notice]]:
    """Any source as a typed frame; a pair (X, y) also gives y. `names` are an array's columns.

    Raises DataError for what cannot be a table.
    """
    target = None
    if isinstance(source, tuple) and len(source) == 2:
        source, given = source
        target = None if given is None else raw_of(given)
    if isinstance(source, str):
        table = read_table(source, ALL_BYTES)
        assert table is not None
        return table.frame, target, list(table.notices)
    result = typed(as_frame(source, names))
    return result.frame, target, list(result.notices)


def as_frame(source: Any, names: Sequence[str] = ()) -> pl.DataFrame:
    """A live object as a frame, untyped."""
    if isinstance(source, pl.DataFrame):
        return source
    if isinstance(source, pl.LazyFrame):
        return source.collect()
    module = type(source).__module__.partition(".")[0]
    if module == "pandas":
        return _from_pandas(source)
    if module == "pyarrow":
        found = pl.from_arrow(source)
        return found if isinstance(found, pl.DataFrame) else found.to_frame()
    if isinstance(source, Mapping):
        return pl.DataFrame([_series(str(name), values) for name, values in source.items()])
    if isinstance(source, (list, tuple)) and source and isinstance(source[0], Mapping):
        keys = list(dict.fromkeys(str(key) for row in source for key in row))
        return pl.DataFrame([json_series(key, [row.get(key) for row in source]) for key in keys])
    return _from_array(source, names)


def raw_target(frame: pl.DataFrame, columns: Sequence[str]) -> Raw:
    """Target columns of a typed frame as numbers, words or lists."""
    if len(columns) > 1:
        parts = [raw_target(frame, [name]) for name in columns]
        numbers = [part for part in parts if isinstance(part, np.ndarray)]
        if len(numbers) < len(parts):
            raise DataError(
                phrase("of several target columns each must hold numbers"),
                allowed=phrase("0 and 1 in each (several labels), or numbers (regression)"),
                do=phrase("name one column, or turn the words into 0 and 1"),
            )
        return np.stack(numbers, axis=1)
    series = frame[columns[0]]
    if series.dtype.is_numeric():
        return series.cast(pl.Float64).fill_null(np.nan).to_numpy()
    if series.dtype == pl.Datetime:
        raise DataError(
            phrase("the target {target} holds dates", target=shown(columns[0])),
            allowed=phrase("classes or numbers"),
            do=phrase(
                "compute the number of days that you want to predict, as a column of its own"
            ),
        )
    if isinstance(series.dtype, pl.List):
        return series.to_list()
    if series.dtype.is_nested() or series.dtype == pl.Binary:
        raise DataError(
            phrase("the target {target} holds nested values", target=shown(columns[0])),
            allowed=phrase("classes or numbers"),
            do=phrase("name another column with data.target"),
        )
    return words_of(series).to_list()


def raw_of(given: Any) -> Raw:
    """A live y: arrays of numbers as they are, everything else as words."""
    if hasattr(given, "detach"):
        given = given.detach().cpu().numpy()
    if isinstance(given, np.ndarray) and given.dtype.kind in "fiu":
        return given
    if _is_list_of_numbers(given):
        return np.asarray(given, dtype=np.float64)
    if isinstance(given, np.ndarray):
        if given.dtype.kind == "b" and given.ndim == 2:
            return given.astype(np.float64)
        if given.ndim == 1 and given.dtype.kind in "bUS":
            values = given.astype(str).tolist() if given.dtype.kind != "b" else given.tolist()
            return [str(v).lower() if isinstance(v, bool) else v for v in values]
        if given.dtype.kind != "O" or given.ndim != 1:
            raise _refused(phrase("an array of {dtype}", dtype=given.dtype))
        given = given.tolist()
    frame = typed(as_frame({"target": given}) if not hasattr(given, "columns") else as_frame(given))
    return raw_target(frame.frame, frame.frame.columns)


def _is_list_of_numbers(given: Any) -> bool:
    listed = isinstance(given, (list, tuple)) and bool(given)
    return listed and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in given)


def _series(name: str, values: Any) -> pl.Series:
    if isinstance(values, pl.Series):
        return values.alias(name)
    if type(values).__module__.startswith("pandas"):
        return _from_pandas(values.to_frame(name)).to_series()
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiubUM":
        return pl.Series(name, values)
    if isinstance(values, torch.Tensor):
        return pl.Series(name, values.detach().cpu().numpy())
    return json_series(name, [_plain(value) for value in values])


def _plain(value: Any) -> Any:
    """numpy's scalars as Python's; NaN as missing; other objects as nothing at all."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value != value:
        return None
    if isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple, set)):
        return [str(_plain(item)) for item in value]
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    raise _refused(phrase("objects of type {type}", type=type(value).__name__))


def _refused(what: str) -> DataError:
    return DataError(
        phrase("{what} cannot be examples or targets", what=what),
        allowed=phrase("numbers, words, truth values, dates, lists of words"),
        do=phrase("convert them first, e.g. array.astype(float)"),
    )


def _from_pandas(frame: Any) -> pl.DataFrame:
    columns = []
    for name, column in zip(frame.columns, (frame.iloc[:, i] for i in range(frame.shape[1])),
                            strict=True):  # fmt: skip
        kind = getattr(column.dtype, "kind", "O")
        if kind in "fiub":
            values = pl.Series(str(name), column.to_numpy())
        elif kind == "M":
            values = pl.Series(str(name), column.to_numpy(dtype="datetime64[us]"))
        else:
            cells = [None if _is_missing(value) else _plain(value) for value in column.tolist()]
            values = json_series(str(name), cells)
        columns.append(values)
    return pl.DataFrame(columns)


def _is_missing(value: Any) -> bool:
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def _from_array(source: Any, names: Sequence[str]) -> pl.DataFrame:
    if hasattr(source, "detach"):
        source = source.detach().cpu().numpy()
    if isinstance(source, (list, tuple)) and source and isinstance(source[0], (list, tuple)):
        if len({len(row) for row in source}) != 1:
            raise DataError(
                phrase("the rows of the list differ in length"),
                allowed=phrase("rows of one length"),
                do=phrase("mend the rows"),
            )
        columns = [list(column) for column in zip(*source, strict=True)]
        return pl.DataFrame(
            [_series(name, c) for name, c in zip(_named(names, len(columns)), columns, strict=True)]
        )
    if isinstance(source, (list, tuple)):
        return pl.DataFrame([_series(_named(names, 1)[0], source)])
    if not isinstance(source, np.ndarray):
        raise _refused(phrase("a {noun}", noun=type(source).__name__))
    if source.dtype.kind == "O" or source.dtype.names:
        objects = source.dtype.kind == "O"
        raise _refused(phrase("an array of objects") if objects else phrase("an array of records"))
    array = source[:, None] if source.ndim == 1 else source
    if array.ndim != 2:
        raise _refused(phrase("an array of {num} dimensions", num=array.ndim))
    return pl.DataFrame(
        [pl.Series(n, array[:, i]) for i, n in enumerate(_named(names, array.shape[1]))]
    )


def _named(names: Sequence[str], count: int) -> list[str]:
    """The known names when they fit, else column_1, column_2, …"""
    return list(names) if len(names) == count else [f"column_{i + 1}" for i in range(count)]
