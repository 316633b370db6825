"""What are live objects as examples? Arrays, tensors, frames, lists, and torch's own Dataset and
DataLoader."""

import hashlib
from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from trainwright.core.errors import DataError
from trainwright.core.phrases import phrase
from trainwright.core.records import Column, Notice, Signature
from trainwright.core.task import Task
from trainwright.data.batch import Prepared, Shown
from trainwright.data.knobs import DataKnobs
from trainwright.data.memory import MemoryExamples
from trainwright.data.split import hash_rows, split_rows
from trainwright.data.table import frames
from trainwright.data.table.cells import typed
from trainwright.data.table.prepare import (
    Origin,
    finish,
    prepare_frame,
    prepare_matrix,
)
from trainwright.data.table.refused import unequal_lengths
from trainwright.data.table.target import (
    Raw,
    TargetCoding,
    coding_from_record,
    fit_coding,
    read_target,
)
from trainwright.data.told import Tell, unheard

FINGERPRINT_BYTES = 1 << 20  # of each array [assumed]


def prepare_live(
    source: Any,
    knobs: DataKnobs,
    *,
    seed: int,
    one_tensor: bool,
    sequences: bool = False,
    tell: Tell = unheard,
) -> Prepared:
    """(X, y), a frame with its target within, or a Dataset of (x, y). `sequences`: arrays of three
    dimensions are [example, time, channel], not images, unless they are bytes.

    Raises DataError for objects that are no examples.
    """
    inputs, target = source if isinstance(source, tuple) and len(source) == 2 else (source, None)
    notices: list[Notice] = []
    if isinstance(inputs, DataLoader):
        notices.append(Notice(code="loader_gathered"))
        inputs, target = gather(_examples_of_loader(inputs), knobs.memory_limit, "DataLoader")
    elif isinstance(inputs, IterableDataset):
        inputs, target = gather(iter(inputs), knobs.memory_limit, "IterableDataset")
    elif isinstance(inputs, Dataset):
        inputs, target = gather(_examples_of(inputs), knobs.memory_limit, "Dataset")
    kind = type(inputs).__name__
    if target is None and isinstance(inputs, (np.ndarray, Tensor)):
        raise DataError(
            phrase("a {kind} alone has no target", kind=kind),
            allowed=phrase("X and y, or a frame with the target within"),
            do=phrase("pass y, e.g. tw.fit(X, y)"),
        )
    raw = None if target is None else frames.raw_of(target)
    origin = Origin(
        source=f"live {kind}", format="memory", notices=tuple(notices),
        fingerprint=fingerprint(inputs, target),
    )  # fmt: skip
    array = _array_of(inputs)
    if array is not None:
        assert raw is not None
        return _prepare_array(
            inputs, array, raw, knobs, seed, one_tensor, origin, sequences=sequences
        )
    if raw is not None and _are_texts(inputs):
        import polars as pl

        frame = pl.DataFrame([pl.Series("text", list(inputs), dtype=pl.String)])
        knobs = knobs.model_copy(update={"columns": {"text": "text"}})
        return prepare_frame(frame, knobs, seed=seed, one_tensor=one_tensor, origin=origin,
                             given=raw)  # fmt: skip
    found = typed(frames.as_frame(inputs))
    origin = replace(origin, notices=(*origin.notices, *found.notices))
    return prepare_frame(
        found.frame, knobs, seed=seed, one_tensor=one_tensor, origin=origin, given=raw, tell=tell
    )


