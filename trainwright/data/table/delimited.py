"""How does delimited text become columns? Encoding, separator, quotes and header sniffed, ragged
rows found, decimal commas seen; every choice said."""

import contextlib
import csv
import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from trainwright.core.errors import DataError, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice
from trainwright.data.table.cells import MISSING_WORDS
from trainwright.data.table.source import refuse_binary

SEPARATORS = ",;\t|"
SNIFF_BYTES = 1 << 18  # [assumed] hundreds of rows
CELL_BYTES = 1 << 20  # a longer cell is no cell of a table [assumed]
SENTENCE = 4  # words of a cell that is no name [assumed]
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d+)?|[.,]\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How a file writes its rows."""

    separator: str
    quoted: bool
    header: bool
    encoding: str = "utf-8"


def decode(content: bytes, name: str, notices: list[Notice]) -> tuple[bytes, str]:
    """The same text as UTF-8 without a byte order mark, and the encoding it had.

    UTF-16 by its mark; else UTF-8; else Windows-1252, Latin-1 where that has no character.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            text = content.decode("utf-16")
        except UnicodeDecodeError as error:
            raise DataError(
                phrase(
                    "{name} begins as UTF-16 but does not go on so (byte {byte})",
                    name=shown(name),
                    byte=error.start,
                ),
                allowed=phrase("UTF-8, UTF-16 with its mark, or Windows-1252"),
                do=phrase("save it as UTF-8"),
            ) from None
        notices.append(Notice(code="encoding_guessed", values={"encoding": "UTF-16"}))
        content, encoding = text.encode("utf-8", "replace"), "utf-16"
        if b"\x00" in content:
            refuse_binary(content, name)
    else:
        refuse_binary(content, name)
        content = content.removeprefix(b"\xef\xbb\xbf")
        encoding = "utf-8"
        try:
            content.decode("utf-8")
        except UnicodeDecodeError:
            encoding, content = _western(content, name)
            notices.append(Notice(code="encoding_guessed", values={"encoding": encoding}))
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return content.strip(b"\n") + b"\n", encoding


def _western(content: bytes, name: str) -> tuple[str, bytes]:
    controls = sum(content[:SNIFF_BYTES].count(bytes([c])) for c in (*range(1, 9), *range(14, 27)))
    if controls > 0.01 * min(len(content), SNIFF_BYTES):  # text has none [assumed]
        raise DataError(
            phrase("{name} is neither UTF-8 nor any text encoding known here", name=shown(name)),
            allowed=phrase("UTF-8, UTF-16 with its mark, or Windows-1252"),
            do=phrase("save it as UTF-8; if it is not text, name it by its right suffix"),
        )
    try:
        return "Windows-1252", content.decode("cp1252").encode()
    except UnicodeDecodeError:
        return "Latin-1", content.decode("latin-1").encode()


def sniff(content: bytes, name: str) -> Dialect:
    """The separator whose count is the same, and largest, in most of the first rows."""
    head = content[:SNIFF_BYTES]
    if len(content) > SNIFF_BYTES and b"\n" in head:
        head = head[: head.rindex(b"\n") + 1]
    best = (0.0, 0, ",", True)
    for separator in SEPARATORS:
        for quoted in (True, False) if b'"' in head else (True,):
            counts = np.concatenate([c for c, _ in _separators(head, separator, quoted)] or [[]])
            if not len(counts) or not counts[0]:
                continue
            share = float((counts == counts[0]).mean())
            if (round(share, 2), int(counts[0]), quoted) > (best[0], best[1], best[3]):
                best = (round(share, 2), int(counts[0]), separator, quoted)
    _, _, separator, quoted = best
    return Dialect(separator=separator, quoted=quoted, header=_has_header(head, separator, quoted))


def read_rows(content: bytes, name: str, notices: list[Notice]) -> tuple[pl.DataFrame, Dialect]:
    """All rows as text, and how they were written."""
    dialect, raw = settle(content, name, notices)
    return named_rows(raw, content, dialect, name, notices), dialect


def settle(content: bytes, name: str, notices: list[Notice]) -> tuple[Dialect, pl.DataFrame]:
    """The dialect in which the rows are even, and the rows, a header among them.

    Quotes that do not enclose cells are taken as plain characters when the rows are even so.
    Raises DataError when they never are.
    """
    dialect = sniff(content, name)
    try:
        check_rows(content, dialect, name)
        frame = parse_rows(content, dialect, name)
        if not dialect.quoted and b'"' in content:
            notices.append(Notice(code="quotes_literal"))
        return dialect, frame
    except DataError:
        if not dialect.quoted or b'"' not in content:
            raise
        plain = replace(dialect, quoted=False)
        try:
            check_rows(content, plain, name)
            frame = parse_rows(content, plain, name)
        except DataError:
            frame = None
        if frame is None:
            raise
    notices.append(Notice(code="quotes_literal"))
    return plain, frame


