"""When are the weights copied for the flight recorder? At the start when that is quick, then every
few seconds when the purse pays for it."""

from collections.abc import Sequence
from time import perf_counter

from torch import nn

from trainwright.watch.budget import Purse
from trainwright.watch.flight import Flight
from trainwright.watch.probes.layers import Layers

EVERY_SECONDS = 5.0
SMALL_BYTES = 4_000_000  # weights that are copied at attachment, in about a millisecond
COPY_BYTES_PER_SECOND = 2e9  # [assumed] for the price of a snapshot


class Snapshots:
    """Copies of `models` for `flight`, at the expense of `purse`."""

    def __init__(
        self, models: Sequence[nn.Module], layers: Layers, flight: Flight, purse: Purse
    ) -> None:
        self._models, self._flight, self._purse = models, flight, purse
        self._bytes = sum(p.numel() * p.element_size() for p in layers.parameters)
        self._last = 0.0

    def begin(self, num_steps: int) -> None:
        """Steps are counted from here on."""
        if self._bytes <= SMALL_BYTES:
            self._flight.take_snapshot(num_steps, self._models)
        self._last = perf_counter()

    def take_if_due(self, num_steps: int) -> None:
        """After a sampled step."""
        now, price = perf_counter(), self._bytes / COPY_BYTES_PER_SECOND
        if now - self._last > EVERY_SECONDS and self._purse.balance(now, num_steps) > 2 * price:
            self._flight.take_snapshot(num_steps, self._models)
            self._last = now
