"""The synthetic families have the shape, the noise and the balance that their formulas say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwright.core.errors import DataError
from trainwright.data.knobs import DataKnobs
from trainwright.data.synthetic import CLASSES, FAMILIES, RADIUS, load


def arrays(name, seed=0, **knobs):
    return load(f"synthetic:{name}", DataKnobs(**knobs), seed)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_a_pure_function_of_its_seed(name):
    first, again, other = arrays(name, 1), arrays(name, 1), arrays(name, 2)
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.target, again.target)
    assert not np.array_equal(first.features, other.features)


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(sorted(FAMILIES)),
    num=st.integers(4, 300),
    noise=st.floats(0, 2),
    imbalance=st.floats(0.01, 0.99),
)
def test_every_family_gives_as_many_finite_examples_as_asked(name, num, noise, imbalance):
    made = arrays(name, num_examples=num, noise=noise, imbalance=imbalance)
    assert made.features.shape == (num, 2)
    assert made.features.dtype == np.float32
    assert np.isfinite(made.features).all()
    assert np.isfinite(made.target).all()
    if made.class_names:
        assert set(made.target.tolist()) == set(range(len(made.class_names)))


def test_the_circles_ring_and_hole_are_apart_without_noise():
    made = arrays("circle", noise=0)
    radius = np.linalg.norm(made.features, axis=1)
    ring, hole = radius[made.target == 0], radius[made.target == 1]
    assert ring.min() >= 0.7 * RADIUS - 1e-5
    assert ring.max() <= RADIUS + 1e-5
    assert hole.max() <= 0.5 * RADIUS + 1e-5


def test_the_clouds_have_their_means_and_variance():
    made = arrays("gauss", num_examples=40_000, noise=0.2)
    for label, centre in ((0, -2.0), (1, 2.0)):
        cloud = made.features[made.target == label]
        np.testing.assert_allclose(cloud.mean(axis=0), centre, atol=0.05)
        np.testing.assert_allclose(cloud.var(axis=0), 0.5 + 1.0, rtol=0.05)


def test_xor_follows_the_sign_of_the_product():
    made = arrays("xor", noise=0)
    np.testing.assert_array_equal(made.features.prod(axis=1) > 0, made.target == 1)
    assert np.abs(made.features).min() >= 0.3 - 1e-6


def test_both_arms_of_the_spiral_lie_on_their_curve():
    made = arrays("spiral", noise=0)
    radius = np.linalg.norm(made.features, axis=1)
    angle = 3.5 * np.pi * radius / RADIUS + np.pi * made.target
    np.testing.assert_allclose(made.features[:, 0], radius * np.sin(angle), atol=1e-4)


@pytest.mark.parametrize(("name", "centres"), [("moons", 2), ("three_moons", 3)])
def test_moons_are_half_circles_of_radius_one(name, centres):
    made = arrays(name, noise=0)
    centre = np.array([(0, 0), (1, 0.5), (2, 0)])[made.target]
    np.testing.assert_allclose(np.linalg.norm(made.features - centre, axis=1), 1, atol=1e-5)
    assert len(set(made.target.tolist())) == centres


def test_the_plane_is_a_tenth_of_the_sum():
    made = arrays("plane", noise=0)
    np.testing.assert_allclose(made.target, made.features.sum(axis=1) / 10, atol=1e-6)
    assert made.class_names == ()


def test_the_hills_peak_at_their_signs_and_vanish_between():
    made = arrays("multi_gauss", num_examples=50_000, noise=0)
    near = np.linalg.norm(made.features - (4, 2.5), axis=1) < 0.1
    far = np.linalg.norm(made.features - (2, 0), axis=1) < 0.5
    assert made.target[near].min() > 0.9
    assert np.abs(made.target[far]).max() == 0


def test_noise_moves_points_by_its_share_of_the_radius():
    still, moved = arrays("spiral", noise=0), arrays("spiral", noise=0.1)
    assert (moved.features - still.features).std() == pytest.approx(0.1 * RADIUS, rel=0.1)


@pytest.mark.parametrize("share", [0.1, 0.4, 1.0])
def test_label_noise_redraws_its_share_of_the_labels(share):
    made = arrays("xor", num_examples=20_000, noise=0, label_noise=share)
    wrong = (made.features.prod(axis=1) > 0) != (made.target == 1)
    assert wrong.mean() == pytest.approx(share / 2, abs=0.015)  # half of the draws hit the truth


@pytest.mark.parametrize("name", [name for name, classes in CLASSES.items() if len(classes) == 2])
def test_imbalance_is_the_share_of_the_first_class(name):
    assert (arrays(name, imbalance=0.1).target == 0).mean() == pytest.approx(0.1)


def test_a_misspelt_family_is_refused_with_the_near_name():
    with pytest.raises(DataError, match="sprial") as caught:
        arrays("sprial")
    assert "spiral" in str(caught.value)
