"""How does a table larger than memory become examples? Three passes of bounded memory: a sample
to understand it, statistics of the training rows, and the encoding to disk."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
import torch
from jaxtyping import Float64, Shaped

from trainwright.core.errors import DataError
from trainwright.core.phrases import phrase
from trainwright.core.records import Column, Notice, Understanding
from trainwright.core.seeds import derive
from trainwright.core.task import Task
from trainwright.data.batch import Prepared
from trainwright.data.knobs import DataKnobs
from trainwright.data.split import TEST, TRAIN, VALID, hash_rows, words_to_splits
from trainwright.data.table.blocks import frames_of
from trainwright.data.table.categories import count_words, fit_categories
from trainwright.data.table.cells import numbers_of, seconds_of, simplified, tidy, typed, words_of
from trainwright.data.table.encode import TableEncoder, fit_encoder, numeric_matrix
from trainwright.data.table.frames import raw_target
from trainwright.data.table.prepare import USED, Understood, is_moment, times_of, understand
from trainwright.data.table.source import Piece, find_pieces
from trainwright.data.table.spool import Spool, SpooledExamples
from trainwright.data.table.target import Target, TargetCoding, fit_coding, ordered_classes
from trainwright.data.told import Stage, Tell, told, unheard

SAMPLE_ROWS = 50_000  # rows that roles and quantiles are taken from [assumed]


@dataclass(slots=True, kw_only=True)
class _Sums:
    """Running count, sum and sum of squared deviations of columns, by blocks.

    Source: Chan, Golub & LeVeque 1983, equations 2.1.
    """

    count: Shaped[np.ndarray, " column"]
    mean: Float64[np.ndarray, " column"]
    squares: Float64[np.ndarray, " column"]

    def add(self, values: Float64[np.ndarray, "row column"]) -> None:
        """NaN where missing."""
        known = ~np.isnan(values)
        count = known.sum(axis=0)
        safe = np.maximum(1, count)
        mean = np.where(known, values, 0).sum(axis=0) / safe
        squares = np.where(known, values - mean, 0.0)
        squares = (squares**2).sum(axis=0)
        total = np.maximum(1, self.count + count)
        shift = mean - self.mean
        self.squares += squares + shift**2 * self.count * count / total
        self.mean += shift * count / total
        self.count += count

    @property
    def spread(self) -> Float64[np.ndarray, " column"]:
        return np.sqrt(self.squares / np.maximum(1, self.count))


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What the pass over the training rows counts."""

    numbers: _Sums
    target: _Sums
    classes: Counter
    words: dict[str, Counter]
    rows: dict[int, int] = field(default_factory=lambda: {TRAIN: 0, VALID: 0, TEST: 0})


