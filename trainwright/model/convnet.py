"""Which network reads images and sound? Stages of convolution, norm, activation and pooling, plain
or residual, then a readout over positions and a linear head."""

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trainwright.core.records import Signature
from trainwright.model.knobs import Activation, ModelKnobs
from trainwright.model.layers import ACTIVATIONS, Add, activation_at, has_bias, start, unit
from trainwright.model.resolve import is_waveform

WIDEST = 8  # a stage has at most so many times the first stage's channels [assumed]
GRID = 3  # regions on each side that a readout of "grid" keeps apart [measured: see the knob]
WAVEFORM_STRETCH = 16  # 5 -> 79 samples, 10 ms at 8 kHz [paper: Dai et al. 2017, arXiv:1610.00087]


class Average(nn.Module):
    """The mean over all positions."""

    def forward(self, x: Float[Tensor, "batch channel *place"]) -> Float[Tensor, "batch channel"]:
        return x.flatten(2).mean(dim=2)


def build_convnet(knobs: ModelKnobs, signature: Signature, num_outputs: int) -> nn.Module:
    """Stages s = 0, 1, … of width * 2^s channels on [batch, channel, time] or
    [batch, channel, height, width]; pooling stops where fewer than two positions would be left."""
    assert isinstance(knobs.depth, int), "knobs are resolved before building"
    assert isinstance(knobs.width, int)
    assert isinstance(knobs.pool, int)
    assert isinstance(knobs.stride, int)
    dimensions = len(signature.shape) - 1
    channels, side = signature.shape[0], min(signature.shape[1:])
    parts: list[tuple[str, nn.Module]] = []
    for i in range(knobs.depth):
        width = knobs.width * min(2**i, WIDEST)
        first_wave = i == 0 and is_waveform(signature)
        stage = _Stage(knobs, dimensions, activation_at(knobs, i), first_wave)
        stride = knobs.stride if i == 0 else 1
        side = -(-side // stride)
        pool = None
        if i + 1 < knobs.depth and knobs.pool > 1 and side >= 2 * knobs.pool:
            pool = (nn.MaxPool1d, nn.MaxPool2d)[dimensions - 1](knobs.pool)
            side //= knobs.pool
        parts += stage.build(channels, width, stride, pool, str(i + 1))
        channels = width
    readout, cells = _readout(knobs, dimensions, side)
    parts += readout
    if knobs.dropout:
        parts.append(("dropout", nn.Dropout(float(knobs.dropout))))
    parts.append(("head", start(nn.Linear(channels * cells, num_outputs), "none", knobs)))
    module = nn.Sequential(OrderedDict(parts))
    if dimensions == 2:  # a step takes 0.7 of the time [measured: 28x28, batch 256, one thread]
        module = module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return module


def _readout(
    knobs: ModelKnobs, dimensions: int, side: int
) -> tuple[list[tuple[str, nn.Module]], int]:
    """What turns [batch, channel, ...] into [batch, channel * cells], and the number of cells."""
    if knobs.readout == "average":
        return [("average", Average())], 1
    cells = min(GRID, side) if knobs.readout == "grid" else 1
    pool = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)[dimensions - 1](cells)
    return [(knobs.readout, pool), ("flatten", nn.Flatten())], cells**dimensions


class _Stage:
    """How one stage is laid out."""

    def __init__(
        self, knobs: ModelKnobs, dimensions: int, activation: Activation, first_wave: bool
    ) -> None:
        self.knobs, self.dimensions = knobs, dimensions
        self.activation: Activation = activation
        assert isinstance(knobs.kernel, int)
        self.kernel = knobs.kernel
        self.first_kernel = WAVEFORM_STRETCH * knobs.kernel - 1 if first_wave else knobs.kernel

    def build(
        self, channels: int, width: int, stride: int, pool: nn.Module | None, suffix: str
    ) -> list[tuple[str, nn.Module]]:
        """One convolution unit, or with `skip` a residual block.

        Pooling follows the convolution at once, so that norm and activation see a quarter of the
        positions: a step takes 0.8 of the time [measured: 28x28, batch 256, one thread]. For rising
        activations it is the same function as pooling last. Source: Jordan 2024, arXiv:2404.00498.
        """
        pools = [(f"pool_{suffix}", pool)] if pool is not None else []
        if self.knobs.skip:
            return [(f"block_{suffix}", self._block(channels, width, stride)), *pools]
        parts = self._unit(channels, width, stride, self.first_kernel, self.activation, suffix)
        at = next(i for i, (name, _) in enumerate(parts) if name.startswith("conv")) + 1
        return [*parts[:at], *pools, *parts[at:]]

    def _block(self, channels: int, width: int, stride: int) -> nn.Sequential:
        """activation(shortcut(x) + conv(unit(x))); with the norm before the layer, no activation
        after the sum, so that the identity is never bent.

        Source: He et al. 2016, arXiv:1512.03385, figure 2; and arXiv:1603.05027, figure 4.
        """
        body = self._unit(channels, width, stride, self.first_kernel, self.activation, "1")
        body += self._unit(width, width, 1, self.kernel, "none", "2")
        shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != width:
            shortcut = self._convolution(channels, width, stride, 1, "none", bias=True)
        parts: list[tuple[str, nn.Module]] = [
            ("add", Add(nn.Sequential(OrderedDict(body)), shortcut))
        ]
        if self.knobs.norm_position != "before_layer" and self.activation != "none":
            parts.append(("activation", ACTIVATIONS[self.activation]()))
        return nn.Sequential(OrderedDict(parts))

    def _unit(
        self,
        channels: int,
        width: int,
        stride: int,
        kernel: int,
        activation: Activation,
        suffix: str,
    ) -> list[tuple[str, nn.Module]]:
        layer = self._convolution(
            channels, width, stride, kernel, activation, bias=has_bias(self.knobs)
        )
        return unit(
            layer, self.knobs, activation, width_in=channels, width_out=width,
            dimensions=self.dimensions, suffix=suffix, dropout=False,
        )  # fmt: skip

    def _convolution(
        self,
        channels: int,
        width: int,
        stride: int,
        kernel: int,
        activation: Activation,
        *,
        bias: bool,
    ) -> nn.Module:
        kind = (nn.Conv1d, nn.Conv2d)[self.dimensions - 1]
        layer = kind(channels, width, kernel, stride=stride, padding=kernel // 2, bias=bias)
        return start(layer, activation, self.knobs)
