"""Live objects: every kind of array, frame, list and Dataset becomes the same examples."""

import subprocess
import sys
import time

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from trainwright.data.batch import Batch, Prepared
from trainwright.data.knobs import DataKnobs
from trainwright.data.prepare import encoder_from_record, prepare

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((90, 3))
Y = np.arange(90) % 3
NO_SCALE = DataKnobs(scale="none")


def first(prepared: Prepared) -> Batch:
    return next(iter(prepared.train.batches(999)))


class Pairs(Dataset):
    def __len__(self) -> int:
        return 90

    def __getitem__(self, index: int):
        return torch.from_numpy(X[index]), int(Y[index])


class Flow(IterableDataset):
    def __iter__(self):
        return iter(zip(torch.from_numpy(X), Y.tolist(), strict=True))


@pytest.mark.parametrize(
    "source",
    [
        (X, Y),
        (torch.from_numpy(X), torch.from_numpy(Y)),
        (X.tolist(), Y.tolist()),
        (pd.DataFrame(X), pd.Series(Y)),
        (pl.DataFrame(X), pl.Series(Y)),
        (X, Y[:, None]),
        (X, np.eye(3)[Y]),
        (X, [str(y) for y in Y]),
        (X, np.array([str(y) for y in Y], dtype=object)),
        (X, pd.Series(Y).astype("category")),
        TensorDataset(torch.from_numpy(X), torch.from_numpy(Y)),
        Pairs(),
        Flow(),
        DataLoader(Pairs(), batch_size=7),
        pd.DataFrame(X).assign(target=Y),
        pl.DataFrame(X).with_columns(target=pl.Series(Y)),
        [{"a": x[0], "b": x[1], "c": x[2], "target": int(y)} for x, y in zip(X, Y, strict=True)],
        {"a": X[:, 0], "b": X[:, 1], "c": X[:, 2], "target": Y},
    ],
    ids=lambda s: type(s[0] if isinstance(s, tuple) else s).__name__,
)
@pytest.mark.parametrize("one_tensor", [False, True])
def test_every_kind_of_live_object_gives_the_same_examples(source, one_tensor):
    prepared = prepare(source, NO_SCALE, seed=0, one_tensor=one_tensor)
    assert prepared.understanding.task.kind == "multiclass"
    assert prepared.understanding.task.classes == ("0", "1", "2")
    batch = first(prepared)
    rows = [prepared.train.show(i).row for i in range(len(prepared.train))]
    np.testing.assert_array_equal(batch.inputs[0].numpy(), X[rows].astype(np.float32))
    np.testing.assert_array_equal(batch.target.numpy(), Y[rows])


def test_features_are_standardised_unless_they_go_to_ones_own_module():
    shifted = X * 50 + 7
    inputs = first(prepare((shifted, Y), DataKnobs(), seed=0)).inputs[0]
    np.testing.assert_allclose(inputs.mean(dim=0).numpy(), 0, atol=1e-5)
    np.testing.assert_allclose(inputs.std(dim=0, correction=0).numpy(), 1, atol=1e-5)
    prepared = prepare((shifted, Y), DataKnobs(), seed=0, one_tensor=True)
    rows = [prepared.train.show(i).row for i in range(len(prepared.train))]
    np.testing.assert_array_equal(
        first(prepared).inputs[0].numpy(), shifted[rows].astype(np.float32)
    )
    scaled = prepare((shifted, Y), DataKnobs(scale="standardise"), seed=0, one_tensor=True)
    assert abs(float(first(scaled).inputs[0].mean())) < 1e-5


def test_tokens_and_sequences_reach_ones_own_module_untouched():
    tokens = torch.from_numpy(RANDOM.integers(0, 50, (60, 12)))
    prepared = prepare((tokens, np.arange(60) % 2), DataKnobs(), seed=0, one_tensor=True)
    batch = first(prepared)
    assert batch.inputs[0].dtype == torch.int64
    assert prepared.train.signature.kind == "any"
    series = RANDOM.standard_normal((60, 5, 7))
    prepared = prepare((series, np.arange(60) % 2), DataKnobs(), seed=0, one_tensor=True)
    assert first(prepared).inputs[0].shape[1:] == (5, 7)
    again = encoder_from_record(prepared.encoder.to_record())
    encoded = next(iter(again.encode(series, with_target=False).batches(99)))
    np.testing.assert_array_equal(encoded.inputs[0].numpy(), series.astype(np.float32))