def check_rows(
    content: bytes,
    dialect: Dialect,
    name: str,
    *,
    expected: int | None = None,
    first_line: int = 1,
) -> None:
    """Raises DataError naming the first line with another number of cells, or with a cell beyond
    CELL_BYTES.
    """
    expected = None if expected is None else expected - 1
    line, bad, first_bad = first_line, 0, (0, 0)
    for counts, lengths in _separators(content, dialect.separator, dialect.quoted):
        if expected is None and len(counts):
            expected = int(counts[0])
        if len(lengths) and lengths.max() > CELL_BYTES:
            _refuse_huge_cell(content, dialect, name, int(lengths.max()))
        wrong = np.flatnonzero((counts != expected) & (lengths > 1))
        if len(wrong) and not bad:
            first_bad = (line + int(wrong[0]), int(counts[wrong[0]]) + 1)
        bad += len(wrong)
        line += len(counts)
    if bad:
        raise DataError(
            phrase(
                "{name}: row {row} has {cells} cells where the first has {expected}; "
                "{num} rows differ",
                name=shown(name),
                row=first_bad[0],
                cells=first_bad[1],
                expected=(expected or 0) + 1,
                num=bad,
            )
            if bad > 1
            else phrase(
                "{name}: row {row} has {cells} cells where the first has {expected}; 1 row differs",
                name=shown(name),
                row=first_bad[0],
                cells=first_bad[1],
                expected=(expected or 0) + 1,
            ),
            allowed=phrase("the same number of cells in every row"),
            do=phrase("mend these rows (a separator within a cell needs quotes around the cell)"),
        )


def named_rows(
    frame: pl.DataFrame, content: bytes, dialect: Dialect, name: str, notices: list[Notice]
) -> pl.DataFrame:
    """Rows under their names, without the header and without blank lines.

    Raises DataError when none is left.
    """
    width = frame.width
    names = header_names(content, dialect, width, notices)
    if dialect.header:
        frame = frame.slice(1)
    frame.columns = names
    if b"\n\n" in content and width > 1:
        frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    if not frame.height:
        raise DataError(
            phrase("{name} has a header but no rows", name=shown(name)),
            allowed=phrase("at least one row"),
            do=phrase("check how the file was written"),
        )
    return frame


def parse_rows(content: bytes, dialect: Dialect, name: str) -> pl.DataFrame:
    """All rows, a header among them, as text in columns without names of their own."""
    try:
        return pl.read_csv(
            io.BytesIO(content), separator=dialect.separator, has_header=False,
            quote_char='"' if dialect.quoted else None, infer_schema=False,
            null_values=list(MISSING_WORDS),
        )  # fmt: skip
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError) as error:
        raise DataError(
            phrase(
                "{name} cannot be parsed: {error}",
                name=shown(name),
                error=shown(str(error).splitlines()[0]),
            ),
            allowed=phrase("rows of cells, the same number in each"),
            do=phrase("check how it was written"),
        ) from None


def end_of_first_row(content: bytes, dialect: Dialect) -> int:
    """Just after the line end that closes the first row."""
    end = content.find(b"\n") + 1
    while dialect.quoted and end and content.count(b'"', 0, end) % 2:
        end = content.find(b"\n", end) + 1
    return end or len(content)


def width_of(row: bytes, dialect: Dialect) -> int:
    """Cells of a row."""
    counts = [c for c, _ in _separators(row, dialect.separator, dialect.quoted)]
    return int(np.concatenate(counts)[0]) + 1


def header_names(content: bytes, dialect: Dialect, width: int, notices: list[Notice]) -> list[str]:
    """Column names: from the header, trimmed; unnamed and repeated ones get numbers."""
    if not dialect.header:
        notices.append(Notice(code="no_header", values={"count": width}))
        return [f"column_{i + 1}" for i in range(width)]
    rows = _first_rows(content, dialect.separator, dialect.quoted, num=1)
    names = [*(rows[0] if rows else []), *[""] * width][:width]
    return distinct_names(names, notices)


