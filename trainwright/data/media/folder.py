"""Which files does a folder hold, and what are they called? Media files with the class, and the
split where the folders say it, of each."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal, TypeVar

import numpy as np

from trainwright.core.errors import DataError, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice, Split
from trainwright.data.table.source import unreadable

Items = TypeVar("Items", tuple[str, ...], np.ndarray)
MediaKind = Literal["image", "audio", "text"]

SUFFIXES: dict[MediaKind, tuple[str, ...]] = {
    "image": (
        ".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm",
    ),
    "audio": (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff"),
    "text": (".txt", ".text", ".txt.gz"),
}  # fmt: skip
SPLIT_FOLDERS: dict[str, Split] = {
    "train": "train", "training": "train",
    "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid",
    "test": "test", "testing": "test",
}  # fmt: skip
MAX_DEPTH = 32  # folders within folders; deeper is a mistake or a trap [assumed]
NAMED_FILES = 3  # file names given in one notice [assumed]


class UndecodableError(Exception):
    """This one file cannot be read; the reason, without the file's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Files of one kind. `names` are paths relative to `folder`, in a fixed order.

    `labels` is the class of each (None when the folders do not say); `splits` the split of each
    (None when it is to be drawn).
    """

    folder: str
    kind: MediaKind
    names: tuple[str, ...]
    labels: tuple[str, ...] | None
    splits: tuple[Split, ...] | None
    notices: tuple[Notice, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(os.path.join(self.folder, name) for name in self.names)


def kind_of(name: str) -> MediaKind | None:
    """The kind of media that a file name promises."""
    lower = name.lower()
    return next((kind for kind, ends in SUFFIXES.items() if lower.endswith(ends)), None)


def class_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Distinct class names in order: by number when all are numbers, else by text."""
    names = sorted(set(labels))
    if all(re.fullmatch(r"[+-]?\d+(\.\d+)?", name, re.ASCII) for name in names):
        names.sort(key=lambda name: (float(name), name))
    return tuple(names)


