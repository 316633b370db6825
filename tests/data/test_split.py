"""Splits partition the rows, and nothing that belongs together is torn apart."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainwright.core.errors import DataError
from trainwright.data.split import Rows, hash_rows, quantile_bins, split_rows

nums = st.integers(1, 120)
seeds = st.integers(0, 2**62)
fractions = st.sampled_from([(0.15, 0.15), (0.2, 0.0), (0.0, 0.3), (0.0, 0.0), (0.4, 0.5)])


def where_of(rows: Rows, num: int) -> np.ndarray:
    where = np.full(num, -1)
    for split in range(3):
        where[rows[split]] = split
    return where


def codes(rows: Rows) -> set[str]:
    return {notice.code for notice in rows.notices}


@given(num=nums, seed=seeds, share=fractions, data=st.data())
def test_every_row_is_in_exactly_one_split_and_equal_rows_and_groups_stay_together(
    num, seed, share, data
):
    few = st.lists(st.integers(0, max(1, num // 2)), min_size=num, max_size=num)
    groups = np.array(data.draw(few)) if data.draw(st.booleans()) else None
    hashes = np.array(data.draw(few), dtype=np.uint64) if data.draw(st.booleans()) else None
    labels = np.array(data.draw(st.lists(st.integers(0, 4), min_size=num, max_size=num)))
    rows = split_rows(
        num, valid_fraction=share[0], test_fraction=share[1], seed=seed, labels=labels,
        groups=groups, row_hashes=hashes,
    )  # fmt: skip
    assert sorted(np.concatenate(rows[:3]).tolist()) == list(range(num))
    where = where_of(rows, num)
    for together in (groups, hashes):
        if together is not None:
            for value in np.unique(together):
                assert len(set(where[together == value])) == 1
    assert set(labels[rows.train]) == set(labels), "a label has no training row"
    for name, fraction in zip(("valid", "test"), share, strict=True):
        if fraction == 0:
            assert not len(getattr(rows, name))
        elif not len(getattr(rows, name)):
            assert "split_impossible" in codes(rows)


@given(num=st.integers(40, 400), seed=seeds, classes=st.integers(1, 5))
def test_sizes_and_class_shares_are_within_a_row_or_two_of_what_was_asked(num, seed, classes):
    labels = np.random.default_rng(seed % 1000).integers(0, classes, num)
    rows = split_rows(num, valid_fraction=0.15, test_fraction=0.2, seed=seed, labels=labels)
    assert abs(len(rows.test) - 0.2 * num) <= 1 + classes * 0.2
    assert abs(len(rows.valid) - 0.15 * num) <= 1 + classes * 0.2
    for label in range(classes):
        expected = 0.2 * (labels == label).sum()
        assert abs((labels[rows.test] == label).sum() - expected) <= 1.5


@given(times=st.lists(st.integers(0, 30) | st.just(float("nan")), min_size=2, max_size=80))
def test_the_newest_rows_are_the_test_rows_and_ties_are_never_torn(times):
    times = np.array(times, dtype=float)
    rows = split_rows(len(times), valid_fraction=0.2, test_fraction=0.2, seed=0, times=times)
    known = np.nan_to_num(times, nan=-1)
    parts = [known[part] for part in rows[:3] if len(part)]
    for earlier, later in itertools.pairwise(parts):
        assert earlier.max() < later.min()
    assert sum(len(part) for part in rows[:3]) == len(times)


def test_twelve_rows_give_all_three_splits_and_train_keeps_most():
    rows = split_rows(12, valid_fraction=0.15, test_fraction=0.15, seed=3, labels=np.arange(12) % 2)
    assert [len(part) for part in rows[:3]] == [8, 2, 2]


def test_two_groups_cannot_make_three_splits_and_that_is_said():
    rows = split_rows(
        100, valid_fraction=0.15, test_fraction=0.15, seed=0, groups=np.arange(100) % 2
    )
    assert len(rows.train) == 50
    assert codes(rows) == {"split_impossible"}


def test_many_tiny_classes_still_give_a_test_split_of_the_asked_size():
    labels = np.repeat(np.arange(100), 3)
    rows = split_rows(300, valid_fraction=0.15, test_fraction=0.15, seed=0, labels=labels)
    assert len(rows.test) == 45
    assert len(set(labels[rows.train])) == 100


def test_groups_that_share_an_equal_row_stay_on_one_side():
    groups = np.repeat(np.arange(30), 2)
    hashes = np.arange(60, dtype=np.uint64)
    hashes[2], hashes[4] = hashes[1], hashes[3]  # groups 0-1 and 1-2 share a row
    for seed in range(20):
        rows = split_rows(
            60, valid_fraction=0.2, test_fraction=0.3, seed=seed, groups=groups, row_hashes=hashes
        )
        assert len(set(where_of(rows, 60)[:6])) == 1
        assert "duplicate_rows_together" in codes(rows)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "VAL", " test "], [0, 1, 2]),
        (["Training", "dev", "eval"], [0, 1, 2]),
        (["train", "eval", "test"], [0, 1, 2]),
        ([0, 1, 2], [0, 1, 2]),
    ],
)
def test_a_given_split_is_kept_whatever_its_words(words, expected):
    rows = split_rows(3, valid_fraction=0.15, test_fraction=0.15, seed=0, given=words)
    assert where_of(rows, 3).tolist() == expected


def test_a_given_split_without_validation_rows_gets_some_out_of_train_and_keeps_test():
    words = ["train"] * 40 + ["test"] * 10
    rows = split_rows(50, valid_fraction=0.2, test_fraction=0.15, seed=0, given=words)
    assert rows.test.tolist() == list(range(40, 50))
    assert len(rows.valid) == 8
    assert "split_valid_carved" in codes(rows)


def test_unknown_words_in_a_given_split_are_refused_with_what_is_allowed():
    with pytest.raises(DataError) as error:
        split_rows(2, valid_fraction=0.1, test_fraction=0.1, seed=0, given=["train", "\x1b[31mx"])
    assert error.value.allowed
    assert error.value.do
    assert "\x1b" not in str(error.value)


def test_duplicates_across_a_given_split_are_counted_not_moved():
    rows = split_rows(
        4, valid_fraction=0, test_fraction=0.5, seed=0, given=["train", "train", "test", "test"],
        row_hashes=np.array([1, 2, 2, 3], dtype=np.uint64),
    )  # fmt: skip
    assert rows.test.tolist() == [2, 3]
    assert [n.values["count"] for n in rows.notices] == [1]


def test_row_hashes_tell_equal_rows_from_different_ones():
    numbers = np.random.default_rng(0).integers(0, 16, (20_000, 64)).astype(np.float64)
    numbers[500] = numbers[7]
    hashes = hash_rows(numbers)
    assert hashes[500] == hashes[7]
    assert len(np.unique(hashes)) == len(np.unique(numbers, axis=0))
    assert len(np.unique(hash_rows(numbers[:, ::-1].copy(), np.arange(20_000)))) == 20_000
    small = np.arange(70_000, dtype=np.uint32).view(np.uint8).reshape(-1, 2, 2)
    assert len(np.unique(hash_rows(small))) == 70_000


def test_row_hashes_are_the_same_in_another_process_and_ignore_the_sign_of_zero():
    script = (
        "import numpy as np; from trainwright.data.split import hash_rows;"
        "print(hash_rows(np.arange(6.).reshape(2, 3)).tolist())"
    )
    other = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == str(hash_rows(np.arange(6.0).reshape(2, 3)).tolist())
    assert hash_rows(np.array([0.0])) == hash_rows(np.array([-0.0]))


def test_quantile_bins_hold_equal_shares():
    counts = np.bincount(quantile_bins(np.random.default_rng(1).exponential(size=1000)))
    assert len(counts) == 10
    assert counts.min() >= 99
