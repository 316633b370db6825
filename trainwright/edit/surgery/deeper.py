"""How does a network get one more hidden layer? Behind its last one, as wide, of the same kind and
with the non-linearity that runs there."""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import init

from trainwright.core.errors import TrainwrightError, shown
from trainwright.core.phrases import phrase
from trainwright.core.words import say
from trainwright.edit.surgery.anatomy import Anatomy, Layer, expression
from trainwright.edit.surgery.hooks import ACTIVATIONS, Then
from trainwright.edit.surgery.initial import GAINS
from trainwright.edit.surgery.place import Places
from trainwright.edit.surgery.record import Edited, Record

USUAL_KERNEL = 3  # where the layer's own is even [assumed]
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
KEEPS = "relu"  # f(f(z)) = f(z): an identity behind it changes nothing


def insert_layer(model: nn.Module, anatomy: Anatomy) -> Edited:
    """f(W z + b) becomes f(V f(W z + b) + c), V square and of the last hidden layer's kind, `f` its
    non-linearity. Behind a ReLU V starts as the identity, so that the network gives what it gave;
    elsewhere V is drawn with sd gain / sqrt(fan in). c starts at 0.

    V and c are new, under the layer's name (`fc1.deeper.1.weight`), or its norm's, where one stands
    before f; rebuild the optimiser.
    Raises TrainwrightError where the last hidden layer is no linear layer or convolution of its own
    between a non-linearity and one head, or is part of a residual branch.
    Source: Chen et al. 2016, Net2Net, arXiv:1511.05641, section 2.3; arXiv:1502.01852.
    """
    layer = _last_hidden(anatomy)
    host = anatomy.layer(layer.norm_layer) if layer.norm_layer else layer
    assert layer.activation is not None, layer
    made, written = _square(model, layer)
    choice = ACTIVATIONS[layer.activation]
    code = f"{choice.code}, {written}"
    with Record(model) as record:
        place = _place_in_code(model, host.name) if host.is_module else ""
        places = Places(record, anatomy)
        places.behind(host, "deeper", nn.Sequential(choice.module(), made), code)
        places.finish()
        lines = [f"{place} = torch.nn.Sequential({place}, {code})"]
        if not host.is_module:
            place = expression(places.changed[0])
            words = say("surgery.behind_weight", where=layer.line, new=place, weight=layer.name)
            lines = [f"{place} = torch.nn.Sequential({code})", f"# {words}"]
        lines += _start(made, layer.activation, place)
        return record.done("insert_layer", places.changed, lines)


def _last_hidden(anatomy: Anatomy) -> Layer:
    """The layer behind which it is clear what one more layer is."""
    layers = anatomy.weighted()
    hidden = [layer for layer in layers if not layer.is_head]
    if not hidden or len(layers) != len(hidden) + 1:
        raise _unclear(phrase("there is no hidden layer, or more than one head"))
    if any(layer.varies for layer in layers):
        raise _unclear(phrase("which layers run depends on the data"))
    last = hidden[-1]
    place = shown(last.name)
    if last.kind not in ("linear", "convolution") or "transpose" in last.operation:
        raise _unclear(phrase("the last hidden layer {name} is {kind}", name=place,
                              kind=last.operation))  # fmt: skip
    if last.in_residual or last.num_calls > 1:
        raise _unclear(phrase("{name} is in a residual branch, or runs several times", name=place))
    bend = anatomy.following(last)
    known = last.activation in ACTIVATIONS and last.activation != "identity"
    if not known or (bend is not None and (bend.is_gate or bend.is_head)):
        raise _unclear(phrase("no usual non-linearity stands behind {name}", name=place))
    axis = len(last.out_shape) - 1 if last.kind == "linear" else 1
    norm = anatomy.layer(last.norm_layer) if last.norm_layer else None
    if last.channel_axis != axis or (last.norm and (norm is None or not norm.is_module)):
        raise _unclear(phrase("{name} gives its units on another axis, or is normalised by a "
                              "function", name=place))  # fmt: skip
    return last


def _unclear(what: str) -> TrainwrightError:
    return TrainwrightError(
        what, allowed=phrase("a last hidden linear layer or convolution before one head"),
        do=phrase("add the layer in your own code"),
    )  # fmt: skip


def _square(model: nn.Module, layer: Layer) -> tuple[nn.Module, str]:
    """A layer of the same kind with as many outputs as inputs, and how it is written."""
    units = layer.num_features
    if layer.kind == "linear":
        return nn.Linear(units, units), f"torch.nn.Linear({units}, {units})"
    space = len(layer.out_shape) - 2
    kernel = tuple(int(k) for k in model.get_parameter(layer.weight).shape[-space:])
    kernel = tuple(k if k % 2 else USUAL_KERNEL for k in kernel)
    padding = tuple(k // 2 for k in kernel)
    kind: Any = CONVOLUTIONS[space - 1]
    code = f"torch.nn.{kind.__name__}({units}, {units}, {kernel}, padding={padding})"
    return kind(units, units, kernel, padding=padding), code


@torch.no_grad()
def _start(made: nn.Module, activation: str, place: str) -> list[str]:
    """Gives the new layer its start; the code for it, the layer being the last at its place."""
    weight, bias = made.get_parameter("weight"), made.get_parameter("bias")
    bias.zero_()
    if activation == KEEPS:
        (init.eye_ if weight.ndim == 2 else init.dirac_)(weight)
        how = ("eye_" if weight.ndim == 2 else "dirac_") + f"({place}[-1].weight)"
    else:
        sd = GAINS.get(activation, 1.0) / math.sqrt(weight[0].numel())
        weight.normal_(0, sd)
        how = f"normal_({place}[-1].weight, std={sd:.6g})"
    return [f"torch.nn.init.{how}", f"torch.nn.init.zeros_({place}[-1].bias)"]


def _place_in_code(model: nn.Module, path: str) -> str:
    """Where a user finds the module: what surgery put last behind one of theirs is a part of the
    Sequential that stands for both by then, and what comes behind it, behind that."""
    names = path.split(".")
    for number in range(1, len(names)):
        above = model.get_submodule(".".join(names[:number]))
        parts = [h.child for h in above._forward_hooks.values() if isinstance(h, Then)]
        if parts and names[number] == parts[-1]:
            return expression(".".join(names[:number]))
    return expression(path)
