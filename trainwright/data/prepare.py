"""Which path does a source take? Synthetic, bundled, live, media, table or stream: one door to
all, and back from a record to the encoder."""

import hashlib
import os
from typing import Any

from trainwright.core.errors import DataError, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice
from trainwright.data.batch import Encoder, Prepared
from trainwright.data.knobs import DataKnobs
from trainwright.data.told import Tell, unheard

FINGERPRINT_BYTES = 1 << 20  # read from both ends of a file [assumed]


def prepare(
    source: object,
    knobs: DataKnobs,
    *,
    seed: int,
    one_tensor: bool = False,
    sequences: bool = False,
    tell: Tell = unheard,
) -> Prepared:
    """A source, understood, split and encoded. `one_tensor`: for a user's own module, categories
    become 0/1 columns and arrays stay as they are. `sequences`: live arrays of three dimensions are
    [example, time, channel], unless they are bytes. `tell` hears how far reading is.

    Raises DataError for whatever cannot be learnt from.
    """
    if source is None or (isinstance(source, str) and not source):
        raise DataError(
            phrase("there is no source"),
            allowed=phrase("a file, folder, URL, sklearn:… or synthetic:…, or X, y"),
            do=phrase("name one, e.g. data.source = 'customers.csv'"),
        )
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if not isinstance(source, str):
        from trainwright.data.live import prepare_live

        return prepare_live(
            source, knobs, seed=seed, one_tensor=one_tensor, sequences=sequences, tell=tell
        )
    if source.startswith(("synthetic:", "sklearn:")):
        return _prepare_named(source, knobs, seed)
    if source.lower().endswith((".npz", ".npy")):
        return _prepare_stored(source, knobs, seed)
    if os.path.isdir(source) and not _is_folder_of_tables(source):
        from trainwright.data.media.prepare import prepare_media

        return prepare_media(source, knobs, seed=seed, tell=tell)
    return _prepare_table(source, knobs, seed, one_tensor, tell)


def encoder_from_record(record: dict[str, Any]) -> Encoder:
    """The encoder that `Encoder.to_record` described.

    Raises DataError for a record of a kind that is not known here.
    """
    match record.get("kind"):
        case "table":
            from trainwright.data.table.encode import table_encoder_from_record

            return table_encoder_from_record(record)
        case "array":
            from trainwright.data.live import array_encoder_from_record

            return array_encoder_from_record(record)
        case "image" | "audio" | "text":
            from trainwright.data.media.prepare import encoder_from_record as from_media

            return from_media(record)
        case other:
            raise DataError(
                phrase("a record of encoder kind {other} is not known", other=shown(other)),
                allowed="table, array, image, audio, text",
                do=phrase("open the run with the version of trainwright that wrote it"),
            )


def fingerprint(source: str) -> str:
    """Hash of each file's size, time of change and both ends; of the text for anything else."""
    from trainwright.data.table.source import find_pieces

    digest = hashlib.blake2b(digest_size=16)
    for piece in find_pieces(source):
        digest.update(f"{piece.path}\x1f{piece.size}".encode())
        if piece.remote:
            continue
        digest.update(str(os.stat(piece.path).st_mtime_ns).encode())
        with open(piece.path, "rb") as stream:
            digest.update(stream.read(FINGERPRINT_BYTES))
            if piece.size > FINGERPRINT_BYTES:
                stream.seek(-min(FINGERPRINT_BYTES, piece.size - FINGERPRINT_BYTES), os.SEEK_END)
                digest.update(stream.read())
    return digest.hexdigest()


def _prepare_named(source: str, knobs: DataKnobs, seed: int) -> Prepared:
    from trainwright.data import known, live, synthetic
    from trainwright.data.table.prepare import Origin, prepare_matrix

    kind = source.partition(":")[0]
    found = synthetic.load(source, knobs, seed) if kind == "synthetic" else known.load(source)
    origin = Origin(
        source=source, format=kind, fingerprint=live.fingerprint(found.features, found.target)
    )
    return prepare_matrix(
        found.features, found.target, knobs, seed=seed, origin=origin, names=found.feature_names,
        class_names=found.class_names, target_name=found.target_name,
    )  # fmt: skip


def _prepare_stored(source: str, knobs: DataKnobs, seed: int) -> Prepared:
    """Arrays of a file: features when they are [example, feature], else media."""
    from trainwright.data.media.gather import from_arrays_file
    from trainwright.data.media.prepare import prepare_stored
    from trainwright.data.table.prepare import Origin, prepare_matrix

    found = from_arrays_file(source, knobs.memory_limit)
    if found.arrays is None or found.arrays.ndim != 2:
        return prepare_stored(found, knobs, seed=seed)
    if found.target is None:
        raise DataError(
            phrase("{source} holds no targets", source=shown(source)),
            allowed=phrase("X and y, or x_train, y_train, …"),
            do=phrase("save them with np.savez(path, X=..., y=...)"),
        )
    origin = Origin(source=source, format=found.format, fingerprint=fingerprint(source))
    return prepare_matrix(
        found.arrays, found.target, knobs, seed=seed, origin=origin,
        class_names=found.class_names, target_name=knobs.target or "target", given=found.given,
    )  # fmt: skip


def _is_folder_of_tables(folder: str) -> bool:
    """Files of tables, and no folders that could be classes."""
    from trainwright.data.table.source import is_table_name, unreadable

    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise unreadable(folder, error) from None
    folders = any(entry.is_dir() for entry in found)
    return not folders and any(is_table_name(entry.name) for entry in found)


def _prepare_table(
    source: str, knobs: DataKnobs, seed: int, one_tensor: bool, tell: Tell
) -> Prepared:
    from trainwright.data.table.prepare import Origin, prepare_frame
    from trainwright.data.table.read import read_table

    table = None if knobs.stream is True else read_table(source, knobs.memory_limit)
    if table is None:
        if knobs.stream is False:
            raise DataError(
                phrase(
                    "{source} takes over {bytes} bytes in memory",
                    source=shown(source),
                    bytes=knobs.memory_limit,
                ),
                allowed=phrase("tables within data.memory_limit, or streaming"),
                do=phrase("raise data.memory_limit, or set data.stream to auto"),
            )
        from trainwright.data.table.stream import prepare_stream

        return prepare_stream(
            source, knobs, seed=seed, one_tensor=one_tensor, fingerprint=fingerprint(source),
            tell=tell,
        )  # fmt: skip
    notices: tuple[Notice, ...] = table.notices
    origin = Origin(
        source=source, format=table.format, fingerprint=fingerprint(source), notices=notices,
        folder=os.path.dirname(source),
    )  # fmt: skip
    return prepare_frame(
        table.frame, knobs, seed=seed, one_tensor=one_tensor, origin=origin, tell=tell
    )
