"""From a table, or an array of numbers, to split and encoded examples, with all that was
understood on the way."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Float64, Int64, Shaped, UInt64

from trainwright.core.errors import DataError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Column, Notice, Role, Signature, Understanding
from trainwright.core.task import Task
from trainwright.data.batch import Inputs, Prepared, Shown
from trainwright.data.knobs import DataKnobs
from trainwright.data.memory import MemoryExamples
from trainwright.data.split import Rows, hash_rows, quantile_bins, split_rows
from trainwright.data.table.cells import seconds_of, words_of
from trainwright.data.table.encode import (
    TableEncoder,
    choose_scaling,
    fit_encoder,
    numeric_matrix,
)
from trainwright.data.table.frames import Shower, cell_text, raw_target
from trainwright.data.table.numbers import LARGEST, fit_numbers
from trainwright.data.table.refused import unequal_lengths
from trainwright.data.table.roles import columns_of, numeric_columns
from trainwright.data.table.target import (
    Raw,
    Target,
    Values,
    choose_target,
    fit_coding,
    read_target,
)
from trainwright.data.told import Tell, unheard

USED: tuple[Role, ...] = ("numeric", "categorical", "boolean", "date")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where examples come from, for the record."""

    source: str
    format: str
    folder: str = "."  # what paths within the source are relative to
    fingerprint: str = ""
    notices: tuple[Notice, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """A frame whose target and roles are known; rows without a target are gone."""

    frame: pl.DataFrame
    columns: tuple[Column, ...]
    target: Target
    target_columns: tuple[str, ...]
    origin_rows: Int64[np.ndarray, " row"]
    notices: tuple[Notice, ...]


def understand(frame: pl.DataFrame, knobs: DataKnobs, *, given: Raw | None = None) -> Understood:
    """Target, task and roles of a typed frame; `given` is a target that is no column.

    Raises DataError when there is no target, or no column to learn from.
    """
    target_columns: list[str] = []
    fixed: dict[str, tuple[Role, Notice]] = {}
    if given is None:
        target_columns, reason = choose_target(frame.columns, knobs.target)
        fixed = dict.fromkeys(target_columns, ("target", reason))
        given = raw_target(frame, target_columns)
    name = ",".join(target_columns) or knobs.target or "target"
    if len(given) != frame.height:
        raise unequal_lengths(frame.height, len(given))
    target = read_target(given, knobs.task, name)
    _add_split_columns(frame, knobs, fixed)
    rows = np.flatnonzero(target.known)
    if len(rows) < frame.height:
        frame = frame[rows]
        target = replace(target, values=target.values[rows], known=target.known[rows])
    columns = columns_of(frame, knobs.columns, fixed)
    return Understood(
        frame=frame, columns=tuple(columns), target=target, target_columns=tuple(target_columns),
        origin_rows=rows, notices=(*target.notices, *_notices_of(columns)),
    )  # fmt: skip


def prepare_frame(
    frame: pl.DataFrame, knobs: DataKnobs, *, seed: int, one_tensor: bool, origin: Origin,
    given: Raw | None = None, tell: Tell = unheard,
) -> Prepared:  # fmt: skip
    """A typed frame as split and encoded examples. A table that names files which are there is
    read as these files; one whose only column to learn from is a text, as text."""
    known = understand(frame, knobs, given=given)
    used = [c.name for c in known.columns if c.role in USED or is_moment(known.frame, c)]
    texts = [c.name for c in known.columns if c.role == "text"]
    files = [c.name for c in known.columns if c.role == "path"]
    files = [
        name for name in files if known.target_columns and _some_exist(frame[name], origin.folder)
    ]
    if files:
        return _prepare_files(frame, known, files[0], knobs, seed, origin, tell)
    if not used and texts:
        return _prepare_text(known, texts[0], knobs, seed, origin)
    if not used:
        raise DataError(
            phrase("the table has no column to learn from"),
            allowed=phrase("at least one column of numbers, words, truth values, dates or texts"),
            do=phrase("give a column a role with data.columns, e.g. {{zip = 'categorical'}}"),
        )
    labels = _labels(known.target)
    rows = split_rows(
        known.frame.height, valid_fraction=knobs.valid_fraction,
        test_fraction=knobs.test_fraction, seed=seed, labels=labels,
        row_hashes=_row_hashes(known.frame, used), **split_columns(known.frame, knobs),
    )  # fmt: skip
    coding = fit_coding(known.target, rows.train, standardise=knobs.standardise_target)
    encoder = fit_encoder(
        known.frame[rows.train], known.columns, coding, known.target_columns, knobs,
        one_tensor=one_tensor,
    )  # fmt: skip
    inputs, said = encoder.features(known.frame)
    shower = Shower(frame=known.frame, rows=None, origin=known.origin_rows)
    unseen = [notice for notice in said if notice.code == "infinities_missing"]
    origin = replace(origin, notices=(*origin.notices, *known.notices, *unseen))
    return finish(encoder, inputs, known.target, rows, known.columns, origin, shower)


def prepare_matrix(
    values: Shaped[np.ndarray, "row column"], raw: Raw, knobs: DataKnobs, *, seed: int,
    origin: Origin, names: Sequence[str] = (), class_names: Sequence[str] = (),
    target_name: str = "target", given: Sequence[str] | None = None,
) -> Prepared:  # fmt: skip
    """An array of numbers and its target, without a frame in between."""
    names = tuple(names) or tuple(f"column_{i + 1}" for i in range(values.shape[1]))
    if len(raw) != len(values):
        raise unequal_lengths(len(values), len(raw))
    target = read_target(raw, knobs.task, target_name, class_names=class_names)
    notices = [*origin.notices, *target.notices]
    values = values.astype(np.float64, copy=False)
    huge = np.abs(values) > LARGEST
    if huge.any():
        notices.append(Notice(code="infinities_missing", values={"count": int(huge.sum())}))
        values = np.where(huge, np.nan, values)
    origin_rows = np.arange(len(values))
    if not target.known.all():
        origin_rows = np.flatnonzero(target.known)
        values = values[origin_rows]
        target = replace(target, values=target.values[origin_rows], known=target.known[origin_rows])
    columns = _matrix_columns(values, names)
    used = np.array([i for i, c in enumerate(columns) if c.role in USED], dtype=np.int64)
    if not len(used):
        raise DataError(
            phrase("every column of the array has the same value in all rows"),
            allowed=phrase("at least one column that varies"),
            do=phrase("check how the array was made"),
        )
    rows = split_rows(
        len(values), valid_fraction=knobs.valid_fraction, test_fraction=knobs.test_fraction,
        seed=seed, labels=_labels(target), row_hashes=hash_rows(values),
        given=None if given is None else [given[i] for i in origin_rows.tolist()],
    )  # fmt: skip
    plain = np.array([columns[i].role == "boolean" for i in used])
    chosen = values[:, used] if len(used) < len(columns) else values
    train = chosen[rows.train]
    numbers = fit_numbers(
        train, tuple(names[i] for i in used), plain, choose_scaling(knobs, train, plain)
    )
    encoder = TableEncoder(
        coding=fit_coding(target, rows.train, standardise=knobs.standardise_target),
        target_columns=(), given=names, numbers=numbers, truths=frozenset(), moments=(),
        categories=(),
    )  # fmt: skip
    inputs = (torch.from_numpy(numbers.apply(chosen)),)
    shower = MatrixShower(values=values, names=names, origin=origin_rows)
    origin = replace(origin, notices=(*notices, *_notices_of(columns)))
    return finish(encoder, inputs, target, rows, columns, origin, shower)


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixShower:
    """Renders rows of an array of numbers; `rows` as in `Shower`."""

    values: Shaped[np.ndarray, "row column"]
    names: tuple[str, ...]
    origin: Int64[np.ndarray, " row"]
    rows: Int64[np.ndarray, " example"] | None = None

    def __call__(self, position: int) -> Shown:
        row = position if self.rows is None else int(self.rows[position])
        cells = zip(self.names, self.values[row].tolist(), strict=True)
        content = {name: cell_text(value) for name, value in list(cells)[:30]}
        return Shown(row=int(self.origin[row]), content=content)


def finish(
    encoder: Any,
    inputs: Inputs,
    target: Target,
    rows: Rows,
    columns: Sequence[Column],
    origin: Origin,
    shower: Any,
) -> Prepared:
    """Cuts encoded rows into splits and writes down what was understood."""
    values = encoder.coding.encode(target.values)

    def split(which: Int64[np.ndarray, " example"]) -> MemoryExamples | None:
        if not len(which):
            return None
        index = torch.from_numpy(which)
        return MemoryExamples(
            signature=signature, task=target.task, target=values[index],
            inputs=tuple(part[index] for part in inputs), shower=replace(shower, rows=which),
        )  # fmt: skip

    signature = encoder.signature
    train, valid, test = (split(which) for which in rows[:3])
    assert train is not None
    sizes = {"train": len(rows.train), "valid": len(rows.valid), "test": len(rows.test)}
    return Prepared(
        train=train, valid=valid, test=test, encoder=encoder,
        understanding=Understanding(
            source=origin.source, format=origin.format, signature=signature, task=target.task,
            columns=tuple(columns), num_examples={k: n for k, n in sizes.items() if n},
            class_counts=class_counts(target.task, target.values[rows.train]),
            notices=(*origin.notices, *rows.notices), fingerprint=origin.fingerprint,
        ),
    )  # fmt: skip


def class_counts(task: Task, values: Values) -> dict[str, int]:
    """Training examples of every class, by name, in order of index."""
    match task.kind:
        case "binary" | "multiclass":
            counts = np.bincount(values, minlength=len(task.classes))
        case "multilabel":
            counts = values.sum(axis=0).astype(np.int64)
        case "regression":
            return {}
    return dict(zip(task.classes, counts.tolist(), strict=True))


def split_columns(frame: pl.DataFrame, knobs: DataKnobs) -> dict[str, Any]:
    """Arguments of `split_rows` from the columns that knobs name."""
    found: dict[str, Any] = {}
    if knobs.split:
        words = words_of(frame[knobs.split]).to_list()
        found["given"] = ["" if word is None else word for word in words]
    elif knobs.group:
        words = words_of(frame[knobs.group]).to_list()
        index = {word: i for i, word in enumerate(dict.fromkeys(words))}
        found["groups"] = np.array([index[word] for word in words])
    elif knobs.time:
        found["times"] = times_of(frame[knobs.time])
    return found


def times_of(series: pl.Series) -> Float64[np.ndarray, " {len(series)}"]:
    """Numbers by which rows are ordered in time.

    Raises DataError for a column that is neither dates nor numbers.
    """
    if series.dtype.is_numeric():
        return series.cast(pl.Float64).fill_null(np.nan).to_numpy()
    seconds, _ = seconds_of(series)
    if np.isnan(seconds).all():
        raise DataError(
            phrase("the column {name} holds neither dates nor numbers", name=shown(series.name)),
            allowed=phrase("dates such as 2026-03-01, or numbers that grow with time"),
            do=phrase("name another column with data.time"),
        )
    return seconds


def is_moment(frame: pl.DataFrame, column: Column) -> bool:
    return column.role == "time" and frame[column.name].dtype == pl.Datetime


def _prepare_text(
    known: Understood, name: str, knobs: DataKnobs, seed: int, origin: Origin
) -> Prepared:
    from trainwright.data.media.prepare import prepare_text

    texts = known.frame[name].fill_null("").to_list()
    rows = split_rows(
        len(texts), valid_fraction=knobs.valid_fraction, test_fraction=knobs.test_fraction,
        seed=seed, labels=_labels(known.target), row_hashes=_row_hashes(known.frame, [name]),
        **split_columns(known.frame, knobs),
    )  # fmt: skip
    said = [n for n in known.notices if n not in known.target.notices and n.code != "columns_text"]
    base = Understanding(
        source=origin.source, format=origin.format, task=known.target.task,
        signature=Signature(kind="text", shape=(0,)), columns=known.columns,
        notices=(*origin.notices, *said), fingerprint=origin.fingerprint,
    )  # fmt: skip
    return prepare_text(
        texts, known.target, splits=rows, knobs=knobs, seed=seed, text_column=name,
        understanding=base,
    )  # fmt: skip


def _prepare_files(
    frame: pl.DataFrame, known: Understood, name: str, knobs: DataKnobs, seed: int, origin: Origin,
    tell: Tell,
) -> Prepared:  # fmt: skip
    from trainwright.data.media.prepare import prepare_manifest

    said = [n for n in known.notices if n not in known.target.notices and n.code != "columns_path"]
    return prepare_manifest(
        frame, name, target_column=",".join(known.target_columns), folder=origin.folder,
        knobs=knobs, seed=seed, source=origin.source, columns=known.columns,
        notices=(*origin.notices, *said), tell=tell,
    )  # fmt: skip


def _some_exist(series: pl.Series, folder: str) -> bool:
    names = series.drop_nulls().head(20).to_list()
    return any(os.path.isfile(os.path.join(folder, name)) for name in names)


def _labels(target: Target) -> Int64[np.ndarray, " row"] | None:
    if target.task.kind == "regression" and target.values.ndim == 1:
        return quantile_bins(target.values)
    return target.labels


def _row_hashes(frame: pl.DataFrame, used: Sequence[str]) -> UInt64[np.ndarray, " row"]:
    """Rows equal in all columns that the model sees are equal, whatever their target."""
    schema = frame.schema
    numeric = [name for name in used if schema[name].is_numeric()]
    parts = [numeric_matrix(frame, numeric, set(), [])] if numeric else []
    others = [frame[name] for name in used if not schema[name].is_numeric()]
    if others:
        hashed = [series.hash(0).fill_null(0).to_numpy() for series in others]
        parts.append(np.stack(hashed, axis=1))
    return hash_rows(*parts)


def _matrix_columns(values: np.ndarray, names: Sequence[str]) -> list[Column]:
    """Arrays have no row numbers by accident: such columns are numbers."""
    columns = numeric_columns(values, names).values()
    reason = Notice(code="reason.numbers")
    return [replace(c, role="numeric", reason=reason) if c.role == "identifier" else c
            for c in columns]  # fmt: skip


def _add_split_columns(
    frame: pl.DataFrame, knobs: DataKnobs, fixed: dict[str, tuple[Role, Notice]]
) -> None:
    named: Mapping[Role, str | None] = {
        "ignored": knobs.split, "group": knobs.group, "time": knobs.time,
    }  # fmt: skip
    for role, name in named.items():
        if name is None:
            continue
        knob = {"ignored": "split"}.get(role, role)
        if name not in frame.columns:
            raise DataError(
                phrase("data.{knob} names {name}, which is no column", knob=knob, name=shown(name)),
                allowed=phrase("a column of the table"), do=did_you_mean(name, frame.columns),
            )  # fmt: skip
        if name in fixed:
            raise DataError(
                phrase("data.{knob} names {name}, which is the target", knob=knob,
                       name=shown(name)), allowed=phrase("another column"),
                do=phrase("drop data.{knob}, or name another target", knob=knob),
            )  # fmt: skip
        fixed[name] = (role, Notice(code=f"reason.decides_{knob}"))


def _notices_of(columns: Sequence[Column]) -> list[Notice]:
    """What was left out, once for each kind of reason."""
    left: Counter[str] = Counter()
    names: dict[str, list[str]] = {}
    codes = {"constant": "columns_constant", "identifier": "columns_identify",
             "text": "columns_text", "path": "columns_path"}  # fmt: skip
    for column in columns:
        code = codes.get(column.role)
        if column.reason.code == "reason.duplicate_of":
            code = "columns_duplicate"
        elif column.reason.code == "reason.nested":
            code = "columns_nested"
        if code:
            left[code] += 1
            names.setdefault(code, []).append(column.name)
    return [Notice(code=code, values={"count": count, "names": names[code][:5]})
            for code, count in left.items()]  # fmt: skip
