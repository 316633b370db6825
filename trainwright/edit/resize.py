"""How does a live network become wider or narrower? Each hidden layer is made anew with another
number of units, and what reads it with as many inputs."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from trainwright.core.errors import TrainwrightError
from trainwright.core.phrases import phrase
from trainwright.edit.surgery.anatomy import Anatomy, expression

PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resized:
    """The layers that were made anew, as a user would write them."""

    lines: tuple[str, ...]


def resized(model: nn.Module, anatomy: Anatomy, factor: float) -> Resized:
    """Every hidden layer with `factor` times its units (at least one), freshly initialised as torch
    does. Only for chains of linear and convolution layers, whose forward names no size itself.

    Raises TrainwrightError for other networks.
    """
    chain = [layer for layer in anatomy.layers if layer.kind != "norm"]
    modules = dict(model.named_modules())
    if len(chain) < 2 or any(not isinstance(modules.get(layer.name), PLAIN) or layer.in_residual
                             or layer.num_calls > 1 for layer in chain):  # fmt: skip
        raise TrainwrightError(
            phrase("only chains of linear and convolution layers can be made wider or narrower"),
            allowed=phrase("a plain network, or a recipe with model.width"),
            do=phrase("change the widths in your own code"),
        )
    ratio = 1.0  # of what the layer reads now to what it read
    lines: list[str] = []
    for layer in anatomy.layers:
        module = modules[layer.name]
        if isinstance(module, NORMS):
            made = _norm(module, ratio)
        else:
            made, ratio = _plain(module, ratio, 1.0 if layer is chain[-1] else factor)
        _put(model, layer.name, made)
        written = f"torch.nn.{type(made).__name__}({made.extra_repr()})"
        lines.append(f"{expression(layer.name)} = {written}")
    return Resized(lines=tuple(lines))


def _plain(module: Any, ratio: float, factor: float) -> tuple[nn.Module, float]:
    """The layer anew, and by how much its outputs grew."""
    if isinstance(module, nn.Linear):
        inputs = round(module.in_features * ratio)
        outputs = max(1, round(module.out_features * factor))
        made = nn.Linear(inputs, outputs, bias=module.bias is not None)
        return made.to(module.weight), outputs / module.out_features
    outputs = max(1, round(module.out_channels * factor))
    if module.groups != 1:
        raise TrainwrightError(
            phrase("grouped convolutions cannot be made wider or narrower"),
            allowed=phrase("plain convolutions"), do=phrase("change the widths in your own code"),
        )  # fmt: skip
    made = type(module)(
        round(module.in_channels * ratio), outputs, module.kernel_size, stride=module.stride,
        padding=module.padding, dilation=module.dilation, bias=module.bias is not None,
    )  # fmt: skip
    return made.to(module.weight), outputs / module.out_channels


def _norm(module: Any, ratio: float) -> nn.Module:
    if isinstance(module, nn.LayerNorm):
        *rest, last = module.normalized_shape
        return nn.LayerNorm([*rest, round(last * ratio)], eps=module.eps)
    if isinstance(module, nn.GroupNorm):
        return nn.GroupNorm(module.num_groups, round(module.num_channels * ratio), module.eps)
    return type(module)(round(module.num_features * ratio), eps=module.eps,
                        momentum=module.momentum)  # fmt: skip


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    above, _, last = name.rpartition(".")
    setattr(model.get_submodule(above), last, module)
