"""Changes to training batches: shapes kept, pure functions of the generator, each as it says."""

import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainwright.core.errors import DataError
from trainwright.data.media import augment
from trainwright.data.media.augment import build_augment

IMAGE_CHANGES = ("crop", "flip", "erase", "rotate")
AUDIO_CHANGES = ("shift", "gain", "noise", "mask")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def apply(names, batch, seed=0, kind="image", representation="log_mel"):
    change = build_augment(names, kind, representation=representation)
    return change((batch,), generator(seed))[0]


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(IMAGE_CHANGES),
    batch=st.integers(1, 5),
    channels=st.sampled_from([1, 3]),
    height=st.integers(4, 33),
    width=st.integers(4, 33),
)
def test_image_changes_keep_the_shape_and_repeat_with_the_seed(
    name, batch, channels, height, width
):
    images = torch.randn(batch, channels, height, width, generator=generator(1))
    before = images.clone()
    changed = apply((name,), images)
    assert changed.shape == images.shape
    assert changed.isfinite().all()
    assert torch.equal(changed, apply((name,), images))
    assert torch.equal(images, before)


@settings(max_examples=25, deadline=None)
@given(
    name=st.sampled_from(AUDIO_CHANGES),
    channels=st.sampled_from([1, 64]),
    time=st.integers(2, 200),
    representation=st.sampled_from(["log_mel", "waveform"]),
)
def test_audio_changes_keep_the_shape_and_repeat_with_the_seed(
    name, channels, time, representation
):
    sounds = torch.randn(3, channels, time, generator=generator(1))
    changed = apply((name,), sounds, kind="audio", representation=representation)
    assert changed.shape == sounds.shape
    again = apply((name,), sounds, kind="audio", representation=representation)
    assert torch.equal(changed, again)


@pytest.mark.parametrize("name", IMAGE_CHANGES)
def test_the_next_seed_changes_other_pixels(name):
    images = torch.randn(64, 1, 16, 16, generator=generator(1))
    assert not torch.equal(apply((name,), images, 0), apply((name,), images, 1))


def test_crop_equals_padding_and_cutting_one_image_at_a_time():
    images = torch.randn(40, 3, 16, 24, generator=generator(1))
    changed = apply(("crop",), images)
    draws = generator()
    top = torch.randint(0, 5, (40, 1, 1), generator=draws).flatten().tolist()
    left = torch.randint(0, 7, (40, 1, 1), generator=draws).flatten().tolist()
    padded = torch.nn.functional.pad(images, (3, 3, 2, 2), mode="reflect")
    for index, (y, x) in enumerate(zip(top, left, strict=True)):
        assert torch.equal(changed[index], padded[index, :, y : y + 16, x : x + 24])
    assert set(top) == set(range(5))


def test_flip_mirrors_about_half_of_the_images_and_leaves_the_rest():
    images = torch.randn(400, 1, 4, 4, generator=generator(1))
    changed = apply(("flip",), images)
    same = (changed == images).flatten(1).all(1)
    mirrored = (changed == images.flip(3)).flatten(1).all(1)
    assert (same | mirrored).all()
    assert 150 < mirrored.sum() < 250


def test_erase_takes_at_most_a_square_of_a_quarter_of_the_side():
    images = torch.ones(100, 2, 32, 32)
    erased = (apply(("erase",), images) == 0).sum(dim=(2, 3))
    assert erased.max() == 64
    assert erased.min() > 0
    assert torch.equal(erased[:, 0], erased[:, 1])


def test_rotate_turns_a_point_by_no_more_than_its_bound():
    images = torch.zeros(200, 1, 33, 65)
    images[:, :, 16, 52:55] = 1.0  # 20 or so pixels right of the centre (32, 16)
    changed = apply(("rotate",), images)[:, 0]
    rows, columns = torch.arange(33.0) - 16, torch.arange(65.0) - 32
    mass = changed.sum(dim=(1, 2))
    y = (changed.sum(2) * rows).sum(1) / mass
    x = (changed.sum(1) * columns).sum(1) / mass
    angle = torch.atan2(y, x).rad2deg()
    assert angle.abs().max() <= augment.ROTATION_DEGREES + 1
    assert angle.abs().max() > augment.ROTATION_DEGREES / 2
    assert ((x.square() + y.square()).sqrt() - 21).abs().max() < 1.5  # not stretched


