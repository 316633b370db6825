"""How does a reading become one row? Its names and shapes as a layout that many rows share, its
numbers as one blob of little-endian float64."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from math import prod

import numpy as np

from trainwright.core.phrases import phrase

_FLOAT = np.dtype("<f8")


def pack(values: Mapping[str, np.ndarray | float]) -> tuple[str, bytes]:
    """(layout, blob). The layout is JSON `[[name, shape], ...]` in the order of `values`, shape
    null for a plain number; the blob holds all numbers in that order, 8 bytes each, bits kept."""
    arrays = {name: np.asarray(value) for name, value in values.items()}
    columns = [
        [name, list(array.shape) if isinstance(values[name], np.ndarray) else None]
        for name, array in arrays.items()
    ]
    blob = b"".join(np.ascontiguousarray(a, dtype=_FLOAT).tobytes() for a in arrays.values())
    return json.dumps(columns, separators=(",", ":")), blob


def unpack(layout: str, blob: bytes) -> dict[str, np.ndarray | float]:
    """The values back: plain numbers as float, arrays as read-only float64 views of the blob.

    Raises ValueError when the blob does not have the length that the layout tells.
    """
    numbers = np.frombuffer(blob, dtype=_FLOAT)
    columns = _columns(layout)
    total = sum(size for _, _, size in columns)
    if total != len(numbers):
        raise ValueError(
            phrase("{num} numbers where the layout tells of {total}", num=len(numbers), total=total)
        )
    values: dict[str, np.ndarray | float] = {}
    start = 0
    for name, shape, size in columns:
        piece = numbers[start : start + size]
        values[name] = float(piece[0]) if shape is None else piece.reshape(shape)
        start += size
    return values


def layout_key(layout: str) -> int:
    """A 63-bit name for a layout, the same in every process (blake2b)."""
    return int.from_bytes(hashlib.blake2b(layout.encode(), digest_size=8).digest(), "big") >> 1


@lru_cache(maxsize=1024)
def _columns(layout: str) -> tuple[tuple[str, tuple[int, ...] | None, int], ...]:
    return tuple(
        (name, None if shape is None else tuple(shape), prod(shape or ()))
        for name, shape in json.loads(layout)
    )