def gather(examples: Any, memory_limit: int, kind: str) -> tuple[Any, Any]:
    """All (x, y) of an iterable as arrays.

    Raises DataError when they are no pairs, differ in shape, or take over `memory_limit` bytes.
    """
    inputs, targets, used = [], [], 0
    for example in examples:
        if not isinstance(example, (tuple, list)) or len(example) != 2:
            raise DataError(
                phrase(
                    "the {kind} gives {type} and not pairs", kind=kind, type=type(example).__name__
                ),
                allowed=phrase("pairs (x, y) of tensors, arrays or numbers"),
                do=phrase("wrap it so that each example is (x, y)"),
            )
        x = torch.as_tensor(example[0]) if not isinstance(example[0], Tensor) else example[0]
        used += x.numel() * x.element_size()
        if used > memory_limit:
            raise DataError(
                phrase("the {kind} holds over {bytes} bytes", kind=kind, bytes=memory_limit),
                allowed=phrase("examples that fit data.memory_limit"),
                do=phrase(
                    "raise data.memory_limit, or write the examples to Parquet or image folders"
                ),
            )
        inputs.append(x.detach())
        y = example[1]
        targets.append(y.detach().cpu().numpy() if isinstance(y, Tensor) else y)
    if not inputs:
        raise DataError(
            phrase("the {kind} is empty", kind=kind),
            allowed=phrase("at least one example"),
            do=phrase("check it"),
        )
    if len({x.shape for x in inputs}) > 1:
        raise DataError(
            phrase("the {kind} gives examples of different shapes", kind=kind),
            allowed=phrase("one shape for all"),
            do=phrase("pad or crop them to one shape"),
        )
    return torch.stack(inputs), _joined_targets(targets)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayEncoder:
    """Arrays that go to the user's own module as they are: floats as float32, torch's whole
    numbers as int64. Sequences for our own network are standardised by channel, their last
    dimension: (x - centre) / spread."""

    coding: TargetCoding
    shape: tuple[int, ...]
    whole: bool
    centre: tuple[float, ...] = ()
    spread: tuple[float, ...] = ()

    @property
    def task(self) -> Task:
        return self.coding.task

    @property
    def signature(self) -> Signature:
        kind = "features" if len(self.shape) == 1 and not self.whole else "any"
        return Signature(kind=kind, shape=self.shape)

    def encode(self, source: Any, *, with_target: bool) -> MemoryExamples:
        """See `Encoder.encode`."""
        source = frames.opened(source)
        inputs, given = source if isinstance(source, tuple) and len(source) == 2 else (source, None)
        if isinstance(inputs, (Dataset, DataLoader)):
            loader = isinstance(inputs, DataLoader)
            found = _examples_of_loader(inputs) if loader else _examples_of(inputs)
            inputs, given = gather(found, 1 << 62, type(inputs).__name__)
        array = _array_of(inputs)
        if array is None:
            frame, _, _ = frames.frame_and_target(inputs, ())
            array = frame.to_numpy()
        if array.shape[1:] != self.shape:
            raise DataError(
                phrase("each example has the shape {shape}", shape=array.shape[1:]),
                allowed=phrase("{shape}, as in training", shape=self.shape),
                do=phrase("bring the examples to that shape"),
            )
        tensor = self.tensor(array)
        target, notices = self.coding.empty(len(array)), ()
        if with_target:
            if given is None:
                raise DataError(
                    phrase("there is no target to compare with"),
                    allowed="(X, y)",
                    do=phrase("pass y as well"),
                )
            read = self.coding.read(frames.raw_of(given))
            rows = np.flatnonzero(read.known)
            tensor, notices = tensor[torch.from_numpy(rows)], read.notices
            target = self.coding.encode(read.values[rows])
        return MemoryExamples(
            signature=self.signature, task=self.task, inputs=(tensor,), target=target,
            notices=notices,
        )  # fmt: skip

    def tensor(self, array: np.ndarray) -> Tensor:
        if self.centre:
            array = (array - np.array(self.centre)) / np.array(self.spread)
        wanted = np.int64 if self.whole else np.float32
        return torch.from_numpy(np.array(array, dtype=wanted, order="C"))

    def decode(self, values: np.ndarray) -> np.ndarray:
        return self.coding.decode(values)

    def to_record(self) -> dict[str, object]:
        return {
            "kind": "array", "coding": self.coding.to_record(), "shape": list(self.shape),
            "whole": self.whole, "centre": list(self.centre), "spread": list(self.spread),
        }  # fmt: skip


