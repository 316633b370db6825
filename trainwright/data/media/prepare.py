"""How do images, recordings and texts become training, validation and test examples? Found, read
once, split, and encoded by what the training part shows."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from trainwright.core.errors import DataError, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Column, Notice, Signature, Understanding
from trainwright.data.batch import Encoder, Examples, Prepared
from trainwright.data.knobs import DataKnobs
from trainwright.data.media.arrays import as_images
from trainwright.data.media.augment import build_augment
from trainwright.data.media.encoder import (
    SCALED_EXAMPLES,
    MediaEncoder,
    fit_scaling,
    media_encoder_from_record,
)
from trainwright.data.media.folder import evenly
from trainwright.data.media.form import choose_form
from trainwright.data.media.gather import (
    STORED,
    Gathered,
    from_arrays_file,
    from_folder,
    from_frame,
)
from trainwright.data.media.image import ImageForm
from trainwright.data.media.labels import (
    class_counts,
    folder_target,
    known_rows,
    refuse_one_class,
    stored_target,
    target_rows,
)
from trainwright.data.media.text import fit_tokens
from trainwright.data.media.text_encoder import (
    TextEncoder,
    from_texts,
    text_encoder_from_record,
)
from trainwright.data.media.workers import num_workers, read_all
from trainwright.data.split import Rows, hash_rows, quantile_bins, split_rows
from trainwright.data.table.target import Target, fit_coding, read_target
from trainwright.data.told import Tell, unheard


def prepare_media(source: str, knobs: DataKnobs, *, seed: int, tell: Tell = unheard) -> Prepared:
    """A folder of class folders, or an .npz or .npy of images.

    Raises DataError.
    """
    if source.lower().endswith(STORED):
        return prepare_stored(from_arrays_file(source, knobs.memory_limit), knobs, seed=seed)
    found = from_folder(source, with_target=True, memory_limit=knobs.memory_limit)
    target = folder_target(found, knobs)
    if found.texts is not None:
        return _prepare_texts(found, target, knobs, seed=seed)
    return _prepare_files(found, target, knobs, seed=seed, tell=tell)


def prepare_manifest(
    frame: pl.DataFrame,
    path_column: str,
    *,
    target_column: str,
    folder: str,
    knobs: DataKnobs,
    seed: int,
    source: str = "table",
    columns: tuple[Column, ...] = (),
    notices: tuple[Notice, ...] = (),
    tell: Tell = unheard,
) -> Prepared:
    """A table whose `path_column` names image, sound or text files, relative to `folder`.

    `target_column` may join several columns of numbers by commas; data.split, data.group and
    data.time name columns of it. Raises DataError.
    """
    found = from_frame(frame, path_column, target_column, folder=folder, source=source)
    kept = torch.from_numpy(found.numbers).tolist()
    asked = {
        name: _column(frame, name)[kept] for name in (knobs.split, knobs.group, knobs.time) if name
    }
    found = replace(
        found,
        given=tuple(map(str, asked[knobs.split].to_list())) if knobs.split else None,
        groups=_numbered(asked[knobs.group]) if knobs.group else None,
        times=_seconds(asked[knobs.time]) if knobs.time else None,
        notices=(*notices, *found.notices),
    )
    assert found.target is not None
    target = read_target(found.target, knobs.task, target_column)
    found, target = known_rows(found, target)
    if found.texts is not None:
        return _prepare_texts(found, target, knobs, seed=seed, columns=columns)
    return _prepare_files(
        found, target, knobs, seed=seed, columns=columns, path_column=path_column, tell=tell
    )


def prepare_text(
    texts: Sequence[str | None],
    target: Target,
    *,
    splits: Rows | None,
    knobs: DataKnobs,
    seed: int,
    text_column: str | None = None,
    understanding: Understanding | None = None,
) -> Prepared:
    """Texts of a table's column with their target, row for row; all targets known.

    `splits` None draws the split here. `understanding` gives source, format, columns and notices.
    """
    base = understanding
    found = from_texts(list(texts), base.source if base else "texts")
    if base is not None:
        found = replace(found, format=base.format, notices=base.notices)
    columns = base.columns if base else ()
    done = _prepare_texts(
        found, target, knobs, seed=seed, columns=columns, text_column=text_column, rows=splits
    )
    if base is None or not base.fingerprint:
        return done
    told = replace(done.understanding, fingerprint=base.fingerprint)
    return replace(done, understanding=told)


def prepare_stored(found: Gathered, knobs: DataKnobs, *, seed: int) -> Prepared:
    """Images from arrays: [example, height, width] or with channels first or last.

    Raises DataError for arrays that are no images, or without a target.
    """
    assert found.arrays is not None
    images = as_images(found.arrays, knobs.channels, knobs.image_size)
    if images is None:
        raise DataError(
            phrase(
                "{source}: arrays of shape {shape} are no images",
                source=shown(found.source),
                shape=found.arrays.shape,
            ),
            allowed=phrase("[example, height, width], or with 1, 3 or 4 channels first or last"),
            do=phrase("save them in one of these shapes"),
        )
    target = stored_target(found, knobs)
    hashes = hash_rows(found.arrays.reshape(len(found.arrays), -1))
    found, target = known_rows(replace(found, arrays=None), target)
    kept = torch.from_numpy(found.numbers)
    images, hashes = images[kept] if len(kept) < len(images) else images, hashes[found.numbers]
    channels, height, width = images.shape[1:]
    form = ImageForm(channels=int(channels), height=int(height), width=int(width))
    rows = _split(found, target, knobs, seed, hashes)
    sample = images[torch.from_numpy(evenly(rows.train, SCALED_EXAMPLES))]
    encoder = MediaEncoder(
        kind="image",
        form=form,
        scaling=fit_scaling(sample, standardise=knobs.scale != "none"),
        coding=fit_coding(target, rows.train, standardise=knobs.standardise_target),
        memory_limit=knobs.memory_limit,
        workers=num_workers(knobs.workers),
    )
    return _media(found, target, knobs, rows, encoder, images, hashes)


def encoder_from_record(record: dict[str, Any]) -> Encoder:
    """The encoder of a record whose kind is image, audio or text."""
    if record["kind"] == "text":
        return text_encoder_from_record(record)
    return media_encoder_from_record(record)


def _prepare_files(
    found: Gathered,
    target: Target,
    knobs: DataKnobs,
    *,
    seed: int,
    columns: tuple[Column, ...] = (),
    path_column: str | None = None,
    tell: Tell = unheard,
) -> Prepared:
    # built here only so that a misspelt name is refused before an hour of decoding
    build_augment(knobs.augment, found.kind, representation=knobs.audio)
    form, notices = choose_form(found, knobs)
    found = replace(found, notices=(*found.notices, *notices))
    workers = num_workers(knobs.workers)
    size = form.num_bytes * len(found)
    in_memory = size <= knobs.memory_limit
    done = read_all(found.paths, form, keep=in_memory, workers=knobs.workers, tell=tell)
    left = found.without(done.failures)
    kept = np.flatnonzero(np.isin(found.numbers, left.numbers))
    target, hashes = target_rows(target, kept), done.hashes[kept]
    refuse_one_class(left, target)
    raw = done.raw
    if raw is not None and len(kept) < len(raw):
        raw = raw[torch.from_numpy(kept)]
    rows = _split(left, target, knobs, seed, hashes)
    sampled = evenly(rows.train, SCALED_EXAMPLES)
    if raw is not None:
        sample = raw.index_select(0, torch.from_numpy(sampled))
    else:
        paths = [left.paths[row] for row in sampled.tolist()]
        sample = read_all(paths, form, keep=True, workers=knobs.workers, tell=tell).raw
        assert sample is not None
    encoder = MediaEncoder(
        kind=left.kind,
        form=form,
        scaling=fit_scaling(sample, standardise=knobs.scale != "none"),
        coding=fit_coding(target, rows.train, standardise=knobs.standardise_target),
        path_column=path_column,
        memory_limit=knobs.memory_limit,
        workers=workers,
    )
    return _media(left, target, knobs, rows, encoder, raw, hashes, columns)


def _media(
    found: Gathered,
    target: Target,
    knobs: DataKnobs,
    rows: Rows,
    encoder: MediaEncoder,
    raw: Tensor | None,
    hashes: np.ndarray,
    columns: tuple[Column, ...] = (),
) -> Prepared:
    augment = build_augment(knobs.augment, found.kind, representation=knobs.audio)
    encoded = encoder.coding.encode(target.values)

    def split(part: np.ndarray, *, training: bool) -> Examples:
        places = torch.from_numpy(part)
        mine = None if raw is None else raw.index_select(0, places)
        change = augment if training else None
        return encoder.examples(found.rows(part), mine, encoded[places], change)

    return _prepared(found, target, rows, encoder, encoder.signature, split, hashes, columns)


def _prepare_texts(
    found: Gathered,
    target: Target,
    knobs: DataKnobs,
    *,
    seed: int,
    columns: tuple[Column, ...] = (),
    text_column: str | None = None,
    rows: Rows | None = None,
) -> Prepared:
    assert found.texts is not None
    build_augment("none" if knobs.augment == "auto" else knobs.augment, "text")
    if len(found) < len(target.values):  # text files that could not be read
        target = target_rows(target, found.numbers)
    refuse_one_class(found, target)
    hashes = np.array([_digest(text.encode("utf-8", "replace")) for text in found.texts])
    rows = _split(found, target, knobs, seed, hashes) if rows is None else rows
    tokens = fit_tokens(
        [found.texts[row] for row in rows.train.tolist()],
        knobs.tokens,
        vocabulary=knobs.vocabulary,
        length=knobs.length,
    )
    encoder = TextEncoder(
        tokens=tokens,
        coding=fit_coding(target, rows.train, standardise=knobs.standardise_target),
        text_column=text_column,
        memory_limit=knobs.memory_limit,
    )
    encoded = encoder.coding.encode(target.values)

    def split(part: np.ndarray, *, training: bool) -> Examples:
        return encoder.examples(found.rows(part), encoded[torch.from_numpy(part)])

    return _prepared(found, target, rows, encoder, encoder.signature, split, hashes, columns)


def _prepared(
    found: Gathered,
    target: Target,
    rows: Rows,
    encoder: Encoder,
    signature: Signature,
    split: Callable[..., Examples],
    hashes: np.ndarray,
    columns: tuple[Column, ...],
) -> Prepared:
    parts = {"train": rows.train, "valid": rows.valid, "test": rows.test}
    understanding = Understanding(
        source=found.source,
        format=found.format,
        signature=signature,
        task=encoder.task,
        columns=columns,
        num_examples={name: len(part) for name, part in parts.items()},
        class_counts=class_counts(encoder.task, target.values[rows.train]),
        notices=(*found.notices, *target.notices, *rows.notices),
        fingerprint=_fingerprint(hashes, target.values),
    )
    return Prepared(
        train=split(rows.train, training=True),
        valid=split(rows.valid, training=False) if len(rows.valid) else None,
        test=split(rows.test, training=False) if len(rows.test) else None,
        understanding=understanding,
        encoder=encoder,
    )


def _split(
    found: Gathered, target: Target, knobs: DataKnobs, seed: int, hashes: np.ndarray
) -> Rows:
    labels = target.labels
    if labels is None and target.values.ndim == 1:
        labels = quantile_bins(target.values)
    return split_rows(
        len(found),
        valid_fraction=knobs.valid_fraction,
        test_fraction=knobs.test_fraction,
        seed=seed,
        labels=labels,
        groups=found.groups,
        times=found.times,
        given=found.given,
        row_hashes=hashes,
    )


def _column(frame: pl.DataFrame, name: str) -> pl.Series:
    if name not in frame.columns:
        raise DataError(
            phrase("there is no column {name}", name=shown(name)),
            allowed=", ".join(shown(column) for column in frame.columns[:20]),
            do=phrase("check data.split, data.group and data.time"),
        )
    return frame.get_column(name)


def _numbered(column: pl.Series) -> np.ndarray:
    return np.unique(np.array([str(v) for v in column.to_list()]), return_inverse=True)[1]


def _seconds(column: pl.Series) -> np.ndarray:
    """Any ordered column as numbers; what is none becomes NaN."""
    if column.dtype == pl.String:
        column = column.str.to_datetime(strict=False)
    return column.to_physical().cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()


def _digest(data: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big"))


def _fingerprint(hashes: np.ndarray, values: np.ndarray) -> str:
    digest = hashlib.blake2b(np.ascontiguousarray(hashes).tobytes(), digest_size=16)
    digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
