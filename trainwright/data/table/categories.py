"""How do words and moments become numbers? Codes or 0/1 columns for words, cycles and a trend for
dates; fitted on training rows only."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from jaxtyping import Float32, Int64

from trainwright.data.table.cells import seconds_of, words_of

DAY = 86_400.0
YEAR = 365.2425 * DAY
MAX_ONE_HOT = 256  # columns that one category may become where codes are not possible [assumed]


@dataclass(frozen=True, slots=True, kw_only=True)
class Categories:
    """One column of words, known ones in order. Code 0 is unseen or missing; words seen once in
    training share it where codes are learned, so that it is learned too."""

    name: str
    words: tuple[str, ...]
    embedded: bool
    marked: bool  # missing cells get a 0/1 column of their own

    @property
    def features(self) -> tuple[str, ...]:
        marks = (f"{self.name} missing",) if self.marked else ()
        return (*(f"{self.name}={word}" for word in self.words), *marks)

    def codes(self, series: pl.Series) -> tuple[Int64[np.ndarray, " {len(series)}"], int]:
        """Codes, and how many cells hold a word that is not known."""
        words = words_of(series)
        if not self.words:
            return np.zeros(len(words), dtype=np.int64), words.count()
        codes = words.replace_strict(
            list(self.words), range(1, len(self.words) + 1), default=0, return_dtype=pl.Int64
        )
        array = codes.fill_null(0).to_numpy().astype(np.int64, copy=False)
        return array, int((array == 0).sum()) - words.null_count()

    def one_hot(
        self, series: pl.Series
    ) -> tuple[Float32[np.ndarray, "{len(series)} {len(self.features)}"], int]:
        """One column for each of `features`: all 0 for an unseen word."""
        codes, unseen = self.codes(series)
        out = np.zeros((len(codes), len(self.features)), dtype=np.float32)
        rows = np.flatnonzero(codes)
        out[rows, codes[rows] - 1] = 1
        if self.marked:
            out[:, -1] = words_of(series).is_null().to_numpy()
        return out, unseen

    def to_record(self) -> dict[str, object]:
        return {**asdict(self), "words": list(self.words)}


def fit_categories(
    name: str, counts: Mapping[str | None, int], *, how: str, limit: int, one_tensor: bool
) -> Categories:
    """From the training rows' words and how often each comes, None for missing; `how` is auto,
    one_hot or embedding."""
    found = {word: count for word, count in counts.items() if word is not None}
    embedded = not one_tensor and (how == "embedding" or (how == "auto" and len(found) > limit))
    if embedded and min(found.values(), default=0) < 2:
        found = {word: count for word, count in found.items() if count > 1}
    elif not embedded and len(found) > MAX_ONE_HOT and one_tensor:
        common = sorted(found, key=lambda word: (-found[word], word))[:MAX_ONE_HOT]
        found = {word: found[word] for word in common}
    marked = not embedded and counts.get(None, 0) > 0
    return Categories(name=name, words=tuple(sorted(found)), embedded=embedded, marked=marked)


def count_words(series: pl.Series) -> dict[str | None, int]:
    """How often each word of a column comes, None for missing."""
    counts = words_of(series).value_counts()
    return dict(zip(*(counts.get_column(c).to_list() for c in counts.columns), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """One column of dates as sine and cosine of the time of week and of year (and of day, when
    times are given) and, with `trend`, as (seconds - mean) / spread."""

    name: str
    mean: float
    spread: float
    trend: bool
    clock: bool
    marked: bool

    @property
    def features(self) -> tuple[str, ...]:
        cycles = ["week", "year", *(["day"] if self.clock else [])]
        names = [f"{self.name} {wave} of {cycle}" for cycle in cycles for wave in ("sin", "cos")]
        names += [f"{self.name} trend"] if self.trend else []
        return (*names, *([f"{self.name} missing"] if self.marked else []))

    def apply(
        self, series: pl.Series
    ) -> tuple[Float32[np.ndarray, "{len(series)} {len(self.features)}"], int]:
        """One column for each of `features`, 0 where missing, and how many cells were no date."""
        seconds, lost = seconds_of(series)
        missing = np.isnan(seconds)
        seconds = np.where(missing, self.mean, seconds)
        days = np.floor(seconds / DAY) * DAY
        parts = []
        for phase in (
            (days + 3 * DAY) / (7 * DAY),  # 1970-01-01 was a Thursday: weeks begin on Monday
            days / YEAR,
            *([seconds / DAY] if self.clock else []),
        ):
            angle = 2 * np.pi * (phase - np.floor(phase))
            parts += [np.sin(angle), np.cos(angle)]
        if self.trend:
            parts.append((seconds - self.mean) / self.spread)
        encoded = np.where(missing[:, None], 0, np.stack(parts, axis=1))
        if self.marked:
            encoded = np.concatenate([encoded, missing[:, None]], axis=1)
        return encoded.astype(np.float32), lost

    def to_record(self) -> dict[str, object]:
        return asdict(self)


def fit_moments(series: pl.Series, *, trend: bool) -> Moments:
    """From the training rows."""
    seconds, _ = seconds_of(series)
    known = seconds[~np.isnan(seconds)]
    spread = float(known.std()) if len(known) else 0.0
    return Moments(
        name=series.name, mean=float(known.mean()) if len(known) else 0.0,
        spread=spread or 1.0, trend=trend, clock=bool((known % DAY != 0).any()),
        marked=len(known) < len(seconds),
    )  # fmt: skip


def categories_from_record(record: Mapping) -> Categories:
    return Categories(**{**record, "words": tuple(record["words"])})


def moments_from_record(record: Mapping) -> Moments:
    return Moments(**record)