def array_encoder_from_record(record: dict) -> ArrayEncoder:
    return ArrayEncoder(
        coding=coding_from_record(record["coding"]), shape=tuple(record["shape"]),
        whole=record["whole"], centre=tuple(record.get("centre", ())),
        spread=tuple(record.get("spread", ())),
    )  # fmt: skip


def fingerprint(*objects: object) -> str:
    """A hash of shapes and the first megabytes of arrays; empty for objects without bytes."""
    digest = hashlib.blake2b(digest_size=16)
    for given in objects:
        item = given
        if isinstance(given, np.ndarray) and given.dtype.kind == "O":
            item = given.tolist()  # words, as a data frame gives them
        array = _array_of(item)
        if array is None:
            values = item if isinstance(item, list) else None
            digest.update(repr(values[:1000]).encode() if values else type(item).__name__.encode())
            continue
        digest.update(f"{array.shape}{array.dtype}".encode())
        rows = max(1, FINGERPRINT_BYTES // max(1, array[:1].nbytes))
        digest.update(np.ascontiguousarray(array[:rows]).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class _TensorShower:
    values: np.ndarray
    rows: np.ndarray | None = None
    origin: np.ndarray

    def __call__(self, position: int) -> Shown:
        row = position if self.rows is None else int(self.rows[position])
        flat = self.values[row].reshape(-1)[:8].tolist()
        content = {f"value {i + 1}": f"{value:g}" for i, value in enumerate(flat)}
        return Shown(row=int(self.origin[row]), content=content)


def _prepare_array(
    inputs: Any, array: np.ndarray, raw: Raw, knobs: DataKnobs, seed: int, one_tensor: bool,
    origin: Origin, *, sequences: bool,
) -> Prepared:  # fmt: skip
    """Features are standardised, images normalised, sequences by channel; the user's own module
    sees what it was promised: the arrays themselves, unless data.scale says otherwise."""
    if array.ndim == 1:
        array = array[:, None]
    if not len(array):
        raise DataError(
            phrase("X is empty"),
            allowed=phrase("at least one example"),
            do=phrase("check how it was made"),
        )
    if len(array) != len(raw):
        raise unequal_lengths(len(array), len(raw))
    is_image = array.dtype == np.uint8 and array.ndim in (3, 4)
    if array.ndim == 2 and not (one_tensor and knobs.scale in ("auto", "none")):
        return prepare_matrix(
            array, raw, knobs, seed=seed, origin=origin, target_name=knobs.target or "target"
        )
    if sequences and array.ndim == 3 and not is_image:
        return _prepare_untouched(
            inputs, array, raw, knobs, seed, origin, by_channel=knobs.scale != "none"
        )
    if array.ndim in (3, 4) and (is_image or not one_tensor):
        from trainwright.data.media.gather import Gathered
        from trainwright.data.media.prepare import prepare_stored

        found = Gathered(
            source=origin.source, format=origin.format, kind="image",
            numbers=np.arange(len(array)), arrays=array, target=raw, notices=origin.notices,
        )  # fmt: skip
        return prepare_stored(found, knobs, seed=seed)
    return _prepare_untouched(inputs, array, raw, knobs, seed, origin)


def _prepare_untouched(
    inputs: Any, array: np.ndarray, raw: Raw, knobs: DataKnobs, seed: int, origin: Origin,
    *, by_channel: bool = False,
) -> Prepared:  # fmt: skip
    whole = isinstance(inputs, Tensor) and array.dtype.kind in "iu" and not by_channel
    notices = list(origin.notices)
    if array.dtype.kind == "f" and not np.isfinite(array.sum()):
        count = int((~np.isfinite(array)).sum())
        if count:
            notices.append(Notice(code="not_finite_passed_on", values={"count": count}))
    target = read_target(raw, knobs.task, knobs.target or "target")
    notices += target.notices
    rows_known = np.flatnonzero(target.known)
    if len(rows_known) < len(array):
        array = array[rows_known]
        target = replace(target, values=target.values[rows_known], known=target.known[rows_known])
    rows = split_rows(
        len(array), valid_fraction=knobs.valid_fraction, test_fraction=knobs.test_fraction,
        seed=seed, labels=target.labels, row_hashes=hash_rows(array),
    )  # fmt: skip
    encoder = ArrayEncoder(
        coding=fit_coding(target, rows.train, standardise=knobs.standardise_target),
        shape=array.shape[1:], whole=whole,
    )  # fmt: skip
    if by_channel:
        centre, spread = _moments(array[rows.train])
        encoder = replace(encoder, centre=centre, spread=spread)
    column = Column(name="X", role="numeric", reason=Notice(code="reason.passed_on"), dtype="array")
    origin = replace(origin, notices=tuple(notices))
    shower = _TensorShower(values=array, origin=rows_known)
    return finish(encoder, (encoder.tensor(array),), target, rows, [column], origin, shower)


def _moments(array: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, the last dimension, over the numbers that are
    finite; 0 and 1 where there is nothing to go by."""
    flat = array.reshape(-1, array.shape[-1]).astype(np.float64)
    flat = np.ma.masked_invalid(flat)
    centre, spread = flat.mean(axis=0).filled(0.0), flat.std(axis=0).filled(1.0)
    return tuple(centre.tolist()), tuple(np.where(spread > 0, spread, 1.0).tolist())


def _array_of(source: object) -> np.ndarray | None:
    """Numbers behind an array, a tensor or a list of numbers; else None.

    Raises DataError for arrays of objects: they could hold anything.
    """
    if isinstance(source, Tensor):
        array = source.detach().cpu()
        return (array.float() if array.dtype == torch.bfloat16 else array).numpy()
    if isinstance(source, list) and source and isinstance(source[0], (list, tuple, int, float)):
        numeric = _numeric_rows(source)
        if numeric is not None:
            return numeric
    if isinstance(source, np.ndarray):
        if source.dtype.kind in "OV":
            raise DataError(
                phrase("X is an array of Python objects"),
                allowed=phrase("arrays of numbers"),
                do=phrase("convert it, e.g. X.astype(float); ragged rows must be padded first"),
            )
        if source.dtype.kind in "fiub":
            return source
    return None


def _numeric_rows(rows: list[Any]) -> np.ndarray | None:
    try:
        array = np.array(rows)
    except ValueError:  # rows of different lengths: frames.py says so
        return None
    return array if array.dtype.kind in "fiub" else None


def _are_texts(source: object) -> bool:
    listed = isinstance(source, (list, tuple)) and bool(source)
    return listed and all(isinstance(item, str) for item in source[:100])  # pyright: ignore[reportIndexIssue]


def _examples_of(dataset: Any) -> Any:
    """A map-style dataset's examples in order; a TensorDataset's are views, not copies."""
    if not isinstance(dataset, Sized):
        raise DataError(
            phrase("the Dataset has no length"),
            allowed=phrase("a Dataset with __len__, or an IterableDataset"),
            do=phrase("add __len__"),
        )
    return (dataset[index] for index in range(len(dataset)))  # pyright: ignore[reportIndexIssue]


def _examples_of_loader(loader: Any) -> Any:
    """Examples out of a loader's batches."""
    for batch in loader:
        if not isinstance(batch, (tuple, list)) or len(batch) != 2:
            yield batch
            return
        yield from zip(*batch, strict=True)


def _joined_targets(targets: Sequence[Any]) -> Any:
    if isinstance(targets[0], str):
        return list(targets)
    return np.stack([np.asarray(target) for target in targets])
