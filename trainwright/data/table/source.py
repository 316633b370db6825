"""Which bytes does a source name? Files by path, glob or URL, expanded with a cap, refused when
they are no table."""

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from glob import glob, has_magic
from pathlib import Path
from typing import IO, Any

from trainwright.core.errors import DataError, shown, system_reason
from trainwright.core.phrases import phrase

BOMB_RATIO = 200  # text compresses at most about 1:100 [assumed]
BOMB_BYTES = 1 << 30  # below this any ratio is harmless [assumed]
_BLOCK = 1 << 20
_PACKED = {".gz": "gz", ".zst": "zst", ".bz2": "bz2", ".xz": "xz"}
_SUFFIXES = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".txt": "csv", ".data": "csv", ".dat": "csv",
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl",
    ".parquet": "parquet", ".pq": "parquet",
    ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow",
}  # fmt: skip
_PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One file of a source: where it is, its format, how it is packed, its bytes on disk."""

    path: str
    format: str
    packed: str | None
    size: int
    remote: bool = False


def find_pieces(source: str) -> list[Piece]:
    """The files that `source` names, by name.

    Raises DataError when there are none, or one of them is no table.
    """
    if "://" in source:
        return _remote(source)
    path = os.path.expanduser(source)
    try:
        return [_piece(name, os.path.getsize(name)) for name in _named(source, path)]
    except OSError as error:
        raise unreadable(error.filename or path, error) from None


def _named(source: str, path: str) -> list[str]:
    """Names of local files."""
    if has_magic(path) and not os.path.exists(path):
        found = sorted(p for p in glob(path, recursive=True) if os.path.isfile(p))
        if not found:
            raise DataError(
                phrase("no file matches {source}", source=shown(source)),
                allowed=phrase("a pattern that matches some files"),
                do=phrase("look at what the folder holds: {near}", near=_neighbours(path)),
            )
    elif os.path.isdir(path):
        files = sorted(p for p in map(str, Path(path).iterdir()) if os.path.isfile(p))
        found = [p for p in files if is_table_name(p)]
        if not found:
            raise DataError(
                phrase("the folder {source} holds no examples", source=shown(source)),
                allowed=phrase(
                    "table files, or one folder of images, recordings or texts per class"
                ),
                do=phrase("name the folder whose folders are the classes, or a file"),
            )
    elif not os.path.exists(path):
        raise DataError(
            phrase("there is no file {source}", source=shown(source)),
            allowed=phrase("a file, folder, pattern or URL"),
            do=phrase("check the path: {near}", near=_neighbours(path)),
        )
    else:
        found = [path]
    return found


def load(piece: Piece, limit: int) -> bytes | None:
    """All bytes of a piece, expanded; None when there are more than `limit`.

    Raises DataError for a truncated file and for a compression bomb.
    """
    blocks: list[bytes] = []
    total = 0
    for block in blocks_of(piece):
        total += len(block)
        if total > limit:
            return None
        blocks.append(block)
    return b"".join(blocks)


def blocks_of(piece: Piece, block_bytes: int = _BLOCK) -> Iterator[bytes]:
    """A piece's expanded bytes, block by block, checked as they come."""
    total = 0
    try:
        for block in _expanded(piece, block_bytes):
            total += len(block)
            _refuse_bomb(piece, total)
            yield block
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise _damaged(piece, error) from None
    except OSError as error:
        if piece.packed:
            raise _damaged(piece, error) from None
        raise unreadable(piece.path, error) from None


def unreadable(path: str, error: OSError) -> DataError:
    """The error for a file or folder that the system does not hand out."""
    return DataError(
        phrase("{path} cannot be read: {reason}", path=shown(path), reason=system_reason(error)),
        allowed=phrase("a file that this user may read"),
        do=phrase("check its permissions and the disk"),
    )


def _expanded(piece: Piece, block_bytes: int) -> Iterator[bytes]:
    with _raw(piece) as raw:
        if piece.packed == "zst":
            yield from _zstandard(raw)
            return
        match piece.packed:
            case "gz":
                stream: Any = gzip.GzipFile(fileobj=raw)
            case "bz2":
                stream = bz2.BZ2File(raw)
            case "xz":
                stream = lzma.LZMAFile(raw)  # noqa: SIM115 (closed with `raw`)
            case _:
                stream = raw
        while block := stream.read(block_bytes):
            yield block