def prepare_stream(
    source: str, knobs: DataKnobs, *, seed: int, one_tensor: bool, fingerprint: str,
    tell: Tell = unheard,
) -> Prepared:  # fmt: skip
    """A table as examples on disk.

    Raises DataError as for tables in memory, and for texts and files, which are not streamed.
    """
    pieces = find_pieces(source)
    notices: list[Notice] = []
    sampled, num_rows = _sample(pieces, seed, notices, tell)
    known = understand(sampled, knobs)
    used = [c.name for c in known.columns if c.role in USED or is_moment(known.frame, c)]
    if not used:
        raise DataError(
            phrase("a streamed table needs a column of numbers, words, truth values or dates"),
            allowed=phrase("tables; texts and files named by a table are not streamed"),
            do=phrase("raise data.memory_limit, or write texts as files"),
        )
    splitter = _splitter(known, used, knobs, seed)
    chosen = splitter(known.frame) == TRAIN
    if not chosen.any():
        chosen[:] = True
    sample = known.frame.filter(pl.Series(chosen))
    train = np.flatnonzero(chosen)
    draft = fit_encoder(
        sample, known.columns, fit_coding(known.target, train, standardise=False),
        known.target_columns, knobs, one_tensor=one_tensor,
    )  # fmt: skip
    needed = [*used, *known.target_columns]
    needed += [n for n in (knobs.split, knobs.group, knobs.time) if n and n not in needed]
    stream = _Stream(pieces=pieces, needed=tuple(needed), schema=known.frame.schema,
                     num_rows=num_rows, tell=tell)  # fmt: skip
    seen = _count(stream, known, draft, splitter)
    if not seen.rows[TRAIN]:
        raise DataError(
            phrase("the split leaves no training rows"),
            allowed=phrase("at least one row in train"),
            do=phrase("check data.split, or lower data.valid_fraction and data.test_fraction"),
        )  # fmt: skip
    encoder = _fitted(draft, known, seen, knobs, one_tensor)
    return _written(
        source, stream, encoder, splitter, known, seen, knobs, tuple(notices), fingerprint
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stream:
    """The source's rows again, with the number of the first one; only the columns that matter,
    as numbers where the sample's `schema` has numbers."""

    pieces: list[Piece]
    needed: tuple[str, ...]
    schema: pl.Schema
    num_rows: int
    tell: Tell

    def frames(self, stage: Stage) -> Iterator[tuple[int, pl.DataFrame]]:
        row = 0
        for frame in told(frames_of(self.pieces, []), self.tell, stage, self.num_rows):
            absent = {n: pl.lit(None, pl.Float64) for n in self.needed if n not in frame.columns}
            chosen = frame.with_columns(**absent).select(self.needed)
            yield row, tidy(pl.DataFrame([self._typed(series) for series in chosen]))
            row += frame.height

    def _typed(self, series: pl.Series) -> pl.Series:
        if self.schema[series.name].is_numeric() and series.dtype == pl.String:
            return pl.Series(series.name, numbers_of(series)[0]).fill_nan(None)
        return simplified(series)


def _sample(
    pieces: list[Piece], seed: int, notices: list[Notice], tell: Tell
) -> tuple[pl.DataFrame, int]:
    """At most 2 SAMPLE_ROWS rows spread over the whole table, and how many it has: each block keeps
    the rows with the smallest draws, and the share kept halves when the sample is full."""
    random = np.random.default_rng(derive(seed, "sample"))
    kept: list[tuple[np.ndarray, pl.DataFrame]] = []
    limit, held, total = 1.0, 0, 0
    for frame in told(frames_of(pieces, notices), tell, "rows_sampled", None):
        draws = random.random(frame.height)
        total += frame.height
        below = draws < limit
        kept.append((draws[below], frame.filter(pl.Series(below))))
        held += int(below.sum())
        while held > 2 * SAMPLE_ROWS:
            limit /= 2
            kept = [(d[d < limit], f.filter(pl.Series(d < limit))) for d, f in kept]
            held = sum(len(d) for d, _ in kept)
    if not held:
        raise DataError(
            phrase("the table has no rows"), allowed=phrase("at least one row"),
            do=phrase("check how it was written"),
        )  # fmt: skip
    notices.append(Notice(code="stream_sampled", values={"rows": held}))
    found = typed(pl.concat([f for _, f in kept], how="diagonal_relaxed"))
    notices += found.notices
    return found.frame, total


def _splitter(
    known: Understood, used: list[str], knobs: DataKnobs, seed: int
) -> Callable[[pl.DataFrame], np.ndarray]:
    """Rows of any part of the table -> split of each, by that row alone."""
    test, valid = knobs.test_fraction, knobs.valid_fraction
    schema = known.frame.schema
    if knobs.split:
        name = knobs.split
        carved = valid if VALID not in words_to_splits(words_of(known.frame[name]).to_list()) else 0

        def by_word(frame: pl.DataFrame) -> np.ndarray:
            where = words_to_splits(words_of(frame[name]).to_list())
            share = _shares(frame, used, schema, seed)
            return np.where((where == TRAIN) & (share < carved), VALID, where)

        return by_word
    if knobs.time:
        name = knobs.time
        times = times_of(known.frame[name])
        newest, newer = np.nanquantile(times, [1 - test, max(0.0, 1 - test - valid)])

        def by_time(frame: pl.DataFrame) -> np.ndarray:
            when = np.nan_to_num(times_of(frame[name]), nan=-np.inf)
            late = np.where((when > newer) & (valid > 0), VALID, TRAIN)
            return np.where((when > newest) & (test > 0), TEST, late)

        return by_time
    columns = [knobs.group] if knobs.group else used

    def by_hash(frame: pl.DataFrame) -> np.ndarray:
        share = _shares(frame, columns, schema, seed)
        return np.where(share < test, TEST, np.where(share < test + valid, VALID, TRAIN))

    return by_hash


def _shares(frame: pl.DataFrame, names: list[str], schema: pl.Schema, seed: int) -> np.ndarray:
    """A number in [0, 1) for each row, from the cells of `names` and the seed alone; `schema` says
    what the cells are, since delimited text comes as text."""
    parts = []
    for name in names:
        if schema[name].is_numeric():
            parts.append(numeric_matrix(frame, [name], set(), [])[:, 0])
        elif schema[name] == pl.Datetime:
            parts.append(seconds_of(frame[name])[0])
        else:
            words = words_of(frame[name]).fill_null("")
            distinct = words.unique(maintain_order=True)
            hashes = [_digest(word) for word in distinct.to_list()]
            parts.append(words.replace_strict(distinct, hashes, return_dtype=pl.UInt64).to_numpy())
    salt = np.full(frame.height, derive(seed, "split"), dtype=np.uint64)
    return (hash_rows(*parts, salt) >> np.uint64(11)) / 2.0**53


def _digest(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")


def _count(stream: _Stream, known: Understood, draft: TableEncoder, splitter: Callable) -> _Seen:
    task = known.target.task
    width = len(draft.numbers.names) if draft.numbers else 0
    seen = _Seen(
        numbers=_sums(width), target=_sums(task.num_targets), classes=Counter(),
        words={c.name: Counter() for c in draft.categories},
    )  # fmt: skip
    for _, frame in stream.frames("rows_counted"):
        raw = raw_target(frame, known.target_columns)
        classes = task.kind in ("binary", "multiclass") and len(known.target_columns) == 1
        if classes:
            words = words_of(frame[known.target_columns[0]])
            labelled = words.is_not_null().to_numpy()
        else:
            words, target = None, draft.coding.read(raw)
            labelled = target.known
        where = splitter(frame)
        for which in seen.rows:
            seen.rows[which] += int((labelled & (where == which)).sum())
        mask = labelled & (where == TRAIN)
        train = frame.filter(pl.Series(mask))
        if words is not None:
            seen.classes.update(count_words(words.filter(pl.Series(labelled))))
        elif task.kind == "regression":
            seen.target.add(draft.coding.read(raw).values[mask].reshape(-1, task.num_targets))
        if draft.numbers is not None:
            seen.numbers.add(numeric_matrix(train, draft.numbers.names, draft.truths, []))
        for name, counter in seen.words.items():
            counter.update(count_words(train[name]))
    return seen


def _sums(width: int) -> _Sums:
    return _Sums(count=np.zeros(width), mean=np.zeros(width), squares=np.zeros(width))


def _fitted(
    draft: TableEncoder, known: Understood, seen: _Seen, knobs: DataKnobs, one_tensor: bool
) -> TableEncoder:
    """The draft from the sample, with what all training rows say."""
    numbers = draft.numbers
    if numbers is not None:
        marked = seen.numbers.count < seen.rows[TRAIN]
        centre, spread = numbers.centre, numbers.spread
        if numbers.references is None and knobs.scale != "none":
            plain, found = numbers.plain, seen.numbers.spread
            centre = np.where(plain, 0.0, seen.numbers.mean)
            spread = np.where(plain | (found <= 0), 1.0, found)
        numbers = replace(
            numbers, marked=marked, centre=centre, spread=spread, num_rows=seen.rows[TRAIN],
            fill=np.where(marked & (numbers.fill == 0), centre, numbers.fill),
        )  # fmt: skip
    categories = tuple(
        fit_categories(
            column.name, seen.words[column.name], how=knobs.categories,
            limit=knobs.one_hot_limit, one_tensor=one_tensor,
        )
        for column in draft.categories
    )  # fmt: skip
    return replace(
        draft, numbers=numbers, categories=categories, coding=_coding(known.target, seen, knobs)
    )


def _coding(target: Target, seen: _Seen, knobs: DataKnobs) -> TargetCoding:
    task = target.task
    if task.kind == "regression":
        count = task.num_targets
        mean, spread = (0.0,) * count, (1.0,) * count
        if knobs.standardise_target:
            mean = tuple(seen.target.mean.tolist())
            found = seen.target.spread
            spread = tuple(np.where(found > 0, found, 1.0).tolist())
        return TargetCoding(task=task, mean=mean, spread=spread, separator=target.separator)
    if seen.classes:
        classes = ordered_classes(list(seen.classes))
        kind = "binary" if len(classes) == 2 else "multiclass"
        task = Task(kind=kind, target=task.target, classes=tuple(classes))
    return TargetCoding(task=task, separator=target.separator)


def _written(
    source: str,
    stream: _Stream,
    encoder: TableEncoder,
    splitter: Callable,
    known: Understood,
    seen: _Seen,
    knobs: DataKnobs,
    notices: tuple[Notice, ...],
    fingerprint: str,
) -> Prepared:
    signature = encoder.signature
    width, codes = signature.shape[0], len(signature.cardinalities)
    spools = {split: Spool(width, codes, encoder.coding.empty(1)) for split in (TRAIN, VALID, TEST)}
    counts = np.zeros(len(encoder.task.classes), dtype=np.int64)
    dropped = 0
    for first, frame in stream.frames("rows_encoded"):
        target = encoder.coding.read(raw_target(frame, known.target_columns))
        inputs, _ = encoder.features(frame)
        values = encoder.coding.encode(target.values)
        where = splitter(frame)
        dropped += int((~target.known).sum())
        for which, spool in spools.items():
            rows = np.flatnonzero(target.known & (where == which))
            index = torch.from_numpy(rows)
            spool.append([part[index] for part in inputs], values[index], rows + first)
        counts += _classes_in(encoder.task, target.values[target.known & (where == TRAIN)])
    table = None
    if len(stream.pieces) == 1 and stream.pieces[0].format == "parquet":
        table = None if stream.pieces[0].remote else stream.pieces[0].path

    def split(which: int) -> SpooledExamples | None:
        if not spools[which].num:
            spools[which].close()
            return None
        return SpooledExamples(
            signature=signature, task=encoder.task, spool=spools[which], table=table,
            shuffle_rows=knobs.shuffle_rows,
        )  # fmt: skip

    train, valid, test = split(TRAIN), split(VALID), split(TEST)
    assert train is not None, seen.rows
    sizes = {"train": len(train), "valid": len(valid or ()), "test": len(test or ())}
    return Prepared(
        train=train, valid=valid, test=test, encoder=encoder,
        understanding=Understanding(
            source=source, format="+".join(dict.fromkeys(p.format for p in stream.pieces)),
            signature=signature, task=encoder.task, columns=_columns(known, seen),
            num_examples={name: count for name, count in sizes.items() if count},
            class_counts=dict(zip(encoder.task.classes, counts.tolist(), strict=True)),
            notices=(*notices, *_said(known, knobs, sizes, dropped)), fingerprint=fingerprint,
        ),
    )  # fmt: skip


def _classes_in(task: Task, values: np.ndarray) -> np.ndarray:
    match task.kind:
        case "binary" | "multiclass":
            return np.bincount(values, minlength=len(task.classes))
        case "multilabel":
            return values.sum(axis=0).astype(np.int64)
        case "regression":
            return np.zeros(0, dtype=np.int64)


def _said(known: Understood, knobs: DataKnobs, sizes: dict[str, int], dropped: int) -> list[Notice]:
    """The sample's notices about columns, and what streaming does otherwise."""
    said = [n for n in known.notices if n not in known.target.notices]
    if dropped:
        said.append(Notice(code="target_missing_dropped", values={"count": dropped}))
    if not (knobs.split or knobs.time):
        said.append(Notice(code="stream_hashed_split"))
    wanted = {"valid": knobs.valid_fraction, "test": knobs.test_fraction}
    said += [Notice(code="split_impossible", values={"split": name})
             for name, fraction in wanted.items() if fraction and not sizes[name]]  # fmt: skip
    values = {"rows": knobs.shuffle_rows}
    return [*said, Notice(code="stream_blocks", values=values)]


def _columns(known: Understood, seen: _Seen) -> tuple[Column, ...]:
    """Words are counted over all training rows; the rest is the sample's."""
    counts = {name: len(counter) - (None in counter) for name, counter in seen.words.items()}
    return tuple(
        replace(c, distinct=counts[c.name]) if c.name in counts else c for c in known.columns
    )
