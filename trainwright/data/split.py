"""Which rows train, which watch, which are looked at once? Splits that neither equal rows nor
groups nor the future can cross."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int8, Int64, Shaped, UInt64

from trainwright.core.errors import DataError, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Notice
from trainwright.core.seeds import derive

TRAIN, VALID, TEST = 0, 1, 2
_NAMES = ("train", "valid", "test")
_WORDS = {
    TRAIN: ("train", "training", "tr", "fit", "0", "0.0"),
    VALID: ("valid", "val", "validation", "dev", "development", "1", "1.0"),
    TEST: ("test", "testing", "te", "holdout", "hold-out", "2", "2.0"),
}
_EITHER = ("eval", "evaluation")  # the test rows, unless others are called that


class Rows(NamedTuple):
    """Row numbers of each split, ascending, and what must be said about them."""

    train: Int64[np.ndarray, " _"]
    valid: Int64[np.ndarray, " _"]
    test: Int64[np.ndarray, " _"]
    notices: tuple[Notice, ...] = ()


def split_rows(
    num: int,
    *,
    valid_fraction: float,
    test_fraction: float,
    seed: int,
    labels: Shaped[np.ndarray, " {num}"] | None = None,
    groups: Shaped[np.ndarray, " {num}"] | None = None,
    times: Shaped[np.ndarray, " {num}"] | None = None,
    given: Sequence[object] | None = None,
    row_hashes: UInt64[np.ndarray, " {num}"] | None = None,
) -> Rows:
    """Every row in exactly one split; a pure function of its arguments.

    `labels`: anything to stratify by; every label has a row in train. `groups`: rows of one
    group stay together. `times`: numbers; the newest rows are the test rows, before them
    the validation rows; ties stay together; NaN counts as oldest. `given`: a word for each row.
    `row_hashes`: rows of equal hash stay together (not with times or given: there the user decides
    and crossing rows are counted).

    Raises DataError for words in `given` that name no split.
    """
    wanted = np.array([1 - valid_fraction - test_fraction, valid_fraction, test_fraction])
    notices: list[Notice] = []
    if given is not None:
        where = words_to_splits(given)
        if valid_fraction > 0 and not (where == VALID).any():
            _carve(where, valid_fraction, labels, row_hashes, seed)
            notices.append(Notice(code="split_valid_carved", values={"share": valid_fraction}))
    elif times is not None:
        where = _by_time(np.asarray(times, dtype=np.float64), wanted, notices)
    else:
        unit = _units(num, groups, row_hashes, notices)
        where = _by_units(unit, labels, wanted, seed)
    if given is None:
        for split in (VALID, TEST):
            if wanted[split] > 0 and not (where == split).any():
                notices.append(Notice(code="split_impossible", values={"split": _NAMES[split]}))
    if row_hashes is not None and (given is not None or times is not None):
        crossing = _num_crossing(where, row_hashes)
        if crossing:
            notices.append(Notice(code="split_duplicates_cross", values={"count": crossing}))
    train, valid, test = (np.flatnonzero(where == s) for s in (TRAIN, VALID, TEST))
    if not len(train):
        raise DataError(
            phrase("the split leaves no training rows"),
            allowed=phrase("at least one row in train"),
            do=phrase(
                "check the split column, or lower data.valid_fraction and data.test_fraction"
            ),
        )
    return Rows(train, valid, test, tuple(notices))


def hash_rows(*arrays: Shaped[np.ndarray, "row ..."]) -> UInt64[np.ndarray, " row"]:
    """Equal for rows equal in all arrays, the same in every process.

    Each 64-bit word is folded, multiplied by its column's odd constant, folded and summed; words
    of rows that differ collide with probability about 2^-64.
    """
    total = np.zeros(len(arrays[0]), dtype=np.uint64)
    salt = 1
    with np.errstate(over="ignore"):
        for array in arrays:
            for words in _words(array):
                columns = words.shape[1]
                odd = _constants(salt, columns)
                salt += columns
                mixed = words ^ (words >> np.uint64(32))
                mixed += odd
                mixed *= odd
                mixed ^= mixed >> np.uint64(29)
                mixed *= np.uint64(0xBF58476D1CE4E5B9)
                mixed ^= mixed >> np.uint64(32)
                total += (mixed * odd).sum(axis=1, dtype=np.uint64)
        total ^= total >> np.uint64(31)
        total *= np.uint64(0x94D049BB133111EB)
        total ^= total >> np.uint64(29)
    return total


def quantile_bins(
    values: Float[np.ndarray, " row"], num_bins: int = 10
) -> Int64[np.ndarray, " row"]:
    """The decile of each value, to stratify numbers by; missing ones form a bin."""
    finite = values[np.isfinite(values)]
    if len(finite) < 2 * num_bins:
        return np.zeros(len(values), dtype=np.int64)
    edges = np.quantile(finite, np.linspace(0, 1, num_bins + 1)[1:-1])
    return np.searchsorted(edges, values, side="right")


def _words(array: np.ndarray) -> list[np.ndarray]:
    """The array's bytes as uint64 [rows, words], in blocks of rows' columns; -0.0 becomes 0.0."""
    flat = array.reshape(len(array), -1) if array.ndim != 1 else array[:, None]
    if flat.dtype.kind == "f":
        flat = flat + flat.dtype.type(0)
    if flat.dtype.itemsize == 8 and flat.dtype.kind in "iuf":
        return [np.ascontiguousarray(flat).view(np.uint64)]
    if flat.dtype.itemsize < 8 and flat.dtype.kind in "iufb":
        raw = np.ascontiguousarray(flat).view(np.uint8).reshape(len(flat), -1)
        padded = np.zeros((len(raw), -(-raw.shape[1] // 8) * 8), dtype=np.uint8)
        padded[:, : raw.shape[1]] = raw
        return [padded.view(np.uint64)]
    raise AssertionError(f"cannot hash {array.dtype}")


def _constants(first: int, count: int) -> np.ndarray:
    """Odd 64-bit constants by splitmix64 [paper: Steele et al. 2014]."""
    z = (np.arange(first, first + count, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) | np.uint64(1)


def _units(
    num: int, groups: np.ndarray | None, hashes: np.ndarray | None, notices: list[Notice]
) -> np.ndarray:
    """int64 [num]: rows of one unit stay together; numbered by first appearance."""
    if hashes is None and groups is None:
        return np.arange(num)
    if hashes is None:
        return _numbered(np.asarray(groups))
    same = _numbered(np.asarray(hashes))
    repeated = num - (int(same.max()) + 1 if num else 0)
    if repeated:
        notices.append(Notice(code="duplicate_rows_together", values={"count": repeated}))
    if groups is None:
        return same
    unit = _numbered(np.asarray(groups))
    while repeated:  # groups that share an equal row become one: spread the smallest number
        before = unit
        smallest = np.full(int(same.max()) + 1, num)
        np.minimum.at(smallest, same, unit)
        spread = np.full(int(unit.max()) + 1, num)
        np.minimum.at(spread, unit, smallest[same])
        unit = spread[unit]
        if np.array_equal(unit, before):
            break
    return _numbered(unit)


def _numbered(values: np.ndarray) -> np.ndarray:
    """0, 1, 2, … in order of first appearance."""
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse.reshape(-1)]


def _by_units(
    unit: np.ndarray, labels: np.ndarray | None, wanted: np.ndarray, seed: int
) -> np.ndarray:
    """Large units by need, single rows by systematic sampling, then the two repairs."""
    num = len(unit)
    random = np.random.default_rng(derive(seed, "split"))
    label = np.zeros(num, dtype=np.int64) if labels is None else _numbered(np.asarray(labels))
    where = np.full(num, TRAIN, dtype=np.int8)
    if not num:
        return where
    sizes = np.bincount(unit)
    many = sizes[unit] > 1
    placed = _place_large(unit, sizes, label, wanted, where, random) if many.any() else np.zeros(3)
    single = np.flatnonzero(~many)
    rest = np.maximum(wanted * num - placed, 0)
    order = random.permutation(len(single))
    order = single[order[np.argsort(label[single[order]], kind="stable")]]
    left = len(order)
    for split in (TEST, VALID):
        share = min(1.0, rest[split] / left) if left else 0.0
        picked = _systematic(len(order), share, random.random())
        where[order[picked]] = split
        order = order[~picked]
        left = len(order)
    _cover_labels(where, unit, label)
    for split in (TEST, VALID):
        if wanted[split] > 0 and not (where == split).any():
            _fill(where, unit, sizes, label, split)
    return where


def _systematic(num: int, share: float, offset: float) -> Bool[np.ndarray, " {num}"]:
    """Every (1/share)-th, so that any run of rows gets its share to within one.

    The count is num * share rounded to the nearest; `offset` in [0, 1) only moves which ones.
    """
    count = int(num * share + 0.5)
    picked = np.zeros(num, dtype=bool)
    if count:
        picked[((np.arange(count) + offset) * (num / count)).astype(np.int64)] = True
    return picked


def _place_large(
    unit: np.ndarray,
    sizes: np.ndarray,
    label: np.ndarray,
    wanted: np.ndarray,
    where: np.ndarray,
    random: np.random.Generator,
) -> np.ndarray:
    """Gives each unit of several rows to the split that lacks most of its label's rows.

    Largest units first, as in scikit-learn's StratifiedGroupKFold. Returns rows placed by split.
    """
    first = np.full(len(sizes), -1, dtype=np.int64)
    first[unit[::-1]] = label[::-1]
    order = random.permutation(np.flatnonzero(sizes > 1))
    order = order[np.argsort(-sizes[order], kind="stable")]
    several = np.bincount(label[sizes[unit] > 1], minlength=int(label.max()) + 1)
    need = (wanted[None, :] * several[:, None]).tolist()
    destination = np.zeros(len(sizes), dtype=np.int8)
    placed = [0, 0, 0]
    for index, size, of in zip(
        order.tolist(), sizes[order].tolist(), first[order].tolist(), strict=True
    ):
        lacking = need[of]
        best = max((TRAIN, TEST, VALID), key=lambda s: lacking[s] if wanted[s] > 0 else -np.inf)
        lacking[best] -= size
        placed[best] += size
        destination[index] = best
    many = sizes[unit] > 1
    where[many] = destination[unit[many]]
    return np.array(placed, dtype=np.float64)


def _cover_labels(where: np.ndarray, unit: np.ndarray, label: np.ndarray) -> None:
    """Every label has a row in train: else its first unit moves there."""
    present = np.bincount(label[where == TRAIN], minlength=int(label.max()) + 1)
    for missing in np.flatnonzero(present == 0).tolist():
        row = int(np.argmax(label == missing))
        where[unit == unit[row]] = TRAIN


def _fill(
    where: np.ndarray, unit: np.ndarray, sizes: np.ndarray, label: np.ndarray, split: int
) -> None:
    """Moves the smallest training unit that no label depends on to an empty split, if training
    keeps half of all rows."""
    in_train = where == TRAIN
    counts = np.bincount(label[in_train])
    for candidate in sorted(set(unit[in_train].tolist()), key=lambda u: (sizes[u], -u))[:1000]:
        if in_train.sum() - sizes[candidate] < len(unit) / 2:
            return
        rows = unit == candidate
        left = counts - np.bincount(label[rows], minlength=len(counts))
        if (left[label[rows]] > 0).all():
            where[rows] = split
            return


def _by_time(times: np.ndarray, wanted: np.ndarray, notices: list[Notice]) -> np.ndarray:
    """Boundaries at the tie's edge nearest to the wanted share, oldest rows first."""
    unknown = np.isnan(times)
    if unknown.any():
        notices.append(Notice(code="split_time_missing", values={"count": int(unknown.sum())}))
    times = np.where(unknown, -np.inf, times)
    order = np.argsort(times, kind="stable")
    ordered = times[order]
    edges = np.flatnonzero(ordered[1:] != ordered[:-1]) + 1  # where a new time begins
    where = np.full(len(times), TRAIN, dtype=np.int8)
    end = len(times)
    for split in (TEST, VALID):
        usable = edges[edges < end]
        if wanted[split] <= 0 or not len(usable):
            continue
        goal = end - max(1.0, wanted[split] * len(times))
        begin = int(usable[np.argmin(np.abs(usable - goal))])
        where[order[begin:end]] = split
        end = begin
    return where


