"""What does a source hold? Folders, files, tables of paths, arrays and texts brought to one list of
examples with raw targets."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trainwright.core.errors import DataError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice
from trainwright.data.media.arrays import load_arrays
from trainwright.data.media.folder import (
    NAMED_FILES,
    MediaKind,
    UndecodableError,
    kind_in_words,
    kind_of,
    list_files,
    list_folder,
)
from trainwright.data.media.text import read_text
from trainwright.data.media.workers import read_file
from trainwright.data.table.frames import raw_target
from trainwright.data.table.read import read_table
from trainwright.data.table.target import Raw

STORED = (".npz", ".npy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Examples before decoding: `paths` of files, or `arrays`, or `texts`.

    `numbers` are rows in the source, `names` what people call the examples, `target` raw values;
    `given` (words), `groups` and `times` decide the split where they are not None.
    """

    source: str
    format: str
    kind: MediaKind
    numbers: np.ndarray
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    arrays: np.ndarray | None = None
    texts: tuple[str, ...] | None = None
    target: Raw | None = None
    class_names: tuple[str, ...] = ()
    given: tuple[str, ...] | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    notices: tuple[Notice, ...] = ()

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, kept: np.ndarray, *notices: Notice) -> "Gathered":
        """Only those rows, and more notices."""
        said = (*self.notices, *notices)
        if len(kept) == len(self):
            return replace(self, notices=said)
        return replace(
            self,
            numbers=self.numbers[kept],
            names=_pick(self.names, kept),
            paths=_pick(self.paths, kept),
            arrays=_pick(self.arrays, kept),
            texts=_pick(self.texts, kept),
            target=_pick(self.target, kept),
            given=_pick(self.given, kept),
            groups=_pick(self.groups, kept),
            times=_pick(self.times, kept),
            notices=said,
        )

    def without(self, failed: Sequence[tuple[int, str]]) -> "Gathered":
        """Only what could be read; `failed` are positions and reasons.

        Raises DataError when nothing is left.
        """
        if not failed:
            return self
        reasons = list(dict.fromkeys(reason for _, reason in failed))[:NAMED_FILES]
        first = [self.names[position] for position, _ in failed[:NAMED_FILES]]
        if len(failed) == len(self):
            raise DataError(
                phrase(
                    "none of the {num} files could be read, e.g. {file}: {reason}",
                    num=len(self),
                    file=shown(first[0]),
                    reason=reasons[0],
                ),
                allowed=phrase("whole {kind} files", kind=kind_in_words(self.kind)),
                do=phrase("check the files and their paths"),
            )
        bad = {position for position, _ in failed}
        kept = np.array([i for i in range(len(self)) if i not in bad], dtype=np.int64)
        values = {"count": len(failed), "total": len(self), "names": first, "reasons": reasons}
        return self.rows(kept, Notice(code="media_files_skipped", values=values))


def gather(
    source: object, *, with_target: bool, path_column: str | None, target: str, memory_limit: int
) -> Gathered:
    """Images or recordings as any of: folder, file, list of files, table with `path_column`,
    .npz, array.

    Raises DataError for what is none of these, and for a missing target when one is asked for.
    """
    wanted = target if with_target else None
    if isinstance(source, Path):
        source = str(source)
    if isinstance(source, str) and os.path.isdir(source):
        found = from_folder(source, with_target=with_target, memory_limit=memory_limit)
    elif isinstance(source, str) and source.lower().endswith(STORED):
        found = from_arrays_file(source, memory_limit)
    elif isinstance(source, str) and kind_of(source):
        found = _from_files([source], source)
    elif isinstance(source, str):
        frame = read_frame(source, memory_limit)
        folder = os.path.dirname(source)
        found = from_frame(frame, path_column or "path", wanted, folder=folder, source=source)
    elif isinstance(source, pl.DataFrame):
        found = from_frame(source, path_column or "path", wanted, folder="", source="table")
    elif isinstance(source, (list, tuple)) and all(isinstance(i, (str, Path)) for i in source):
        found = _from_files([str(item) for item in source], "files")
    else:
        found = _from_array(source)
    if with_target and found.target is None:
        raise DataError(
            phrase("{source} tells no target for its examples", source=shown(found.source)),
            allowed=phrase("class folders, a table with a target column, or an .npz with y"),
            do=phrase("give the targets along with the examples"),
        )
    return found


def from_folder(folder: str, *, with_target: bool, memory_limit: int) -> Gathered:
    """A folder, of class folders when the target is wanted; texts are read at once."""
    listing = list_folder(folder, with_labels=with_target)
    found = Gathered(
        source=folder,
        format=f"{listing.kind} folder",
        kind=listing.kind,
        numbers=np.arange(len(listing.names)),
        names=listing.names,
        paths=listing.paths,
        target=listing.labels,
        given=listing.splits,
        notices=listing.notices,
    )
    return with_texts(found, memory_limit) if listing.kind == "text" else found


def from_frame(
    frame: pl.DataFrame, path_column: str, target: str | None, *, folder: str, source: str
) -> Gathered:
    """A table whose `path_column` names files, relative to `folder`; rows without a path are left
    out."""
    targets = named_columns(frame, target) if target else []
    for column in (path_column, *targets):
        if column not in frame.columns:
            raise DataError(
                phrase(
                    "{source} has no column {column}", source=shown(source), column=shown(column)
                ),
                allowed=", ".join(shown(name) for name in frame.columns[:20]),
                do=did_you_mean(column, frame.columns),
            )
    known = frame.get_column(path_column).is_not_null().to_numpy()
    names = [str(name) for name in frame.get_column(path_column).drop_nulls().to_list()]
    listing = list_files(names, folder)
    lost = int((~known).sum())
    said = (Notice(code="media_rows_without_path", values={"count": lost}),) if lost else ()
    whole = frame.filter(known)
    found = Gathered(
        source=source,
        format=f"{listing.kind} table",
        kind=listing.kind,
        numbers=np.flatnonzero(known),
        names=listing.names,
        paths=listing.paths,
        target=raw_columns(whole, targets) if targets else None,
        notices=said,
    )
    return with_texts(found, 1 << 40) if listing.kind == "text" else found