def _zstandard(raw: IO[bytes]) -> Iterator[bytes]:
    """Expands frame after frame; the library's own reader says nothing of a truncated one.

    4 KiB in at a time, so that a bomb is seen before it fills the memory.
    """
    import zstandard

    frame = None
    pending = b""
    while block := pending or raw.read(4096):
        frame = frame or zstandard.ZstdDecompressor().decompressobj()
        try:
            out = frame.decompress(block)
        except zstandard.ZstdError as error:
            raise EOFError(str(error)) from None
        pending = frame.unused_data if frame.eof else b""
        frame = None if frame.eof else frame
        if out:
            yield out
    if frame is not None:
        raise EOFError(phrase("the last frame is incomplete"))


def refuse_binary(content: bytes, name: str) -> None:
    """Raises DataError when text was expected and the bytes are something else."""
    if not content.strip(b"\xef\xbb\xbf \t\r\n\x00"):
        raise DataError(
            phrase("{name} is empty", name=shown(name)),
            allowed=phrase("a header line and at least one row"),
            do=phrase("check how the file was written"),
        )
    kind = _foreign(content)
    if content[:1] == b"\x80" and len(content) > 1 and content[1] in (2, 3, 4, 5):
        raise pickle_refused(name)
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    if kind is None and not wide and b"\x00" in content:
        kind = phrase("binary (it holds NUL bytes)")
    if kind is not None:
        raise DataError(
            phrase("{name} is {kind}, not a table", name=shown(name), kind=kind),
            allowed=_formats(),
            do=phrase("export the table as CSV or Parquet"),
        )


def _foreign(content: bytes) -> str | None:
    """What begins with these bytes, where it is no table."""
    kinds = {
        b"PK\x03\x04": phrase("a zip archive (perhaps a spreadsheet)"),
        b"\x89PNG": phrase("a PNG image"),
        b"\xff\xd8\xff": phrase("a JPEG image"),
        b"GIF8": phrase("a GIF image"),
        b"%PDF": phrase("a PDF"),
        b"\x7fELF": phrase("a program"),
        b"\x93NUMPY": phrase("a NumPy array"),
        b"RIFF": phrase("a recording or image"),
        b"SQLite format 3": phrase("a database"),
        b"\xd0\xcf\x11\xe0": phrase("an old Office file"),
        b"7z\xbc\xaf": phrase("a 7z archive"),
    }
    return next((words for magic, words in kinds.items() if content.startswith(magic)), None)


def _formats() -> str:
    return phrase(
        "CSV, TSV, JSONL, Parquet, Arrow or Feather, plain or packed as .gz, .zst, .bz2, .xz"
    )


def pickle_refused(name: str) -> DataError:
    return DataError(
        phrase(
            "{name} is a pickle, which could run any code when opened; it was not opened",
            name=shown(name),
        ),
        allowed=_formats(),
        do=phrase("write the data as Parquet, CSV or npz, e.g. frame.to_parquet('data.parquet')"),
    )


def _piece(path: str, size: int, remote: bool = False) -> Piece:
    suffix, packed = _suffixes(path)
    if suffix in _PICKLES:
        raise pickle_refused(path)
    if size == 0:
        refuse_binary(b"", path)
    format = _SUFFIXES.get(suffix, "csv")
    if not remote:
        with open(path, "rb") as stream:
            head = stream.read(8)
        packed = _packed_by_magic(head) or (packed if not head.isascii() else None)
        format = {b"PAR1": "parquet", b"ARRO": "arrow"}.get(head[:4], format)
        if format in ("parquet", "arrow") and packed is None:
            _expect_magic(path, head, format)
    return Piece(path=path, format=format, packed=packed, size=size, remote=remote)