def distinct_names(names: list[str], notices: list[Notice]) -> list[str]:
    """The names, trimmed, each once: empty ones are numbered, repeated ones get `_2`, `_3`, …"""
    taken: set[str] = set()
    result: list[str] = []
    renamed: list[str] = []
    for index, raw in enumerate(names):
        wanted = raw.strip() or f"column_{index + 1}"
        name, count = wanted, 1
        while name in taken:
            count += 1
            name = f"{wanted}_{count}"
        if name != wanted:
            renamed.append(name)
        taken.add(name)
        result.append(name)
    if renamed:
        values = {"count": len(renamed), "names": renamed[:5]}
        notices.append(Notice(code="columns_renamed", values=values))
    return result


def _first_rows(content: bytes, separator: str, quoted: bool, num: int = 100) -> list[list[str]]:
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="replace", newline="")
    if not quoted:
        return [line.rstrip("\n").split(separator) for line in itertools.islice(text, num)]
    rows: list[list[str]] = []
    with contextlib.suppress(csv.Error):
        rows.extend(itertools.islice(csv.reader(text, delimiter=separator), num))
    return rows


def _has_header(head: bytes, separator: str, quoted: bool) -> bool:
    """No when the first row looks like the others.

    That is: all its cells are numbers (unless they count 0, 1, 2, …); or no word of it stands
    above numbers, and a word comes again in its column, or it holds a label and a sentence.
    """
    rows = [[cell.strip() for cell in row] for row in _first_rows(head, separator, quoted)]
    if not rows or not rows[0]:
        return True
    first, others = rows[0], rows[1:]
    if all(_NUMBER.fullmatch(cell) for cell in first):
        return len(first) > 1 and first == [str(i) for i in range(len(first))]
    others = [row for row in others if len(row) == len(first)]
    columns = list(zip(*others, strict=True)) if others else [()] * len(first)
    repeated = [column.count(cell) >= 2 for cell, column in zip(first, columns, strict=True)]
    numeric = [bool(_NUMBER.fullmatch(cell)) for cell in first]
    for cell, column, is_number in zip(first, columns, numeric, strict=True):
        values = [other for other in column if other]
        if cell and not is_number and values and all(map(_NUMBER.fullmatch, values)):
            return True
    if any(
        again and cell and not n for again, cell, n in zip(repeated, first, numeric, strict=True)
    ):
        return False
    sentences = [
        len(cell.split()) >= SENTENCE and _mostly_sentences(column)
        for cell, column in zip(first, columns, strict=True)
    ]
    return not (any(sentences) and any(numeric) and any(repeated))


def _mostly_sentences(column: tuple[str, ...]) -> bool:
    return sum(len(cell.split()) >= SENTENCE for cell in column) > len(column) / 2


def _refuse_huge_cell(content: bytes, dialect: Dialect, name: str, length: int) -> None:
    """A row may be long because it has many cells; then nothing is wrong."""
    pattern = re.compile(rb"[^\n%s]{%d}" % (re.escape(dialect.separator.encode()), CELL_BYTES))
    if pattern.search(content) or (dialect.quoted and _huge_quoted(content)):
        raise DataError(
            phrase(
                "{name} holds a cell of over {mebibytes} MiB (a row of {length} bytes)",
                name=shown(name),
                mebibytes=CELL_BYTES >> 20,
                length=length,
            ),
            allowed=phrase("cells of at most {bytes} bytes", bytes=CELL_BYTES),
            do=phrase(
                "look for a quote that is never closed, or keep long texts in files of their own"
            ),
        )


def _huge_quoted(content: bytes) -> bool:
    quotes = np.flatnonzero(np.frombuffer(content, dtype=np.uint8) == ord('"'))
    ends = np.concatenate([quotes, [len(content)]])
    return bool(len(quotes) and np.diff(ends).max() > CELL_BYTES)


def _separators(
    content: bytes, separator: str, quoted: bool, block: int = 1 << 22
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of (separators, bytes) for each row; line ends within quotes belong to the row."""
    array = np.frombuffer(content, dtype=np.uint8)
    parity, carried, length = 0, 0, 0
    for begin in range(0, len(array), block):
        part = array[begin : begin + block]
        is_separator = part == ord(separator)
        ends = part == ord("\n")
        if quoted:
            inside = np.cumsum(part == ord('"'), dtype=np.int64) + parity
            parity = int(inside[-1])
            outside = (inside & 1) == 0
            is_separator &= outside
            ends &= outside
        where = np.flatnonzero(ends)
        seen = np.cumsum(is_separator, dtype=np.int64)
        at_ends = seen[where]
        counts = np.diff(at_ends, prepend=-carried)
        lengths = np.diff(where, prepend=-1 - length)
        carried = int(seen[-1] - at_ends[-1]) if len(where) else carried + int(seen[-1])
        length = int(len(part) - 1 - where[-1]) if len(where) else length + len(part)
        yield counts, lengths
    if length:
        yield np.array([carried]), np.array([length])
