"""Which table does a source hold? Any format and packing as one typed frame, or word that it does
not fit in memory."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from trainwright.core.errors import DataError, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice
from trainwright.data.table import delimited
from trainwright.data.table.cells import typed
from trainwright.data.table.source import Piece, find_pieces, load, refuse_binary

PARQUET_RATIO = 100  # a Parquet file seldom holds more than this times its size [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table in memory; column names are distinct."""

    frame: pl.DataFrame
    format: str
    notices: tuple[Notice, ...]


def read_table(source: str, memory_limit: int) -> Table | None:
    """The whole table, or None when its files expand to more than `memory_limit` bytes.

    Raises DataError for whatever is no table.
    """
    pieces = find_pieces(source)
    notices: list[Notice] = []
    frames: list[pl.DataFrame] = []
    used, semicolons = 0, False
    for piece in pieces:
        content = None if _expands_beyond(piece, memory_limit) else load(piece, memory_limit - used)
        if content is None:
            return None
        used += len(content)
        frame, parted = read_piece(piece, content, notices)
        semicolons |= parted
        frames.append(frame)
    frame = _joined(frames, notices)
    kinds = "+".join(dict.fromkeys(piece.format for piece in pieces))
    result = typed(frame, semicolons=semicolons)
    return Table(frame=result.frame, format=kinds, notices=(*_once(notices), *result.notices))


def read_piece(piece: Piece, content: bytes, notices: list[Notice]) -> tuple[pl.DataFrame, bool]:
    """One file's rows; True when its cells were parted by semicolons."""
    match piece.format:
        case "parquet" | "arrow":
            frame = _columnar(piece, content)
        case "jsonl":
            frame = _json_lines(content, piece.path, notices)
        case _:
            content, _ = delimited.decode(content, piece.path, notices)
            frame, dialect = delimited.read_rows(content, piece.path, notices)
            if dialect.separator != "," and ".tsv" not in piece.path:
                values = {"separator": {"\t": "tab"}.get(dialect.separator, dialect.separator)}
                notices.append(Notice(code="separator_guessed", values=values))
            return frame, dialect.separator == ";"
    if not frame.height or not frame.width:
        raise DataError(
            phrase("{path} has no rows", path=shown(piece.path)),
            allowed=phrase("at least one row and one column"),
            do=phrase("check how the file was written"),
        )
    return frame, False


def _expands_beyond(piece: Piece, memory_limit: int) -> bool:
    """Whether a Parquet file's cells take over `memory_limit` bytes as numbers."""
    if piece.format != "parquet" or piece.packed or piece.remote:
        return False
    if piece.size * PARQUET_RATIO < memory_limit:
        return False
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(piece.path)
    except (pa.ArrowException, OSError):
        return False  # reading it says what is wrong
    return metadata.num_rows * metadata.num_columns * 8 > memory_limit


def _columnar(piece: Piece, content: bytes) -> pl.DataFrame:
    try:
        if piece.format == "parquet":
            return pl.read_parquet(io.BytesIO(content))
        if content[:4] == b"\xff\xff\xff\xff":
            return pl.read_ipc_stream(io.BytesIO(content))
        return pl.read_ipc(io.BytesIO(content))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        raise DataError(
            phrase(
                "{path} is damaged or cut short: {error}",
                path=shown(piece.path),
                error=shown((str(error) or type(error).__name__).splitlines()[0]),
            ),
            allowed=phrase("a complete Parquet or Arrow file"),
            do=phrase("copy or write it again"),
        ) from None


def _json_lines(content: bytes, name: str, notices: list[Notice]) -> pl.DataFrame:
    """One object per line, or one array of objects."""
    content, _ = delimited.decode(content, name, notices)
    refuse_binary(content, name)
    return json_frame(content.decode("utf-8"), name, notices)


def json_frame(text: str, name: str, notices: list[Notice], first_line: int = 1) -> pl.DataFrame:
    """Objects as rows, columns in order of appearance.

    Raises DataError naming the line that is not JSON.
    """
    rows = _json_rows(text, name, first_line)
    columns: dict[str, list[object]] = {}
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise DataError(
                phrase("{name}: row {row} is not an object", name=shown(name), row=number + 1),
                allowed=phrase('one object per line, as {{"age": 41, "churned": true}}'),
                do=phrase("write each row as an object with column names"),
            )
        for key, value in row.items():
            columns.setdefault(key, [None] * number).append(value)
        for values in columns.values():
            if len(values) <= number:
                values.append(None)
    names = delimited.distinct_names(list(columns), notices)
    return pl.DataFrame(
        [json_series(name, values) for name, values in zip(names, columns.values(), strict=True)]
    )


def json_series(name: str, values: Sequence[object]) -> pl.Series:
    """Python values as a column; mixed ones as text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool} or kinds <= {str}:
        return pl.Series(name, values, dtype=pl.Boolean if kinds == {bool} else pl.String)
    if kinds <= {int, float}:
        try:
            floats = [None if value is None else float(value) for value in values]  # pyright: ignore[reportArgumentType]
            return pl.Series(name, floats, dtype=pl.Float64)
        except OverflowError:  # a whole number of over 308 digits is a word
            pass
    if kinds == {list}:
        words = [None if v is None else [_json_word(item) for item in v] for v in values]  # pyright: ignore[reportGeneralTypeIssues]
        return pl.Series(name, words, dtype=pl.List(pl.String))
    return pl.Series(name, [None if v is None else _json_word(v) for v in values], dtype=pl.String)


def _json_word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json_rows(text: str, name: str, first_line: int) -> list[object]:
    line = first_line
    try:
        if text.lstrip().startswith("["):
            rows = json.loads(text)
            return rows if isinstance(rows, list) else [rows]
        rows = []
        for line, row in enumerate(text.split("\n"), start=first_line):  # noqa: B007 (named in the error)
            if row.strip():
                rows.append(json.loads(row))
        return rows
    except (ValueError, RecursionError) as error:
        deep = phrase("it is nested too deeply")
        reason = error.msg if isinstance(error, json.JSONDecodeError) else deep
        raise DataError(
            phrase(
                "{name}: line {line} is not JSON ({reason})",
                name=shown(name),
                line=line,
                reason=reason,
            ),
            allowed=phrase('one object per line, as {{"age": 41, "churned": true}}'),
            do=phrase("mend that line"),
        ) from None


def _joined(frames: list[pl.DataFrame], notices: list[Notice]) -> pl.DataFrame:
    if len(frames) == 1:
        return frames[0]
    names = [set(frame.columns) for frame in frames]
    partly = sorted(set.union(*names) - set.intersection(*names))
    if partly:
        values = {"count": len(partly), "names": partly[:5]}
        notices.append(Notice(code="columns_in_some_files", values=values))
    try:
        return pl.concat(frames, how="diagonal_relaxed")
    except pl.exceptions.PolarsError:
        as_text = [frame.with_columns(pl.all().cast(pl.String, strict=False)) for frame in frames]
        return pl.concat(as_text, how="diagonal_relaxed")


def _once(notices: list[Notice]) -> list[Notice]:
    """Each notice once, however many files gave it."""
    found: list[Notice] = []
    for notice in notices:
        if notice not in found:
            found.append(notice)
    return found
