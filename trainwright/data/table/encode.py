"""How does a row become tensors? Everything fitted on a table's training rows, in one object that
encodes any other table of the same kind in the same way."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Bool, Float32, Float64, Shaped
from torch import Tensor

from trainwright.core.errors import DataError, nearest, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Column, Notice, Signature
from trainwright.core.task import Task
from trainwright.data.batch import Inputs, Targets, Values
from trainwright.data.knobs import DataKnobs
from trainwright.data.memory import MemoryExamples
from trainwright.data.table import frames
from trainwright.data.table.categories import (
    Categories,
    Moments,
    categories_from_record,
    count_words,
    fit_categories,
    fit_moments,
    moments_from_record,
)
from trainwright.data.table.cells import numbers_of, words_of
from trainwright.data.table.numbers import (
    LARGEST,
    Numbers,
    Scaling,
    fit_numbers,
    heavy_tails,
    numbers_from_record,
)
from trainwright.data.table.roles import TRUE_WORDS
from trainwright.data.table.target import TargetCoding, coding_from_record


@dataclass(frozen=True, slots=True, kw_only=True)
class TableEncoder:
    """Tables to examples. `given` are the feature columns of the training table in its order (what
    an array's columns are taken to be); `truths` are the columns of `numbers` that hold words
    such as yes and no."""

    coding: TargetCoding
    target_columns: tuple[str, ...]
    given: tuple[str, ...]
    numbers: Numbers | None
    truths: frozenset[str]
    moments: tuple[Moments, ...]
    categories: tuple[Categories, ...]

    @property
    def task(self) -> Task:
        return self.coding.task

    @property
    def signature(self) -> Signature:
        names = list(self.numbers.features if self.numbers else ())
        for column in self.moments:
            names += column.features
        for column in self.categories:
            names += () if column.embedded else column.features
        sizes = tuple(len(c.words) + 1 for c in self.categories if c.embedded)
        names += [column.name for column in self.categories if column.embedded]
        return Signature(
            kind="features", shape=(len(names) - len(sizes),), cardinalities=sizes,
            names=tuple(names),
        )  # fmt: skip

    @property
    def used(self) -> tuple[str, ...]:
        """Columns of the source that enter."""
        numbers = self.numbers.names if self.numbers else ()
        return (*numbers, *(c.name for c in self.moments), *(c.name for c in self.categories))

    def encode(self, source: object, *, with_target: bool) -> MemoryExamples:
        """See `Encoder.encode`; rows whose target is missing or was never seen are left out.

        Raises DataError when no column is known.
        """
        source = frames.opened(source)
        given = source[0] if isinstance(source, tuple) and len(source) == 2 else source
        matrix = frames.plain_matrix(given)
        self._check_width(matrix)
        if matrix is not None and not with_target and self._takes_arrays(matrix):
            inputs: tuple[Tensor, ...] = (self.from_matrix(matrix),)
            return self._examples(inputs, self.coding.empty(len(matrix)), (), None)
        frame, target, notices = frames.frame_and_target(source, self.given)
        if with_target and target is None:
            # a run on arrays has no column, but a name for its target
            columns = self.target_columns or (self.task.target,)
            absent = [name for name in columns if name not in frame.columns]
            if absent:
                raise DataError(
                    phrase("there is no column {column} to compare with", column=shown(absent[0])),
                    allowed=phrase("the target's column, as in training"),
                    do=phrase("add it, or predict without evaluating"),
                )
            target = frames.raw_target(frame, columns)
        inputs, said = self.features(self._matched(frame, notices))
        notices += said
        rows = None
        values = self.coding.empty(frame.height)
        if with_target and target is not None:
            read = self.coding.read(target)
            notices += read.notices
            rows = np.flatnonzero(read.known)
            if not len(rows):
                raise DataError(
                    phrase("no row has a target that is known"),
                    allowed=phrase("targets as in training"),
                    do=phrase(
                        "check the column {columns}",
                        columns=", ".join(map(shown, self.target_columns or [self.task.target])),
                    ),
                )
            values = self.coding.encode(read.values[rows])
            inputs = tuple(part[torch.from_numpy(rows)] for part in inputs)
        return self._examples(inputs, values, tuple(notices), frames.Shower(frame=frame, rows=rows))

    def _check_width(self, matrix: np.ndarray | None) -> None:
        """An array's columns are known by their place alone: a missing or an added one would move
        the others."""
        if matrix is not None and matrix.shape[1] != len(self.given):
            raise DataError(
                phrase("each example has the shape {shape}", shape=matrix.shape[1:]),
                allowed=phrase("{shape}, as in training", shape=(len(self.given),)),
                do=phrase("bring the examples to that shape"),
            )

    def features(self, frame: pl.DataFrame) -> tuple[Inputs, list[Notice]]:
        """float32 [rows, features] and, with codes, int64 [rows, columns]."""
        notices: list[Notice] = []
        parts: list[np.ndarray] = []
        if self.numbers is not None:
            values = numeric_matrix(frame, self.numbers.names, self.truths, notices)
            parts.append(self.numbers.apply(values))
        for column in self.moments:
            encoded, lost = column.apply(frame[column.name])
            _say(notices, "cells_not_dates", column.name, lost)
            parts.append(encoded)
        codes = []
        for column in self.categories:
            encode = column.codes if column.embedded else column.one_hot
            encoded, unseen = encode(frame[column.name])
            _say(notices, "unseen_categories", column.name, unseen)
            (codes if column.embedded else parts).append(encoded)
        empty = np.zeros((frame.height, 0), dtype=np.float32)
        joined = np.concatenate(parts, axis=1) if len(parts) > 1 else (parts or [empty])[0]
        inputs = [torch.from_numpy(np.ascontiguousarray(joined))]
        if codes:
            inputs.append(torch.from_numpy(np.stack(codes, axis=1)))
        return tuple(inputs), notices

    def from_matrix(
        self, values: Shaped[np.ndarray, "row column"]
    ) -> Float32[Tensor, "row feature"]:
        """As `features`, for an array whose columns are `given`, all of them numbers."""
        assert self.numbers is not None
        where = {name: i for i, name in enumerate(self.given)}
        chosen = [where[name] for name in self.numbers.names]
        if chosen != list(range(values.shape[1])):
            values = values[:, chosen]
        values = values.astype(np.float64, copy=False)
        huge = np.abs(values) > LARGEST
        if huge.any():
            values = np.where(huge, np.nan, values)
        return torch.from_numpy(self.numbers.apply(values))

    def decode(self, values: Values) -> Values:
        return self.coding.decode(values)

    def to_record(self) -> dict[str, object]:
        return {
            "kind": "table", "coding": self.coding.to_record(),
            "target_columns": list(self.target_columns), "given": list(self.given),
            "numbers": self.numbers.to_record() if self.numbers else None,
            "truths": sorted(self.truths),
            "moments": [column.to_record() for column in self.moments],
            "categories": [column.to_record() for column in self.categories],
        }  # fmt: skip

    def _takes_arrays(self, matrix: np.ndarray) -> bool:
        plain = self.numbers is not None and not (self.truths or self.moments or self.categories)
        return plain and matrix.shape[1] == len(self.given)

    def _examples(
        self, inputs: Inputs, target: Targets, notices: tuple[Notice, ...], shower: Any
    ) -> MemoryExamples:
        return MemoryExamples(
            signature=self.signature, task=self.task, inputs=inputs, target=target,
            notices=notices, shower=shower,
        )  # fmt: skip

    def _matched(self, frame: pl.DataFrame, notices: list[Notice]) -> pl.DataFrame:
        """The frame with every used column: absent ones are all missing."""
        absent = [name for name in self.used if name not in frame.columns]
        if self.used and len(absent) == len(self.used):
            near = nearest(absent[0], frame.columns)
            raise DataError(
                phrase("none of the columns that the model knows is there"),
                allowed=", ".join(shown(name) for name in self.used[:10]),
                do=phrase("rename {near} to {column}", near=shown(near), column=shown(absent[0]))
                if near
                else phrase("check the file"),
            )
        known = {*self.given, *self.target_columns}
        extra = [name for name in frame.columns if name not in known]
        for code, names in (("columns_absent", absent), ("columns_extra", extra)):
            if names:
                values = {"count": len(names), "names": names[:5]}
                notices.append(Notice(code=code, values=values))
        return frame.with_columns(**{n: pl.lit(None, dtype=pl.Float64) for n in absent})


def fit_encoder(
    frame: pl.DataFrame,
    columns: Sequence[Column],
    coding: TargetCoding,
    target_columns: Sequence[str],
    knobs: DataKnobs,
    *,
    one_tensor: bool,
) -> TableEncoder:
    """From the training rows of a typed frame."""
    roles = {column.name: column.role for column in columns}
    names = tuple(n for n, role in roles.items() if role in ("numeric", "boolean"))
    schema = frame.schema
    truths = {n for n in names if roles[n] == "boolean" and not schema[n].is_numeric()}
    numbers = None
    if names:
        plain = np.array([roles[name] == "boolean" for name in names])
        values = numeric_matrix(frame, names, truths, [])
        numbers = fit_numbers(values, names, plain, choose_scaling(knobs, values, plain))
    moments = tuple(
        fit_moments(frame[name], trend=role == "date")
        for name, role in roles.items()
        if role in ("date", "time") and (role == "date" or frame[name].dtype == pl.Datetime)
    )
    categories = tuple(
        fit_categories(
            n,
            count_words(frame[n]),
            how=knobs.categories,
            limit=knobs.one_hot_limit,
            one_tensor=one_tensor,
        )
        for n, role in roles.items()
        if role == "categorical"
    )
    return TableEncoder(
        coding=coding, target_columns=tuple(target_columns), numbers=numbers,
        given=tuple(n for n in roles if n not in target_columns), truths=frozenset(truths),
        moments=moments, categories=categories,
    )  # fmt: skip


def choose_scaling(
    knobs: DataKnobs, values: Float64[np.ndarray, "row column"], plain: Bool[np.ndarray, " column"]
) -> Scaling:
    """auto: quantile when a column of the training rows has a heavy tail, else standardise."""
    if knobs.scale != "auto":
        return knobs.scale
    return "quantile" if heavy_tails(values, plain).any() else "standardise"


def numeric_matrix(
    frame: pl.DataFrame, names: Sequence[str], truths: frozenset[str] | set[str],
    notices: list[Notice],
) -> Float64[np.ndarray, "row column"]:  # fmt: skip
    """float64 [rows, names], NaN for what is missing, infinite or no number."""
    schema = frame.schema
    if all(schema[name].is_numeric() for name in names):
        found = frame.select(names).to_numpy()  # nulls become NaN
        values = np.array(found, dtype=np.float64)
    else:
        values = np.empty((frame.height, len(names)))
        for index, name in enumerate(names):
            series = frame[name]
            found, lost = truths_of(series) if name in truths else numbers_of(series)
            _say(notices, "cells_not_numbers", name, lost)
            values[:, index] = found
    infinite = np.abs(values) > LARGEST
    if infinite.any():
        values[infinite] = np.nan
        count = int(infinite.sum())
        notices.append(Notice(code="infinities_missing", values={"count": count}))
    return values


def truths_of(series: pl.Series) -> tuple[Float64[np.ndarray, " row"], int]:
    """1.0 for yes and true, 0.0 for other words, NaN for missing."""
    words = words_of(series).str.to_lowercase()
    truths = words.is_in(list(TRUE_WORDS)).cast(pl.Float64).set(words.is_null(), None)
    return truths.fill_null(np.nan).to_numpy().astype(np.float64, copy=False), 0


def table_encoder_from_record(record: dict) -> TableEncoder:
    """The encoder that `to_record` described."""
    return TableEncoder(
        coding=coding_from_record(record["coding"]),
        target_columns=tuple(record["target_columns"]), given=tuple(record["given"]),
        numbers=numbers_from_record(record["numbers"]) if record["numbers"] else None,
        truths=frozenset(record["truths"]),
        moments=tuple(map(moments_from_record, record["moments"])),
        categories=tuple(map(categories_from_record, record["categories"])),
    )  # fmt: skip


def _say(notices: list[Notice], code: str, column: str, count: int) -> None:
    if count:
        notices.append(Notice(code=code, values={"column": column, "count": count}))