def evenly(items: Items, most: int) -> Items:
    """At most `most` of the items, evenly spaced, so that every class is seen."""
    return items[:: max(1, -(-len(items) // most))]


def kind_in_words(kind: str) -> str:
    """`image` as it stands before "files"."""
    match kind:
        case "image":
            return phrase("image")
        case "audio":
            return phrase("audio")
        case "text":
            return phrase("text")
    return kind


def list_folder(folder: str, *, with_labels: bool = True) -> Listing:
    """Every media file below `folder`, sorted by path.

    The class of a file is the name of the first folder below `folder` (below the split's folder
    when the top folders are train, valid or val, test). Hidden files are passed over.

    Raises DataError when there is no media file, more than one kind, or (with_labels) no class.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(
            phrase("{folder} is not a folder", folder=shown(folder)), do=phrase("check the path")
        )
    found = sorted(_walk(str(root), "", 0, set()), key=_natural)
    known: dict[str, MediaKind] = {name: kind for name in found if (kind := kind_of(name))}
    kinds: Counter[MediaKind] = Counter(known.values())
    other = len(found) - len(known)
    if not kinds:
        raise DataError(
            phrase(
                "{folder} holds no image, audio or text file ({num} of other kinds)",
                folder=shown(folder),
                num=other,
            )
            if other
            else phrase("{folder} holds no image, audio or text file", folder=shown(folder)),
            allowed=", ".join(end for ends in SUFFIXES.values() for end in ends),
            do=phrase("give a folder with one folder per class, or a table"),
        )
    if len(kinds) > 1:
        counts = ", ".join(
            f"{count} {kind_in_words(kind)}" for kind, count in sorted(kinds.items())
        )
        raise DataError(
            phrase(
                "{folder} holds more than one kind of file: {counts}",
                folder=shown(folder),
                counts=counts,
            ),
            allowed=phrase("one kind: image, audio or text"),
            do=phrase("move the others elsewhere, or give a table that lists the files to use"),
        )
    kind, names = next(iter(kinds)), tuple(known)
    notices = _other_files(found, other)
    if not with_labels:
        return Listing(
            folder=folder, kind=kind, names=names, labels=None, splits=None, notices=notices
        )
    return _with_labels(folder, kind, names, notices)


def list_files(names: Sequence[str], folder: str = "") -> Listing:
    """The named files as a listing without classes; names that promise nothing go along.

    Raises DataError when the others are not all of one kind.
    """
    kinds: set[MediaKind] = {kind for name in names if (kind := kind_of(name))}
    if len(kinds) != 1:
        raise DataError(
            _not_of_one_kind(names, kinds),
            allowed=phrase(
                "image, audio or text files: {suffixes}",
                suffixes=", ".join(end for ends in SUFFIXES.values() for end in ends),
            ),
            do=phrase("give files of one kind"),
        )
    kind = next(iter(kinds))
    return Listing(folder=folder, kind=kind, names=tuple(names), labels=None, splits=None)


def _not_of_one_kind(names: Sequence[str], kinds: set[MediaKind]) -> str:
    if not names:
        return phrase("no files given")
    if not kinds:
        return phrase("there are no media file, e.g. {file}", file=shown(names[0]))
    return phrase(
        "there are files of several kinds: {kinds}, e.g. {file}",
        kinds=", ".join(kind_in_words(kind) for kind in sorted(kinds)),
        file=shown(names[0]),
    )


def _walk(root: str, below: str, depth: int, seen: set[tuple[int, int]]) -> Iterable[str]:
    """Paths relative to `root`; a folder reached twice (a loop of links) is entered once."""
    here = os.path.join(root, below)
    try:
        status = os.stat(here)
        entries = sorted(os.scandir(here), key=lambda entry: entry.name)
    except OSError as error:  # passed over, a whole class would be missing
        raise unreadable(here if below else root, error) from None
    if depth > MAX_DEPTH or (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in entries:
        if entry.name.startswith((".", "__MACOSX")):
            continue
        name = os.path.join(below, entry.name)
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link that leads to itself
            continue
        if is_folder:
            yield from _walk(root, name, depth + 1, seen)
        elif is_file:
            yield name


def _with_labels(
    folder: str, kind: MediaKind, names: tuple[str, ...], notices: tuple[Notice, ...]
) -> Listing:
    parts = [PurePath(name).parts for name in names]
    tops = {part[0].lower() for part in parts if len(part) > 1}
    given = (
        {SPLIT_FOLDERS[top] for top in tops if top in SPLIT_FOLDERS} >= {"train"}
        and len(tops) > 1
        and tops <= SPLIT_FOLDERS.keys()
    )
    place = 1 if given else 0
    loose = [name for name, part in zip(names, parts, strict=True) if len(part) < place + 2]
    kept = [index for index, part in enumerate(parts) if len(part) >= place + 2]
    if not kept:
        raise DataError(
            phrase(
                "{folder} holds {num} {kind} files but no class folders",
                folder=shown(folder),
                num=len(names),
                kind=kind_in_words(kind),
            ),
            allowed=phrase(
                "one folder per class ({kind} files inside), also below train, valid and test",
                kind=kind_in_words(kind),
            ),
            do=phrase(
                "sort the files into folders named by class, or give a table with a column "
                "of paths and a column of targets"
            ),
        )
    if loose:
        notices += (
            Notice(
                code="media_files_without_class",
                values={"count": len(loose), "names": loose[:NAMED_FILES]},
            ),
        )
    labels = tuple(parts[index][place] for index in kept)
    if len(set(labels)) < 2:
        raise DataError(
            phrase(
                "{folder} holds one class only, {label}",
                folder=shown(folder),
                label=shown(labels[0]),
            ),
            allowed=phrase("two or more class folders"),
            do=phrase("add a folder of another class"),
        )
    return Listing(
        folder=folder,
        kind=kind,
        names=tuple(names[index] for index in kept),
        labels=labels,
        splits=tuple(SPLIT_FOLDERS[parts[i][0].lower()] for i in kept) if given else None,
        notices=notices,
    )


def _other_files(found: Sequence[str], count: int) -> tuple[Notice, ...]:
    if not count:
        return ()
    ends = Counter(PurePath(name).suffix.lower() or "none" for name in found if not kind_of(name))
    values = {"count": count, "suffixes": [end for end, _ in ends.most_common(NAMED_FILES)]}
    return (Notice(code="media_other_files", values=values),)


def _natural(name: str) -> tuple[str, ...]:
    """Sorted folder by folder, so that `a/b` comes before `a-b`."""
    return PurePath(name).parts
