"""Stored arrays are found by their names, never unpickled, and refused with the way out."""

import io
import os
import pickle

import numpy as np
import pytest
import torch

from trainwright.core.errors import DataError
from trainwright.data.media.arrays import as_images, load_arrays

LIMIT = 1 << 24


def saved(tmp_path, **arrays):
    path = tmp_path / "x.npz"
    np.savez(path, **arrays)
    return str(path)


@pytest.mark.parametrize(
    ("x", "y"), [("X", "y"), ("x", "labels"), ("images", "target"), ("data", "label")]
)
def test_usual_names_are_found(tmp_path, x, y):
    stored = load_arrays(saved(tmp_path, **{x: np.zeros((5, 4, 4)), y: np.arange(5)}), LIMIT)
    assert stored.inputs.shape == (5, 4, 4)
    np.testing.assert_array_equal(stored.target, np.arange(5))
    assert stored.splits is None


@pytest.mark.parametrize(
    "names",
    [("x_train", "y_train", "x_test", "y_test"),
     ("train_images", "train_labels", "test_images", "test_labels"),
     ("X_train", "y_train", "X_val", "y_val")],
)  # fmt: skip
def test_names_of_splits_are_a_given_split(tmp_path, names):
    arrays = (np.zeros((3, 2, 2)), np.zeros(3), np.ones((2, 2, 2)), np.ones(2))
    stored = load_arrays(saved(tmp_path, **dict(zip(names, arrays, strict=True))), LIMIT)
    other = "valid" if "val" in names[2] else "test"
    assert stored.splits == ("train",) * 3 + (other,) * 2
    np.testing.assert_array_equal(stored.target, [0, 0, 0, 1, 1])


class Hostile:
    """Unpickled, it would make a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("name", ["x.npz", "x.npy", "pickle.npz"])
def test_objects_and_pickles_are_refused_and_never_unpickled(tmp_path, name):
    made = tmp_path / "made"
    objects = np.array([Hostile(str(made)), None], dtype=object)
    path = tmp_path / name
    if name == "x.npz":
        np.savez(path, X=objects, y=np.arange(2))
    elif name == "x.npy":
        np.save(path, objects, allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(objects[0]))
    with pytest.raises(DataError, match="Python objects"):
        load_arrays(str(path), LIMIT)
    assert not made.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"just text", "half"])
def test_damaged_files_are_refused(tmp_path, content):
    if content == "half":
        into = io.BytesIO()
        np.savez_compressed(into, X=np.random.default_rng(0).normal(size=(50, 50)), y=np.arange(50))
        content = into.getvalue()[:3000]
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"damaged|pickle"):
        load_arrays(str(path), LIMIT)


def test_a_bomb_is_refused_before_it_unpacks(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, X=np.zeros((1000, 100, 100), np.uint8), y=np.zeros(1000))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="MiB in memory"):
        load_arrays(str(path), 1 << 20)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"left": np.zeros((3, 2))}, "names its arrays 'left'"),
        ({"X": np.zeros((3, 2)), "y": np.zeros(4)}, "3 inputs and 4 targets"),
        ({"X": np.zeros(3), "y": np.zeros(3)}, "shape"),
        ({"X": np.zeros((0, 3)), "y": np.zeros(0)}, "shape"),
        ({"X": np.array([["a", "b"]]), "y": np.zeros(1)}, "of type"),
        ({"X": np.full((3, 2), np.nan), "y": np.zeros(3)}, "NaN"),
        ({"x_train": np.zeros((3, 2)), "x_test": np.zeros((3, 4))}, "different shapes"),
    ],
)
def test_arrays_that_cannot_teach_say_why(tmp_path, arrays, words):
    with pytest.raises(DataError, match=words) as caught:
        load_arrays(saved(tmp_path, **arrays), LIMIT)
    assert "do: " in str(caught.value)


def test_npy_takes_its_target_from_beside_it(tmp_path):
    np.save(tmp_path / "X.npy", np.zeros((3, 4, 4)))
    assert load_arrays(str(tmp_path / "X.npy"), LIMIT).target is None
    np.save(tmp_path / "y.npy", np.arange(3))
    np.testing.assert_array_equal(load_arrays(str(tmp_path / "X.npy"), LIMIT).target, [0, 1, 2])


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="there is no file"):
        load_arrays(str(tmp_path / "none.npz"), LIMIT)


@pytest.mark.parametrize(
    ("shape", "channels"),
    [((5, 8, 9), 1), ((5, 8, 9, 3), 3), ((5, 3, 8, 9), 3), ((5, 8, 9, 4), 3), ((5, 1, 8, 9), 1)],
)
def test_every_layout_becomes_channels_first(shape, channels):
    images = as_images(np.zeros(shape, np.uint8), "auto", None)
    assert images.shape == (5, channels, 8, 9)
    assert images.dtype == torch.uint8


def test_other_types_and_shapes():
    assert as_images(np.ones((2, 4, 4), bool), "auto", None).unique().tolist() == [255]
    assert as_images(np.ones((2, 4, 4)), "auto", None).dtype == torch.float32
    assert as_images(np.ones((2, 4)), "auto", None) is None
    assert as_images(np.ones((2, 7, 4, 7)), "auto", None) is None


def test_size_and_colour_can_be_asked_for():
    pixels = np.zeros((3, 16, 32, 3), np.uint8)
    pixels[:, :, 8:24] = (255, 0, 0)
    small = as_images(pixels, "grey", 8)
    assert small.shape == (3, 1, 8, 8)
    assert small[:, :, :, 1:-1].unique().tolist() == [76]  # 0.299 of 255
    assert as_images(np.zeros((3, 8, 8), np.uint8), "colour", None).shape == (3, 3, 8, 8)
