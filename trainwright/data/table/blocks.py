"""Which rows come next from a table that does not fit in memory? Any source as frames of bounded
size, in the order of its rows."""

import contextlib
from collections.abc import Iterator
from typing import Any

import polars as pl

from trainwright.core.errors import DataError, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice
from trainwright.data.table import delimited
from trainwright.data.table.read import json_frame
from trainwright.data.table.source import Piece, blocks_of, refuse_binary

FRAME_ROWS = 32_768  # rows of Parquet and Arrow at a time [assumed]
TEXT_BYTES = 8 << 20  # of delimited text at a time [assumed]


def frames_of(pieces: list[Piece], notices: list[Notice]) -> Iterator[pl.DataFrame]:
    """All rows, piece by piece; cells of delimited text are text.

    Raises DataError as `read_table` does, when the damage is reached.
    """
    for piece in pieces:
        match piece.format:
            case "parquet":
                yield from _parquet(piece)
            case "arrow":
                yield from _arrow(piece)
            case "jsonl":
                for content, line in _whole_lines(piece, quoted=False):
                    yield json_frame(content.decode("utf-8", "replace"), piece.path, notices, line)
            case _:
                yield from _delimited(piece, notices)


def _delimited(piece: Piece, notices: list[Notice]) -> Iterator[pl.DataFrame]:
    """Each block is parsed below the first block's header."""
    dialect: delimited.Dialect | None = None
    header, width, names = b"", 0, []
    for content, line in _whole_lines(piece, quoted=True):
        said = notices if dialect is None else []
        block, _ = delimited.decode(content, piece.path, said)
        if dialect is None:
            dialect, _ = delimited.settle(block, piece.path, said)
            first = block[: delimited.end_of_first_row(block, dialect)]
            header = first if dialect.header else b""
            block = block[len(header) :]
            width = delimited.width_of(first, dialect)
            names = delimited.header_names(header or first, dialect, width, said)
        if not block.strip():
            continue
        delimited.check_rows(block, dialect, piece.path, expected=width, first_line=line)
        frame = delimited.parse_rows(block, dialect, piece.path)
        frame.columns = names
        yield frame


def _whole_lines(piece: Piece, *, quoted: bool) -> Iterator[tuple[bytes, int]]:
    """Blocks of whole rows and the line each begins at."""
    held, line = b"", 1
    for block in blocks_of(piece):
        if line == 1 and not held:
            refuse_binary(block, piece.path)
            if block.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise DataError(
                    phrase("{path} is UTF-16, which is not streamed", path=shown(piece.path)),
                    allowed="UTF-8",
                    do=phrase("save it as UTF-8, or raise data.memory_limit"),
                )
        held += block
        if len(held) < TEXT_BYTES:
            continue
        end = _last_row_end(held, quoted)
        if end:
            yield held[:end], line
            line += held[:end].count(b"\n")
            held = held[end:]
        elif len(held) > 8 * TEXT_BYTES:
            raise DataError(
                phrase(
                    "{path}: no row ends within {mebibytes} MiB from line {line}",
                    path=shown(piece.path),
                    mebibytes=len(held) >> 20,
                    line=line,
                ),
                allowed=phrase("rows of at most {mebibytes} MiB", mebibytes=TEXT_BYTES >> 20),
                do=phrase("look for a quote that is never closed"),
            )
    if held.strip():
        yield held, line


def _last_row_end(held: bytes, quoted: bool) -> int:
    """Just after the last line end that is not within quotes; 0 when there is none."""
    end = held.rfind(b"\n") + 1
    while quoted and end and held.count(b'"', 0, end) % 2:
        end = held.rfind(b"\n", 0, end - 1) + 1
    return end


def _parquet(piece: Piece) -> Iterator[pl.DataFrame]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _file(piece) as file, _damage(piece, pa.ArrowException):
        table = pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
        for batch in table.iter_batches(batch_size=FRAME_ROWS, use_threads=False):
            yield _frame(pa.Table.from_batches([batch]))


def _arrow(piece: Piece) -> Iterator[pl.DataFrame]:
    import pyarrow as pa
    from pyarrow import ipc

    with _file(piece) as file, _damage(piece, pa.ArrowException):
        head = file.read(4)
        file.seek(0)
        if head == b"\xff\xff\xff\xff":
            batches = iter(ipc.open_stream(file))
        else:
            reader = ipc.open_file(file)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        for batch in batches:
            for begin in range(0, batch.num_rows, FRAME_ROWS):
                yield _frame(pa.Table.from_batches([batch.slice(begin, FRAME_ROWS)]))


def _frame(table: Any) -> pl.DataFrame:
    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return found


@contextlib.contextmanager
def _file(piece: Piece) -> Iterator[Any]:
    if piece.packed:
        raise DataError(
            phrase(
                "{path} is packed: Parquet and Arrow files are read from within",
                path=shown(piece.path),
            ),
            allowed=phrase("a plain .parquet or .arrow file (they are compressed within)"),
            do=phrase("expand it"),
        )
    if piece.remote:
        import fsspec

        with fsspec.open(piece.path, "rb") as stream:
            yield stream
    else:
        with open(piece.path, "rb") as stream:
            yield stream


@contextlib.contextmanager
def _damage(piece: Piece, kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except (kind, OSError, EOFError) as error:
        raise DataError(
            phrase(
                "{path} is damaged or cut short: {error}",
                path=shown(piece.path),
                error=shown(str(error).splitlines()[0]),
            ),
            allowed=phrase("a complete Parquet or Arrow file"),
            do=phrase("copy or write it again"),
        ) from None
