"""What do simple learners see of an example? One flat row: numbers, category codes, token counts;
pictures and sound averaged down to at most MOST_FEATURES numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d

from trainwright.core.records import Signature
from trainwright.data.batch import Batch, Examples
from trainwright.evaluate.estimate import Targets

MOST_FEATURES = 1024  # simple learners gain little from more pixels, and take long [assumed]
MOST_CELLS = 25_000_000  # numbers held for fitting: 100 MB as float32 [assumed]
READ_BATCH = 2048
WINDOW = 512  # samples per spectrum of raw sound, 32 ms at 16 kHz [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """`codes` are 0 where unseen; `counts` is sparse [row, vocab] or None."""

    numbers: Float32[np.ndarray, "row feature"]
    codes: Int64[np.ndarray, "row column"]
    counts: Any
    target: Targets

    def __len__(self) -> int:
        return len(self.target)

    def take(self, positions: Int[np.ndarray, " _"]) -> "Rows":
        counts = None if self.counts is None else self.counts[positions]
        return Rows(
            numbers=self.numbers[positions], codes=self.codes[positions], counts=counts,
            target=self.target[positions],
        )  # fmt: skip


def flatten(batch: Batch, signature: Signature) -> Rows:
    """One batch as flat rows."""
    num = len(batch.target)
    numbers, codes, counts = [], [], None
    for part in (given.detach().cpu() for given in batch.inputs):
        if part.is_floating_point():
            numbers.append(_numbers(part, signature).numpy())
        elif signature.kind == "text":
            counts = _counts(part.numpy(), signature.vocabulary)
        else:
            codes.append(part.reshape(num, -1).numpy().astype(np.int64))
    return Rows(
        numbers=np.concatenate([np.zeros((num, 0), np.float32), *numbers], axis=1),
        codes=np.concatenate([np.zeros((num, 0), np.int64), *codes], axis=1),
        counts=counts,
        target=batch.target.cpu().numpy(),
    )


def read_some(examples: Examples, *, seed: int, most: int) -> Rows:
    """All examples, or a draw of `most` (fewer where MOST_CELLS asks for it), in their order."""
    total = len(examples)
    keep: np.ndarray | None = None
    parts: list[Rows] = []
    start = 0
    for batch in examples.batches(min(READ_BATCH, max(1, total))):
        rows = flatten(batch, examples.signature)
        if keep is None:
            width = max(1, rows.numbers.shape[1] + rows.codes.shape[1])
            allowed = max(1, min(total, most, MOST_CELLS // width))
            drawn = np.random.default_rng(seed).choice(total, allowed, replace=False)
            keep = np.zeros(total, dtype=bool)
            keep[drawn] = True
        chosen = np.flatnonzero(keep[start : start + len(rows)])
        start += len(rows)
        parts.append(rows if len(chosen) == len(rows) else rows.take(chosen))
    return _joined(parts)


def read_in_parts(examples: Examples) -> Iterator[Rows]:
    """All examples in order, a few thousand at a time."""
    for batch in examples.batches(min(READ_BATCH, max(1, len(examples)))):
        yield flatten(batch, examples.signature)


def is_pooled(signature: Signature) -> bool:
    """Whether detail is lost on the way to flat rows."""
    return signature.kind != "text" and int(np.prod(signature.shape)) > MOST_FEATURES


def _numbers(
    part: Float[Tensor, "batch ..."], signature: Signature
) -> Float32[Tensor, "batch feature"]:
    part = part.float()
    num = len(part)
    if part.shape[1:].numel() <= MOST_FEATURES:
        return part.reshape(num, part.shape[1:].numel())
    if signature.kind == "audio" and part.dim() == 3 and part.shape[1] <= 2:
        part = _spectra(part)
    if part.dim() == 3:
        part = part[:, None]
    if part.dim() == 4:
        return adaptive_avg_pool2d(part, _smaller(part.shape[1:])).reshape(num, -1)
    return adaptive_avg_pool1d(part.reshape(num, 1, -1), MOST_FEATURES)[:, 0]


def _smaller(shape: torch.Size) -> tuple[int, int]:
    """Height and width of the same proportions with at most MOST_FEATURES numbers."""
    channels, height, width = shape
    share = min(1.0, (MOST_FEATURES / (channels * height * width)) ** 0.5)
    rows = max(1, int(height * share))
    return rows, max(1, min(int(width * share), MOST_FEATURES // (channels * rows)))


def _spectra(sound: Float[Tensor, "batch channel time"]) -> Float[Tensor, "batch band frame"]:
    """Log power by frequency and time."""
    mono = sound.mean(dim=1)
    window = torch.hann_window(WINDOW)
    spectrum = torch.stft(mono, WINDOW, WINDOW // 2, window=window, return_complex=True)
    return torch.log(spectrum.abs().square() + 1e-6)


def _counts(tokens: Int[np.ndarray, "batch ..."], vocabulary: int) -> Any:
    """How often each token occurs in each text; token 0 is padding and counts as nothing."""
    from scipy.sparse import csr_array

    tokens = tokens.reshape(len(tokens), -1)
    row, place = np.nonzero(tokens)
    ones = np.ones(len(row), dtype=np.float32)
    shape = (len(tokens), max(vocabulary, int(tokens.max(initial=0)) + 1))
    counts = csr_array((ones, (row, tokens[row, place])), shape=shape)
    counts.sum_duplicates()
    return counts


def _joined(parts: list[Rows]) -> Rows:
    counts = None
    if parts[0].counts is not None:
        from scipy.sparse import vstack

        counts = vstack([part.counts for part in parts], format="csr")
    return Rows(
        numbers=np.concatenate([part.numbers for part in parts]),
        codes=np.concatenate([part.codes for part in parts]),
        counts=counts,
        target=np.concatenate([part.target for part in parts]),
    )
