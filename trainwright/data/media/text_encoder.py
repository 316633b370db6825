"""How are new texts brought to what the network was trained on? The learned tokens, the target's
coding, and the examples they make."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from jaxtyping import Shaped
from torch import Tensor

from trainwright.core.errors import DataError, did_you_mean, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice, Signature
from trainwright.core.task import Task
from trainwright.data.batch import Examples, Shown, Values
from trainwright.data.media.encoder import targets_of
from trainwright.data.media.folder import SUFFIXES, kind_in_words, list_files
from trainwright.data.media.gather import (
    Gathered,
    from_folder,
    named_columns,
    raw_columns,
    read_frame,
    with_texts,
)
from trainwright.data.media.text import Tokens, tokens_from_record, too_large
from trainwright.data.memory import MemoryExamples
from trainwright.data.table.target import TargetCoding, coding_from_record

SHOWN_CHARACTERS = 2000  # of a text in reports [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEncoder:
    """Fitted on the training texts. `text_column` holds them in a table (None: text files)."""

    tokens: Tokens
    coding: TargetCoding
    text_column: str | None = None
    memory_limit: int = 1 << 30

    @property
    def task(self) -> Task:
        return self.coding.task

    @property
    def signature(self) -> Signature:
        return Signature(
            kind="text", shape=(self.tokens.length,), vocabulary=self.tokens.vocabulary
        )

    def encode(self, source: object, *, with_target: bool) -> Examples:
        """A folder of texts, a text file, a table with the text column, or the texts themselves.

        Raises DataError when there is no text, or no target where one is asked for.
        """
        found = self._gather(source, with_target)
        if with_target and found.target is None:
            raise DataError(
                phrase("{source} tells no target for its texts", source=shown(found.source)),
                allowed=phrase("class folders, or a table with the target column"),
                do=phrase("give the targets along with the texts"),
            )
        found, target = targets_of(found, self.coding, wanted=with_target)
        return self.examples(found, target)

    def examples(self, found: Gathered, target: Shaped[Tensor, "example ..."]) -> MemoryExamples:
        """One split in memory, as the smallest integers that hold the vocabulary.

        Raises DataError when it would exceed memory_limit.
        """
        assert found.texts is not None
        dtype = np.int16 if self.tokens.vocabulary < 2**15 else np.int32
        size = len(found.texts) * self.tokens.length * np.dtype(dtype).itemsize
        if size > self.memory_limit:
            raise too_large(size, self.memory_limit)
        rows = self.tokens.encode(found.texts).astype(dtype)
        return MemoryExamples(
            signature=self.signature,
            task=self.task,
            inputs=(torch.from_numpy(rows),),
            target=target,
            notices=found.notices,
            transform=_as_indices,
            shower=_Shower(found=found),
        )

    def decode(self, values: Values) -> Values:
        return self.coding.decode(values)

    def to_record(self) -> dict[str, object]:
        return {
            "kind": "text",
            "tokens": self.tokens.to_record(),
            "target": self.coding.to_record(),
            "text_column": self.text_column,
            "memory_limit": self.memory_limit,
        }

    def _gather(self, source: object, with_target: bool) -> Gathered:
        if isinstance(source, Path):
            source = str(source)
        if isinstance(source, str) and os.path.isdir(source):
            found = from_folder(source, with_target=with_target, memory_limit=self.memory_limit)
            if found.texts is None:
                raise DataError(
                    phrase(
                        "{source} holds {kind} files; the run was trained on texts",
                        source=shown(source),
                        kind=kind_in_words(found.kind),
                    ),
                    do=phrase("give text files"),
                )
            return found
        if isinstance(source, str) and self._is_text_file(source):
            return with_texts(_as_file(source), self.memory_limit)
        if isinstance(source, str):
            source = read_frame(source, self.memory_limit)
        if isinstance(source, pl.DataFrame):
            return self._from_frame(source, with_target)
        return from_texts(source, "texts")

    def _is_text_file(self, source: str) -> bool:
        return self.text_column is None and source.lower().endswith(SUFFIXES["text"])

    def _from_frame(self, frame: pl.DataFrame, with_target: bool) -> Gathered:
        column = self.text_column or "text"
        targets = named_columns(frame, self.task.target) if with_target else []
        for needed in (column, *targets):
            if needed not in frame.columns:
                raise DataError(
                    phrase("the table has no column {needed}", needed=shown(needed)),
                    allowed=", ".join(shown(name) for name in frame.columns[:20]),
                    do=did_you_mean(needed, frame.columns),
                )
        texts = frame.get_column(column).cast(pl.String, strict=False).fill_null("").to_list()
        raw = raw_columns(frame, targets) if targets else None
        return Gathered(
            source="table",
            format="table",
            kind="text",
            numbers=np.arange(len(texts)),
            texts=tuple(texts),
            target=raw,
        )


def from_texts(texts: Any, source: str, notices: tuple[Notice, ...] = ()) -> Gathered:
    """A sequence of texts; missing ones are empty.

    Raises DataError for what holds no texts.
    """
    is_array = hasattr(texts, "tolist")  # numpy, pandas
    if isinstance(texts, str) or not (is_array or isinstance(texts, (Sequence, pl.Series))):
        raise DataError(
            phrase("{type} holds no texts", type=shown(type(texts).__name__)),
            allowed=phrase("a folder, a table, or a list of texts"),
            do=phrase("give one of these"),
        )
    words = tuple("" if text is None else str(text) for text in texts)
    return Gathered(
        source=source,
        format="texts",
        kind="text",
        numbers=np.arange(len(words)),
        texts=words,
        notices=notices,
    )


def text_encoder_from_record(record: dict[str, Any]) -> TextEncoder:
    """The value of `TextEncoder.to_record` as an encoder."""
    return TextEncoder(
        tokens=tokens_from_record(record["tokens"]),
        coding=coding_from_record(record["target"]),
        text_column=record["text_column"],
        memory_limit=record["memory_limit"],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shower:
    """Renders examples for people."""

    found: Gathered

    def __call__(self, position: int) -> Shown:
        assert self.found.texts is not None
        content = {"file": self.found.names[position]} if self.found.names else {}
        content["text"] = self.found.texts[position][:SHOWN_CHARACTERS]
        return Shown(row=int(self.found.numbers[position]), content=content)


def _as_indices(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inputs[0].long(), *inputs[1:])


def _as_file(path: str) -> Gathered:
    listing = list_files([path])
    return Gathered(
        source=path,
        format="text file",
        kind="text",
        numbers=np.arange(1),
        names=listing.names,
        paths=listing.paths,
    )