def test_shift_moves_time_and_carries_the_edge_on():
    ramp = torch.arange(100.0).expand(50, 1, 100)
    changed = apply(("shift",), ramp, kind="audio")
    moved = changed[:, 0, 50] - 50
    assert moved.abs().max() <= 10
    assert moved.unique().numel() > 5
    index = int(moved.argmax())
    expected = (torch.arange(100.0) + moved[index]).clamp(0, 99)
    assert torch.equal(changed[index, 0], expected)


def test_gain_of_a_waveform_stays_within_six_decibels():
    loud = apply(("gain",), torch.ones(300, 1, 2), kind="audio", representation="waveform")
    assert loud.max() <= 10 ** (6 / 20) + 1e-6
    assert loud.min() >= 10 ** (-6 / 20) - 1e-6
    assert torch.equal(loud[:, :, 0], loud[:, :, 1])


def test_noise_has_a_tenth_of_the_datas_spread():
    noisy = apply(("noise",), torch.zeros(50, 4, 100), kind="audio")
    assert noisy.std().item() == pytest.approx(0.1, rel=0.05)


def test_mask_hides_one_stretch_of_time_and_one_of_bands():
    masked = apply(("mask",), torch.ones(30, 64, 100), kind="audio") == 0
    whole_frames = masked.all(dim=1).sum(dim=1)
    whole_bands = masked.all(dim=2).sum(dim=1)
    assert whole_frames.max() == 15
    assert whole_bands.max() == 10
    assert (whole_frames > 0).all()


def test_auto_is_crop_for_images_shift_for_audio_and_nothing_for_text():
    assert build_augment("auto", "image").names == ("crop",)
    assert build_augment("auto", "audio").names == ("shift",)
    assert build_augment("auto", "text") is None
    assert build_augment("none", "image") is None
    assert build_augment((), "image") is None


def test_several_changes_are_made_in_the_order_given():
    images = torch.randn(8, 1, 16, 16, generator=generator(1))
    both = apply(("crop", "flip"), images)
    draws = generator()
    assert torch.equal(both, augment.flip(augment.crop(images, draws), draws))


def test_a_misspelt_change_is_refused_with_the_near_name():
    with pytest.raises(DataError) as caught:
        build_augment(("crpo",), "image")
    assert "did you mean 'crop'?" in str(caught.value)


def test_a_change_of_images_is_refused_for_audio_and_any_for_text():
    with pytest.raises(DataError, match="no audio augmentation 'flip'"):
        build_augment(("flip",), "audio")
    with pytest.raises(DataError, match="no text augmentation"):
        build_augment(("crop",), "text")


def test_a_kornia_class_without_kornia_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "kornia.augmentation", None)
    monkeypatch.setitem(sys.modules, "kornia", None)
    with pytest.raises(DataError) as caught:
        build_augment(("RandomHorizontalFlip",), "image")
    assert "pip install kornia" in str(caught.value)


def test_a_kornia_class_draws_from_our_generator_and_leaves_torchs_alone(monkeypatch):
    import types

    class RandomNoise:
        def __call__(self, images):
            return images + torch.randn_like(images)

    kornia = types.ModuleType("kornia")
    kornia.augmentation = types.ModuleType("kornia.augmentation")
    kornia.augmentation.RandomNoise = RandomNoise
    monkeypatch.setitem(sys.modules, "kornia", kornia)
    monkeypatch.setitem(sys.modules, "kornia.augmentation", kornia.augmentation)
    before = torch.random.get_rng_state()
    images = torch.zeros(2, 1, 4, 4)
    first = apply(("RandomNoise",), images)
    assert torch.equal(first, apply(("RandomNoise",), images))
    assert not torch.equal(first, apply(("RandomNoise",), images, seed=1))
    assert torch.equal(torch.random.get_rng_state(), before)
    with pytest.raises(DataError, match="RandomNose"):
        build_augment(("RandomNose",), "image")