@pytest.mark.parametrize("shape", [(40, 8, 8), (40, 1, 8, 8), (40, 8, 8, 3)])
def test_arrays_of_pixels_are_images(shape):
    pixels = RANDOM.integers(0, 255, shape).astype(np.uint8)
    prepared = prepare((pixels, np.arange(40) % 2), DataKnobs(), seed=0)
    assert prepared.train.signature.kind == "image"
    assert prepared.train.signature.shape[1:] == (8, 8)


def test_boolean_and_real_targets_make_their_tasks():
    assert prepare((X, Y > 0), NO_SCALE, seed=0).understanding.task.classes == ("false", "true")
    assert prepare((X, X[:, 0] * 2), NO_SCALE, seed=0).understanding.task.kind == "regression"
    several = prepare((X, X[:, :2]), NO_SCALE, seed=0)
    assert several.understanding.task.num_targets == 2
    labels = prepare((X, RANDOM.integers(0, 2, (90, 4))), NO_SCALE, seed=0)
    assert labels.understanding.task.kind == "multilabel"


def test_missing_inputs_are_filled_and_missing_targets_left_out():
    gaps = X.copy()
    gaps[::4, 1] = np.nan
    target = X[:, 0].copy()
    target[:5] = np.nan
    prepared = prepare((gaps, target), DataKnobs(), seed=0)
    assert sum(prepared.understanding.num_examples.values()) == 85
    assert first(prepared).inputs[0].isfinite().all()
    assert min(prepared.train.show(i).row for i in range(len(prepared.train))) >= 5
    passed = prepare((gaps, Y), DataKnobs(), seed=0, one_tensor=True)
    assert "not_finite_passed_on" in {n.code for n in passed.understanding.notices}


def test_frames_with_words_are_one_hot_for_ones_own_module():
    frame = pd.DataFrame({"x": X[:, 0], "w": np.array([f"w{i % 10}" for i in range(90)])})
    prepared = prepare((frame, Y), DataKnobs(), seed=0, one_tensor=True)
    assert len(first(prepared).inputs) == 1
    assert prepared.train.signature.cardinalities == ()
    assert prepare((frame, Y), DataKnobs(), seed=0).train.signature.cardinalities == (11,)


def test_a_list_of_texts_is_text():
    texts = [f"{'good' if i % 2 else 'bad'} number {i}" for i in range(60)]
    prepared = prepare((texts, [i % 2 for i in range(60)]), DataKnobs(), seed=0)
    assert prepared.train.signature.kind == "text"


def test_encoding_an_array_or_a_tensor_anew_gives_the_same_bits():
    prepared = prepare((X, Y), DataKnobs(), seed=0)
    again = encoder_from_record(prepared.encoder.to_record())
    rows = [prepared.train.show(i).row for i in range(len(prepared.train))]
    for source in (X, torch.from_numpy(X), X.tolist(), (X, Y)):
        examples = again.encode(source, with_target=isinstance(source, tuple))
        inputs = next(iter(examples.batches(99))).inputs[0]
        assert torch.equal(inputs[rows], first(prepared).inputs[0])


@pytest.mark.parametrize("source", ["synthetic:spiral", "sklearn:iris"])
def test_named_sources_keep_their_class_names(source):
    prepared = prepare(source, DataKnobs(), seed=0)
    task = prepared.understanding.task
    assert tuple(prepared.understanding.class_counts) == task.classes
    assert not all(name.isdigit() for name in task.classes) or source.startswith("synthetic")
    assert prepared.understanding.fingerprint


def test_preparing_an_array_needs_no_scikit_learn_and_no_pandas():
    script = (
        "import sys, numpy as np; from trainwright.data.prepare import prepare;"
        "from trainwright.data.knobs import DataKnobs;"
        "prepare((np.random.rand(60, 3), np.arange(60) % 2), DataKnobs(), seed=0);"
        "print([m for m in ('sklearn', 'pandas', 'pyarrow', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_preparing_a_small_array_takes_milliseconds():
    pixels = RANDOM.integers(0, 17, (1797, 64)).astype(float)
    target = np.arange(1797) % 10
    prepare((pixels, target), DataKnobs(), seed=0)
    fastest = min(
        _seconds(lambda: prepare((pixels, target), DataKnobs(), seed=0)) for _ in range(7)
    )
    assert fastest < 0.05, "8 ms on an idle machine [measured]; the bound is for busy ones"


def _seconds(work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
