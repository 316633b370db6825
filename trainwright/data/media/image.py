"""How does an image file become pixels? Any mode Pillow knows, as uint8 grey or colour of one
size."""

import io
import math
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from trainwright.core.errors import DataError
from trainwright.core.phrases import phrase
from trainwright.data.media.folder import UndecodableError

# Only formats that Pillow decodes by itself (EPS, for one, would start Ghostscript).
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
LARGEST_DEFAULT = 96  # pixels a side, what a CPU trains in minutes [assumed]
SAMPLED_FILES = 200  # headers read to choose size and colour [assumed]
COLOUR_FILES = 24  # images looked at for colour; most folders show it in the first [assumed]
THUMBNAIL = 96  # pixels of the longer side in reports [assumed]
GREY_MODES = frozenset({"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I", "F"})
WHOLE_RANGE = 257  # 65535 / 255: sixteen bits to eight


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageForm:
    """Decoded images: uint8 [channel, height, width]."""

    channels: int
    height: int
    width: int

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.channels, self.height, self.width)

    @property
    def dtype(self) -> Any:
        return np.uint8

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def decode(
        self, data: bytes
    ) -> UInt8[np.ndarray, "{self.channels} {self.height} {self.width}"]:
        """The pixels of a file's content.

        Turned upright by EXIF, the short side brought to size, the centre kept; transparent
        pixels lie on white; sixteen-bit values are divided by 257.

        Raises UndecodableError.
        """
        image = open_image(data, want=max(self.height, self.width))
        eight_bits = _eight_bits(image, "L" if self.channels == 1 else "RGB")
        return self.fit(eight_bits)

    def fit(
        self, image: Image.Image
    ) -> UInt8[np.ndarray, "{self.channels} {self.height} {self.width}"]:
        """The pixels of an L or RGB image of any size."""
        if image.size != (self.width, self.height):
            size = (self.width, self.height)
            image = ImageOps.fit(image, size, method=Image.Resampling.BILINEAR)
        pixels = np.asarray(image, dtype=np.uint8)
        if self.channels == 1:
            return np.ascontiguousarray(pixels[None])
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    def to_record(self) -> dict[str, Any]:
        return {"channels": self.channels, "height": self.height, "width": self.width}


def open_image(data: bytes, *, want: int | None = None) -> Image.Image:
    """A loaded, upright image; `want` lets JPEG be decoded near that many pixels a side.

    Raises UndecodableError for anything that is not a whole image of at most Pillow's pixel limit.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd metadata is no reason to speak for every file
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if want is not None:
                image.draft(None, (2 * want, 2 * want))
            image.load()
            return ImageOps.exif_transpose(image)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            raise UndecodableError(phrase("it would unpack to too many pixels")) from None
        except MemoryError:
            raise UndecodableError(phrase("it does not fit in memory")) from None
        # Pillow's decoders raise whatever their format's parser stumbles on.
        except Exception as error:
            raise UndecodableError(_reason(error)) from None


def choose_form(
    files: Iterable[bytes], *, image_size: int | None, channels: Literal["auto", "grey", "colour"]
) -> ImageForm:
    """The form for a folder, from the content of a sample of its files.

    Size: the commonest short side, at most 96. Grey when every sampled image is grey, also those
    stored as colour with three equal channels.

    Raises DataError when none of them can be read.
    """
    sides: Counter[int] = Counter()
    grey = True
    looked_at = 0
    for data in files:
        try:
            width, height, mode = _header(data)
        except UndecodableError:
            continue
        sides[min(width, height)] += 1
        if grey and channels == "auto" and mode not in GREY_MODES and looked_at < COLOUR_FILES:
            looked_at += 1
            grey = not _has_colour(data)
    if not sides:
        raise DataError(
            phrase("none of the sampled images can be read"),
            allowed=", ".join(FORMATS),
            do=phrase("check that the files are whole images"),
        )
    commonest = max(sides, key=lambda side: (sides[side], -side))
    size = image_size or max(4, min(LARGEST_DEFAULT, commonest))
    is_grey = grey if channels == "auto" else channels == "grey"
    return ImageForm(channels=1 if is_grey else 3, height=size, width=size)


def sizes_and_modes(files: Iterable[bytes]) -> tuple[Counter[tuple[int, int]], Counter[str]]:
    """(width, height) and Pillow mode of each readable file, counted."""
    sizes: Counter[tuple[int, int]] = Counter()
    modes: Counter[str] = Counter()
    for data in files:
        try:
            width, height, mode = _header(data)
        except UndecodableError:
            continue
        sizes[width, height] += 1
        modes[mode] += 1
    return sizes, modes


def thumbnail(pixels: UInt8[np.ndarray, "channel height width"]) -> bytes:
    """Pixels as a small PNG, at most 96 pixels a side."""
    image = Image.fromarray(pixels[0] if pixels.shape[0] == 1 else pixels.transpose(1, 2, 0))
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    into = io.BytesIO()
    image.save(into, format="PNG")
    return into.getvalue()


def _header(data: bytes) -> tuple[int, int, str]:
    """Upright width and height, and mode."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # EXIF tag Orientation
        except Exception as error:
            raise UndecodableError(_reason(error)) from None
    width, height = image.size
    return (height, width, image.mode) if turned else (width, height, image.mode)


def _has_colour(data: bytes) -> bool:
    try:
        pixels = np.asarray(_eight_bits(open_image(data, want=64), "RGB"))
    except UndecodableError:
        return False
    return bool((pixels != pixels[:, :, :1]).any())


def _eight_bits(image: Image.Image, mode: Literal["L", "RGB"]) -> Image.Image:
    if image.mode == mode:
        return image
    if image.mode.startswith("I;16") or image.mode == "I":
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray((wide // WHOLE_RANGE).astype(np.uint8))
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        scaled = values * 255 if values.max(initial=0) <= 1 else values
        image = Image.fromarray(scaled.clip(0, 255).astype(np.uint8))
    elif image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        image = Image.alpha_composite(white, rgba)
    return image.convert(mode)


def _reason(error: Exception) -> str:
    text = str(error).partition("<_io")[0].strip() or type(error).__name__
    return phrase("it is not an image") if "cannot identify" in text else text[:80]
