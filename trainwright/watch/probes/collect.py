"""How do many small numbers get off the device? Scalars by kind and layer in one transfer; and
which units were ever active, kept where they are."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

GENERATION_SAMPLES = 6  # sampled steps of a generation [assumed]
GENERATION_ROWS = 256  # and rows: a rare unit must have its chance [assumed]


class Collector:
    """Device scalars by what they are and whose, and their one transfer.

    `put` takes a one-element tensor; on the host it is multiplied by `factor`.
    """

    def __init__(self) -> None:
        self._kinds: list[str] = []
        self._places: list[int] = []
        self._factors: list[float] = []
        self._scalars: list[Tensor] = []

    def put(self, kind: str, scalar: Tensor, at: int = -1, factor: float = 1.0) -> None:
        """Remember `scalar` as one of `kind`, of the layer with index `at`."""
        self._kinds.append(kind)
        self._places.append(at)
        self._factors.append(factor)
        self._scalars.append(scalar)

    def put_all(self, kind: str, scalars: Sequence[Tensor], places: Sequence[int]) -> None:
        """One scalar each for the layers with these indices."""
        self._kinds += [kind] * len(scalars)
        self._places += places
        self._factors += [1.0] * len(scalars)
        self._scalars += scalars

    def fetch(self) -> Mapping[str, list[tuple[int, float]]]:
        """(layer index, value) pairs by kind, after one transfer per device."""
        found: defaultdict[str, list[tuple[int, float]]] = defaultdict(list)
        if not self._scalars:
            return found
        rows = zip(self._kinds, self._places, self._factors, self._values(), strict=True)
        for kind, at, factor, value in rows:
            found[kind].append((at, value * factor))
        return found

    def _values(self) -> list[float]:
        first = self._scalars[0].device
        if any(s.device != first for s in self._scalars):
            values = [math.nan] * len(self._scalars)
            for device in {s.device for s in self._scalars}:
                places = [i for i, s in enumerate(self._scalars) if s.device == device]
                part = torch.stack([_plain(self._scalars[i]) for i in places]).tolist()
                for i, value in zip(places, part, strict=True):
                    values[i] = value
            return values
        return torch.stack([_plain(s) for s in self._scalars]).tolist()


def _plain(scalar: Tensor) -> Tensor:
    if scalar.dtype is torch.float32 and scalar.dim() == 0:
        return scalar
    return scalar.reshape(()).to(torch.float32)


class Activity:
    """Which units were active lately: a share per unit and layer, kept on the device. Lately: in
    this generation of samples or the one before, so that a unit that dies late is seen, too."""

    def __init__(self) -> None:
        self._seen: dict[str, list[Tensor]] = {}  # this generation, the one before
        self._age: dict[str, tuple[int, float]] = {}  # samples and rows of this generation

    def share_never(self, layer: str, active: Tensor, rows: float) -> Tensor:
        """Adds what was seen now, `active` [unit] >= 0 over `rows` rows; the share of units that
        nothing has activated lately."""
        seen = self._seen.get(layer)
        samples, total = self._age.get(layer, (0, 0.0))
        if seen is None or seen[0].shape != active.shape:
            seen = self._seen[layer] = [active.clone(), active.clone()]
            samples, total = 0, 0.0
        elif samples >= GENERATION_SAMPLES and total >= GENERATION_ROWS:
            seen[:] = [active.clone(), seen[0]]
            samples, total = 0, 0.0
        else:
            torch.maximum(seen[0], active, out=seen[0])
        self._age[layer] = (samples + 1, total + rows)
        both = torch.maximum(seen[0], seen[1])
        return 1.0 - torch.gt(both, 0, out=both).mean()