def words_to_splits(given: Sequence[object]) -> Int8[np.ndarray, " row"]:
    """TRAIN, VALID or TEST for each word.

    Raises DataError for words that name no split.
    """
    words = [str(word).strip().lower() for word in given]
    kinds = dict.fromkeys(words)
    meaning = {word: split for split, known in _WORDS.items() for word in known}
    named_test = any(meaning.get(word) == TEST for word in kinds)
    meaning |= dict.fromkeys(_EITHER, VALID if named_test else TEST)
    unknown = [word for word in kinds if word not in meaning]
    if unknown:
        listed = ", ".join(shown(word) for word in unknown[:3])
        raise DataError(
            phrase("the split column says {listed}, which names no split", listed=listed),
            allowed=phrase("train, valid (val, validation, dev) and test (eval), or 0, 1 and 2"),
            do=phrase("rename the values, or drop data.split to let the rows be split at random"),
        )
    return np.array([meaning[word] for word in words], dtype=np.int8)


def _carve(
    where: np.ndarray,
    fraction: float,
    labels: np.ndarray | None,
    hashes: np.ndarray | None,
    seed: int,
) -> None:
    """Takes validation rows out of the given training rows."""
    train = np.flatnonzero(where == TRAIN)
    inner = split_rows(
        len(train), valid_fraction=fraction, test_fraction=0, seed=seed,
        labels=None if labels is None else np.asarray(labels)[train],
        row_hashes=None if hashes is None else np.asarray(hashes)[train],
    )  # fmt: skip
    where[train[inner.valid]] = VALID


def _num_crossing(where: np.ndarray, hashes: np.ndarray) -> int:
    """Rows outside train that equal a row of train."""
    outside = where != TRAIN
    return int(np.isin(hashes[outside], hashes[~outside]).sum())