def _expect_magic(path: str, head: bytes, format: str) -> None:
    """A file is what its name says; Arrow's stream format begins with FFFFFFFF."""
    if format == "parquet" and head[:4] != b"PAR1":
        raise DataError(
            phrase("{path} is called Parquet but is not", path=shown(path)),
            allowed=_formats(),
            do=phrase("check how it was written, or give it the right suffix"),
        )
    if format == "arrow" and head[:4] not in (b"ARRO", b"FEA1", b"\xff\xff\xff\xff"):
        raise DataError(
            phrase("{path} is called Arrow but is not", path=shown(path)),
            allowed=_formats(),
            do=phrase("check how it was written, or give it the right suffix"),
        )


def _packed_by_magic(head: bytes) -> str | None:
    magic = {b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst", b"BZh": "bz2", b"\xfd7zXZ": "xz"}
    return next((kind for start, kind in magic.items() if head.startswith(start)), None)


def _suffixes(path: str) -> tuple[str, str | None]:
    """('.csv', 'gz') for a name such as 'a.CSV.gz'."""
    stem, last = os.path.splitext(path.lower())
    if last in _PACKED:
        return os.path.splitext(stem)[1], _PACKED[last]
    return last, None


def is_table_name(name: str) -> bool:
    """Whether a file is a table by its suffix; .txt may be a text."""
    suffix, _ = _suffixes(name)
    return suffix in _SUFFIXES and suffix != ".txt"


@contextmanager
def _raw(piece: Piece) -> Iterator[IO[bytes]]:
    if not piece.remote:
        with open(piece.path, "rb") as stream:
            yield stream
        return
    import fsspec

    with fsspec.open(piece.path, "rb") as stream:
        yield stream  # pyright: ignore[reportReturnType]


def _remote(source: str) -> list[Piece]:
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(source)
        paths: Any = system.glob(path) if has_magic(path) else [path]
        found = [(system.unstrip_protocol(p), system.info(p)) for p in sorted(paths)]
    except Exception as error:  # each of fsspec's back ends raises its own kinds
        raise DataError(
            phrase(
                "{source} cannot be opened: {type} {error}",
                source=shown(source),
                type=type(error).__name__,
                error=shown(str(error)),
            ),
            allowed=phrase("a local path, or a URL that fsspec knows, as https://… or s3://…"),
            do=phrase(
                "check the address and the network; some schemes need a package (s3fs, gcsfs)"
            ),
        ) from None
    if not found:
        raise DataError(
            phrase("no file matches {source}", source=shown(source)),
            allowed=phrase("a URL of at least one file"),
            do=phrase("check the address"),
        )
    return [_piece(name, int(info.get("size") or 1), remote=True) for name, info in found]


def _refuse_bomb(piece: Piece, total: int) -> None:
    if piece.packed and total > BOMB_BYTES and total > BOMB_RATIO * max(1, piece.size):
        raise DataError(
            phrase(
                "{path} grows to over {ratio} times its size when expanded",
                path=shown(piece.path),
                ratio=BOMB_RATIO,
            ),
            allowed=phrase(
                "at most {ratio}:1 beyond {gibibytes} GiB",
                ratio=BOMB_RATIO,
                gibibytes=BOMB_BYTES >> 30,
            ),
            do=phrase("if you trust it, expand it yourself and name the expanded file"),
        )


def _damaged(piece: Piece, error: Exception) -> DataError:
    return DataError(
        phrase(
            "{path} is damaged or cut short: {error}",
            path=shown(piece.path),
            error=shown(str(error))[1:-1],
        ),
        allowed=phrase("a complete file"),
        do=phrase("copy or download it again"),
    )


def _neighbours(path: str) -> str:
    """Names near the missing one in its folder, or what the folder holds."""
    folder = os.path.dirname(path) or "."
    while not os.path.isdir(folder) and os.path.dirname(folder) not in ("", folder):
        folder = os.path.dirname(folder)
    try:
        names = sorted(os.listdir(folder if os.path.isdir(folder) else "."))
    except OSError:
        return phrase("its folder cannot be listed")
    near = get_close_matches(os.path.basename(path), names, n=3, cutoff=0.6)
    if near:
        names = phrase(" or ").join(shown(name) for name in near)
        return phrase("did you mean {names}?", names=names)
    if not names:
        return phrase("{folder} holds nothing", folder=shown(folder))
    listed = ", ".join(shown(name) for name in names[:5]) + (" …" if len(names) > 5 else "")
    return phrase("{folder} holds {listed}", folder=shown(folder), listed=listed)