def read_frame(source: str, memory_limit: int) -> pl.DataFrame:
    """A table that fits in memory.

    Raises DataError.
    """
    table = read_table(source, memory_limit)
    if table is None:
        raise DataError(
            phrase("the table {source} is larger than data.memory_limit", source=shown(source)),
            do=phrase("raise data.memory_limit, or give it in parts"),
        )
    return table.frame


def named_columns(frame: pl.DataFrame, target: str) -> list[str]:
    """`a,b` as the columns a and b, unless one column is called so; they may be missing."""
    return [target] if target in frame.columns else [name.strip() for name in target.split(",")]


def raw_columns(frame: pl.DataFrame, names: Sequence[str]) -> Raw:
    """One column as `raw_column` has it; several, which must hold numbers, as a matrix."""
    return raw_target(frame, names) if len(names) > 1 else raw_column(frame.get_column(names[0]))


def raw_column(column: pl.Series) -> Raw:
    """Numbers as float64 with NaN for missing, lists as lists, others as words or None."""
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        if column.dtype != pl.Boolean:
            return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return [None if v is None else str(v).lower() for v in column.to_list()]
    if isinstance(column.dtype, pl.List):
        return column.to_list()
    return column.cast(pl.String, strict=False).to_list()


def with_texts(found: Gathered, memory_limit: int) -> Gathered:
    """The content of text files; what is no text is left out, named and counted.

    Raises DataError when none is left, or all together exceed memory_limit.
    """
    texts: list[str] = []
    failed: list[tuple[int, str]] = []
    encodings: set[str] = set()
    used = 0
    for place, (name, path) in enumerate(zip(found.names, found.paths, strict=True)):
        try:
            content, encoding = read_text(read_file(path), packed=name.lower().endswith(".gz"))
        except UndecodableError as error:
            failed.append((place, str(error)))
            texts.append("")
            continue
        used += len(content)
        if used > memory_limit:
            raise DataError(
                phrase(
                    "the texts in {source} exceed {mebibytes:,.0f} MiB",
                    source=shown(found.source),
                    mebibytes=memory_limit / 2**20,
                ),
                allowed="data.memory_limit",
                do=phrase("raise data.memory_limit, or give fewer files"),
            )
        texts.append(content)
        encodings.add(encoding)
    found = replace(found, texts=tuple(texts)).without(failed)
    other = sorted(encodings - {"utf-8"})
    if other:
        notice = Notice(code="media_text_encoding", values={"encodings": other})
        found = replace(found, notices=(*found.notices, notice))
    return found


def from_arrays_file(path: str, memory_limit: int) -> Gathered:
    """A .npz or .npy, whatever its shapes."""
    stored = load_arrays(path, memory_limit)
    return Gathered(
        source=path,
        format=os.path.splitext(path)[1].lower().removeprefix("."),
        kind="image",
        numbers=np.arange(len(stored.inputs)),
        arrays=stored.inputs,
        target=_raw_array(stored.target),
        given=stored.splits,
        class_names=stored.class_names,
    )


def words_of_codes(found: Gathered) -> Gathered:
    """Codes 0, 1, 2, … replaced by the class names that the source gives for them."""
    if not found.class_names or not isinstance(found.target, np.ndarray):
        return found
    if not are_codes(found.target, len(found.class_names)):
        return found
    words = [found.class_names[int(code)] for code in found.target]
    return replace(found, target=words)


def are_codes(values: Raw | None, count: int) -> bool:
    """Whether these are whole numbers from 0 to count - 1."""
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        return False
    return bool(np.isin(values, np.arange(count)).all())


def _from_files(names: Sequence[str], source: str) -> Gathered:
    listing = list_files(names)
    return Gathered(
        source=source,
        format=f"{listing.kind} files",
        kind=listing.kind,
        numbers=np.arange(len(listing.names)),
        names=listing.names,
        paths=listing.paths,
    )


def _from_array(source: Any) -> Gathered:
    array = np.asarray(source)
    if array.dtype.kind not in "iufb" or array.ndim < 2:
        raise DataError(
            phrase("{type} holds no images or recordings", type=shown(type(source).__name__)),
            allowed=phrase("a folder, files, a table of paths, .npz, or an array of images"),
            do=phrase("give one of these"),
        )
    numbers = np.arange(len(array))
    return Gathered(source="array", format="array", kind="image", numbers=numbers, arrays=array)


def _raw_array(target: np.ndarray | None) -> Raw | None:
    """Text arrays as words; numbers as they are; one column as a vector."""
    if target is None:
        return None
    if target.ndim == 2 and target.shape[1] == 1:
        target = target[:, 0]
    if target.dtype.kind in "US":
        return [
            v.decode("utf-8", "replace") if isinstance(v, bytes) else v for v in target.tolist()
        ]
    return target.astype(np.float64) if target.dtype.kind in "iufb" else None


def _pick(values: Any, kept: np.ndarray) -> Any:
    if values is None or isinstance(values, np.ndarray):
        return None if values is None else values[kept]
    picked = [values[i] for i in kept.tolist()] if len(values) else values
    return tuple(picked) if isinstance(values, tuple) else picked
