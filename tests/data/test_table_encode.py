"""Encoders know the training rows alone, survive being written down to the bit, and meet unseen
tables without surprise."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from trainwright.core.errors import DataError
from trainwright.core.records import Notice
from trainwright.data.knobs import DataKnobs
from trainwright.data.prepare import encoder_from_record, prepare
from trainwright.data.table.numbers import fit_numbers, heavy_tails, numbers_from_record
from trainwright.data.table.target import read_target

NUM = 200


def frame(seed: int = 0) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    days = pl.Series(random.integers(0, 900, NUM)).cast(pl.Int32).cast(pl.Date)
    return pl.DataFrame({
        "x": random.standard_normal(NUM),
        "gaps": [None if v < -1 else v for v in random.standard_normal(NUM)],
        "city": random.choice(["Bern", "Oslo", "Rome"], NUM),
        "code": random.choice([f"c{i}" for i in range(20)], NUM),
        "ok": random.choice(["yes", "no"], NUM),
        "when": days,
        "target": random.choice(["a", "b", "c"], NUM),
    })  # fmt: skip


def codes(notices: tuple[Notice, ...]) -> set[str]:
    return {notice.code for notice in notices}


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 5), noise=st.floats(-1e9, 1e9), word=st.text(max_size=5))
def test_changing_rows_outside_training_never_changes_the_encoder(seed, noise, word):
    table = frame(seed).with_columns(part=pl.Series(["train"] * 150 + ["val"] * 25 + ["test"] * 25))
    outside = pl.col("part") != "train"
    changed = table.with_columns(
        x=pl.when(outside).then(noise).otherwise(pl.col("x")),
        gaps=pl.when(outside).then(None).otherwise(pl.col("gaps")),
        city=pl.when(outside).then(pl.lit(word)).otherwise(pl.col("city")),
        code=pl.when(outside).then(pl.lit("c1")).otherwise(pl.col("code")),
    )
    knobs = DataKnobs(split="part")
    records = [prepare(t, knobs, seed=0).encoder.to_record() for t in (table, changed)]
    assert records[0] == records[1]


@pytest.mark.parametrize("scale", ["standardise", "quantile", "none"])
@pytest.mark.parametrize("one_tensor", [False, True])
def test_an_encoder_written_down_and_read_back_encodes_to_the_same_bits(scale, one_tensor):
    prepared = prepare(frame(), DataKnobs(scale=scale), seed=0, one_tensor=one_tensor)
    again = encoder_from_record(json.loads(json.dumps(prepared.encoder.to_record())))
    for new in (frame(1), frame(2).drop("city")):
        first = prepared.encoder.encode(new, with_target=True)
        second = again.encode(new, with_target=True)
        for a, b in zip(
            next(iter(first.batches(999))).inputs, next(iter(second.batches(999))).inputs,
            strict=True,
        ):  # fmt: skip
            assert torch.equal(a, b)
        assert torch.equal(first.targets(), second.targets())


def test_training_rows_encode_anew_to_what_was_trained_on():
    table = frame()
    prepared = prepare(table, DataKnobs(), seed=0)
    anew = prepared.encoder.encode(table, with_target=True)
    rows = [prepared.train.show(i).row for i in range(len(prepared.train))]
    trained, encoded = (next(iter(e.batches(999))) for e in (prepared.train, anew))
    for a, b in zip(trained.inputs, encoded.inputs, strict=True):
        assert torch.equal(a, b[rows])
    assert torch.equal(trained.target, encoded.target[rows])


def test_categories_are_columns_up_to_the_limit_and_codes_beyond():
    prepared = prepare(frame(), DataKnobs(), seed=0)
    signature = prepared.train.signature
    assert signature.cardinalities == (21,)
    batch = next(iter(prepared.train.batches(999)))
    assert batch.inputs[0].shape[1:] == signature.shape
    assert len(signature.names) == signature.shape[0] + 1
    assert batch.inputs[1].dtype == torch.int64
    assert batch.inputs[1].max() <= 20
    place = [i for i, name in enumerate(signature.names) if name.startswith("city=")]
    assert (batch.inputs[0][:, place].sum(dim=1) == 1).all()
    alone = prepare(frame(), DataKnobs(), seed=0, one_tensor=True).train.signature
    assert alone.cardinalities == ()
    assert sum(name.startswith("code=") for name in alone.names) == 20


def test_missing_numbers_are_filled_and_marked_where_training_had_gaps():
    prepared = prepare(frame(), DataKnobs(scale="standardise"), seed=0)
    names = prepared.train.signature.names
    assert "gaps missing" in names
    assert "x missing" not in names
    new = frame(3).with_columns(gaps=pl.lit(None, pl.Float64))
    inputs = next(iter(prepared.encoder.encode(new, with_target=False).batches(999))).inputs[0]
    assert (inputs[:, names.index("gaps missing")] == 1).all()
    assert inputs.isfinite().all()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda t: t.drop("x"), "columns_absent"),
        (lambda t: t.with_columns(more=pl.lit(1)), "columns_extra"),
        (lambda t: t.with_columns(city=pl.lit("Lima")), "unseen_categories"),
        (lambda t: t.with_columns(x=pl.lit("what")), "cells_not_numbers"),
        (lambda t: t.with_columns(when=pl.lit("soon")), "cells_not_dates"),
        (lambda t: t.with_columns(x=pl.lit(float("inf"))), "infinities_missing"),
        (lambda t: t.with_columns(target=pl.lit("z").alias("target")), None),
    ],
)
def test_new_tables_that_differ_are_encoded_with_a_notice(change, code):
    encoder = prepare(frame(), DataKnobs(), seed=0).encoder
    examples = encoder.encode(change(frame(1)), with_target=False)
    assert len(examples) == NUM
    assert next(iter(examples.batches(999))).inputs[0].isfinite().all()
    assert code is None or code in codes(examples.notices)


def test_the_order_and_the_type_of_new_columns_do_not_matter(tmp_path: Path):
    encoder = prepare(frame(), DataKnobs(), seed=0).encoder
    new = frame(1)
    new.select(reversed(new.columns)).write_csv(tmp_path / "new.csv")
    sources = [
        new,
        new.to_pandas() if hasattr(new, "to_pandas") else new,
        str(tmp_path / "new.csv"),
    ]
    seen = [next(iter(encoder.encode(s, with_target=True).batches(999))) for s in sources]
    for other in seen[1:]:
        for a, b in zip(seen[0].inputs, other.inputs, strict=True):
            assert torch.equal(a, b)


def test_new_rows_with_unknown_classes_are_left_out_and_the_rest_keeps_its_row_numbers():
    encoder = prepare(frame(), DataKnobs(), seed=0).encoder
    new = frame(1).with_columns(
        target=pl.when(pl.int_range(NUM) < 5).then(pl.lit("z")).otherwise(pl.col("target"))
    )
    examples = encoder.encode(new, with_target=True)
    assert len(examples) == NUM - 5
    assert examples.show(0).row == 5
    assert "target_unknown" in codes(examples.notices)


def test_a_table_without_any_known_column_is_refused():
    encoder = prepare(frame(), DataKnobs(), seed=0).encoder
    with pytest.raises(DataError, match="none of the columns"):
        encoder.encode(pl.DataFrame({"other": [1, 2]}), with_target=False)
    with pytest.raises(DataError, match="compare with"):
        encoder.encode(frame().drop("target"), with_target=True)


def test_regression_targets_are_standardised_by_the_training_rows_and_decoded_back():
    table = frame().with_columns(target=pl.col("x") * 1000 + 5000)
    prepared = prepare(table, DataKnobs(), seed=0)
    targets = prepared.train.targets()
    assert abs(float(targets.mean())) < 1e-5
    assert abs(float(targets.std(correction=0)) - 1) < 1e-5
    rows = [prepared.train.show(i).row for i in range(len(prepared.train))]
    np.testing.assert_allclose(
        prepared.encoder.decode(targets.numpy()), table["target"].to_numpy()[rows], rtol=1e-4
    )
    raw = prepare(table, DataKnobs(standardise_target=False), seed=0).train.targets()
    assert float(raw.mean()) > 1000


def test_dates_become_cycles_and_a_trend():
    days = [f"2024-{m:02}-{d:02}" for m in range(1, 13) for d in range(1, 15)]
    table = pl.DataFrame({"when": days, "target": [0, 1] * 84})
    prepared = prepare(table, DataKnobs(), seed=0)
    names = prepared.train.signature.names
    assert names == ("when sin of week", "when cos of week", "when sin of year",
                     "when cos of year", "when trend")  # fmt: skip
    inputs = next(iter(prepared.train.batches(999))).inputs[0]
    np.testing.assert_allclose((inputs[:, 0] ** 2 + inputs[:, 1] ** 2).numpy(), 1, atol=1e-5)
    assert abs(float(inputs[:, 4].mean())) < 1e-5


def test_quantile_scaling_makes_any_continuous_column_normal():
    random = np.random.default_rng(0)
    values = np.stack([random.exponential(size=5000), random.standard_cauchy(5000)], axis=1)
    plain = np.zeros(2, dtype=bool)
    assert heavy_tails(values, plain).tolist() == [False, True]
    encoded = fit_numbers(values, ("a", "b"), plain, "quantile").apply(values)
    expected = norm.ppf((np.arange(5000) + 0.5) / 5000)
    for column in range(2):
        assert np.abs(np.sort(encoded[:, column]) - expected)[50:-50].max() < 0.02
    far = fit_numbers(values, ("a", "b"), plain, "quantile").apply(np.array([[1e30, -1e30]]))
    assert np.abs(far).max() < 5.2


def test_quantile_scaling_keeps_order_and_puts_ties_at_their_middle_rank():
    values = np.array([[0.0]] * 600 + [[1.0]] * 400)
    numbers = fit_numbers(values, ("a",), np.array([False]), "quantile")
    low, high = numbers.apply(np.array([[0.0], [1.0]]))[:, 0]
    assert low == pytest.approx(norm.ppf(0.3), abs=0.01)
    assert high == pytest.approx(norm.ppf(0.8), abs=0.01)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.floats(-1e30, 1e30) | st.just(float("nan")), min_size=2, max_size=2),
        min_size=1, max_size=30,
    ),
    st.sampled_from(["standardise", "quantile", "none"]),
)  # fmt: skip
def test_numbers_of_any_size_encode_to_finite_values_and_survive_being_written(rows, scaling):
    values = np.array(rows)
    numbers = fit_numbers(values, ("a", "b"), np.zeros(2, dtype=bool), scaling)
    again = numbers_from_record(json.loads(json.dumps(numbers.to_record())))
    np.testing.assert_array_equal(numbers.apply(values), again.apply(values))
    assert np.isfinite(numbers.apply(values)).all()


@given(words=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=4, max_size=40))
def test_reading_a_target_again_in_its_own_coding_gives_the_same_classes(words):
    if len({word for word in words if word}) < 2:
        return
    target = read_target(words, "auto", "t")
    decoded = [target.task.classes[c] if k else None
               for c, k in zip(target.values, target.known, strict=True)]  # fmt: skip
    assert decoded == words
