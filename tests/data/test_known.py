"""The sets that scikit-learn carries come whole, with names of features and classes."""

import numpy as np
import pytest

from trainwright.core.errors import DataError
from trainwright.data.known import NAMES, load


@pytest.mark.parametrize("name", NAMES)
def test_every_known_set_is_whole_and_named(name):
    made = load(f"sklearn:{name}")
    assert made.features.shape == (len(made.target), len(made.feature_names))
    assert made.features.dtype == np.float32
    assert np.isfinite(made.features).all()
    assert len(set(made.feature_names)) == len(made.feature_names)
    if made.class_names:
        assert set(made.target.tolist()) == set(range(len(made.class_names)))


def test_digits_are_pixels_named_by_row_and_column():
    from sklearn.datasets import load_digits

    made, digits = load("digits"), load_digits()
    at = made.feature_names.index("pixel_2_3")
    np.testing.assert_array_equal(made.features[:, at], digits.images[:, 2, 3])
    assert made.class_names == tuple("0123456789")


def test_diabetes_is_a_regression():
    made = load("diabetes")
    assert made.class_names == ()
    assert made.target.dtype == np.float64


def test_an_unknown_set_is_refused_with_the_near_name():
    with pytest.raises(DataError) as caught:
        load("sklearn:digit")
    assert "did you mean 'digits'?" in str(caught.value)
    assert caught.value.exit_code == 2
