"""Readings survive the way into a row and back, to the bit."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from trainwright.store.packing import layout_key, pack, unpack

bits = st.integers(0, 2**64 - 1).map(lambda n: struct.unpack("<d", struct.pack("<Q", n))[0])
shapes = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
doubles = shapes.flatmap(lambda shape: arrays.arrays(np.dtype("<f8"), shape, elements=bits))
readings = st.dictionaries(st.text(max_size=8), bits | doubles, max_size=6)


def raw(value) -> bytes:
    return np.asarray(value, dtype="<f8").tobytes()


@settings(deadline=None)
@given(values=readings)
def test_every_bit_comes_back_also_of_what_is_no_number(values):
    layout, blob = pack(values)
    found = unpack(layout, blob)
    assert list(found) == list(values)
    for name, value in values.items():
        assert isinstance(found[name], np.ndarray) == isinstance(value, np.ndarray)
        assert np.shape(found[name]) == np.shape(value)
        if isinstance(value, np.ndarray):  # a float's NaN may lose its sign on the way through C
            assert raw(found[name]) == raw(value)
        else:
            assert found[name] == value or (found[name] != found[name] and value != value)


@settings(deadline=None)
@given(values=readings)
def test_a_blob_is_eight_bytes_a_number_and_no_more(values):
    assert len(pack(values)[1]) == 8 * sum(np.size(value) for value in values.values())


@settings(deadline=None)
@given(first=readings, second=readings)
def test_two_layouts_share_a_key_only_when_they_are_one(first, second):
    one, two = pack(first)[0], pack(second)[0]
    assert (layout_key(one) == layout_key(two)) == (one == two)
    assert 0 <= layout_key(one) < 2**63


@pytest.mark.parametrize("kind", ["float32", "float16", "int64", "bool"])
def test_arrays_of_other_types_keep_their_values(kind):
    array = np.array([[0, 1, 3]]).astype(kind)
    assert np.array_equal(unpack(*pack({"x": array}))["x"], array.astype(float))


def test_an_array_that_is_not_contiguous_keeps_its_order():
    array = np.arange(12.0).reshape(3, 4).T[::-1]
    assert np.array_equal(unpack(*pack({"x": array}))["x"], array)


def test_a_blob_of_another_length_is_refused():
    layout, blob = pack({"a": 1.0, "b": np.zeros(3)})
    with pytest.raises(ValueError, match="3 numbers where the layout tells of 4"):
        unpack(layout, blob[:-8])


def test_what_was_read_cannot_be_changed_by_accident():
    array = unpack(*pack({"x": np.zeros(3)}))["x"]
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
