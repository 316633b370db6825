"""Pillow's modes, sizes and damage all end as pixels of one form, or as one file's reason."""

import io

import numpy as np
import pytest
from PIL import Image

from trainwright.core.errors import DataError
from trainwright.data.media.folder import UndecodableError
from trainwright.data.media.image import (
    ImageForm,
    choose_form,
    open_image,
    sizes_and_modes,
    thumbnail,
)

COLOUR = ImageForm(channels=3, height=16, width=16)
GREY = ImageForm(channels=1, height=16, width=16)


def saved(image, kind="PNG", **options):
    into = io.BytesIO()
    image.save(into, format=kind, **options)
    return into.getvalue()


def noise(mode="RGB", size=(16, 16), seed=0):
    channels = (3,) if mode == "RGB" else ()
    random = np.random.default_rng(seed)
    return Image.fromarray(random.integers(0, 256, (*size[::-1], *channels), dtype=np.uint8))


def test_a_lossless_image_of_the_right_size_is_its_own_pixels():
    image = noise()
    np.testing.assert_array_equal(COLOUR.decode(saved(image)), np.asarray(image).transpose(2, 0, 1))


@pytest.mark.parametrize("form", [COLOUR, GREY])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I"])
def test_every_mode_of_png_becomes_the_form(form, mode):
    if mode in ("I;16", "I"):
        image = Image.fromarray(np.full((20, 30), 30_000, dtype=np.uint16))
    else:
        image = noise("RGB", (30, 20)).convert(mode)
    pixels = form.decode(saved(image))
    assert pixels.shape == form.shape
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "CMYK"), ("JPEG", "L"), ("GIF", "P"), ("BMP", "RGB"), ("WEBP", "RGBA"),
     ("TIFF", "F"), ("TIFF", "I;16"), ("PPM", "RGB"), ("TIFF", "CMYK")],
)  # fmt: skip
def test_every_format_becomes_the_form(kind, mode):
    if mode in ("F", "I;16"):
        dtype = np.float32 if mode == "F" else np.uint16
        image = Image.fromarray(np.linspace(0, 1, 400).reshape(20, 20).astype(dtype))
    else:
        image = noise("RGB", (20, 20)).convert(mode)
    assert COLOUR.decode(saved(image, kind)).shape == COLOUR.shape


def test_sixteen_bits_keep_their_brightness():
    for value in (0, 257, 30_840, 65_535):
        image = Image.fromarray(np.full((16, 16), value, dtype=np.uint16))
        assert (GREY.decode(saved(image)) == value // 257).all()


def test_transparent_pixels_lie_on_white():
    assert (COLOUR.decode(saved(Image.new("RGBA", (16, 16), (0, 0, 0, 0)))) == 255).all()


def test_exif_orientation_turns_the_image_upright():
    image = noise("RGB", (16, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 270 degrees to be upright
    turned = COLOUR.decode(saved(image, exif=exif))
    expected = np.asarray(image.transpose(Image.Transpose.ROTATE_270)).transpose(2, 0, 1)
    np.testing.assert_array_equal(turned, expected)


def test_other_sizes_keep_the_centre():
    pixels = np.zeros((32, 96), dtype=np.uint8)
    pixels[:, 32:64] = 200
    image = Image.fromarray(pixels)
    assert (GREY.decode(saved(image))[0, :, 1:-1] == 200).all()


def test_a_large_jpeg_is_decoded_small_and_looks_the_same():
    smooth = np.linspace(0, 255, 512).astype(np.uint8)
    image = Image.fromarray(np.broadcast_to(smooth, (512, 512)).copy())
    pixels = GREY.decode(saved(image, "JPEG", quality=95))
    np.testing.assert_allclose(pixels[0].mean(axis=0), smooth.reshape(16, 32).mean(1), atol=4)


@pytest.mark.parametrize(
    "damage",
    [b"", b"no image at all", b"\x89PNG\r\n\x1a\n", "half", "header", "eps"],
)
def test_damage_is_one_files_reason_and_nothing_worse(damage):
    whole = saved(noise("RGB", (64, 64)), "JPEG")
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    cut = {"half": whole[: len(whole) // 2], "header": whole[:30], "eps": postscript}
    data = cut.get(damage, damage)
    with pytest.raises(UndecodableError) as caught:
        COLOUR.decode(data)
    assert str(caught.value)
    assert "0x" not in str(caught.value)


def test_a_decompression_bomb_is_refused_before_it_unpacks(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for side in (40, 100):  # over the limit, and over twice the limit
        with pytest.raises(UndecodableError, match="too many pixels"):
            open_image(saved(Image.new("L", (side, side))))


def test_the_form_is_the_commonest_short_side_and_at_most_96():
    files = [saved(noise("RGB", size)) for size in [(32, 40), (50, 32), (20, 20)]]
    assert choose_form(files, image_size=None, channels="auto").shape == (3, 32, 32)
    assert choose_form(files, image_size=24, channels="grey").shape == (1, 24, 24)
    huge = [saved(Image.new("L", (400, 300)))]
    assert choose_form(huge, image_size=None, channels="auto").shape == (1, 96, 96)


def test_colour_files_that_are_all_grey_are_taken_as_grey():
    grey = [saved(noise("L", seed=i).convert("RGB")) for i in range(3)]
    assert choose_form(grey, image_size=None, channels="auto").channels == 1
    assert choose_form([*grey, saved(noise())], image_size=None, channels="auto").channels == 3


def test_no_readable_sample_is_an_error():
    with pytest.raises(DataError, match="none of the sampled images"):
        choose_form([b"x"], image_size=None, channels="auto")


def test_sizes_are_counted_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    sizes, modes = sizes_and_modes([saved(noise("RGB", (20, 10)), "JPEG", exif=exif), b"x"])
    assert dict(sizes) == {(10, 20): 1}
    assert dict(modes) == {"RGB": 1}


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 200, 100)])
def test_a_thumbnail_is_a_small_png(shape):
    image = Image.open(io.BytesIO(thumbnail(np.full(shape, 7, dtype=np.uint8))))
    assert image.format == "PNG"
    assert max(image.size) <= 96
