"""What do .npz and .npy files hold? Arrays by name, never objects, as examples with targets and the
split that the names tell."""

import lzma
import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from trainwright.core.errors import DataError, shown
from trainwright.core.phrases import phrase
from trainwright.core.records import Split
from trainwright.data.table.source import unreadable

_INPUTS = ("x", "images", "image", "data", "inputs", "features", "audio", "arr_0")
_TARGETS = ("y", "labels", "label", "target", "targets", "arr_1")
_SPLITS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "dev"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Examples first. `target` and `splits` are None when the file does not tell."""

    inputs: Shaped[np.ndarray, "example ..."]
    target: Shaped[np.ndarray, "example ..."] | None
    splits: tuple[Split, ...] | None
    class_names: tuple[str, ...] = ()


def load_arrays(path: str, memory_limit: int) -> Stored:
    """A .npz by its keys, a .npy as inputs (with y.npy beside X.npy as its target).

    Raises DataError for pickles and object arrays (never unpickled), damaged files, arrays beyond
    memory_limit, and keys that tell nothing.
    """
    found = _read(path, memory_limit)
    if path.lower().endswith(".npy"):
        beside = os.path.join(os.path.dirname(path), "y.npy")
        target = None
        if os.path.basename(path).lower() != "y.npy" and os.path.exists(beside):
            target = next(iter(_read(beside, memory_limit).values()))
        return _checked(path, next(iter(found.values())), target, None)
    lower = {key.lower(): value for key, value in found.items()}
    names = next((lower[k] for k in ("classes", "class_names") if k in lower), None)
    class_names = tuple(map(str, names.tolist())) if names is not None and names.ndim == 1 else ()
    given: dict[Split, tuple] = {
        split: part for split, words in _SPLITS.items() if (part := _part(lower, words))
    }
    if "train" in given:
        inputs, target = _concatenated(path, list(given.values()))
        splits: tuple[Split, ...] = tuple(
            split for split, (x, _) in given.items() for _ in range(len(x))
        )
        return _checked(path, inputs, target, splits, class_names)
    inputs = next((lower[key] for key in _INPUTS if key in lower), None)
    target = next((lower[key] for key in _TARGETS if key in lower), None)
    if inputs is None:
        raise DataError(
            phrase(
                "{path} names its arrays {names}",
                path=shown(path),
                names=", ".join(shown(k) for k in list(found)[:8]),
            ),
            allowed=_allowed(),
            do=phrase("save it again with np.savez(path, X=..., y=...)"),
        )
    return _checked(path, inputs, target, None, class_names)


def as_images(
    inputs: Shaped[np.ndarray, "example ..."], channels: str, size: int | None
) -> Shaped[Tensor, "example channel height width"] | None:
    """Arrays [example, height, width], or with channels first or last: uint8 stays (bool becomes 0
    and 255), others become float32. None when these are no images."""
    if inputs.ndim == 3:
        inputs = inputs[:, None]
    elif inputs.ndim == 4 and inputs.shape[3] in (1, 3, 4) and inputs.shape[1] not in (1, 3):
        inputs = inputs.transpose(0, 3, 1, 2)
    if inputs.ndim != 4 or inputs.shape[1] not in (1, 3, 4):
        return None
    inputs = inputs[:, :3]
    if inputs.dtype == np.bool_:
        inputs = inputs.astype(np.uint8) * 255
    elif inputs.dtype != np.uint8:
        inputs = inputs.astype(np.float32)
    images = torch.from_numpy(np.ascontiguousarray(inputs))
    wanted = {"grey": 1, "colour": 3}.get(channels, images.shape[1])
    if wanted != images.shape[1]:
        images = images.expand(-1, 3, -1, -1) if wanted == 3 else _grey(images)
    if size is not None and images.shape[2:] != (size, size):
        images = _resized(images, size)
    return images.contiguous()


def _part(lower: Mapping[str, np.ndarray], words: tuple[str, ...]) -> tuple | None:
    def find(names: tuple[str, ...]) -> np.ndarray | None:
        keys = (k for w in words for n in names for k in (f"{n}_{w}", f"{w}_{n}", f"{n}{w}"))
        return next((lower[key] for key in keys if key in lower), None)

    inputs = find(_INPUTS)
    return None if inputs is None else (inputs, find(_TARGETS))


def _concatenated(path: str, parts: list[tuple]) -> tuple[np.ndarray, np.ndarray | None]:
    targets = [target for _, target in parts]
    try:
        inputs = np.concatenate([inputs for inputs, _ in parts])
        return inputs, None if any(t is None for t in targets) else np.concatenate(targets)
    except ValueError:
        raise DataError(
            phrase("{path}: the splits hold arrays of different shapes", path=shown(path)),
            allowed=phrase("the same shape for each example"),
            do=phrase("bring them to one shape and save again"),
        ) from None


def _checked(
    path: str,
    inputs: np.ndarray,
    target: np.ndarray | None,
    splits: tuple[Split, ...] | None,
    class_names: tuple[str, ...] = (),
) -> Stored:
    if inputs.ndim < 2 or not len(inputs):
        raise DataError(
            phrase("{path}: the inputs have shape {shape}", path=shown(path), shape=inputs.shape),
            allowed=phrase("[example, feature], [example, height, width] or with channels"),
            do=phrase("save them with examples first"),
        )
    if inputs.dtype.kind not in "iufb":
        raise DataError(
            phrase(
                "{path}: the inputs are of type {dtype}",
                path=shown(path),
                dtype=shown(str(inputs.dtype)),
            ),
            allowed=phrase("whole numbers, floats or booleans"),
            do=phrase("save numbers"),
        )
    if target is not None and len(target) != len(inputs):
        raise DataError(
            phrase(
                "{path}: {num_inputs} inputs and {num_targets} targets",
                path=shown(path),
                num_inputs=len(inputs),
                num_targets=len(target),
            ),
            allowed=phrase("one target for each input"),
            do=phrase("save arrays of the same length"),
        )
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        raise DataError(
            phrase("{path}: the inputs hold NaN or infinity", path=shown(path)),
            allowed=phrase("finite numbers"),
            do=phrase("mend or drop those examples"),
        )
    return Stored(inputs=inputs, target=target, splits=splits, class_names=class_names)


def _read(path: str, memory_limit: int) -> dict[str, np.ndarray]:
    _refuse_too_large(path, memory_limit)
    try:
        with open(path, "rb") as file:  # np.load leaves a path open when the zip is damaged
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return {"arr_0": loaded}
            with loaded:
                found = {key: np.asarray(loaded[key]) for key in loaded.files}
    except (ValueError, OSError, EOFError, MemoryError, KeyError, NotImplementedError,
            zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, SyntaxError,
            UnicodeError) as error:  # fmt: skip
        raise _unreadable(path, error) from None
    if not found:
        raise DataError(phrase("{path} holds no array", path=shown(path)), allowed=_allowed())
    return found


def _unreadable(path: str, error: Exception) -> DataError:
    text = str(error).lower()
    if "pickle" in text or "object arrays" in text:
        return DataError(
            phrase(
                "{path} holds Python objects (a pickle), which could run code when read",
                path=shown(path),
            ),
            allowed=phrase("arrays of numbers, booleans or fixed-width text"),
            do=phrase("save numeric arrays with np.savez; ragged examples padded to one shape"),
        )
    if isinstance(error, FileNotFoundError):
        return DataError(
            phrase("there is no file {path}", path=shown(path)), do=phrase("check the path")
        )
    if isinstance(error, PermissionError):
        return unreadable(path, error)
    return DataError(
        phrase(
            "{path} is damaged or no NumPy file: {error}",
            path=shown(path),
            error=shown((str(error) or type(error).__name__).splitlines()[0]),
        ),
        allowed=phrase("a whole .npz or .npy file"),
        do=phrase("copy or write it again"),
    )


def _refuse_too_large(path: str, memory_limit: int) -> None:
    """The directory of a zip tells the unpacked size before anything is unpacked."""
    try:
        size = os.path.getsize(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                size = sum(entry.file_size for entry in archive.infolist())
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        return  # np.load says what is wrong
    if size > memory_limit:
        raise _too_large(path, size, memory_limit)


def _too_large(path: str, size: int, memory_limit: int) -> DataError:
    return DataError(
        phrase(
            "{path} would take {mebibytes:,.0f} MiB in memory",
            path=shown(path),
            mebibytes=size / 2**20,
        ),
        allowed=phrase("data.memory_limit, {mebibytes:,.0f} MiB", mebibytes=memory_limit / 2**20),
        do=phrase("raise data.memory_limit, or save the examples as a folder of files"),
    )


def _grey(images: Tensor) -> Tensor:
    """Luma weights of ITU-R BT.601, as Pillow's."""
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = (images.float() * weights).sum(dim=1, keepdim=True)
    return grey.round().to(torch.uint8) if images.dtype == torch.uint8 else grey


def _resized(images: Tensor, size: int) -> Tensor:
    """The short side to `size`, the centre kept; a thousand at a time to bound memory."""
    short = min(images.shape[2:])
    sides = [max(size, round(side * size / short)) for side in images.shape[2:]]
    top, left = ((side - size) // 2 for side in sides)
    parts = []
    for part in images.split(1000):
        scaled = torch.nn.functional.interpolate(
            part.float(), size=sides, mode="bilinear", antialias=True, align_corners=False
        )[:, :, top : top + size, left : left + size]
        is_bytes = images.dtype == torch.uint8
        parts.append(scaled.round().clamp(0, 255).to(torch.uint8) if is_bytes else scaled)
    return torch.cat(parts)


def _allowed() -> str:
    return phrase(
        "X and y (or x, images, data; labels, target), or x_train, y_train, x_test, y_test "
        "(also train_images, val_images, …)"
    )
