"""How do numbers come to a common scale? A block of numeric columns at once: missing filled and
marked, standardised or made normal by ranks; fitted on training rows only."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

Scaling = Literal["standardise", "quantile", "none"]

LARGEST = 1e30  # beyond, squares and float32 overflow: such numbers count as missing [assumed]
MAX_QUANTILES = 1000  # [paper: Gorishniy et al. 2021, arXiv:2106.11959, appendix]
MAX_REFERENCES = 2_000_000  # numbers that a block's quantile tables may hold [assumed]
FIT_ROWS = 200_000  # quantiles and medians of more rows are taken from a sample [assumed]
HEAVY_KURTOSIS = 8.0  # excess; a normal has 0, an exponential 6 [assumed]
CONTINUOUS_VALUES = 33  # fewer distinct values have no tail to tame [assumed]
LOOK_ROWS = 100_000  # rows looked at for tails: one outlier of 46 sd in 50,000 counts [measured:
# diamonds.y]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Fitted statistics of `names`, one entry per column in each array.

    standardise: (x - centre) / spread. quantile: inverse normal of the rank of x among the
    training rows' quantiles `references` [quantile, column], ties at their middle rank, ranks kept
    half a row from 0 and 1. Columns in `plain` (0/1) stay as they are. A missing x becomes `fill`
    before scaling; columns in `marked` also get a 0/1 column that says so.
    """

    names: tuple[str, ...]
    fill: np.ndarray
    marked: np.ndarray
    plain: np.ndarray
    centre: np.ndarray
    spread: np.ndarray
    references: np.ndarray | None
    num_rows: int

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the encoded columns, in order."""
        marks = (f"{self.names[i]} missing" for i in np.flatnonzero(self.marked))
        return (*self.names, *marks)

    def apply(self, values: np.ndarray) -> np.ndarray:
        """float64 [rows, columns] with NaN -> float32 [rows, len(features)]."""
        missing = np.isnan(values)
        any_missing = bool(missing.any())
        if any_missing:
            values = np.where(missing, self.fill, values)
        if self.references is None:
            encoded = ((values - self.centre) / self.spread).astype(np.float32)
        else:
            encoded = self._by_rank(values)
        if not self.marked.any():
            return encoded
        return np.concatenate([encoded, missing[:, self.marked].astype(np.float32)], axis=1)

    def _by_rank(self, values: np.ndarray) -> np.ndarray:
        assert self.references is not None
        num = len(self.references)
        ranks = np.linspace(0, 1, num)
        out = np.empty(values.shape, dtype=np.float64)
        for column in range(values.shape[1]):
            x, reference = values[:, column], self.references[:, column]
            if self.plain[column]:
                out[:, column] = x
                continue
            upper = np.interp(x, reference, ranks)
            lower = -np.interp(-x, -reference[::-1], -ranks[::-1])
            out[:, column] = (upper + lower) / 2
        edge = 0.5 / max(2, self.num_rows)
        scaled = ~self.plain
        inner = torch.from_numpy(np.clip(out[:, scaled], edge, 1 - edge))
        out[:, scaled] = torch.special.ndtri(inner).numpy()
        return out.astype(np.float32)

    def to_record(self) -> dict[str, object]:
        references = self.references
        return {
            "names": list(self.names), "fill": self.fill.tolist(), "marked": self.marked.tolist(),
            "plain": self.plain.tolist(), "centre": self.centre.tolist(),
            "spread": self.spread.tolist(), "num_rows": self.num_rows,
            "references": None if references is None else references.tolist(),
        }  # fmt: skip


def numbers_from_record(record: dict) -> Numbers:
    references = record["references"]
    return Numbers(
        names=tuple(record["names"]), num_rows=int(record["num_rows"]),
        fill=np.array(record["fill"], dtype=np.float64),
        marked=np.array(record["marked"], dtype=bool),
        plain=np.array(record["plain"], dtype=bool),
        centre=np.array(record["centre"], dtype=np.float64),
        spread=np.array(record["spread"], dtype=np.float64),
        references=None if references is None else np.array(references, dtype=np.float64),
    )  # fmt: skip


def fit_numbers(
    values: np.ndarray, names: tuple[str, ...], plain: np.ndarray, scaling: Scaling
) -> Numbers:
    """From the training rows `values` float64 [rows, columns], NaN where missing.

    A column without any value is filled with 0.
    """
    missing = np.isnan(values)
    marked = np.asarray(missing.any(axis=0))
    sample = values[:: max(1, len(values) // FIT_ROWS)]
    fill = np.zeros(values.shape[1])
    if marked.any():
        fill[marked] = _medians(sample[:, marked])
        values = np.where(missing, fill, values)
        sample = np.where(np.isnan(sample), fill, sample)
    centre, spread = np.zeros(values.shape[1]), np.ones(values.shape[1])
    references = None
    if scaling == "quantile":
        num = max(2, min(MAX_QUANTILES, len(sample), MAX_REFERENCES // max(1, values.shape[1])))
        ordered = np.sort(sample, axis=0)
        where = np.linspace(0, len(ordered) - 1, num).round().astype(np.int64)
        references = ordered[where]
    elif scaling == "standardise":
        centre = np.where(plain, 0.0, values.mean(axis=0))
        deviation = values.std(axis=0)
        tiny = deviation <= 1e-12 * np.maximum(1e-300, np.abs(centre))  # rounding, no variation
        spread = np.where(plain | tiny | ~np.isfinite(deviation), 1.0, deviation)
    return Numbers(
        names=names, fill=fill, marked=marked, plain=plain, centre=centre, spread=spread,
        references=references, num_rows=len(values),
    )  # fmt: skip


def heavy_tails(values: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """bool [columns]: excess kurtosis over HEAVY_KURTOSIS among at most LOOK_ROWS rows, for
    columns of many distinct values."""
    look = values[:: -(-len(values) // LOOK_ROWS)] if len(values) else values
    heavy = np.zeros(values.shape[1], dtype=bool)
    if len(look) < 8:
        return heavy
    known = ~np.isnan(look)
    if known.all():
        deviations = look - look.mean(axis=0)
        count = np.full(look.shape[1], len(look))
    else:
        count = np.maximum(1, known.sum(axis=0))
        mean = np.where(known, look, 0).sum(axis=0) / count
        deviations = np.where(known, look - mean, 0)
    largest = np.abs(deviations).max(axis=0, initial=0)
    deviations = deviations / np.where(largest > 0, largest, 1)  # no overflow in the 4th power
    squared = deviations**2
    variance = squared.sum(axis=0) / count
    fourth = (squared**2).sum(axis=0) / count
    suspects = np.flatnonzero((fourth > (HEAVY_KURTOSIS + 3) * variance**2) & ~plain)
    if len(suspects):
        ordered = np.sort(look[:10_000, suspects], axis=0)
        distinct = (np.diff(ordered, axis=0) > 0).sum(axis=0) + 1
        heavy[suspects] = distinct >= CONTINUOUS_VALUES
    return heavy


def _medians(values: np.ndarray) -> np.ndarray:
    """Median of each column's known values, 0 where there is none."""
    ordered = np.sort(values, axis=0)  # NaN last
    count = (~np.isnan(values)).sum(axis=0)
    columns = np.arange(values.shape[1])
    low = ordered[np.maximum(0, (count - 1) // 2), columns]
    high = ordered[np.minimum(count // 2, max(0, len(values) - 1)), columns]
    middle = low + (high - low) / 2
    return np.where(count > 0, middle, 0.0)
